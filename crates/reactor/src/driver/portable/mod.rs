//! The driver that runs everywhere: readiness from `mio`, turned into completions.
//!
//! Invariants: sources are only added and removed between waits, so a token (a slot) always names
//! the source its event belongs to; a stream that may have more to read is either waiting for an
//! edge or in the `ready` queue, never in neither.
//!
//! `unix`, and `other` with `console`, hold what differs between systems; `transfer` reads and
//! writes.

#[cfg(not(unix))]
mod console;
#[cfg(not(unix))]
mod other;
#[cfg(any(not(unix), test))]
mod pump;
mod transfer;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use other as platform;
#[cfg(not(unix))]
pub(super) use other::drain_stdio;
#[cfg(unix)]
use unix as platform;

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kern_terms::{Instant, Key, Slab};
use mio::{Events, Poll, Token, Waker};

use self::transfer::Stream;
use super::chunks::Chunks;
use super::entropy::Entropy;
use super::names::Names;
use super::{Address, Batch, Completion, Driver, Socket, Wake, monotonic};
use crate::event::{Command, Listen, Local, Signal};
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN};

/// Events taken from the system in one wait.
const EVENTS_MAX: usize = 1024;
const WAKER: Token = Token(usize::MAX);

/// See the module.
pub struct Portable {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    sources: Slab<Source>,
    listeners: Names,
    streams: Names,
    children: Names,
    /// Sources to look at in this or the next wait, without waiting for an event.
    ready: VecDeque<Key>,
    /// Listeners that rest because descriptors ran out.
    paused: Vec<(Instant, Key)>,
    chunks: Rc<Chunks>,
    entropy: Entropy,
}

struct Listener {
    key: Key,
    socket: platform::Listener,
}

struct Child {
    key: Key,
    process: platform::Process,
}

enum Source {
    Listener(Listener),
    Stream(Box<Stream>),
    Child(Child),
    Signals(platform::Signals),
}

struct Wakeup(Arc<Waker>);

impl Wake for Wakeup {
    fn wake(&self) {
        // Fails only where the poll is gone, and then nobody sleeps.
        let _ = self.0.wake();
    }
}

impl Portable {
    /// A driver for the calling thread.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            waker,
            sources: Slab::new(),
            listeners: Names::default(),
            streams: Names::default(),
            children: Names::default(),
            ready: VecDeque::new(),
            paused: Vec::new(),
            chunks: Rc::new(Chunks::default()),
            entropy: Entropy::default(),
        })
    }

    fn add_stream(&mut self, key: Key, wire: platform::Wire, connecting: bool) -> io::Result<()> {
        let source =
            self.sources.insert(Source::Stream(Box::new(Stream::new(key, wire, connecting))));
        let Some(Source::Stream(stream)) = self.sources.get_mut(source) else {
            unreachable!("just inserted")
        };
        if let Err(error) = stream.wire.register(self.poll.registry(), token(source)) {
            self.sources.remove(source);
            return Err(error);
        }
        self.streams.set(key, source);
        Ok(())
    }

    fn stream(&mut self, key: Key) -> Option<(Key, &mut Stream)> {
        let source = self.streams.get(key)?;
        match self.sources.get_mut(source) {
            Some(Source::Stream(stream)) => Some((source, stream)),
            _ => None,
        }
    }

    fn drop_stream(&mut self, key: Key) {
        let Some(source) = self.streams.remove(key) else { return };
        if let Some(Source::Stream(mut stream)) = self.sources.remove(source) {
            stream.wire.deregister(self.poll.registry());
        }
    }

    /// Notes what an event says about its source.
    fn note(&mut self, token: Token, event: &mio::event::Event, completions: &mut Vec<Completion>) {
        let Some(source) = u32::try_from(token.0).ok().and_then(|slot| self.sources.key_at(slot))
        else {
            return;
        };
        let Some(Source::Stream(stream)) = self.sources.get_mut(source) else {
            self.ready.push_back(source);
            return;
        };
        stream.note(event, completions);
        if stream.forgotten() {
            self.drop_stream_at(source);
        } else if stream.wants_turn() {
            self.ready.push_back(source);
        }
    }

    fn drop_stream_at(&mut self, source: Key) {
        if let Some(Source::Stream(stream)) = self.sources.get(source) {
            let key = stream.key;
            self.drop_stream(key);
        }
    }

    /// Does what a ready source is ready for.
    fn progress(&mut self, source: Key, completions: &mut Vec<Completion>) {
        match self.sources.get_mut(source) {
            None => {}
            Some(Source::Listener(_)) => self.accept(source, completions),
            Some(Source::Stream(stream)) => {
                stream.receive(&self.chunks, completions);
                if stream.wants_turn() {
                    self.ready.push_back(source);
                }
            }
            Some(Source::Child(child)) => match child.process.try_reap() {
                Ok(None) => {}
                Ok(Some(exit)) => {
                    let key = child.key;
                    completions.push(Completion::Exited { child: key, exit });
                    self.drop_child(key);
                }
                Err(error) => {
                    // Somebody else reaped it: its end is all that is known.
                    tracing::warn!(%error, "a child could not be reaped");
                    let key = child.key;
                    let exit = crate::event::ChildExit { code: None, signal: None };
                    completions.push(Completion::Exited { child: key, exit });
                    self.drop_child(key);
                }
            },
            Some(Source::Signals(signals)) => {
                completions.extend(signals.take().map(Completion::Signal));
            }
        }
    }

    fn add_child(&mut self, key: Key, mut process: platform::Process) -> io::Result<()> {
        let registry = self.poll.registry();
        let mut result = Ok(());
        let source = self.sources.insert_with(|source| {
            result = process.register(registry, token(source));
            Source::Child(Child { key, process })
        });
        self.children.set(key, source);
        result
    }

    fn drop_child(&mut self, key: Key) {
        let Some(source) = self.children.remove(key) else { return };
        if let Some(Source::Child(mut child)) = self.sources.remove(source) {
            child.process.deregister(self.poll.registry());
        }
    }

    fn accept(&mut self, source: Key, completions: &mut Vec<Completion>) {
        let Some(Source::Listener(listener)) = self.sources.get(source) else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.socket.accept() {
                Ok((socket, peer)) => {
                    let listener = listener.key;
                    completions.push(Completion::Accepted { listener, socket, peer });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accepting rests for a moment");
                    self.paused.push((monotonic() + ACCEPT_PAUSE, source));
                    return;
                }
            }
        }
        self.ready.push_back(source);
    }

    /// How long to sleep at most.
    fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let paused = self.paused.iter().map(|(at, _)| *at).min();
        let until = match (until, paused) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        until.map(|until| until.since(monotonic()))
    }

    fn resume_paused(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let now = monotonic();
        let ready = &mut self.ready;
        self.paused.retain(|(at, source)| {
            if *at <= now {
                ready.push_back(*source);
            }
            *at > now
        });
    }
}

