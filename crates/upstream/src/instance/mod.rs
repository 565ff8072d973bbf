//! The life of one MCP server as seen from here.
//!
//! ```text
//! Resting ─start─► Opening ─opened─► Greeting ─agreed─► Listing ─► Ready
//!    ▲                │                 │                  │         │
//!    └──── wake ──── Down ◄── lost, refused or too slow ───┴─────────┘
//! ```
//!
//! Inputs are method calls, outputs are [`Effect`]s appended to the caller's vector.
//! Invariants: ids of our own requests are strings that start with `k`, so they can't be mistaken
//! for a flight's number; effects of a lost connection never reach the next one.

mod greet;
mod listen;
mod lists;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::{Envelope, Kind, Method};
use kern_terms::{Era, Instant, Revision};

use crate::backoff::Backoff;

/// What we tell a server about its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// `ClientCapabilities`, JSON.
    pub capabilities: Bytes,
    /// `Implementation`, JSON.
    pub info: Bytes,
    /// The revision `initialize` asks for.
    pub revision: Revision,
    /// Which greeting is tried first: that of the client's own era, since a conversation in
    /// mid-call needs the same era on both sides.
    pub prefer: Era,
}

/// How messages travel to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Newline-delimited messages over a child's stdin and stdout.
    Pipe,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of revision 2024-11-05.
    HttpSse,
}

/// What the owner of an instance has to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Make the transport: start the process, or open the event stream. `opened` or `lost` follows.
    Open,
    /// Send a message of ours.
    Send {
        /// Names it, if it wants an answer.
        id: Option<OwnId>,
        /// What it is.
        method: Method,
        /// The message.
        message: Vec<u8>,
    },
    /// Stop waiting for the answer to a request of ours; on HTTP, close its exchange.
    Abandon(OwnId),
    /// The greeting is done: `era`, `revision`, capabilities and the rest can be read.
    Agreed,
    /// A page of a list.
    Page {
        /// The list's method.
        method: Method,
        /// The result, JSON.
        result: Vec<u8>,
        /// The list starts afresh.
        first: bool,
    },
    /// All lists asked for have arrived.
    Listed,
    /// The instance is gone; it will be started again after `retry`.
    Down {
        /// For people.
        why: String,
        /// The wait before the next start.
        retry: Duration,
    },
    /// Take the transport down: close its stdin, then harsher.
    Close,
    /// Call [`Instance::wake`] after so long.
    Wake(Duration),
    /// A resource some client subscribed to changed.
    Updated {
        /// The notification.
        message: Vec<u8>,
    },
    /// Something worth a line in the log.
    Warn(String),
}

/// Names a request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnId(pub u64);

impl OwnId {
    /// The id as JSON text.
    pub fn json(self) -> String {
        format!("\"k{}\"", self.0)
    }

    /// Reads JSON text that [`OwnId::json`] wrote.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let digits = json.strip_prefix(b"\"k")?.strip_suffix(b"\"")?;
        let text = std::str::from_utf8(digits).ok()?;
        if text.starts_with('+') { None } else { text.parse().ok().map(Self) }
    }
}

/// Where the instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not started yet, or stopped.
    Resting,
    /// The transport is being made.
    Opening,
    /// `server/discover` or `initialize` is out.
    Greeting,
    /// The lists are being fetched for the first time.
    Listing,
    /// It answers.
    Ready,
    /// It failed and waits to be started again.
    Down,
}

/// What a failed request of ours met below JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An HTTP status other than success, with the body if it was JSON-RPC.
    Status {
        /// 300 to 599.
        status: u16,
        /// The answer's body.
        body: Vec<u8>,
    },
    /// The connection failed.
    Broken(String),
}

/// What the server said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `ServerCapabilities`, JSON.
    pub capabilities: Bytes,
    /// `Implementation`, JSON; empty if the server did not say, or said too much
    /// ([`crate::limits::INFO_BYTES_MAX`]).
    pub info: Bytes,
    /// `instructions`, a JSON string.
    pub instructions: Option<Bytes>,
    /// It can be spoken to in the old era.
    pub legacy: bool,
}

