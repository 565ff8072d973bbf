//! Client connections: what they are, how they come and go.
//!
//! Invariant: an edge leaves the table exactly once, and then whatever it waited for is told.

use std::sync::Arc;
use std::time::Duration;

use kern_mcp::http::{HttpLimits, RequestDecoder};
use kern_mcp::{ScanLimits, lines};
use kern_reactor::{Listen, Peer};
use kern_session::{SmallBytes, Token};
use kern_terms::{FlightId, Instant, Key};

use super::pour::Feed;
use super::timers::Timer;
use super::words::{Post, ReplyTo, Room, Setup};
use super::{Core, Io, LINGER, Owner, StreamEvent};

/// Longest time a request may take to arrive whole.
pub(super) const REQUEST_MOST: Duration = Duration::from_secs(30);
/// How often a client that sends no more is looked at: it is closed once it has its answers.
const FINISH_EVERY: Duration = Duration::from_millis(20);
/// How often an open event stream carries a comment.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Bytes that may wait behind a request in hand (pipelining).
pub(super) const BEHIND_BYTES_MAX: usize = 256 << 10;
/// Bytes queued for a client that does not read, beyond which it is cut off.
pub(super) const UNREAD_BYTES_MAX: usize = 64 << 20;
/// Bytes queued for a client beyond which progress and log messages are dropped.
pub(super) const LOSSY_BYTES_MAX: usize = 4 << 20;

/// One client connection.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) stream: Key,
    /// Came over a Unix socket, a pair or stdio: `Host` and `Origin` mean nothing there.
    pub(super) local: bool,
    pub(super) kind: Kind,
    /// The client sends no more, but waits for answers.
    pub(super) finished: bool,
    /// When the connection is looked at next, and the timer that does it.
    pub(super) deadline: Instant,
    pub(super) timer: Key,
}

/// How the connection is framed.
#[derive(Debug)]
pub(super) enum Kind {
    /// Not known yet: a Unix socket serves both.
    Unknown { head: Vec<u8> },
    /// HTTP/1.1.
    Http(Box<Http>),
    /// One message a line.
    Line(Box<Line>),
}

/// An HTTP connection.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) decoder: Option<RequestDecoder>,
    pub(super) input: Vec<u8>,
    pub(super) exchange: u32,
    pub(super) doing: Doing,
    pub(super) paused: bool,
}

/// What an HTTP connection is doing.
#[derive(Debug)]
pub(super) enum Doing {
    /// Between requests.
    Idle,
    /// A request is in hand; nothing was sent yet.
    Waiting(Exchange),
    /// A request is in hand; its answer is an event stream.
    Streaming(Exchange),
    /// A request is in hand; its answer has begun, and more of it comes.
    Flowing(Exchange, Feed),
    /// A stream of a session that was asked for by a GET.
    SessionStream { token: Token, http10: bool, keep_alive: bool },
    /// An HTTP+SSE client: its stream carries everything.
    Channel { token: Token, line: Box<Line>, http10: bool },
}

/// A request in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) keep_alive: bool,
    pub(super) http10: bool,
    /// A HEAD request: its answer has no body (RFC 9110 section 9.3.2).
    pub(super) head_only: bool,
    pub(super) accepts_json: bool,
    pub(super) accepts_stream: bool,
    /// Closing the connection cancels the request (the modern era), or must not (the old one).
    pub(super) modern: bool,
    /// The session the request named.
    pub(super) token: Option<Token>,
    /// The digest of its `Authorization`, where a call of it may be parked.
    pub(super) credential: Option<[u8; 32]>,
    /// The session that `initialize` opened: told in the answer's head.
    pub(super) announce: Option<Token>,
    /// What to cancel when the client goes.
    pub(super) flight: Option<FlightId>,
    pub(super) listen: Option<Key>,
}

/// A connection that carries a whole conversation.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) decoder: lines::Decoder,
    pub(super) endpoint: Option<Arc<str>>,
    /// Its session, once it sent `initialize`.
    pub(super) session: Option<Key>,
    /// Its open requests of the modern era.
    pub(super) calls: std::collections::BTreeMap<SmallBytes, FlightId>,
    pub(super) listens: Vec<Key>,
}

