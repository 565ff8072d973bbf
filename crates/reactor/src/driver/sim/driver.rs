//! How does a core act on the simulated world, and how does it hear from it?
//!
//! Invariants: [`Driver::wait`] never sleeps: it reports what is due, and who turns the core knows
//! when it must be turned again; one call reports a bounded, seeded number of completions; nothing is reported for a
//! key that was closed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kern_terms::{CoreId, Instant, Key};

use super::actor::Link;
use super::network::{ConnectionId, Fin, Owner, Side};
use super::process::Pid;
use super::world::{Call, Listener, State, World, listen_name};
use crate::driver::{Address, Batch, Completion, Driver, Piece, Socket, Wake};
use crate::event::{ChildExit, Chunk, Command, Listen, Local, Peer, Signal};

/// Most completions of one wait.
const COMPLETIONS_MAX: u64 = 64;
/// Most bytes of one chunk.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What a core has not been told yet.
pub(super) enum Ready {
    Done(Completion),
    Readable { connection: ConnectionId, side: Side },
}

/// A core as the world sees it.
pub(super) struct CoreState {
    pub(super) alive: bool,
    waker: Arc<SimWaker>,
    pub(super) ready: VecDeque<Ready>,
    streams: BTreeMap<u64, (ConnectionId, Side)>,
    listeners: BTreeMap<u64, String>,
    pub(super) children: BTreeMap<u64, Pid>,
    pub(super) watches_signals: bool,
}

impl CoreState {
    pub(super) fn hold(&mut self, stream: Key, connection: ConnectionId, side: Side) {
        let before = self.streams.insert(stream.to_bits(), (connection, side));
        assert!(before.is_none(), "a key names one stream");
    }

    pub(super) fn let_go(&mut self, stream: Key) {
        self.streams.remove(&stream.to_bits());
    }

    pub(super) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Whether a turn would find something new.
    pub(super) fn has_news(&self) -> bool {
        self.alive && (!self.ready.is_empty() || self.waker.0.load(Ordering::Relaxed))
    }

    /// Drops reports for a stream that is no more.
    fn forget(&mut self, stream: Key) {
        self.ready.retain(|ready| {
            !matches!(ready, Ready::Done(
                Completion::Connected { stream: of, .. }
                | Completion::Sent { stream: of, .. }) if *of == stream)
        });
    }
}

struct SimWaker(AtomicBool);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl State {
    pub(super) fn done(&mut self, core: usize, completion: Completion) {
        if self.cores[core].alive {
            self.cores[core].ready.push_back(Ready::Done(completion));
        } else if let Completion::Accepted { socket: Socket::Simulated(id), .. } = completion {
            self.tear(id);
            self.close(id, 1);
        }
    }

    pub(super) fn sent(&mut self, core: usize, stream: Key, batch: Batch, result: io::Result<()>) {
        self.done(core, Completion::Sent { stream, batch, result });
    }

    fn close_listener(&mut self, core: usize, listener: Key) {
        let Some(name) = self.cores[core].listeners.remove(&listener.to_bits()) else { return };
        if let Some(accepting) = self.listeners.get_mut(&name) {
            accepting.retain(|other| *other != Listener::Core { core, listener });
            if accepting.is_empty() {
                self.listeners.remove(&name);
            }
        }
        self.cores[core].ready.retain(|ready| {
            !matches!(ready, Ready::Done(Completion::Accepted { listener: of, .. })
                if *of == listener)
        });
        let waiting = Owner::Pending { core, listener };
        let all = self.connections.iter();
        let unheard: Vec<_> =
            all.filter(|(_, c)| c.ends[1].owner == waiting).map(|(id, _)| *id).collect();
        for id in unheard {
            self.tear(id);
            self.close(id, 1);
        }
    }

