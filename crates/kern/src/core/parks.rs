//! Calls in which a server of the old era asks and the client speaks the new one: what the server
//! asks ends the client's request, and the call waits, *parked*, for the client to come back.
//!
//! What happens when is decided in [`kern_session::Park`]; here it is done. How a client comes back
//! is in `retry`.
//!
//! Invariants: a flight is in `away` exactly while its client is away; what is kept of parked calls
//! is bounded in number and bytes. Who comes when all is taken gets the room of the client that has
//! been away the longest, if that is long enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::era::rounds::Input;
use kern_mcp::{Envelope, encode, errors};
use kern_session::limits::MOMENT;
use kern_session::{Asked, Effect, Event, Park, Sealer, State, Ticket, call};
use kern_terms::Key;

use super::flight::Flight;
use super::lease::Talk;
use super::timers::Timer;
use super::words::{Ending, ReplyTo, UpstreamId};
use super::{Core, Io};

/// Calls of one core whose clients are away.
const AWAY_MAX: usize = 1_024;

/// Which part of `limits.answer_timeout` a client must have been away for its call to be ended when
/// another waits for room.
const AWAY_PART: u32 = 10;
/// What a server is told whose client can't be asked now.
const TOO_MANY: &str = "too many clients are being asked";
const TOO_MUCH: &str = "too many bytes are kept for clients that were asked (limits.parked_bytes)";

/// The parked calls of a core.
#[derive(Debug, Default)]
pub(super) struct Parks {
    /// There from the first turn of the first core on.
    pub(super) sealer: Option<Arc<Sealer>>,
    /// States sealed so far.
    seals: u64,
    /// Flights whose clients are away.
    pub(super) away: BTreeSet<Key>,
    /// Of all parked calls: the sum of [`Talk::counted`].
    pub(super) bytes: usize,
}

/// What a call came to while its client was away.
#[derive(Debug)]
pub(super) enum Kept {
    /// The server's message.
    Answer(Bytes),
    /// For people.
    Failed(String),
}

impl Talk {
    /// What is kept of the call for its client.
    fn bytes(&self) -> usize {
        let kept = match &self.kept {
            Some(Kept::Answer(message)) => message.len(),
            Some(Kept::Failed(why)) => why.len(),
            None => 0,
        };
        kept + self.park.as_ref().map_or(0, Park::bytes)
    }
}