impl Line {
    pub(super) fn new(limit: usize, endpoint: Option<Arc<str>>) -> Self {
        Self {
            decoder: lines::Decoder::new(limit),
            endpoint,
            session: None,
            calls: std::collections::BTreeMap::new(),
            listens: Vec::new(),
        }
    }
}

impl Core {
    pub(super) fn listen(&mut self, io: &mut Io) {
        for at in self.start.listen.clone() {
            let made = io.listen(&at).map(|(listener, local)| {
                self.listeners.push(listener);
                local
            });
            let shown = made.map_err(|error| match at {
                Listen::Tcp { address, .. } => format!("cannot listen on {address}: {error}"),
                Listen::Held(held) => format!("cannot listen on {}: {error}", held.address()),
                Listen::Unix(path) | Listen::Ring(path) => {
                    format!("cannot listen on {}: {error}", path.display())
                }
                Listen::Simulated(name) => format!("cannot listen on {name}: {error}"),
            });
            // Nobody waits any more if the start was given up.
            let _ = self.start.ready.send(shown);
        }
        if self.start.stdio && self.is_first() {
            match io.stdio() {
                Ok(stream) => self.stdio_edge = Some(self.add_line(io, stream, None)),
                Err(error) => {
                    let _ = self.start.ready.send(Err(format!("cannot use stdin: {error}")));
                }
            }
        }
        let pair = self.start.pair.lock().ok().and_then(|mut pair| pair.take());
        if let Some(pair) = pair
            && let Ok(stream) = io.adopt(pair.socket)
        {
            self.stdio_edge = Some(self.add_line(io, stream, pair.endpoint));
        }
    }

    pub(super) fn accepted(&mut self, io: &mut Io, stream: Key, peer: Peer) {
        let most = self.setup.plan.limits.connections / self.setup.cores.len().max(1);
        if self.draining || self.edges.len() >= most.max(1) {
            tracing::warn!(limit = most, "too many client connections: one refused");
            io.abort(stream);
            return;
        }
        match peer {
            Peer::Unix { .. } => {
                self.add_edge(io, stream, true, Kind::Unknown { head: Vec::new() });
            }
            Peer::Ring { .. } => {
                self.add_line(io, stream, None);
            }
            Peer::Tcp(_) | Peer::Simulated(_) => {
                let kind = self.new_http();
                self.add_edge(io, stream, false, kind);
            }
        }
    }

    pub(super) fn new_http(&self) -> Kind {
        Kind::Http(Box::new(Http {
            decoder: Some(RequestDecoder::new(self.http_limits)),
            input: Vec::new(),
            exchange: 0,
            doing: Doing::Idle,
            paused: false,
        }))
    }

    fn add_line(&mut self, io: &mut Io, stream: Key, endpoint: Option<Arc<str>>) -> Key {
        let limit = self.setup.plan.limits.message_bytes;
        self.add_edge(io, stream, true, Kind::Line(Box::new(Line::new(limit, endpoint))))
    }

    fn add_edge(&mut self, io: &mut Io, stream: Key, local: bool, kind: Kind) -> Key {
        let idle = Duration::from_millis(self.setup.plan.limits.idle_timeout_ms);
        let deadline = self.now + idle;
        let edge = self.edges.insert_with(|key| {
            let timer = io.timer(idle.min(REQUEST_MOST), Timer::Edge(key).token());
            Edge { stream, local, kind, finished: false, deadline, timer }
        });
        self.owners.insert(stream, Owner::Edge(edge));
        edge
    }

    pub(super) fn edge_event(&mut self, io: &mut Io, key: Key, event: StreamEvent) {
        match event {
            StreamEvent::Received(chunk) => self.edge_received(io, key, &chunk),
            StreamEvent::Finished => self.edge_finished(io, key),
            StreamEvent::Closed(_) => self.edge_lost(io, key),
            StreamEvent::Drained => self.edge_drained(io, key),
            StreamEvent::Connected => {}
        }
    }

    /// The client reads again: so do we.
    fn edge_drained(&mut self, io: &mut Io, key: Key) {
        match self.edges.get(key) {
            Some(Edge { kind: Kind::Http(_), .. }) => {
                self.again.push(key);
                self.edge_has_room(io, key);
            }
            Some(edge) => io.receive(edge.stream, true),
            None => {}
        }
    }

