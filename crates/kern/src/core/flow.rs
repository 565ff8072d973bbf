//! Answers that go to their client as they come, from the side of the call.
//!
//! A large answer of a server behind a URL comes in pieces. Once enough of it came, what is known of
//! it is judged as a whole answer is (`returns`), its beginning is rewritten, and from then on it
//! passes: checked as JSON, under the client's id, held nowhere. What can't be judged or rewritten so
//! early is held until it is whole, as small answers are.
//!
//! Invariants: an answer that passed whole is byte for byte what it would have been; one that turns
//! out to be wrong is cut off, never ended in order; a server is not read from while its client has
//! enough to read; an answer that its client could ask for again, or that its server could send again,
//! is held as long as that is so.

use kern_mcp::growing::{Beginning, Growing};
use kern_mcp::limits::DEPTH_MAX;
use kern_mcp::{Envelope, Kind, Method, ScanLimits, scan};
use kern_session::Replay;
use kern_session::call::{Effect, Event, State};
use kern_terms::{Era, FlightId, Key, Revision};
use kern_upstream::call;

use super::flight::Flight;
use super::http_link::{BELOW, Which};
use super::task_answers::creates;
use super::words::{Post, Pour, ReplyTo, Room};
use super::{Core, Io};

/// What is scanned here is bounded already.
const ANY_LENGTH: ScanLimits = ScanLimits { bytes_max: u32::MAX, depth_max: DEPTH_MAX };

/// An answer in the coming.
#[derive(Debug)]
pub(super) struct Flow {
    growing: Growing,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// All that came is here: it may begin yet, or has to come whole.
    Held { bytes: Vec<u8>, whole: bool },
    /// It goes on.
    Going(Going),
}

/// An answer that has begun.
#[derive(Clone, Copy, Debug)]
struct Going {
    /// The exchange it goes to.
    to: ReplyTo,
    /// Its id was replaced.
    id_done: bool,
    /// Which members its beginning had that differ between the eras.
    era: [bool; 4],
    from: Revision,
}

impl Flow {
    fn new(depth_max: u32) -> Self {
        let stage = Stage::Held { bytes: Vec::new(), whole: false };
        Self { growing: Growing::new(depth_max), stage }
    }
}

/// The members that are added or removed where client and server are of different eras.
fn of_an_era(envelope: &Envelope) -> [bool; 4] {
    let Envelope { result_type, ttl_ms, cache_scope, error, .. } = envelope;
    [result_type, ttl_ms, cache_scope, error].map(Option::is_some)
}

impl Core {
    /// Whether a large answer to this call may go to its client as it comes, as far as the call tells.
    pub(super) fn may_flow(&self, key: Key, server: Revision) -> bool {
        let limits = &self.setup.plan.limits;
        let Some(flight) = self.flights.get(key) else { return false };
        let method =
            matches!(flight.method, Method::ToolsCall | Method::ResourcesRead | Method::PromptsGet);
        // What a new server says to an old client may have to be left out, or be no answer.
        let removes = flight.revision.era() == Era::Legacy && server.era() == Era::Modern;
        let changes = flight.leg.is_some() || flight.wants_task || flight.exposed_uri.is_some();
        method
            && !removes
            && !changes
            && flight.reply.flows
            && flight.reply.batch.is_none()
            && limits.result_bytes > limits.message_bytes
    }

    /// A piece of a large message on the stream of a call.
    pub(super) fn link_part(
        &mut self,
        io: &mut Io,
        which: Which,
        tag: u64,
        piece: &[u8],
        last: bool,
    ) {
        if tag & !BELOW != 0 {
            return;
        }
        let now = self.now;
        let depth_max = self.scan_limits.depth_max;
        let Some(key) = FlightId::from_number(tag).and_then(|id| self.flight_key(id)) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.heard = now;
        let flow = flight.flow.get_or_insert_with(|| Box::new(Flow::new(depth_max)));
        let (bytes, whole) = match &mut flow.stage {
            Stage::Going(going) => {
                let going = *going;
                return self.flow_on(io, which, key, going, piece, last);
            }
            Stage::Held { bytes, whole } => (bytes, whole),
        };
        bytes.extend_from_slice(piece);
        *whole |= flow.growing.push(piece).is_err();
        if last {
            let message = std::mem::take(bytes);
            flight.flow = None;
            return self.link_message(io, which, tag, &message, None);
        }
        let (held, whole) = (bytes.len(), *whole);
        if !whole && held > self.hold_until(key) && self.begin_answer(io, key) {
            return;
        }
        let most = self.setup.plan.limits.message_bytes;
        if held > most {
            self.give_up_exchange(io, which, key);
            let why = format!("its answer is longer than {most} bytes (limits.message_bytes)");
            self.blame(io, key, &why);
        }
    }

