//! What servers send back: answers, progress, log messages, requests of their own.
//!
//! Invariants: an answer is accepted only from the upstream its flight went to; a message that
//! belongs to no flight of the sender is dropped, so one server can't speak for another.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::{Envelope, Kind, Method, Splice, errors, json};
use kern_session::Level;
use kern_session::call::{Effect, Event, State};
use kern_terms::{Era, FlightId, Key, Revision};

use super::flight::Flight;
use super::parks::Outcome;
use super::words::{Ending, Post, UpstreamId};
use super::{Core, Io};

impl Core {
    pub(super) fn flight_failed(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        id: FlightId,
        why: &str,
    ) {
        if let Some(key) = self.flight_key(id)
            && self.flights.get(key).is_some_and(|flight| flight.upstream == upstream)
        {
            self.fail_flight(io, key, why);
        }
    }

    /// Ends a flight with an error of its upstream's.
    pub(super) fn blame(&mut self, io: &mut Io, key: Key, why: &str) {
        let Some(upstream) = self.flights.get(key).map(|flight| flight.upstream) else { return };
        let upstream = self.upstreams.get(&upstream);
        let name = upstream.map(|upstream| Arc::clone(&upstream.spec.name)).unwrap_or_default();
        self.fail_flight(io, key, &format!("upstream {name:?}: {why}"));
    }

    /// The flight a server's message is about: by its id, or by its progress token.
    pub(super) fn flight_of(message: &[u8], envelope: &Envelope) -> Option<FlightId> {
        let span = match envelope.kind {
            Kind::Result | Kind::Error => envelope.id,
            Kind::Notification if envelope.method == Method::Progress => envelope.progress_token,
            _ => None,
        };
        let raw = span?.of(message);
        json::integer_u64(raw).and_then(FlightId::from_number)
    }

    /// Brings a server's message to its flight, on whichever core that is.
    /// `private` is the instance it came from where that runs for one session alone.
    pub(super) fn bring_back(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        private: Option<Key>,
        flight: FlightId,
        message: &[u8],
        envelope: &Envelope,
    ) {
        if flight.core() == self.id {
            return self.returned(io, upstream, private, flight, message, envelope);
        }
        // A session's own server is on the session's core, and so are its flights.
        if private.is_none() && self.setup.cores.contains(&flight.core()) {
            let message = Bytes::copy_from_slice(message);
            let envelope = Box::new(*envelope);
            io.post(flight.core(), Post::Return { upstream, flight, message, envelope });
        }
    }

    pub(super) fn returned(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        private: Option<Key>,
        id: FlightId,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(key) = self.flight_key(id) else {
            if envelope.method == Method::Progress {
                return self.task_progress(io, (upstream, private), id, message, envelope);
            }
            tracing::debug!(?id, "an answer came too late");
            return;
        };
        let sent = |flight: &Flight| flight.upstream == upstream && flight.private == private;
        if !self.flights.get(key).is_some_and(sent) {
            tracing::warn!(?upstream, "a server answered a request that was not sent to it");
            return;
        }
        if envelope.kind.is_response() {
            self.answered(io, key, message, envelope);
        } else {
            self.during(io, key, message, envelope);
        }
    }

    /// The revision the server of a flight speaks. Where it is not known any more (it went down
    /// after it answered), the answer tells: only the new era's results have a type.
    pub(super) fn server_revision(&self, key: Key, envelope: &Envelope) -> Revision {
        let Some(flight) = self.flights.get(key) else { return Revision::LEGACY_LATEST };
        if let Some(hosted) = flight.private.and_then(|key| self.hosted.get(key)) {
            return hosted.instance.revision();
        }
        match self.upstreams.get(&flight.upstream).map(|upstream| &upstream.health) {
            Some(super::words::Health::Up(up)) => up.revision,
            _ if envelope.result_type.is_some() => Revision::LATEST,
            _ => Revision::LEGACY_LATEST,
        }
    }

