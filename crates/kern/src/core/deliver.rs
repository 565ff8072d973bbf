//! Writing to clients, whatever carries them.
//!
//! Invariants: an exchange gets at most one answer, and none after it ended; a client that does not
//! read loses notifications first and then its connection, never others' memory.

use std::time::Duration;

use bytes::Bytes;
use kern_mcp::http::encode;
use kern_mcp::sse;
use kern_session::EventId;
use kern_terms::Key;

use super::edge::{
    Doing, Edge, Exchange, KEEP_ALIVE_EVERY, Kind, LOSSY_BYTES_MAX, UNREAD_BYTES_MAX,
};
use super::timers::Timer;
use super::words::{Ending, Mark, Post, ReplyTo};
use super::{Core, Io, LINGER};

/// What becomes of a connection after something was written.
enum After {
    Stay,
    Done {
        keep_alive: bool,
    },
    /// An answer had begun that will not be finished.
    Cut,
}

impl Core {
    /// Brings a message to the client that `to` leads to, on whichever core and connection it is.
    pub(super) fn deliver(&mut self, io: &mut Io, to: ReplyTo, message: &[u8], ending: Ending) {
        if let Some(batch) = to.batch {
            return self.batch_said(io, batch, message, ending);
        }
        if to.session.is_none() || !self.say(io, to, message, ending) {
            self.write(io, to, message, ending, None);
        }
    }

    /// Writes to one exchange of one connection.
    pub(super) fn write(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        message: &[u8],
        ending: Ending,
        mark: Option<Mark>,
    ) {
        if to.core != self.id {
            let message = Bytes::copy_from_slice(message);
            io.post(to.core, Post::Deliver { to, message, ending, mark });
            return;
        }
        let Some(Edge { stream, kind, .. }) = self.edges.get_mut(to.edge) else { return };
        let stream = *stream;
        let unread_bytes = io.queued_bytes(stream);
        let ending = match ending {
            Ending::Lossy if unread_bytes > LOSSY_BYTES_MAX => return,
            Ending::Lossy => Ending::More,
            ending => ending,
        };
        if unread_bytes > UNREAD_BYTES_MAX {
            tracing::warn!("a client does not read its answers: connection closed");
            self.close_edge(io, to.edge);
            io.abort(stream);
            return;
        }
        let http = match kind {
            Kind::Unknown { .. } => return,
            Kind::Line(_) => {
                if matches!(ending, Ending::More | Ending::Answer(_)) {
                    io.send_with(stream, |out| write_line(out, message));
                }
                return;
            }
            Kind::Http(http) => http,
        };
        if http.exchange != to.exchange {
            return;
        }
        match write_http(io, stream, &mut http.doing, message, ending, mark) {
            After::Stay => {
                if matches!(http.doing, Doing::Streaming(_)) {
                    self.look_after(io, to.edge);
                }
            }
            After::Done { keep_alive } => self.exchange_done(io, to.edge, keep_alive),
            After::Cut => {
                tracing::debug!("an answer ended in the middle: its client's connection is closed");
                self.close_edge(io, to.edge);
            }
        }
    }

    /// An event stream was opened: it gets comments from now on.
    fn look_after(&mut self, io: &mut Io, key: Key) {
        if let Some(edge) = self.edges.get_mut(key)
            && edge.deadline != kern_terms::Instant::FAR
        {
            edge.deadline = kern_terms::Instant::FAR;
            io.cancel(edge.timer);
            edge.timer = io.timer(KEEP_ALIVE_EVERY, Timer::Edge(key).token());
        }
    }

    /// Ends an exchange with a status and a text: the request was no message of the protocol.
    pub(super) fn deny(&mut self, io: &mut Io, key: Key, status: u16, why: &str) {
        let mut body = Vec::new();
        let code = if status >= 500 { -32603 } else { -32600 };
        kern_mcp::encode::error(&mut body, None, code, why, None);
        self.respond(io, key, |out, keep_alive| {
            encode::json_response(out, status, &[], keep_alive, &[&body]);
        });
    }

