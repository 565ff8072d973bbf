//! Conversations over one connection: stdio, Unix socket, socket pair, HTTP+SSE.
//!
//! The connection is the session: what `initialize` opened on it ends with it. Modern requests may
//! come on the same connection; they carry all they need.
//!
//! Invariant: a line that is no message costs one error answer and nothing else.

use kern_mcp::envelope::ScanFault;
use kern_mcp::lines::LineTooLong;
use kern_mcp::{Kind, Method, scan};
use kern_terms::{FlightId, Key, Revision};

use super::edge::{self, Doing, Edge, Line};
use super::lists::Patient;
use super::words::{Ending, ReplyTo};
use super::{Core, Io};
use crate::pipeline::{self, Inbound};
use kern_session::Token;

impl Core {
    /// The conversation carried by an edge, if it carries one.
    pub(super) fn line_mut(&mut self, key: Key) -> Option<&mut Line> {
        match self.edges.get_mut(key) {
            Some(Edge { kind: edge::Kind::Line(line), .. }) => Some(line),
            Some(Edge { kind: edge::Kind::Http(http), .. }) => match &mut http.doing {
                Doing::Channel { line, .. } => Some(line),
                _ => None,
            },
            _ => None,
        }
    }

    /// The conversation that `reply` leads to, if its connection is of this core and carries one.
    pub(super) fn line_of(&mut self, reply: ReplyTo) -> Option<&mut Line> {
        if reply.core == self.id { self.line_mut(reply.edge) } else { None }
    }

    /// Where messages of a conversation go.
    pub(super) fn channel_reply(&self, key: Key) -> ReplyTo {
        let exchange = match self.edges.get(key) {
            Some(Edge { kind: edge::Kind::Http(http), .. }) => http.exchange,
            _ => 0,
        };
        ReplyTo::new(self.id, key, exchange)
    }

    pub(super) fn line_input(&mut self, io: &mut Io, key: Key, bytes: &[u8]) {
        let limit = self.setup.plan.limits.message_bytes;
        let Some(line) = self.line_mut(key) else { return };
        let mut decoder =
            std::mem::replace(&mut line.decoder, kern_mcp::lines::Decoder::new(limit));
        let mut lines = decoder.push(bytes);
        while let Some(next) = lines.next() {
            match next {
                Ok(message) => self.channel_message(io, key, message),
                // Who waits for an answer to it is told under its id; nobody waits for the rest.
                Err(LineTooLong { outline: Some(outline), .. }) if !outline.request => {}
                Err(error) => {
                    let mut out = Vec::new();
                    let id = error.outline.as_ref().map(|outline| &*outline.id);
                    kern_mcp::encode::error(&mut out, id, -32600, &error.to_string(), None);
                    let reply = self.channel_reply(key);
                    self.deliver(io, reply, &out, Ending::More);
                }
            }
        }
        drop(lines);
        if let Some(line) = self.line_mut(key) {
            line.decoder = decoder;
        }
        // A client that does not read its answers may not ask for more.
        if let Some(edge) = self.edges.get(key)
            && io.is_full(edge.stream)
        {
            io.receive(edge.stream, false);
        }
    }

    /// An HTTP+SSE client posted a message: it is acknowledged here and answered on the stream.
    pub(super) fn channel_post(&mut self, io: &mut Io, from: ReplyTo, token: Token, body: &[u8]) {
        let Some(key) = self.channels.get(&token).copied() else {
            let mut body = Vec::new();
            let why = "this session has ended: open /sse again";
            kern_mcp::encode::error(&mut body, None, -32600, why, None);
            return self.deliver(io, from, &body, Ending::Answer(404));
        };
        self.deliver(io, from, b"", Ending::Accepted);
        self.channel_message(io, key, body);
    }

