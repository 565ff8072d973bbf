//! Servers that live on this core: starting them, watching them, stopping them.
//!
//! Invariant: a hosted server leaves the table only when its process is reaped and its streams are
//! gone, so nothing survives it unseen.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kern_control::Launch;
use kern_mcp::{Envelope, Method, json, lines};
use kern_route::{ListKind, Lists};
use kern_terms::{Era, Instant, Key};
use kern_upstream::http::HttpLink;
use kern_upstream::instance::{Failure, OwnId, Phase};
use kern_upstream::{Audience, Effect, Instance, Transport};

use super::lease::Lease;
use super::pages::Sieve;
use super::timers::Timer;
use super::words::{Health, Post, Spec, Up, UpstreamId};
use super::{Core, Io};

/// When a slow start is first mentioned in the log; then each time it has taken twice as long.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// One server of this core.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) upstream: UpstreamId,
    pub(super) spec: Arc<Spec>,
    /// The session it runs for, if not for all.
    pub(super) session: Option<Key>,
    /// It runs for calls whose clients can be asked, one after another.
    pub(super) lease: Option<Box<Lease>>,
    pub(super) instance: Instance,
    pub(super) wire: Wire,
    /// Whose its log messages are, where all share it.
    pub(super) audience: Audience,
    /// What it offers; replaced whole.
    pub(super) lists: Option<Arc<Lists>>,
    /// The next lists, while they are fetched.
    pub(super) building: Option<Lists>,
    /// Flights that wait until it is ready; only for a session's own.
    pub(super) waiting: VecDeque<Key>,
    /// Another number each time it was greeted.
    pub(super) epoch: u64,
    /// It is being stopped for good.
    pub(super) stopping: bool,
    /// It was stopped since its session is silent, and starts when that speaks to it.
    pub(super) resting: bool,
    /// It made a task, which its session may ask for however late.
    pub(super) keeps: bool,
    /// Start it again once its previous process is reaped.
    pub(super) reopen: bool,
    pub(super) mentioned: Instant,
    /// Its session may have seen its lists, or lists without it.
    pub(super) known: bool,
    /// When the server of a session went down, until it is up again.
    pub(super) down_since: Option<Instant>,
}

/// What carries messages to a server.
#[derive(Debug)]
pub(super) enum Wire {
    /// Nothing now.
    None,
    /// A child process.
    Pipe(Box<Pipe>),
    /// HTTP.
    Http(Box<HttpWire>),
}

/// A child process.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) child: Key,
    pub(super) pipes: Option<Key>,
    pub(super) errors: Option<Key>,
    pub(super) lines: lines::Decoder,
    pub(super) error_lines: lines::Decoder,
    /// The last lines of its stderr: mostly the reason of its end.
    pub(super) last_errors: VecDeque<String>,
    /// How often it was told to end.
    pub(super) told: u8,
    /// Its output ended.
    pub(super) lost: bool,
    /// Its stderr ended.
    pub(super) silent: bool,
    /// It was reaped.
    pub(super) exited: Option<kern_reactor::ChildExit>,
}

/// A message of an instance's own that waits: its id if it is a request, its method, itself.
type Held = (Option<OwnId>, Method, Vec<u8>);

/// An instance's own connections to an HTTP server.
#[derive(Debug)]
pub(super) struct HttpWire {
    pub(super) link: Option<HttpLink>,
    pub(super) session_id: Option<Rc<[u8]>>,
    /// The server's own stream.
    pub(super) stream: Option<Key>,
    /// Where HTTP+SSE messages are posted.
    pub(super) messages: Option<String>,
    pub(super) last_event: Option<String>,
    /// How long its server wants us to wait before its own stream is opened again.
    pub(super) stream_retry: Option<Duration>,
    pub(super) stream_due: Option<Instant>,
    /// How often in a row it broke, five at most.
    pub(super) stream_failures: u32,
    /// Exchanges of requests of the instance's own.
    pub(super) own: Vec<(OwnId, Key)>,
    /// What waits until the server has `notifications/initialized`: on another connection it would
    /// overtake it, and many servers refuse what comes before.
    pub(super) held: Option<Vec<Held>>,
    /// Until when calls wait for the server's own stream to stand: what it asks there is lost
    /// while nobody listens.
    pub(super) awaited: Option<Instant>,
    /// The lists are in, and wait for that.
    pub(super) listed: bool,
    /// The server is being told that the session is over.
    pub(super) deleting: bool,
}

