//! Servers behind a URL: calls, an instance's own requests, its streams, the end of its session.
//!
//! A tag tells what an exchange is for: the number of a flight, or one of the kinds below in its
//! high bits. Invariant: a link is out of its place only while it reads or writes, never while a
//! message of it is handled.

use std::sync::Arc;
use std::time::Duration;

use kern_control::Remote;
use kern_mcp::headers::{ParamHeaders, encode_value_into};
use kern_mcp::{Envelope, Method, Span, json, scan};
use kern_reactor::Target;
use kern_terms::{Era, FlightId, Instant, Key, Revision};
use kern_upstream::Transport;
use kern_upstream::call::{self, Call};
use kern_upstream::http::{Ended, Happening, HttpLink, HttpTarget, LinkLimits, Post as HttpPost};
use kern_upstream::instance::{Failure, OwnId};

use super::hosted::{HttpWire, Wire};
use super::timers::Timer;
use super::words::{Post, Up, UpstreamId};
use super::{Core, Io, Owner, StreamEvent};

/// A request of an instance's own; its number is below.
const OWN: u64 = 1 << 63;
/// A server's own stream.
const STREAM: u64 = 1 << 62;
/// Something whose answer does not matter.
const ASIDE: u64 = 1 << 61;
/// A call whose answer comes on another stream; its flight is below.
const POSTED: u64 = 1 << 60;
const BELOW: u64 = (1 << 60) - 1;

/// Wait before a server's own stream is opened again.
const STREAM_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a session may take to tell.
const DELETE_MOST: Duration = Duration::from_secs(2);

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Shared(UpstreamId),
    Private(Key),
}

/// What a link needs from below, over the reactor.
struct IoWire<'a> {
    io: &'a mut Io,
    owners: &'a mut hashbrown::HashMap<Key, Owner>,
    owner: Owner,
    target: Target,
}

impl kern_upstream::http::Wire for IoWire<'_> {
    fn connect(&mut self) -> Key {
        let stream = self.io.connect(self.target.clone());
        self.owners.insert(stream, self.owner);
        stream
    }

    fn send(&mut self, stream: Key, parts: &[&[u8]]) {
        self.io.send_with(stream, |out| {
            for part in parts {
                out.extend_from_slice(part);
            }
        });
    }

    fn close(&mut self, stream: Key) {
        self.owners.remove(&stream);
        self.io.close(stream, Duration::from_secs(1));
    }
}

