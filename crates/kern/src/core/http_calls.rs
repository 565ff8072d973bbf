//! Calls to servers behind a URL: how they are sent, and what becomes of them.
//!
//! Invariant: a call is sent a second time only when the server said that it did not act on it.

use std::borrow::Cow;
use std::rc::Rc;

use kern_mcp::headers::encode_value;
use kern_mcp::{Method, Span, json, scan};
use kern_session::call::Event;
use kern_terms::{Era, FlightId, Key, Revision};
use kern_upstream::Transport;
use kern_upstream::call::{self, Call};
use kern_upstream::http::{Ended, Post as HttpPost};

use super::flight::Parked;
use super::hosted::Wire;
use super::http_link::{BELOW, POSTED, Which};
use super::words::Post;
use super::{Core, Io};

impl Core {
    /// Sends a call over this core's connections to a shared server.
    pub(super) fn post_shared(
        &mut self,
        io: &mut Io,
        key: Key,
        call: &Call<'_>,
        revision: Revision,
        session_id: Option<Rc<[u8]>>,
    ) {
        let Some(flight) = self.flights.get(key) else { return };
        let id = flight.upstream;
        if session_id.is_some() && flight.parked.is_none() {
            self.keep(key, call);
        }
        self.post_call(io, Which::Shared(id), key, call, revision, session_id);
    }

    /// Keeps what is needed to send a call again should the server have forgotten our session.
    pub(super) fn keep(&mut self, key: Key, call: &Call<'_>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let memory = flight.parked.take().or_else(|| self.spare_calls.pop());
        flight.parked = Some(match memory {
            Some(mut kept) => {
                kept.refill(call);
                kept
            }
            None => Parked::of(call),
        });
    }