    fn edge_received(&mut self, io: &mut Io, key: Key, bytes: &[u8]) {
        let Some(edge) = self.edges.get_mut(key) else { return };
        match &mut edge.kind {
            Kind::Http(_) => self.http_input(io, key, bytes),
            Kind::Line(_) => self.line_input(io, key, bytes),
            Kind::Unknown { head } => {
                // JSON begins with a bracket, a request line with a letter.
                head.extend_from_slice(bytes);
                let Some(first) = head.iter().find(|byte| !byte.is_ascii_whitespace()).copied()
                else {
                    head.truncate(16);
                    return;
                };
                let head = std::mem::take(head);
                let kind = match first {
                    b'{' | b'[' => {
                        let limit = self.setup.plan.limits.message_bytes;
                        Kind::Line(Box::new(Line::new(limit, None)))
                    }
                    _ => self.new_http(),
                };
                if let Some(edge) = self.edges.get_mut(key) {
                    edge.kind = kind;
                }
                self.edge_received(io, key, &head);
            }
        }
    }

    /// The client will send no more. A line client has left once what it asked is answered; an
    /// HTTP client that half-closes still reads.
    fn edge_finished(&mut self, io: &mut Io, key: Key) {
        let busy = self.edge_is_busy(key);
        let Some(edge) = self.edges.get_mut(key) else { return };
        match &edge.kind {
            Kind::Http(http) => match http.doing {
                Doing::Waiting(exchange)
                | Doing::Streaming(exchange)
                | Doing::Flowing(exchange, _)
                    if !exchange.modern =>
                {
                    edge.finished = true;
                }
                _ => self.close_edge(io, key),
            },
            Kind::Line(_) if busy => {
                edge.finished = true;
                io.cancel(edge.timer);
                edge.timer = io.timer(FINISH_EVERY, Timer::Edge(key).token());
                self.answers_are_over(io, key);
            }
            _ => self.close_edge(io, key),
        }
    }

    /// A line client sends no more: what it was asked it won't answer.
    fn answers_are_over(&mut self, io: &mut Io, key: Key) {
        let session = self.line_mut(key).and_then(|line| line.session);
        let asked = session.and_then(|session| Some(self.sessions.get(session)?.asked.clone()));
        for ask in asked.unwrap_or_default() {
            self.drop_ask(io, ask, "the client closed its input before it answered");
        }
    }

    fn edge_is_busy(&self, key: Key) -> bool {
        self.flights.iter().any(|(_, flight)| self.is_edge(flight.reply, key))
            || self.patient.iter().any(|patient| self.is_edge(patient.reply, key))
    }

    /// Whether an answer goes to the edge `key` of this core.
    fn is_edge(&self, reply: ReplyTo, key: Key) -> bool {
        reply.edge == key && reply.core == self.id
    }

    /// Closes after what is queued has left.
    pub(super) fn close_edge(&mut self, io: &mut Io, key: Key) {
        if let Some(edge) = self.edges.get(key) {
            let stream = edge.stream;
            self.owners.remove(&stream);
            io.close(stream, LINGER);
            self.edge_lost(io, key);
        }
    }

    /// The connection is gone: whatever it waited for is told.
    fn edge_lost(&mut self, io: &mut Io, key: Key) {
        let Some(edge) = self.edges.remove(key) else { return };
        io.cancel(edge.timer);
        match edge.kind {
            Kind::Unknown { .. } => {}
            Kind::Http(http) => {
                let reply = ReplyTo::new(self.id, key, http.exchange);
                match http.doing {
                    Doing::Idle => {}
                    Doing::Waiting(exchange) | Doing::Streaming(exchange) => {
                        self.abandon_exchange(io, reply, exchange);
                    }
                    Doing::Flowing(exchange, feed) => {
                        self.abandon_exchange(io, reply, exchange);
                        self.tell_room(io, feed.flight, Room::Gone);
                    }
                    Doing::SessionStream { token, .. } => self.tell_gone(io, reply, token),
                    Doing::Channel { token, line, .. } => {
                        self.channels.remove(&token);
                        self.line_lost(io, key, *line);
                    }
                }
            }
            Kind::Line(line) => self.line_lost(io, key, *line),
        }
        if self.stdio_edge == Some(key)
            && let Some(done) = &self.start.stdio_done
        {
            // The process may be ending already.
            let _ = done.send(());
        }
    }

