//! Who wants to hear of changes: subscriptions of both eras, and the changes themselves.
//!
//! The gateway ends subscriptions on both sides: it tells clients of its own lists, and asks each
//! server once for the resources its clients want, so that every era hears from every other.
//!
//! Invariant: a client hears only of what it asked for.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::errors::Cause;
use kern_mcp::{Envelope, Method, json};
use kern_route::{Catalog, ListKind, View};
use kern_session::Session;
use kern_terms::{Era, Key};
use kern_upstream::instance::Phase;

use super::place::Place;
use super::wants::covers;
use super::words::{Ending, Post, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Destination, Inbound};

/// Longest URI that can be subscribed to, bytes: it is kept as long as the subscription.
pub(super) const URI_BYTES_MAX: usize = 8 << 10;

/// What a listen request calls the lists it wants to hear of, and what it hears.
pub(super) const LIST_MEMBERS: [(&str, Method); 3] = [
    ("toolsListChanged", Method::ToolsListChanged),
    ("promptsListChanged", Method::PromptsListChanged),
    ("resourcesListChanged", Method::ResourcesListChanged),
];

/// The place of a list among those a client hears of.
fn list_index(kind: ListKind) -> usize {
    match kind {
        ListKind::Tools => 0,
        ListKind::Prompts => 1,
        ListKind::Resources | ListKind::Templates => 2,
    }
}