    /// What a core can read of a stream now: at most one chunk and the end.
    fn read_by_core(&mut self, id: ConnectionId, side: Side, out: &mut Vec<Completion>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Owner::Core { stream, .. } = connection.ends[side].owner else { return };
        connection.ends[side].listed = false;
        if !connection.ends[side].receiving || connection.ends[side].ended {
            return;
        }
        let flow = &mut connection.flows[1 - side];
        let length = flow.arrived.len().min(CHUNK_BYTES_MAX);
        if length > 0 {
            let bytes = flow.arrived.take(length);
            flow.outstanding = flow.outstanding.saturating_sub(length);
            self.trace.mix(&bytes);
            out.push(Completion::Received { stream, chunk: Chunk::from_vec(bytes) });
            self.pump(id, 1 - side);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let flow = &connection.flows[1 - side];
        if !flow.arrived.is_empty() {
            return self.announce(id, side);
        }
        if flow.fin == Fin::Arrived || connection.ends[side].broken {
            let result = if flow.fin == Fin::Arrived {
                Ok(())
            } else {
                Err(io::ErrorKind::ConnectionReset.into())
            };
            connection.ends[side].ended = true;
            out.push(Completion::ReadEnded { stream, result });
        }
    }
}

/// The driver of one core of a [`World`].
#[derive(Debug)]
pub struct SimDriver {
    world: World,
    core: usize,
    /// Nobody else moves the world.
    alone: bool,
}

impl SimDriver {
    /// A driver for `core`, which must not have one alive.
    pub fn new(world: &World, core: CoreId) -> Self {
        let mut state = world.state.borrow_mut();
        let index = core.0 as usize;
        while state.cores.len() <= index {
            state.cores.push(CoreState {
                alive: false,
                waker: Arc::new(SimWaker(AtomicBool::new(false))),
                ready: VecDeque::new(),
                streams: BTreeMap::new(),
                listeners: BTreeMap::new(),
                children: BTreeMap::new(),
                watches_signals: false,
            });
        }
        let slot = &mut state.cores[index];
        assert!(!slot.alive, "{core} has a driver already");
        slot.alive = true;
        drop(state);
        Self { world: world.clone(), core: index, alone: false }
    }

    /// A driver for the only core of a world that no [`Runner`](super::Runner) moves: its `wait` lets
    /// simulated time pass, as a real one sleeps.
    pub fn alone(world: &World) -> Self {
        let mut driver = Self::new(world, CoreId(0));
        driver.alone = true;
        driver
    }

    /// Lets the world move until there is something to report, or until `until`.
    fn sleep(&self, until: Option<Instant>) {
        loop {
            if self.world.state.borrow().cores[self.core].has_news() {
                return;
            }
            let until = until.map_or(u64::MAX, Instant::as_nanos);
            match self.world.next_due().filter(|at| *at <= until) {
                Some(at) => {
                    self.world.advance(at);
                    self.world.happen();
                }
                None if until == u64::MAX => return,
                None => return self.world.advance(until),
            }
        }
    }

