//! The event streams of sessions: what is said on each, and which connection carries it now.
//!
//! A stream begins with the first event for an exchange, or with a GET; whatever a call or a
//! session says goes to the address it always had, its *origin*, and from there to the connection
//! that carries the stream. A client that lost the connection names the last event it saw and
//! becomes the carrier (2025-11-25 basic/transports, "Resumability and Redelivery").
//!
//! Invariants: a message belongs to one stream and is written to one connection; an answer of plain
//! JSON touches nothing here; what is kept for all sessions of a core is bounded. All of this lives on
//! the session's core, whichever core the connection is on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::errors;
use kern_session::call::State;
use kern_session::stream::{Effect, Event};
use kern_session::{EventId, Replay, Token, life};
use kern_terms::{Key, Revision};

use super::words::{Ending, Mark, Post, ReplyTo, Room};
use super::{Core, Io};

/// Bytes of messages one core keeps for all its sessions before each must do with less.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// How long a call may take before it becomes a stream.
const SLOW: Duration = Duration::from_secs(2);

/// One open stream of a session.
#[derive(Debug)]
pub(super) struct Trail {
    /// Where its messages are addressed to.
    origin: ReplyTo,
    stream: u32,
    /// There exactly while the stream is carried ([`kern_session::stream`]).
    carrier: Option<Carrier>,
}

/// The connection that carries a stream.
#[derive(Clone, Copy, Debug)]
struct Carrier {
    to: ReplyTo,
    /// A GET: it counts as a connection of the session.
    get: bool,
}

impl Core {
    /// Says a message of a session's exchange; `false` where that is no stream and does not become
    /// one.
    pub(super) fn say(&mut self, io: &mut Io, to: ReplyTo, message: &[u8], ending: Ending) -> bool {
        let Some(session) = to.session else { return false };
        let begins = match ending {
            Ending::More | Ending::Lossy | Ending::Poll(_) | Ending::Open => true,
            Ending::Answer(status) => status == 200 && !to.json,
            _ => false,
        };
        if !begins && self.trails.is_empty() {
            return false;
        }
        let carrier = Some(Carrier { to, get: false });
        if self.trail(session, to).is_none() && begins && self.is_answering(session, to).is_some() {
            return true;
        }
        if self.trail(session, to).is_none()
            && !(begins && self.begin_trail(io, session, to, carrier))
        {
            return false;
        }
        let Some(trail) = self.trail(session, to) else { return false };
        let (stream, carrier) = (trail.stream, trail.carrier);
        let message = Bytes::copy_from_slice(message);
        let says = matches!(ending, Ending::More | Ending::Lossy | Ending::Answer(_));
        let said = says.then(|| message.clone());
        let (primed, now) = (self.is_primed(session), self.now);
        let id = self.replay(session, |replay, bytes_max| {
            let id = match said {
                Some(said) => replay.say(stream, now, said, bytes_max),
                None => replay.last(stream),
            };
            if carrier.is_some() {
                replay.wrote(stream);
            }
            id
        });
        if let Some(carrier) = carrier {
            let first = |id: EventId| id.sequence == 1 || ending == Ending::Open;
            let mark = id.flatten().map(|id| Mark { id, prime: primed && first(id) });
            self.carry(io, carrier.to, message, ending, mark);
        }
        match ending {
            Ending::More | Ending::Lossy | Ending::Open => {}
            Ending::Poll(_) => self.let_go(session, to),
            _ => self.end_trail(session, to),
        }
        true
    }

    /// Whether the client of an exchange could ask for its answer again, should the connection break.
    pub(super) fn can_ask_again(&self, to: ReplyTo) -> bool {
        to.session.is_some_and(|session| !to.json || self.trail(session, to).is_some())
    }

