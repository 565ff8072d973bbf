//! What happens in one turn of a core?
//!
//! sleep → clock → events held over → completions → posts → timers → callbacks → `turn_end` → sends
//! → destruction → posts to others.
//!
//! Invariants: each step takes a bounded number of events, so none starves another; an event is
//! checked when it is handed over, so what the app closed a moment ago is not heard of again.

use std::sync::Arc;

use kern_terms::{CoreId, Instant, Key};

use crate::driver::{Completion, Driver};
use crate::event::{App, Chunk, Closed, Event, TURN_MAX};
use crate::io::{Due, Io};
use crate::lanes::{Directory, Envelope, Lane};
use crate::limits::{CALLBACKS_PER_TURN, OVERFLOW_RETRY, POSTS_PER_TURN, TIMERS_PER_TURN};
use crate::load::scaled;
use crate::stream::{Deadline, Phase};

/// A core: its app and all it works with.
pub struct Core<A: App> {
    io: Io<A::Post>,
    app: A,
    completions: Vec<Completion>,
    started: bool,
    ended: bool,
    events: u64,
}

impl<A: App> Core<A> {
    /// A core on the calling thread, known to `directory` from now on.
    ///
    /// # Panics
    /// If the directory has a core of that number.
    pub fn new(
        core: CoreId,
        driver: Box<dyn Driver>,
        directory: Arc<Directory<A::Post>>,
        app: A,
    ) -> Self {
        let lane = Arc::new(Lane::new(core, driver.waker()));
        directory.enter(Arc::clone(&lane));
        let io = Io::new(core, driver, directory, lane);
        let completions = Vec::new();
        Self { io, app, completions, started: false, ended: false, events: 0 }
    }

    /// Has the driver report signals to this core's app.
    ///
    /// # Errors
    /// The system's.
    pub fn watch_signals(&mut self) -> std::io::Result<()> {
        self.io.driver.watch_signals()?;
        self.io.watches_signals = true;
        Ok(())
    }

    /// The app, for tests and simulations that look inside between turns.
    pub fn app(&mut self) -> &mut A {
        &mut self.app
    }

    /// The app's handle, for the same purpose.
    pub fn io(&mut self) -> &mut Io<A::Post> {
        &mut self.io
    }

    /// Takes turns until the app left.
    ///
    /// # Errors
    /// The driver's, when it cannot go on.
    pub fn run(&mut self) -> std::io::Result<()> {
        while !self.turn()? {}
        Ok(())
    }

    /// When the next turn must start by itself, without anything from outside: `Some` of the past
    /// if at once, `None` if never.
    pub fn wants_turn(&self) -> Option<Instant> {
        let io = &self.io;
        let pending = !self.started
            || !io.later.is_empty()
            || !io.next_turn.is_empty()
            || !io.this_turn.is_empty()
            || !io.own.is_empty()
            || !io.dirty.is_empty()
            || !io.rings_due.is_empty()
            || io.lane.depth() > 0;
        if pending {
            return Some(Instant::ZERO);
        }
        let retry = (!io.outgoing_cores.is_empty()).then(|| io.now + OVERFLOW_RETRY);
        [io.timers.next(), retry].into_iter().flatten().min()
    }

    /// Takes one turn; true if the core has ended.
    ///
    /// # Errors
    /// The driver's, when it cannot go on.
    pub fn turn(&mut self) -> std::io::Result<bool> {
        if self.ended {
            return Ok(true);
        }
        if !self.started {
            self.started = true;
            self.io.now = self.io.driver.now();
            self.io.lane.turn.start(self.io.now);
            self.io.refresh_lanes();
            self.app.start(&mut self.io);
            self.end_turn();
        }
        self.sleep()?;
        self.events = 0;
        self.io.refresh_lanes();
        for event in std::mem::take(&mut self.io.later) {
            self.dispatch(event);
        }
        self.take_completions();
        self.take_rings();
        self.take_posts();
        self.take_timers();
        self.take_callbacks();
        self.app.turn_end(&mut self.io);
        self.call_this_turn();
        self.end_turn();
        if self.io.leaving { Ok(self.leave()) } else { Ok(false) }
    }

    fn sleep(&mut self) -> std::io::Result<()> {
        let wanted = self.wants_turn();
        let io = &mut self.io;
        let until = if io.lane.prepare_sleep() { wanted } else { Some(Instant::ZERO) };
        let result = io.driver.wait(until, &mut self.completions);
        io.lane.awake();
        result?;
        io.now = io.driver.now();
        io.lane.turn.start(io.now);
        if let Some(until) = until.filter(|until| *until > Instant::ZERO && *until <= io.now) {
            io.stats.poll_delay.record(io.now.since(until));
        }
        Ok(())
    }