impl Core {
    /// `resources/subscribe` and `resources/unsubscribe` of a session. A server of its own hears
    /// the request itself; a shared one hears from the gateway, once for all.
    pub(crate) fn subscription(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        use crate::pipeline::Routed;
        let Some(key) = inbound.session else { return self.unknown_method(io, inbound) };
        let Some(uri) = inbound.text(inbound.envelope.uri) else {
            return self.refuse(io, inbound, Cause::InvalidParams, "params.uri must be a string");
        };
        if uri.len() > URI_BYTES_MAX {
            return self.refuse(io, inbound, Cause::InvalidParams, "params.uri is too long");
        }
        let destination = match self.route(io, inbound) {
            Routed::To(destination) => destination,
            Routed::Wait => return self.wait_for_servers(io, inbound),
            Routed::Nowhere(fault) => return self.refuse_with(io, inbound, fault),
        };
        let on = inbound.envelope.method == Method::ResourcesSubscribe;
        let full = self
            .sessions
            .get(key)
            .is_some_and(|session| session.subscriptions.len() >= Session::SUBSCRIPTIONS_MAX)
            || !self.wants.have_room(uri.len());
        if on && full {
            let why = "this session holds too many subscriptions";
            return self.refuse(io, inbound, Cause::Internal, why);
        }
        if let Place::Private(hosted) = self.place(io, Some(key), destination.upstream) {
            return self.subscription_of_own(io, inbound, hosted, destination, on);
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (changed, endpoint) = match on {
            true => (session.subscriptions.insert(uri.clone()), session.endpoint.clone()),
            false => (session.subscriptions.remove(&uri), session.endpoint.clone()),
        };
        match (changed, on) {
            (true, true) => self.gain_interest(io, endpoint.as_ref(), &uri),
            (true, false) => self.lose_interest(io, endpoint.as_ref(), &uri),
            (false, _) => {}
        }
        self.reply(io, inbound, b"{}");
    }

    /// A subscription with a server of the session's own. Of the old era, it gets the request
    /// itself; what was subscribed is kept, so that it holds over a restart.
    fn subscription_of_own(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        hosted: Key,
        to: Destination,
        on: bool,
    ) {
        let Some(instance) = self.hosted.get(hosted).map(|hosted| &hosted.instance) else { return };
        if !instance.is_open() && instance.phase() != Phase::Down {
            return self.wait_for_servers(io, inbound);
        }
        let modern = instance.is_open() && instance.revision().era() == Era::Modern;
        let uri = to.uri.clone().or_else(|| inbound.text(inbound.envelope.uri)).unwrap_or_default();
        let now = self.now;
        self.drive(io, hosted, |instance, fx| match (on, instance.is_subscribed(&uri)) {
            (true, false) if modern => {
                instance.subscribe(now, &uri, fx);
            }
            (true, false) => instance.keep_subscribed(&uri),
            (false, true) if modern => instance.unsubscribe(now, &uri, fx),
            (false, true) => instance.forget_subscribed(&uri),
            (true, true) | (false, false) => {}
        });
        match modern {
            true => self.reply(io, inbound, b"{}"),
            false => self.fly(io, inbound, to),
        }
    }

    pub(super) fn interest_at_host(&mut self, io: &mut Io, id: UpstreamId, uri: &str, on: bool) {
        let Some(key) = self.upstreams.get(&id).and_then(|upstream| upstream.hosted) else {
            return;
        };
        let now = self.now;
        self.drive(io, key, |instance, fx| match on {
            true => {
                instance.subscribe(now, uri, fx);
            }
            false => instance.unsubscribe(now, uri, fx),
        });
    }

    /// A server says that something changed.
    pub(super) fn server_changed(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        hosted: Option<Key>,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let shared = self.upstreams.get(&upstream).and_then(|upstream| upstream.hosted);
        let Some(key) = hosted.or(shared) else {
            let owner = self.setup.owner(upstream);
            if owner != self.id {
                let message = Bytes::copy_from_slice(message);
                io.post(owner, Post::Changed { upstream, message });
            }
            return;
        };
        let session = self.hosted.get(key).and_then(|hosted| hosted.session);
        if envelope.method == Method::TasksChanged {
            if session.is_none() {
                self.task_changed_at_host(io, upstream, message, envelope);
            }
            return;
        }
        if let (Some(session), Method::ResourcesUpdated) = (session, envelope.method) {
            return self.updated_for(io, key, session, message, envelope);
        }
        let now = self.now;
        self.drive(io, key, |instance, fx| {
            instance.notified(now, message, envelope, fx);
        });
    }

    /// A session's own server says that a resource changed.
    fn updated_for(
        &mut self,
        io: &mut Io,
        key: Key,
        session: Key,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let (Some(hosted), Some(known)) = (self.hosted.get(key), self.sessions.get(session)) else {
            return;
        };
        let Some(uri) = envelope.uri.and_then(|span| json::text(span.of(message))) else { return };
        let modern = hosted.instance.revision().era() == Era::Modern;
        let shown = self.shown_uri(known.endpoint.as_ref(), &hosted.spec.name, &uri);
        match shown.filter(|shown| modern || *shown != uri) {
            Some(shown) => {
                let mut params = b"{\"uri\":".to_vec();
                json::quote_into(&mut params, &shown);
                params.push(b'}');
                self.notify_session(io, session, Method::ResourcesUpdated, &params);
            }
            None => {
                let stream = self.own_stream(session);
                if let Some(to) = stream.or_else(|| self.only_call(session)) {
                    self.deliver(io, to, message, Ending::More);
                }
            }
        }
    }

    /// Another core heard from a server of this one, on a call's stream, that something changed.
    pub(super) fn changed_at_host(&mut self, io: &mut Io, upstream: UpstreamId, message: &[u8]) {
        if let Ok(envelope) = kern_mcp::scan(message, &self.scan_limits) {
            self.server_changed(io, upstream, None, message, &envelope);
        }
    }

    /// The host of a shared server heard of a changed resource: all cores are told.
    pub(super) fn updated_at_host(&mut self, io: &mut Io, key: Key, message: &[u8]) {
        let Ok(envelope) = kern_mcp::scan(message, &self.scan_limits) else { return };
        let uri = envelope.uri.and_then(|span| json::text(span.of(message)));
        let (Some(uri), Some(hosted)) = (uri, self.hosted.get(key)) else { return };
        let upstream = hosted.upstream;
        if covers(|uri| hosted.instance.is_subscribed(uri), &uri) {
            self.tell_all(io, || Post::Updated { upstream, uri: uri.clone() });
        }
    }

    /// A resource changed: tell every client of this core that asked for it.
    pub(super) fn resource_updated(&mut self, io: &mut Io, upstream: UpstreamId, uri: &str) {
        let Some(name) = self.upstreams.get(&upstream).map(|it| Arc::clone(&it.spec.name)) else {
            return;
        };
        for key in self.listens.keys() {
            let Some(listen) = self.listens.get(key) else { continue };
            let Some(shown) = self.shown_uri(listen.endpoint.as_ref(), &name, uri) else {
                continue;
            };
            if covers(|uri| listen.resources.contains(uri), &shown) {
                let mut params = b"{\"uri\":".to_vec();
                json::quote_into(&mut params, &shown);
                self.tell_listen(io, key, Method::ResourcesUpdated, &params);
            }
        }
        let wanting: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                self.shown_uri(session.endpoint.as_ref(), &name, uri)
                    .is_some_and(|shown| covers(|uri| session.subscriptions.contains(uri), &shown))
            })
            .map(|(key, session)| (key, session.endpoint.clone()))
            .collect();
        for (key, endpoint) in wanting {
            let Some(shown) = self.shown_uri(endpoint.as_ref(), &name, uri) else { continue };
            let mut params = b"{\"uri\":".to_vec();
            json::quote_into(&mut params, &shown);
            params.push(b'}');
            self.notify_session(io, key, Method::ResourcesUpdated, &params);
        }
    }

    /// What clients of an endpoint call a server's resource; `None` where they can't see it.
    fn shown_uri(&self, endpoint: Option<&Arc<str>>, name: &str, uri: &str) -> Option<String> {
        if let Some(endpoint) = endpoint {
            return (**endpoint == *name).then(|| uri.to_owned());
        }
        let view = self.catalog.all();
        Some(view.resource_back(view.source(name)?, uri).into_owned())
    }

    fn notify_session(&mut self, io: &mut Io, key: Key, method: Method, params: &[u8]) {
        let stream = self.own_stream(key);
        let Some(to) = stream.or_else(|| self.only_call(key)) else { return };
        let mut out = Vec::new();
        kern_mcp::encode::notification(&mut out, method.as_str(), Some(params));
        self.deliver(io, to, &out, Ending::More);
    }

    /// The catalog changed: tell every client whose lists did.
    pub(super) fn lists_changed(&mut self, io: &mut Io, before: &Catalog, after: &Catalog) {
        for key in self.listens.keys() {
            let Some(listen) = self.listens.get(key) else { continue };
            let changed = changed(listen.endpoint.as_ref(), before, after);
            let wanted = listen.lists;
            for (at, (_, method)) in LIST_MEMBERS.iter().enumerate() {
                if changed[at] && wanted[at] {
                    self.tell_listen(io, key, *method, b"{");
                }
            }
        }
        let sessions: Vec<_> =
            self.sessions.iter().map(|(key, session)| (key, session.endpoint.clone())).collect();
        for (key, endpoint) in sessions {
            let changed = changed(endpoint.as_ref(), before, after);
            for (at, (_, method)) in LIST_MEMBERS.iter().enumerate() {
                if changed[at] {
                    self.notify_session(io, key, *method, b"{}");
                }
            }
        }
    }

    /// A session's own server changed its lists. Which of them is not known here: the client asks
    /// again for what it uses.
    pub(super) fn lists_changed_for(&mut self, io: &mut Io, session: Key) {
        for (_, method) in LIST_MEMBERS {
            self.notify_session(io, session, method, b"{}");
        }
    }
}

/// Which of an endpoint's lists differ between two catalogs.
fn changed(endpoint: Option<&Arc<str>>, before: &Catalog, after: &Catalog) -> [bool; 3] {
    let view = |catalog: &Catalog| -> Option<Arc<View>> {
        match endpoint {
            None => Some(Arc::clone(catalog.all())),
            Some(name) => catalog.one(name).map(Arc::clone),
        }
    };
    let mut lists = [false; 3];
    match (view(before), view(after)) {
        (Some(before), Some(after)) => {
            for kind in Catalog::changed(&before, &after) {
                lists[list_index(kind)] = true;
            }
        }
        (None, None) => {}
        _ => lists = [true; 3],
    }
    lists
}