    /// The answer of an exchange begins, and is too large to be kept: where it is written, and as
    /// which event. `None` where no connection can carry it.
    pub(super) fn say_in_pieces(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
    ) -> Option<(ReplyTo, Option<Mark>)> {
        let Some(session) = to.session.filter(|_| self.can_ask_again(to)) else {
            return Some((to, None));
        };
        let carrier = Some(Carrier { to, get: false });
        if self.trail(session, to).is_none() && !self.begin_trail(io, session, to, carrier) {
            return Some((to, None));
        }
        let trail = self.trail(session, to)?;
        // A stream that was asked for again began as another kind of exchange.
        let (stream, carrier) = (trail.stream, trail.carrier.filter(|carrier| !carrier.get)?);
        let (primed, now) = (self.is_primed(session), self.now);
        let id = self.replay(session, |replay, _| {
            let id = replay.say_unkept(stream, now);
            replay.wrote(stream);
            id
        });
        let mark = id.flatten().map(|id| Mark { id, prime: primed && id.sequence == 1 });
        Some((carrier.to, mark))
    }

    /// The answer that began so has ended.
    pub(super) fn said_in_pieces(&mut self, to: ReplyTo) {
        if let Some(session) = to.session {
            self.end_trail(session, to);
        }
    }

    fn trail(&self, session: Key, origin: ReplyTo) -> Option<&Trail> {
        self.trails.get(&session)?.iter().find(|trail| trail.origin == origin)
    }

    fn trail_mut(&mut self, session: Key, is: impl Fn(&Trail) -> bool) -> Option<&mut Trail> {
        self.trails.get_mut(&session)?.iter_mut().find(|trail| is(trail))
    }

    /// Works on what is kept for a session, which learns how many bytes that may be.
    fn replay<R>(&mut self, session: Key, work: impl FnOnce(&mut Replay, usize) -> R) -> Option<R> {
        let bytes_max = match self.kept_bytes > KEPT_BYTES_MAX {
            true => Replay::BYTES_SCARCE_MAX,
            false => Replay::BYTES_MAX,
        };
        let replay = self.sessions.get_mut(session)?.replay.as_mut()?;
        let before = replay.bytes();
        let result = work(replay, bytes_max);
        self.kept_bytes = self.kept_bytes + replay.bytes() - before;
        Some(result)
    }

    /// Events without data came with 2025-11-25 (SEP-1699); older clients may take them for
    /// messages.
    fn is_primed(&self, session: Key) -> bool {
        let session = self.sessions.get(session);
        session.is_some_and(|session| session.revision >= Revision::V2025_11_25)
    }

    /// Begins a stream.
    fn begin_trail(
        &mut self,
        io: &mut Io,
        session: Key,
        origin: ReplyTo,
        carrier: Option<Carrier>,
    ) -> bool {
        let now = self.now;
        let Some(known) = self.sessions.get_mut(session) else { return false };
        let replay = known.replay.get_or_insert_with(|| Box::new(Replay::new(io.random() as u32)));
        let stream = replay.open(now);
        if carrier.is_some() {
            replay.step(stream, now, Event::Attached);
        }
        let trail = Trail { origin, stream, carrier };
        self.trails.entry(session).or_default().push(trail);
        true
    }

    /// Writes to a connection of any core what is kept anyway.
    fn carry(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        message: Bytes,
        ending: Ending,
        mark: Option<Mark>,
    ) {
        match to.core == self.id {
            true => self.write(io, to, &message, ending, mark),
            false => io.post(to.core, Post::Deliver { to, message, ending, mark }),
        }
    }

    /// The carrier of a stream leaves, and the stream goes on without one.
    fn let_go(&mut self, session: Key, origin: ReplyTo) {
        let now = self.now;
        let Some(trail) = self.trail_mut(session, |trail| trail.origin == origin) else { return };
        let (stream, Some(carrier)) = (trail.stream, trail.carrier.take()) else { return };
        self.replay(session, |replay, _| replay.step(stream, now, Event::Lost));
        if carrier.get {
            self.session_step(session, life::Event::StreamClosed);
        }
    }