    /// What every turn ends with: the app is not called any more.
    fn end_turn(&mut self) {
        let io = &mut self.io;
        io.flush();
        io.destroy_doomed();
        io.flush_posts();
        let end = io.driver.now();
        let spent = end.since(io.now);
        io.stats.turns += 1;
        io.stats.events += self.events;
        io.stats.events_per_turn_max = io.stats.events_per_turn_max.max(self.events);
        io.stats.turn_time.record(spent);
        io.load.turn(io.now, end);
        if spent > TURN_MAX {
            io.stats.long_turns += 1;
            let doing = io.lane.turn.operations();
            tracing::warn!(core = %io.core, ?spent, events = self.events, ?doing, "a long turn ended");
        }
        io.lane.turn.end();
    }

    fn take_completions(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.io.translate(completion);
            while let Some(event) = self.io.ready.pop_front() {
                self.dispatch(event);
            }
        }
        self.completions = completions;
    }

    /// Looks at the rings that have something to do, as far as known.
    fn take_rings(&mut self) {
        for key in std::mem::take(&mut self.io.rings_due) {
            self.io.translating = true;
            self.io.ring_look(key);
            self.io.translating = false;
            while let Some(event) = self.io.ready.pop_front() {
                self.dispatch(event);
            }
        }
    }

    fn take_posts(&mut self) {
        let depth = self.io.lane.depth();
        self.io.stats.inbox_depth_max = self.io.stats.inbox_depth_max.max(depth);
        for _ in 0..self.io.own.len().min(POSTS_PER_TURN) {
            let envelope = self.io.own.pop_front().expect("counted");
            self.open_envelope(envelope);
        }
        for _ in 0..depth.min(POSTS_PER_TURN) {
            let Some(envelope) = self.io.lane.pop() else { break };
            self.open_envelope(envelope);
        }
    }

    fn open_envelope(&mut self, envelope: Envelope<A::Post>) {
        self.io.stats.posts += 1;
        match envelope {
            Envelope::Post { from, message } => self.dispatch(Event::Post { from, message }),
            Envelope::Retire => self.dispatch(Event::Retire),
            Envelope::Resolved { stream, result } => self.io.resolved(stream, result),
            Envelope::Socket { from, local, socket, peer } => {
                if let Some(event) = self.io.take_over(from, local, socket, peer) {
                    self.dispatch(event);
                }
            }
            Envelope::WatchSignals => {
                if let Err(error) = self.watch_signals() {
                    tracing::error!(%error, "signals are not watched any more");
                }
            }
        }
    }

    fn take_timers(&mut self) {
        for _ in 0..TIMERS_PER_TURN {
            let Some(key) = self.io.timers.pop(self.io.now) else { return };
            if let Some(token) = self.io.timer_due(key) {
                self.dispatch(Event::Timer { timer: key, token });
            }
        }
    }

    fn take_callbacks(&mut self) {
        for token in std::mem::take(&mut self.io.next_turn) {
            self.dispatch(Event::Callback { token });
        }
        self.call_this_turn();
    }

    fn call_this_turn(&mut self) {
        for _ in 0..CALLBACKS_PER_TURN {
            let Some(token) = self.io.this_turn.pop_front() else { return };
            self.dispatch(Event::Callback { token });
        }
    }

    /// Hands an event to the app if it still concerns it.
    fn dispatch(&mut self, event: Event<A::Post>) {
        if self.io.leaving || !self.io.concerns(&event) {
            return;
        }
        self.events += 1;
        self.app.event(&mut self.io, event);
    }

    /// Drops what does not linger; true once nothing does.
    fn leave(&mut self) -> bool {
        let io = &mut self.io;
        for key in io.listeners.keys() {
            io.unlisten(key);
        }
        for key in io.streams.keys() {
            let phase = io.streams.get(key).map(|stream| stream.phase);
            if phase != Some(Phase::Lingering) {
                io.doom(key);
            }
        }
        io.destroy_doomed();
        if !io.streams.is_empty() || !io.outgoing_cores.is_empty() {
            return false;
        }
        io.hand_in();
        self.ended = true;
        true
    }
}

impl<A: App> Drop for Core<A> {
    /// A core that ends in any other way than by leaving (a panic, a driver that failed) must not
    /// look alive to others.
    fn drop(&mut self) {
        if !self.ended {
            self.io.lane.leave();
            self.io.directory.leave(self.io.core);
        }
    }
}