    pub(super) fn answered(&mut self, io: &mut Io, key: Key, message: &[u8], envelope: &Envelope) {
        // No server has it: this one guessed, or says something twice.
        if !self.call_state(key).takes_answers() {
            tracing::debug!(?key, "an answer nobody waits for");
            return;
        }
        if self.leg_answered(io, key, message, envelope) {
            return;
        }
        let from = self.server_revision(key, envelope);
        if self.needs_round(key, message, envelope) {
            return self.round_required(io, key, message, envelope);
        }
        let id = self.flight_id(key);
        match self.call_step(key, Event::Answered) {
            Effect::Deliver => {}
            Effect::Keep => return self.keep_for_client(io, key, Outcome::Answer(message)),
            _ => return,
        }
        let Some(flight) = self.land(io, key) else { return };
        self.expect_end(flight.exchange, flight.which());
        self.note_task(id, &flight, message, envelope);
        let era = flight.revision.era();
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.encode_answer(&flight, message, envelope, from, &mut out);
        if let Some((original, exposed)) = &flight.exposed_uri {
            rename_contents(&mut out, original, exposed);
        }
        if let Err(why) = self.name_tasks(&flight, from, message, envelope, &mut out) {
            self.out = out;
            return self.refuse_id(io, flight.reply, &flight.id, era, why);
        }
        let status = match (envelope.error_code, era) {
            (Some(code), Era::Modern) => errors::modern_status_of(code),
            _ => 200,
        };
        self.deliver(io, flight.reply, &out, Ending::Answer(status));
        self.out = out;
    }

    /// A notification while the call is under way.
    fn during(&mut self, io: &mut Io, key: Key, message: &[u8], envelope: &Envelope) {
        if !self.call_state(key).takes_answers() {
            return;
        }
        let advances = self.progress_advances(key, message, envelope);
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let reply = flight.reply;
        match envelope.method {
            Method::Progress => {
                flight.heard = now;
                let (Some(token), Some(span)) = (&flight.progress, envelope.progress_token) else {
                    return;
                };
                if !advances {
                    return;
                }
                let mut splice = Splice::new(message);
                splice.replace(span, token.to_vec());
                let mut out = Vec::with_capacity(message.len() + token.len());
                splice.write_into(&mut out);
                self.deliver(io, reply, &out, Ending::Lossy);
            }
            Method::LogMessage => {
                let level = envelope.level.and_then(|span| json::text(span.of(message)));
                let level = level.and_then(|level| Level::parse(&level));
                let session = flight.session.and_then(|key| self.sessions.get(key));
                // A client of the new era hears only what it asked for in the call itself.
                let wanted = match session {
                    Some(session) => session.wants_log(level),
                    None => flight.log_level.is_some_and(|least| level >= Some(least)),
                };
                if wanted {
                    self.deliver(io, reply, message, Ending::Lossy);
                }
            }
            _ => self.deliver(io, reply, message, Ending::More),
        }
    }

    /// A message on the stream of one call, over HTTP: whatever it is, it belongs to that call.
    pub(super) fn on_call_stream(
        &mut self,
        io: &mut Io,
        key: Key,
        hosted: Option<Key>,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(upstream) = self.flights.get(key).map(|flight| flight.upstream) else { return };
        match envelope.kind {
            Kind::Result | Kind::Error => {
                if Self::flight_of(message, envelope) == Some(self.flight_id(key)) {
                    self.answered(io, key, message, envelope);
                } else if envelope.kind == Kind::Error && is_anonymous(message, envelope) {
                    // An error that could not name its request still answers the exchange's only
                    // one.
                    self.answered(io, key, message, envelope);
                } else {
                    tracing::warn!(?upstream, "a server answered with a wrong id: ignored");
                }
            }
            Kind::Notification if is_change(envelope.method) => {
                self.server_changed(io, upstream, hosted, message, envelope);
            }
            Kind::Notification if envelope.method == Method::TasksStatus => {
                let flight = self.flights.get(key);
                match flight.and_then(|it| Some((it.private?, it.session?, it.reply))) {
                    Some((hosted, session, reply)) => {
                        let message = self.exposing_tasks(session, hosted, message, envelope);
                        self.deliver(io, reply, &message, Ending::More);
                    }
                    None => self.task_status_of_shared(io, upstream, message),
                }
            }
            Kind::Notification if envelope.method == Method::Cancelled => {
                if let Some(hosted) = hosted {
                    self.server_cancels(io, hosted, message, envelope);
                }
            }
            Kind::Notification => {
                let own = Self::flight_of(message, envelope) == Some(self.flight_id(key));
                if envelope.method != Method::Progress || own {
                    self.during(io, key, message, envelope);
                }
            }
            Kind::Request => self.server_asks(io, upstream, hosted, Some(key), message, envelope),
        }
    }

