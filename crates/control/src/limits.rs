//! How much of a file is read, and the bounds of every number a user may set.
//!
//! Invariant: a setting outside its bound is refused with the bound named; it is never clamped in
//! silence.

/// Largest `kern.toml`, bytes: room for 256 about each of [`UPSTREAMS_MAX`].
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Largest file of a client, bytes.
pub const CLIENT_FILE_BYTES_MAX: u64 = 4 << 20;
/// Largest `~/.claude.json`, bytes: it also keeps the client's history.
pub const CLAUDE_STATE_BYTES_MAX: u64 = 64 << 20;
/// Longest line that says what an entry starts or calls, characters.
pub const SHOWN_CHARS_MAX: usize = 1000;
/// Largest file that a `${file:…}` reference or an `envFile` may name, bytes.
pub const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;
/// Largest state file of consents, bytes: 10,000 entries of about 400 bytes.
pub const CONSENT_FILE_BYTES_MAX: u64 = 4 << 20;
/// Deepest nesting of a file that is read.
pub const DEPTH_MAX: usize = 128;
/// Most errors reported at once; what comes after them is seldom worth reading.
pub const PROBLEMS_MAX: usize = 50;
/// Most upstreams in one plan. Each costs its start and about 10 KiB; a request costs the same however
/// many there are.
pub const UPSTREAMS_MAX: usize = 16_384;
/// Most entries of other programs' files that become upstreams: each is compared with all others.
pub const DISCOVERED_MAX: usize = 1024;
/// Longest name of an upstream, bytes. Clients bound a tool's name at 64, and the upstream's name
/// is its prefix.
pub const NAME_BYTES_MAX: usize = 32;
/// Longest string a file may give for one setting, bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most arguments, variables or headers of one upstream.
pub const ITEMS_MAX: usize = 512;
/// How many folders upwards a project file is sought.
pub const ANCESTORS_MAX: usize = 32;
/// Most profiles of one VS Code installation that are read.
pub const PROFILES_MAX: usize = 64;

/// The bounds and the default of one number.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Least value accepted.
    pub min: u64,
    /// Value when the file says nothing.
    pub default: u64,
    /// Greatest value accepted.
    pub max: u64,
}

/// Shorthand for the table below.
const fn bound(min: u64, default: u64, max: u64) -> Bound {
    assert!(min <= default && default <= max);
    Bound { min, default, max }
}

/// `timeout` of a request to an upstream, ms: longest wait for its answer, or for the next progress
/// report on it.
pub const TIMEOUT_MS: Bound = bound(100, 60_000, 24 * 3_600_000);
/// `limits.total_timeout`: longest wait for an answer however often its server reports progress, ms.
/// An upstream whose `timeout` is longer waits that long.
pub const TOTAL_TIMEOUT_MS: Bound = bound(100, 600_000, 24 * 3_600_000);
/// `limits.start_timeout`: from starting an upstream to its first answer, ms. A first `npx` run
/// downloads its packages.
pub const START_TIMEOUT_MS: Bound = bound(100, 60_000, 3_600_000);
/// `limits.grace`: how long an upstream keeps its tools listed after it died, and how long
/// children get to end on shutdown, ms.
pub const GRACE_MS: Bound = bound(0, 5_000, 600_000);
/// `limits.idle_timeout`: a connection without a request is closed after this, ms.
pub const IDLE_TIMEOUT_MS: Bound = bound(1_000, 300_000, 24 * 3_600_000);
/// `limits.session_idle_timeout`: a session without a request ends after this, ms.
pub const SESSION_IDLE_TIMEOUT_MS: Bound = bound(10_000, 1_800_000, 7 * 24 * 3_600_000);
/// `limits.private_idle_timeout`: a child process that runs for one client alone is stopped when that
/// was away for so long, ms. Its session, if it has one, goes on.
pub const PRIVATE_IDLE_TIMEOUT_MS: Bound = bound(1_000, 120_000, 7 * 24 * 3_600_000);
/// `limits.answer_timeout`: how long a client may take to answer what a server asks it in
/// mid-call, ms: a person may have to be asked.
pub const ANSWER_TIMEOUT_MS: Bound = bound(100, 600_000, 24 * 3_600_000);
/// `limits.message_bytes`: one JSON-RPC message from an upstream.
pub const MESSAGE_BYTES: Bound = bound(1 << 10, 16 << 20, 1 << 30);
/// `limits.result_bytes`: one result that goes to its client as it comes, held nowhere. No more than
/// `limits.message_bytes`: no result does.
pub const RESULT_BYTES: Bound = bound(1 << 10, 128 << 20, 1 << 36);
/// `limits.body_bytes`: one HTTP request body from a client.
pub const BODY_BYTES: Bound = bound(1 << 10, 4 << 20, 1 << 30);
/// `limits.header_bytes`: the head of one HTTP message.
pub const HEADER_BYTES: Bound = bound(1 << 10, 32 << 10, 1 << 20);
/// `limits.connections`: open client connections of the whole process.
pub const CONNECTIONS: Bound = bound(1, 10_000, 1_000_000);
/// `limits.sessions`: open sessions of the whole process.
pub const SESSIONS: Bound = bound(1, 10_000, 1_000_000);
/// `limits.flights`: requests on their way to one upstream.
pub const FLIGHTS: Bound = bound(1, 1_024, 1 << 20);
/// `limits.queue`: requests waiting for an upstream to start or for a free flight.
pub const QUEUE: Bound = bound(0, 1_024, 1 << 20);
/// `limits.queue_bytes`: bytes of requests that wait for upstreams, of the whole process.
pub const QUEUE_BYTES: Bound = bound(64 << 10, 64 << 20, 1 << 36);
/// `limits.parked_bytes`: bytes kept for clients that were asked something in mid-call and have not
/// come back, of the whole process.
pub const PARKED_BYTES: Bound = bound(64 << 10, 128 << 20, 1 << 36);
/// `limits.instances`: child processes of one upstream.
pub const INSTANCES: Bound = bound(1, 64, 10_000);
/// `limits.tools`: tools of one upstream.
pub const TOOLS: Bound = bound(1, 10_000, 1_000_000);
/// `serve.cores`. A flight id names at most 128 cores.
pub const CORES: Bound = bound(1, 1, kern_terms::FlightId::CORES_MAX as u64);
