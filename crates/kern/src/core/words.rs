//! What cores say to each other, and the addresses they use.
//!
//! Invariant: everything in a [`Post`] is owned and immutable; nothing a core sends can be changed
//! under the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_control::{Instances, Launch, Plan, ToolFilter};
use kern_mcp::Envelope;
use kern_mcp::era::rounds::Input;
use kern_route::{Catalog, Lists};
use kern_session::{EventId, Principal, SmallBytes};
use kern_terms::{CoreId, FlightId, Instant, Key, Revision};

/// What an error says of an upstream on its first start: asking again later may work.
pub const STILL_STARTING: &str = "still starting: try again";

/// Names one upstream of one configuration: an unchanged upstream keeps it over a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u32);

/// The configuration in force, with every reference read.
#[derive(Debug)]
pub struct Setup {
    /// As checked.
    pub plan: Arc<Plan>,
    /// The upstreams, in the order their tools are listed.
    pub upstreams: BTreeMap<UpstreamId, Arc<Spec>>,
    /// This program, to be run as the keeper of each child; children run bare where `None`.
    pub keeper: Option<PathBuf>,
    /// The cores upstreams are spread over.
    pub cores: Vec<CoreId>,
}

impl ReplyTo {
    /// Where nobody is: what is sent there is dropped.
    pub fn nobody(core: CoreId) -> Self {
        let edge = Key { slot: u32::MAX, generation: u32::MAX };
        Self { streams: false, ..Self::new(core, edge, 0) }
    }
}

impl Setup {
    /// How many sessions one core may hold.
    pub fn sessions_max(&self) -> usize {
        (self.plan.limits.sessions / self.cores.len().max(1)).max(1)
    }

    /// The core that hosts the shared instance of `id`.
    pub fn owner(&self, id: UpstreamId) -> CoreId {
        let cores = &self.cores;
        cores[id.0 as usize % cores.len()]
    }
}

/// One upstream, ready to be started.
#[derive(Debug)]
pub struct Spec {
    /// See [`UpstreamId`].
    pub id: UpstreamId,
    /// Its name.
    pub name: Arc<str>,
    /// Whether clients share one instance.
    pub instances: Instances,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Longest wait until it is ready.
    pub start_timeout: Duration,
    /// Which tools are offered.
    pub tools: ToolFilter,
    /// How it is started, or why it can't be.
    pub launch: Result<Launch, String>,
    /// The Unix socket an HTTP server is reached over, instead of its host and port.
    pub unix: Option<PathBuf>,
}

/// Where an answer goes: one exchange of one client connection. Two are the same if they lead to
/// the same place, whatever else is known of it.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo {
    /// The core of the connection.
    pub core: CoreId,
    /// The connection.
    pub edge: Key,
    /// Which exchange of it; an answer to another one is dropped.
    pub exchange: u32,
    /// The client takes an answer as JSON.
    pub json: bool,
    /// More than the answer can be sent there: the client reads event streams, or lines.
    pub streams: bool,
    /// The session on the core that answers, where the exchange can become a stream of it.
    pub session: Option<Key>,
    /// The batch on the core that answers, where the request is one of several.
    pub batch: Option<Key>,
    /// An answer can be written there in pieces, and left unfinished.
    pub flows: bool,
}

impl ReplyTo {
    /// A place that takes any message.
    pub fn new(core: CoreId, edge: Key, exchange: u32) -> Self {
        let (json, streams, session, batch) = (true, true, None, None);
        Self { core, edge, exchange, json, streams, session, batch, flows: false }
    }
}

impl PartialEq for ReplyTo {
    fn eq(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.core, it.edge, it.exchange, it.batch);
        place(self) == place(other)
    }
}

impl Eq for ReplyTo {}

/// What makes an event one of a stream that can be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its id.
    pub id: EventId,
    /// If the stream opens with it, an event without data goes before, so that the client has an
    /// id from the start (2025-11-25, SEP-1699).
    pub prime: bool,
}

