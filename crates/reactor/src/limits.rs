//! How much of everything a core holds at most, and why that much.

use std::time::Duration;

/// Cores of one cluster: what a [`CoreId`](kern_terms::CoreId) in a flight id can name.
pub const CORES_MAX: usize = kern_terms::FlightId::CORES_MAX;

/// Streams one core keeps open. More are refused at accept: each may hold 1 MiB of queued bytes
/// (the default high watermark), and half of this many starts shortening scaled timers.
pub const STREAMS_MAX: usize = 32_768;

/// Rings one core keeps open: each is 4.3 MiB of memory once its peer has touched all of it, so 1.1 GiB
/// at the very most.
pub const RINGS_MAX: usize = 256;

/// Connections the kernel holds for a listener that is slow to accept.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Connections accepted from one listener in a turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Size of a receive buffer: two TLS records, a pipe's half.
pub const CHUNK_BYTES: usize = 32 << 10;

/// Bytes received from one stream in a turn; the rest waits for the next: 8 chunks.
pub const RECEIVE_PER_TURN_BYTES: usize = 8 * CHUNK_BYTES;

/// Receive buffers a core keeps for reuse: 256 × 32 KiB = 8 MiB.
pub const CHUNKS_KEPT: usize = 256;

/// Send buffers a core keeps for reuse.
pub const SEND_BUFFERS_KEPT: usize = 256;

/// A send buffer that grew beyond this is freed, not kept: 256 × 64 KiB = 16 MiB at most.
pub const SEND_BUFFER_KEPT_BYTES: usize = 64 << 10;

/// Shared bytes up to this many are copied: a piece of its own costs more.
pub const SHARED_COPIED_BYTES: usize = 2 << 10;

/// Posts a core's inbox holds before senders keep them on their side.
pub const INBOX_LEN: usize = 4096;

/// Posts handled in a turn, so that a flood leaves room for input.
pub const POSTS_PER_TURN: usize = 1024;

/// Timers fired in a turn.
pub const TIMERS_PER_TURN: usize = 1024;

/// Callbacks for this same turn handled before the rest is moved to the next.
pub const CALLBACKS_PER_TURN: usize = 1024;

/// Posts waiting on the sender's side for one core, above which it is reported.
pub const OVERFLOW_REPORTED_LEN: usize = 16_384;

/// How soon a core looks again whether a full inbox has room.
pub const OVERFLOW_RETRY: Duration = Duration::from_millis(1);

/// How long one address may take to answer a connection attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses tried for one name.
pub const ADDRESSES_MAX: usize = 16;

/// How long the TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream that cannot send any more may still receive before it counts as broken: long
/// enough to read the last words of a child that closed its stdin.
pub const BROKEN_LINGER: Duration = Duration::from_secs(1);

/// How long a closed socket waits for the peer's own end after ours was sent. Without it, input
/// still on its way would make the system reset the connection and destroy what we sent.
pub const FINISH_LINGER: Duration = Duration::from_secs(1);

/// Threads that run errands, shared by all cores. Errands wait for others (resolvers, disks), so
/// their number has nothing to do with that of cores.
pub const ERRAND_THREADS: usize = 4;

/// Errands waiting for a thread; more are run after a warning, never dropped.
pub const ERRANDS_REPORTED_LEN: usize = 1024;

/// Tracked operations a core can nest; deeper ones are counted, not named.
pub const TRACKED_MAX: usize = 8;

/// How much fuller than the least loaded core another must be to hand a new connection over: this
/// many connections and a quarter more.
pub const BALANCE_SLACK: usize = 8;

/// How long a listener rests when the process is out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
