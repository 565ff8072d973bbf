//! Calls of legacy clients that a modern server answers in rounds: its questions go to the client
//! as requests, its answers go back with the call, sent again.
//!
//! What happens next in a call is decided in `kern_session::rounds`; here it is done. Invariants:
//! each round has a flight id of its own, so that a late answer to an earlier one finds nothing;
//! a flight leaves the table together with every request that waits for its client.

use std::time::Duration;

use kern_mcp::era::rounds;
use kern_mcp::{Envelope, Kind, Method, encode, json, scan};
use kern_session::call;
use kern_session::rounds::{Answer, Event, Rounds, Step};
use kern_terms::{Era, Key};
use kern_upstream::call::Call;

use super::asks::{Asker, ask_id};
use super::flight::{Flight, Parked};
use super::place::Place;
use super::queued::NO_ROOM;
use super::timers::Timer;
use super::words::{Ending, Health, ReplyTo};
use super::{Core, Io};
use crate::pipeline::Inbound;

/// Buffers kept for the next messages, and the largest of them, bytes: 1 MiB a core.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 4 << 10;

/// What is kept of a call that may come back for another round.
#[derive(Debug)]
pub(super) struct Conversation {
    /// There from the first round on, which few calls have.
    rounds: Option<Box<Rounds>>,
    /// How long its client may take.
    patience: Duration,
    /// The call as the client sent it; memory of the core's, to be used again.
    message: Vec<u8>,
    name: Option<String>,
    uri: Option<String>,
    /// The greatest progress the client heard of.
    progress: f64,
}

impl Conversation {
    fn rounds(&mut self) -> &mut Rounds {
        self.rounds.get_or_insert_with(|| Box::new(Rounds::new(self.patience)))
    }
}

/// What a client answered; `text` is the message of its error.
pub(super) fn answer_of<'a>(inbound: &Inbound<'a>, text: &'a str) -> Answer<'a> {
    let envelope = &inbound.envelope;
    match envelope.kind {
        Kind::Result => {
            Answer::Result(envelope.result.map_or(&b"null"[..], |it| it.of(inbound.message)))
        }
        _ => Answer::Error { code: envelope.error_code.unwrap_or_default(), message: text },
    }
}

impl Core {
    /// Keeps a legacy client's call for the rounds a modern server may want.
    pub(super) fn prepare_rounds(&mut self, key: Key, call: &Call<'_>) {
        let asks = matches!(
            call.envelope.method,
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
        );
        if !asks || call.from.era() == Era::Modern || !self.may_be_modern(key) {
            return;
        }
        let patience = Duration::from_millis(self.setup.plan.limits.answer_timeout_ms);
        let mut message = self.spare.pop().unwrap_or_default();
        message.extend_from_slice(call.message);
        let (name, uri) = (call.name.map(str::to_owned), call.uri.map(str::to_owned));
        if let Some(flight) = self.flights.get_mut(key) {
            let progress = f64::MIN;
            flight.rounds =
                Some(Conversation { rounds: None, patience, message, name, uri, progress });
        }
    }

    /// Keeps the memory of a call that is over for another.
    pub(super) fn recycle(&mut self, flight: &mut Flight) {
        if let Some(mut kept) = flight.parked.take() {
            kept._weight = None;
            let bytes = [&kept.message, &kept.client_info, &kept.client_capabilities];
            let bytes: usize = bytes.iter().map(|buffer| buffer.capacity()).sum();
            if bytes <= SPARE_BYTES_MAX && self.spare_calls.len() < SPARE_MAX {
                self.spare_calls.push(kept);
            }
        }
        let Some(conversation) = &mut flight.rounds else { return };
        let mut message = std::mem::take(&mut conversation.message);
        if message.capacity() <= SPARE_BYTES_MAX && self.spare.len() < SPARE_MAX {
            message.clear();
            self.spare.push(message);
        }
    }

    /// Whether the server of a flight speaks the new era, or is not known yet.
    fn may_be_modern(&self, key: Key) -> bool {
        let Some(flight) = self.flights.get(key) else { return false };
        if let Some(hosted) = flight.private.and_then(|key| self.hosted.get(key)) {
            return !hosted.instance.is_open() || hosted.instance.revision().era() == Era::Modern;
        }
        match self.upstreams.get(&flight.upstream).map(|upstream| &upstream.health) {
            Some(Health::Up(up)) => up.revision.era() == Era::Modern,
            _ => true,
        }
    }

    /// Whether an answer is one that only a modern client could take as it is.
    pub(super) fn needs_round(&self, key: Key, message: &[u8], envelope: &Envelope) -> bool {
        let asks = |kind: kern_mcp::Span| json::same_text(kind.of(message), "input_required");
        envelope.result_type.is_some_and(asks)
            && self.flights.get(key).is_some_and(|flight| flight.revision.era() == Era::Legacy)
    }

