//! Requests about tasks: which server's task is meant, and may this client know of it?
//!
//! On an endpoint of one server its ids pass. On the endpoint of all an id names its server
//! (`kern_mcp::tasks`). Invariants: a request about a task goes to the server the id names and to no
//! other; over a server that sessions share, a session reaches only the tasks it created.

use std::sync::Arc;

use kern_mcp::errors::{self, Cause};
use kern_mcp::tasks::{self, TASK_ID_BYTES_MAX};
use kern_mcp::{Method, Splice, json, scan};
use kern_terms::{Era, Key, Revision};

use super::place::Place;
use super::words::{Health, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Destination, Fault, Inbound};

/// What is asked of a client without the extension that only a task can answer (SEP-2663).
const NEEDED: &[u8] = br#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// Whether a revision has a method about tasks.
fn has_method(revision: Revision, method: Method) -> bool {
    match method {
        Method::TasksGet | Method::TasksCancel => revision >= Revision::V2025_11_25,
        Method::TasksResult | Method::TasksList => revision == Revision::V2025_11_25,
        _ => revision == Revision::V2026_07_28,
    }
}

/// The refusal of a client that did not declare the extension.
pub(super) fn undeclared() -> Fault {
    let mut data = Vec::new();
    errors::missing_capability_data(&mut data, NEEDED);
    let why = "this needs the client capability extensions[\"io.modelcontextprotocol/tasks\"]";
    Fault { data: Some(data), ..Fault::new(Cause::MissingClientCapability, why) }
}

/// Whether a modern request declares the extension.
pub(super) fn declares(inbound: &Inbound<'_>) -> bool {
    let capabilities = inbound.envelope.client_capabilities;
    capabilities.is_some_and(|span| tasks::is_declared(span.of(inbound.message)))
}

fn unknown() -> Fault {
    Fault::new(Cause::InvalidParams, "there is no such task")
}

