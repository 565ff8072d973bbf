//! Requests brought to a client in mid-call (`roots/list`, `sampling/createMessage`,
//! `elicitation/create`): of old servers, and of calls that a modern server answers in rounds.
//!
//! Only an old server that runs for one session alone can ask: it was told what that client can do.
//! A shared one was told that its client can do nothing, so its requests are refused. A modern
//! server asks in its answer, so the request belongs to a call (`rounds`).
//!
//! Invariants: a request reaches at most one client; each is answered once, by the client, by the
//! end of the session or by the clock.

use std::time::Duration;

use kern_mcp::{Envelope, Method, Splice, encode, errors};
use kern_session::Session;
use kern_session::call::State;
use kern_terms::{FlightId, Instant, Key};
use kern_upstream::http::Post as HttpPost;

use super::http_calls::legacy_headers;
use super::http_link::{ASIDE, Which};
use super::words::{Ending, Health, UpstreamId};
use super::{Core, Io};
use crate::pipeline::Inbound;

/// A request that waits for its client.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) asker: Asker,
    pub(super) session: Key,
    pub(super) since: Instant,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Asker {
    /// An old server that runs for the session alone.
    Server {
        /// Its instance.
        hosted: Key,
        /// Its JSON-RPC id, raw.
        id: Box<[u8]>,
    },
    /// A round of a call.
    Round {
        /// The call.
        flight: Key,
    },
    /// A task of a modern server, whose end a client waits for.
    Task {
        /// The request that waits.
        flight: Key,
    },
}

impl Ask {
    fn hosted(&self) -> Option<Key> {
        match self.asker {
            Asker::Server { hosted, .. } => Some(hosted),
            Asker::Round { .. } | Asker::Task { .. } => None,
        }
    }

    fn is_of(&self, server: Key, its_id: &[u8]) -> bool {
        matches!(&self.asker, Asker::Server { hosted, id } if *hosted == server && **id == *its_id)
    }
}

/// The id a forwarded request carries to the client.
pub(super) fn ask_id(key: Key) -> String {
    format!("\"q{}\"", key.to_bits())
}

fn is_about_tasks(method: Method) -> bool {
    matches!(
        method,
        Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksList
    )
}

fn parse_ask_id(raw: &[u8]) -> Option<Key> {
    let digits = raw.strip_prefix(b"\"q")?.strip_suffix(b"\"")?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(Key::from_bits)
}

impl Core {
    pub(super) fn server_asks(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        hosted: Option<Key>,
        flight: Option<Key>,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(id) = envelope.id.map(|span| span.of(message)) else { return };
        // A shared server over HTTP has its instance on the core that hosts it, if not here.
        let known = self.upstreams.get(&upstream);
        let Some(hosted) = hosted.or_else(|| known?.hosted) else {
            return self.answer_shared(io, upstream, envelope.method, id);
        };
        if envelope.method == Method::Ping {
            let mut out = Vec::new();
            encode::result(&mut out, id, b"{}");
            return self.send_to_server(io, hosted, None, &out);
        }
        let Some(known) = self.hosted.get(hosted) else { return };
        if known.lease.is_some() {
            return self.leased_asks(io, hosted, flight, message, envelope);
        }
        let Some(session) = known.session else {
            let why = "this client declared no such capability";
            return self.refuse_server(io, hosted, id, errors::METHOD_NOT_FOUND, why);
        };
        if is_about_tasks(envelope.method) && self.serves_all(session) {
            let why = "this client's tasks are not to be seen where several servers are one";
            return self.refuse_server(io, hosted, id, errors::METHOD_NOT_FOUND, why);
        }
        let on_call = flight.and_then(|key| self.flights.get(key)).map(|flight| flight.reply);
        let to = on_call
            .or_else(|| self.only_call(session))
            .or_else(|| self.own_stream(session))
            .or_else(|| self.any_call(session));
        let Some(to) = to else {
            let why = "the client has no stream open on which it could be asked";
            return self.refuse_server(io, hosted, id, errors::INTERNAL_ERROR, why);
        };
        let Some(ask) = self.add_ask(Asker::Server { hosted, id: id.into() }, session) else {
            let why = "too many requests wait for this client";
            return self.refuse_server(io, hosted, id, errors::INTERNAL_ERROR, why);
        };
        let mut splice = Splice::new(message);
        if let Some(span) = envelope.id {
            splice.replace(span, ask_id(ask).into_bytes());
        }
        self.expose_tasks(&mut splice, envelope, session, hosted);
        let mut out = Vec::with_capacity(message.len() + 24);
        splice.write_into(&mut out);
        self.deliver(io, to, &out, Ending::More);
    }

    /// Takes a request for a session's client; `None` if too many wait for it already.
    pub(super) fn add_ask(&mut self, asker: Asker, session: Key) -> Option<Key> {
        let known = self.sessions.get_mut(session)?;
        if known.asked.len() >= Session::ASKED_MAX {
            return None;
        }
        let ask = self.asks.insert(Ask { asker, session, since: self.now });
        known.asked.insert(ask);
        Some(ask)
    }

    /// Takes a request off the table.
    pub(super) fn take_ask(&mut self, key: Key) -> Option<Ask> {
        let ask = self.asks.remove(key)?;
        if let Some(session) = self.sessions.get_mut(ask.session) {
            session.asked.remove(&key);
        }
        Some(ask)
    }

