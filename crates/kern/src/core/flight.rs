//! Requests on their way to a server.
//!
//! Invariants: a flight ends once: answered, failed, cancelled or overdue, and with it everything
//! kept for it. Its id is the JSON-RPC id the server sees, so an answer finds it by indexing.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::errors::Cause;
use kern_mcp::{Envelope, Method};
use kern_session::call::{Effect, Event, State};
use kern_session::{Level, Session, SmallBytes};
use kern_terms::{Era, FlightId, Instant, Key, Revision};
use kern_upstream::call::{self, Call};

use super::builtins::Steps;
use super::http_link::Which;
use super::lease::{Talk, has_state};
use super::place::Place;
use super::queued::{NO_ROOM, Weight};
use super::rounds::Conversation;
use super::timers::Timer;
use super::words::{Dispatch, Health, Leg, Post, ReplyTo, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Destination, Inbound};

/// Longest wait for the result of a task, whose server answers when the task ends.
pub(super) const TASK_RESULT_MOST: Duration = Duration::from_secs(3_600);

/// How long a request may take without a sign of progress. Only a server of 2025-11-25 answers
/// `tasks/result` no sooner than the task ends; with a leg it is asked of another one in steps.
pub(super) fn patience(method: Method, leg: bool, timeout: Duration) -> Duration {
    let waits = method == Method::TasksResult && !leg;
    if waits { timeout.max(TASK_RESULT_MOST) } else { timeout }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) reply: ReplyTo,
    /// Who waits for whom.
    pub(super) state: State,
    /// The client's JSON-RPC id, raw.
    pub(super) id: SmallBytes,
    /// The revision the client speaks.
    pub(super) revision: Revision,
    pub(super) session: Option<Key>,
    pub(super) upstream: UpstreamId,
    /// Length of the client's message while it may be kept.
    pub(super) bytes: usize,
    /// It counts among those on their way to its upstream.
    pub(super) counted: bool,
    /// The session's own instance, if it went there.
    pub(super) private: Option<Key>,
    pub(super) method: Method,
    /// Its endpoint serves all upstreams.
    pub(super) all: bool,
    /// Its client asked for a task (2025-11-25).
    pub(super) wants_task: bool,
    /// The client's progress token, raw.
    pub(super) progress: Option<SmallBytes>,
    /// Least severity of log messages that a client of the new era wants of this call.
    pub(super) log_level: Option<Level>,
    /// Ends it when nothing was heard of it for too long.
    pub(super) timer: Key,
    pub(super) began: Instant,
    /// When its server last reported progress.
    pub(super) heard: Instant,
    /// Its exchange on an HTTP link.
    pub(super) exchange: Option<Key>,
    /// Kept while it waits for a server, and until a server surely took it.
    pub(super) parked: Option<Box<Parked>>,
    /// The server's session it was sent in.
    pub(super) sent_in: Option<Rc<[u8]>>,
    /// When the shared server was greeted ([`super::words::Up::epoch`]) to which it was sent.
    pub(super) epoch: u64,
    pub(super) steps: Option<Box<Steps>>,
    /// The URI as the client knows it, where its server knows another.
    pub(super) exposed_uri: Option<(String, String)>,
    pub(super) sent_again: bool,
    /// Of answers of its client that its server does not have yet.
    pub(super) held: Vec<Weight>,
    /// A legacy client's call that a modern server may answer in rounds.
    pub(super) rounds: Option<Conversation>,
    /// How it crosses the eras, where it is about a task.
    pub(super) leg: Option<Box<Leg>>,
    /// Its place in the stream of a server that lets streams be resumed.
    pub(super) resume: Option<Box<super::resume::Resume>>,
    /// Its client can be asked in mid-call, and its server may ask in the way of the old era.
    pub(super) talk: Option<Box<Talk>>,
    /// Its answer, while that comes in pieces.
    pub(super) flow: Option<Box<super::flow::Flow>>,
}

/// All that is needed to send a call later.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) message: Vec<u8>,
    pub(super) envelope: Envelope,
    pub(super) name: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) client_info: Vec<u8>,
    pub(super) client_capabilities: Vec<u8>,
    pub(super) log_level: Option<&'static str>,
    /// Its bytes are counted while it waits in a queue.
    pub(super) _weight: Option<Weight>,
}

