//! Which connection carries a request, and which requests wait?
//!
//! Invariants: every exchange is waiting, or bound to exactly one connection. A connection is
//! opened only for a request that waits. Idle connections are reused most recent first, so that
//! the others grow old and are closed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kern_terms::{Instant, Key, Slab};

use super::answer::{Answer, Name, Reader};
use super::happening::{Ended, Happening, LinkError};
use super::limits::{LinkLimits, SPARE_BUFFERS_MAX, SPARE_BYTES_MAX};
use super::target::{HttpTarget, Prepared, Verb};

/// What the link needs from below: streams of bytes to its target.
pub trait Wire {
    /// Opens a stream. [`HttpLink::connected`] or [`HttpLink::closed`] follows, not before this
    /// returns.
    fn connect(&mut self) -> Key;
    /// Sends `parts`, in order after what was sent before.
    fn send(&mut self, stream: Key, parts: &[&[u8]]);
    /// Closes a stream. Nothing about it follows.
    fn close(&mut self, stream: Key);
    /// Closes a stream from which more comes that nobody wants. Nothing about it follows.
    fn abort(&mut self, stream: Key);
    /// Stops (`false`) or resumes reading from a stream. What was read already may still follow.
    fn read(&mut self, stream: Key, on: bool);
}

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// Path and query instead of the target's own (HTTP+SSE names one).
    pub path: Option<&'a str>,
    /// Headers of this request. They win over configured ones of the same name.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The message, in parts.
    pub body: &'a [&'a [u8]],
    /// It does no harm to send this twice.
    pub replayable: bool,
    /// The caller's word for the exchange.
    pub tag: u64,
}

/// A client to one HTTP server.
#[derive(Debug)]
pub struct HttpLink {
    pub(super) target: Arc<HttpTarget>,
    prepared: Prepared,
    limits: LinkLimits,
    /// By stream. Ordered, so that walks are the same in every run.
    pub(super) connections: BTreeMap<Key, Connection>,
    pub(super) exchanges: Slab<Exchange>,
    /// Streams of idle connections, most recent last.
    pub(super) idle: Vec<(Key, Instant)>,
    /// Exchanges that wait for a connection of the pool.
    pub(super) waiting: VecDeque<Key>,
    spare: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reader: Reader,
    pub(super) state: Doing,
    /// Counts towards the pool; otherwise it serves one exchange and is closed.
    pub(super) pooled: bool,
    /// It was taken out of the pool, because its answer is taken slowly.
    pub(super) slow: bool,
    /// It was idle or carried another exchange before the current one, so the server may have
    /// closed it meanwhile.
    pub(super) reused: bool,
    /// A byte of the current answer came.
    pub(super) answered: bool,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Not open yet; for this exchange, or for whichever waits first.
    Connecting(Option<Key>),
    Idle,
    Busy(Key),
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) tag: u64,
    /// The whole request, while it may have to be sent (again).
    pub(super) request: Vec<u8>,
    pub(super) replayable: bool,
    /// The connection bound to it.
    pub(super) stream: Option<Key>,
    pub(super) sent: bool,
    pub(super) answer: Answer,
}

