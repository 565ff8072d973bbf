//! What shall this process do: where to listen, within which limits, with which upstreams?
//!
//! Invariants: a plan was checked as a whole, so nobody downstream checks again; upstream names are
//! unique and sorted; no resolved secret is in it, only the names of the places to read it from.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;

use crate::limits;
use crate::secret::Template;

/// A checked configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Where clients come in.
    pub serve: ServePlan,
    /// How much of anything.
    pub limits: Limits,
    /// What is logged.
    pub log: LogPlan,
    /// The enabled upstreams, sorted by name, each name once.
    pub upstreams: Vec<UpstreamPlan>,
    /// Every file that was read, or whose appearance would change the plan. Watch these.
    pub sources: Vec<SourceFile>,
}

impl Plan {
    /// The upstream called `name`.
    pub fn upstream(&self, name: &str) -> Option<&UpstreamPlan> {
        let index = self.upstreams.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.upstreams.get(index)
    }

    /// A number that differs when anything but the sources differs; equal across runs.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Fnv::default();
        self.serve.hash(&mut hasher);
        self.limits.hash(&mut hasher);
        self.log.hash(&mut hasher);
        for upstream in &self.upstreams {
            upstream.hash_settings(&mut hasher);
        }
        hasher.finish()
    }
}

/// A file the plan depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceFile {
    /// Absolute path.
    pub path: PathBuf,
    /// Whether it existed when the plan was made.
    pub present: bool,
}

/// `[serve]`: where clients come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServePlan {
    /// TCP address for Streamable HTTP and HTTP+SSE. `None` when it was switched off.
    pub listen: Option<SocketAddr>,
    /// Unix socket for the same.
    pub unix: Option<PathBuf>,
    /// Unix socket that hands out shared-memory rings.
    pub ring: Option<PathBuf>,
    /// Whether stdin and stdout are a client too (command line only).
    pub stdio: bool,
    /// Number of event loops.
    pub cores: Cores,
    /// What lies beneath the event loop.
    pub driver: Driver,
    /// `Host` values accepted besides the loopback names. Lower case, without a port.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values accepted besides loopback origins. Lower case, `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
}

impl ServePlan {
    /// The address when none is given.
    pub const LISTEN_DEFAULT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7331);
}

impl Default for ServePlan {
    fn default() -> Self {
        Self {
            listen: Some(Self::LISTEN_DEFAULT),
            unix: None,
            ring: None,
            stdio: false,
            cores: Cores::Auto,
            driver: Driver::Auto,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// Number of event loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cores {
    /// As the machine allows.
    #[default]
    Auto,
    /// Exactly so many.
    Exactly(NonZeroU8),
}

/// What lies beneath the event loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Driver {
    /// io_uring where it works, else portable.
    #[default]
    Auto,
    /// io_uring or fail.
    Uring,
    /// epoll, kqueue or IOCP.
    Portable,
}

/// `[limits]`. Each field's default and bounds are in [`limits`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each field is documented at the constant of its name")]
pub struct Limits {
    pub message_bytes: usize,
    pub result_bytes: usize,
    pub body_bytes: usize,
    pub header_bytes: usize,
    pub connections: usize,
    pub sessions: usize,
    pub flights: usize,
    pub queue: usize,
    pub queue_bytes: usize,
    pub parked_bytes: usize,
    pub instances: usize,
    pub tools: usize,
    pub timeout_ms: u64,
    pub total_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    pub start_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub session_idle_timeout_ms: u64,
    pub private_idle_timeout_ms: u64,
    pub grace_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: limits::MESSAGE_BYTES.default as usize,
            result_bytes: limits::RESULT_BYTES.default as usize,
            body_bytes: limits::BODY_BYTES.default as usize,
            header_bytes: limits::HEADER_BYTES.default as usize,
            connections: limits::CONNECTIONS.default as usize,
            sessions: limits::SESSIONS.default as usize,
            flights: limits::FLIGHTS.default as usize,
            queue: limits::QUEUE.default as usize,
            queue_bytes: limits::QUEUE_BYTES.default as usize,
            parked_bytes: limits::PARKED_BYTES.default as usize,
            instances: limits::INSTANCES.default as usize,
            tools: limits::TOOLS.default as usize,
            timeout_ms: limits::TIMEOUT_MS.default,
            total_timeout_ms: limits::TOTAL_TIMEOUT_MS.default,
            answer_timeout_ms: limits::ANSWER_TIMEOUT_MS.default,
            start_timeout_ms: limits::START_TIMEOUT_MS.default,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS.default,
            session_idle_timeout_ms: limits::SESSION_IDLE_TIMEOUT_MS.default,
            private_idle_timeout_ms: limits::PRIVATE_IDLE_TIMEOUT_MS.default,
            grace_ms: limits::GRACE_MS.default,
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPlan {
    /// A filter directive: a level, or `target=level` pairs separated by commas.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For eyes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One MCP server behind this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPlan {
    /// Unique; ASCII letters, digits, `-`, `_`; at most [`limits::NAME_BYTES_MAX`] bytes; starts
    /// and ends with a letter or digit; never two underscores in a row.
    pub name: String,
    /// Which file said so.
    pub origin: Origin,
    /// How to reach it.
    pub kind: Kind,
    /// Whether clients share one instance.
    pub instances: Instances,
    /// Longest wait for an answer, ms.
    pub timeout_ms: u64,
    /// Longest wait for the first answer after a start, ms.
    pub start_timeout_ms: u64,
    /// Which of its tools are offered.
    pub tools: ToolFilter,
}

impl UpstreamPlan {
    /// Whether `other` would run the same way; the file it came from does not matter.
    pub fn same_settings(&self, other: &Self) -> bool {
        let same_name = self.name == other.name && self.kind == other.kind;
        same_name
            && self.instances == other.instances
            && self.timeout_ms == other.timeout_ms
            && self.start_timeout_ms == other.start_timeout_ms
            && self.tools == other.tools
    }