    pub(super) fn channel_message(&mut self, io: &mut Io, key: Key, message: &[u8]) {
        let reply = self.channel_reply(key);
        let envelope = match scan(message, &self.scan_limits) {
            Ok(envelope) => envelope,
            Err(error) if error.fault == ScanFault::Batch => {
                return match self.line_mut(key).and_then(|line| line.session) {
                    Some(session) => self.batch(io, reply, session, message),
                    None => self.refuse_batch(io, reply, -32600, super::batches::NO_SESSION),
                };
            }
            Err(error) => {
                let id = error.id.map(|span| span.of(message));
                let mut out = Vec::new();
                kern_mcp::encode::error(&mut out, id, error.fault.code(), &error.to_string(), None);
                return self.deliver(io, reply, &out, Ending::More);
            }
        };
        let Some(line) = self.line_mut(key) else { return };
        let endpoint = line.endpoint.clone();
        let session = line.session;
        let modern = envelope.protocol_version.is_some()
            || (session.is_none() && envelope.method == Method::ServerDiscover);
        if modern {
            return self.channel_modern(
                io,
                key,
                Inbound {
                    reply,
                    endpoint,
                    message,
                    envelope,
                    revision: Revision::V2026_07_28,
                    session: None,
                },
            );
        }
        let revision = session
            .and_then(|session| self.sessions.get(session))
            .map_or(Revision::LEGACY_LATEST, |session| session.revision);
        let inbound = Inbound { reply, endpoint, message, envelope, revision, session };
        let before_session = matches!(inbound.envelope.method, Method::Initialize | Method::Ping);
        match inbound.envelope.kind {
            Kind::Request if session.is_none() && !before_session => {
                let why = "send initialize first, or speak 2026-07-28";
                self.refuse(io, &inbound, kern_mcp::errors::Cause::InvalidRequest, why);
            }
            Kind::Request => pipeline::request(self, io, &inbound),
            Kind::Notification if session.is_none() => {
                self.channel_cancel(io, key, &inbound);
            }
            Kind::Notification => pipeline::notification(self, io, &inbound),
            Kind::Result | Kind::Error => pipeline::response(self, io, &inbound),
        }
    }

    fn channel_modern(&mut self, io: &mut Io, key: Key, inbound: Inbound<'_>) {
        match inbound.envelope.kind {
            Kind::Request => {}
            Kind::Notification => return self.channel_cancel(io, key, &inbound),
            Kind::Result | Kind::Error => return,
        }
        let checked = pipeline::check_modern(inbound.message, &inbound.envelope)
            .and_then(|()| pipeline::check_version(inbound.message, &inbound.envelope));
        match checked {
            Ok(()) => pipeline::request(self, io, &inbound),
            Err(fault) => self.refuse_with(io, &inbound, fault),
        }
    }

    /// `notifications/cancelled` of a client without a session.
    fn channel_cancel(&mut self, io: &mut Io, key: Key, inbound: &Inbound<'_>) {
        if inbound.envelope.method != Method::Cancelled {
            return;
        }
        let Some(id) = inbound.envelope.request_id else { return };
        let id = id.of(inbound.message);
        let Some(line) = self.line_mut(key) else { return };
        if let Some(flight) = line.calls.remove(id) {
            return self.cancel_flight(io, flight);
        }
        let listens = line.listens.clone();
        for listen in listens {
            if self.listens.get(listen).is_some_and(|known| *known.id == *id) {
                self.drop_listen(io, listen);
            }
        }
    }

    /// Remembers which flight carries a client's request, so that the client can cancel it.
    /// `false` if the id is in use: two answers could not be told apart.
    pub(super) fn remember_call(&mut self, inbound: &Inbound<'_>, flight: FlightId) -> bool {
        let (id, now) = (inbound.id(), self.now);
        if let Some(session) = inbound.session.and_then(|key| self.sessions.get_mut(key)) {
            return session.begin_call(now, id, flight).is_none();
        }
        if let Some(line) = self.line_of(inbound.reply) {
            return line.calls.insert(id.into(), flight).is_none();
        }
        // A connection of another core is told by post.
        if inbound.reply.core == self.id {
            self.note_exchange(inbound.reply, flight);
        }
        true
    }

    /// Whether the client already has a request open under this id.
    pub(crate) fn id_in_use(&mut self, inbound: &Inbound<'_>) -> bool {
        let id = inbound.id();
        // One that waits for servers tries again under its own id.
        let itself = |it: &Patient| it.reply == inbound.reply && it.message == inbound.message;
        let waits = self.patient_of(inbound, id).is_some_and(|at| !itself(&self.patient[at]));
        if let Some(session) = inbound.session.and_then(|key| self.sessions.get(key)) {
            return waits || session.calls().contains_key(id);
        }
        let Some(line) = self.line_of(inbound.reply) else { return false };
        if waits || line.calls.contains_key(id) {
            return true;
        }
        let listens = line.listens.clone();
        listens.iter().any(|key| self.listens.get(*key).is_some_and(|listen| *listen.id == *id))
    }

    /// How many requests of this client are on their way.
    pub(super) fn open_calls(&mut self, inbound: &Inbound<'_>) -> usize {
        if let Some(session) = inbound.session.and_then(|key| self.sessions.get(key)) {
            return session.calls().len();
        }
        self.line_of(inbound.reply).map_or(0, |line| line.calls.len())
    }
}
