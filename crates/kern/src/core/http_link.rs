//! Connections to servers behind a URL: what happens on them, and whose it is.
//!
//! A tag tells what an exchange is for: the number of a flight, or one of the kinds below in its
//! high bits. Invariant: a link is out of its place only while it reads or writes, never while a
//! message of it is handled.

use std::sync::Arc;
use std::time::Duration;

use kern_control::{Launch, Remote};
use kern_mcp::envelope::ScanFault;
use kern_mcp::{Envelope, scan};
use kern_reactor::Target;
use kern_terms::{FlightId, Instant, Key};
use kern_upstream::Transport;
use kern_upstream::http::{Ended, Happening, HttpLink, HttpTarget, LinkLimits};
use kern_upstream::instance::{Failure, OwnId};

use super::hosted::Wire;
use super::http_instance::same_host_path;
use super::words::{Spec, UpstreamId};
use super::{Core, Io, Owner, StreamEvent};

/// A request of an instance's own; its number is below.
pub(super) const OWN: u64 = 1 << 63;
/// A server's own stream.
pub(super) const STREAM: u64 = 1 << 62;
/// Something whose answer does not matter.
pub(super) const ASIDE: u64 = 1 << 61;
/// `notifications/initialized`.
pub(super) const INITIALIZED: u64 = ASIDE | 1;
/// A call whose answer comes on another stream; its flight is below.
pub(super) const POSTED: u64 = 1 << 60;
pub(super) const BELOW: u64 = (1 << 60) - 1;

/// A larger answer is looked at before it is whole.
const FLOW_FROM_BYTES: usize = 256 << 10;
/// How long the stream of a call may stay open after its answer.
const ANSWERED_MOST: Duration = Duration::from_secs(5);

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Shared(UpstreamId),
    Private(Key),
}

/// What a link needs from below, over the reactor.
pub(super) struct IoWire<'a> {
    io: &'a mut Io,
    owners: &'a mut hashbrown::HashMap<Key, Owner>,
    owner: Owner,
    spec: &'a Spec,
}

