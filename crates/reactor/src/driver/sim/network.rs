//! How do bytes get from one end of a connection to the other?
//!
//! A connection has two ends and two flows. What an end writes waits in the flow's backlog until the
//! window has room, then travels as segments with seeded sizes and latencies, and lies at the other
//! end until it is read; reading opens the window again. Invariants: bytes of one flow arrive in the
//! order they were written; bytes in flight and unread never exceed the window; an end that closed
//! hears nothing more.

use std::io;

use kern_terms::Key;

use super::queue::Queue;
use super::rng::Rng;
use super::world::{Due, State};
use crate::driver::Batch;
use crate::event::Peer;

/// Names an actor of the world.
pub(super) type ActorId = usize;
/// Names a connection of the world.
pub(super) type ConnectionId = u64;
/// 0: the end that connected (or the parent of a child); 1: the other.
pub(super) type Side = usize;

/// Who holds an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A stream of a core.
    Core { core: usize, stream: Key },
    /// An actor.
    Actor(ActorId),
    /// Accepted by a core's listener, adopted by nobody yet.
    Pending { core: usize, listener: Key },
    /// Nobody has accepted it.
    Nobody,
    /// It was closed.
    Closed,
}

/// What the connection imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// TCP or a Unix stream socket: closing with unread bytes resets the other end.
    Socket,
    /// Two pipes: no resets; writing to a closed reader fails.
    Pipe,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) owner: Owner,
    pub(super) receiving: bool,
    /// A reset arrived.
    pub(super) broken: bool,
    /// The end of input was reported.
    pub(super) ended: bool,
    /// Already in its core's list of ready things.
    pub(super) listed: bool,
}

/// How far the end of a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    Open,
    /// The writer finished; bytes still wait for the window.
    Wanted,
    Travelling,
    Arrived,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) backlog: Queue,
    /// The core's batch, given back when the backlog is empty.
    pub(super) batch: Option<Batch>,
    /// Bytes in flight or unread.
    pub(super) outstanding: usize,
    pub(super) arrived: Queue,
    pub(super) window_bytes: usize,
    pub(super) fin: Fin,
    pub(super) written: u64,
    pub(super) last_at: u64,
    /// Fault: reset both ends after this many bytes.
    reset_at: Option<u64>,
    /// Fault: the writer ends here, whatever else it writes.
    cut_at: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: Kind,
    pub(super) ends: [End; 2],
    /// `flows[side]` is written by `ends[side]`.
    pub(super) flows: [Flow; 2],
    pub(super) peer: Peer,
    pub(super) established: bool,
    /// A reset is on its way: nothing moves any more.
    pub(super) torn: bool,
    pub(super) latency_ns: u64,
}

impl Connection {
    pub(super) fn new(kind: Kind, owner: Owner, peer: Peer, rng: &mut Rng) -> Self {
        let (window_max, latency_max) = match kind {
            Kind::Socket => (256 << 10, 2_000_000),
            Kind::Pipe => (64 << 10, 40_000),
        };
        let end =
            |owner| End { owner, receiving: true, broken: false, ended: false, listed: false };
        let mut flow = || Flow {
            backlog: Queue::default(),
            batch: None,
            outstanding: 0,
            arrived: Queue::default(),
            window_bytes: rng.size(2 << 10, window_max) as usize,
            fin: Fin::Open,
            written: 0,
            last_at: 0,
            reset_at: None,
            cut_at: None,
        };
        Self {
            kind,
            ends: [end(owner), end(Owner::Nobody)],
            flows: [flow(), flow()],
            peer,
            established: kind == Kind::Pipe,
            torn: false,
            latency_ns: rng.size(2_000, latency_max),
        }
    }
}

impl State {
    /// Begins a connection; the other end hears of it one latency later.
    pub(super) fn connect(&mut self, owner: Owner, name: &str) -> ConnectionId {
        let id = self.next_id();
        let peer = match name.split_once(':') {
            Some(("tcp", _)) => Peer::Tcp(peer_address(id)),
            Some(("unix", _)) => Peer::Unix { uid: Some(1000) },
            _ => Peer::Simulated(id),
        };
        let connection = Connection::new(Kind::Socket, owner, peer, &mut self.network);
        let at = self.now + connection.latency_ns;
        self.connections.insert(id, connection);
        self.note("connect", id, 0);
        self.schedule(at, Due::Syn { connection: id, to: name.to_owned() });
        id
    }