impl HttpLink {
    /// A link without connections.
    #[must_use]
    pub fn new(target: Arc<HttpTarget>, limits: LinkLimits) -> Self {
        Self {
            prepared: Prepared::new(&target),
            target,
            limits,
            connections: BTreeMap::new(),
            exchanges: Slab::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
            spare: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Sends a message, at once where a connection is idle.
    ///
    /// # Errors
    /// [`LinkError::QueueFull`]; nothing was sent.
    pub fn post(
        &mut self,
        wire: &mut dyn Wire,
        _now: Instant,
        post: Post<'_>,
    ) -> Result<Key, LinkError> {
        self.request(wire, Verb::Post, post)
    }

    /// Ends the session that `headers` name. Safe to send twice.
    ///
    /// # Errors
    /// [`LinkError::QueueFull`]; nothing was sent.
    pub fn delete(
        &mut self,
        wire: &mut dyn Wire,
        _now: Instant,
        headers: &[(&str, &[u8])],
        tag: u64,
    ) -> Result<Key, LinkError> {
        let post = Post { path: None, headers, body: &[], replayable: true, tag };
        self.request(wire, Verb::Delete, post)
    }

    /// Opens the server's event stream, on a connection of its own.
    ///
    /// # Errors
    /// [`LinkError::QueueFull`]: as many streams are open as requests may have connections.
    pub fn get_stream(
        &mut self,
        wire: &mut dyn Wire,
        _now: Instant,
        path: Option<&str>,
        headers: &[(&str, &[u8])],
        last_event_id: Option<&str>,
        tag: u64,
    ) -> Result<Key, LinkError> {
        let streams = self.connections.values().filter(|c| !c.pooled && !c.slow).count();
        if streams >= self.limits.connections_max {
            return Err(LinkError::QueueFull);
        }
        let mut all = headers.to_vec();
        if let Some(id) = last_event_id {
            all.push(("last-event-id", id.as_bytes()));
        }
        let mut request = self.buffer();
        self.prepared.head(&mut request, &self.target, Verb::Stream, path, &all, 0);
        let exchange = self.open(tag, request, true);
        self.connect_for(wire, exchange, false);
        Ok(exchange)
    }

    /// Gives an exchange up: nothing more is told of it. If the server may have seen the request,
    /// its connection is closed, which in revision 2026-07-28 cancels the request.
    pub fn abort(&mut self, wire: &mut dyn Wire, exchange: Key) {
        let in_parts = self.exchanges.get(exchange).is_some_and(|open| open.answer.is_in_parts());
        let Some(gone) = self.close_exchange(exchange) else { return };
        match gone {
            Some(stream) => {
                self.connections.remove(&stream);
                if in_parts {
                    wire.abort(stream)
                } else {
                    wire.close(stream)
                }
                self.connect_more(wire);
            }
            None => self.waiting.retain(|waiting| *waiting != exchange),
        }
    }

    /// Closes every connection and ends every exchange.
    pub fn close_all(&mut self, wire: &mut dyn Wire, out: &mut Vec<Happening>) {
        for exchange in self.exchanges.keys() {
            self.fail(exchange, "the link was closed".to_owned(), out);
        }
        for stream in std::mem::take(&mut self.connections).into_keys() {
            wire.close(stream);
        }
        self.idle.clear();
        self.waiting.clear();
    }

    /// A large answer to `exchange`, which was just posted, may be handed on in pieces.
    pub fn hand_parts(&mut self, exchange: Key) {
        if let Some(open) = self.exchanges.get_mut(exchange) {
            open.answer.allow_parts();
        }
    }

    /// Stops reading the answer of an exchange, or goes on. Its connection leaves the pool, so that
    /// an answer that is taken slowly takes no other request's place.
    pub fn read(&mut self, wire: &mut dyn Wire, exchange: Key, on: bool) {
        let Some(stream) = self.exchanges.get(exchange).and_then(|open| open.stream) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&stream) else { return };
        if connection.state != Doing::Busy(exchange) {
            return;
        }
        connection.slow |= connection.pooled;
        connection.pooled = false;
        wire.read(stream, on);
        self.connect_more(wire);
    }

    /// Whether an exchange has not ended.
    #[must_use]
    pub fn is_open(&self, exchange: Key) -> bool {
        self.exchanges.get(exchange).is_some()
    }

    /// Exchanges begun and not ended, waiting ones included.
    #[must_use]
    pub fn open_exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Connections open or opening, streams included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// When [`HttpLink::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.idle.first().map(|(_, since)| *since + self.limits.idle_close)
    }

    /// Closes connections that were idle too long.
    pub fn tick(&mut self, wire: &mut dyn Wire, now: Instant, _out: &mut Vec<Happening>) {
        let old = self
            .idle
            .iter()
            .take_while(|(_, since)| *since + self.limits.idle_close <= now)
            .count();
        for (stream, _) in self.idle.drain(..old) {
            self.connections.remove(&stream);
            wire.close(stream);
        }
    }

    fn request(
        &mut self,
        wire: &mut dyn Wire,
        verb: Verb,
        post: Post<'_>,
    ) -> Result<Key, LinkError> {
        let body_bytes = post.body.iter().map(|part| part.len()).sum();
        if let Some((stream, _)) = self.idle.pop() {
            return Ok(self.send_at_once(wire, stream, verb, post, body_bytes));
        }
        if self.waiting.len() >= self.limits.queue_max + self.connecting() + self.room() {
            return Err(LinkError::QueueFull);
        }
        let mut request = self.buffer();
        let Post { path, headers, body, replayable, tag } = post;
        self.prepared.head(&mut request, &self.target, verb, path, headers, body_bytes);
        for part in body {
            request.extend_from_slice(part);
        }
        let exchange = self.open(tag, request, replayable);
        self.waiting.push_back(exchange);
        self.connect_more(wire);
        Ok(exchange)
    }