/// What a call came to.
pub(super) enum Outcome<'a> {
    Answer(&'a [u8]),
    Failed(&'a str),
}

impl Core {
    /// A server of a leased instance asks. `flight` is the call on whose stream it does.
    pub(super) fn leased_asks(
        &mut self,
        io: &mut Io,
        hosted: Key,
        flight: Option<Key>,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let Some(id) = envelope.id.map(|span| span.of(message)) else { return };
        let Some(capabilities) = self.lease_capabilities(hosted) else { return };
        let params = envelope.params.map(|span| span.of(message));
        let input = Input::of(envelope.method.as_str(), params);
        let Some(input) = input.filter(|it| it.is_declared(&capabilities)) else {
            let why = "this client declared no such capability";
            return self.refuse_server(io, hosted, id, errors::METHOD_NOT_FOUND, why);
        };
        let sent = |key: &Key| self.call_state(*key).takes_answers();
        let Some(key) = flight.or_else(|| self.only_lease_call(hosted)).filter(sent) else {
            let why = "this request does not say which call it belongs to";
            return self.refuse_server(io, hosted, id, errors::INTERNAL_ERROR, why);
        };
        let asked = Asked::new(id, input, params);
        let bytes = asked.bytes();
        let most = self.parked_bytes_max();
        if !self.make_room(io, key, |parks| parks.bytes + bytes > most) {
            return self.refuse_server(io, hosted, id, errors::INTERNAL_ERROR, TOO_MUCH);
        }
        self.park_step(io, key, Event::Asked(asked));
    }

    /// A server no longer wants what it asked.
    pub(super) fn lease_withdraws(&mut self, io: &mut Io, hosted: Key, id: &[u8]) {
        for call in self.lease_calls(hosted) {
            if self.park_mut(call).is_some() {
                self.park_step(io, call, Event::Withdrawn(id));
            }
        }
    }

    /// A server is gone, or forgot what it asked.
    pub(super) fn forget_leased_asks(&mut self, hosted: Key) {
        for call in self.lease_calls(hosted) {
            if let Some(park) = self.park_mut(call) {
                park.forget_asked();
                self.count_kept(call);
            }
        }
    }

    fn talk_mut(&mut self, key: Key) -> Option<&mut Talk> {
        self.flights.get_mut(key)?.talk.as_deref_mut()
    }

    pub(super) fn park_mut(&mut self, key: Key) -> Option<&mut Park> {
        self.talk_mut(key)?.park.as_mut()
    }

    pub(super) fn park_step(&mut self, io: &mut Io, key: Key, event: Event<'_>) {
        let now = self.now;
        let patience = Duration::from_millis(self.setup.plan.limits.answer_timeout_ms);
        let Some(talk) = self.talk_mut(key) else { return };
        let mut fx = Vec::new();
        talk.park.get_or_insert_with(|| Park::new(patience)).step(now, event, &mut fx);
        self.count_kept(key);
        for effect in fx {
            self.park_effect(io, key, effect);
        }
    }

    pub(super) fn park_effect(&mut self, io: &mut Io, key: Key, effect: Effect) {
        let at = self.leased_by(key);
        match effect {
            Effect::WakeSoon => {
                io.timer(MOMENT, Timer::Moment(key).token());
            }
            Effect::Tell => self.tell_client(io, key),
            Effect::Answer { id, result } => {
                let mut out = Vec::new();
                encode::result(&mut out, &id, &result);
                if let Some(at) = at {
                    self.send_to_server(io, at, None, &out);
                }
            }
            Effect::Refuse { id, why } => {
                if let Some(at) = at {
                    self.refuse_server(io, at, &id, errors::INTERNAL_ERROR, why);
                }
            }
            // Done by whoever took the step.
            Effect::Cancel
            | Effect::Resume
            | Effect::Reject(_)
            | Effect::Deliver
            | Effect::Keep => {}
        }
    }

    /// Time for more to come is over: the client is told what there is.
    pub(super) fn moment_over(&mut self, io: &mut Io, key: Key) {
        if !self.park_mut(key).is_some_and(|park| park.state() == State::Gathering) {
            return;
        }
        // A server that forgot its session forgot what it asked; the call is sent to it again.
        let forgot = self.call_state(key) != call::State::Sent;
        let unable = forgot || self.draining || self.parks.sealer.is_none();
        if !unable && self.make_room(io, key, |parks| parks.away.len() >= AWAY_MAX) {
            return self.park_step(io, key, Event::Moment);
        }
        let Some(park) = self.park_mut(key) else { return };
        let mut fx = Vec::new();
        park.refuse_asked(TOO_MANY, &mut fx);
        self.count_kept(key);
        for effect in fx {
            self.park_effect(io, key, effect);
        }
    }

    fn parked_bytes_max(&self) -> usize {
        self.setup.plan.limits.parked_bytes / self.setup.cores.len().max(1)
    }

    /// Makes room: clients may forget that they were asked something.
    pub(super) fn end_longest_away(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        whose: impl Fn(&Talk) -> bool,
    ) {
        let has_one = |talk: &Talk| talk.at.is_some() && whose(talk);
        let longest = self.longest_away(|_, flight| {
            flight.upstream == id && flight.talk.as_deref().is_some_and(has_one)
        });
        if let Some(key) = longest {
            self.end_away(io, key, "its client is away, and another call needs room");
        }
    }

    /// Of the calls that `which` names, the one whose client has been away the longest, if that is
    /// long enough for it to be ended.
    fn longest_away(&self, which: impl Fn(Key, &Flight) -> bool) -> Option<Key> {
        let away = self.parks.away.iter().filter_map(|key| {
            let flight = self.flights.get(*key).filter(|flight| which(*key, flight))?;
            Some((flight.talk.as_ref()?.away_since, *key))
        });
        let patience = Duration::from_millis(self.setup.plan.limits.answer_timeout_ms);
        let least = patience / AWAY_PART;
        let longest = away.min().filter(|(since, _)| self.now.since(*since) >= least);
        longest.map(|(_, key)| key)
    }

    /// Ends calls of clients that have been away the longest, but not `key`, until there is room;
    /// `false` if there is none.
    fn make_room(&mut self, io: &mut Io, key: Key, full: impl Fn(&Parks) -> bool) -> bool {
        while full(&self.parks) {
            let Some(longest) = self.longest_away(|other, _| other != key) else { return false };
            self.end_away(io, longest, "its client is away, and another needs room");
        }
        true
    }

    /// What is kept of a parked call has changed.
    pub(super) fn count_kept(&mut self, key: Key) {
        let Some(talk) = self.talk_mut(key) else { return };
        let bytes = talk.bytes();
        let before = std::mem::replace(&mut talk.counted, bytes);
        self.parks.bytes = self.parks.bytes - before + bytes;
    }

    /// Ends the client's request with what its server asks.
    fn tell_client(&mut self, io: &mut Io, key: Key) {
        self.parks.seals += 1;
        let (core, count, nobody) = (self.id, self.parks.seals, ReplyTo::nobody(self.id));
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(talk) = &flight.talk else { return };
        let (Some(park), Some(binding)) = (&talk.park, &talk.binding) else { return };
        let State::Waiting { until } = park.state() else { return };
        let sealer = self.parks.sealer.as_ref().expect("nobody is told anything without a sealer");
        let ticket = Ticket { core, park: key, round: park.round(), until };
        let mut result = Vec::new();
        park.write_result(&sealer.seal(&ticket, binding, count), &mut result);
        let mut out = Vec::with_capacity(result.len() + 64);
        encode::result(&mut out, &flight.id, &result);
        let reply = std::mem::replace(&mut flight.reply, nobody);
        let id = std::mem::take(&mut flight.id);
        flight.progress = None;
        // A server that asked something has the message, so it is not kept any longer.
        flight.parked = None;
        flight.count(self.upstreams.get_mut(&flight.upstream), false);
        flight.bytes = 0;
        io.cancel(flight.timer);
        flight.timer = io.timer(until.since(self.now), Timer::Flight(key).token());
        if let Some(talk) = &mut flight.talk {
            talk.away_since = self.now;
        }
        self.call_step(key, call::Event::Told);
        if let Some(line) = self.line_of(reply) {
            line.calls.remove(&id);
        }
        self.deliver(io, reply, &out, Ending::Answer(200));
    }

    /// Keeps what a call came to whose client is away.
    pub(super) fn keep_for_client(&mut self, io: &mut Io, key: Key, what: Outcome<'_>) {
        let most = self.parked_bytes_max();
        let full = |parks: &Parks, message: &[u8]| parks.bytes + message.len() > most;
        let kept = match what {
            Outcome::Answer(message) if !self.make_room(io, key, |it| full(it, message)) => {
                let why = "the answer came while its client was away, and was too large to keep \
                           (limits.parked_bytes)";
                Kept::Failed(why.to_owned())
            }
            Outcome::Answer(message) => Kept::Answer(Bytes::copy_from_slice(message)),
            Outcome::Failed(why) => Kept::Failed(why.to_owned()),
        };
        self.park_step(io, key, Event::Finished);
        let Some(flight) = self.flights.get_mut(key) else { return };
        let owes = flight.state == call::State::Kept { owes: true };
        let which = flight.which();
        flight.private = None;
        let exchange = flight.exchange.take();
        let Some(mut talk) = flight.talk.take() else { return };
        talk.kept = Some(kept);
        self.expect_end(exchange, which);
        self.give_lease_back(io, key, &mut talk, owes);
        if let Some(flight) = self.flights.get_mut(key) {
            flight.talk = Some(talk);
        }
        self.count_kept(key);
    }

    /// Whether a client stayed away too long; its time runs on if not.
    pub(super) fn client_is_overdue(&mut self, io: &mut Io, key: Key) -> bool {
        let until = match self.park_mut(key).map(|park| park.state()) {
            Some(State::Waiting { until } | State::Kept { until }) => until,
            _ => self.now,
        };
        if self.now < until {
            let timer = io.timer(until.since(self.now), Timer::Flight(key).token());
            if let Some(flight) = self.flights.get_mut(key) {
                flight.timer = timer;
            }
            return false;
        }
        self.park_step(io, key, Event::Clock);
        true
    }

    /// Ends calls whose clients are away and will not be served when they come back.
    pub(super) fn end_parks(&mut self, io: &mut Io, which: impl Fn(&Talk) -> bool, why: &str) {
        for key in self.parks.away.clone() {
            if self.talk_mut(key).is_some_and(|talk| which(talk)) {
                self.end_away(io, key, why);
            }
        }
    }

    /// Ends a call whose client is away.
    pub(super) fn end_away(&mut self, io: &mut Io, key: Key, why: &str) {
        self.withdraw_flight(io, key, call::Event::Cancelled, why);
    }

    /// A flight was taken off the table.
    pub(super) fn end_talk(&mut self, io: &mut Io, key: Key, flight: &mut Flight) {
        let owes = flight.state != call::State::Over { owes: false };
        let Some(talk) = &mut flight.talk else { return };
        self.parks.bytes -= std::mem::take(&mut talk.counted);
        let mut fx = Vec::new();
        if let Some(park) = &mut talk.park {
            park.end("the call it belongs to is over", &mut fx);
        }
        if let Some(at) = talk.at {
            for effect in fx {
                if let Effect::Refuse { id, why } = effect {
                    self.refuse_server(io, at, &id, errors::INTERNAL_ERROR, why);
                }
            }
        }
        self.give_lease_back(io, key, talk, owes);
    }
}