    fn held(&self, state: &State, stream: Key) -> Option<(ConnectionId, Side)> {
        state.cores[self.core].streams.get(&stream.to_bits()).copied()
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn entropy(&mut self) -> u64 {
        self.world.state.borrow_mut().entropy.bits()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.world.state.borrow().cores[self.core].waker.clone()
    }

    fn listen(&mut self, listener: Key, at: &Listen) -> io::Result<Local> {
        let mut state = self.world.state.borrow_mut();
        let mut at = at.clone();
        if let Listen::Tcp { address, .. } = &mut at
            && address.port() == 0
        {
            let port = 40_000 + state.next_id() % 20_000;
            address.set_port(port as u16);
        }
        let name = listen_name(&at);
        let shares =
            matches!(at, Listen::Tcp { shared: true, .. } | Listen::Held(_) | Listen::Simulated(_));
        let accepting = state.listeners.entry(name.clone()).or_default();
        if !accepting.is_empty() && !shares {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        accepting.push(Listener::Core { core: self.core, listener });
        state.cores[self.core].listeners.insert(listener.to_bits(), name);
        state.note("listen", self.core as u64, listener.to_bits());
        Ok(match at {
            Listen::Tcp { address, .. } => Local::Tcp(address),
            Listen::Held(held) => Local::Tcp(held.address()),
            Listen::Unix(path) | Listen::Ring(path) => Local::Unix(path),
            Listen::Simulated(name) => Local::Simulated(name),
        })
    }

    fn unlisten(&mut self, listener: Key) {
        self.world.state.borrow_mut().close_listener(self.core, listener);
    }

    fn adopt(&mut self, stream: Key, socket: Socket) -> io::Result<()> {
        let Socket::Simulated(id) = socket else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut state = self.world.state.borrow_mut();
        let Some(connection) = state.connections.get_mut(&id) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let open = |owner: Owner| matches!(owner, Owner::Pending { .. } | Owner::Nobody);
        let Some(side) = (0..2).find(|side| open(connection.ends[*side].owner)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        connection.ends[side].owner = Owner::Core { core: self.core, stream };
        state.cores[self.core].hold(stream, id, side);
        state.note("adopt", id, self.core as u64);
        state.announce(id, side);
        Ok(())
    }

    fn connect(&mut self, stream: Key, to: &Address) -> io::Result<()> {
        let at = match to {
            Address::Tcp(address) => Listen::Tcp { address: *address, shared: true },
            Address::Unix(path) => Listen::Unix(path.clone()),
            Address::Simulated(name) => Listen::Simulated(name.clone()),
        };
        let mut state = self.world.state.borrow_mut();
        let owner = Owner::Core { core: self.core, stream };
        let id = state.connect(owner, &listen_name(&at));
        state.cores[self.core].hold(stream, id, 0);
        Ok(())
    }

    fn stdio(&mut self, stream: Key) -> io::Result<()> {
        let mut state = self.world.state.borrow_mut();
        let Some(actor) = state.console else { return Err(io::ErrorKind::NotFound.into()) };
        let connection = state.pipe(self.core, stream, actor);
        state.call(actor, Call::Opened { link: Link { connection, side: 1 } });
        Ok(())
    }

    fn spawn(&mut self, child: Key, pipes: Key, errors: Key, command: &Command) -> io::Result<u32> {
        let mut state = self.world.state.borrow_mut();
        let pid = state.spawn(self.core, [child, pipes, errors], command)?;
        state.cores[self.core].children.insert(child.to_bits(), pid);
        Ok(pid)
    }

    fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()> {
        let mut state = self.world.state.borrow_mut();
        let pid = state.cores[self.core].children.get(&child.to_bits()).copied();
        state.signal_child(pid.ok_or(io::ErrorKind::NotFound)?, signal)
    }

    fn watch_signals(&mut self) -> io::Result<()> {
        self.world.state.borrow_mut().cores[self.core].watches_signals = true;
        Ok(())
    }

    fn receive(&mut self, stream: Key, on: bool) {
        let mut state = self.world.state.borrow_mut();
        let Some((id, side)) = self.held(&state, stream) else { return };
        if let Some(connection) = state.connections.get_mut(&id) {
            connection.ends[side].receiving = on;
            state.announce(id, side);
        }
    }

    fn send(
        &mut self,
        stream: Key,
        batch: Batch,
        _prompt: bool,
    ) -> Option<(Batch, io::Result<()>)> {
        let mut state = self.world.state.borrow_mut();
        let Some((id, side)) = self.held(&state, stream) else {
            return Some((batch, Err(io::ErrorKind::NotConnected.into())));
        };
        if !state.can_write(id, side) {
            return Some((batch, Err(io::ErrorKind::BrokenPipe.into())));
        }
        let pieces: Vec<&[u8]> = batch.pieces.iter().map(Piece::as_slice).collect();
        let bytes = pieces.concat();
        state.write_batch((id, side), &bytes, batch)
    }

    fn finish(&mut self, stream: Key) {
        let mut state = self.world.state.borrow_mut();
        if let Some((id, side)) = self.held(&state, stream) {
            state.finish(id, side);
        }
    }

    fn close(&mut self, stream: Key) {
        let mut state = self.world.state.borrow_mut();
        if let Some((id, side)) = self.held(&state, stream) {
            state.close(id, side);
        }
        state.cores[self.core].let_go(stream);
        state.cores[self.core].forget(stream);
    }

    fn resolve(&mut self, host: &str, port: u16) -> Option<Vec<Address>> {
        let mut state = self.world.state.borrow_mut();
        let State { misfortune, faults, .. } = &mut *state;
        let mut addresses = Vec::new();
        if misfortune.chance(faults.refused_ppm) {
            addresses.push(Address::Simulated("nowhere:0".to_owned()));
        }
        addresses.push(match host.parse::<IpAddr>() {
            Ok(ip) => Address::Tcp((ip, port).into()),
            Err(_) => Address::Simulated(format!("{host}:{port}")),
        });
        Some(addresses)
    }

    fn wait(&mut self, until: Option<Instant>, out: &mut Vec<Completion>) -> io::Result<()> {
        if self.alone {
            self.sleep(until);
        }
        let mut state = self.world.state.borrow_mut();
        let most = out.len() + state.scheduling.within(1, COMPLETIONS_MAX) as usize;
        state.cores[self.core].waker.0.store(false, Ordering::Relaxed);
        while out.len() < most {
            let Some(ready) = state.cores[self.core].ready.pop_front() else { break };
            let before = out.len();
            match ready {
                Ready::Done(completion) => out.push(completion),
                Ready::Readable { connection, side } => state.read_by_core(connection, side, out),
            }
            for completion in &out[before..] {
                let (what, subject, detail) = describe(completion);
                state.note(what, subject, detail);
            }
        }
        Ok(())
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        let Ok(mut state) = self.world.state.try_borrow_mut() else { return };
        let core = self.core;
        state.note("core ends", core as u64, 0);
        state.cores[core].alive = false;
        let keys = |map: Vec<u64>| map.into_iter().map(Key::from_bits);
        for listener in keys(state.cores[core].listeners.keys().copied().collect()) {
            state.close_listener(core, listener);
        }
        let held: Vec<_> = state.cores[core].streams.values().copied().collect();
        for (id, side) in held {
            state.close(id, side);
        }
        let children: Vec<_> = state.cores[core].children.values().copied().collect();
        for pid in children {
            state.end_child(pid, ChildExit { code: None, signal: Some(9) });
        }
        state.cores[core].streams.clear();
        state.cores[core].ready.clear();
        state.cores[core].children.clear();
    }
}

fn describe(completion: &Completion) -> (&'static str, u64, u64) {
    match completion {
        Completion::Accepted { listener, peer, .. } => {
            let tcp = matches!(peer, Peer::Tcp(_));
            ("-> accepted", listener.to_bits(), tcp.into())
        }
        Completion::Connected { stream, result } => {
            ("-> connected", stream.to_bits(), result.is_ok().into())
        }
        Completion::Received { stream, chunk } => {
            ("-> received", stream.to_bits(), chunk.len() as u64)
        }
        Completion::ReadEnded { stream, result } => {
            ("-> read ended", stream.to_bits(), result.is_ok().into())
        }
        Completion::Sent { stream, result, .. } => {
            ("-> sent", stream.to_bits(), result.is_ok().into())
        }
        Completion::Exited { child, exit } => {
            ("-> exited", child.to_bits(), exit.code.or(exit.signal).unwrap_or(0) as u64)
        }
        Completion::Signal(_) => ("-> signal", 0, 0),
    }
}
