//! Tasks in what servers say: answers, notifications, requests of theirs.
//!
//! Invariants: an id reaches a client of the endpoint of all only under its server's name; a status
//! of a server that sessions share reaches only the session that created the task.

use std::borrow::Cow;

use bytes::Bytes;
use kern_mcp::tasks::{self, TASK_ID_BYTES_MAX};
use kern_mcp::{Envelope, Method, Splice, json, scan};
use kern_terms::{Era, FlightId, Key, Revision};

use super::flight::Flight;
use super::task_book::Token;
use super::words::{Ending, Health, Post, UpstreamId};
use super::{Core, Io};

/// Whether an answer made a task.
pub(super) fn creates(flight: &Flight, message: &[u8], envelope: &Envelope) -> bool {
    let is_task = |kind: kern_mcp::Span| json::same_text(kind.of(message), "task");
    flight.method == Method::ToolsCall
        && match flight.revision.era() {
            Era::Modern => envelope.result_type.is_some_and(is_task),
            Era::Legacy => flight.wants_task && envelope.task.is_some(),
        }
}

impl Core {
    /// Gives the tasks in an answer the names its client knows them by. An error says why the
    /// answer can't be given.
    pub(super) fn name_tasks(
        &mut self,
        flight: &Flight,
        from: Revision,
        message: &[u8],
        envelope: &Envelope,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let created = creates(flight, message, envelope);
        let about = matches!(
            flight.method,
            Method::TasksGet | Method::TasksCancel | Method::TasksResult | Method::TasksList
        );
        let related = flight.all && envelope.related_task.is_some();
        if !created && !about && !related {
            return Ok(());
        }
        let shared = flight.private.is_none() && from.era() == Era::Legacy;
        let owner = flight.session.filter(|_| shared);
        if created {
            let id = envelope.task_id.or_else(|| json::get(message, envelope.task?, "taskId"));
            let id = id.and_then(|span| json::text(span.of(message)));
            let id = id.filter(|id| id.len() <= TASK_ID_BYTES_MAX);
            match (id, owner) {
                (Some(_), Some(_)) if self.is_of_before(flight) => {
                    return Err("the server was greeted anew meanwhile, and its task is lost");
                }
                (Some(id), Some(session)) => self.task_book.add(session, flight.upstream, &id),
                (None, _) if flight.all || owner.is_some() => {
                    return Err("the server made a task whose id is longer than 512 bytes");
                }
                _ => {}
            }
        }
        if flight.method == Method::TasksList {
            self.tidy_list(flight, owner, out);
        }
        if flight.all {
            self.rename_tasks(flight, out);
        }
        Ok(())
    }

    /// Whether a shared server was greeted anew since a flight was sent to it: what it calls its tasks
    /// may mean others now.
    fn is_of_before(&self, flight: &Flight) -> bool {
        let health = self.upstreams.get(&flight.upstream).map(|upstream| &upstream.health);
        !matches!(health, Some(Health::Up(up)) if up.epoch == flight.epoch)
    }

    /// Notes a call that became a task, and its progress token where its server is an old one.
    pub(super) fn note_task(
        &mut self,
        id: FlightId,
        flight: &Flight,
        message: &[u8],
        envelope: &Envelope,
    ) {
        if !creates(flight, message, envelope) {
            return;
        }
        if let Some(hosted) = flight.private.and_then(|key| self.hosted.get_mut(key)) {
            hosted.keeps = true;
        }
        let legacy = flight.revision == Revision::V2025_11_25 && flight.leg.is_none();
        let (Some(token), Some(session)) = (&flight.progress, flight.session) else { return };
        if legacy {
            let (upstream, private, token) = (flight.upstream, flight.private, token.clone());
            let flight = id;
            self.task_book.keep_token(Token { flight, upstream, private, session, token });
        }
    }

    /// Progress of a call that became a task.
    pub(super) fn task_progress(
        &mut self,
        io: &mut Io,
        (upstream, private): (UpstreamId, Option<Key>),
        id: FlightId,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(kept) = self.task_book.token_of(id) else { return };
        if (kept.upstream, kept.private) != (upstream, private) {
            return;
        }
        let Some(span) = envelope.progress_token else { return };
        let (session, token) = (kept.session, kept.token.to_vec());
        let stream = self.streams.get(&session).copied();
        let Some(to) = stream.or_else(|| self.only_call(session)) else { return };
        let name = self.upstreams.get(&upstream).map(|it| it.spec.name.clone());
        let mut splice = Splice::new(message);
        splice.replace(span, token);
        if let Some(name) = name.filter(|_| self.serves_all(session)) {
            tasks::rename(&mut splice, envelope, Method::Progress, |id| {
                Some(tasks::exposed(&name, id))
            });
        }
        let mut out = Vec::with_capacity(message.len() + 64);
        splice.write_into(&mut out);
        self.deliver(io, to, &out, Ending::Lossy);
    }

    fn rename_tasks(&self, flight: &Flight, out: &mut Vec<u8>) {
        let Ok(envelope) = scan(out, &self.scan_limits) else { return };
        let Some(upstream) = self.upstreams.get(&flight.upstream) else { return };
        let mut splice = Splice::new(out);
        let name = &upstream.spec.name;
        tasks::rename(&mut splice, &envelope, flight.method, |id| Some(tasks::exposed(name, id)));
        let mut renamed = Vec::with_capacity(out.len() + 64);
        splice.write_into(&mut renamed);
        *out = renamed;
    }