    /// A number that differs when the settings differ; equal across runs. Not for hostile input.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Fnv::default();
        self.hash_settings(&mut hasher);
        hasher.finish()
    }

    /// Hashes what [`UpstreamPlan::same_settings`] compares.
    fn hash_settings(&self, hasher: &mut impl Hasher) {
        self.name.hash(hasher);
        self.kind.hash(hasher);
        self.instances.hash(hasher);
        self.timeout_ms.hash(hasher);
        self.start_timeout_ms.hash(hasher);
        self.tools.hash(hasher);
    }
}

/// Where an upstream was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `kern.toml`, or the client's name as a person says it.
    pub client: String,
    /// The file; empty for an upstream that no file declares.
    pub path: PathBuf,
    /// Its name there, before it was made fit to be a prefix.
    pub declared_as: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.client, self.path.display())
    }
}

/// How an upstream is reached. References are still unread: see
/// [`UpstreamPlan::resolve`](crate::UpstreamPlan::resolve).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A child process that speaks over stdin and stdout.
    Command(CommandPlan),
    /// An HTTP server.
    Url(UrlPlan),
    /// Code within this process.
    Builtin(Builtin),
}

/// A child process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandPlan {
    /// A path, or a name to be sought on `PATH`.
    pub program: Template,
    /// Arguments, without the program.
    pub args: Vec<Template>,
    /// Variables set on top of the base environment, sorted by name.
    pub env: Vec<(String, Template)>,
    /// A file of further `NAME=value` lines; `env` wins over it.
    pub env_file: Option<Template>,
    /// Working folder; the user's home when absent.
    pub cwd: Option<Template>,
    /// Messages go through a shared-memory ring instead of stdin and stdout.
    pub ring: bool,
}

/// An HTTP server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPlan {
    /// `http://` or `https://`; checked when it holds no reference, else on resolving.
    pub url: Template,
    /// Sent with every request, sorted by name; names in lower case.
    pub headers: Vec<(String, Template)>,
    /// Which of the two HTTP transports.
    pub transport: Transport,
}

/// Upstreams that are part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// Answers with what it was given; for trying out and measuring.
    Echo,
}

/// Whether clients share one instance of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Instances {
    /// Shared for HTTP and built-in upstreams; for a child process as its behaviour allows.
    #[default]
    Auto,
    /// One for all.
    Shared,
    /// One for each client session.
    PerSession,
}

/// Which HTTP transport an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Streamable HTTP, and HTTP+SSE when that is refused.
    #[default]
    Auto,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of revision 2024-11-05.
    Sse,
}

/// Which tools of an upstream are offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ToolFilter {
    /// Only these, when present. Sorted.
    pub include: Option<Vec<String>>,
    /// Never these; wins over `include`. Sorted.
    pub exclude: Vec<String>,
}

impl ToolFilter {
    /// Whether the tool called `name` by its upstream is offered.
    pub fn allows(&self, name: &str) -> bool {
        let listed =
            |list: &[String]| list.binary_search_by(|item| item.as_str().cmp(name)).is_ok();
        !listed(&self.exclude) && self.include.as_deref().is_none_or(listed)
    }
}

/// FNV-1a, 64 bits: small, and the same on every run and machine of one byte order.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_the_user_excluded_is_never_offered() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = ToolFilter { include: Some(list(&["a", "b"])), exclude: list(&["b"]) };
        assert_eq!(["a", "b", "c"].map(|name| filter.allows(name)), [true, false, false]);
        assert!(ToolFilter::default().allows("any"));
    }
}