    fn end_trail(&mut self, session: Key, origin: ReplyTo) {
        self.let_go(session, origin);
        let now = self.now;
        let Some(trails) = self.trails.get_mut(&session) else { return };
        let Some(at) = trails.iter().position(|trail| trail.origin == origin) else { return };
        let trail = trails.swap_remove(at);
        if trails.is_empty() {
            self.trails.remove(&session);
        }
        self.replay(session, |replay, _| replay.end(trail.stream, now));
    }

    /// Ends every stream of a session that is over.
    pub(super) fn end_trails(&mut self, io: &mut Io, session: Key, replay: Option<Box<Replay>>) {
        self.kept_bytes -= replay.map_or(0, |replay| replay.bytes());
        for trail in self.trails.remove(&session).unwrap_or_default() {
            if self.streams.get(&session) == Some(&trail.origin) {
                self.streams.remove(&session);
            }
            if let Some(carrier) = trail.carrier {
                self.write(io, carrier.to, b"", Ending::Nothing, None);
            }
        }
    }

    /// Where a session's messages go that belong to no exchange: its own stream, also for a while
    /// after its connection was lost.
    pub(super) fn own_stream(&self, session: Key) -> Option<ReplyTo> {
        let origin = self.streams.get(&session).copied()?;
        let Some(trail) = self.trail(session, origin) else { return Some(origin) };
        let replay = self.sessions.get(session)?.replay.as_ref()?;
        replay.state(trail.stream).is_open(self.now).then_some(origin)
    }

    /// A connection of a session is gone. Its requests go on (the old era does not cancel by
    /// disconnecting), and what they say is kept for the connection that resumes.
    pub(super) fn exchange_gone(&mut self, reply: ReplyTo, token: Option<Token>) {
        let Some(session) = token.and_then(|token| self.sessions.find(&token)) else { return };
        let carries = |trail: &Trail| trail.carrier.is_some_and(|carrier| carrier.to == reply);
        if let Some(origin) = self.trail_mut(session, carries).map(|trail| trail.origin) {
            return self.let_go(session, origin);
        }
        // A call whose stream had not begun can't be resumed: its client is asked elsewhere.
        let Some(session) = self.sessions.get(session) else { return };
        let calls = session.calls().values().filter_map(|id| self.flight_key(*id));
        for key in calls.collect::<Vec<_>>() {
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let to = &mut flight.reply;
            if (to.core, to.edge, to.exchange) == (reply.core, reply.edge, reply.exchange) {
                to.streams = false;
            }
        }
    }

    /// A GET asks for its session's own stream, or for the rest of a stream after `last`.
    pub(super) fn attach(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        token: Token,
        endpoint: Option<&Arc<str>>,
        last: Option<&[u8]>,
    ) {
        let Some(key) = self.sessions.named(&token, endpoint, self.now) else {
            return self.deny_stream(io, to);
        };
        let Some(last) = last else { return self.attach_own(io, to, token, key) };
        let (now, place) = (self.now, EventId::parse(last));
        // Its client lost an answer that had begun, which can't be said again.
        let stream = place.map(|place| place.stream);
        let origin = self.trail_mut(key, |trail| Some(trail.stream) == stream);
        if let Some(origin) = origin.map(|trail| trail.origin)
            && let Some(call) = self.is_answering(key, origin)
        {
            self.room(io, self.flight_id(call), Room::Gone);
        }
        let effect = place.and_then(|place| {
            self.replay(key, |replay, _| match replay.has_place(place) {
                true => replay.step(place.stream, now, Event::Attached),
                false => Effect::Unknown,
            })
        });
        match place.zip(effect) {
            Some((place, Effect::Replay)) => self.replay_ended(io, to, token, key, place),
            Some((place, Effect::Carry | Effect::Replace)) => {
                self.resume(io, to, token, key, place);
            }
            _ => {
                let why = "Last-Event-ID names no event of this session that is still kept";
                let mut out = Vec::new();
                kern_mcp::encode::error(&mut out, None, errors::INVALID_REQUEST, why, None);
                self.write(io, to, &out, Ending::Answer(400), None);
            }
        }
    }