impl<P: Send + 'static> Io<P> {
    /// Turns a completion into events on `ready`.
    fn translate(&mut self, completion: Completion) {
        self.translating = true;
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                self.accepted(listener, socket, peer);
            }
            Completion::Connected { stream, result } => self.connected(stream, result),
            Completion::Received { stream, chunk } => self.received(stream, chunk),
            Completion::ReadEnded { stream, result } => self.wire_ended(stream, result),
            Completion::Sent { stream, batch, result } => self.sent(stream, batch, result),
            Completion::Exited { child, exit } => {
                self.children.remove(child);
                self.emit(Event::Exited { child, exit });
            }
            Completion::Signal(signal) => self.emit(Event::Signal(signal)),
        }
        self.translating = false;
    }

    fn received(&mut self, key: Key, chunk: Chunk) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.ring.is_some() {
            return self.ring_look(key);
        }
        self.stats.received_bytes += chunk.len() as u64;
        let Some(tls) = &mut stream.tls else {
            return self.emit(Event::Received { stream: key, chunk });
        };
        let mut plain = Vec::new();
        let outcome = tls.decrypt(&chunk, &mut plain);
        let agreed = !tls.is_handshaking();
        let opens = stream.phase == Phase::Handshaking && agreed && outcome.is_ok();
        self.mark_dirty(key);
        if opens {
            self.open(key);
        }
        if !plain.is_empty() {
            self.emit(Event::Received { stream: key, chunk: Chunk::from_vec(plain) });
        }
        match outcome {
            Err(why) => {
                self.fail(key, Closed::Tls(why));
                self.send_alert(key);
            }
            Ok(true) => self.read_ended(key, Ok(())),
            Ok(false) => {}
        }
    }

    /// The driver saw the peer's end. Over TLS it counts only if the peer also said so.
    fn wire_ended(&mut self, key: Key, result: std::io::Result<()>) {
        let Some(stream) = self.streams.get(key) else { return };
        if stream.ring.is_some() {
            return self.ring_cut(key);
        }
        let cut = stream.tls.is_some() && !stream.read_ended && stream.phase == Phase::Open;
        let result = match result {
            Ok(()) if cut => {
                let kind = std::io::ErrorKind::UnexpectedEof;
                Err(std::io::Error::new(kind, "cut off: TLS was not ended"))
            }
            other => other,
        };
        self.read_ended(key, result);
    }

    /// Queues an event: for this completion if one is at work, else for the next turn.
    pub(crate) fn emit(&mut self, event: Event<P>) {
        if self.translating {
            self.ready.push_back(event);
        } else {
            self.later.push(event);
        }
    }

    /// Whether the app may still hear of this.
    fn concerns(&mut self, event: &Event<P>) -> bool {
        match event {
            Event::Connected { stream }
            | Event::Received { stream, .. }
            | Event::Finished { stream }
            | Event::Drained { stream }
            | Event::Accepted { stream, .. } => self
                .streams
                .get(*stream)
                .is_some_and(|stream| matches!(stream.phase, Phase::Open | Phase::Failing)),
            Event::Closed { stream, .. } => {
                let fails =
                    self.streams.get(*stream).is_some_and(|stream| stream.phase == Phase::Failing);
                if fails {
                    self.doom(*stream);
                }
                fails
            }
            _ => true,
        }
    }

    /// Does what a due timer is for; the token if the app is to be told.
    fn timer_due(&mut self, key: Key) -> Option<u64> {
        match *self.timers.get(key)? {
            Due::App { token, .. } => {
                self.timers.remove(key);
                Some(token)
            }
            Due::Scaled { token, started, least, most } => {
                let at = started + scaled(least, most, self.load());
                if at <= self.now {
                    self.timers.remove(key);
                    return Some(token);
                }
                // Looked at sixteen times on its way, so that it follows the load.
                let step = ((most - least) / 16).max(std::time::Duration::from_millis(1));
                self.timers.set(key, at.min(self.now + step));
                None
            }
            Due::Stream { stream, what, .. } => {
                self.timers.remove(key);
                if let Some(state) = self.streams.get_mut(stream) {
                    state.timer = None;
                    self.stream_due(stream, what);
                }
                None
            }
        }
    }

    fn stream_due(&mut self, key: Key, what: Deadline) {
        match what {
            Deadline::Connect => self.connect_timed_out(key),
            Deadline::Linger => self.doom(key),
            Deadline::Broken => {
                let broken = self.streams.get_mut(key).and_then(|stream| stream.broken.take());
                if let Some(error) = broken {
                    self.fail(key, Closed::Broken(error));
                }
            }
        }
    }
}