    /// Sends on an idle connection. The request is copied only if it may have to be sent again.
    fn send_at_once(
        &mut self,
        wire: &mut dyn Wire,
        stream: Key,
        verb: Verb,
        post: Post<'_>,
        body_bytes: usize,
    ) -> Key {
        const PARTS_MAX: usize = 8;
        let Post { path, headers, body, replayable, tag } = post;
        let mut head = std::mem::take(&mut self.scratch);
        head.clear();
        self.prepared.head(&mut head, &self.target, verb, path, headers, body_bytes);
        if body.len() < PARTS_MAX {
            let mut parts: [&[u8]; PARTS_MAX] = [&[]; PARTS_MAX];
            parts[0] = &head;
            parts[1..=body.len()].copy_from_slice(body);
            wire.send(stream, &parts[..=body.len()]);
        } else {
            wire.send(stream, &[&head]);
            wire.send(stream, body);
        }
        let mut kept = Vec::new();
        if replayable {
            kept = self.buffer();
            kept.extend_from_slice(&head);
            for part in body {
                kept.extend_from_slice(part);
            }
        }
        self.scratch = head;
        let exchange = self.open(tag, kept, replayable);
        self.bind(exchange, stream);
        exchange
    }

    fn open(&mut self, tag: u64, request: Vec<u8>, replayable: bool) -> Key {
        let answer = Answer::new(self.buffer(), false);
        self.exchanges.insert(Exchange {
            tag,
            request,
            replayable,
            stream: None,
            sent: false,
            answer,
        })
    }

    /// Makes `stream` carry `exchange`, whose request was just sent or is about to be.
    pub(super) fn bind(&mut self, exchange: Key, stream: Key) {
        let bound = self.exchanges.get_mut(exchange).expect("a bound exchange is open");
        bound.stream = Some(stream);
        bound.sent = true;
        let connection = self.connections.get_mut(&stream).expect("a bound connection is open");
        connection.state = Doing::Busy(exchange);
        connection.answered = false;
    }

    /// Sends a kept request on a connection.
    pub(super) fn send_kept(&mut self, wire: &mut dyn Wire, exchange: Key, stream: Key) {
        self.bind(exchange, stream);
        let reused = self.connections.get(&stream).is_some_and(|c| c.reused);
        let bound = self.exchanges.get_mut(exchange).expect("a bound exchange is open");
        wire.send(stream, &[&bound.request]);
        // Only on a reused connection can it be that the server closed before it read anything.
        if !(reused && bound.replayable) {
            let request = std::mem::take(&mut bound.request);
            self.give_back(request);
        }
    }

    /// Opens connections for exchanges that wait, as far as the limits allow.
    pub(super) fn connect_more(&mut self, wire: &mut dyn Wire) {
        let wanted = self.waiting.len().saturating_sub(self.connecting());
        for _ in 0..wanted.min(self.room()) {
            self.connect(wire, None, true);
        }
    }

    pub(super) fn connect_for(&mut self, wire: &mut dyn Wire, exchange: Key, pooled: bool) {
        let stream = self.connect(wire, Some(exchange), pooled);
        let bound = self.exchanges.get_mut(exchange).expect("a bound exchange is open");
        bound.stream = Some(stream);
    }

    fn connect(&mut self, wire: &mut dyn Wire, exchange: Option<Key>, pooled: bool) -> Key {
        let reader = Reader::new(self.limits);
        let stream = wire.connect();
        let state = Doing::Connecting(exchange);
        let (slow, reused, answered) = (false, false, false);
        let connection = Connection { reader, state, pooled, slow, reused, answered };
        let before = self.connections.insert(stream, connection);
        assert!(before.is_none(), "a stream's key is new");
        stream
    }

    /// Connections on their way for whoever waits.
    fn connecting(&self) -> usize {
        self.connections.values().filter(|c| c.state == Doing::Connecting(None)).count()
    }

    /// Connections that may still be opened for the pool.
    fn room(&self) -> usize {
        let pooled = self.connections.values().filter(|c| c.pooled).count();
        self.limits.connections_max.saturating_sub(pooled)
    }

    pub(super) fn name(&self, exchange: Key) -> Name {
        let tag = self.exchanges.get(exchange).map_or(0, |exchange| exchange.tag);
        Name { exchange, tag }
    }

    /// Takes an exchange out; gives the stream bound to it. `None` if it has ended already.
    pub(super) fn close_exchange(&mut self, exchange: Key) -> Option<Option<Key>> {
        let gone = self.exchanges.remove(exchange)?;
        self.give_back(gone.request);
        self.give_back(gone.answer.into_buffer());
        Some(gone.stream)
    }

    /// Ends an exchange as failed. Its connection is the caller's to handle.
    pub(super) fn fail(&mut self, exchange: Key, why: String, out: &mut Vec<Happening>) {
        let Some(open) = self.exchanges.get(exchange) else { return };
        let sent = open.sent;
        out.push(self.name(exchange).ended(Ended::Failed { why, sent }));
        self.close_exchange(exchange);
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let useful = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if useful && self.spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
