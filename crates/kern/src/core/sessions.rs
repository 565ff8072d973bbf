//! Messages of clients that have a session, and the end of sessions.

use std::sync::Arc;
use std::time::Duration;

use kern_mcp::envelope::ScanFault;
use kern_mcp::errors::Cause;
use kern_mcp::{Envelope, Kind, Method, scan};
use kern_session::Token;
use kern_session::life::Event;
use kern_terms::{Era, Key};

use super::words::{Ending, Forwarded, ReplyTo};
use super::{Core, Io};
use crate::pipeline::{self, Inbound};

impl Core {
    pub(super) fn forwarded(&mut self, io: &mut Io, forwarded: Forwarded) {
        let Forwarded { reply, token, endpoint, message } = forwarded;
        if self.channels.contains_key(&token) {
            self.channel_post(io, reply, token, &message);
        } else {
            self.session_message(io, reply, token, endpoint, &message, None);
        }
    }

    /// A message that names a session of this core.
    pub(super) fn session_message(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        token: Token,
        endpoint: Option<Arc<str>>,
        message: &[u8],
        envelope: Option<Envelope>,
    ) {
        let envelope = match envelope.map_or_else(|| scan(message, &self.scan_limits), Ok) {
            Ok(envelope) => envelope,
            Err(error) if error.fault == ScanFault::Batch => {
                return self.session_batch(io, reply, token, endpoint.as_ref(), message);
            }
            Err(error) => {
                // The limits of the configuration changed on its way here.
                return self.refuse_batch(io, reply, error.fault.code(), &error.to_string());
            }
        };
        let known = self.sessions.named(&token, endpoint.as_ref(), self.now);
        let Some((key, session)) = known.and_then(|key| Some((key, self.sessions.get(key)?)))
        else {
            return self.session_ended(io, reply, message, &envelope);
        };
        let revision = session.revision;
        let reply = ReplyTo { session: reply.streams.then_some(key), ..reply };
        let inbound = Inbound { reply, endpoint, message, envelope, revision, session: Some(key) };
        match inbound.envelope.kind {
            Kind::Request => pipeline::request(self, io, &inbound),
            Kind::Notification => {
                self.deliver(io, reply, b"", Ending::Accepted);
                pipeline::notification(self, io, &inbound);
            }
            Kind::Result | Kind::Error => {
                self.deliver(io, reply, b"", Ending::Accepted);
                pipeline::response(self, io, &inbound);
            }
        }
    }

    /// An array that names a session of this core.
    fn session_batch(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        token: Token,
        endpoint: Option<&Arc<str>>,
        message: &[u8],
    ) {
        let Some(key) = self.sessions.named(&token, endpoint, self.now) else {
            return self.deny_stream(io, reply);
        };
        let reply = ReplyTo { session: reply.streams.then_some(key), ..reply };
        self.batch(io, reply, key, message);
    }

    fn session_ended(&mut self, io: &mut Io, reply: ReplyTo, message: &[u8], envelope: &Envelope) {
        // Only a request has an id of the client's own.
        let id = envelope.id.filter(|_| envelope.kind == Kind::Request);
        let id = id.map(|span| span.of(message));
        let mut out = Vec::new();
        let why = "this session has ended: send initialize again";
        kern_mcp::encode::error(&mut out, id, kern_mcp::errors::INVALID_REQUEST, why, None);
        self.deliver(io, reply, &out, Ending::Answer(404));
    }

    /// An exchange that named a session is over.
    pub(super) fn session_seen(&mut self, token: Token) {
        if let Some(key) = self.sessions.find(&token) {
            self.session_step(key, Event::Named);
        }
    }

