//! Reading HTTP requests from a client connection, one at a time and in order.
//!
//! Invariant: the next request of a connection is not looked at before the previous one's answer
//! was written, so answers can't change places; what waits behind is bounded.

use kern_mcp::http::{Decoded, encode};
use kern_terms::Key;

use super::edge::{BEHIND_BYTES_MAX, Doing, Edge, Http, Kind, REQUEST_MOST};
use super::{Core, Io};

impl Core {
    fn http_mut(&mut self, key: Key) -> Option<(&mut Http, Key)> {
        match self.edges.get_mut(key) {
            Some(Edge { stream, kind: Kind::Http(http), .. }) => Some((http, *stream)),
            _ => None,
        }
    }

    /// Takes bytes of a client, or (`bytes` empty) goes on with those that waited.
    pub(super) fn http_input(&mut self, io: &mut Io, key: Key, bytes: &[u8]) {
        let Some((http, stream)) = self.http_mut(key) else { return };
        let idle = matches!(http.doing, Doing::Idle);
        let Some(mut decoder) = http.decoder.take_if(|_| idle) else {
            http.input.extend_from_slice(bytes);
            if http.input.len() > BEHIND_BYTES_MAX && !http.paused {
                http.paused = true;
                io.receive(stream, false);
            }
            return;
        };
        let mut kept = std::mem::take(&mut http.input);
        let waited = !kept.is_empty();
        if waited {
            kept.extend_from_slice(bytes);
        }
        let input: &[u8] = if waited { &kept } else { bytes };
        let mut used = 0;
        while used < input.len() && self.is_idle(key) && !io.is_full(stream) {
            match decoder.decode(&input[used..]) {
                Ok(Decoded::Complete { request, consumed }) => {
                    self.http_request(io, key, &request);
                    used += consumed;
                }
                Ok(Decoded::Incomplete { consumed, send_continue, .. }) => {
                    used += consumed;
                    if send_continue {
                        io.send_with(stream, encode::send_continue);
                    }
                    break;
                }
                Err(error) => {
                    io.send_with(stream, |out| encode::error_response(out, &error));
                    self.close_edge(io, key);
                    return;
                }
            }
        }
        let rest = match waited {
            true => {
                kept.drain(..used);
                kept
            }
            false => input[used..].to_vec(),
        };
        self.keep_rest(io, key, decoder, rest, waited);
    }

    fn keep_rest(
        &mut self,
        io: &mut Io,
        key: Key,
        decoder: kern_mcp::http::RequestDecoder,
        rest: Vec<u8>,
        waited: bool,
    ) {
        let now = self.now;
        let Some(edge) = self.edges.get_mut(key) else { return };
        let Kind::Http(http) = &mut edge.kind else { return };
        if !rest.is_empty() && !waited {
            edge.deadline = edge.deadline.min(now + REQUEST_MOST);
        }
        http.decoder = Some(decoder);
        http.input = rest;
        let whole = self.http_limits.message_bytes_max() + BEHIND_BYTES_MAX;
        let full = io.is_full(edge.stream);
        if (full || http.input.len() > whole) && !http.paused {
            http.paused = true;
            io.receive(edge.stream, false);
        } else if http.paused && !full && matches!(http.doing, Doing::Idle) {
            http.paused = false;
            io.receive(edge.stream, true);
        }
    }

    fn is_idle(&self, key: Key) -> bool {
        match self.edges.get(key) {
            Some(Edge { kind: Kind::Http(http), .. }) => matches!(http.doing, Doing::Idle),
            _ => false,
        }
    }
}