    /// Sends a call to a session's own server.
    pub(super) fn send_private(&mut self, io: &mut Io, key: Key, hosted: Key, call: &Call<'_>) {
        use kern_upstream::instance::Phase;
        let Some(known) = self.hosted.get(hosted) else {
            return self.fail_flight(io, key, "the server of this session was stopped");
        };
        // On another connection it would overtake `initialized` or the stream its server asks on.
        let greeting = matches!(
            &known.wire,
            Wire::Http(wire) if wire.held.is_some() || wire.awaited.is_some()
        );
        match known.instance.phase() {
            _ if greeting => return self.park(io, key, call),
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
                if session_id.is_some() {
                    self.keep(key, call);
                }
                let which = Which::Private(hosted);
                self.post_call(io, which, key, call, revision, session_id);
            }
            _ => {
                self.call_step(key, Event::Sent);
                self.send_hosted(io, self.flight_id(key), hosted, call);
            }
        }
    }

    pub(super) fn post_call(
        &mut self,
        io: &mut Io,
        which: Which,
        key: Key,
        call: &Call<'_>,
        revision: Revision,
        session_id: Option<Rc<[u8]>>,
    ) {
        let id = self.flight_id(key);
        let mut body = std::mem::take(&mut self.out);
        body.clear();
        call::encode(call, id, revision, &mut self.scratch, &mut body);
        let headers = self.call_headers(key, call, revision, session_id.as_deref());
        let replayable = call.envelope.method != Method::ToolsCall;
        let parts = self.may_flow(key, revision);
        self.call_step(key, Event::Sent);
        let exchange = headers.with(|headers| {
            self.with_link(io, which, &[], |link, wire, now, _| {
                let body: &[&[u8]] = &[&body];
                let tag = id.number();
                let post = HttpPost { path: None, headers, body, replayable, tag };
                let posted = link.post(wire, now, post);
                if let (Ok(exchange), true) = (posted, parts) {
                    link.hand_parts(exchange);
                }
                posted
            })
        });
        self.out = body;
        match exchange {
            Some(Ok(exchange)) => {
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.exchange = Some(exchange);
                    flight.sent_in = session_id;
                }
            }
            failed => {
                self.call_step(key, Event::Queued);
                match failed {
                    Some(Err(error)) => self.blame(io, key, &error.to_string()),
                    _ => self.fail_flight(io, key, "the upstream was removed"),
                }
            }
        }
    }

    /// The headers of a call, for a server that speaks `revision`.
    fn call_headers<'a>(
        &self,
        key: Key,
        call: &Call<'a>,
        revision: Revision,
        session_id: Option<&'a [u8]>,
    ) -> CallHeaders<'a> {
        let envelope = call.envelope;
        if revision.era() == Era::Legacy {
            return CallHeaders::legacy(revision, session_id);
        }
        let text = |span: Span| json::unescape(span.of(call.message)).unwrap_or_default();
        let method = envelope.method_span.map(text).unwrap_or_default();
        let other = match envelope.method {
            Method::ResourcesRead => call.uri,
            _ => call.name,
        };
        let subject =
            envelope.subject().map(|span| other.map_or_else(|| text(span), Cow::Borrowed));
        let mut headers = CallHeaders::modern(method, subject.clone());
        if let (Method::ToolsCall, Some(name)) = (envelope.method, &subject) {
            self.param_headers(key, call, name, &mut headers);
        }
        headers
    }

    /// `Mcp-Param-*`: arguments that the tool's schema wants mirrored (2026-07-28,
    /// basic/transports/streamable-http).
    fn param_headers(&self, key: Key, call: &Call<'_>, tool: &str, headers: &mut CallHeaders<'_>) {
        let upstream =
            self.flights.get(key).and_then(|flight| self.upstreams.get(&flight.upstream));
        let view = upstream.and_then(|upstream| self.catalog.one(&upstream.spec.name));
        let Some(view) = view.filter(|view| view.mirrors()) else { return };
        let Some(mirrored) = view.tool(tool).and_then(|target| target.item.mirrored.as_ref())
        else {
            return;
        };
        let each = |name: &str, value: &[u8]| headers.params.push((name.into(), value.to_vec()));
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
        call::encode(call, id, revision, &mut self.scratch, &mut body);
        let sent = self.post_raw(io, hosted, revision, "", None, &body, POSTED | id.number());
        if !sent {
            let upstream = self.hosted.get(hosted).map(|hosted| hosted.upstream);
            self.give_back(io, id, upstream, "too many requests wait for it");
        }
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

    pub(super) fn call_ended(&mut self, io: &mut Io, which: Which, tag: u64, how: Ended) {
        let Some(key) = FlightId::from_number(tag & BELOW).and_then(|id| self.flight_key(id))
        else {
            return self.posted_elsewhere(io, which, tag, how);
        };
        match how {
            Ended::Complete { .. } if tag & POSTED != 0 => {}
            Ended::Complete { .. } if self.will_resume(io, which, key, &how) => {}
            Ended::Complete { .. } => {
                self.blame(io, key, "the server ended its answer without a response");
            }
            Ended::Failed { .. } if self.will_resume(io, which, key, &how) => {
                self.doubt(io, which);
            }
            Ended::Failed { why, .. } => {
                self.blame(io, key, &why);
                self.doubt(io, which);
            }
            Ended::Refused { status, .. } if self.asked_for_rest(key) => {
                let why = format!(
                    "the server ended its answer without a response and does not let it be \
                     resumed (HTTP {status})"
                );
                self.fail_flight(io, key, &why);
            }
            Ended::Refused { status, body, .. } => self.call_refused(io, which, key, status, &body),
        }
    }

    /// A posted call of another core, or one that is over: the other core hears of a failure.
    fn posted_elsewhere(&mut self, io: &mut Io, which: Which, tag: u64, how: Ended) {
        let why = match how {
            Ended::Complete { .. } => return,
            Ended::Failed { why, .. } => why,
            Ended::Refused { status, .. } => format!("the server answered with HTTP {status}"),
        };
        let Which::Private(hosted) = which else { return };
        let upstream = self.hosted.get(hosted).map(|hosted| hosted.upstream);
        if let (Some(id), true) = (FlightId::from_number(tag & BELOW), tag & POSTED != 0) {
            self.give_back(io, id, upstream, &why);
        }
    }

    pub(super) fn call_refused(
        &mut self,
        io: &mut Io,
        which: Which,
        key: Key,
        status: u16,
        body: &[u8],
    ) {
        // Some servers say of a session they don't know that the request is a bad one.
        let session_lost = status == 404 || (status == 400 && mentions_session(body));
        if session_lost && self.try_again(io, which, key) {
            return;
        }
        if let Ok(envelope) = scan(body, &self.scan_limits)
            && envelope.kind == kern_mcp::Kind::Error
        {
            self.on_call_stream(io, key, None, body, &envelope);
            // Some servers answer a refused request under an id of their own.
            if self.flights.get(key).is_none() {
                return;
            }
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let why = format!("the server answered with HTTP {status}: {}", text.trim());
        self.blame(io, key, why.trim_end_matches([':', ' ']));
    }

    /// A server that forgot our session did not act on the call: greet it anew, then send again.
    pub(super) fn try_again(&mut self, io: &mut Io, which: Which, key: Key) -> bool {
        let Some(flight) = self.flights.get_mut(key) else { return false };
        if flight.parked.is_none() || std::mem::replace(&mut flight.sent_again, true) {
            return false;
        }
        flight.exchange = None;
        let sent_in = flight.sent_in.take();
        self.call_step(key, Event::Queued);
        // Others may have met the same before: then there is a new session, or will be.
        let now_in = match which {
            Which::Shared(id) => match self.upstreams.get(&id).map(|upstream| &upstream.health) {
                Some(super::words::Health::Up(_)) => self.upstreams[&id].session_id.clone(),
                _ => return false,
            },
            Which::Private(hosted) => match self.hosted.get_mut(hosted) {
                Some(hosted) => hosted.http().and_then(|wire| wire.session_id.clone()),
                None => return false,
            },
        };
        if now_in != sent_in {
            self.unpark(io, [key]);
            return true;
        }
        match which {
            Which::Private(hosted) => {
                if let Some(hosted) = self.hosted.get_mut(hosted) {
                    hosted.waiting.push_back(key);
                }
                self.renew(io, which)
            }
            Which::Shared(id) => {
                if let Some(upstream) = self.upstreams.get_mut(&id) {
                    upstream.waiting.push_back(key);
                }
                let owner = self.setup.owner(id);
                let session_id = sent_in.map(|id| id.to_vec());
                self.post_to(io, owner, Post::SessionLost { upstream: id, session_id });
                true
            }
        }
    }
}

fn mentions_session(body: &[u8]) -> bool {
    body.windows(7).any(|word| word.eq_ignore_ascii_case(b"session"))
}

pub(super) fn legacy_headers(
    revision: Revision,
    session_id: Option<&[u8]>,
) -> Vec<(String, Vec<u8>)> {
    CallHeaders::legacy(revision, session_id).owned()
}

pub(super) fn modern_headers(method: &str, subject: Option<&str>) -> Vec<(String, Vec<u8>)> {
    CallHeaders::modern(method.into(), subject.map(Cow::Borrowed)).owned()
}

/// Headers that every call has: revision, method and name; or revision and session.
const FIRST_MAX: usize = 3;

/// The headers of one call, without memory of their own for what every call has.
#[derive(Debug, Default)]
struct CallHeaders<'a> {
    first: [(&'static str, Cow<'a, [u8]>); FIRST_MAX],
    count: usize,
    /// Mirrored arguments.
    params: Vec<(String, Vec<u8>)>,
}

