//! What is the simulated world made of, and how does its time pass?
//!
//! Invariants: time only advances in `Runner::step` and by the cost of turns; things due at the same
//! moment happen in the order they were planned; the state is never borrowed while an actor runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use kern_terms::Instant;

use super::actor::{Actor, Context, Gone, Link};
use super::driver::CoreState;
use super::faults::Faults;
use super::network::{ActorId, Connection, ConnectionId, Kind, Owner, Side};
use super::process::{Pid, Process, Program};
use super::rng::Rng;
use super::trace::Trace;
use crate::event::{Listen, Peer, Signal};

/// A simulated machine and everything around it. A clone is another handle of the same world.
#[derive(Clone)]
pub struct World {
    pub(super) state: Rc<RefCell<State>>,
}

/// Something planned.
pub(super) enum Due {
    Syn { connection: ConnectionId, to: String },
    Outcome { connection: ConnectionId, made: bool },
    Arrive { connection: ConnectionId, from: Side, bytes: Vec<u8> },
    Fin { connection: ConnectionId, from: Side },
    Reset { connection: ConnectionId, to: Side },
    Resume { connection: ConnectionId, side: Side },
    Timer { actor: ActorId, token: u64 },
    Signal { pid: Pid, signal: Signal },
    Crash { pid: Pid },
    Exited { pid: Pid },
    Work { core: usize, work: Box<dyn FnOnce()> },
}

/// A call an actor is owed.
pub(super) enum Call {
    Started,
    Opened { link: Link },
    Received { link: Link, bytes: Vec<u8> },
    Finished { link: Link },
    Gone { link: Link, why: Gone },
    Timer { token: u64 },
    Signal(Signal),
}

/// Who accepts at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Core { core: usize, listener: kern_terms::Key },
    Actor(ActorId),
}

pub(super) struct State {
    pub(super) now: u64,
    planned: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    ids: u64,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    /// Latencies, segments, who accepts.
    pub(super) network: Rng,
    /// Faults.
    pub(super) misfortune: Rng,
    /// Which core runs next, and how long its turn takes.
    pub(super) scheduling: Rng,
    /// What cores ask for.
    pub(super) entropy: Rng,
    /// What actors ask for.
    pub(super) whims: Rng,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) listeners: BTreeMap<String, Vec<Listener>>,
    pub(super) cores: Vec<CoreState>,
    pub(super) actors: Vec<Option<Rc<RefCell<dyn Actor>>>>,
    pub(super) processes: BTreeMap<Pid, Process>,
    pub(super) programs: BTreeMap<String, Rc<Program>>,
    pub(super) console: Option<ActorId>,
    pub(super) calls: VecDeque<(ActorId, Call)>,
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(super) fn schedule(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        self.planned.insert((at.max(self.now), self.sequence), due);
    }

    pub(super) fn note(&mut self, what: &'static str, subject: u64, detail: u64) {
        self.trace.note(self.now, what, subject, detail);
    }

    pub(super) fn enlist(&mut self, actor: Rc<RefCell<dyn Actor>>) -> ActorId {
        self.actors.push(Some(actor));
        self.actors.len() - 1
    }
}