    /// A message that came outside any call's stream: over a pipe, or a server's own stream.
    pub(super) fn server_message(
        &mut self,
        io: &mut Io,
        hosted: Key,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(known) = self.hosted.get_mut(hosted) else { return };
        let (upstream, session) = (known.upstream, known.session);
        if let Some(flight) = Self::flight_of(message, envelope) {
            if envelope.kind.is_response() {
                known.audience.answered(flight);
            }
            let private = (!known.is_shared()).then_some(hosted);
            return self.bring_back(io, upstream, private, flight, message, envelope);
        }
        match envelope.kind {
            Kind::Result | Kind::Error => self.own_answer(io, hosted, message, envelope),
            Kind::Request => self.server_asks(io, upstream, Some(hosted), None, message, envelope),
            Kind::Notification if is_change(envelope.method) => {
                self.server_changed(io, upstream, Some(hosted), message, envelope);
            }
            Kind::Notification if envelope.method == Method::Cancelled => {
                self.server_cancels(io, hosted, message, envelope);
            }
            Kind::Notification => match session {
                Some(session) => {
                    let message = self.exposing_tasks(session, hosted, message, envelope);
                    self.tell_session(io, session, &message, envelope);
                }
                None if envelope.method == Method::TasksStatus => {
                    self.task_status_of_shared(io, upstream, message);
                }
                None => match self.only_lease_call(hosted) {
                    Some(call) => self.during(io, call, message, envelope),
                    None => self.log_of_shared(io, hosted, message, envelope),
                },
            },
        }
    }

    /// A notification of a server that runs for one session alone.
    fn tell_session(&mut self, io: &mut Io, session: Key, message: &[u8], envelope: &Envelope) {
        let level = envelope.level.and_then(|span| json::text(span.of(message)));
        let level = level.and_then(|level| Level::parse(&level));
        let known = self.sessions.get(session);
        if envelope.method == Method::LogMessage
            && !known.is_some_and(|session| session.wants_log(level))
        {
            return;
        }
        if let Some(to) = self.own_stream(session).or_else(|| self.only_call(session)) {
            let ending = match envelope.method {
                Method::LogMessage => Ending::Lossy,
                _ => Ending::More,
            };
            self.deliver(io, to, message, ending);
        }
    }

    /// Where a message for a session can go that has no stream of its own: its only open call.
    pub(super) fn only_call(&self, session: Key) -> Option<super::words::ReplyTo> {
        let calls = self.sessions.get(session)?.calls();
        let (_, flight) = calls.first_key_value().filter(|_| calls.len() == 1)?;
        let flight = self.flights.get(self.flight_key(*flight)?)?;
        (flight.state != State::Answering).then_some(flight.reply)
    }

    /// A shared server's log message does not say whose call it is about: where it could be about
    /// calls of several clients, none of them gets it.
    fn log_of_shared(&mut self, io: &mut Io, key: Key, message: &[u8], envelope: &Envelope) {
        let Some(hosted) = self.hosted.get(key) else { return };
        let id = hosted.upstream;
        if envelope.method != Method::LogMessage {
            return;
        }
        if let Some(flight) = hosted.audience.hears() {
            return self.bring_back(io, id, None, flight, message, envelope);
        }
        if let Some(upstream) = self.upstreams.get(&id) {
            let params = envelope.params.map(|span| span.of(message)).unwrap_or_default();
            let text = String::from_utf8_lossy(&params[..params.len().min(2_000)]);
            tracing::info!(upstream = &*upstream.spec.name, "{text}");
        }
    }
}

fn is_anonymous(message: &[u8], envelope: &Envelope) -> bool {
    envelope.id.is_none_or(|span| span.of(message) == b"null")
}

fn is_change(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsListChanged
            | Method::PromptsListChanged
            | Method::ResourcesListChanged
            | Method::ResourcesUpdated
            | Method::SubscriptionsAcknowledged
            | Method::TasksChanged
    )
}

/// Gives the contents of a read resource the URI the client asked for.
fn rename_contents(message: &mut Vec<u8>, original: &str, exposed: &str) {
    let all = kern_mcp::Span::all(message);
    let Some(result) = json::get(message, all, "result") else { return };
    let Some(contents) = json::get(message, result, "contents") else { return };
    let mut quoted = Vec::new();
    json::quote_into(&mut quoted, exposed);
    let mut splice = Splice::new(message);
    for element in json::elements(message, contents) {
        let uri = json::get(message, element, "uri");
        if let Some(uri) =
            uri.filter(|uri| json::text(uri.of(message)).as_deref() == Some(original))
        {
            splice.replace(uri, quoted.clone());
        }
    }
    let mut renamed = Vec::with_capacity(message.len() + 64);
    splice.write_into(&mut renamed);
    *message = renamed;
}