/// How a message for a client ends its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// More follows: a notification or a server's request.
    More,
    /// The same of progress and logs, which a client does without that is far behind with reading. The
    /// core of its connection knows.
    Lossy,
    /// The answer, with its HTTP status should no stream be open yet.
    Answer(u16),
    /// It was no request: acknowledged with 202.
    Accepted,
    /// It was done, and there is nothing to say: acknowledged with 200, which some clients insist on
    /// where they end a session.
    Done,
    /// No answer will come (a cancelled request), or a session's own stream is over: end without
    /// one.
    Nothing,
    /// Nothing is said yet, but the exchange becomes a stream that can be resumed.
    Open,
    /// The connection closes, the stream goes on: the client asks for the rest after so many
    /// milliseconds (2025-11-25, SEP-1699).
    Poll(u32),
    /// A stream was asked for again that is over: 204.
    Over,
}

/// How a piece stands in an answer that goes to its client as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pour {
    /// The first; the event it is part of, where it is one of a stream that can be resumed.
    Begin(Option<Mark>),
    /// One that is neither.
    More,
    /// The last.
    End,
}

/// What a client's connection says of an answer that goes there as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough waits to be read.
    Full,
    /// It may go on.
    Free,
    /// The connection is gone, or not where the answer can go.
    Gone,
}

/// A client's message on its way to the core that holds the client's session.
#[derive(Debug)]
pub struct Forwarded {
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// The session it names.
    pub token: kern_session::Token,
    /// The endpoint it came to.
    pub endpoint: Option<Arc<str>>,
    /// The message.
    pub message: Bytes,
}

/// A call on its way to the core that hosts the instance.
#[derive(Debug)]
pub struct Dispatch {
    /// Names it.
    pub flight: FlightId,
    /// The upstream.
    pub upstream: UpstreamId,
    /// The client's message.
    pub message: Bytes,
    /// Its spans.
    pub envelope: Box<Envelope>,
    /// The name its server knows, where it differs.
    pub name: Option<String>,
    /// The URI its server knows, where it differs.
    pub uri: Option<String>,
    /// The client's revision.
    pub from: Revision,
    /// The client's session, on the core of the flight.
    pub session: Option<Key>,
    /// The client's `Implementation`, JSON.
    pub client_info: Bytes,
    /// The client's `ClientCapabilities` as a modern server is told them, JSON.
    pub client_capabilities: Bytes,
    /// Least severity of log messages the client wants, once it said so.
    pub log_level: Option<&'static str>,
}

/// What a request about a task becomes for a server of the other era.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Which request is out.
    pub step: Step,
    /// The task's id as the client knows it.
    pub shown: String,
    /// The task's id as the server knows it.
    pub own: String,
    /// Who may reach the task that it creates, where an id has to prove that.
    pub owner: Principal,
}

impl Leg {
    /// The first step of a task that has no id yet.
    pub fn new(step: Step, owner: Principal) -> Self {
        Self { step, shown: String::new(), own: String::new(), owner }
    }

    /// The first step of a request about a task.
    pub fn about(step: Step, shown: &str, own: &str) -> Self {
        let (shown, own) = (shown.to_owned(), own.to_owned());
        Self { step, shown, own, owner: Principal::Nobody }
    }
}

/// The request of a [`Leg`] that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A tool call that becomes a task of 2025-11-25.
    Create,
    /// `tasks/get` of 2025-11-25.
    Get,
    /// `tasks/result` of 2025-11-25, after the task that has ended.
    Finish(Box<[u8]>),
    /// `tasks/cancel` of 2025-11-25.
    Cancel,
    /// `tasks/get`, to see whether the task exists.
    Check,
    /// A tool call that a modern server may make a task of.
    Start,
    /// `tasks/get` of the extension.
    Look,
    /// `tasks/get` of the extension, before the task is cancelled.
    BeforeCancel,
    /// `tasks/cancel` of the extension.
    Cancelling,
    /// `tasks/get` of the extension, until the task ends.
    Wait(Box<Waiting>),
}

/// A `tasks/result` that waits for the task of a modern server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How long the server wants to be left alone.
    pub poll: Duration,
    /// `tasks/update` is out.
    pub updating: bool,
    /// Questions that wait for the client: what is asked, and its key as the server wrote it.
    pub asked: Vec<(Key, Input, String)>,
    /// Keys of all questions the client was asked.
    pub told: BTreeSet<String>,
    /// Answers of the client that the server does not have yet.
    pub answers: Vec<(String, Vec<u8>)>,
    /// When the client has waited long enough.
    pub until: Instant,
}