impl kern_upstream::http::Wire for IoWire<'_> {
    fn connect(&mut self) -> Key {
        let stream = self.io.connect(target_of(self.spec));
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

    fn abort(&mut self, stream: Key) {
        self.owners.remove(&stream);
        self.io.abort(stream);
    }

    fn read(&mut self, stream: Key, on: bool) {
        self.io.receive(stream, on);
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
                body_bytes_max: limits.message_bytes,
                parts_from_bytes: FLOW_FROM_BYTES.min(limits.message_bytes),
                parts_bytes_max: limits.result_bytes,
                ..LinkLimits::default()
            },
        )
    }

    /// Works on a link with its wire, then handles what came of it.
    pub(super) fn with_link<R>(
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
        let mut happenings = std::mem::take(&mut self.happenings);
        let link = slot.as_mut()?;
        let mut wire = IoWire { io, owners: &mut self.owners, owner, spec };
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

    pub(super) fn link_event(
        &mut self,
        io: &mut Io,
        which: Which,
        stream: Key,
        event: StreamEvent,
    ) {
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
            wire.awaited = None;
            wire.listed = false;
        }
    }

    pub(super) fn close_shared_link(&mut self, io: &mut Io, id: UpstreamId) {
        self.with_link(io, Which::Shared(id), &[], |link, wire, _, out| link.close_all(wire, out));
    }

    /// An answer came: its stream should end with it. A server that leaves it open must not use up
    /// the connections to it.
    pub(super) fn expect_end(&mut self, exchange: Option<Key>, which: Which) {
        let Some(exchange) = exchange else { return };
        let link = match which {
            Which::Shared(id) => self.upstreams.get(&id).and_then(|it| it.link.as_ref()),
            Which::Private(key) => match self.hosted.get(key).map(|hosted| &hosted.wire) {
                Some(Wire::Http(wire)) => wire.link.as_ref(),
                _ => None,
            },
        };
        if link.is_some_and(|link| link.is_open(exchange)) {
            self.answered.push((which, exchange, self.now));
        }
    }

    fn end_answered(&mut self, io: &mut Io) {
        let now = self.now;
        let over = |(_, _, since): &mut (Which, Key, Instant)| now.since(*since) >= ANSWERED_MOST;
        for (which, exchange, _) in self.answered.extract_if(.., over).collect::<Vec<_>>() {
            self.with_link(io, which, &[], |link, wire, _, _| link.abort(wire, exchange));
        }
    }

    pub(super) fn sweep_links(&mut self, io: &mut Io) {
        let now = self.now;
        self.end_answered(io);
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

    pub(super) fn happened(
        &mut self,
        io: &mut Io,
        which: Which,
        chunk: &[u8],
        happening: Happening,
    ) {
        match happening {
            Happening::Head { tag, status, session_id, .. } => {
                if let (Which::Private(key), INITIALIZED) = (which, tag) {
                    return self.initialized(io, key, Ended::Complete { status });
                }
                if let (Which::Private(key), STREAM) = (which, tag) {
                    return self.stream_stands(io, key);
                }
                if let (Which::Private(key), true, 200..=299) = (which, tag & OWN != 0, status)
                    && let Some(session_id) = session_id
                    && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
                {
                    wire.session_id = Some(session_id.into());
                }
            }
            Happening::Message { tag, body, event, id, retry_ms, .. } => {
                let message = body.bytes(chunk);
                if id.is_some() || retry_ms.is_some() {
                    self.link_place(which, tag, id, retry_ms);
                }
                self.link_message(io, which, tag, message, event.as_deref());
            }
            Happening::Part { tag, body, last, id, retry_ms, .. } => {
                let piece = body.bytes(chunk);
                if id.is_some() || retry_ms.is_some() {
                    self.link_place(which, tag, id, retry_ms);
                }
                self.link_part(io, which, tag, piece, last);
            }
            Happening::Ended { tag, how, .. } => self.link_ended(io, which, tag, how),
        }
    }

    /// An event named a place in its stream, or a time to wait before it is asked for again.
    fn link_place(&mut self, which: Which, tag: u64, id: Option<String>, retry_ms: Option<u64>) {
        if tag & (OWN | STREAM | ASIDE | POSTED) == 0 {
            return self.note_place(tag, id.as_deref(), retry_ms);
        }
        if let Which::Private(key) = which
            && tag & STREAM != 0
            && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
        {
            wire.last_event = id.or(wire.last_event.take()).filter(|id| !id.is_empty());
            wire.stream_retry = retry_ms.map(Duration::from_millis).or(wire.stream_retry);
        }
    }

    pub(super) fn link_message(
        &mut self,
        io: &mut Io,
        which: Which,
        tag: u64,
        message: &[u8],
        event: Option<&str>,
    ) {
        if let Which::Private(key) = which
            && tag & STREAM != 0
            && event == Some("endpoint")
            && let Some(wire) = self.hosted.get_mut(key).and_then(|hosted| hosted.http())
        {
            wire.messages = Some(same_host_path(message));
            let now = self.now;
            return self.drive(io, key, |instance, fx| instance.opened(now, fx));
        }
        if message.is_empty() {
            return;
        }
        let envelope = match scan(message, &self.scan_limits) {
            Ok(envelope) => envelope,
            Err(error)
                if error.fault == ScanFault::Batch && self.link_batch(io, which, tag, message) =>
            {
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "an upstream sent what is no message");
                return self.unreadable(io, tag, message, &error.to_string());
            }
        };
        self.link_envelope(io, which, tag, message, &envelope);
    }

    /// What cannot be read on the stream of a call is its answer, unless it may be something said on
    /// the way to it.
    fn unreadable(&mut self, io: &mut Io, tag: u64, message: &[u8], why: &str) {
        if tag & !BELOW != 0 || memchr::memmem::find(message, b"\"method\"").is_some() {
            return;
        }
        let Some(key) = FlightId::from_number(tag).and_then(|id| self.flight_key(id)) else {
            return;
        };
        let bytes = message.len();
        self.blame(io, key, &format!("its answer of {bytes} bytes is no message: {why}"));
    }

    pub(super) fn link_envelope(
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
                self.server_message(io, key, message, envelope);
            }
            return;
        }
        if let Some(key) = FlightId::from_number(tag).and_then(|id| self.flight_key(id)) {
            self.on_call_stream(io, key, hosted, message, envelope);
        }
    }

    pub(super) fn link_ended(&mut self, io: &mut Io, which: Which, tag: u64, how: Ended) {
        if tag & (OWN | STREAM | ASIDE) == 0 {
            return self.call_ended(io, which, tag, how);
        }
        let Which::Private(key) = which else { return };
        if tag & OWN != 0 {
            let id = OwnId(tag & BELOW);
            let Some(hosted) = self.hosted.get_mut(key) else { return };
            let answers_on_stream = hosted.instance.transport() == Transport::HttpSse;
            if let Some(wire) = hosted.http() {
                wire.own.retain(|(own, _)| *own != id);
            }
            let failure = match how {
                Ended::Complete { .. } if answers_on_stream => return,
                Ended::Complete { .. } => Failure::Broken("it ended without an answer".into()),
                Ended::Refused { status, body, .. } => Failure::Status { status, body },
                Ended::Failed { why, .. } => Failure::Broken(why),
            };
            return self.own_failed(io, key, id, failure);
        }
        if tag == INITIALIZED {
            return self.initialized(io, key, how);
        }
        if tag & ASIDE != 0 {
            return self.forget_if_over(io, key);
        }
        self.stream_ended(io, key, how);
        self.stream_stands(io, key);
    }
}

/// Where a server behind a URL is reached.
fn target_of(spec: &Spec) -> Target {
    let Ok(Launch::Remote(remote)) = &spec.launch else {
        unreachable!("only a server behind a URL has a link");
    };
    let (host, port) = (remote.endpoint.host.clone(), remote.endpoint.port);
    match (&spec.unix, remote.endpoint.tls) {
        (Some(path), _) => Target::Unix(path.clone()),
        (None, true) => Target::Tls { host, port },
        (None, false) => Target::Tcp { host, port },
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