impl Core {
    pub(super) fn new_link(&self, remote: &Remote) -> HttpLink {
        let limits = &self.setup.plan.limits;
        let target = HttpTarget {
            tls: remote.endpoint.tls,
            host: remote.endpoint.host.clone(),
            port: remote.endpoint.port,
            path: remote.endpoint.path.clone(),
            headers: remote
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().as_bytes().to_vec()))
                .collect(),
        };
        HttpLink::new(
            Arc::new(target),
            LinkLimits {
                queue_max: limits.queue,
                body_bytes_max: limits.body_bytes,
                ..LinkLimits::default()
            },
        )
    }

    /// Works on a link with its wire, then handles what came of it.
    fn with_link<R>(
        &mut self,
        io: &mut Io,
        which: Which,
        chunk: &[u8],
        work: impl FnOnce(&mut HttpLink, &mut IoWire<'_>, Instant, &mut Vec<Happening>) -> R,
    ) -> Option<R> {
        let now = self.now;
        let (slot, spec, owner) = match which {
            Which::Shared(id) => {
                let upstream = self.upstreams.get_mut(&id)?;
                (&mut upstream.link, &upstream.spec, Owner::Shared(id))
            }
            Which::Private(key) => {
                let hosted = self.hosted.get_mut(key)?;
                let Wire::Http(wire) = &mut hosted.wire else { return None };
                (&mut wire.link, &hosted.spec, Owner::Private(key))
            }
        };
        let Ok(kern_control::Launch::Remote(remote)) = &spec.launch else { return None };
        let (host, port) = (remote.endpoint.host.clone(), remote.endpoint.port);
        let target = match remote.endpoint.tls {
            true => Target::Tls { host, port },
            false => Target::Tcp { host, port },
        };
        let mut happenings = std::mem::take(&mut self.happenings);
        let link = slot.as_mut()?;
        let mut wire = IoWire { io, owners: &mut self.owners, owner, target };
        let result = work(link, &mut wire, now, &mut happenings);
        for happening in happenings.drain(..) {
            self.happened(io, which, chunk, happening);
        }
        if self.happenings.capacity() == 0 {
            self.happenings = happenings;
        }
        Some(result)
    }

    pub(super) fn shared_event(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        stream: Key,
        event: StreamEvent,
    ) {
        self.link_event(io, Which::Shared(id), stream, event);
    }

    pub(super) fn private_event(&mut self, io: &mut Io, key: Key, stream: Key, event: StreamEvent) {
        self.link_event(io, Which::Private(key), stream, event);
    }

    fn link_event(&mut self, io: &mut Io, which: Which, stream: Key, event: StreamEvent) {
        match event {
            StreamEvent::Connected => {
                self.with_link(io, which, &[], |link, wire, now, _| {
                    link.connected(wire, now, stream);
                });
            }
            StreamEvent::Received(chunk) => {
                self.with_link(io, which, &chunk, |link, wire, now, out| {
                    link.received(wire, now, stream, &chunk, out);
                });
            }
            StreamEvent::Finished => {
                self.with_link(io, which, &[], |link, wire, now, out| {
                    link.finished(wire, now, stream, out);
                });
            }
            StreamEvent::Closed(why) => {
                let why = closed_text(&why);
                self.with_link(io, which, &[], |link, wire, now, out| {
                    link.closed(wire, now, stream, why, out);
                });
            }
            StreamEvent::Drained => {}
        }
    }

    /// Sends a call over this core's connections to a shared server.
    pub(super) fn post_shared(&mut self, io: &mut Io, key: Key, up: &Up, call: &Call<'_>) {
        let Some(flight) = self.flights.get(key) else { return };
        let id = flight.upstream;
        if up.session_id.is_some() && flight.parked.is_none() {
            self.keep(key, call);
        }
        let session_id = up.session_id.clone();
        self.post_call(io, Which::Shared(id), key, call, up.revision, session_id.as_deref());
    }

    /// Keeps what is needed to send a call again should the server have forgotten our session.
    fn keep(&mut self, key: Key, call: &Call<'_>) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.parked = Some(Box::new(super::flight::Parked {
                message: bytes::Bytes::copy_from_slice(call.message),
                envelope: *call.envelope,
                name: call.name.map(str::to_owned),
                uri: call.uri.map(str::to_owned),
                client_info: bytes::Bytes::copy_from_slice(call.client_info),
            }));
        }
    }

    /// Sends a call to a session's own server.
    pub(super) fn send_private(&mut self, io: &mut Io, key: Key, hosted: Key, call: &Call<'_>) {
        use kern_upstream::instance::Phase;
        let Some(known) = self.hosted.get(hosted) else {
            return self.fail_flight(io, key, "the server of this session was stopped");
        };
        match known.instance.phase() {
            Phase::Listing | Phase::Ready => {}
            Phase::Down => {
                let why = format!("upstream {:?} is down for this session", known.spec.name);
                return self.fail_flight(io, key, &why);
            }
            _ => return self.park(io, key, call),
        }
        match (&known.wire, known.instance.transport()) {
            (Wire::Http(wire), Transport::Http) => {
                let session_id = wire.session_id.clone();
                let revision = known.instance.revision();
                let which = Which::Private(hosted);
                self.post_call(io, which, key, call, revision, session_id.as_deref());
            }
            _ => self.send_hosted(io, self.flight_id(key), hosted, call),
        }
    }

    fn post_call(
        &mut self,
        io: &mut Io,
        which: Which,
        key: Key,
        call: &Call<'_>,
        revision: Revision,
        session_id: Option<&[u8]>,
    ) {
        let id = self.flight_id(key);
        let mut body = Vec::with_capacity(call.message.len() + 256);
        call::encode(call, id, revision, &mut body);
        let headers = self.call_headers(key, call, revision, session_id);
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let replayable = call.envelope.method != Method::ToolsCall;
        let exchange = self.with_link(io, which, &[], |link, wire, now, _| {
            let body: &[&[u8]] = &[&body];
            let tag = id.number();
            link.post(wire, now, HttpPost { path: None, headers: &headers, body, replayable, tag })
        });
        match exchange {
            Some(Ok(exchange)) => {
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.exchange = Some(exchange);
                }
            }
            Some(Err(error)) => self.fail_flight(io, key, &error.to_string()),
            None => self.fail_flight(io, key, "the upstream was removed"),
        }
    }

    fn call_headers(
        &self,
        key: Key,
        call: &Call<'_>,
        revision: Revision,
        session_id: Option<&[u8]>,
    ) -> Vec<(String, Vec<u8>)> {
        let envelope = call.envelope;
        if revision.era() == Era::Legacy {
            return legacy_headers(revision, session_id);
        }
        let text = |span: Span| json::text(span.of(call.message)).unwrap_or_default();
        let method = envelope.method_span.map(text).unwrap_or_default();
        let subject = envelope.subject().map(|span| match envelope.method {
            Method::ResourcesRead => call.uri.map_or_else(|| text(span), str::to_owned),
            _ => call.name.map_or_else(|| text(span), str::to_owned),
        });
        let mut headers = modern_headers(&method, subject.as_deref());
        if let (Method::ToolsCall, Some(name)) = (envelope.method, &subject) {
            self.param_headers(key, call, name, &mut headers);
        }
        headers
    }

    /// `Mcp-Param-*`: arguments that the tool's schema wants mirrored (2026-07-28,
    /// basic/transports/streamable-http).
    fn param_headers(
        &self,
        key: Key,
        call: &Call<'_>,
        tool: &str,
        headers: &mut Vec<(String, Vec<u8>)>,
    ) {
        let upstream =
            self.flights.get(key).and_then(|flight| self.upstreams.get(&flight.upstream));
        let view = upstream.and_then(|upstream| self.catalog.one(&upstream.spec.name));
        let Some(target) = view.and_then(|view| view.tool(tool)) else { return };
        let raw: &[u8] = &target.item.raw;
        if memchr::memmem::find(raw, b"x-mcp-header").is_none() {
            return;
        }
        let Some(schema) = json::get(raw, Span::all(raw), "inputSchema") else { return };
        let Ok(mirrored) = ParamHeaders::from_schema(raw, schema) else { return };
        let each = |name: &str, value: &[u8]| headers.push((name.to_owned(), value.to_vec()));
        if let Err(error) = mirrored.for_arguments(call.message, call.envelope.arguments, each) {
            tracing::debug!(tool, ?error, "an argument can't be mirrored in a header");
        }
    }

    /// Sends a call whose answer comes on the server's own stream (HTTP+SSE).
    pub(super) fn post_message(
        &mut self,
        io: &mut Io,
        hosted: Key,
        id: FlightId,
        call: &Call<'_>,
        revision: Revision,
    ) {
        let mut body = Vec::new();
        call::encode(call, id, revision, &mut body);
        let sent = self.post_raw(io, hosted, revision, "", None, &body, POSTED | id.number());
        if !sent {
            let upstream = self.hosted.get(hosted).map(|hosted| hosted.upstream);
            self.give_back(io, id, upstream, "too many requests wait for it");
        }
    }

    /// Sends a message of an instance's own.
    pub(super) fn post_own(
        &mut self,
        io: &mut Io,
        key: Key,
        id: Option<OwnId>,
        method: Method,
        message: &[u8],
    ) {
        let Some(hosted) = self.hosted.get(key) else { return };
        let modern = matches!(method, Method::ServerDiscover)
            || (hosted.instance.is_open() && hosted.instance.revision().era() == Era::Modern);
        let revision = match modern {
            true => Revision::LATEST,
            false => hosted.instance.revision().min(Revision::LEGACY_LATEST),
        };
        let name = if method == Method::Other { "" } else { method.as_str() };
        let tag = id.map_or(ASIDE, |id| OWN | id.0);
        let greeting = method == Method::Initialize;
        let sent = self.post_raw(io, key, revision, name, Some(greeting), message, tag);
        if let (false, Some(id)) = (sent, id) {
            let why = Failure::Broken("too many requests wait for this server".into());
            self.own_failed(io, key, id, why);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn post_raw(
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
        let replayable = tag & OWN != 0;
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
        let Some(at) = wire.own.iter().position(|(own, _)| *own == id) else { return };
        let (_, exchange) = wire.own.swap_remove(at);
        self.with_link(io, Which::Private(key), &[], |link, wire, _, _| link.abort(wire, exchange));
    }

    /// A call sent over HTTP is no longer wanted: in the new era closing its exchange says so, in
    /// the old one a notification does.
    pub(super) fn cancel_exchange(&mut self, io: &mut Io, key: Key, exchange: Key, why: &str) {
        let Some(flight) = self.flights.get(key) else { return };
        let (upstream, private) = (flight.upstream, flight.private);
        let id = self.flight_id(key);
        let which = private.map_or(Which::Shared(upstream), Which::Private);
        self.with_link(io, which, &[], |link, wire, _, _| link.abort(wire, exchange));
        let hosted = private.or_else(|| self.upstreams.get(&upstream)?.hosted);
        match hosted.and_then(|key| self.hosted.get(key).map(|hosted| (key, hosted))) {
            Some((key, hosted)) if hosted.instance.revision().era() == Era::Legacy => {
                self.cancel_hosted(io, key, id, why);
            }
            Some(_) => {}
            None => {
                let owner = self.setup.owner(upstream);
                io.post(owner, Post::Cancel { upstream, flight: id });
            }
        }
    }

    pub(super) fn open_http(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let transport = hosted.instance.transport();
        let Some(wire) = hosted.http() else { return };
        wire.session_id = None;
        wire.messages = None;
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
        if hosted.instance.transport() != Transport::Http || revision.era() != Era::Legacy {
            return;
        }
        let Some(wire) = hosted.http() else { return };
        let headers = legacy_headers(revision, wire.session_id.as_deref());
        self.open_stream(io, key, &headers);
    }

    fn open_stream(&mut self, io: &mut Io, key: Key, headers: &[(String, Vec<u8>)]) {
        let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) else { return };
        let last = wire.last_event.take();
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let opened = self.with_link(io, Which::Private(key), &[], |link, wire, now, _| {
            link.get_stream(wire, now, None, &headers, last.as_deref(), STREAM)
        });
        if let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) {
            wire.stream = opened.and_then(Result::ok);
        }
    }

    /// Closes every connection of an instance's own.
    pub(super) fn close_private_link(&mut self, io: &mut Io, key: Key) {
        self.with_link(io, Which::Private(key), &[], |link, wire, _, out| {
            link.close_all(wire, out);
            out.clear();
        });
        if let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) {
            wire.own.clear();
            wire.stream = None;
            wire.stream_due = None;
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

    pub(super) fn close_shared_link(&mut self, io: &mut Io, id: UpstreamId) {
        self.with_link(io, Which::Shared(id), &[], |link, wire, _, out| link.close_all(wire, out));
    }

    pub(super) fn sweep_links(&mut self, io: &mut Io) {
        let now = self.now;
        let shared: Vec<_> = self.upstreams.keys().copied().map(Which::Shared).collect();
        let private: Vec<_> = self.hosted.keys().into_iter().map(Which::Private).collect();
        for which in shared.into_iter().chain(private) {
            self.with_link(io, which, &[], |link, wire, now, out| link.tick(wire, now, out));
        }
        for key in self.hosted.keys() {
            let due = self
                .hosted
                .get_mut(key)
                .and_then(|hosted| hosted.http())
                .is_some_and(|wire| wire.stream_due.take_if(|due| *due <= now).is_some());
            if due {
                self.open_own_stream(io, key);
            }
        }
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
        if wire.session_id == session_id {
            wire.session_id = None;
            self.close_private_link(io, key);
            let now = self.now;
            self.drive(io, key, |instance, fx| instance.renew(now, fx));
        }
    }

    fn happened(&mut self, io: &mut Io, which: Which, chunk: &[u8], happening: Happening) {
        match happening {
            Happening::Head { tag, status, session_id, .. } => {
                if let (Which::Private(key), true, 200..=299) = (which, tag & OWN != 0, status)
                    && let Some(session_id) = session_id
                    && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
                {
                    wire.session_id = Some(session_id);
                }
            }
            Happening::Message { tag, body, event, id, .. } => {
                let message = body.bytes(chunk);
                self.link_message(io, which, tag, message, event.as_deref(), id);
            }
            Happening::Ended { tag, how, .. } => self.link_ended(io, which, tag, how),
        }
    }

    fn link_message(
        &mut self,
        io: &mut Io,
        which: Which,
        tag: u64,
        message: &[u8],
        event: Option<&str>,
        id: Option<String>,
    ) {
        if let Which::Private(key) = which
            && tag & STREAM != 0
            && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
        {
            if id.is_some() {
                wire.last_event = id;
            }
            if event == Some("endpoint") {
                wire.messages = Some(same_host_path(message));
                let now = self.now;
                return self.drive(io, key, |instance, fx| instance.opened(now, fx));
            }
        }
        if message.is_empty() {
            return;
        }
        let envelope = match scan(message, &self.scan_limits) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "an upstream sent what is no message");
                return;
            }
        };
        self.link_envelope(io, which, tag, message, &envelope);
    }

    fn link_envelope(
        &mut self,
        io: &mut Io,
        which: Which,
        tag: u64,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let hosted = match which {
            Which::Private(key) => Some(key),
            Which::Shared(_) => None,
        };
        if tag & (OWN | STREAM | ASIDE | POSTED) != 0 {
            if let Some(key) = hosted {
                self.from_server(io, key, message, envelope);
            }
            return;
        }
        if let Some(key) = FlightId::from_number(tag).and_then(|id| self.flight_key(id)) {
            self.on_call_stream(io, key, hosted, message, envelope);
        }
    }

    fn link_ended(&mut self, io: &mut Io, which: Which, tag: u64, how: Ended) {
        if tag & (OWN | STREAM | ASIDE) == 0 {
            return self.call_ended(io, which, tag, how);
        }
        let Which::Private(key) = which else { return };
        if tag & OWN != 0 {
            let id = OwnId(tag & BELOW);
            if let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http()) {
                wire.own.retain(|(own, _)| *own != id);
            }
            let failure = match how {
                Ended::Complete { .. } => Failure::Broken("it ended without an answer".into()),
                Ended::Refused { status, body, .. } => Failure::Status { status, body },
                Ended::Failed { why, .. } => Failure::Broken(why),
            };
            return self.own_failed(io, key, id, failure);
        }
        if tag & ASIDE != 0 {
            return self.forget_if_over(io, key);
        }
        self.stream_ended(io, key, how);
    }

    fn stream_ended(&mut self, io: &mut Io, key: Key, how: Ended) {
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
        if !matches!(how, Ended::Refused { .. }) {
            wire.stream_due = Some(now + STREAM_AGAIN);
        }
    }

    fn call_ended(&mut self, io: &mut Io, which: Which, tag: u64, how: Ended) {
        let Some(key) = FlightId::from_number(tag & BELOW).and_then(|id| self.flight_key(id))
        else {
            if tag & POSTED != 0 && !matches!(how, Ended::Complete { .. }) {
                tracing::debug!(?how, "a posted message was not taken");
            }
            return;
        };
        match how {
            Ended::Complete { .. } if tag & POSTED != 0 => {}
            Ended::Complete { .. } => {
                self.fail_flight(io, key, "the server ended its answer without a response");
            }
            Ended::Failed { why, .. } => self.fail_flight(io, key, &why),
            Ended::Refused { status, body, .. } => self.call_refused(io, which, key, status, &body),
        }
    }

    fn call_refused(&mut self, io: &mut Io, which: Which, key: Key, status: u16, body: &[u8]) {
        if status == 404 && self.try_again(io, which, key) {
            return;
        }
        if let Ok(envelope) = scan(body, &self.scan_limits)
            && envelope.kind == kern_mcp::Kind::Error
        {
            return self.on_call_stream(io, key, None, body, &envelope);
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let why = format!("the server answered with HTTP {status}: {}", text.trim());
        self.fail_flight(io, key, why.trim_end_matches([':', ' ']));
    }

    /// A server that forgot our session did not act on the call: greet it anew, then send again.
    fn try_again(&mut self, io: &mut Io, which: Which, key: Key) -> bool {
        let Which::Shared(id) = which else { return false };
        let Some(flight) = self.flights.get_mut(key) else { return false };
        if flight.parked.is_none() || std::mem::replace(&mut flight.sent_again, true) {
            return false;
        }
        flight.exchange = None;
        let Some(upstream) = self.upstreams.get_mut(&id) else { return false };
        let super::words::Health::Up(up) = &upstream.health else { return false };
        let session_id = up.session_id.clone();
        upstream.waiting.push_back(key);
        let owner = self.setup.owner(id);
        self.post_to(io, owner, Post::SessionLost { upstream: id, session_id });
        true
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
            stream_due: None,
            own: Vec::new(),
            deleting: false,
        }
    }
}