    /// Ends an exchange with whatever `write` writes.
    pub(super) fn respond(
        &mut self,
        io: &mut Io,
        key: Key,
        write: impl FnOnce(&mut Vec<u8>, bool),
    ) {
        let Some(Edge { stream, kind: Kind::Http(http), .. }) = self.edges.get_mut(key) else {
            return;
        };
        let Doing::Waiting(exchange) = http.doing else { return };
        io.send_with(*stream, |out| {
            let start = out.len();
            write(out, exchange.keep_alive);
            let end = memchr::memmem::find(&out[start..], b"\r\n\r\n");
            if let Some(end) = end.filter(|_| exchange.head_only) {
                out.truncate(start + end + 4);
            }
        });
        self.exchange_done(io, key, exchange.keep_alive);
    }

    pub(super) fn exchange_done(&mut self, io: &mut Io, key: Key, keep_alive: bool) {
        let idle = Duration::from_millis(self.setup.plan.limits.idle_timeout_ms);
        let deadline = self.now + idle;
        let Some(edge) = self.edges.get_mut(key) else { return };
        let Kind::Http(http) = &mut edge.kind else { return };
        let token = match http.doing {
            Doing::Waiting(exchange) | Doing::Streaming(exchange) | Doing::Flowing(exchange, _) => {
                exchange.token
            }
            _ => None,
        };
        http.doing = Doing::Idle;
        http.exchange = http.exchange.wrapping_add(1);
        if !http.input.is_empty() || http.paused {
            self.again.push(key);
        }
        // It sends no more, and has what it asked for.
        let left = edge.finished && http.input.is_empty();
        edge.deadline = deadline;
        let stream = edge.stream;
        if let Some(token) = token.filter(|token| token.core == self.id) {
            self.session_seen(token);
        }
        if !keep_alive || left || self.draining {
            self.owners.remove(&stream);
            io.close(stream, LINGER);
            if let Some(edge) = self.edges.remove(key) {
                io.cancel(edge.timer);
            }
        }
    }
}

fn write_http(
    io: &mut Io,
    stream: Key,
    doing: &mut Doing,
    message: &[u8],
    ending: Ending,
    mark: Option<Mark>,
) -> After {
    let (http10, keep_alive) = match doing {
        Doing::Idle => return After::Stay,
        // Within an answer nothing else can be said.
        Doing::Flowing(..) => {
            return match ending {
                Ending::More | Ending::Open => After::Stay,
                _ => After::Cut,
            };
        }
        Doing::Waiting(exchange) => {
            let exchange = *exchange;
            return write_first(io, stream, doing, exchange, message, ending, mark);
        }
        Doing::Channel { http10, .. } => {
            if matches!(ending, Ending::More | Ending::Answer(_)) {
                let http10 = *http10;
                io.send_with(stream, |out| write_event(out, message, http10, None));
            }
            return After::Stay;
        }
        Doing::SessionStream { http10, keep_alive, .. } => (*http10, *keep_alive && !*http10),
        Doing::Streaming(exchange) => (exchange.http10, exchange.keep_alive && !exchange.http10),
    };
    io.send_with(stream, |out| write_next(out, http10, message, ending, mark));
    match ending {
        Ending::More | Ending::Open => After::Stay,
        _ => After::Done { keep_alive },
    }
}

/// Appends to an event stream that is open, and ends it where `ending` says so.
fn write_next(out: &mut Vec<u8>, http10: bool, message: &[u8], ending: Ending, mark: Option<Mark>) {
    match ending {
        Ending::More | Ending::Answer(_) => write_event(out, message, http10, mark),
        Ending::Poll(retry_ms) => write_prime(out, http10, mark, Some(retry_ms)),
        Ending::Nothing | Ending::Accepted | Ending::Done | Ending::Over | Ending::Open => {}
        Ending::Lossy => debug_assert!(false, "the connection decided whether it is written"),
    }
    if !matches!(ending, Ending::More | Ending::Open) {
        end_stream(out, http10);
    }
}

