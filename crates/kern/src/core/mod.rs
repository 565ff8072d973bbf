//! One core: the state of every room on it, and who is woken by what.
//!
//! The order of the rooms is in [`crate::pipeline`]; here is what they act on. Reading order:
//! `words` (what cores say to each other), `edge` and its transports (clients), `flight` (requests
//! on their way), `hosted` (servers), `registry` (the catalog).
//!
//! Invariants: every client request ends in exactly one of answer, refusal or cancellation; every
//! key kept here is checked on use, so an event that comes late finds nothing.

mod able;
mod answers;
mod asks;
mod batches;
mod builtins;
mod cards;
mod channel;
mod deliver;
mod drain;
mod edge;
mod endings;
mod flight;
mod flow;
mod guard;
mod hosted;
mod http_calls;
mod http_edge;
mod http_entry;
mod http_instance;
mod http_link;
mod http_streams;
mod interest;
mod keys;
mod lease;
mod lease_home;
mod lease_queue;
mod listens;
mod lists;
mod local;
mod pages;
mod parks;
mod pipe;
mod place;
mod pour;
mod queued;
mod registry;
mod rest;
mod resume;
mod retry;
mod returns;
mod rounds;
mod sessions;
mod status;
mod task_answers;
mod task_book;
mod task_done;
mod task_legs;
mod task_listens;
mod task_seal;
mod task_waits;
mod tasks;
pub mod timers;
mod trails;
mod upstreams;
mod wants;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use kern_mcp::ScanLimits;
use kern_mcp::http::HttpLimits;
use kern_reactor::{App, Event, Listen, Signal};
use kern_route::Catalog;
use kern_session::{Sessions, Token};
use kern_terms::{CoreId, Instant, Key, Slab};

use edge::{Edge, http_limits, scan_limits};
use flight::Flight;
use hosted::Hosted;
use place::Upstream;
use timers::Timer;
use words::{Post, ReplyTo, Setup, UpstreamId};

pub(crate) use cards::CARD_TYPE;
pub(crate) use local::INFO;

/// The core's handle.
pub type Io = kern_reactor::Io<Post>;

/// How often links and sessions are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Largest buffer kept to write the next message in.
const OUT_KEPT_BYTES: usize = 1 << 20;
/// Posts kept about upstreams that this core was not told of yet.
const EARLY_MAX: usize = 10_000;
/// How long bytes queued for a closing client connection may take to leave.
const LINGER: Duration = Duration::from_secs(5);

/// What a stream of the reactor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// A client connection.
    Edge(Key),
    /// A child's stdin and stdout.
    Pipe(Key),
    /// A child's stderr.
    Errors(Key),
    /// A connection of an upstream's shared HTTP link.
    Shared(UpstreamId),
    /// A connection of an instance's own HTTP link.
    Private(Key),
}

/// What a core is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The first configuration.
    pub setup: Arc<Setup>,
    /// Where this core listens.
    pub listen: Vec<Listen>,
    /// The process's stdin and stdout are a client of this core.
    pub stdio: bool,
    /// Tells whoever started the core where it listens, or why it can't.
    pub ready: std::sync::mpsc::Sender<Result<kern_reactor::Local, String>>,
    /// Tells whoever started the core that its stdio client has left.
    pub stdio_done: Option<std::sync::mpsc::Sender<()>>,
    /// A client at one end of a socket pair, and the endpoint it gets.
    pub pair: Arc<std::sync::Mutex<Option<PairClient>>>,
}

/// One end of a socket pair, and the endpoint served there.
#[derive(Debug)]
pub struct PairClient {
    /// The gateway's end.
    pub socket: kern_reactor::driver::Socket,
    /// The upstream served; all of them if `None`.
    pub endpoint: Option<Arc<str>>,
}

/// The program of one core.
#[derive(Debug)]
pub struct Core {
    id: CoreId,
    now: Instant,
    start: Start,
    setup: Arc<Setup>,
    scan_limits: ScanLimits,
    http_limits: HttpLimits,

    owners: HashMap<Key, Owner>,
    listeners: Vec<Key>,
    edges: Slab<Edge>,
    /// Edges with input left over from before their exchange ended.
    again: Vec<Key>,
    stdio_edge: Option<Key>,