    /// Something happened to a session that does not end it.
    pub(super) fn session_step(&mut self, key: Key, event: Event) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(key) {
            session.step(now, event);
        }
    }

    pub(super) fn deny_stream(&mut self, io: &mut Io, to: ReplyTo) {
        let mut out = Vec::new();
        let why = "this session has ended: send initialize again";
        kern_mcp::encode::error(&mut out, None, kern_mcp::errors::INVALID_REQUEST, why, None);
        self.deliver(io, to, &out, Ending::Answer(404));
    }

    pub(super) fn end_session(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        token: Token,
        endpoint: Option<&Arc<str>>,
    ) {
        match self.sessions.named(&token, endpoint, self.now) {
            Some(key) => {
                self.close_session(io, key);
                self.deliver(io, reply, b"", Ending::Done);
            }
            None => self.deny_stream(io, reply),
        }
    }

    /// Ends a session: its requests, its streams, its servers.
    pub(super) fn close_session(&mut self, io: &mut Io, key: Key) {
        let Some(mut session) = self.sessions.close(self.now, key) else { return };
        self.views.remove(&key);
        self.task_book.session_ended(key);
        self.done_book.session_ended(key);
        self.end_batches(io, key);
        self.end_trails(io, key, session.replay.take());
        for flight in session.calls().values().copied() {
            self.cancel_flight(io, flight);
        }
        for ask in session.asked {
            self.drop_ask(io, ask, "the client's session has ended");
        }
        for uri in session.subscriptions {
            self.lose_interest(io, session.endpoint.as_ref(), &uri);
        }
        if let Some(stream) = self.streams.remove(&key)
            && self.line_of(stream).is_none()
        {
            self.deliver(io, stream, b"", Ending::Nothing);
        }
        let its = |patient: &mut super::lists::Patient| patient.session == Some(key);
        for patient in self.patient.extract_if(.., its).collect::<Vec<_>>() {
            self.deliver(io, patient.reply, b"", Ending::Nothing);
        }
        let own: Vec<_> = self
            .private
            .range((key, super::UpstreamId(0))..=(key, super::UpstreamId(u32::MAX)))
            .map(|(_, hosted)| *hosted)
            .collect();
        for hosted in own {
            self.stop_hosted(io, hosted);
        }
    }

    pub(super) fn sweep_sessions(&mut self, io: &mut Io) {
        let idle = Duration::from_millis(self.setup.plan.limits.session_idle_timeout_ms);
        for key in self.sessions.expired(self.now, idle) {
            self.close_session(io, key);
        }
    }

    pub(crate) fn client_cancelled(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(id) = inbound.envelope.request_id.map(|span| span.of(inbound.message)) else {
            return;
        };
        if let Some(at) = self.patient_of(inbound, id) {
            let reply = self.patient.remove(at).reply;
            return self.deliver(io, reply, b"", Ending::Nothing);
        }
        let session = inbound.session.and_then(|key| self.sessions.get(key));
        if let Some(flight) = session.and_then(|session| session.calls().get(id).copied()) {
            self.cancel_flight(io, flight);
        }
    }

    /// Passes a client's notification to the servers that run for its session alone.
    pub(crate) fn pass_notification(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(session) = inbound.session else { return };
        if inbound.envelope.method == Method::Progress {
            return self.client_progress(io, inbound);
        }
        if inbound.envelope.method == Method::TasksStatus && self.serves_all(session) {
            return;
        }
        for hosted in self.old_servers_of(session) {
            self.send_to_server(io, hosted, None, inbound.message);
        }
    }

    /// `logging/setLevel` reaches the servers that run for this session alone.
    pub(super) fn level_to_servers(&mut self, io: &mut Io, session: Key, inbound: &Inbound<'_>) {
        let level = inbound.envelope.level.map(|span| span.of(inbound.message));
        let Some(level) = level else { return };
        let params = format!("{{\"level\":{}}}", String::from_utf8_lossy(level));
        for hosted in self.old_servers_of(session) {
            self.ask_server(io, hosted, Method::LoggingSetLevel, &params);
        }
    }

    /// The session's own servers that hear of it; one of the new era is told with each call.
    fn old_servers_of(&self, session: Key) -> Vec<Key> {
        let range = (session, super::UpstreamId(0))..=(session, super::UpstreamId(u32::MAX));
        let old = |hosted: &Key| {
            let known = self.hosted.get(*hosted);
            known.is_some_and(|it| it.instance.revision().era() == Era::Legacy)
        };
        self.private.range(range).map(|(_, hosted)| *hosted).filter(old).collect()
    }

    pub(super) fn refuse_busy(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        self.refuse(io, inbound, Cause::Internal, "too many requests are open: try again later");
    }
}