impl Flight {
    /// No server has it.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Waiting
    }

    /// The connections it went over, if it went over HTTP.
    pub(super) fn which(&self) -> Which {
        self.private.map_or(Which::Shared(self.upstream), Which::Private)
    }
}

impl Parked {
    pub(super) fn call(&self, from: Revision) -> Call<'_> {
        Call {
            message: &self.message,
            envelope: &self.envelope,
            name: self.name.as_deref(),
            uri: self.uri.as_deref(),
            from,
            client_info: &self.client_info,
            client_capabilities: &self.client_capabilities,
            log_level: self.log_level,
        }
    }

    /// In a queue, where its bytes count.
    pub(super) fn waiting(call: &Call<'_>, weight: Weight) -> Box<Self> {
        Box::new(Self { _weight: Some(weight), ..*Self::of(call) })
    }

    pub(super) fn of(call: &Call<'_>) -> Box<Self> {
        Box::new(Self {
            message: call.message.to_vec(),
            envelope: *call.envelope,
            name: call.name.map(str::to_owned),
            uri: call.uri.map(str::to_owned),
            client_info: call.client_info.to_vec(),
            client_capabilities: call.client_capabilities.to_vec(),
            log_level: call.log_level,
            _weight: None,
        })
    }

    /// Takes a call into the memory of one that is over.
    pub(super) fn refill(&mut self, call: &Call<'_>) {
        let fill = |buffer: &mut Vec<u8>, bytes: &[u8]| {
            buffer.clear();
            buffer.extend_from_slice(bytes);
        };
        fill(&mut self.message, call.message);
        fill(&mut self.client_info, call.client_info);
        fill(&mut self.client_capabilities, call.client_capabilities);
        self.envelope = *call.envelope;
        self.name = call.name.map(str::to_owned);
        self.uri = call.uri.map(str::to_owned);
        self.log_level = call.log_level;
        self._weight = None;
    }
}

impl Core {
    pub(super) fn flight_id(&self, key: Key) -> FlightId {
        FlightId::new(self.id, key)
    }

    /// The flight `id` names, if it is still under way.
    pub(super) fn flight_key(&self, id: FlightId) -> Option<Key> {
        let key = self.flights.key_at(id.slot())?;
        (id.core() == self.id && id.names(key)).then_some(key)
    }

    /// A flight for a client that may be one of another core; its id, unless it is over already.
    pub(super) fn fly_for(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        to: Destination,
        talk: Option<Box<Talk>>,
    ) -> Option<FlightId> {
        let most = self.setup.plan.limits.flights / self.setup.cores.len().max(1);
        let crowded = self.open_calls(inbound) >= Session::CALLS_MAX;
        let Some(upstream) = self.upstreams.get(&to.upstream) else {
            self.refuse(io, inbound, Cause::Internal, "the upstream was removed");
            return None;
        };
        let full = upstream.is_full(most.max(1), inbound.message.len())
            || self.flights.len() >= FlightId::SLOTS_MAX;
        if self.draining || crowded || full {
            self.refuse_busy(io, inbound);
            return None;
        }
        let timeout = patience(inbound.envelope.method, to.leg.is_some(), upstream.spec.timeout);
        let place = self.place(io, inbound.session, to.upstream);
        if place == Place::Builtin {
            self.call_builtin(io, inbound, &to);
            return None;
        }
        let key = self.add_flight(io, inbound, &to, timeout);
        if let Some(flight) = self.flights.get_mut(key) {
            flight.talk = talk;
            if let Place::Private(hosted) = place {
                flight.private = Some(hosted);
            }
        }
        let id = self.flight_id(key);
        if !self.remember_call(inbound, id) {
            self.fail_flight(io, key, "a request with this id is still open");
            return None;
        }
        self.send_first(io, key, place, inbound, &to);
        self.flights.get(key).is_some().then_some(id)
    }