/// A client that comes back with what a server asked it, on its way to the core that holds its call.
#[derive(Debug)]
pub struct Back {
    /// Where the answer goes now.
    pub reply: ReplyTo,
    /// The JSON-RPC id the client used this time, raw.
    pub id: SmallBytes,
    /// Its progress token, raw.
    pub progress: Option<SmallBytes>,
    /// Least severity of log messages it wants now.
    pub log_level: Option<kern_session::Level>,
    /// What its `requestState` says.
    pub ticket: kern_session::Ticket,
    /// Its `inputResponses`, an object.
    pub responses: Option<Bytes>,
}

/// A routed call on its way to the core that holds the servers which may ask its client.
#[derive(Debug)]
pub struct Brought {
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// The endpoint it came to.
    pub endpoint: Option<Arc<str>>,
    /// The message.
    pub message: Bytes,
    /// Who it is from.
    pub principal: Principal,
    /// Where it was routed.
    pub upstream: UpstreamId,
    /// The name its server knows, where it differs.
    pub name: Option<String>,
    /// The URI its server knows, where it differs.
    pub uri: Option<String>,
}

/// How the shared instance of an upstream fares.
#[derive(Clone, Debug)]
pub enum Health {
    /// Being started for the first time.
    Starting,
    /// It answers.
    Up(Arc<Up>),
    /// It failed; the text says why and when it is tried again.
    Down(Arc<str>),
}

/// What any core must know to call a shared instance.
#[derive(Debug, PartialEq, Eq)]
pub struct Up {
    /// The agreed revision.
    pub revision: Revision,
    /// It can be spoken to in the old era.
    pub legacy: bool,
    /// Calls may go from any core, over its own connections.
    pub direct: bool,
    /// Another number each time it was greeted: what it calls its tasks may mean others.
    pub epoch: u64,
    /// The `Mcp-Session-Id` to send.
    pub session_id: Option<Vec<u8>>,
}

