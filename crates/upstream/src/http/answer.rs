//! What do the bytes of an answer mean for the exchange they answer?
//!
//! Invariants: a message that lies whole in the chunk received is not copied. An answer that is
//! neither JSON nor an event stream is not handed on as a message.

use std::ops::Range;

use kern_mcp::http::{Piece, ResponseDecoder, ResponseError, ResponseHead};
use kern_mcp::sse;
use kern_terms::Key;

use super::happening::{Body, Ended, Happening};
use super::limits::{CHALLENGE_BYTES_MAX, REFUSAL_BYTES_MAX, SESSION_ID_BYTES_MAX};

/// What kind of answer is coming.
#[derive(Debug)]
enum Mode {
    /// Its head is still to come.
    Head,
    Json,
    Events,
    /// 202, 204: a body would mean nothing.
    Accepted,
    Refused {
        www_authenticate: Option<String>,
        retry_after_s: Option<u64>,
    },
    /// A success of another content type: right only if the body is empty.
    Odd {
        content_type: String,
    },
}

/// An answer in the reading.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    mode: Mode,
    body: Vec<u8>,
}

/// The exchange an answer belongs to, as its happenings name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) exchange: Key,
    pub(super) tag: u64,
}

impl Name {
    fn message(self, body: Body) -> Happening {
        let Self { exchange, tag } = self;
        Happening::Message { exchange, tag, body, event: None, id: None, retry_ms: None }
    }

    pub(super) fn ended(self, how: Ended) -> Happening {
        Happening::Ended { exchange: self.exchange, tag: self.tag, how }
    }
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    More,
    Done { keep_alive: bool },
    Broken(String),
}

/// What reads an answer: the connection's decoders, and input they could not use yet.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) http: ResponseDecoder,
    pub(super) sse: sse::Decoder,
    /// A head cut by the end of a chunk.
    pub(super) partial: Vec<u8>,
}