impl World {
    /// A world in which everything follows from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut root = Rng::new(seed);
        let state = State {
            now: Duration::from_secs(1).as_nanos() as u64,
            planned: BTreeMap::new(),
            sequence: 0,
            ids: 0,
            faults,
            trace: Trace::new(),
            network: root.fork(1),
            misfortune: root.fork(2),
            scheduling: root.fork(3),
            entropy: root.fork(4),
            whims: root.fork(5),
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            cores: Vec::new(),
            actors: Vec::new(),
            processes: BTreeMap::new(),
            programs: BTreeMap::new(),
            console: None,
            calls: VecDeque::new(),
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.state.borrow().now)
    }

    /// The hash of everything that happened: equal for equal seeds and programs.
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace.hash()
    }

    /// How many things happened.
    pub fn trace_events(&self) -> u64 {
        self.state.borrow().trace.events()
    }

    /// The last few hundred things that happened, one a line.
    pub fn trace_tail(&self) -> String {
        self.state.borrow().trace.tail()
    }

    /// Changes the weather from here on; connections and children that exist keep theirs.
    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// A source of chance for the test itself, apart from the world's own.
    pub fn rng(&self) -> Rng {
        self.state.borrow_mut().whims.fork(6)
    }

    /// Puts an actor into the world; its `started` is called first. The caller keeps its handle and
    /// may look into it between steps.
    pub fn actor<A: Actor>(&self, actor: A) -> Rc<RefCell<A>> {
        let actor = Rc::new(RefCell::new(actor));
        self.enlist(actor.clone());
        actor
    }

    /// As [`World::actor`], accepting connections at `at`.
    pub fn serve<A: Actor>(&self, at: &Listen, actor: A) -> Rc<RefCell<A>> {
        let actor = Rc::new(RefCell::new(actor));
        let id = self.enlist(actor.clone());
        let mut state = self.state.borrow_mut();
        state.listeners.entry(listen_name(at)).or_default().push(Listener::Actor(id));
        drop(state);
        actor
    }

    /// Nobody accepts at `at` any more, core or actor; connections that exist stay.
    pub fn unserve(&self, at: &Listen) {
        self.state.borrow_mut().listeners.remove(&listen_name(at));
    }

    /// Names a program that [`Command`](crate::Command)s can start.
    pub fn program(
        &self,
        name: &str,
        make: impl Fn(&crate::Command) -> Rc<RefCell<dyn Actor>> + 'static,
    ) {
        self.state.borrow_mut().programs.insert(name.to_owned(), Rc::new(make));
    }

    /// Who sits at the process's standard input and output.
    pub fn console<A: Actor>(&self, actor: A) -> Rc<RefCell<A>> {
        let actor = Rc::new(RefCell::new(actor));
        let id = self.enlist(actor.clone());
        self.state.borrow_mut().console = Some(id);
        actor
    }

    /// One end of a connection whose other end is a new actor's, for `Io::adopt`.
    pub fn socket<A: Actor>(&self, actor: A) -> (crate::driver::Socket, Rc<RefCell<A>>) {
        let actor = Rc::new(RefCell::new(actor));
        let id = self.enlist(actor.clone());
        let mut state = self.state.borrow_mut();
        let connection = state.next_id();
        let peer = Peer::Simulated(connection);
        let mut made = Connection::new(Kind::Socket, Owner::Nobody, peer, &mut state.network);
        made.ends[1].owner = Owner::Actor(id);
        made.established = true;
        state.connections.insert(connection, made);
        state.calls.push_back((id, Call::Opened { link: Link { connection, side: 1 } }));
        drop(state);
        (crate::driver::Socket::Simulated(connection), actor)
    }

    /// Signals the process under test; the first core that asked sees it.
    pub fn signal(&self, signal: Signal) {
        self.state.borrow_mut().signal_cores(signal);
    }

    /// Children that run, orphans and those nobody has reaped included.
    pub fn processes(&self) -> usize {
        self.state.borrow().processes.len()
    }

    /// Connections with an end that a core or an actor still holds.
    pub fn connections(&self) -> usize {
        self.state.borrow().connections.len()
    }

    /// Connections with an end that a core holds: what leaks when it should be zero.
    pub fn core_streams(&self) -> usize {
        self.state.borrow().cores.iter().map(CoreState::stream_count).sum()
    }

    fn enlist(&self, actor: Rc<RefCell<dyn Actor>>) -> ActorId {
        let mut state = self.state.borrow_mut();
        let id = state.enlist(actor);
        state.calls.push_back((id, Call::Started));
        id
    }

    /// When the next planned thing is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        let state = self.state.borrow();
        if !state.calls.is_empty() {
            return Some(state.now);
        }
        state.planned.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets the next planned thing happen, if it is due. The cores do not move.
    pub(super) fn happen(&self) {
        self.deliver_calls();
        let due = {
            let mut state = self.state.borrow_mut();
            let now = state.now;
            match state.planned.first_entry() {
                Some(entry) if entry.key().0 <= now => entry.remove(),
                _ => return,
            }
        };
        if let Due::Work { core, work } = due {
            self.state.borrow_mut().note("errand", core as u64, 0);
            work();
        } else {
            self.state.borrow_mut().deliver(due);
        }
        self.deliver_calls();
    }

    fn deliver_calls(&self) {
        loop {
            let next = self.state.borrow_mut().calls.pop_front();
            let Some((id, call)) = next else { return };
            let actor = self.state.borrow().actors.get(id).cloned().flatten();
            if let Some(actor) = actor {
                actor.borrow_mut().called(&mut Context { world: self, me: id }, call);
            }
        }
    }

    /// Lets time pass to `at`, or beyond it when the clock leaps.
    pub(super) fn advance(&self, at: u64) {
        let mut state = self.state.borrow_mut();
        let State { misfortune, faults, .. } = &mut *state;
        let leap = misfortune.chance(faults.clock_jump_ppm);
        let beyond = if leap {
            misfortune.size(1_000_000, faults.clock_jump_max.as_nanos() as u64)
        } else {
            0
        };
        state.now = state.now.max(at) + beyond;
        if leap {
            state.note("clock leap", 0, beyond);
        }
    }

    /// Moves only what lives outside the cores, until `deadline`.
    pub fn run_actors(&self, deadline: Instant) {
        while let Some(at) = self.next_due().filter(|at| *at <= deadline.as_nanos()) {
            self.advance(at);
            self.happen();
        }
        if self.now() < deadline {
            self.advance(deadline.as_nanos());
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        write!(f, "World({} ns, {} connections)", state.now, state.connections.len())
    }
}

/// The world's name for an address: TCP, Unix and simulated addresses share one table.
pub(super) fn listen_name(at: &Listen) -> String {
    match at {
        Listen::Tcp { address, .. } => format!("tcp:{address}"),
        Listen::Held(held) => format!("tcp:{}", held.address()),
        Listen::Unix(path) | Listen::Ring(path) => format!("unix:{}", path.display()),
        Listen::Simulated(name) => format!("sim:{name}"),
    }
}