    fn send_first(
        &mut self,
        io: &mut Io,
        key: Key,
        place: Place,
        inbound: &Inbound<'_>,
        to: &Destination,
    ) {
        let client_info = self.client_info(inbound.session);
        let client_capabilities = self.told_capabilities(inbound.session, to.leg.is_some());
        let log_level = self.client_level(inbound);
        let call = Call {
            message: inbound.message,
            envelope: &inbound.envelope,
            name: to.name.as_deref(),
            uri: to.uri.as_deref(),
            from: inbound.revision,
            client_info: &client_info,
            client_capabilities: &client_capabilities,
            log_level,
        };
        self.prepare_rounds(key, &call);
        self.send_call(io, key, place, &call);
    }

    pub(super) fn add_flight(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        to: &Destination,
        timeout: Duration,
    ) -> Key {
        let bytes = |span: kern_mcp::Span| SmallBytes::from(span.of(inbound.message));
        let asked = to.uri.as_ref().and_then(|_| inbound.text(inbound.envelope.uri));
        if let Some(upstream) = self.upstreams.get_mut(&to.upstream) {
            upstream.begin(inbound.message.len());
        }
        self.flights.insert_with(|key| Flight {
            reply: inbound.reply,
            state: State::Waiting,
            id: inbound.id().into(),
            revision: inbound.revision,
            session: inbound.session,
            upstream: to.upstream,
            bytes: inbound.message.len(),
            counted: true,
            private: None,
            method: inbound.envelope.method,
            all: inbound.endpoint.is_none(),
            wants_task: inbound.envelope.task.is_some(),
            progress: inbound.envelope.progress_token.map(bytes),
            log_level: inbound.str(inbound.envelope.log_level).and_then(|it| Level::parse(&it)),
            timer: io.timer(timeout, Timer::Flight(key).token()),
            began: self.now,
            heard: self.now,
            exchange: None,
            parked: None,
            sent_in: None,
            epoch: 0,
            steps: None,
            exposed_uri: to.uri.clone().zip(asked),
            sent_again: false,
            held: Vec::new(),
            rounds: None,
            leg: to.leg.clone(),
            resume: None,
            talk: None,
            flow: None,
        })
    }

    /// Sends a call, or keeps it until its server can take it.
    pub(super) fn send_call(&mut self, io: &mut Io, key: Key, place: Place, call: &Call<'_>) {
        match place {
            Place::Private(hosted) => self.send_private(io, key, hosted, call),
            Place::Builtin => {}
            Place::Unknown => self.park(io, key, call),
            Place::Shared => self.send_shared(io, key, call),
        }
    }

    fn send_shared(&mut self, io: &mut Io, key: Key, call: &Call<'_>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let id = flight.upstream;
        let Some(upstream) = self.upstreams.get(&id) else {
            return self.fail_flight(io, key, "the upstream was removed");
        };
        if let Health::Up(up) = &upstream.health {
            flight.epoch = up.epoch;
        }
        match &upstream.health {
            Health::Starting => self.park(io, key, call),
            Health::Down(why) => {
                let why = format!("upstream {:?} is down: {why}", upstream.spec.name);
                self.fail_flight(io, key, &why);
            }
            Health::Up(up) if up.revision.era() == Era::Legacy && has_state(call) => {
                self.refuse_state(io, key);
            }
            Health::Up(up) if up.revision.era() == Era::Legacy && self.talks(key) => {
                self.lease(io, key, call);
            }
            Health::Up(up) if up.direct => {
                let (revision, session_id) = (up.revision, upstream.session_id.clone());
                self.post_shared(io, key, call, revision, session_id);
            }
            Health::Up(_) => match upstream.hosted {
                Some(hosted) => {
                    let session = self.flights.get(key).and_then(|flight| flight.session);
                    self.expect_logs(hosted, self.flight_id(key), session, call);
                    self.call_step(key, Event::Sent);
                    self.send_hosted(io, self.flight_id(key), hosted, call);
                }
                None => {
                    let dispatch = self.dispatch(key, id, call);
                    self.call_step(key, Event::Sent);
                    io.post(self.setup.owner(id), Post::Dispatch(Box::new(dispatch)));
                }
            },
        }
    }

    fn dispatch(&self, key: Key, upstream: UpstreamId, call: &Call<'_>) -> Dispatch {
        Dispatch {
            flight: self.flight_id(key),
            upstream,
            message: Bytes::copy_from_slice(call.message),
            envelope: Box::new(*call.envelope),
            name: call.name.map(str::to_owned),
            uri: call.uri.map(str::to_owned),
            from: call.from,
            session: self.flights.get(key).and_then(|flight| flight.session),
            client_info: Bytes::copy_from_slice(call.client_info),
            client_capabilities: Bytes::copy_from_slice(call.client_capabilities),
            log_level: call.log_level,
        }
    }

