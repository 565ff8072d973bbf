//! An instance's own traffic with a server behind a URL: greetings, lists, streams, farewells.

use std::time::Duration;

use kern_mcp::Method;
use kern_terms::{Era, Key, Revision};
use kern_upstream::Transport;
use kern_upstream::http::{Ended, HttpLink, Post as HttpPost};
use kern_upstream::instance::{Failure, OwnId};

use super::hosted::HttpWire;
use super::http_calls::{legacy_headers, modern_headers};
use super::http_link::{ASIDE, BELOW, INITIALIZED, OWN, STREAM, Which};
use super::timers::Timer;
use super::words::{Post, UpstreamId};
use super::{Core, Io};

/// Wait before a server's own stream is opened again.
const STREAM_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait a server can ask for before its own stream is opened again.
const STREAM_AGAIN_MOST: Duration = Duration::from_secs(300);
/// Longest wait for the head of a server's own stream: some send it with the first message only.
const STREAM_HEAD_MOST: Duration = Duration::from_secs(1);
/// How long the end of a session may take to tell.
const DELETE_MOST: Duration = Duration::from_secs(2);

impl Core {
    /// Sends a message of an instance's own.
    pub(super) fn post_own(
        &mut self,
        io: &mut Io,
        key: Key,
        id: Option<OwnId>,
        method: Method,
        message: &[u8],
    ) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let Some(wire) = hosted.http() else { return };
        let tells = method == Method::Initialized;
        if tells {
            wire.held = Some(Vec::new());
        } else if let Some(held) = &mut wire.held {
            return held.push((id, method, message.to_vec()));
        }
        let modern = matches!(method, Method::ServerDiscover)
            || (hosted.instance.is_open() && hosted.instance.revision().era() == Era::Modern);
        let revision = match modern {
            true => Revision::LATEST,
            false => hosted.instance.revision().min(Revision::LEGACY_LATEST),
        };
        let name = if method == Method::Other { "" } else { method.as_str() };
        let aside = if tells { INITIALIZED } else { ASIDE };
        let tag = id.map_or(aside, |id| OWN | id.0);
        let greeting = method == Method::Initialize;
        let sent = self.post_raw(io, key, revision, name, Some(greeting), message, tag);
        if let (false, Some(id)) = (sent, id) {
            let why = Failure::Broken("too many requests wait for this server".into());
            self.own_failed(io, key, id, why);
        } else if !sent && tells {
            let how = Ended::Complete { status: 202 };
            self.initialized(io, key, how);
        }
    }

    /// `notifications/initialized` has arrived: what waited for that follows.
    pub(super) fn initialized(&mut self, io: &mut Io, key: Key, how: Ended) {
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        let Some(held) = wire.held.take() else { return };
        if let Ended::Failed { why, .. } = how {
            let (now, random) = (self.now, io.random());
            return self.drive(io, key, |instance, fx| instance.fail(now, why, random, fx));
        }
        for (id, method, message) in held {
            self.post_own(io, key, id, method, &message);
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn post_raw(
        &mut self,
        io: &mut Io,
        key: Key,
        revision: Revision,
        method: &str,
        greeting: Option<bool>,
        body: &[u8],
        tag: u64,
    ) -> bool {
        let Some(hosted) = self.hosted.get_mut(key) else { return false };
        let Some(wire) = hosted.http() else { return false };
        let path = wire.messages.clone();
        let headers = match (revision.era(), greeting) {
            (Era::Modern, _) => modern_headers(method, None),
            (Era::Legacy, Some(true)) => Vec::new(),
            (Era::Legacy, _) => legacy_headers(revision, wire.session_id.as_deref()),
        };
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let replayable = tag & OWN != 0 || tag == INITIALIZED;
        let posted = self.with_link(io, Which::Private(key), &[], |link, wire, now, _| {
            let path = path.as_deref();
            let body: &[&[u8]] = &[body];
            link.post(wire, now, HttpPost { path, headers: &headers, body, replayable, tag })
        });
        let Some(Ok(exchange)) = posted else { return false };
        if tag & OWN != 0
            && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
        {
            wire.own.push((OwnId(tag & BELOW), exchange));
        }
        true
    }

    /// Gives a request of an instance's own up.
    pub(super) fn abandon_own(&mut self, io: &mut Io, key: Key, id: OwnId) {
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        if let Some(held) = &mut wire.held {
            held.retain(|(own, ..)| *own != Some(id));
        }
        let Some(at) = wire.own.iter().position(|(own, _)| *own == id) else { return };
        let (_, exchange) = wire.own.swap_remove(at);
        self.with_link(io, Which::Private(key), &[], |link, wire, _, _| link.abort(wire, exchange));
    }

    pub(super) fn open_http(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let transport = hosted.instance.transport();
        let Some(wire) = hosted.http() else { return };
        wire.session_id = None;
        wire.messages = None;
        wire.last_event = None;
        wire.held = None;
        wire.awaited = None;
        wire.listed = false;
        wire.deleting = false;
        if transport == Transport::HttpSse {
            self.open_stream(io, key, &[]);
            return;
        }
        let now = self.now;
        self.drive(io, key, |instance, fx| instance.opened(now, fx));
    }

    /// Opens the stream on which an old server speaks up by itself.
    pub(super) fn open_own_stream(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let revision = hosted.instance.revision();
        let open = hosted.instance.is_open();
        if hosted.instance.transport() != Transport::Http || revision.era() != Era::Legacy {
            return;
        }
        let Some(wire) = hosted.http().filter(|wire| open && wire.stream.is_none()) else {
            return;
        };
        let headers = legacy_headers(revision, wire.session_id.as_deref());
        self.open_stream(io, key, &headers);
    }

    /// A server was greeted: calls wait until its own stream stands.
    pub(super) fn await_stream(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let http = hosted.instance.transport() == Transport::Http;
        if let Some(wire) = hosted.http().filter(|wire| http && wire.stream.is_some()) {
            wire.awaited = Some(now + STREAM_HEAD_MOST);
            io.timer(STREAM_HEAD_MOST, Timer::Instance(key).token());
        }
    }

    /// The lists of a server are in.
    pub(super) fn listed(&mut self, io: &mut Io, key: Key) {
        let wire = self.hosted.get_mut(key).and_then(|hosted| hosted.http());
        match wire.filter(|wire| wire.awaited.is_some()) {
            Some(wire) => wire.listed = true,
            None => self.publish(io, key),
        }
    }

    /// A server's own stream stands, or will not.
    pub(super) fn stream_stands(&mut self, io: &mut Io, key: Key) {
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        wire.awaited = None;
        if std::mem::take(&mut wire.listed) {
            self.publish(io, key);
        }
    }

    pub(super) fn open_stream(&mut self, io: &mut Io, key: Key, headers: &[(String, Vec<u8>)]) {
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        let last = wire.last_event.clone();
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let opened = self.with_link(io, Which::Private(key), &[], |link, wire, now, _| {
            link.get_stream(wire, now, None, &headers, last.as_deref(), STREAM)
        });
        if let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) {
            wire.stream = opened.and_then(Result::ok);
        }
    }

    /// Tells a server that a session with it is over; `false` if there is nothing to tell.
    pub(super) fn delete_session(&mut self, io: &mut Io, key: Key) -> bool {
        let Some(hosted) = self.hosted.get_mut(key) else { return false };
        let revision = hosted.instance.revision();
        let Some(wire) = hosted.http() else { return false };
        let (Some(session_id), false) = (wire.session_id.clone(), wire.deleting) else {
            return false;
        };
        wire.deleting = true;
        let headers = legacy_headers(revision, Some(&session_id));
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let sent = self.with_link(io, Which::Private(key), &[], |link, wire, now, _| {
            link.delete(wire, now, &headers, ASIDE | STREAM)
        });
        io.timer(DELETE_MOST, Timer::Stopping(key).token());
        matches!(sent, Some(Ok(_)))
    }

    /// The server forgot the shared session: greet it again, without taking it down.
    pub(super) fn session_lost(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        session_id: Option<Vec<u8>>,
    ) {
        let Some(key) = self.upstreams.get(&id).and_then(|upstream| upstream.hosted) else {
            return;
        };
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        if wire.session_id.as_deref() == session_id.as_deref() {
            self.renew(io, Which::Private(key));
        }
    }

    /// Greets a server that forgot our session. Calls that met its absence wait meanwhile.
    pub(super) fn renew(&mut self, io: &mut Io, which: Which) -> bool {
        let Which::Private(key) = which else { return false };
        let Some(hosted) = self.hosted.get_mut(key) else { return false };
        let open = hosted.instance.is_open();
        let Some(wire) = hosted.http() else { return false };
        // A greeting under way must not lose the session it brings.
        if !open || wire.session_id.take().is_none() {
            return true;
        }
        let mut stale: Vec<Key> = wire.own.drain(..).map(|(_, exchange)| exchange).collect();
        stale.extend(wire.stream.take());
        wire.last_event = None;
        wire.awaited = None;
        wire.listed = false;
        self.forget_asks(key);
        self.with_link(io, which, &[], |link, wire, _, _| {
            for exchange in stale {
                link.abort(wire, exchange);
            }
        });
        let now = self.now;
        self.drive(io, key, |instance, fx| instance.renew(now, fx));
        true
    }

    pub(super) fn stream_ended(&mut self, io: &mut Io, key: Key, how: Ended) {
        let now = self.now;
        let random = io.random();
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let transport = hosted.instance.transport();
        let Some(wire) = hosted.http() else { return };
        wire.stream = None;
        if transport == Transport::HttpSse {
            let why = match how {
                Ended::Complete { .. } => "its event stream ended".to_owned(),
                Ended::Refused { status, .. } => format!("/sse answered with HTTP {status}"),
                Ended::Failed { why, .. } => why,
            };
            return self.drive(io, key, |instance, fx| instance.fail(now, why, random, fx));
        }
        // Without a stream (405) a server just has nothing to say by itself.
        let failed = match how {
            // It may not know the place any more: then from the beginning.
            Ended::Refused { status: 400 | 404, .. } if wire.last_event.take().is_some() => false,
            Ended::Refused { .. } => return,
            Ended::Complete { .. } => false,
            Ended::Failed { .. } => true,
        };
        wire.stream_failures = if failed { (wire.stream_failures + 1).min(5) } else { 0 };
        let wait = wire.stream_retry.unwrap_or_default().clamp(STREAM_AGAIN, STREAM_AGAIN_MOST);
        wire.stream_due = Some(now + wait * (1 << wire.stream_failures));
        if failed {
            self.doubt_own(io, key);
        }
    }

    /// A server could not be reached: is it still there? Asked of its instance, wherever that is.
    pub(super) fn doubt(&mut self, io: &mut Io, which: Which) {
        match which {
            Which::Private(key) => self.doubt_own(io, key),
            Which::Shared(upstream) => {
                let owner = self.setup.owner(upstream);
                self.post_to(io, owner, Post::Doubt { upstream });
            }
        }
    }

    pub(super) fn doubt_at_host(&mut self, io: &mut Io, upstream: UpstreamId) {
        if let Some(key) = self.upstreams.get(&upstream).and_then(|upstream| upstream.hosted) {
            self.doubt_own(io, key);
        }
    }

    fn doubt_own(&mut self, io: &mut Io, key: Key) {
        self.drive(io, key, |instance, fx| instance.probe(fx));
    }
}

impl HttpWire {
    pub(super) fn new(link: HttpLink) -> Self {
        Self {
            link: Some(link),
            session_id: None,
            stream: None,
            messages: None,
            last_event: None,
            stream_retry: None,
            stream_due: None,
            stream_failures: 0,
            own: Vec::new(),
            held: None,
            awaited: None,
            listed: false,
            deleting: false,
        }
    }
}

/// The path a server names for messages. Another host than its own is not believed: only the path
/// is taken.
pub(super) fn same_host_path(named: &[u8]) -> String {
    let named = String::from_utf8_lossy(named);
    let named = named.trim();
    match named.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/".to_owned(), |at| rest[at..].to_owned()),
        None if named.starts_with('/') => named.to_owned(),
        None => format!("/{named}"),
    }
}