    sessions: Sessions,
    /// Where a session's messages go that belong to no exchange.
    streams: HashMap<Key, ReplyTo>,
    /// The open event streams of each session.
    trails: HashMap<Key, Vec<trails::Trail>>,
    /// Bytes of messages kept for clients that resume a stream.
    kept_bytes: usize,
    /// What a session with servers of its own sees.
    views: lists::Views,
    /// Streams of HTTP+SSE clients, by the token their endpoint carries.
    channels: HashMap<Token, Key>,
    asks: Slab<asks::Ask>,
    batches: Slab<batches::Batch>,
    leases: lease_queue::Leases,
    /// What clients that can be asked see of old servers.
    able: able::Able,
    parks: parks::Parks,
    listens: Slab<listens::Listen>,
    wants: wants::Wants,
    task_book: task_book::TaskBook,
    done_book: task_done::DoneBook,
    tagger: Option<Arc<kern_session::Tagger>>,

    flights: Slab<Flight>,
    upstreams: BTreeMap<UpstreamId, Upstream>,
    /// The upstreams' ids, by name.
    names: HashMap<Arc<str>, UpstreamId>,
    /// Calls that were answered on a stream which their server has not ended.
    answered: Vec<(http_link::Which, Key, Instant)>,
    hosted: Slab<Hosted>,
    /// The instance each session has of an upstream for itself.
    private: BTreeMap<(Key, UpstreamId), Key>,
    exits: HashMap<Key, Key>,

    catalog: Arc<Catalog>,
    settled: bool,
    settle_by: Instant,
    registry: registry::Registry,
    queued: queued::Queued,
    /// Requests for lists that wait for servers to start.
    patient: Vec<lists::Patient>,
    /// They try again when the event at hand was dealt with, never from inside it.
    patient_due: bool,
    /// The request that just asked to wait on.
    kept_waiting: Option<ReplyTo>,

    draining: bool,
    /// Time for draining is up.
    hurried: bool,
    /// Cores that wait for no answer any more.
    quiet: BTreeSet<CoreId>,
    /// What was said of upstreams of a configuration that is still on its way to this core.
    early: Vec<Post>,
    /// The newest upstream this core was told of.
    newest: Option<UpstreamId>,
    /// Where messages are written, parts of them first; and where some are kept for a while.
    out: Vec<u8>,
    scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// Memory of calls that were kept until a server surely took them; boxes, as flights hold them.
    #[expect(clippy::vec_box)]
    spare_calls: Vec<Box<flight::Parked>>,
    effects: Vec<kern_upstream::Effect>,
    happenings: Vec<kern_upstream::http::Happening>,
}

impl Core {
    /// A core about to start.
    pub fn new(id: CoreId, start: Start) -> Self {
        let setup = Arc::clone(&start.setup);
        Self {
            id,
            now: Instant::ZERO,
            scan_limits: scan_limits(&setup),
            http_limits: http_limits(&setup),
            sessions: Sessions::new(setup.sessions_max()),
            setup,
            start,
            owners: HashMap::new(),
            listeners: Vec::new(),
            edges: Slab::new(),
            again: Vec::new(),
            stdio_edge: None,
            streams: HashMap::new(),
            trails: HashMap::new(),
            kept_bytes: 0,
            views: lists::Views::default(),
            channels: HashMap::new(),
            asks: Slab::new(),
            batches: Slab::new(),
            leases: lease_queue::Leases::default(),
            able: able::Able::default(),
            parks: parks::Parks::default(),
            listens: Slab::new(),
            wants: wants::Wants::default(),
            task_book: task_book::TaskBook::default(),
            done_book: task_done::DoneBook::default(),
            tagger: None,
            flights: Slab::new(),
            upstreams: BTreeMap::new(),
            names: HashMap::new(),
            answered: Vec::new(),
            hosted: Slab::new(),
            private: BTreeMap::new(),
            exits: HashMap::new(),
            catalog: Arc::default(),
            settled: false,
            settle_by: Instant::ZERO,
            registry: registry::Registry::default(),
            queued: queued::Queued::default(),
            patient: Vec::new(),
            patient_due: false,
            kept_waiting: None,
            draining: false,
            hurried: false,
            quiet: BTreeSet::new(),
            early: Vec::new(),
            newest: None,
            out: Vec::new(),
            scratch: Vec::new(),
            spare: Vec::new(),
            spare_calls: Vec::new(),
            effects: Vec::new(),
            happenings: Vec::new(),
        }
    }

    fn is_first(&self) -> bool {
        self.setup.cores.first() == Some(&self.id)
    }