/// One MCP server, or one session with it.
#[derive(Debug)]
pub struct Instance {
    profile: Profile,
    transport: Transport,
    /// Whether a refused Streamable HTTP greeting may fall back to HTTP+SSE.
    fall_back: bool,
    /// It did, in this run: the next one tries Streamable HTTP first again.
    fell_back: bool,
    phase: Phase,
    revision: Revision,
    identity: Identity,
    next_id: u64,
    own: BTreeMap<OwnId, Own>,
    greeting: greet::Greeting,
    refresh: BTreeSet<lists::Listing>,
    fetching: Option<lists::Fetch>,
    refresh_due: Option<Instant>,
    /// When a page that was asked for later than at the start is overdue, and when that is looked
    /// at.
    page_due: Option<(Instant, Instant)>,
    listen: listen::Listen,
    start_timeout: Duration,
    deadline: Option<Instant>,
    started: Instant,
    backoff: Backoff,
    /// The last greeting was cut off by the server's death: try the other first.
    discover_kills: bool,
}

/// What a request of ours was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Discover,
    Initialize,
    List(lists::Listing),
    Listen,
    Subscribe,
    Probe,
    Aside,
}

impl Instance {
    /// An instance that rests until [`Instance::start`].
    pub fn new(profile: Profile, transport: Transport, start_timeout: Duration) -> Self {
        Self {
            revision: profile.revision,
            profile,
            transport,
            fall_back: false,
            fell_back: false,
            phase: Phase::Resting,
            identity: Identity::default(),
            next_id: 1,
            own: BTreeMap::new(),
            greeting: greet::Greeting::default(),
            refresh: BTreeSet::new(),
            fetching: None,
            refresh_due: None,
            page_due: None,
            listen: listen::Listen::default(),
            start_timeout,
            deadline: None,
            started: Instant::ZERO,
            backoff: Backoff::default(),
            discover_kills: false,
        }
    }

    /// Lets a refused Streamable HTTP greeting fall back to HTTP+SSE.
    pub fn with_fall_back(mut self) -> Self {
        self.fall_back = true;
        self
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The agreed revision; meaningful from [`Effect::Agreed`] on.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How messages travel now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// What the server said of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What we told the server.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// When this run started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether calls may be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Listing | Phase::Ready)
    }

