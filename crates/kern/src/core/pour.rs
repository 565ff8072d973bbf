//! Answers that go to their client as they come, from the side of the connection.
//!
//! Invariants: once an answer has begun nothing else is written to its exchange; it ends in order
//! exactly if its last piece came, else the connection ends without the last chunk, so that nobody
//! takes it for whole; whoever sends the pieces is told when there are enough and when it may go on.

use bytes::Bytes;
use kern_mcp::http::encode;
use kern_mcp::sse::encode::{Data, open_event};
use kern_reactor::Watermarks;
use kern_session::EventId;
use kern_terms::{FlightId, Key};

use super::deliver::write_prime;
use super::edge::{Doing, Edge, Exchange, Kind};
use super::words::{Mark, Post, Pour, ReplyTo, Room};
use super::{Core, Io};

/// How much may wait for a client that an answer goes to as it comes: what it reads slowly waits with
/// its server.
const MARKS: Watermarks = Watermarks { low_bytes: 64 << 10, high_bytes: 256 << 10 };

/// What fills an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feed {
    /// The call.
    pub(super) flight: FlightId,
    /// The event in the writing, where the answer is one.
    data: Option<Data>,
    /// It was told that there are enough.
    full: bool,
}

impl Core {
    /// Writes a piece of an answer to one exchange of one connection.
    pub(super) fn pour(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        flight: FlightId,
        piece: &[u8],
        step: Pour,
    ) {
        if to.core != self.id {
            let piece = Bytes::copy_from_slice(piece);
            return io.post(to.core, Post::Pour { to, flight, piece, step });
        }
        let Some(Edge { stream, kind: Kind::Http(http), .. }) = self.edges.get_mut(to.edge) else {
            return self.tell_room(io, flight, Room::Gone);
        };
        let stream = *stream;
        let its = http.exchange == to.exchange;
        match (&mut http.doing, step) {
            (Doing::Waiting(exchange), Pour::Begin(mark)) if its => {
                let exchange = *exchange;
                let data = begin(io, stream, exchange, mark, true);
                http.doing = Doing::Flowing(exchange, Feed { flight, data, full: false });
            }
            (Doing::Streaming(exchange), Pour::Begin(mark)) if its => {
                let exchange = *exchange;
                let data = begin(io, stream, exchange, mark, false);
                http.doing = Doing::Flowing(exchange, Feed { flight, data, full: false });
            }
            (Doing::Flowing(_, feed), Pour::More | Pour::End) if its && feed.flight == flight => {}
            _ => return self.tell_room(io, flight, Room::Gone),
        }
        let Doing::Flowing(exchange, feed) = &mut http.doing else { return };
        let keep_alive = exchange.keep_alive;
        write_piece(io, stream, feed, piece, step == Pour::End);
        if step == Pour::End {
            io.set_watermarks(stream, Watermarks::default());
            return self.exchange_done(io, to.edge, keep_alive);
        }
        if io.is_full(stream) && !std::mem::replace(&mut feed.full, true) {
            self.tell_room(io, flight, Room::Full);
        }
    }

    /// A connection has little left to send: what fills it may go on.
    pub(super) fn edge_has_room(&mut self, io: &mut Io, key: Key) {
        if let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get_mut(key)
            && let Doing::Flowing(_, feed) = &mut http.doing
            && std::mem::take(&mut feed.full)
        {
            let flight = feed.flight;
            self.tell_room(io, flight, Room::Free);
        }
    }
}

/// Writes what comes before an answer's first piece.
fn begin(
    io: &mut Io,
    stream: Key,
    exchange: Exchange,
    mark: Option<Mark>,
    first: bool,
) -> Option<Data> {
    let token = exchange.announce.map(|token| token.to_string());
    let extra: Vec<(&str, &[u8])> =
        token.iter().map(|token| ("mcp-session-id", token.as_bytes())).collect();
    let mut data = None;
    io.set_watermarks(stream, MARKS);
    io.send_with(stream, |out| {
        if first && exchange.accepts_json {
            return encode::json_head(out, &extra, exchange.keep_alive);
        }
        if first {
            encode::sse_head(out, &extra, exchange.keep_alive);
            if let Some(mark) = mark.filter(|mark| mark.prime) {
                let id = EventId { sequence: 0, ..mark.id };
                write_prime(out, false, Some(Mark { id, ..mark }), None);
            }
        }
        let id = mark.map(|mark| mark.id.to_string());
        encode::chunk_with(out, |out| {
            data = Some(open_event(out, Some("message"), id.as_deref()));
        });
    });
    data
}

fn write_piece(io: &mut Io, stream: Key, feed: &mut Feed, piece: &[u8], last: bool) {
    io.send_with(stream, |out| {
        match &mut feed.data {
            None => encode::chunk(out, &[piece]),
            Some(data) => encode::chunk_with(out, |out| data.piece(out, piece)),
        }
        if last {
            if let Some(data) = feed.data.take() {
                encode::chunk_with(out, |out| data.end(out));
            }
            encode::last_chunk(out);
        }
    });
}