    /// A page of `tasks/list`: without tasks of other sessions, and with a cursor of ours where the
    /// list goes on with another server.
    fn tidy_list(&self, flight: &Flight, owner: Option<Key>, out: &mut Vec<u8>) {
        let Some(result) = json::get(out, kern_mcp::Span::all(out), "result") else { return };
        let mut splice = Splice::new(out);
        if let (Some(session), Some(listed)) = (owner, json::get(out, result, "tasks")) {
            let own = |raw: &&[u8]| {
                let id = json::text_field(raw, "taskId").unwrap_or_default();
                self.task_book.has(session, flight.upstream, &id)
            };
            let kept: Vec<&[u8]> =
                json::elements(out, listed).map(|span| span.of(out)).filter(own).collect();
            splice.replace(listed, [b"[", &kept.join(&b","[..])[..], b"]"].concat());
        }
        if flight.all {
            let name = |id| self.upstreams.get(&id).map(|upstream| &*upstream.spec.name);
            let own = json::get(out, result, "nextCursor").filter(|span| span.of(out) != b"null");
            let next = match own.and_then(|span| json::text(span.of(out))) {
                Some(cursor) => name(flight.upstream).map(|name| format!("{name}:{cursor}")),
                None => flight
                    .session
                    .and_then(|session| self.next_listing(session, Some(flight.upstream)))
                    .and_then(name)
                    .map(str::to_owned),
            };
            splice.remove_member(result, "nextCursor");
            if let Some(next) = next {
                let mut member = b"\"nextCursor\":".to_vec();
                json::quote_into(&mut member, &next);
                splice.insert_member(result, member);
            }
        }
        let mut tidied = Vec::with_capacity(out.len() + 64);
        splice.write_into(&mut tidied);
        *out = tidied;
    }

    /// Edits the ids in a message of a session's own server, where the session's endpoint serves
    /// several.
    pub(super) fn expose_tasks(
        &self,
        splice: &mut Splice<'_>,
        envelope: &Envelope,
        session: Key,
        hosted: Key,
    ) {
        let all = self.serves_all(session);
        let named = envelope.related_task.is_some() || envelope.method == Method::TasksStatus;
        let Some(hosted) = self.hosted.get(hosted).filter(|_| all && named) else { return };
        let name = &hosted.spec.name;
        tasks::rename(splice, envelope, envelope.method, |id| Some(tasks::exposed(name, id)));
    }

    /// A message of a session's own server with its tasks named as the session knows them.
    pub(super) fn exposing_tasks<'m>(
        &self,
        session: Key,
        hosted: Key,
        message: &'m [u8],
        envelope: &Envelope,
    ) -> Cow<'m, [u8]> {
        let mut splice = Splice::new(message);
        self.expose_tasks(&mut splice, envelope, session, hosted);
        if splice.is_empty() {
            return Cow::Borrowed(message);
        }
        let mut out = Vec::with_capacity(message.len() + 64);
        splice.write_into(&mut out);
        Cow::Owned(out)
    }

    /// Gives the task a client's answer belongs to the id its server knows.
    pub(super) fn unexpose_tasks(&self, splice: &mut Splice<'_>, envelope: &Envelope, hosted: Key) {
        if envelope.related_task.is_none() {
            return;
        }
        let Some(hosted) = self.hosted.get(hosted) else { return };
        if !hosted.session.is_some_and(|session| self.serves_all(session)) {
            return;
        }
        let only = Envelope { related_task: envelope.related_task, ..Envelope::default() };
        tasks::rename(splice, &only, Method::None, |id| {
            let (name, own) = tasks::split(id)?;
            (*name == *hosted.spec.name).then(|| own.to_owned())
        });
    }

    /// Whether a session's endpoint serves several servers as one.
    pub(super) fn serves_all(&self, session: Key) -> bool {
        self.sessions.get(session).is_some_and(|session| session.endpoint.is_none())
    }

    /// A shared server of 2025-11-25 tells how a task fares.
    pub(super) fn task_status_of_shared(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        message: &[u8],
    ) {
        let message = Bytes::copy_from_slice(message);
        self.tell_all(io, || Post::TaskStatus { upstream, message: message.clone() });
    }

    /// The status of a task, for the session of this core that created it.
    pub(super) fn task_status(&mut self, io: &mut Io, upstream: UpstreamId, message: &[u8]) {
        let Ok(envelope) = scan(message, &self.scan_limits) else { return };
        let id = envelope.task_id.and_then(|span| json::text(span.of(message)));
        let Some(id) = id.filter(|id| id.len() <= TASK_ID_BYTES_MAX) else { return };
        let Some(name) = self.upstreams.get(&upstream).map(|it| it.spec.name.clone()) else {
            return;
        };
        for session in self.task_book.sessions_with(upstream, &id) {
            let all = self.serves_all(session);
            let stream = self.streams.get(&session).copied();
            let Some(to) = stream.or_else(|| self.only_call(session)) else { continue };
            let mut out = Vec::with_capacity(message.len() + 64);
            let mut splice = Splice::new(message);
            if all {
                let method = envelope.method;
                tasks::rename(&mut splice, &envelope, method, |id| Some(tasks::exposed(&name, id)));
            }
            splice.write_into(&mut out);
            self.deliver(io, to, &out, Ending::More);
        }
    }
}
