//! What a core needs of the system below it.
//!
//! A driver owns descriptors, children and the clock; it knows nothing of timers, posts, TLS or
//! watermarks (those are `Io`'s). Every driver passes the same conformance suite
//! (`tests/driver_conformance.rs`).
//!
//! Rules every driver keeps:
//! - Completion style: an operation is handed over, its end comes out of [`Driver::wait`].
//! - One [`Batch`] a stream at a time: the next is handed over only after `Sent`. The driver owns
//!   the batch until then and sends all of it, however many system calls that takes.
//! - After [`Driver::close`] no completion for that key comes out any more, whatever is in flight.
//! - A stream receives from the moment it exists until `receive(key, false)`; data received before
//!   the switch may still come out once, and so may `ReadEnded`. `ReadEnded` comes at most once.
//! - When `connect` or `adopt` returns an error, or `Connected` carries one, the driver has forgotten
//!   the stream. The same key may then be handed to `connect` again (the next address), also after
//!   `close`: nothing that belongs to the earlier use comes out any more.
//! - After a failed `Sent` or `ReadEnded` the stream stays until `close`. A failed `Sent` leaves the
//!   receiving direction as it is: a child that closed its stdin may still write.
//! - `Exited` says nothing about the pipes, which may still hold data; each ends for itself. The
//!   child's key is dead after `Exited`.
//! - One `wait` reports a bounded number of completions, and a bounded number of bytes a stream, so
//!   that posts and timers get their turn; what is left comes out of the next one.
//! - Dropping a driver closes everything and kills (SIGKILL) the groups of children still running.
//! - Instants of all drivers of a process but `sim` come from [`monotonic`], so that cores can send
//!   each other deadlines.
//!
//! Where to put things: `unix/` holds what every Unix driver needs (sockets, processes, signals,
//! stdio) as functions that return plain descriptors.

pub(crate) mod chunks;
mod entropy;
mod names;
pub mod portable;
pub mod sim;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "linux")]
pub mod uring;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kern_terms::{Instant, Key};

use crate::event::{ChildExit, Chunk, Command, Listen, Local, Peer, Signal};

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best this system allows.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// Readiness (epoll, kqueue, IOCP); works everywhere.
    Portable,
}

/// Makes the chosen driver, for the calling thread.
///
/// # Errors
/// The system's; `Unsupported` where io_uring was insisted on and is not to be had.
pub fn choose(choice: Choice) -> io::Result<Box<dyn Driver>> {
    let portable = || Ok(Box::new(portable::Portable::new()?) as Box<dyn Driver>);
    match choice {
        Choice::Portable => portable(),
        Choice::Uring => open_uring(),
        Choice::Auto => open_uring().or_else(|error| {
            static SAID: std::sync::Once = std::sync::Once::new();
            SAID.call_once(|| tracing::info!(%error, "io_uring is not used"));
            portable()
        }),
    }
}

/// Whether io_uring can be used here; if not, why.
///
/// # Errors
/// The reason, for an operator.
#[cfg(target_os = "linux")]
pub fn probe_uring() -> Result<(), String> {
    uring::probe()
}

/// Whether io_uring can be used here: never.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn probe_uring() -> Result<(), String> {
    open_uring().map(drop).map_err(|error| error.to_string())
}

#[cfg(target_os = "linux")]
fn open_uring() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(uring::Uring::new()?))
}

#[cfg(not(target_os = "linux"))]
fn open_uring() -> io::Result<Box<dyn Driver>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring is a Linux interface"))
}

/// Waits until what was sent to the process's stdout has left it, at most `most`.
pub(crate) fn drain_stdio(most: std::time::Duration) {
    #[cfg(unix)]
    unix::stdio::drain(most);
    #[cfg(not(unix))]
    portable::drain_stdio(most);
}

/// Listens on an address where nobody does, so that several cores then may.
pub(crate) fn listen_alone(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    #[cfg(unix)]
    return unix::socket::listen_alone(address);
    #[cfg(not(unix))]
    return Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{address}: cores cannot share"),
    ));
}

/// Lets this process (and its children) open as many descriptors as it may.
pub(crate) fn raise_descriptor_limit() {
    #[cfg(unix)]
    unix::raise_descriptor_limit();
}

/// Keeps the calling thread on one processor, by the core's number among those allowed.
pub(crate) fn pin_thread(core: kern_terms::CoreId) {
    #[cfg(target_os = "linux")]
    if let Err(error) = unix::pin_thread(usize::from(core.0)) {
        tracing::warn!(core = %core, %error, "the core is not pinned");
    }
    #[cfg(not(target_os = "linux"))]
    tracing::info!(core = %core, "cores are not pinned on this system");
}

/// The clock of all real drivers: time since an origin that the process chose once.
pub fn monotonic() -> Instant {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let origin = ORIGIN.get_or_init(std::time::Instant::now);
    // One second ahead of the origin, so that zero stays free as "never".
    Instant::from_nanos(1_000_000_000) + origin.elapsed()
}

