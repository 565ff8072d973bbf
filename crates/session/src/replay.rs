//! What was said on a session's event streams, kept for a client that lost its connection.
//!
//! Source: 2025-11-25 basic/transports, "Resumability and Redelivery": an event's id is a cursor
//! within its stream and unique in the session; a client that lost a connection names the last id
//! it saw, and gets what followed on that stream and no other.
//!
//! Invariants: sequences of a stream only grow; an event is given out only for its own stream;
//! events, bytes and ended streams kept are bounded, the oldest go first. A stream of a session is
//! numbered from a place drawn at random, so that an id of another session finds nothing.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use kern_terms::Instant;

use crate::stream::{Effect, Event as Happening, State};

/// Names one event: `<stream>-<sequence>`, eight hexadecimal digits and a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The stream.
    pub stream: u32,
    /// Which event of it, from 1; 0 is the place before the first.
    pub sequence: u32,
}

impl EventId {
    /// Reads exactly what `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (stream, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let canonical = sequence == "0" || !sequence.starts_with('0');
        if stream.len() != 8
            || !stream.bytes().all(lower_hex)
            || !canonical
            || !sequence.bytes().all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let stream = u32::from_str_radix(stream, 16).ok()?;
        Some(Self { stream, sequence: sequence.parse().ok()? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.stream, self.sequence)
    }
}

/// One stream.
#[derive(Debug)]
struct Stream {
    /// Sequence of the last event said.
    last: u32,
    /// Sequence of the last event that was written to some connection.
    written: u32,
    /// Sequence of the newest event that is no longer kept.
    dropped: u32,
    state: State,
}

#[derive(Debug)]
struct Event {
    id: EventId,
    message: Bytes,
}

/// The event streams of one session.
#[derive(Debug)]
pub struct Replay {
    next: u32,
    streams: BTreeMap<u32, Stream>,
    /// Ended streams, in the order they ended.
    ended: VecDeque<u32>,
    /// Events of all streams, in the order they were said.
    events: VecDeque<Event>,
    bytes: usize,
}

impl Replay {
    /// Events kept for one session.
    pub const EVENTS_MAX: usize = 1_000;
    /// Bytes of messages kept for one session.
    pub const BYTES_MAX: usize = 8 << 20;
    /// Bytes of messages kept for one session while all of them together have too many.
    pub const BYTES_SCARCE_MAX: usize = 64 << 10;
    /// Ended streams a session can still resume.
    pub const ENDED_MAX: usize = 128;
    /// How long an ended stream is kept.
    pub const KEPT_FOR: Duration = Duration::from_secs(300);

