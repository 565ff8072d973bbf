//! What can an app do?
//!
//! Invariants: nothing here sleeps; what an app does takes effect at the end of the turn at the
//! latest; events that follow from a call come in a later turn, never from inside it.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_terms::{CoreId, Instant, Key, Slab};

use crate::driver::Driver;
use crate::driver::chunks::Chunks;
use crate::event::{Closed, Command, Event, Listen, Local, Signal, Target, Watermarks};
use crate::lanes::{Directory, Envelope, Lane, Lanes, running};
use crate::load::Load;
use crate::stats::Stats;
use crate::stream::{Deadline, Kind, Phase, SendPool, Stream};
use crate::timer::Wheel;

/// The core's handle, given to the app with every event.
pub struct Io<P> {
    pub(crate) core: CoreId,
    pub(crate) now: Instant,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) directory: Arc<Directory<P>>,
    pub(crate) lane: Arc<Lane<P>>,
    /// The directory's lanes as of `lanes_version`.
    pub(crate) lanes: Lanes<P>,
    pub(crate) lanes_version: u64,

    pub(crate) streams: Slab<Stream>,
    pub(crate) listeners: Slab<Listener>,
    pub(crate) children: Slab<u32>,
    pub(crate) timers: Wheel<Due>,
    pub(crate) pool: SendPool,
    /// Streams with something to flush.
    pub(crate) dirty: Vec<Key>,
    /// Rings to look at in the next turn, those that say at the end of this one that they sleep,
    /// and how many there are.
    pub(crate) rings_due: Vec<Key>,
    pub(crate) rings_awake: Vec<Key>,
    pub(crate) rings: usize,
    pub(crate) chunks: Rc<Chunks>,
    /// Streams to be removed when the turn ends.
    pub(crate) doomed: Vec<Key>,

    /// Events that follow from the completion at hand.
    pub(crate) ready: VecDeque<Event<P>>,
    /// Events for the next turn.
    pub(crate) later: Vec<Event<P>>,
    /// Whether a completion (not the app) is at work, so that events go to `ready`.
    pub(crate) translating: bool,
    pub(crate) this_turn: VecDeque<u64>,
    pub(crate) next_turn: Vec<u64>,

    /// Posts to this core itself.
    pub(crate) own: VecDeque<Envelope<P>>,
    /// Posts to others, by core number, until the turn ends or there is room.
    pub(crate) outgoing: Vec<VecDeque<Envelope<P>>>,
    /// The cores with outgoing posts.
    pub(crate) outgoing_cores: Vec<CoreId>,

    pub(crate) load: Load,
    pub(crate) stats: Stats,
    pub(crate) names: Vec<&'static &'static str>,
    pub(crate) watches_signals: bool,
    pub(crate) leaving: bool,
    _not_send: PhantomData<*const ()>,
}

/// A listener of this core.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local: Local,
    /// Others listen there too.
    pub(crate) shared: bool,
}

/// What happens when a timer is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// The app is told.
    App { token: u64, at: Instant },
    /// The app is told once enough of the time between `least` and `most` has passed.
    Scaled { token: u64, started: Instant, least: Duration, most: Duration },
    /// A stream's own time is up.
    Stream { stream: Key, what: Deadline, at: Instant },
}

impl Due {
    /// The deadline it was set for.
    pub(crate) fn at(self) -> Instant {
        match self {
            Self::App { at, .. } | Self::Stream { at, .. } => at,
            Self::Scaled { started, most, .. } => started + most,
        }
    }
}

/// A child just started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Names the child in [`Event::Exited`] and [`Io::signal`].
    pub child: Key,
    /// Its stdin and stdout.
    pub pipes: Key,
    /// Its stderr.
    pub errors: Key,
    /// Its process id.
    pub pid: u32,
}

