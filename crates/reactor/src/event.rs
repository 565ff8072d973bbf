//! What can wake a core, and the values those events carry.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kern_terms::{CoreId, Key};

use crate::Io;

/// Everything that can wake a core. The set is closed: what is not here cannot happen to an app.
#[expect(missing_docs, reason = "a variant's text covers its fields")]
#[derive(Debug)]
pub enum Event<P> {
    /// A listener accepted a connection and this core will keep it. Reading starts at once.
    Accepted { listener: Key, stream: Key, peer: Peer },
    /// An outbound stream is usable (TCP connected, TLS agreed).
    Connected { stream: Key },
    /// Bytes arrived.
    Received { stream: Key, chunk: Chunk },
    /// The peer will send no more; sending to it may still work.
    Finished { stream: Key },
    /// The stream is gone; its key is dead. Comes exactly once for every stream, except those the
    /// app closed itself, for which it does not come.
    Closed { stream: Key, why: Closed },
    /// What was queued for the stream fell below the low watermark after having been above the
    /// high one.
    Drained { stream: Key },
    /// A timer fired. `token` is what the app gave.
    Timer { timer: Key, token: u64 },
    /// A callback asked for with [`Io::this_turn`] or [`Io::next_turn`].
    Callback { token: u64 },
    /// A child of this core ended and was reaped.
    Exited { child: Key, exit: ChildExit },
    /// The process was signalled; only the first core sees it.
    Signal(Signal),
    /// Another core, an errand or a thread outside sent this.
    Post { from: Option<CoreId>, message: P },
    /// This core is to end: finish what is in hand, then call [`Io::leave`].
    Retire,
}

/// The program a core runs.
pub trait App {
    /// What cores send each other.
    type Post: Send + 'static;

    /// Called once, on the core's own thread, before the first turn.
    fn start(&mut self, io: &mut Io<Self::Post>);

    /// Called for each event of a turn.
    fn event(&mut self, io: &mut Io<Self::Post>, event: Event<Self::Post>);

    /// Called after the last event of each turn, before the core sleeps: the place to send what the
    /// turn gathered.
    fn turn_end(&mut self, _io: &mut Io<Self::Post>) {}
}

/// Received bytes, owned by whoever holds them and given back to their pool on drop.
///
/// Drop soon: a core has a bounded number of receive buffers.
pub struct Chunk {
    bytes: Vec<u8>,
    pool: Option<(Rc<dyn Recycle>, u32)>,
}

/// Where a chunk's memory goes back to.
pub trait Recycle {
    /// Takes the memory of a dropped chunk. `tag` is what [`Chunk::pooled`] was given.
    fn recycle(&self, tag: u32, bytes: Vec<u8>);
}

impl Chunk {
    /// A chunk of its own memory.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self { bytes, pool: None }
    }

    /// A chunk whose memory goes back to `pool`, together with `tag`, when it is dropped.
    pub fn pooled(bytes: Vec<u8>, pool: Rc<dyn Recycle>, tag: u32) -> Self {
        Self { bytes, pool: Some((pool, tag)) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some((pool, tag)) = self.pool.take() {
            pool.recycle(tag, std::mem::take(&mut self.bytes));
        }
    }
}

impl std::ops::Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// Why a stream is gone.
#[derive(Debug)]
pub enum Closed {
    /// Both directions ended in order.
    Orderly,
    /// The connection could not be made.
    Refused(std::io::Error),
    /// The TLS handshake failed; the text names the cause.
    Tls(String),
    /// It broke.
    Broken(std::io::Error),
}

/// Who connected.
#[expect(missing_docs, reason = "a variant's text covers its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket; the user id where the system tells.
    Unix { uid: Option<u32> },
    /// Over a shared-memory ring; the user id where the system tells.
    Ring { uid: Option<u32> },
    /// A simulated peer.
    Simulated(u64),
}

/// Where to listen.
#[expect(missing_docs, reason = "a variant's text covers its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP, on every core (`SO_REUSEPORT`) where `shared`: then each core listens, and connections
    /// are handed from one that has many to one that has few.
    Tcp { address: SocketAddr, shared: bool },
    /// TCP, on an address that was taken before the cores started; the others share it.
    Held(Held),
    /// A Unix socket, made with mode 0600; a stale file is replaced, a live one is an error.
    Unix(PathBuf),
    /// As `Unix`, for clients that are handed a shared-memory ring (Linux).
    Ring(PathBuf),
    /// A named listener of the simulated world.
    Simulated(String),
}

/// A TCP address that this process alone listens on, though several of its cores may.
///
/// `SO_REUSEPORT` lets any process of the same user listen where cores do. So the address is taken
/// without it, which fails wherever somebody listens, and only then opened to the cores: of two
/// processes that do so one gets the address, even if both start at once.
#[derive(Clone, Debug)]
pub struct Held {
    address: SocketAddr,
    listener: Arc<Mutex<Option<TcpListener>>>,
}

impl Held {
    /// Takes `address`; port 0 lets the system choose. Connections are queued from now on.
    ///
    /// # Errors
    /// The system's: `AddrInUse` where anybody listens. `Unsupported` where cores cannot share.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        let listener = crate::driver::listen_alone(address)?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener: Arc::new(Mutex::new(Some(listener))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For the core that accepts from it: no other descriptor keeps it open then.
    #[cfg(unix)]
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let listener = self.listener.lock().expect("holders do not panic").take();
        listener.ok_or_else(|| io::Error::other("another core accepts from this listener"))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.listener, &other.listener)
    }
}

impl Eq for Held {}

/// Where a listener really listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// TCP, with the port the system chose.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
    /// A path where rings are handed out.
    Ring(PathBuf),
    /// A name.
    Simulated(String),
}

/// Where to connect.
#[expect(missing_docs, reason = "a variant's text covers its fields")]
#[derive(Clone, Debug)]
pub enum Target {
    /// Plain TCP. The name is resolved off the core; all addresses are tried in turn.
    Tcp { host: String, port: u16 },
    /// TLS over TCP, with the host as server name.
    Tls { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Path, or a name to look up on `PATH`.
    pub program: String,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// The child's whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Working directory; the current one if `None`.
    pub cwd: Option<PathBuf>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildExit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, otherwise.
    pub signal: Option<i32>,
}

/// Signals sent to and received from processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL; cannot be received.
    Kill,
}

/// Watermarks of a stream's send queue, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// At or below: [`Event::Drained`].
    pub low_bytes: usize,
    /// Above: [`Io::is_full`].
    pub high_bytes: usize,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { low_bytes: 64 << 10, high_bytes: 1 << 20 }
    }
}

/// How long a turn may take before the watchdog reports it.
pub const TURN_MAX: Duration = Duration::from_millis(50);