impl<'a> CallHeaders<'a> {
    fn push(&mut self, name: &'static str, value: Cow<'a, [u8]>) {
        self.first[self.count] = (name, value);
        self.count += 1;
    }

    fn legacy(revision: Revision, session_id: Option<&'a [u8]>) -> Self {
        let mut headers = Self::default();
        // The header exists since 2025-06-18 (basic/transports).
        if revision >= Revision::V2025_06_18 {
            headers.push("mcp-protocol-version", revision.as_str().as_bytes().into());
        }
        if let Some(session_id) = session_id {
            headers.push("mcp-session-id", session_id.into());
        }
        headers
    }

    fn modern(method: Cow<'a, str>, subject: Option<Cow<'a, str>>) -> Self {
        let mut headers = Self::default();
        headers.push("mcp-protocol-version", Revision::LATEST.as_str().as_bytes().into());
        if !method.is_empty() {
            headers.push("mcp-method", encode_value(method));
        }
        if let Some(subject) = subject {
            headers.push("mcp-name", encode_value(subject));
        }
        headers
    }

    /// Calls `work` with all of them.
    fn with<R>(&self, work: impl FnOnce(&[(&str, &[u8])]) -> R) -> R {
        let mut first: [(&str, &[u8]); FIRST_MAX] = [("", &[]); FIRST_MAX];
        for (slot, (name, value)) in first.iter_mut().zip(&self.first[..self.count]) {
            *slot = (name, value);
        }
        let first = &first[..self.count];
        if self.params.is_empty() {
            return work(first);
        }
        let params = self.params.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        work(&first.iter().copied().chain(params).collect::<Vec<_>>())
    }

    fn owned(self) -> Vec<(String, Vec<u8>)> {
        let first = self.first.into_iter().take(self.count);
        first
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .chain(self.params)
            .collect()
    }
}