    /// How much of an answer is held although it could begin: as long as the client can lose the
    /// connection and ask for it again, or the server can.
    fn hold_until(&self, key: Key) -> usize {
        let most = self.setup.plan.limits.message_bytes;
        match self.flights.get(key) {
            Some(flight) if flight.resume.is_some() => most,
            Some(flight) if self.can_ask_again(flight.reply) => Replay::BYTES_MAX.min(most),
            _ => 0,
        }
    }

    /// Judges what came of an answer; where that can be, it begins.
    fn begin_answer(&mut self, io: &mut Io, key: Key) -> bool {
        let id = self.flight_id(key);
        let asked = self.park_mut(key).is_some();
        let Some(flight) = self.flights.get_mut(key) else { return false };
        if flight.state != State::Sent || asked {
            return false;
        }
        let Some(Flow { growing, stage: Stage::Held { bytes, whole } }) =
            flight.flow.as_deref_mut()
        else {
            return false;
        };
        let Some(beginning) = growing.beginning(bytes, id.number()) else { return false };
        let held = std::mem::take(bytes);
        let id_done = growing.id().1.is_some();
        // Looked at once: what follows changes nothing of this.
        *whole = true;
        let going = self.judge_beginning(io, key, &beginning, id_done);
        let Some(flight) = self.flights.get_mut(key) else { return false };
        let Some(flow) = &mut flight.flow else { return false };
        let Some((going, mark)) = going else {
            flow.stage = Stage::Held { bytes: held, whole: true };
            return false;
        };
        flow.stage = Stage::Going(going);
        flight.parked = None;
        self.call_step(key, Event::Begun);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.write_beginning(key, &beginning, going.from, &mut out);
        out.extend_from_slice(&held[beginning.taken_bytes..]);
        drop(held);
        self.pour(io, going.to, id, &out, Pour::Begin(mark));
        self.out = out;
        true
    }

    /// Whether a beginning is one of the answer that `key` waits for, which can be rewritten now.
    fn judge_beginning(
        &mut self,
        io: &mut Io,
        key: Key,
        beginning: &Beginning,
        id_done: bool,
    ) -> Option<(Going, Option<super::words::Mark>)> {
        let envelope = scan(&beginning.closed, &ANY_LENGTH).ok()?;
        let from = self.server_revision(key, &envelope);
        if !self.is_plain_answer(key, &beginning.closed, &envelope) || !self.may_flow(key, from) {
            return None;
        }
        let reply = self.flights.get(key)?.reply;
        let (to, mark) = self.say_in_pieces(io, reply)?;
        Some((Going { to, id_done, era: of_an_era(&envelope), from }, mark))
    }

    /// Whether an answer is the one `key` waits for, with nothing in it but its id that has to be
    /// rewritten beyond what the eras want.
    fn is_plain_answer(&self, key: Key, message: &[u8], envelope: &Envelope) -> bool {
        let Some(flight) = self.flights.get(key) else { return false };
        envelope.kind == Kind::Result
            && Self::flight_of(message, envelope) == Some(self.flight_id(key))
            && !creates(flight, message, envelope)
            && !(flight.all && envelope.related_task.is_some())
    }

    /// The beginning as the client gets it, without what was added to make it whole.
    fn write_beginning(&self, key: Key, beginning: &Beginning, from: Revision, out: &mut Vec<u8>) {
        let closed = &beginning.closed;
        let Some(flight) = self.flights.get(key) else { return };
        let Ok(envelope) = scan(closed, &ANY_LENGTH) else { return };
        call::answer(closed, &envelope, flight.method, &flight.id, from, flight.revision, out);
        // The id may stand in what was added, and is as long there as it becomes.
        let tail = &closed[beginning.taken_bytes..];
        let added = match envelope.id {
            Some(id) if id.start as usize >= beginning.taken_bytes => {
                tail.len() - id.len() + flight.id.len()
            }
            _ => tail.len(),
        };
        out.truncate(out.len() - added);
    }

    /// The next piece of an answer that has begun.
    fn flow_on(
        &mut self,
        io: &mut Io,
        which: Which,
        key: Key,
        going: Going,
        piece: &[u8],
        last: bool,
    ) {
        let flight_id = self.flight_id(key);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(flow) = flight.flow.as_deref_mut() else { return };
        let base = flow.growing.bytes();
        let pushed = flow.growing.push(piece);
        let Stage::Going(now) = &mut flow.stage else { return };
        let mut shown = piece;
        if !now.id_done
            && let (Some(start), end) = flow.growing.id()
        {
            let place = |at: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
            let (from, to) = (place(start).min(piece.len()), end.map_or(piece.len(), place));
            out.extend_from_slice(&piece[..from]);
            if start >= base {
                out.extend_from_slice(&flight.id);
            }
            out.extend_from_slice(&piece[to.min(piece.len())..]);
            now.id_done = end.is_some();
            shown = &out;
        }
        match pushed {
            Ok(()) if !last => self.pour(io, going.to, flight_id, shown, Pour::More),
            Ok(()) => match self.judge_end(key, going) {
                Ok(()) => self.finish_answer(io, key, going, shown),
                Err(why) => self.break_off(io, which, key, &why),
            },
            Err(why) => self.break_off(io, which, key, &why.to_string()),
        }
        self.out = out;
    }