    pub(super) fn park(&mut self, io: &mut Io, key: Key, call: &Call<'_>) {
        let most = self.setup.plan.limits.queue;
        let Some(weight) = self.room_to_wait(call.message.len()) else {
            return self.fail_flight(io, key, NO_ROOM);
        };
        self.call_step(key, Event::Queued);
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.parked = Some(Parked::waiting(call, weight));
        let private = flight.private;
        let upstream = flight.upstream;
        let waiting = match private.and_then(|key| self.hosted.get_mut(key)) {
            Some(hosted) => &mut hosted.waiting,
            None => match self.upstreams.get_mut(&upstream) {
                Some(upstream) => &mut upstream.waiting,
                None => return,
            },
        };
        if waiting.len() >= most {
            // Calls that were given up stand in it until the server is up.
            waiting.retain(|key| self.flights.get(*key).is_some_and(Flight::waits));
        }
        if waiting.len() >= most {
            let why = "too many requests wait for this upstream to start (limits.queue)";
            return self.fail_flight(io, key, why);
        }
        waiting.push_back(key);
    }

    /// Sends what waited. Each is placed anew: by now the server's era is known.
    pub(super) fn unpark(&mut self, io: &mut Io, waiting: impl IntoIterator<Item = Key>) {
        for key in waiting {
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let Some(parked) = flight.parked.take() else { continue };
            let (session, upstream) = (flight.session, flight.upstream);
            let revision = flight.revision;
            let place = match self.leased_by(key) {
                Some(hosted) => Place::Private(hosted),
                None => self.place(io, session, upstream),
            };
            if let Some(flight) = self.flights.get_mut(key) {
                flight.private = match place {
                    Place::Private(hosted) => Some(hosted),
                    _ => None,
                };
            }
            self.send_call(io, key, place, &parked.call(revision));
        }
    }

    /// Takes what happened to a call; what has to be done. What left the table is over.
    pub(super) fn call_step(&mut self, key: Key, event: Event) -> Effect {
        let Some(flight) = self.flights.get_mut(key) else {
            return State::Over { owes: false }.step(event).1;
        };
        let (state, effect) = flight.state.step(event);
        let before = std::mem::replace(&mut flight.state, state);
        match (before.is_away(), state.is_away()) {
            (false, true) => self.parks.away.insert(key),
            (true, false) => self.parks.away.remove(&key),
            _ => false,
        };
        effect
    }

    /// Where a call is; what left the table is over.
    pub(super) fn call_state(&self, key: Key) -> State {
        self.flights.get(key).map_or(State::Over { owes: false }, |flight| flight.state)
    }

    /// Takes a flight that is over off the table, with everything kept for it.
    pub(super) fn land(&mut self, io: &mut Io, key: Key) -> Option<Flight> {
        debug_assert!(
            matches!(self.call_state(key), State::Over { .. }),
            "only what is over lands"
        );
        let now = self.now;
        let mut flight = self.flights.remove(key)?;
        io.cancel(flight.timer);
        self.recycle(&mut flight);
        if flight.flow.is_some() {
            self.end_flow(io, &flight);
        }
        if let Some(session) = flight.session.and_then(|session| self.sessions.get_mut(session)) {
            session.end_call(now, &flight.id);
        } else if let Some(line) = self.line_of(flight.reply) {
            line.calls.remove(&flight.id);
        }
        let upstream = self.upstreams.get_mut(&flight.upstream);
        flight.count(upstream, false);
        self.withdraw_asks(io, &flight);
        self.withdraw_task_asks(io, &flight);
        if flight.talk.is_some() {
            self.end_talk(io, key, &mut flight);
        }
        Some(flight)
    }

    /// What an answer becomes for the flight's client.
    pub(super) fn encode_answer(
        &self,
        flight: &Flight,
        message: &[u8],
        envelope: &Envelope,
        from: Revision,
        out: &mut Vec<u8>,
    ) {
        call::answer(message, envelope, flight.method, &flight.id, from, flight.revision, out);
    }
}