/// Whether the error concerns the connection that was to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn token(source: Key) -> Token {
    Token(source.slot as usize)
}

impl Driver for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn now(&self) -> Instant {
        monotonic()
    }

    fn entropy(&mut self) -> u64 {
        self.entropy.draw()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Wakeup(Arc::clone(&self.waker)))
    }

    fn listen(&mut self, listener: Key, at: &Listen) -> io::Result<Local> {
        let (mut socket, local) = platform::Listener::open(at)?;
        let registry = self.poll.registry();
        let mut result = Ok(());
        let source = self.sources.insert_with(|source| {
            result = socket.register(registry, token(source));
            Source::Listener(Listener { key: listener, socket })
        });
        if let Err(error) = result {
            self.sources.remove(source);
            return Err(error);
        }
        self.listeners.set(listener, source);
        Ok(local)
    }

    fn unlisten(&mut self, listener: Key) {
        let Some(source) = self.listeners.remove(listener) else { return };
        if let Some(Source::Listener(mut listener)) = self.sources.remove(source) {
            listener.socket.deregister(self.poll.registry());
        }
    }

    fn adopt(&mut self, stream: Key, socket: Socket) -> io::Result<()> {
        self.add_stream(stream, platform::Wire::from_socket(socket)?, false)
    }

    fn connect(&mut self, stream: Key, to: &Address) -> io::Result<()> {
        self.add_stream(stream, platform::Wire::connect(to)?, true)
    }

    fn stdio(&mut self, stream: Key) -> io::Result<()> {
        self.add_stream(stream, platform::Wire::stdio()?, false)
    }

    fn spawn(&mut self, child: Key, pipes: Key, errors: Key, command: &Command) -> io::Result<u32> {
        let started = platform::spawn(command)?;
        let pid = started.process.id();
        let result = self
            .add_child(child, started.process)
            .and_then(|()| self.add_stream(pipes, started.pipes, false))
            .and_then(|()| self.add_stream(errors, started.errors, false));
        if let Err(error) = result {
            self.drop_stream(pipes);
            self.drop_child(child);
            return Err(error);
        }
        Ok(pid)
    }

    #[cfg(unix)]
    fn spawn_on(
        &mut self,
        child: Key,
        errors: Key,
        stdin: Socket,
        command: &Command,
    ) -> io::Result<u32> {
        let (process, output) = platform::spawn_on(command, stdin)?;
        let pid = process.id();
        let added = self.add_child(child, process);
        if let Err(error) = added.and_then(|()| self.add_stream(errors, output, false)) {
            self.drop_child(child);
            return Err(error);
        }
        Ok(pid)
    }

    fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()> {
        let source = self.children.get(child).and_then(|source| self.sources.get(source));
        match source {
            Some(Source::Child(child)) => child.process.signal(signal),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn watch_signals(&mut self) -> io::Result<()> {
        let mut signals = platform::Signals::watch()?;
        let registry = self.poll.registry();
        let mut result = Ok(());
        self.sources.insert_with(|source| {
            result = signals.register(registry, token(source));
            Source::Signals(signals)
        });
        result
    }

    fn receive(&mut self, stream: Key, on: bool) {
        let Some((source, stream)) = self.stream(stream) else { return };
        if stream.switch(on) && stream.wants_turn() {
            self.ready.push_back(source);
        }
    }

    fn send(
        &mut self,
        stream: Key,
        batch: Batch,
        _prompt: bool,
    ) -> Option<(Batch, io::Result<()>)> {
        match self.stream(stream) {
            Some((_, stream)) => stream.send(batch),
            None => Some((batch, Err(io::ErrorKind::NotConnected.into()))),
        }
    }

    fn finish(&mut self, stream: Key) {
        let source = self.streams.get(stream).and_then(|source| self.sources.get_mut(source));
        if let Some(Source::Stream(stream)) = source {
            stream.wire.finish(self.poll.registry());
        }
    }

    fn close(&mut self, stream: Key) {
        self.drop_stream(stream);
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let timeout = self.timeout(until);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in events.iter().filter(|event| event.token() != WAKER) {
            self.note(event.token(), event, completions);
        }
        self.events = events;
        self.resume_paused();
        for _ in 0..self.ready.len() {
            let source = self.ready.pop_front().expect("counted");
            self.progress(source, completions);
        }
        Ok(())
    }
}