    fn take_setup(&mut self, io: &mut Io, setup: Arc<Setup>) {
        self.scan_limits = scan_limits(&setup);
        self.http_limits = http_limits(&setup);
        self.sessions.set_most(setup.sessions_max());
        self.setup = setup;
        self.apply_upstreams(io);
        for post in std::mem::take(&mut self.early) {
            self.post(io, post);
        }
    }

    /// Keeps what is said of an upstream whose configuration has not come here yet: another core
    /// may have it already.
    fn keep_early(&mut self, upstream: UpstreamId, post: Post) {
        if self.newest.is_none_or(|newest| newest < upstream) && self.early.len() < EARLY_MAX {
            self.early.push(post);
        }
    }

    fn post(&mut self, io: &mut Io, message: Post) {
        match message {
            Post::Setup(setup) => self.take_setup(io, setup),
            Post::Offer { upstream, lists } => self.offered(io, upstream, lists),
            Post::Built(catalog) => self.built(io, catalog),
            Post::Catalog { catalog, settled } => self.take_catalog(io, catalog, settled),
            Post::Health { upstream, health } => self.take_health(io, upstream, health),
            Post::SessionLost { upstream, session_id } => {
                self.session_lost(io, upstream, session_id);
            }
            Post::Forwarded(forwarded) => self.forwarded(io, *forwarded),
            Post::Deliver { to, message, ending, mark } => {
                self.write(io, to, &message, ending, mark);
            }
            Post::Pour { to, flight, piece, step } => self.pour(io, to, flight, &piece, step),
            Post::Room { flight, room } => self.room(io, flight, room),
            Post::Attach { to, token, endpoint, last } => {
                self.attach(io, to, token, endpoint.as_ref(), last.as_deref());
            }
            Post::Open { to, token, mark } => self.open_session_stream(io, to, token, mark),
            Post::Gone { reply, token } => self.exchange_gone(reply, token),
            Post::End { reply, token, endpoint } => {
                self.end_session(io, reply, token, endpoint.as_ref());
            }
            Post::Dispatch(dispatch) => self.dispatched(io, *dispatch),
            Post::Seal(sealer) => self.parks.sealer = Some(sealer),
            Post::Brought(brought) => self.brought(io, *brought),
            Post::Took { reply, flight } => self.took(io, reply, flight),
            Post::AbleWanted { upstream, capabilities, principal, to } => {
                self.able_wanted(io, upstream, capabilities, principal, to);
            }
            Post::Able { upstream, capabilities, lists } => {
                self.able_told(upstream, capabilities, lists);
            }
            Post::Back(back) => self.came_back(io, *back),
            Post::Left { reply, flight } => self.client_left(io, reply, flight),
            Post::Cancel { upstream, flight } => self.cancel_at_host(io, upstream, flight),
            Post::Return { upstream, flight, message, envelope } => {
                self.returned(io, upstream, None, flight, &message, &envelope);
            }
            Post::Failed { upstream, flight, why } => {
                self.flight_failed(io, upstream, flight, &why)
            }
            Post::Interest { upstream, uri, on } => self.interest_at_host(io, upstream, &uri, on),
            Post::Updated { upstream, uri } => self.resource_updated(io, upstream, &uri),
            Post::Changed { upstream, message } => self.changed_at_host(io, upstream, &message),
            Post::Tagger(tagger) => self.tagger = Some(tagger),
            Post::Watch { upstream, task, on } => self.watch_at_host(io, upstream, &task, on),
            Post::TaskChanged { upstream, message } => self.task_changed(io, upstream, &message),
            Post::TaskStatus { upstream, message } => self.task_status(io, upstream, &message),
            Post::Doubt { upstream } => self.doubt_at_host(io, upstream),
            Post::Stop if self.draining => self.drain_now(io),
            Post::Stop => self.retire(io),
            Post::Quiet(core) => {
                self.quiet.insert(core);
            }
            Post::Report(to) => {
                // Whoever asked may have given up waiting.
                let _ = to.send(self.report());
            }
        }
    }

    fn timer(&mut self, io: &mut Io, timer: Timer) {
        match timer {
            Timer::Edge(edge) => self.edge_timer(io, edge),
            Timer::Flight(flight) => self.flight_overdue(io, flight),
            Timer::Step(flight) => self.step(io, flight),
            Timer::Resume(flight) => self.resume_call(io, flight),
            Timer::Instance(key) => self.instance_wake(io, key),
            Timer::Stopping(key) => self.stopping_overdue(io, key),
            Timer::Sweep => self.sweep(io),
            Timer::Lists => self.serve_patient(io, true),
            Timer::Drain => self.drain_now(io),
            Timer::Moment(flight) => self.moment_over(io, flight),
            Timer::Grace(upstream) => self.grace_over(io, UpstreamId(upstream)),
        }
    }