/// A message between cores, or from outside them.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Post {
    /// A new configuration.
    Setup(Arc<Setup>),
    /// To the first core: what an upstream's shared instance offers now, or that it is gone.
    Offer { upstream: UpstreamId, lists: Option<Arc<Lists>> },
    /// A new catalog; `settled` when no upstream is still on its first start.
    Catalog { catalog: Arc<Catalog>, settled: bool },
    /// To the first core: an errand built this.
    Built(Arc<Catalog>),
    /// How an upstream's shared instance fares.
    Health { upstream: UpstreamId, health: Health },
    /// To the host of an upstream: its session with the server ended.
    SessionLost { upstream: UpstreamId, session_id: Option<Vec<u8>> },
    /// A client's message for a session of the receiver.
    Forwarded(Box<Forwarded>),
    /// A message for a client connection of the receiver.
    Deliver { to: ReplyTo, message: Bytes, ending: Ending, mark: Option<Mark> },
    /// A piece of an answer for a client connection of the receiver.
    Pour { to: ReplyTo, flight: FlightId, piece: Bytes, step: Pour },
    /// To the core of a flight whose answer goes to a connection of the sender.
    Room { flight: FlightId, room: Room },
    /// A GET for a stream of a session of the receiver, from an event on if it names one.
    Attach {
        to: ReplyTo,
        token: kern_session::Token,
        endpoint: Option<Arc<str>>,
        last: Option<Bytes>,
    },
    /// A client connection of the receiver may open its stream: `Mcp-Session-Id` was accepted.
    Open { to: ReplyTo, token: kern_session::Token, mark: Option<Mark> },
    /// The connection behind `reply` is gone: what it waits for can be cancelled.
    Gone { reply: ReplyTo, token: Option<kern_session::Token> },
    /// A client ends its session.
    End { reply: ReplyTo, token: kern_session::Token, endpoint: Option<Arc<str>> },
    /// A call for an instance of the receiver.
    Dispatch(Box<Dispatch>),
    /// What clients carry between the rounds of a parked call is sealed with this.
    Seal(Arc<kern_session::Sealer>),
    /// A routed call for a server of the receiver that may ask its client.
    Brought(Box<Brought>),
    /// A call that was brought to another core is this flight there.
    Took { reply: ReplyTo, flight: FlightId },
    /// To the core that holds such servers: what does `upstream` offer to clients that can do this?
    AbleWanted { upstream: UpstreamId, capabilities: Bytes, principal: Principal, to: CoreId },
    /// What it offers them; `None` if no instance could be had.
    Able { upstream: UpstreamId, capabilities: Bytes, lists: Option<Arc<Lists>> },
    /// A client comes back to a call of the receiver that waits for it.
    Back(Box<Back>),
    /// The client behind `reply` is gone that had come back to a call of the receiver.
    Left { reply: ReplyTo, flight: FlightId },
    /// A call that is no longer wanted.
    Cancel { upstream: UpstreamId, flight: FlightId },
    /// An answer or a notification for a flight of the receiver.
    Return { upstream: UpstreamId, flight: FlightId, message: Bytes, envelope: Box<Envelope> },
    /// A flight of the receiver failed on the way.
    Failed { upstream: UpstreamId, flight: FlightId, why: String },
    /// A client subscribed to (`true`) or unsubscribed from a resource.
    Interest { upstream: UpstreamId, uri: String, on: bool },
    /// A resource changed; as its server names it.
    Updated { upstream: UpstreamId, uri: String },
    /// To the host of an upstream: it said on a call's stream that something changed.
    Changed { upstream: UpstreamId, message: Bytes },
    /// To all: what names tasks of old servers.
    Tagger(Arc<kern_session::Tagger>),
    /// A client wants to hear of a task (`true`), or no longer does.
    Watch { upstream: UpstreamId, task: String, on: bool },
    /// A modern server tells how a task fares that was named in a listen request.
    TaskChanged { upstream: UpstreamId, message: Bytes },
    /// A shared server of 2025-11-25 tells how a task fares.
    TaskStatus { upstream: UpstreamId, message: Bytes },
    /// To the host of an upstream: it could not be reached.
    Doubt { upstream: UpstreamId },
    /// The process is to end in order.
    Stop,
    /// A core that drains waits for no answer any more.
    Quiet(CoreId),
    /// Somebody outside wants to know how this core fares.
    Report(std::sync::mpsc::Sender<Report>),
}

/// How a core fares.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Client connections.
    pub edges: usize,
    /// Sessions.
    pub sessions: usize,
    /// Requests on their way.
    pub flights: usize,
    /// Instances hosted.
    pub instances: usize,
    /// Requests of servers waiting for a client.
    pub asks: usize,
    /// Calls whose client was told what their server asks, and is away.
    pub parked: usize,
    /// Open subscription streams.
    pub listens: usize,
    /// Open event streams of sessions.
    pub streams: usize,
    /// Instances that run for one session or one client, of those hosted.
    pub own_instances: usize,
    /// Requests that wait for a server, those that are over included.
    pub waiting: usize,
    /// Batches whose answers are not all there.
    pub batches: usize,
    /// Resources and tasks that clients want to hear of.
    pub wants: usize,
    /// Sessions of which tasks are remembered.
    pub tasks: usize,
    /// Requests that count among those on their way to an upstream.
    pub charged: usize,
    /// Bytes kept for clients: to resume streams, of calls whose clients are away, of requests that
    /// wait or are on their way, of answers of tasks, of what is subscribed to.
    pub kept_bytes: usize,
}

impl Report {
    /// Everything that is there for a client, by name: all of it goes when its clients do.
    pub fn for_clients(&self) -> [(&'static str, usize); 14] {
        [
            ("connections", self.edges),
            ("sessions", self.sessions),
            ("requests", self.flights),
            ("asks", self.asks),
            ("parked", self.parked),
            ("listens", self.listens),
            ("streams", self.streams),
            ("own_instances", self.own_instances),
            ("waiting", self.waiting),
            ("batches", self.batches),
            ("wants", self.wants),
            ("tasks", self.tasks),
            ("charged", self.charged),
            ("kept_bytes", self.kept_bytes),
        ]
    }
}