impl Answer {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { status: 0, mode: Mode::Head, body }
    }

    /// The buffer, to be used again.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.body
    }

    /// Whether the answer may go on for ever.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.mode, Mode::Events)
    }

    /// Reads one chunk.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        name: Name,
        chunk: &[u8],
        out: &mut Vec<Happening>,
    ) -> Verdict {
        match self.read_pieces(reader, name, chunk, out) {
            Ok(verdict) => verdict,
            Err(why) => Verdict::Broken(why),
        }
    }

    fn read_pieces(
        &mut self,
        reader: &mut Reader,
        name: Name,
        chunk: &[u8],
        out: &mut Vec<Happening>,
    ) -> Result<Verdict, String> {
        let mut at = 0;
        if matches!(self.mode, Mode::Head) {
            match self.read_head(reader, name, chunk, out)? {
                Some(used) => at = used,
                None => return Ok(Verdict::More),
            }
        }
        // A JSON body that lies in this chunk alone.
        let mut here: Option<Range<usize>> = None;
        loop {
            let (used, piece) = reader.http.decode(&chunk[at..]).map_err(explain)?;
            match piece {
                Piece::Data(data) => {
                    let start = at + used - data.len();
                    let range = start..start + data.len();
                    if matches!(self.mode, Mode::Events) {
                        read_events(&mut reader.sse, name, chunk, range, out)?;
                    } else {
                        self.take_data(chunk, range, &mut here)?;
                    }
                }
                Piece::NeedMore => {
                    self.spill(chunk, here);
                    return Ok(Verdict::More);
                }
                Piece::End { keep_alive } => {
                    self.end_json(name, here, out);
                    let clean = at + used == chunk.len();
                    return Ok(Verdict::Done { keep_alive: keep_alive && clean });
                }
                Piece::Head(_) => unreachable!("the head was read before the body"),
            }
            at += used;
        }
    }

    /// Reads the head; `Some` is how much of `chunk` it used.
    fn read_head(
        &mut self,
        reader: &mut Reader,
        name: Name,
        chunk: &[u8],
        out: &mut Vec<Happening>,
    ) -> Result<Option<usize>, String> {
        let before = reader.partial.len();
        let input = if before == 0 {
            chunk
        } else {
            reader.partial.extend_from_slice(chunk);
            &reader.partial
        };
        let (used, piece) = reader.http.decode(input).map_err(explain)?;
        match piece {
            Piece::Head(head) => {
                self.take_head(&head, name, out);
                reader.sse.reset();
                reader.partial.clear();
                Ok(Some(used - before))
            }
            Piece::NeedMore => {
                if before == 0 {
                    reader.partial.extend_from_slice(&chunk[used..]);
                } else {
                    reader.partial.drain(..used);
                }
                Ok(None)
            }
            Piece::Data(_) | Piece::End { .. } => unreachable!("a response begins with its head"),
        }
    }

    fn take_head(&mut self, head: &ResponseHead<'_>, name: Name, out: &mut Vec<Happening>) {
        self.status = head.status;
        self.mode = match head.status {
            202 | 204 => Mode::Accepted,
            300.. => Mode::Refused {
                www_authenticate: head.headers.get("www-authenticate").map(|value| {
                    let kept = &value[..value.len().min(CHALLENGE_BYTES_MAX)];
                    String::from_utf8_lossy(kept).into_owned()
                }),
                retry_after_s: head.headers.get("retry-after").and_then(seconds),
            },
            _ if head.is_event_stream() => Mode::Events,
            _ if head.is_json() => Mode::Json,
            _ => Mode::Odd { content_type: head.headers.content_type.unwrap_or("none").to_owned() },
        };
        let session_id = head.headers.mcp_session_id.map(str::as_bytes);
        out.push(Happening::Head {
            exchange: name.exchange,
            tag: name.tag,
            status: head.status,
            session_id: session_id.filter(|id| is_session_id(id)).map(<[u8]>::to_vec),
            event_stream: matches!(self.mode, Mode::Events),
        });
    }

    /// Body bytes of anything but an event stream.
    fn take_data(
        &mut self,
        chunk: &[u8],
        range: Range<usize>,
        here: &mut Option<Range<usize>>,
    ) -> Result<(), String> {
        match &self.mode {
            Mode::Json if self.body.is_empty() && here.is_none() => *here = Some(range),
            Mode::Json => {
                self.spill(chunk, here.take());
                self.body.extend_from_slice(&chunk[range]);
            }
            Mode::Refused { .. } => {
                let room = REFUSAL_BYTES_MAX - self.body.len();
                let data = &chunk[range];
                self.body.extend_from_slice(&data[..data.len().min(room)]);
            }
            Mode::Odd { content_type } => {
                return Err(format!(
                    "the answer is neither JSON nor an event stream, but of content type \
                     {content_type}"
                ));
            }
            Mode::Accepted => {}
            Mode::Head | Mode::Events => unreachable!("handled by the caller"),
        }
        Ok(())
    }

    fn spill(&mut self, chunk: &[u8], here: Option<Range<usize>>) {
        if let Some(range) = here {
            self.body.extend_from_slice(&chunk[range]);
        }
    }

    fn end_json(&mut self, name: Name, here: Option<Range<usize>>, out: &mut Vec<Happening>) {
        if !matches!(self.mode, Mode::Json) {
            return;
        }
        match here {
            Some(range) => out.push(name.message(Body::Here(range))),
            None if !self.body.is_empty() => {
                out.push(name.message(Body::Owned(std::mem::take(&mut self.body))));
            }
            None => {}
        }
    }

    /// The connection ended in order. Whether the answer is whole by that.
    pub(super) fn close(
        &mut self,
        reader: &mut Reader,
        name: Name,
        out: &mut Vec<Happening>,
    ) -> Result<(), ResponseError> {
        if matches!(self.mode, Mode::Head) {
            return Err(ResponseError::Truncated);
        }
        reader.http.close()?;
        self.end_json(name, None, out);
        Ok(())
    }

    /// How the exchange ended, once its answer is whole.
    pub(super) fn ending(&mut self) -> Ended {
        let status = self.status;
        match std::mem::replace(&mut self.mode, Mode::Head) {
            Mode::Refused { www_authenticate, retry_after_s } => {
                let body = std::mem::take(&mut self.body);
                Ended::Refused { status, body, www_authenticate, retry_after_s }
            }
            _ => Ended::Complete { status },
        }
    }
}

fn read_events(
    decoder: &mut sse::Decoder,
    name: Name,
    chunk: &[u8],
    range: Range<usize>,
    out: &mut Vec<Happening>,
) -> Result<(), String> {
    let outcome = decoder.push(&chunk[range], |event| {
        out.push(Happening::Message {
            exchange: name.exchange,
            tag: name.tag,
            body: locate(chunk, event.data),
            event: (event.event != "message").then(|| event.event.to_owned()),
            id: event.id.map(str::to_owned),
            retry_ms: event.retry,
        });
    });
    outcome.map_err(|error| error.to_string())
}

/// The range of `chunk` that `data` is, if it lies there.
fn locate(chunk: &[u8], data: &[u8]) -> Body {
    if data.is_empty() {
        return Body::Here(0..0);
    }
    let start = (data.as_ptr() as usize).wrapping_sub(chunk.as_ptr() as usize);
    match start.checked_add(data.len()) {
        Some(end) if end <= chunk.len() => Body::Here(start..end),
        _ => Body::Owned(data.to_vec()),
    }
}

/// 0x21 to 0x7E (revision 2025-11-25, session management).
fn is_session_id(id: &[u8]) -> bool {
    (1..=SESSION_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn seconds(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?
        .parse()
        .ok()
}

pub(super) fn explain(error: ResponseError) -> String {
    error.to_string()
}