impl<P: Send + 'static> Io<P> {
    pub(crate) fn new(
        core: CoreId,
        driver: Box<dyn Driver>,
        directory: Arc<Directory<P>>,
        lane: Arc<Lane<P>>,
    ) -> Self {
        let now = driver.now();
        let lanes_version = directory.version();
        Self {
            core,
            now,
            driver,
            lane,
            lanes: directory.lanes(),
            lanes_version,
            directory,
            streams: Slab::new(),
            listeners: Slab::new(),
            children: Slab::new(),
            timers: Wheel::new(now),
            pool: SendPool::default(),
            dirty: Vec::new(),
            rings_due: Vec::new(),
            rings_awake: Vec::new(),
            rings: 0,
            chunks: Rc::new(Chunks::default()),
            doomed: Vec::new(),
            ready: VecDeque::new(),
            later: Vec::new(),
            translating: false,
            this_turn: VecDeque::new(),
            next_turn: Vec::new(),
            own: VecDeque::new(),
            outgoing: Vec::new(),
            outgoing_cores: Vec::new(),
            load: Load::new(now),
            stats: Stats::default(),
            names: Vec::new(),
            watches_signals: false,
            leaving: false,
            _not_send: PhantomData,
        }
    }

    /// This core.
    pub fn core(&self) -> CoreId {
        self.core
    }
    /// The cores that run now, in order; the first is the one that sees signals.
    pub fn cores(&self) -> Vec<CoreId> {
        running(&self.lanes).map(|lane| lane.core).collect()
    }
    /// The time, read once a turn.
    pub fn now(&self) -> Instant {
        self.now
    }
    /// 64 random bits fit for session ids.
    pub fn random(&mut self) -> u64 {
        self.driver.entropy()
    }
    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        self.driver.name()
    }
    /// How loaded this core is: 0 up to half of what it can do, 1 at all of it. The larger of two
    /// shares counts: streams of [`STREAMS_MAX`](crate::limits::STREAMS_MAX), and time spent in
    /// turns, averaged over about a second.
    pub fn load(&self) -> f64 {
        self.load.level(self.streams.len())
    }
    /// This core's counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.streams = self.streams.len();
        stats.timers = self.timers.len();
        stats.posts_held = self.outgoing.iter().map(VecDeque::len).sum();
        stats.load = self.load();
        stats
    }

    /// Starts accepting connections on this core.
    ///
    /// # Errors
    /// The system's, for instance `AddrInUse`.
    pub fn listen(&mut self, at: &Listen) -> io::Result<(Key, Local)> {
        let shared = matches!(at, Listen::Tcp { shared: true, .. } | Listen::Held(_));
        let listener = Listener { local: Local::Simulated(String::new()), shared };
        let key = self.listeners.insert(listener);
        match self.driver.listen(key, at) {
            Ok(local) => {
                let listener = self.listeners.get_mut(key).expect("just inserted");
                listener.local = local.clone();
                Ok((key, local))
            }
            Err(error) => {
                self.listeners.remove(key);
                Err(error)
            }
        }
    }
    /// Stops accepting.
    pub fn unlisten(&mut self, listener: Key) {
        if self.listeners.remove(listener).is_some() {
            self.driver.unlisten(listener);
        }
    }
    /// Starts connecting; [`Event::Connected`] or `Closed` follows.
    pub fn connect(&mut self, to: Target) -> Key {
        self.dial(to)
    }
    /// The process's standard input and output as a stream. Once in a process.
    ///
    /// # Errors
    /// The system's.
    pub fn stdio(&mut self) -> io::Result<Key> {
        let key = self.streams.insert(Stream::new(Kind::Pipes, Phase::Open));
        let result = self.driver.stdio(key);
        self.keep_if_ok(key, result)
    }
    /// One end of a socket pair made elsewhere in this process.
    ///
    /// # Errors
    /// The system's; the socket is closed then.
    pub fn adopt(&mut self, socket: crate::driver::Socket) -> io::Result<Key> {
        let key = self.streams.insert(Stream::new(Kind::Socket, Phase::Open));
        let result = self.driver.adopt(key, socket);
        self.keep_if_ok(key, result)
    }
    fn keep_if_ok(&mut self, key: Key, result: io::Result<()>) -> io::Result<Key> {
        if result.is_err() {
            self.streams.remove(key);
        }
        result.map(|()| key)
    }
    /// Starts a child.
    ///
    /// # Errors
    /// The system's, for instance `NotFound`.
    pub fn spawn(&mut self, command: &Command) -> io::Result<Child> {
        let pipes = self.streams.insert(Stream::new(Kind::Pipes, Phase::Open));
        let errors = self.streams.insert(Stream::new(Kind::ReadOnly, Phase::Open));
        let child = self.children.insert(0);
        match self.driver.spawn(child, pipes, errors, command) {
            Ok(pid) => Ok(Child { child, pipes, errors, pid }),
            Err(error) => {
                self.streams.remove(pipes);
                self.streams.remove(errors);
                self.children.remove(child);
                Err(error)
            }
        }
    }
    /// Signals a child's process group.
    ///
    /// # Errors
    /// `NotFound` once the child was reported as exited; the system's otherwise.
    pub fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()> {
        match self.children.get(child) {
            Some(_) => self.driver.signal(child, signal),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Queues bytes; they leave at the end of the turn, in one system call with all others queued
    /// for the stream. Nothing happens for a stream that is gone.
    pub fn send(&mut self, stream: Key, bytes: &[u8]) {
        self.queue_with(stream, |buffer| buffer.extend_from_slice(bytes));
    }
    /// Queues by writing straight into the stream's send buffer: no intermediate copy. `write` only
    /// appends; what is there already belongs to earlier calls.
    pub fn send_with(&mut self, stream: Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.queue_with(stream, write);
    }
    /// Queues bytes shared with others, without copying when they are large.
    pub fn send_shared(&mut self, stream: Key, bytes: Bytes) {
        self.queue_shared(stream, bytes);
    }
    /// Bytes queued and not yet sent.
    pub fn queued_bytes(&self, stream: Key) -> usize {
        self.streams.get(stream).map_or(0, Stream::queued_bytes)
    }
    /// Whether the queue is above its high watermark: stop producing until `Drained`.
    pub fn is_full(&self, stream: Key) -> bool {
        self.streams.get(stream).is_some_and(Stream::is_full)
    }
    /// Sets a stream's watermarks.
    pub fn set_watermarks(&mut self, stream: Key, watermarks: Watermarks) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.set_watermarks(watermarks);
        }
    }
    /// Stops (`false`) or resumes receiving.
    pub fn receive(&mut self, stream: Key, on: bool) {
        let Some(state) = self.streams.get_mut(stream) else { return };
        if state.receiving == on {
            return;
        }
        state.receiving = on;
        if state.ring.is_some() {
            // Its socket goes on telling when there is room, and of the peer's end.
            return self.ring_due(stream);
        }
        match state.phase {
            Phase::Open => self.driver.receive(stream, on),
            // Applied when it opens: connecting and agreeing on TLS need to receive.
            Phase::Dialing | Phase::Handshaking => return,
            _ => return,
        }
        if !on && let Some(error) = state.broken.take() {
            // Its end would never be seen.
            self.fail(stream, Closed::Broken(error));
        }
    }
    /// Ends the sending direction once everything queued has left.
    pub fn finish(&mut self, stream: Key) {
        if self.ask_finish(stream) {
            self.mark_dirty(stream);
        }
    }
    /// Closes once everything queued has left, or after `linger` at the latest. No event follows.
    /// A stream that is not connected yet is dropped at once.
    pub fn close(&mut self, stream: Key, linger: Duration) {
        self.begin_close(stream, linger);
    }
    /// Closes now. No event follows.
    pub fn abort(&mut self, stream: Key) {
        self.doom(stream);
    }

    /// Fires once after `after`.
    pub fn timer(&mut self, after: Duration, token: u64) -> Key {
        let at = self.now + after;
        self.timers.insert(at, Due::App { token, at })
    }
    /// Fires after `least`…`most`, the nearer to `least` the more loaded the core is (see
    /// [`Io::load`]); a load that changes moves timers already set.
    pub fn scaled_timer(&mut self, least: Duration, most: Duration, token: u64) -> Key {
        let most = most.max(least);
        let due = Due::Scaled { token, started: self.now, least, most };
        self.timers.insert(self.now + least, due)
    }
    /// Forgets a timer; harmless if it fired.
    pub fn cancel(&mut self, timer: Key) {
        if !matches!(self.timers.get(timer), Some(Due::Stream { .. })) {
            self.timers.remove(timer);
        }
    }
    /// Calls back before this turn ends.
    pub fn this_turn(&mut self, token: u64) {
        self.this_turn.push_back(token);
    }
    /// Calls back in the next turn, which starts without sleeping.
    pub fn next_turn(&mut self, token: u64) {
        self.next_turn.push(token);
    }

    /// Sends to another core (or this one). Order is kept between two cores. What is sent to a core
    /// that is gone is dropped and counted.
    pub fn post(&mut self, core: CoreId, message: P) {
        self.post_envelope(core, Envelope::Post { from: Some(self.core), message });
    }
    /// Runs `work` off the core; what it returns comes back as a post.
    pub fn errand(&mut self, work: impl FnOnce() -> P + Send + 'static) {
        self.errand_for(move || Envelope::Post { from: None, message: work() });
    }

    /// Names what this core is doing until the turn ends or [`Io::untrack`]; shown by the
    /// watchdog. Nested.
    pub fn track(&mut self, operation: &'static str, subject: u64) {
        let name = crate::watchdog::intern(&mut self.names, operation);
        self.lane.turn.push(name, subject);
    }
    /// Ends the innermost tracked operation.
    pub fn untrack(&mut self) {
        self.lane.turn.pop();
    }
    /// Ends this core after the turn (answer to [`Event::Retire`]): no more
    /// events come; streams that were closed may still linger, all others are dropped and children
    /// killed.
    pub fn leave(&mut self) {
        self.leaving = true;
    }
}

/// Thread-per-core is a fact the compiler knows: if `Io` were `Send` or `Sync`, two
/// implementations would apply below and this would not compile.
const _: fn() = || {
    trait Ambiguous<Marker> {
        fn check() {}
    }
    struct IfSend;
    struct IfSync;
    impl<T> Ambiguous<()> for T {}
    impl<T: Send> Ambiguous<IfSend> for T {}
    impl<T: Sync> Ambiguous<IfSync> for T {}
    let _ = <Io<()> as Ambiguous<_>>::check;
};