    /// No streams yet; the first one will be numbered `first`, which should be random.
    pub fn new(first: u32) -> Self {
        Self {
            next: first,
            streams: BTreeMap::new(),
            ended: VecDeque::new(),
            events: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Begins a stream, which no connection carries yet.
    pub fn open(&mut self, now: Instant) -> u32 {
        let stream = self.next;
        self.next = self.next.wrapping_add(1);
        let state = State::Opening { since: now };
        self.streams.insert(stream, Stream { last: 0, written: 0, dropped: 0, state });
        stream
    }

    /// Where a stream is.
    pub fn state(&self, stream: u32) -> State {
        self.streams.get(&stream).map_or(State::Over, |known| known.state)
    }

    /// A connection asks for a stream, or the one that carries it is gone: what has to be done.
    pub fn step(&mut self, stream: u32, now: Instant, event: Happening) -> Effect {
        let (state, effect) = self.state(stream).step(now, event);
        if let Some(known) = self.streams.get_mut(&stream) {
            known.state = state;
        }
        effect
    }

    /// Says a message on a stream; `bytes_max` is what the session may keep now. Whether a connection
    /// gets it, and its id; `None` where the stream is not there or has ended.
    pub fn say(
        &mut self,
        stream: u32,
        now: Instant,
        message: Bytes,
        bytes_max: usize,
    ) -> Option<EventId> {
        match self.step(stream, now, Happening::Said) {
            Effect::Write | Effect::Keep => {}
            _ => return None,
        }
        let known = self.streams.get_mut(&stream)?;
        known.last = known.last.checked_add(1)?;
        let id = EventId { stream, sequence: known.last };
        self.bytes += message.len();
        self.events.push_back(Event { id, message });
        self.make_room(bytes_max);
        Some(id)
    }

    /// Says a message that is too large to be kept: its id, where a connection carries the stream.
    pub fn say_unkept(&mut self, stream: u32, now: Instant) -> Option<EventId> {
        if self.step(stream, now, Happening::Said) != Effect::Write {
            return None;
        }
        let known = self.streams.get_mut(&stream)?;
        known.last = known.last.checked_add(1)?;
        known.dropped = known.last;
        Some(EventId { stream, sequence: known.last })
    }

    fn make_room(&mut self, bytes_max: usize) {
        while self.events.len() > Self::EVENTS_MAX || self.bytes > bytes_max {
            let Some(event) = self.events.pop_front() else { return };
            self.bytes -= event.message.len();
            let Some(stream) = self.streams.get_mut(&event.id.stream) else { continue };
            stream.dropped = event.id.sequence;
            // Without its last event there is nothing an ended stream could still say.
            if !stream.state.goes_on() && stream.dropped == stream.last {
                self.forget(event.id.stream);
            }
        }
    }

    fn forget(&mut self, stream: u32) {
        let dropped = self.state(stream).step(Instant::ZERO, Happening::Dropped);
        debug_assert_eq!(dropped, (State::Over, Effect::Forget), "a stream is forgotten once");
        self.streams.remove(&stream);
        self.ended.retain(|ended| *ended != stream);
        let bytes = &mut self.bytes;
        self.events.retain(|event| {
            let stays = event.id.stream != stream;
            *bytes -= if stays { 0 } else { event.message.len() };
            stays
        });
    }

    /// Nothing more will be said on a stream. One whose last event is not kept is forgotten.
    pub fn end(&mut self, stream: u32, now: Instant) {
        if self.step(stream, now, Happening::Finished) == Effect::Ignore {
            return;
        }
        let Some(known) = self.streams.get(&stream) else { return };
        if known.last > 0 && known.dropped == known.last {
            return self.forget(stream);
        }
        self.ended.push_back(stream);
        if self.ended.len() > Self::ENDED_MAX
            && let Some(oldest) = self.ended.front().copied()
        {
            self.forget(oldest);
        }
    }

    /// Forgets streams that ended long ago.
    pub fn expire(&mut self, now: Instant) {
        let clock = Happening::Clock(Self::KEPT_FOR);
        while let Some(oldest) = self.ended.front().copied()
            && self.state(oldest).step(now, clock).1 == Effect::Forget
        {
            self.forget(oldest);
        }
    }

    /// Everything said on a stream so far was written to a connection.
    pub fn wrote(&mut self, stream: u32) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.written = known.last;
        }
    }

    /// The place after the last event of a stream.
    pub fn last(&self, stream: u32) -> Option<EventId> {
        self.streams.get(&stream).map(|known| EventId { stream, sequence: known.last })
    }

    /// The place after what was written of a stream.
    pub fn written(&self, stream: u32) -> Option<EventId> {
        self.streams.get(&stream).map(|known| EventId { stream, sequence: known.written })
    }

    /// Whether `after` names a place of a stream that is kept.
    pub fn has_place(&self, after: EventId) -> bool {
        self.streams.get(&after.stream).is_some_and(|known| after.sequence <= known.last)
    }

    /// What followed a place on its stream, as far as it is still kept.
    pub fn after(&self, after: EventId) -> impl Iterator<Item = (EventId, &Bytes)> {
        let follows = move |id: EventId| id.stream == after.stream && id.sequence > after.sequence;
        self.events
            .iter()
            .filter(move |event| follows(event.id))
            .map(|event| (event.id, &event.message))
    }

    /// Bytes of messages kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