/// What a driver reports.
#[expect(missing_docs, reason = "a variant's text covers its fields")]
#[derive(Debug)]
pub enum Completion {
    /// A socket was accepted. It belongs to no stream yet: the core adopts it, or hands it to
    /// another core.
    Accepted { listener: Key, socket: Socket, peer: Peer },
    /// An outbound connection was made or failed.
    Connected { stream: Key, result: io::Result<()> },
    /// Bytes arrived.
    Received { stream: Key, chunk: Chunk },
    /// The peer finished (`Ok`) or reading failed.
    ReadEnded { stream: Key, result: io::Result<()> },
    /// The batch was sent whole, or failed; the memory comes back for reuse.
    Sent { stream: Key, batch: Batch, result: io::Result<()> },
    /// A child ended and was reaped.
    Exited { child: Key, exit: ChildExit },
    /// The process received a signal it asked to see.
    Signal(Signal),
}

/// What to send: one owned buffer, then shared pieces, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// Copied bytes and shared pieces in the order they were queued.
    pub pieces: Vec<Piece>,
}

/// A part of a batch.
#[derive(Debug)]
pub enum Piece {
    /// Bytes copied into memory of the core's pool.
    Owned(Vec<u8>),
    /// Bytes shared with others.
    Shared(Bytes),
}

impl Piece {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Piece::Owned(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

/// An accepted socket on its way to the core that will keep it.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix stream.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    /// A connection of the simulated world.
    Simulated(u64),
}

/// Where to connect, with the name already resolved.
#[derive(Clone, Debug)]
pub enum Address {
    /// TCP.
    Tcp(std::net::SocketAddr),
    /// A Unix socket.
    Unix(std::path::PathBuf),
    /// A named listener of the simulated world.
    Simulated(String),
}

/// Ends a driver's sleep from any thread.
pub trait Wake: Send + Sync {
    /// Makes the driver's current or next [`Driver::wait`] return. Cheap when it is awake already.
    fn wake(&self);
}

/// The system below one core.
pub trait Driver {
    /// `portable`, `uring` or `sim`.
    fn name(&self) -> &'static str;
    /// The clock.
    fn now(&self) -> Instant;
    /// 64 random bits: the system's, or the simulation's seeded ones.
    fn entropy(&mut self) -> u64;
    /// Another thread's way to wake this driver.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Starts accepting.
    fn listen(&mut self, listener: Key, at: &Listen) -> io::Result<Local>;
    /// Stops accepting; the descriptor is closed (a Unix socket's file removed).
    fn unlisten(&mut self, listener: Key);
    /// Takes an accepted socket and starts receiving.
    fn adopt(&mut self, stream: Key, socket: Socket) -> io::Result<()>;
    /// Starts connecting.
    fn connect(&mut self, stream: Key, to: &Address) -> io::Result<()>;
    /// Makes the process's own standard input and output a stream.
    fn stdio(&mut self, stream: Key) -> io::Result<()>;
    /// Starts a child in a process group of its own; `pipes` is its stdin and stdout as one
    /// stream, `errors` its stderr. Returns the process id.
    fn spawn(&mut self, child: Key, pipes: Key, errors: Key, command: &Command) -> io::Result<u32>;
    /// Starts a child as [`Driver::spawn`] does, but with a socket as its stdin, and its stdout joined
    /// to its stderr.
    fn spawn_on(
        &mut self,
        _child: Key,
        _errors: Key,
        _stdin: Socket,
        _command: &Command,
    ) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Signals the child's whole group.
    fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()>;
    /// Asks for [`Completion::Signal`] instead of the default action.
    fn watch_signals(&mut self) -> io::Result<()>;

    /// Switches receiving on or off.
    fn receive(&mut self, stream: Key, on: bool);
    /// Hands a batch over. `Some` gives it back at once: everything has left already (or failed), and
    /// no [`Completion::Sent`] follows.
    ///
    /// Where nothing depends on it (not `prompt`), `Sent` need not end the next [`Driver::wait`]:
    /// once all has left, it may come out only when that ends for another reason.
    fn send(&mut self, stream: Key, batch: Batch, prompt: bool) -> Option<(Batch, io::Result<()>)>;
    /// Ends the sending direction (FIN, closed stdin). Only called with no batch in flight.
    fn finish(&mut self, stream: Key);
    /// Drops the stream at once.
    fn close(&mut self, stream: Key);

    /// Resolves a name without leaving the core. `None`, the rule, sends the name to the system's
    /// resolver in an errand; the simulation answers here.
    fn resolve(&mut self, _host: &str, _port: u16) -> Option<Vec<Address>> {
        None
    }

    /// Sleeps until `until` (for ever if `None`) or until something happens, and reports it.
    /// `until` in the past means: look, but do not sleep.
    fn wait(&mut self, until: Option<Instant>, completions: &mut Vec<Completion>)
    -> io::Result<()>;
}