/// Writes the first thing of an exchange: that decides between one answer and an event stream.
fn write_first(
    io: &mut Io,
    stream: Key,
    doing: &mut Doing,
    exchange: Exchange,
    message: &[u8],
    ending: Ending,
    mark: Option<Mark>,
) -> After {
    let token = exchange.announce.map(|token| token.to_string());
    let extra: Vec<(&str, &[u8])> =
        token.iter().map(|token| ("mcp-session-id", token.as_bytes())).collect();
    let bare = match ending {
        Ending::Accepted => Some(202),
        Ending::Done => Some(200),
        Ending::Over => Some(204),
        Ending::Nothing | Ending::Poll(_) if !exchange.accepts_stream => Some(202),
        _ => None,
    };
    if let Some(status) = bare {
        io.send_with(stream, |out| {
            encode::empty_response(out, status, &extra, exchange.keep_alive);
        });
        return After::Done { keep_alive: exchange.keep_alive };
    }
    match ending {
        Ending::Answer(status) if exchange.accepts_json || status != 200 => {
            io.send_with(stream, |out| {
                encode::json_response(out, status, &extra, exchange.keep_alive, &[message]);
            });
            return After::Done { keep_alive: exchange.keep_alive };
        }
        // A client that can't read a stream does without what comes before the answer.
        Ending::More | Ending::Open if !exchange.accepts_stream => return After::Stay,
        _ => {}
    }
    let http10 = exchange.http10;
    io.send_with(stream, |out| {
        match http10 {
            true => encode::sse_head_http10(out, &extra),
            false => encode::sse_head(out, &extra, exchange.keep_alive),
        }
        if let Some(mark) = mark.filter(|mark| mark.prime) {
            let id = EventId { sequence: 0, ..mark.id };
            write_prime(out, http10, Some(Mark { id, ..mark }), None);
        }
        write_next(out, http10, message, ending, mark);
    });
    match ending {
        Ending::More | Ending::Open => {
            *doing = Doing::Streaming(exchange);
            After::Stay
        }
        _ => After::Done { keep_alive: exchange.keep_alive && !http10 },
    }
}

/// Appends `message` as one event.
fn write_event(out: &mut Vec<u8>, message: &[u8], http10: bool, mark: Option<Mark>) {
    let id = mark.map(|mark| mark.id.to_string());
    let write = |out: &mut Vec<u8>| {
        sse::encode::event(out, Some("message"), id.as_deref(), &[message]);
    };
    if http10 { write(out) } else { encode::chunk_with(out, write) }
}

/// Appends an event without data: the place from which the client may resume, and when.
pub(super) fn write_prime(
    out: &mut Vec<u8>,
    http10: bool,
    mark: Option<Mark>,
    retry_ms: Option<u32>,
) {
    let Some(mark) = mark else { return };
    let mut event = Vec::new();
    sse::encode::prime(&mut event, &mark.id.to_string(), retry_ms.map(u64::from));
    match http10 {
        true => out.extend_from_slice(&event),
        false => encode::chunk(out, &[&event]),
    }
}

fn end_stream(out: &mut Vec<u8>, http10: bool) {
    if !http10 {
        encode::last_chunk(out);
    }
}

/// Appends a comment, so that nobody between takes a silent stream for a dead one.
pub(super) fn keep_alive(out: &mut Vec<u8>, http10: bool) {
    let mut comment = Vec::new();
    sse::encode::comment(&mut comment);
    match http10 {
        true => out.extend_from_slice(&comment),
        false => encode::chunk(out, &[&comment]),
    }
}

/// Appends `message` as one line. A line break inside a message is white space between tokens,
/// since JSON strings can't hold one; it becomes a space.
pub(super) fn write_line(out: &mut Vec<u8>, message: &[u8]) {
    let start = out.len();
    out.extend_from_slice(message);
    for byte in &mut out[start..] {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}