    /// A stream without `Last-Event-ID` begins with what no connection has carried yet. A second
    /// GET replaces the first: the client lost it without our hearing of it.
    fn attach_own(&mut self, io: &mut Io, to: ReplyTo, token: Token, session: Key) {
        let origin = match self.streams.get(&session).copied() {
            Some(origin) => origin,
            None => {
                let origin = ReplyTo { session: Some(session), ..to };
                self.begin_trail(io, session, origin, None);
                self.streams.insert(session, origin);
                origin
            }
        };
        let Some(stream) = self.trail(session, origin).map(|trail| trail.stream) else { return };
        let now = self.now;
        let place = self.replay(session, |replay, _| {
            replay.step(stream, now, Event::Attached);
            replay.written(stream)
        });
        if let Some(place) = place.flatten() {
            self.resume(io, to, token, session, place);
        }
    }

    /// Makes a connection the carrier of a stream that goes on.
    fn resume(&mut self, io: &mut Io, to: ReplyTo, token: Token, session: Key, place: EventId) {
        let Some(trail) = self.trail_mut(session, |trail| trail.stream == place.stream) else {
            return;
        };
        let previous = trail.carrier.replace(Carrier { to, get: true });
        if let Some(previous) = previous {
            self.write(io, previous.to, b"", Ending::Nothing, None);
        }
        if !previous.is_some_and(|previous| previous.get) {
            self.session_step(session, life::Event::StreamOpened);
        }
        let prime = self.is_primed(session);
        self.open_for(io, to, token, prime.then_some(Mark { id: place, prime }));
        for (id, message) in self.rest(session, place) {
            self.carry(io, to, message, Ending::More, Some(Mark { id, prime: false }));
        }
        self.replay(session, |replay, _| replay.wrote(place.stream));
    }

    /// Gives the rest of a stream that has ended. Where there is none, 204 tells the client not to
    /// come back (WHATWG HTML section 9.2.3).
    fn replay_ended(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        token: Token,
        session: Key,
        place: EventId,
    ) {
        let rest = self.rest(session, place);
        if rest.is_empty() {
            return self.write(io, to, b"", Ending::Over, None);
        }
        self.open_for(io, to, token, None);
        for (id, message) in rest {
            self.carry(io, to, message, Ending::More, Some(Mark { id, prime: false }));
        }
        self.write(io, to, b"", Ending::Nothing, None);
    }

    fn rest(&mut self, session: Key, place: EventId) -> Vec<(EventId, Bytes)> {
        let rest = self.replay(session, |replay, _| {
            replay.after(place).map(|(id, message)| (id, message.clone())).collect()
        });
        rest.unwrap_or_default()
    }

    /// Opens a GET's stream on the core of its connection, now that the session is known to exist.
    fn open_for(&mut self, io: &mut Io, to: ReplyTo, token: Token, mark: Option<Mark>) {
        match to.core == self.id {
            true => self.open_session_stream(io, to, token, mark),
            false => io.post(to.core, Post::Open { to, token, mark }),
        }
    }

    /// A call that takes long becomes a stream before anything is said on it: its client gets an
    /// id to resume from, and what is between them sees that the connection is in use.
    fn open_slow(&mut self, io: &mut Io) {
        let now = self.now;
        let slow = self.flights.iter().map(|(_, flight)| flight).filter(|flight| {
            flight.revision == Revision::V2025_11_25
                && flight.state != State::Answering
                && flight.reply.batch.is_none()
                && now.since(flight.began) >= SLOW
                && flight.reply.session.is_some_and(|it| self.trail(it, flight.reply).is_none())
        });
        for reply in slow.map(|flight| flight.reply).collect::<Vec<_>>() {
            self.deliver(io, reply, b"", Ending::Open);
        }
    }

    pub(super) fn sweep_trails(&mut self, io: &mut Io) {
        self.open_slow(io);
        let with = self.sessions.iter().filter(|(_, session)| session.replay.is_some());
        let now = self.now;
        for session in with.map(|(key, _)| key).collect::<Vec<_>>() {
            self.replay(session, |replay, _| replay.expire(now));
        }
    }
}
