//! What does an event on a connection change?
//!
//! Invariants: after each event no exchange waits while a connection is idle, and none waits
//! without a connection that is busy or on its way.

use kern_terms::{Instant, Key};

use super::answer::{Answer, Verdict};
use super::happening::Happening;
use super::link::{Connection, Doing, HttpLink, Wire};

impl HttpLink {
    /// A stream opened.
    pub fn connected(&mut self, wire: &mut dyn Wire, now: Instant, stream: Key) {
        let Some(connection) = self.connections.get_mut(&stream) else { return };
        match connection.state {
            Doing::Connecting(Some(exchange)) => self.send_kept(wire, exchange, stream),
            Doing::Connecting(None) => self.make_idle(wire, now, stream),
            Doing::Idle | Doing::Busy(_) => {}
        }
    }

    /// Bytes came on a stream. Ranges in the happenings added to `out` are ranges of `chunk`.
    pub fn received(
        &mut self,
        wire: &mut dyn Wire,
        now: Instant,
        stream: Key,
        chunk: &[u8],
        out: &mut Vec<Happening>,
    ) {
        let Some(connection) = self.connections.get_mut(&stream) else { return };
        if chunk.is_empty() {
            return;
        }
        let Doing::Busy(key) = connection.state else {
            // Nobody asked: a time-out notice, or a server that lost count.
            self.drop_connection(wire, stream);
            return;
        };
        connection.answered = true;
        let exchange = self.exchanges.get_mut(key).expect("a busy connection has its exchange");
        let name = super::answer::Name { exchange: key, tag: exchange.tag };
        match exchange.answer.read(&mut connection.reader, name, chunk, out) {
            Verdict::More => {}
            Verdict::Done { keep_alive } => {
                let keep = keep_alive && connection.pooled;
                out.push(name.ended(exchange.answer.ending()));
                self.close_exchange(key);
                if keep {
                    self.make_idle(wire, now, stream);
                } else {
                    self.drop_connection(wire, stream);
                }
            }
            Verdict::Broken(why) => {
                self.fail(key, why, out);
                self.drop_connection(wire, stream);
            }
        }
    }

    /// The server will send no more on a stream, and said so in order.
    pub fn finished(
        &mut self,
        wire: &mut dyn Wire,
        _now: Instant,
        stream: Key,
        out: &mut Vec<Happening>,
    ) {
        let Some(mut connection) = self.connections.remove(&stream) else { return };
        wire.close(stream);
        if let Doing::Busy(key) = connection.state {
            let exchange = self.exchanges.get_mut(key).expect("a busy connection has its exchange");
            let name = super::answer::Name { exchange: key, tag: exchange.tag };
            if exchange.answer.close(&mut connection.reader, name, out).is_ok() {
                out.push(name.ended(exchange.answer.ending()));
                self.close_exchange(key);
                self.connect_more(wire);
                return;
            }
        }
        let why = "the server closed the connection before its answer was complete";
        self.lost(wire, stream, &connection, why.to_owned(), out);
    }

    /// A stream is gone: it could not be opened, or broke.
    pub fn closed(
        &mut self,
        wire: &mut dyn Wire,
        _now: Instant,
        stream: Key,
        why: String,
        out: &mut Vec<Happening>,
    ) {
        if let Some(connection) = self.connections.remove(&stream) {
            self.lost(wire, stream, &connection, why, out);
        }
    }

    /// Deals with what a connection, taken out already, was doing.
    fn lost(
        &mut self,
        wire: &mut dyn Wire,
        stream: Key,
        connection: &Connection,
        why: String,
        out: &mut Vec<Happening>,
    ) {
        match connection.state {
            Doing::Idle => self.idle.retain(|(idle, _)| *idle != stream),
            Doing::Connecting(Some(exchange)) => self.fail(exchange, why, out),
            Doing::Connecting(None) => return self.fail_waiting(wire, why, out),
            Doing::Busy(exchange) => {
                if self.may_send_again(connection, exchange) {
                    self.send_again(wire, exchange, connection.pooled);
                } else {
                    self.fail(exchange, why, out);
                }
            }
        }
        self.connect_more(wire);
    }

    /// A server closes idle connections; a request may cross that. It was not read then, but
    /// nothing proves it, so the caller must have allowed to send it twice.
    fn may_send_again(&self, connection: &Connection, exchange: Key) -> bool {
        let kept = self.exchanges.get(exchange).is_some_and(|open| !open.request.is_empty());
        kept && connection.reused && !connection.answered
    }

    fn send_again(&mut self, wire: &mut dyn Wire, exchange: Key, pooled: bool) {
        let open = self.exchanges.get_mut(exchange).expect("a bound exchange is open");
        open.answer = Answer::new(Vec::new(), open.answer.allows_parts());
        self.connect_for(wire, exchange, pooled);
    }

    /// No connection could be opened. Who waits goes on waiting if a connection will come free by
    /// itself (a server may allow few). Otherwise, with none open, the server is down for all; and
    /// with all of them streaming, the first learns of it, so that nobody waits for ever.
    fn fail_waiting(&mut self, wire: &mut dyn Wire, why: String, out: &mut Vec<Happening>) {
        let (mut up, mut will_be_free) = (false, false);
        for connection in self.connections.values().filter(|connection| connection.pooled) {
            if let Doing::Busy(exchange) = connection.state {
                let answer = self.exchanges.get(exchange).map(|open| &open.answer);
                up = true;
                will_be_free |= answer.is_some_and(|answer| !answer.is_stream());
            }
        }
        if will_be_free {
            return;
        }
        let failing = if up { self.waiting.len().min(1) } else { self.waiting.len() };
        for _ in 0..failing {
            let exchange = self.waiting.pop_front().expect("counted above");
            self.fail(exchange, why.clone(), out);
        }
        self.connect_more(wire);
    }

    /// A connection is free: for the first that waits, or for the pool.
    fn make_idle(&mut self, wire: &mut dyn Wire, now: Instant, stream: Key) {
        let connection = self.connections.get_mut(&stream).expect("the caller looked it up");
        connection.reused = !matches!(connection.state, Doing::Connecting(_));
        connection.state = Doing::Idle;
        match self.waiting.pop_front() {
            Some(exchange) => self.send_kept(wire, exchange, stream),
            None => {
                connection.reused = true;
                self.idle.push((stream, now));
            }
        }
    }

    /// Closes a connection whose exchange, if any, has ended.
    fn drop_connection(&mut self, wire: &mut dyn Wire, stream: Key) {
        self.connections.remove(&stream);
        self.idle.retain(|(idle, _)| *idle != stream);
        wire.close(stream);
        self.connect_more(wire);
    }
}