    /// Starts it, from rest or before its waiting time is over.
    pub fn start(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Resting | Phase::Down) {
            return;
        }
        if std::mem::take(&mut self.fell_back) {
            (self.transport, self.fall_back) = (Transport::Http, true);
        }
        self.phase = Phase::Opening;
        self.started = now;
        self.deadline = Some(now + self.start_timeout);
        fx.push(Effect::Open);
        fx.push(Effect::Wake(self.start_timeout));
    }

    /// The transport stands.
    pub fn opened(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if self.phase == Phase::Opening {
            self.phase = Phase::Greeting;
            self.greet(now, fx);
        }
    }

    /// The transport is gone, or could not be made.
    pub fn lost(&mut self, now: Instant, why: String, random: u64, fx: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Resting | Phase::Down) {
            return;
        }
        if self.phase == Phase::Greeting && self.greeting.only_discover_is_out() {
            self.discover_kills = true;
        }
        self.forget();
        self.phase = Phase::Down;
        let retry = self.backoff.failed(now, random);
        self.deadline = Some(now + retry);
        fx.push(Effect::Down { why, retry });
        fx.push(Effect::Wake(retry));
    }

    /// Fails the instance from this side: closes the transport, then as [`Instance::lost`].
    pub fn fail(&mut self, now: Instant, why: String, random: u64, fx: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Resting | Phase::Down) {
            return;
        }
        fx.push(Effect::Close);
        self.lost(now, why, random, fx);
    }

    /// Greets the server again over the transport that stands: it forgot our session.
    pub fn renew(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if !self.is_open() {
            return;
        }
        self.forget();
        self.phase = Phase::Opening;
        self.started = now;
        self.deadline = Some(now + self.start_timeout);
        fx.push(Effect::Open);
        fx.push(Effect::Wake(self.start_timeout));
    }

    /// Ends it for good; nothing follows but [`Effect::Close`].
    pub fn stop(&mut self, fx: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Resting | Phase::Down) {
            fx.push(Effect::Close);
        }
        self.forget();
        self.phase = Phase::Resting;
        self.deadline = None;
    }

    /// Looks at the clock. `random` as for [`Instance::lost`].
    pub fn wake(&mut self, now: Instant, random: u64, fx: &mut Vec<Effect>) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            match self.phase {
                Phase::Down => self.start(now, fx),
                Phase::Opening | Phase::Greeting | Phase::Listing => {
                    let limit_s = self.start_timeout.as_secs_f32();
                    let why = format!("it did not get ready within {limit_s} s");
                    self.fail(now, why, random, fx);
                }
                Phase::Resting | Phase::Ready => {}
            }
        }
        self.greet_again(now, fx);
        self.page_overdue(now, fx);
        if self.refresh_due.is_some_and(|at| at <= now) {
            self.refresh_due = None;
            self.fetch_next(now, fx);
        }
        self.listen_due(now, fx);
    }

    /// A message of the server that answers a request of ours. `false` if it does not.
    pub fn answer(
        &mut self,
        now: Instant,
        message: &[u8],
        envelope: &Envelope,
        random: u64,
        fx: &mut Vec<Effect>,
    ) -> bool {
        let Some(id) = envelope.id.and_then(|span| OwnId::parse(span.of(message))) else {
            return false;
        };
        let Some(own) = self.own.remove(&id) else { return true };
        match own {
            Own::Discover | Own::Initialize => {
                self.greeted(now, own, message, envelope, random, fx);
            }
            Own::List(listing) => self.listed(now, listing, message, envelope, fx),
            Own::Listen => self.listen_ended(now, fx),
            Own::Aside | Own::Probe => {}
            Own::Subscribe => {
                if envelope.kind == Kind::Error {
                    fx.push(Effect::Warn("the server refused a resource subscription".into()));
                }
            }
        }
        true
    }

    /// A request of ours failed below JSON-RPC.
    pub fn failed(
        &mut self,
        now: Instant,
        id: OwnId,
        failure: Failure,
        random: u64,
        fx: &mut Vec<Effect>,
    ) {
        let Some(own) = self.own.remove(&id) else { return };
        match own {
            Own::Discover | Own::Initialize => self.greeting_failed(now, own, failure, random, fx),
            Own::List(listing) => {
                self.fail(now, format!("{listing}: {failure}"), random, fx);
            }
            Own::Listen => {
                self.listen_ended(now, fx);
                if matches!(failure, Failure::Broken(_)) {
                    self.probe(fx);
                }
            }
            // What stands before a server that is gone answers in its place.
            Own::Probe if !matches!(failure, Failure::Status { status: ..=499, .. }) => {
                self.fail(now, failure.to_string(), random, fx);
            }
            Own::Subscribe | Own::Aside | Own::Probe => {}
        }
    }

    /// A notification of the server that concerns everybody: `list_changed`, `resources/updated`.
    /// `false` if it is of another kind.
    pub fn notified(
        &mut self,
        now: Instant,
        message: &[u8],
        envelope: &Envelope,
        fx: &mut Vec<Effect>,
    ) -> bool {
        match envelope.method {
            Method::ToolsListChanged => {
                self.refresh_soon(now, lists::Listing::Tools, fx);
            }
            Method::PromptsListChanged => {
                self.refresh_soon(now, lists::Listing::Prompts, fx);
            }
            Method::ResourcesListChanged => {
                self.refresh_soon(now, lists::Listing::Resources, fx);
                self.refresh_soon(now, lists::Listing::Templates, fx);
            }
            Method::ResourcesUpdated => {
                fx.push(Effect::Updated { message: message.to_vec() });
            }
            Method::SubscriptionsAcknowledged => self.listen_stands(now, fx),
            _ => return false,
        }
        true
    }

    /// The greeting's capabilities have member `name`.
    pub fn can(&self, name: &str) -> bool {
        kern_mcp::json::field(&self.identity.capabilities, name).is_some()
    }

    fn forget(&mut self) {
        self.own.clear();
        self.greeting = greet::Greeting::default();
        self.refresh.clear();
        self.fetching = None;
        self.refresh_due = None;
        self.page_due = None;
        self.listen.closed();
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status { status, .. } => write!(f, "the server answered with HTTP {status}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}