    /// A modern server needs input before it answers.
    pub(super) fn round_required(
        &mut self,
        io: &mut Io,
        key: Key,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(key) = self.begin_round(io, key) else { return };
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let session = flight.session.and_then(|session| self.sessions.get(session));
        let capabilities = session.map_or(&b"{}"[..], |session| &session.capabilities_modern);
        let Some(conversation) = &mut flight.rounds else {
            let why = "the server asks for input, which this request can't be given";
            return self.fail_flight(io, key, why);
        };
        let questions = rounds::questions(message, envelope);
        let asked = questions.clone().unwrap_or_default();
        let state = envelope.request_state.map(|span| span.of(message));
        let state = state.filter(|state| *state != b"null");
        let event = Event::Required { message, questions, state, capabilities };
        let step = conversation.rounds().step(now, event);
        match step {
            Step::Ask => {
                self.call_step(key, call::Event::Asked);
                self.ask_client(io, key, message, &asked);
            }
            step => self.next_step(io, key, step),
        }
    }

    /// Gives a flight a new id: the round that was answered is over.
    pub(super) fn begin_round(&mut self, io: &mut Io, key: Key) -> Option<Key> {
        let mut flight = self.flights.remove(key)?;
        self.expect_end(flight.exchange, flight.which());
        io.cancel(flight.timer);
        flight.exchange = None;
        flight.parked = None;
        flight.sent_in = None;
        flight.sent_again = false;
        flight.resume = None;
        let (session, id, reply) = (flight.session, flight.id.clone(), flight.reply);
        let (key, now) = (self.flights.insert(flight), self.now);
        let number = self.flight_id(key);
        if let Some(session) = session.and_then(|session| self.sessions.get_mut(session)) {
            session.begin_call(now, &id, number);
        } else if let Some(line) = self.line_of(reply) {
            line.calls.insert(id, number);
        } else if reply.core == self.id {
            self.took(io, reply, number);
        }
        Some(key)
    }

    /// Brings every question of a round to the client.
    fn ask_client(&mut self, io: &mut Io, key: Key, message: &[u8], asked: &[rounds::Question]) {
        let Some(flight) = self.flights.get(key) else { return };
        let (Some(session), Some(to)) = (flight.session, self.ask_route(flight)) else {
            let what = asked.first().map_or("input", |question| question.input.method());
            let why = format!(
                "the server asks for {what}, but the client takes no event stream for this call \
                 and has none of its own open"
            );
            return self.fail_flight(io, key, &why);
        };
        for (index, question) in asked.iter().enumerate() {
            let Some(ask) = self.add_ask(Asker::Round { flight: key }, session) else {
                return self.fail_flight(io, key, "too many requests wait for this client");
            };
            let Some(flight) = self.flights.get_mut(key) else { return };
            if let Some(conversation) = &mut flight.rounds {
                conversation.rounds().bind(index, ask);
            }
            let mut out = Vec::new();
            rounds::write_request(message, question, ask_id(ask).as_bytes(), &mut out);
            self.deliver(io, to, &out, Ending::More);
        }
        let now = self.now;
        if let Some(flight) = self.flights.get_mut(key)
            && let Some(conversation) = &mut flight.rounds
        {
            let left = conversation.rounds().left(now);
            flight.timer = io.timer(left, Timer::Flight(key).token());
        }
    }

    /// Where a call's client can be asked: on the call's own stream, or the session's.
    pub(super) fn ask_route(&self, flight: &Flight) -> Option<ReplyTo> {
        match flight.reply.streams {
            true => Some(flight.reply),
            false => self.own_stream(flight.session?),
        }
    }

    fn next_step(&mut self, io: &mut Io, key: Key, step: Step) {
        match step {
            Step::Retry => self.send_round(io, key),
            Step::Fail(why) => self.fail_flight(io, key, &why.to_string()),
            Step::Ask | Step::Wait | Step::Ignore => {}
        }
    }

    /// The client answered a question of a call.
    pub(super) fn round_answered(
        &mut self,
        io: &mut Io,
        key: Key,
        request: Key,
        inbound: &Inbound<'_>,
    ) {
        let now = self.now;
        let Some(conversation) = self.flights.get_mut(key).and_then(|it| it.rounds.as_mut()) else {
            return;
        };
        let text = inbound.text(inbound.envelope.error_message).unwrap_or_default();
        let answer = answer_of(inbound, &text);
        let step = conversation.rounds().step(now, Event::Answered { request, answer });
        let bytes = inbound.envelope.result.map_or(0, |span| span.of(inbound.message).len());
        if step == Step::Wait && !self.hold_answer(io, key, bytes) {
            return;
        }
        self.next_step(io, key, step);
    }

