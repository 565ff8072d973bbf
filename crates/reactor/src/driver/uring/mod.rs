//! The driver for Linux: one io_uring a core.
//!
//! Everything a turn wants done is handed over, and everything that happened is taken, by one system
//! call. Receives and accepts are multishot and land in shared buffers; sends go to registered files.
//!
//! Invariants: one thread makes, uses and drops a [`Uring`] (it is not `Send`); memory the kernel
//! works on stays where it is until the operation's last completion came out; a driver that is
//! dropped cancels and reaps first, and leaks what it cannot reap.
//!
//! Reading order: `ring` (operations in, completions out), `token`, `registry`, `stream`, `traffic`,
//! `receive`, `send`, then `listen`, `child`, `buffers`, `files`, `wake`, `probe`.

mod buffers;
mod child;
mod files;
mod limits;
mod listen;
mod probe;
mod receive;
mod registry;
mod ring;
mod send;
mod stream;
mod token;
mod traffic;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kern_terms::{Instant, Key};

pub use limits::Settings;
pub use probe::probe;

use buffers::BufferRing;
use files::Files;
use limits::{DRAIN_MAX, REAP_MAX};
use registry::Registry;
use ring::{Done, Ring, Sleep};
use stream::{End, Ends, Stream};
use token::{Op, Token};
use wake::Waker;

use super::entropy::Entropy;
use super::{Address, Batch, Completion, Driver, Socket, Wake, monotonic};
use crate::driver::unix::{signal::Signals, stdio};
use crate::event::{Command, Listen, Local, Signal};

/// The system below one core, through io_uring.
pub struct Uring {
    // First, so that the ring is closed before the memory it works on is freed.
    ring: Ring,
    buffers: Rc<BufferRing>,
    files: Files,
    waker: Arc<Waker>,
    listeners: Registry<listen::Listener>,
    streams: Registry<Stream>,
    children: Registry<child::Running>,
    signals: Option<Signals>,
    /// Streams to look after before the next sleep.
    listed: Vec<Key>,
    /// Streams that wait for a receive buffer, the longest first.
    starved: VecDeque<Key>,
    /// Listeners that wait for descriptors, and until when.
    paused: Vec<(Instant, Key)>,
    /// To report by the next wait.
    ready: Vec<Completion>,
    /// Completions taken from the ring and not yet looked at; empty between waits.
    done: Vec<Done>,
    /// Streams with sends that complete only if they fail, not yet known to have ended.
    unsaid: Vec<Key>,
    /// The last look left some of these open.
    inconclusive: bool,
    /// Records of sends for reuse; boxes, because the kernel may read a record where it is.
    #[expect(clippy::vec_box)]
    spare: Vec<Box<send::Outgoing>>,
    reads_many: bool,
    entropy: Entropy,
}

impl Uring {
    /// A driver for the calling thread, which is the only one that may use it.
    ///
    /// # Errors
    /// Where the system offers no (sufficient) io_uring; the text says what is missing.
    pub fn new() -> io::Result<Self> {
        Self::with(Settings::default())
    }

    /// As [`Uring::new`], with sizes of its own.
    ///
    /// # Errors
    /// As [`Uring::new`].
    pub fn with(settings: Settings) -> io::Result<Self> {
        let ring = Ring::new(&settings).map_err(|error| probe::explain("set-up", &error))?;
        let extras = probe::inspect(&ring)?;
        let open_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let slots = settings.files.min(open_max.map_or(u32::MAX, |most| most as u32));
        ring.submitter()
            .register_files_sparse(slots)
            .map_err(|error| probe::explain("file table", &error))?;
        let buffers = BufferRing::register(&ring.submitter(), &settings)
            .map_err(|error| probe::explain("receive buffers", &error))?;
        let mut driver = Self {
            ring,
            buffers,
            files: Files::new(slots),
            waker: Arc::new(Waker::new()?),
            listeners: Registry::new(),
            streams: Registry::new(),
            children: Registry::new(),
            signals: None,
            listed: Vec::new(),
            starved: VecDeque::new(),
            paused: Vec::new(),
            ready: Vec::new(),
            done: Vec::with_capacity(REAP_MAX),
            unsaid: Vec::new(),
            inconclusive: false,
            spare: Vec::new(),
            reads_many: extras.reads_many,
            entropy: Entropy::default(),
        };
        driver.poll_waker();
        Ok(driver)
    }

    fn poll_waker(&mut self) {
        let fd = self.waker.event().as_raw_fd();
        self.ring.poll(fd, libc::POLLIN, true, Token::own(Op::Wake));
    }

    /// One completion.
    fn complete(&mut self, done: Done, out: &mut Vec<Completion>) {
        let (op, entry) = done.token.split();
        match op {
            // Only failures complete: the operation to cancel had ended already.
            Op::Forgotten => {}
            Op::Wake if done.more => {}
            Op::Wake => self.poll_waker(),
            Op::Signals => self.signalled(done, out),
            Op::Accept => self.accepted(entry, done, out),
            Op::Connect => self.connected(entry, done, out),
            Op::Register => self.registered(entry, done),
            Op::Receive => self.received(entry, done, out),
            Op::Readable => self.readable(entry),
            Op::Send | Op::SendNow => self.sent(entry, done, out),
            Op::Writable => self.writable(entry),
            Op::Exit => self.exited(entry, out),
        }
    }