impl Hosted {
    pub(super) fn is_failing(&self) -> bool {
        self.instance.phase() == Phase::Down
    }

    /// It serves everybody who does not have a server of their own.
    pub(super) fn is_shared(&self) -> bool {
        self.session.is_none() && self.lease.is_none()
    }

    pub(super) fn http(&mut self) -> Option<&mut HttpWire> {
        match &mut self.wire {
            Wire::Http(wire) => Some(wire),
            _ => None,
        }
    }
}

impl Core {
    /// Lets an instance act, and does what it asks for.
    pub(super) fn drive(
        &mut self,
        io: &mut Io,
        key: Key,
        act: impl FnOnce(&mut Instance, &mut Vec<Effect>),
    ) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let mut effects = std::mem::take(&mut self.effects);
        act(&mut hosted.instance, &mut effects);
        for effect in effects.drain(..) {
            self.effect(io, key, effect);
        }
        if self.effects.capacity() < effects.capacity() {
            self.effects = effects;
        }
    }

    fn effect(&mut self, io: &mut Io, key: Key, effect: Effect) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        match effect {
            Effect::Open => self.open_hosted(io, key),
            Effect::Send { id, method, message } => {
                self.send_own(io, key, id, method, &message);
            }
            Effect::Abandon(id) => self.abandon_own(io, key, id),
            Effect::Agreed => self.agreed(io, key),
            Effect::Page { method, result, first } => hosted.take_page(method, &result, first),
            Effect::Listed => self.listed(io, key),
            Effect::Down { why, retry } => self.went_down(io, key, &why, retry),
            Effect::Close => self.close_wire(io, key),
            Effect::Wake(after) => {
                io.timer(after, Timer::Instance(key).token());
            }
            Effect::Updated { message } => self.updated_at_host(io, key, &message),
            Effect::Warn(why) => {
                tracing::warn!(upstream = &*hosted.spec.name, "{why}");
            }
        }
    }

    pub(super) fn instance_wake(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        let random = io.random();
        if let Some(hosted) = self.hosted.get_mut(key) {
            let slow = matches!(hosted.instance.phase(), Phase::Greeting | Phase::Opening);
            let pause = hosted.mentioned.since(hosted.instance.started()).max(PROGRESS_EVERY);
            if slow && now.since(hosted.mentioned) >= pause {
                hosted.mentioned = now;
                let waited_s = now.since(hosted.instance.started()).as_secs();
                tracing::info!(upstream = &*hosted.spec.name, waited_s, "still starting");
            }
            if slow {
                io.timer(PROGRESS_EVERY, Timer::Instance(key).token());
            }
        }
        self.drive(io, key, |instance, fx| instance.wake(now, random, fx));
        self.grace_of_own(io, key);
        let wire = self.hosted.get_mut(key).and_then(|hosted| hosted.http());
        if wire.is_some_and(|wire| wire.awaited.is_some_and(|until| until <= now)) {
            self.stream_stands(io, key);
        }
    }

    /// A session's own server that stays down is no longer offered.
    fn grace_of_own(&mut self, io: &mut Io, key: Key) {
        let grace = Duration::from_millis(self.setup.plan.limits.grace_ms);
        let now = self.now;
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let over = hosted.down_since.is_some_and(|since| now.since(since) >= grace);
        if over
            && hosted.lists.take().is_some()
            && let Some(session) = hosted.session
        {
            self.views.remove(&session);
            self.lists_changed_for(io, session);
        }
    }

    fn open_hosted(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        hosted.mentioned = self.now;
        if hosted.is_shared() {
            tracing::info!(upstream = &*hosted.spec.name, "starting");
        }
        if let Wire::Pipe(pipe) = &hosted.wire {
            hosted.reopen = true;
            let (child, ending) = (pipe.child, pipe.told > 0);
            if !ending {
                self.kill_child(io, child);
            }
            return;
        }
        match hosted.spec.launch {
            Ok(Launch::Command(_)) => self.open_pipe(io, key),
            _ => self.open_http(io, key),
        }
    }

    fn agreed(&mut self, io: &mut Io, key: Key) {
        let epoch = io.random();
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        hosted.epoch = epoch;
        let revision = hosted.instance.revision();
        let mut lists = Lists::new(Arc::clone(&hosted.spec.name), revision);
        let identity = hosted.instance.identity();
        lists.server_info = identity.info.clone();
        lists.capabilities = identity.capabilities.clone();
        lists.instructions = identity.instructions.as_ref().and_then(|raw| json::text(raw));
        hosted.building = Some(lists);
        self.open_own_stream(io, key);
        self.await_stream(io, key);
        self.level_on_start(io, key);
    }

    /// A session may have asked for a log level before its server ran.
    fn level_on_start(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get(key) else { return };
        let session = hosted.session.and_then(|session| self.sessions.get(session));
        let Some(level) = session.and_then(|session| session.log_level) else { return };
        if hosted.instance.can("logging") && hosted.instance.revision().era() == Era::Legacy {
            let params = format!("{{\"level\":\"{}\"}}", format!("{level:?}").to_lowercase());
            self.ask_server(io, key, Method::LoggingSetLevel, &params);
        }
    }

    /// The lists are whole: tell whoever needs them.
    pub(super) fn publish(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        if hosted.lease.is_some() {
            return self.publish_lease(io, key);
        }
        let building = hosted.building.take();
        let Some(building) = building.or_else(|| hosted.lists.as_deref().cloned()) else { return };
        let (id, session) = (hosted.upstream, hosted.session);
        let lists = match session {
            Some(_) => self.lists_among(id, building),
            None => Arc::new(building),
        };
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let first = hosted.lists.is_none();
        let same = hosted.lists.as_ref().is_some_and(|before| same_items(before, &lists));
        let late = self.now.since(hosted.instance.started()) >= super::lists::PATIENCE;
        let known = std::mem::replace(&mut hosted.known, true) || late;
        hosted.down_since = None;
        hosted.lists = Some(Arc::clone(&lists));
        let name = Arc::clone(&hosted.spec.name);
        for warning in &lists.warnings {
            tracing::warn!(upstream = &*name, "left out: {warning}");
        }
        if let Some(session) = session {
            self.views.remove(&session);
            let waiting = hosted.waiting.drain(..).collect::<Vec<_>>();
            self.unpark(io, waiting);
            if known && !same {
                self.lists_changed_for(io, session);
            }
            self.patient_due = true;
            return;
        }
        if first {
            let took_s = self.now.since(hosted.instance.started()).as_secs_f32();
            let took_s = format_args!("{took_s:.1}");
            let tools = lists.items(ListKind::Tools).len();
            let revision = hosted.instance.revision();
            tracing::info!(upstream = &*name, tools, %revision, %took_s, "ready");
        }
        let up = self.up_of(key);
        let first_core = self.setup.cores[0];
        self.post_to(io, first_core, Post::Offer { upstream: id, lists: Some(lists) });
        if let Some(up) = up {
            self.tell_all(io, || Post::Health {
                upstream: id,
                health: Health::Up(Arc::clone(&up)),
            });
        }
    }

    fn up_of(&mut self, key: Key) -> Option<Arc<Up>> {
        let hosted = self.hosted.get_mut(key)?;
        let direct = hosted.instance.transport() == Transport::Http;
        let revision = hosted.instance.revision();
        let legacy = hosted.instance.identity().legacy;
        let session_id = hosted.http().and_then(|wire| Some(wire.session_id.as_ref()?.to_vec()));
        let epoch = hosted.epoch;
        Some(Arc::new(Up { revision, legacy, direct, epoch, session_id }))
    }

    fn went_down(&mut self, io: &mut Io, key: Key, why: &str, retry: Duration) {
        self.forget_asks(key);
        if self.hosted.get(key).is_some_and(|hosted| hosted.lease.is_some()) {
            return self.lease_went_down(io, key, why);
        }
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        hosted.building = None;
        hosted.known = true;
        let (id, session) = (hosted.upstream, hosted.session);
        if session.is_none() {
            hosted.lists = None;
        } else if hosted.down_since.is_none() {
            // Its session goes on seeing what it offered, as others do of a shared one.
            hosted.down_since = Some(self.now);
            let grace = Duration::from_millis(self.setup.plan.limits.grace_ms);
            io.timer(grace, Timer::Instance(key).token());
        }
        let name = Arc::clone(&hosted.spec.name);
        let retry_s = retry.as_secs_f32();
        tracing::warn!(upstream = &*name, retry_s = %format_args!("{retry_s:.1}"), "down: {why}");
        let waiting: Vec<_> = hosted.waiting.drain(..).collect();
        let text: Arc<str> = format!("{why}; it is started again in {retry_s:.1} s").into();
        if let Some(session) = session {
            self.views.remove(&session);
            let lost = self.flights_of(|it| it.private == Some(key) && !it.state.is_with_client());
            for flight in lost.into_iter().chain(waiting) {
                self.fail_flight(io, flight, &format!("upstream {name:?} is down: {text}"));
            }
            self.patient_due = true;
            return;
        }
        let first_core = self.setup.cores[0];
        self.post_to(io, first_core, Post::Offer { upstream: id, lists: None });
        self.tell_all(io, || Post::Health {
            upstream: id,
            health: Health::Down(Arc::clone(&text)),
        });
    }

    /// Ends a server for good.
    pub(super) fn stop_hosted(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        if hosted.stopping {
            return;
        }
        hosted.stopping = true;
        self.drive(io, key, |instance, fx| instance.stop(fx));
        self.forget_if_over(io, key);
    }

    /// Takes a stopped server off the table once nothing of it is left.
    pub(super) fn forget_if_over(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get(key) else { return };
        if !hosted.stopping || matches!(hosted.wire, Wire::Pipe(_)) {
            return;
        }
        if self.delete_session(io, key) {
            return;
        }
        self.close_private_link(io, key);
        let Some(hosted) = self.hosted.remove(key) else { return };
        if let Some(session) = hosted.session {
            self.private.remove(&(session, hosted.upstream));
        }
        if hosted.lease.is_some() {
            self.leases.due(hosted.upstream);
        }
        for flight in self.flights_of(|flight| flight.private == Some(key)) {
            self.fail_flight(io, flight, "the server of this call was stopped");
        }
    }

    pub(super) fn flights_of(&self, which: impl Fn(&super::flight::Flight) -> bool) -> Vec<Key> {
        self.flights.iter().filter(|(_, flight)| which(flight)).map(|(key, _)| key).collect()
    }

    /// An answer to a request of the instance's own.
    pub(super) fn own_answer(
        &mut self,
        io: &mut Io,
        key: Key,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let (now, random) = (self.now, io.random());
        self.drive(io, key, |instance, fx| {
            instance.answer(now, message, envelope, random, fx);
        });
    }

    pub(super) fn own_failed(&mut self, io: &mut Io, key: Key, id: OwnId, failure: Failure) {
        let (now, random) = (self.now, io.random());
        self.drive(io, key, |instance, fx| instance.failed(now, id, failure, random, fx));
    }

    pub(super) fn lost(&mut self, io: &mut Io, key: Key, why: String) {
        let (now, random) = (self.now, io.random());
        self.drive(io, key, |instance, fx| instance.lost(now, why, random, fx));
    }

    /// Asks a server something whose answer does not matter.
    pub(super) fn ask_server(&mut self, io: &mut Io, key: Key, method: Method, params: &str) {
        let params = params.to_owned();
        self.drive(io, key, |instance, fx| instance.ask_aside(method, &params, fx));
    }

    /// Runs a post at once where it is for this core.
    pub(super) fn post_to(&mut self, io: &mut Io, core: kern_terms::CoreId, post: Post) {
        if core == self.id { self.post(io, post) } else { io.post(core, post) }
    }

    pub(super) fn tell_all(&mut self, io: &mut Io, make: impl Fn() -> Post) {
        for core in self.setup.cores.clone() {
            self.post_to(io, core, make());
        }
    }
}