    /// Judges an answer once more when it is whole.
    fn judge_end(&self, key: Key, going: Going) -> Result<(), String> {
        let flow = self.flights.get(key).and_then(|flight| flight.flow.as_ref());
        let Some(flow) = flow else { return Err("it is over".to_owned()) };
        let skeleton = flow.growing.finish().map_err(|why| why.to_string())?;
        let envelope = scan(skeleton, &ANY_LENGTH).map_err(|why| why.to_string())?;
        let crosses =
            self.flights.get(key).is_some_and(|flight| flight.revision.era() != going.from.era());
        if !self.is_plain_answer(key, skeleton, &envelope) {
            return Err("it turned out to be another one".to_owned());
        }
        if crosses && of_an_era(&envelope) != going.era {
            return Err("it names its type or lifetime after what it holds".to_owned());
        }
        Ok(())
    }

    fn finish_answer(&mut self, io: &mut Io, key: Key, going: Going, rest: &[u8]) {
        let id = self.flight_id(key);
        if self.call_step(key, Event::Answered) != Effect::Finish {
            return;
        }
        let Some(flight) = self.land(io, key) else { return };
        self.expect_end(flight.exchange, flight.which());
        self.pour(io, going.to, id, rest, Pour::End);
        self.said_in_pieces(flight.reply);
    }

    /// An answer that has begun is none: its client must not take it for one.
    fn break_off(&mut self, io: &mut Io, which: Which, key: Key, why: &str) {
        self.give_up_exchange(io, which, key);
        self.blame(io, key, &format!("its answer is no message: {why}"));
    }

    /// Reads no more of what answers a call.
    fn give_up_exchange(&mut self, io: &mut Io, which: Which, key: Key) {
        let exchange = self.flights.get_mut(key).and_then(|flight| flight.exchange.take());
        if let Some(exchange) = exchange {
            self.with_link(io, which, &[], |link, wire, _, _| link.abort(wire, exchange));
        }
    }

    /// A call that ended while its answer came: nobody reads the rest.
    pub(super) fn end_flow(&mut self, io: &mut Io, flight: &Flight) {
        if let (Some(exchange), State::Over { owes: true }) = (flight.exchange, flight.state) {
            let which = flight.which();
            self.with_link(io, which, &[], |link, wire, _, _| link.abort(wire, exchange));
        }
    }

    /// What the client's connection has to say of an answer that goes there.
    pub(super) fn room(&mut self, io: &mut Io, id: FlightId, room: Room) {
        let now = self.now;
        let Some(key) = self.flight_key(id) else { return };
        if self.call_state(key) != State::Answering {
            return;
        }
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.heard = now;
        let (which, exchange, era) = (flight.which(), flight.exchange, flight.revision.era());
        match (room, exchange) {
            (Room::Full | Room::Free, Some(exchange)) => {
                let on = room == Room::Free;
                self.with_link(io, which, &[], |link, wire, _, _| link.read(wire, exchange, on));
            }
            (Room::Full | Room::Free, None) => {}
            (Room::Gone, _) if era == Era::Modern => {
                self.withdraw_flight(io, key, Event::Gone(era), "cancelled by the client");
            }
            // Whoever resumes the stream must not wait for what can't be said again.
            (Room::Gone, _) => {
                let why = "the connection was lost in the middle of an answer too large to be kept";
                self.fail_flight(io, key, why);
            }
        }
    }

    /// Tells the call whose answer goes to a connection of this core.
    pub(super) fn tell_room(&mut self, io: &mut Io, flight: FlightId, room: Room) {
        match flight.core() == self.id {
            true => self.room(io, flight, room),
            false => io.post(flight.core(), Post::Room { flight, room }),
        }
    }

    /// Whether the exchange `to` of a session carries an answer that has begun: nothing else can be
    /// said there.
    pub(super) fn is_answering(&self, session: Key, to: ReplyTo) -> Option<Key> {
        let calls = self.sessions.get(session)?.calls().values();
        calls.filter_map(|id| self.flight_key(*id)).find(|key| {
            let flight = self.flights.get(*key);
            flight.is_some_and(|it| it.state == State::Answering && it.reply == to)
        })
    }
}