impl Core {
    /// `tasks/get`, `tasks/result`, `tasks/update`, `tasks/cancel`.
    pub(crate) fn task_request(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        if !has_method(inbound.revision, inbound.envelope.method) {
            return self.unknown_method(io, inbound);
        }
        if inbound.revision.era() == Era::Modern && !declares(inbound) {
            return self.refuse_with(io, inbound, undeclared());
        }
        let Some(id) = inbound.text(inbound.envelope.task_id) else {
            let why = "params.taskId must be a string";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        let Some((upstream, own)) = self.task_of(inbound.endpoint.as_ref(), &id) else {
            return self.refuse_with(io, inbound, unknown());
        };
        let place = self.place(io, inbound.session, upstream);
        let Some(era) = self.era_at(place, upstream) else {
            return self.wait_for_servers(io, inbound);
        };
        if inbound.revision.era() == Era::Modern && era == Era::Legacy {
            let from = self.principal(inbound.reply);
            return match self.opened_task(upstream, own, from) {
                Some(own) => {
                    let to = Destination::task_of(upstream);
                    self.ask_old_server(io, inbound, to, &id, &own);
                }
                None => self.refuse_with(io, inbound, unknown()),
            };
        }
        if inbound.revision.era() == Era::Legacy && era == Era::Modern {
            return self.ask_new_server(io, inbound, Destination::task_of(upstream), &id, own);
        }
        let shared = place == Place::Shared && era == Era::Legacy;
        if let Some(session) = inbound.session.filter(|_| shared)
            && !self.task_book.has(session, upstream, own)
        {
            return self.refuse_with(io, inbound, unknown());
        }
        let to = Destination::task_of(upstream);
        match inbound.endpoint {
            Some(_) => self.fly(io, inbound, to),
            None => self.fly_as(io, inbound, to),
        }
    }

    /// Sends a request on under the id its server knows.
    fn fly_as(&mut self, io: &mut Io, inbound: &Inbound<'_>, to: Destination) {
        let mut splice = Splice::new(inbound.message);
        let method = inbound.envelope.method;
        tasks::rename(&mut splice, &inbound.envelope, method, |other| {
            let (name, own) = tasks::split(other)?;
            (self.names.get(name) == Some(&to.upstream)).then(|| own.to_owned())
        });
        let mut message = Vec::with_capacity(inbound.message.len());
        splice.write_into(&mut message);
        self.fly_rewritten(io, inbound, to, &message);
    }

    /// Sends a rewritten request; the answer still goes to whoever sent the original.
    pub(super) fn fly_rewritten(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        to: Destination,
        message: &[u8],
    ) {
        let Ok(envelope) = scan(message, &self.scan_limits) else {
            let why = "the message is too long";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        let endpoint = inbound.endpoint.clone();
        let Inbound { reply, revision, session, .. } = *inbound;
        let inbound = Inbound { reply, endpoint, message, envelope, revision, session };
        self.fly(io, &inbound, to);
    }

    /// The server a task's id names on an endpoint, and the id it has there.
    pub(super) fn task_of<'t>(
        &self,
        endpoint: Option<&Arc<str>>,
        id: &'t str,
    ) -> Option<(UpstreamId, &'t str)> {
        let (name, own) = match endpoint {
            Some(name) => (&**name, id),
            None => tasks::split(id)?,
        };
        (own.len() <= TASK_ID_BYTES_MAX).then_some(())?;
        Some((*self.names.get(name)?, own))
    }

    /// The era the server at a place speaks; `None` while that is not known.
    pub(super) fn era_at(&self, place: Place, id: UpstreamId) -> Option<Era> {
        if let Place::Private(hosted) = place {
            let instance = &self.hosted.get(hosted)?.instance;
            return instance.is_open().then(|| instance.revision().era());
        }
        match &self.upstreams.get(&id)?.health {
            _ if place == Place::Builtin => Some(Era::Modern),
            Health::Starting => None,
            Health::Up(up) => Some(up.revision.era()),
            // The flight says what is wrong with it.
            Health::Down(_) => Some(Era::Modern),
        }
    }

    /// `tasks/list`: on the endpoint of all, one server after the other, each in its own pages.
    pub(crate) fn task_list(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(session) = inbound.session else { return self.unknown_method(io, inbound) };
        if !has_method(inbound.revision, inbound.envelope.method) {
            return self.unknown_method(io, inbound);
        }
        if let Some(endpoint) = &inbound.endpoint {
            let id = self.names.get(endpoint).copied();
            return match id.filter(|id| self.lists_tasks(session, *id)) {
                Some(upstream) => self.fly(io, inbound, Destination::task_of(upstream)),
                None => self.unknown_method(io, inbound),
            };
        }
        let cursor = match inbound.envelope.cursor.map(|span| span.of(inbound.message)) {
            None | Some(b"null") => None,
            Some(raw) => Some(json::text(raw).unwrap_or_default()),
        };
        let begin = match &cursor {
            None => self.next_listing(session, None),
            Some(cursor) => {
                let name = cursor.split_once(':').map_or(&**cursor, |(name, _)| name);
                let id = self.names.get(name).copied();
                let Some(id) = id.filter(|id| self.lists_tasks(session, *id)) else {
                    let why = "params.cursor was not given by this list: start again without one";
                    return self.refuse(io, inbound, Cause::InvalidParams, why);
                };
                Some(id)
            }
        };
        let Some(upstream) = begin else { return self.reply(io, inbound, b"{\"tasks\":[]}") };
        let own = cursor.as_deref().and_then(|cursor| cursor.split_once(':'));
        let mut splice = Splice::new(inbound.message);
        match (inbound.envelope.cursor, own) {
            (Some(span), Some((_, own))) => {
                let mut quoted = Vec::new();
                json::quote_into(&mut quoted, own);
                splice.replace(span, quoted);
            }
            (Some(span), None) => splice.remove_value(span),
            (None, _) => {}
        }
        let mut message = Vec::with_capacity(inbound.message.len());
        splice.write_into(&mut message);
        self.fly_rewritten(io, inbound, Destination::task_of(upstream), &message);
    }

    /// Whether a session's server of `id` lists tasks.
    fn lists_tasks(&self, session: Key, id: UpstreamId) -> bool {
        if let Some(hosted) = self.private.get(&(session, id)) {
            return self.hosted.get(*hosted).is_some_and(|hosted| {
                let instance = &hosted.instance;
                (instance.is_open() || hosted.resting)
                    && tasks::is_listed(&instance.identity().capabilities)
            });
        }
        let Some(upstream) = self.upstreams.get(&id) else { return false };
        matches!(&upstream.health, Health::Up(up) if up.revision.era() == Era::Legacy)
            && tasks::is_listed(self.capabilities_of(&upstream.spec.name))
    }

    /// What the shared instance of an upstream declared.
    pub(super) fn capabilities_of(&self, name: &str) -> &[u8] {
        let lists = self.catalog.one(name).and_then(|view| view.upstreams().next());
        lists.map_or(b"{}", |lists| &lists.capabilities)
    }

    /// The next server whose tasks are listed.
    pub(super) fn next_listing(
        &self,
        session: Key,
        after: Option<UpstreamId>,
    ) -> Option<UpstreamId> {
        let mut rest = self.setup.upstreams.keys().filter(|id| after.is_none_or(|it| **id > it));
        rest.find(|id| self.lists_tasks(session, **id)).copied()
    }
}