    /// The two flows' share of faults; drawn when both ends are known.
    pub(super) fn doom(&mut self, id: ConnectionId) {
        let (faults, rng) = (&self.faults, &mut self.misfortune);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for side in 0..2 {
            let by_actor = matches!(connection.ends[side].owner, Owner::Actor(_));
            let flow = &mut connection.flows[side];
            if rng.chance(faults.reset_ppm) {
                flow.reset_at = Some(rng.size(1, 30_000));
            }
            if by_actor && rng.chance(faults.half_close_ppm) {
                flow.cut_at = Some(rng.size(1, 30_000));
            }
        }
    }

    /// Queues what `side` writes.
    pub(super) fn write(&mut self, id: ConnectionId, side: Side, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let flow = &mut connection.flows[side];
        if flow.fin == Fin::Open && !connection.torn {
            flow.backlog.push(bytes);
        }
        self.trace.mix(bytes);
        self.note("write", id << 1 | side as u64, bytes.len() as u64);
        self.pump(id, side);
    }

    /// Whether the system below would take anything `side` writes now.
    pub(super) fn can_write(&self, id: ConnectionId, side: Side) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let reader_closed = connection.ends[1 - side].owner == Owner::Closed;
            !(connection.ends[side].broken || connection.kind == Kind::Pipe && reader_closed)
        })
    }

    /// Writes a core's batch. It comes back at once if all of it went into the window, or with a
    /// completion later: both happen, so both are tried.
    pub(super) fn write_batch(
        &mut self,
        (id, side): (ConnectionId, Side),
        bytes: &[u8],
        batch: Batch,
    ) -> Option<(Batch, io::Result<()>)> {
        self.write(id, side, bytes);
        let at_once = self.scheduling.below(2) == 0;
        let connection = self.connections.get_mut(&id)?;
        let flow = &mut connection.flows[side];
        assert!(flow.batch.is_none(), "one batch a stream at a time");
        if flow.backlog.is_empty() && at_once {
            return Some((batch, Ok(())));
        }
        flow.batch = Some(batch);
        self.settle(id, side);
        None
    }

    /// Ends what `side` writes, after all it wrote.
    pub(super) fn finish(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let flow = &mut connection.flows[side];
        if flow.fin == Fin::Open {
            flow.fin = Fin::Wanted;
            self.note("finish", id << 1 | side as u64, 0);
            self.pump(id, side);
        }
    }

    /// Moves bytes from the backlog of `side` into the window, and the end after them.
    pub(super) fn pump(&mut self, id: ConnectionId, side: Side) {
        let split = self.network.chance(self.faults.split_ppm);
        while self.has_room(id, side)
            && let Some((segment, at)) = self.cut_segment(id, side, split)
        {
            self.schedule(at, Due::Arrive { connection: id, from: side, bytes: segment });
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.established || connection.torn {
            return;
        }
        let flow = &mut connection.flows[side];
        if flow.reset_at.is_some_and(|limit| flow.written >= limit) {
            return self.tear(id);
        }
        if flow.backlog.is_empty() && flow.fin == Fin::Wanted {
            flow.fin = Fin::Travelling;
            let at = self.arrival(id, side);
            self.schedule(at, Due::Fin { connection: id, from: side });
        }
        self.settle(id, side);
    }

    /// Whether sending is worth while: not in ever smaller pieces as a nearly full window opens
    /// (RFC 9293, 3.8.6.2.1: the silly window syndrome).
    fn has_room(&self, id: ConnectionId, side: Side) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let flow = &connection.flows[side];
            let room = flow.window_bytes.saturating_sub(flow.outstanding);
            room >= flow.backlog.len().min(flow.window_bytes / 4)
        })
    }

    /// Takes the next segment off the backlog and says when it arrives; `None` when nothing may
    /// move.
    fn cut_segment(&mut self, id: ConnectionId, side: Side, split: bool) -> Option<(Vec<u8>, u64)> {
        let connection = self.connections.get_mut(&id)?;
        if !connection.established || connection.torn {
            return None;
        }
        let flow = &mut connection.flows[side];
        if let Some(limit) = flow.cut_at
            && flow.written >= limit
        {
            flow.backlog.clear();
            flow.fin = if flow.fin == Fin::Open { Fin::Wanted } else { flow.fin };
            return None;
        }
        let room = flow.window_bytes.saturating_sub(flow.outstanding);
        let mut length = flow.backlog.len().min(room).min(SEGMENT_MAX);
        for limit in [flow.cut_at, flow.reset_at].into_iter().flatten() {
            length = length.min(limit.saturating_sub(flow.written) as usize);
        }
        if length == 0 {
            return None;
        }
        if split {
            length = self.network.size(1, length as u64) as usize;
        }
        flow.outstanding += length;
        flow.written += length as u64;
        let segment = flow.backlog.take(length);
        Some((segment, self.arrival(id, side)))
    }

    /// When the next segment of a flow arrives: never before the one ahead of it.
    pub(super) fn arrival(&mut self, id: ConnectionId, side: Side) -> u64 {
        let (faults, rng) = (&self.faults, &mut self.network);
        let Some(connection) = self.connections.get_mut(&id) else { return self.now };
        let flow = &mut connection.flows[side];
        if flow.last_at > self.now && rng.chance(faults.merge_ppm) {
            return flow.last_at;
        }
        let mut after = connection.latency_ns + rng.below(connection.latency_ns);
        if rng.chance(faults.spike_ppm) {
            after *= 100;
        }
        if rng.chance(faults.stall_ppm) {
            after += rng.size(1_000_000, faults.stall_max.as_nanos() as u64);
        }
        flow.last_at = (self.now + after).max(flow.last_at);
        flow.last_at
    }

    /// Gives a batch back once all of it is in the window.
    fn settle(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Owner::Core { core, stream } = connection.ends[side].owner else { return };
        let flow = &mut connection.flows[side];
        if flow.backlog.is_empty()
            && let Some(batch) = flow.batch.take()
        {
            self.sent(core, stream, batch, Ok(()));
        }
    }

    /// Fails a batch that will never be sent.
    pub(super) fn fail_batch(&mut self, id: ConnectionId, side: Side, kind: io::ErrorKind) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Owner::Core { core, stream } = connection.ends[side].owner else { return };
        connection.flows[side].backlog.clear();
        if let Some(batch) = connection.flows[side].batch.take() {
            self.sent(core, stream, batch, Err(kind.into()));
        }
    }

    /// Breaks the connection in both directions; each end hears of it in its time.
    pub(super) fn tear(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::replace(&mut connection.torn, true) {
            return;
        }
        self.note("tear", id, 0);
        for side in 0..2 {
            let at = self.arrival(id, 1 - side);
            self.schedule(at, Due::Reset { connection: id, to: side });
        }
    }

    /// Makes a pair of pipes between a core and an actor.
    pub(super) fn pipe(&mut self, core: usize, stream: Key, actor: ActorId) -> ConnectionId {
        let id = self.next_id();
        let owner = Owner::Core { core, stream };
        let mut made = Connection::new(Kind::Pipe, owner, Peer::Simulated(id), &mut self.network);
        made.ends[1].owner = Owner::Actor(actor);
        self.connections.insert(id, made);
        self.cores[core].hold(stream, id, 0);
        id
    }

    /// `side` wants to hear and say nothing more. What an actor or a pipe wrote still goes out; what
    /// a core queued and the window did not take is dropped, as the system below would not have it.
    pub(super) fn close(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let owner = std::mem::replace(&mut connection.ends[side].owner, Owner::Closed);
        if owner == Owner::Closed {
            return;
        }
        if matches!(owner, Owner::Core { .. }) {
            connection.flows[side].backlog.clear();
            connection.flows[side].batch = None;
        }
        let kind = connection.kind;
        let unread = !connection.flows[1 - side].arrived.is_empty();
        connection.flows[1 - side].arrived.clear();
        self.note("close", id << 1 | side as u64, unread.into());
        self.finish(id, side);
        match kind {
            Kind::Socket if unread => self.tear(id),
            Kind::Pipe => self.fail_batch(id, 1 - side, io::ErrorKind::BrokenPipe),
            Kind::Socket => {}
        }
        self.forget_if_over(id);
    }

    /// Drops a connection both ends of which closed. What still travels is ignored on arrival.
    pub(super) fn forget_if_over(&mut self, id: ConnectionId) {
        let over = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.ends.iter().all(|end| end.owner == Owner::Closed));
        if over {
            self.connections.remove(&id);
        }
    }
}

/// The longest segment, bytes: what one receive of a real socket gives.
const SEGMENT_MAX: usize = 16 << 10;

fn peer_address(id: u64) -> std::net::SocketAddr {
    let [.., high, middle, low] = id.to_be_bytes();
    ([10, high, middle, low], 49_152).into()
}