    /// Hands over, sleeps, and takes completions. `true`: another thread woke us.
    fn pass(&mut self, until: Option<Instant>, out: &mut Vec<Completion>) -> io::Result<bool> {
        let sleep = match until {
            _ if !out.is_empty() || self.inconclusive => Sleep::No,
            None => Sleep::Ever,
            Some(until) => match until.since(monotonic()) {
                Duration::ZERO => Sleep::No,
                left => Sleep::For(left),
            },
        };
        let sleeps = sleep != Sleep::No && self.waker.fall_asleep();
        let entered = self.ring.enter(if sleeps { sleep } else { Sleep::No });
        let woken = self.waker.awake();
        entered?;
        let mut batch = mem::take(&mut self.done);
        self.ring.reap(&mut batch, REAP_MAX);
        for done in batch.drain(..) {
            self.complete(done, out);
        }
        self.done = batch;
        self.conclude(out);
        Ok(woken)
    }

    /// Ends everything in flight. `false`: not all of it ended in time.
    fn drain(&mut self) -> bool {
        self.ring.cancel_all();
        let until = monotonic() + DRAIN_MAX;
        let mut batch = Vec::new();
        let mut ignored = Vec::new();
        while !self.ring.is_idle() {
            let left = until.since(monotonic());
            // Closes complete without a word, so there is nothing to sleep for once they are alone.
            let sleeps = !left.is_zero() && self.ring.in_flight() > 0;
            let sleep = if sleeps { Sleep::For(left) } else { Sleep::No };
            if self.ring.enter(sleep).is_err() {
                return false;
            }
            self.ring.reap(&mut batch, usize::MAX);
            for done in batch.drain(..) {
                // These would start again; everything else belongs to something that is shut.
                if !matches!(done.token.split().0, Op::Wake | Op::Signals | Op::Exit) {
                    self.complete(done, &mut ignored);
                }
            }
            self.conclude(&mut ignored);
            debug_assert!(ignored.is_empty(), "what is shut reports nothing");
            if left.is_zero() && !self.ring.is_idle() {
                return false;
            }
        }
        true
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        for entry in self.streams.keys() {
            self.shut(entry);
        }
        for entry in self.listeners.keys() {
            self.shut_listener(entry);
        }
        drop(self.children.take_all());
        let drained = self.drain();
        let unregistered = self.ring.submitter().unregister_buf_ring(buffers::GROUP).is_ok();
        if drained && unregistered {
            self.buffers.close();
            return;
        }
        tracing::warn!(
            left = self.ring.in_flight(),
            "operations outlive their driver; their memory is leaked"
        );
        mem::forget(self.streams.take_all());
        mem::forget(mem::replace(&mut self.files, Files::new(0)));
        mem::forget(Rc::clone(&self.buffers));
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn now(&self) -> Instant {
        monotonic()
    }

    fn entropy(&mut self) -> u64 {
        self.entropy.draw()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn listen(&mut self, listener: Key, at: &Listen) -> io::Result<Local> {
        self.start_listening(listener, at)
    }

    fn unlisten(&mut self, listener: Key) {
        if let Some(entry) = self.listeners.unbind(listener) {
            self.shut_listener(entry);
        }
    }

    fn adopt(&mut self, stream: Key, socket: Socket) -> io::Result<()> {
        let fd = match socket {
            Socket::Tcp(socket) => OwnedFd::from(socket),
            Socket::Unix(socket) => OwnedFd::from(socket),
            Socket::Simulated(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.open(stream, Ends::Both(End { fd, kind: stream::Kind::Socket }));
        Ok(())
    }

    fn connect(&mut self, stream: Key, to: &Address) -> io::Result<()> {
        self.dial(stream, to)
    }

    fn stdio(&mut self, stream: Key) -> io::Result<()> {
        let stdio = stdio::open()?;
        let (input, output) = (Some(End::new(stdio.stdin)?), Some(End::new(stdio.stdout)?));
        self.open(stream, Ends::Apart { input, output });
        Ok(())
    }

    fn spawn(&mut self, child: Key, pipes: Key, errors: Key, command: &Command) -> io::Result<u32> {
        self.start_child(child, pipes, errors, command)
    }

    fn spawn_on(
        &mut self,
        child: Key,
        errors: Key,
        stdin: Socket,
        command: &Command,
    ) -> io::Result<u32> {
        self.start_child_on(child, errors, stdin, command)
    }

    fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()> {
        self.signal_child(child, signal)
    }

    fn watch_signals(&mut self) -> io::Result<()> {
        self.start_signals()
    }

    fn receive(&mut self, stream: Key, on: bool) {
        let Some(entry) = self.streams.find(stream) else { return };
        let stream = self.streams.get(entry).expect("bound");
        if stream.wanted != on {
            stream.wanted = on;
            self.look_after(entry);
        }
    }

    fn send(&mut self, stream: Key, batch: Batch, prompt: bool) -> Option<(Batch, io::Result<()>)> {
        self.hand_over(stream, batch, prompt)
    }

    fn finish(&mut self, stream: Key) {
        self.end_output(stream);
    }

    fn close(&mut self, stream: Key) {
        if let Some(entry) = self.streams.unbind(stream) {
            self.shut(entry);
        }
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        loop {
            self.settle();
            let resumes = self.resume_accepting();
            completions.append(&mut self.ready);
            let sooner = [until, resumes].into_iter().flatten().min();
            let woken = self.pass(sooner, completions)?;
            if woken || !completions.is_empty() || until.is_some_and(|until| until <= monotonic()) {
                return Ok(());
            }
        }
    }
}