    /// Counts a client's answer that is held until its server gets it; `false` if there is no room,
    /// and the call failed.
    pub(super) fn hold_answer(&mut self, io: &mut Io, key: Key, bytes: usize) -> bool {
        let Some(weight) = self.room_to_wait(bytes) else {
            self.fail_flight(io, key, NO_ROOM);
            return false;
        };
        if let Some(flight) = self.flights.get_mut(key) {
            flight.held.push(weight);
        }
        true
    }

    /// The clock of a flight that is with its client.
    pub(super) fn round_overdue(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(conversation) = &mut flight.rounds else { return };
        let step = conversation.rounds().step(now, Event::Overdue);
        if step == Step::Wait {
            let left = conversation.rounds().left(now);
            flight.timer = io.timer(left, Timer::Flight(key).token());
        }
        self.next_step(io, key, step);
    }

    /// Sends the call again, with what the client answered.
    fn send_round(&mut self, io: &mut Io, key: Key) {
        if !self.may_be_modern(key) {
            let why = "the server that asked for input was replaced by an older one meanwhile";
            return self.fail_flight(io, key, why);
        }
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(kept) = &mut flight.rounds else { return };
        let Ok(envelope) = scan(&kept.message, &self.scan_limits) else {
            return self.fail_flight(io, key, "the limits of the configuration changed meanwhile");
        };
        let Some(rounds) = &kept.rounds else { return };
        let responses = rounds.responses();
        let message = rounds::retry(&kept.message, &envelope, responses.as_deref(), rounds.state());
        let Ok(envelope) = scan(&message, &self.scan_limits) else {
            return self.fail_flight(io, key, "the client's answers to the server are too long");
        };
        let (name, uri) = (kept.name.clone(), kept.uri.clone());
        let (session, tasks) = (flight.session, flight.leg.is_some());
        let level = session.and_then(|session| self.sessions.get(session)?.log_level);
        let again = Parked {
            message,
            envelope,
            name,
            uri,
            client_info: self.client_info(session).into(),
            client_capabilities: self.told_capabilities(session, tasks).into(),
            log_level: level.map(kern_session::Level::as_str),
            _weight: None,
        };
        let Some(flight) = self.flights.get_mut(key) else { return };
        let (upstream, private, revision) = (flight.upstream, flight.private, flight.revision);
        let timeout = self.upstreams.get(&upstream).map(|it| it.spec.timeout);
        io.cancel(flight.timer);
        flight.held.clear();
        // The time its client took is not the server's.
        (flight.began, flight.heard) = (now, now);
        flight.timer = io.timer(timeout.unwrap_or_default(), Timer::Flight(key).token());
        let place = private.map_or(Place::Shared, Place::Private);
        self.send_call(io, key, place, &again.call(revision));
    }

    /// A flight left the table: what its client was asked for it is asked no longer.
    pub(super) fn withdraw_asks(&mut self, io: &mut Io, flight: &Flight) {
        let Some(rounds) = flight.rounds.as_ref().and_then(|it| it.rounds.as_ref()) else { return };
        let to = self.ask_route(flight);
        for ask in rounds.open() {
            if self.take_ask(ask).is_none() {
                continue;
            }
            self.tell_withdrawn(io, ask, to);
        }
    }

    /// Tells a client that a request is withdrawn.
    pub(super) fn tell_withdrawn(&mut self, io: &mut Io, ask: Key, to: Option<ReplyTo>) {
        let params = format!(
            "{{\"requestId\":{},\"reason\":\"the call it was asked for is over\"}}",
            ask_id(ask)
        );
        let mut out = Vec::new();
        let method = Method::Cancelled.as_str();
        encode::notification(&mut out, method, Some(params.as_bytes()));
        if let Some(to) = to {
            self.deliver(io, to, &out, Ending::More);
        }
    }

    /// Whether a progress notification may reach its client. A server that is called once more may
    /// count from the start; a legacy client must never hear of less than before (2025-11-25
    /// basic/utilities/progress: "The progress value MUST increase").
    pub(super) fn progress_advances(
        &mut self,
        key: Key,
        message: &[u8],
        envelope: &Envelope,
    ) -> bool {
        let Some(conversation) = self.flights.get_mut(key).and_then(|it| it.rounds.as_mut()) else {
            return true;
        };
        let span = match (envelope.method, envelope.params) {
            (Method::Progress, Some(params)) => json::get(message, params, "progress"),
            _ => return true,
        };
        let number = span.and_then(|span| std::str::from_utf8(span.of(message)).ok()?.parse().ok());
        let Some(number) = number.filter(|number: &f64| number.is_finite()) else { return true };
        let advances = number > conversation.progress;
        if advances || conversation.rounds.as_ref().is_none_or(|rounds| rounds.count() == 0) {
            conversation.progress = conversation.progress.max(number);
            return true;
        }
        false
    }
}