    /// Any open call of a session: all its streams lead to the same client.
    fn any_call(&self, session: Key) -> Option<super::words::ReplyTo> {
        let calls = self.sessions.get(session)?.calls();
        let open = |id: &FlightId| {
            let flight = self.flights.get(self.flight_key(*id)?)?;
            (flight.state != State::Answering).then_some(flight.reply)
        };
        calls.values().find_map(open)
    }

    /// Answers a shared server behind a URL whose instance is on another core.
    fn answer_shared(&mut self, io: &mut Io, id: UpstreamId, method: Method, ask: &[u8]) {
        let Some(Health::Up(up)) = self.upstreams.get(&id).map(|it| it.health.clone()) else {
            return;
        };
        let mut body = Vec::new();
        if method == Method::Ping {
            encode::result(&mut body, ask, b"{}");
        } else {
            let why = "this client declared no such capability";
            encode::error(&mut body, Some(ask), errors::METHOD_NOT_FOUND, why, None);
        }
        let headers = legacy_headers(up.revision, up.session_id.as_deref());
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        self.with_link(io, Which::Shared(id), &[], |link, wire, now, _| {
            let (headers, body): (_, &[&[u8]]) = (headers.as_slice(), &[&body]);
            let post = HttpPost { path: None, headers, body, replayable: false, tag: ASIDE };
            link.post(wire, now, post).is_ok()
        });
    }

    pub(super) fn refuse_server(
        &mut self,
        io: &mut Io,
        hosted: Key,
        id: &[u8],
        code: i64,
        why: &str,
    ) {
        let mut out = Vec::new();
        encode::error(&mut out, Some(id), code, why, None);
        self.send_to_server(io, hosted, None, &out);
    }

    /// A client answered a forwarded request.
    pub(crate) fn client_answered(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(span) = inbound.envelope.id else { return };
        let Some(key) = parse_ask_id(span.of(inbound.message)) else { return };
        // Another session's request is not this client's to answer.
        if self.asks.get(key).is_none_or(|ask| Some(ask.session) != inbound.session) {
            return;
        }
        let Some(ask) = self.take_ask(key) else { return };
        match ask.asker {
            Asker::Round { flight } => self.round_answered(io, flight, key, inbound),
            Asker::Task { flight } => self.task_answered(io, flight, key, inbound),
            Asker::Server { hosted, id } => {
                let mut splice = Splice::new(inbound.message);
                splice.replace(span, id.into_vec());
                self.unexpose_tasks(&mut splice, &inbound.envelope, hosted);
                let mut out = Vec::with_capacity(inbound.message.len() + 24);
                splice.write_into(&mut out);
                self.send_to_server(io, hosted, None, &out);
            }
        }
    }

    /// A server no longer wants the answer to its request: its client is told, under the id it knows.
    pub(super) fn server_cancels(
        &mut self,
        io: &mut Io,
        hosted: Key,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(span) = envelope.request_id else { return };
        let id = span.of(message);
        self.lease_withdraws(io, hosted, id);
        let found = self.asks.iter().find(|(_, ask)| ask.is_of(hosted, id)).map(|(key, _)| key);
        let Some(key) = found else { return };
        let Some(ask) = self.take_ask(key) else { return };
        let mut splice = Splice::new(message);
        splice.replace(span, ask_id(key).into_bytes());
        let mut out = Vec::with_capacity(message.len() + 24);
        splice.write_into(&mut out);
        let stream = self.own_stream(ask.session);
        if let Some(to) = stream.or_else(|| self.any_call(ask.session)) {
            self.deliver(io, to, &out, Ending::More);
        }
    }

    /// Passes a client's progress on a server's request to the only server that is asking; a token
    /// does not say which of several it is for.
    pub(super) fn client_progress(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(session) = inbound.session.and_then(|key| self.sessions.get(key)) else { return };
        let mut asking: Vec<Key> =
            session.asked.iter().filter_map(|key| self.asks.get(*key)?.hosted()).collect();
        asking.dedup();
        if let [hosted] = asking[..] {
            self.send_to_server(io, hosted, None, inbound.message);
        }
    }

    /// Answers in a client's place.
    pub(super) fn drop_ask(&mut self, io: &mut Io, key: Key, why: &str) {
        match self.take_ask(key).map(|ask| ask.asker) {
            Some(Asker::Server { hosted, id }) => {
                self.refuse_server(io, hosted, &id, errors::INTERNAL_ERROR, why);
            }
            Some(Asker::Round { flight } | Asker::Task { flight }) => {
                self.fail_flight(io, flight, why)
            }
            None => {}
        }
    }

    /// The server that asked is gone, or forgot that it did: another one in its place must not get
    /// the answers.
    pub(super) fn forget_asks(&mut self, hosted: Key) {
        self.forget_leased_asks(hosted);
        let all = self.asks.iter().filter(|(_, ask)| ask.hosted() == Some(hosted));
        for key in all.map(|(key, _)| key).collect::<Vec<_>>() {
            self.take_ask(key);
        }
    }

    pub(super) fn sweep_asks(&mut self, io: &mut Io) {
        let now = self.now;
        let most = Duration::from_millis(self.setup.plan.limits.answer_timeout_ms);
        // A round has a clock of its own.
        let over = |ask: &Ask| ask.hosted().is_some() && now.since(ask.since) >= most;
        let late: Vec<_> =
            self.asks.iter().filter(|(_, ask)| over(ask)).map(|(key, _)| key).collect();
        for key in late {
            self.drop_ask(io, key, "the client did not answer within limits.answer_timeout");
        }
    }
}