    fn abandon_exchange(&mut self, io: &mut Io, reply: ReplyTo, exchange: Exchange) {
        self.patient.retain(|patient| patient.reply != reply);
        if let Some(listen) = exchange.listen {
            self.drop_listen(io, listen);
        }
        if let Some(flight) = exchange.flight {
            self.client_gone(io, reply, flight);
        }
        if let Some(token) = exchange.token {
            self.tell_gone(io, reply, token);
        }
    }

    fn tell_gone(&mut self, io: &mut Io, reply: ReplyTo, token: Token) {
        if token.core == self.id {
            self.exchange_gone(reply, Some(token));
        } else {
            io.post(token.core, Post::Gone { reply, token: Some(token) });
        }
    }

    fn line_lost(&mut self, io: &mut Io, key: Key, line: Line) {
        let core = self.id;
        // Edges of other cores have the same keys.
        self.patient.retain(|patient| patient.reply.edge != key || patient.reply.core != core);
        for flight in line.calls.into_values() {
            self.cancel_flight(io, flight);
        }
        for listen in line.listens {
            self.drop_listen(io, listen);
        }
        if let Some(session) = line.session {
            self.close_session(io, session);
        }
        self.forget_principal(io, kern_session::Principal::Connection(core, key));
    }

    pub(super) fn edge_timer(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        let finished = self.edges.get(key).is_some_and(|edge| edge.finished);
        if finished {
            self.answers_are_over(io, key);
        }
        let done = finished && !self.edge_is_busy(key);
        let Some(edge) = self.edges.get_mut(key) else { return };
        let mut next = REQUEST_MOST;
        let over = match &mut edge.kind {
            Kind::Http(http) => match &http.doing {
                Doing::Idle => {
                    next = edge.deadline.since(now);
                    edge.deadline <= now
                }
                Doing::Waiting(_) | Doing::Flowing(..) => false,
                Doing::Streaming(Exchange { http10, .. })
                | Doing::SessionStream { http10, .. }
                | Doing::Channel { http10, .. } => {
                    let http10 = *http10;
                    next = KEEP_ALIVE_EVERY;
                    let stream = edge.stream;
                    if !io.is_full(stream) {
                        io.send_with(stream, |out| super::deliver::keep_alive(out, http10));
                    }
                    false
                }
            },
            // A silent line client is welcome as long as it likes.
            Kind::Line(_) => {
                next = if finished { FINISH_EVERY } else { REQUEST_MOST };
                done
            }
            Kind::Unknown { .. } => edge.deadline <= now,
        };
        if over {
            self.edge_overdue(io, key);
            return;
        }
        let wait = next.clamp(Duration::from_millis(10), REQUEST_MOST);
        if let Some(edge) = self.edges.get_mut(key) {
            edge.timer = io.timer(wait, Timer::Edge(key).token());
        }
    }

    fn edge_overdue(&mut self, io: &mut Io, key: Key) {
        if let Some(Edge { stream, kind: Kind::Http(http), .. }) = self.edges.get(key)
            && !http.input.is_empty()
        {
            let stream = *stream;
            io.send_with(stream, |out| {
                let parts: [&[u8]; 1] = [b"the request did not arrive whole in time\n"];
                kern_mcp::http::encode::response(out, 408, "text/plain", &[], false, &parts);
            });
        }
        self.close_edge(io, key);
    }
}

pub(super) fn scan_limits(setup: &Setup) -> ScanLimits {
    let bytes_max = u32::try_from(setup.plan.limits.message_bytes).unwrap_or(u32::MAX);
    ScanLimits { bytes_max, ..ScanLimits::default() }
}

pub(super) fn http_limits(setup: &Setup) -> HttpLimits {
    let limits = &setup.plan.limits;
    HttpLimits {
        head_bytes_max: limits.header_bytes,
        body_bytes_max: limits.body_bytes,
        ..HttpLimits::default()
    }
}