    fn sweep(&mut self, io: &mut Io) {
        io.timer(SWEEP_EVERY, Timer::Sweep.token());
        self.settle(io);
        self.sweep_links(io);
        self.sweep_sessions(io);
        self.sweep_trails(io);
        self.sweep_asks(io);
        self.sweep_leases(io);
        self.sweep_private(io);
    }

    fn stream_event(&mut self, io: &mut Io, event: StreamEvent, stream: Key) {
        let Some(owner) = self.owners.get(&stream).copied() else { return };
        if matches!(event, StreamEvent::Closed(_)) {
            self.owners.remove(&stream);
        }
        match owner {
            Owner::Edge(edge) => self.edge_event(io, edge, event),
            Owner::Pipe(key) => self.pipe_event(io, key, event),
            Owner::Errors(key) => self.errors_event(io, key, event),
            Owner::Shared(upstream) => self.shared_event(io, upstream, stream, event),
            Owner::Private(key) => self.private_event(io, key, stream, event),
        }
    }
}

/// An event of one stream.
enum StreamEvent {
    Connected,
    Received(kern_reactor::Chunk),
    Finished,
    Closed(kern_reactor::Closed),
    Drained,
}

impl App for Core {
    type Post = Post;

    fn start(&mut self, io: &mut Io) {
        self.now = io.now();
        self.settle_by = self.now + lists::PATIENCE;
        io.timer(SWEEP_EVERY, Timer::Sweep.token());
        self.listen(io);
        self.share_keys(io);
        self.apply_upstreams(io);
    }

    fn event(&mut self, io: &mut Io, event: Event<Post>) {
        self.now = io.now();
        let (what, subject) = subject(&event);
        io.track(what, subject);
        match event {
            Event::Accepted { stream, peer, .. } => self.accepted(io, stream, peer),
            Event::Connected { stream } => self.stream_event(io, StreamEvent::Connected, stream),
            Event::Received { stream, chunk } => {
                self.stream_event(io, StreamEvent::Received(chunk), stream);
            }
            Event::Finished { stream } => self.stream_event(io, StreamEvent::Finished, stream),
            Event::Closed { stream, why } => {
                self.stream_event(io, StreamEvent::Closed(why), stream);
            }
            Event::Drained { stream } => self.stream_event(io, StreamEvent::Drained, stream),
            Event::Timer { token, .. } => self.timer(io, Timer::from_token(token)),
            Event::Exited { child, exit } => self.child_exited(io, child, exit),
            Event::Callback { .. } | Event::Signal(Signal::Hangup) => {}
            // The first asks every core to end in order, the second to wait no longer.
            Event::Signal(_) => self.tell_all(io, || Post::Stop),
            Event::Post { message, .. } => self.post(io, message),
            Event::Retire => self.retire(io),
        }
        if std::mem::take(&mut self.patient_due) {
            self.serve_patient(io, false);
        }
        self.serve_leases(io);
        while let Some(edge) = self.again.pop() {
            self.http_input(io, edge, &[]);
        }
        if self.draining {
            self.drained(io);
        }
        if self.out.capacity() > OUT_KEPT_BYTES {
            self.out = Vec::new();
        }
        io.untrack();
    }
}

/// What the watchdog says this core was doing, and for which stream, timer or child.
fn subject(event: &Event<Post>) -> (&'static str, u64) {
    match event {
        Event::Accepted { stream, .. } => ("accept", stream.to_bits()),
        Event::Connected { stream } => ("connected", stream.to_bits()),
        Event::Received { stream, .. } => ("received", stream.to_bits()),
        Event::Finished { stream } | Event::Closed { stream, .. } => ("closed", stream.to_bits()),
        Event::Drained { stream } => ("drained", stream.to_bits()),
        Event::Timer { token, .. } => ("timer", *token),
        Event::Callback { token } => ("callback", *token),
        Event::Exited { child, .. } => ("child exit", child.to_bits()),
        Event::Post { .. } => ("post", 0),
        Event::Signal(_) | Event::Retire => ("shutdown", 0),
    }
}