impl Hosted {
    fn take_page(&mut self, method: Method, result: &[u8], first: bool) {
        if self.building.is_none() {
            self.building = self.lists.as_deref().cloned();
        }
        let Some(lists) = &mut self.building else { return };
        let kind = match method {
            Method::ToolsList => ListKind::Tools,
            Method::PromptsList => ListKind::Prompts,
            Method::ResourcesList => ListKind::Resources,
            _ => ListKind::Templates,
        };
        if first {
            lists.clear(kind);
        }
        let instance = &self.instance;
        let mirrors =
            instance.transport() == Transport::Http && instance.revision().era() == Era::Modern;
        let sieve = Sieve { upstream: &self.spec.name, filter: &self.spec.tools, mirrors };
        let sifted = sieve.sift(kind, result);
        if let Err(error) = lists.parse_page(kind, sifted.as_deref().unwrap_or(result)) {
            tracing::warn!(upstream = &*self.spec.name, "{}: {error}", kind.method());
        }
    }
}

/// Whether a client that knows one knows the other: a server that was greeted again mostly offers
/// what it offered before.
fn same_items(before: &Lists, after: &Lists) -> bool {
    ListKind::ALL.into_iter().all(|kind| {
        let (before, after) = (before.items(kind).iter(), after.items(kind).iter());
        before.map(|item| &item.raw).eq(after.map(|item| &item.raw))
    })
}