fn legacy_headers(revision: Revision, session_id: Option<&[u8]>) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    // The header exists since 2025-06-18 (basic/transports).
    if revision >= Revision::V2025_06_18 {
        headers.push(("mcp-protocol-version".into(), revision.as_str().as_bytes().to_vec()));
    }
    if let Some(session_id) = session_id {
        headers.push(("mcp-session-id".into(), session_id.to_vec()));
    }
    headers
}

fn modern_headers(method: &str, subject: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let version = Revision::LATEST.as_str().as_bytes().to_vec();
    let mut headers = vec![("mcp-protocol-version".to_owned(), version)];
    let mut push = |name: &str, text: &str| {
        let mut value = Vec::new();
        encode_value_into(&mut value, text);
        headers.push((name.to_owned(), value));
    };
    if !method.is_empty() {
        push("mcp-method", method);
    }
    if let Some(subject) = subject {
        push("mcp-name", subject);
    }
    headers
}

/// The path a server names for messages. Another host than its own is not believed: only the path
/// is taken.
fn same_host_path(named: &[u8]) -> String {
    let named = String::from_utf8_lossy(named);
    let named = named.trim();
    match named.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/".to_owned(), |at| rest[at..].to_owned()),
        None if named.starts_with('/') => named.to_owned(),
        None => format!("/{named}"),
    }
}

fn closed_text(why: &kern_reactor::Closed) -> String {
    match why {
        kern_reactor::Closed::Orderly => "the connection was closed".to_owned(),
        kern_reactor::Closed::Refused(error) => format!("cannot connect: {error}"),
        kern_reactor::Closed::Tls(why) => format!("TLS: {why}"),
        kern_reactor::Closed::Broken(error) => format!("the connection broke: {error}"),
    }
}
