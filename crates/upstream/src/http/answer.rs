//! What do the bytes of an answer mean for the exchange they answer?
//!
//! Invariants: a message that lies whole in the chunk received is not copied. An answer that is
//! neither JSON nor an event stream is not handed on as a message. Of a large message no more is held
//! than the limits say: where its exchange allows it, it is handed on as it comes.

use std::ops::Range;

use kern_mcp::http::{HttpLimits, Piece, ResponseDecoder, ResponseError, ResponseHead};
use kern_mcp::sse;
use kern_terms::Key;

use super::happening::{Body, Ended, Happening};
use super::limits::{CHALLENGE_BYTES_MAX, LinkLimits, REFUSAL_BYTES_MAX, SESSION_ID_BYTES_MAX};

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
    /// A large message may be handed on in pieces.
    parts: bool,
    /// Some of it was.
    in_parts: bool,
    /// Bytes of a body that is no event stream.
    taken: usize,
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

    fn part(self, body: Body, last: bool) -> Happening {
        let Self { exchange, tag } = self;
        Happening::Part { exchange, tag, body, last, id: None, retry_ms: None }
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
    pub(super) limits: LinkLimits,
}

impl Reader {
    pub(super) fn new(limits: LinkLimits) -> Self {
        let body_bytes_max = limits.body_bytes_max.max(limits.parts_bytes_max);
        let http = HttpLimits { body_bytes_max, ..HttpLimits::DEFAULT };
        Self {
            http: ResponseDecoder::new(http),
            sse: sse::Decoder::new(limits.body_bytes_max),
            partial: Vec::new(),
            limits,
        }
    }

    fn parts(&self) -> sse::Parts {
        let LinkLimits { parts_from_bytes: from_bytes, parts_bytes_max: event_bytes_max, .. } =
            self.limits;
        sse::Parts { from_bytes, event_bytes_max }
    }
}

impl Answer {
    pub(super) fn new(body: Vec<u8>, parts: bool) -> Self {
        Self { status: 0, mode: Mode::Head, body, parts, in_parts: false, taken: 0 }
    }

    /// A large message may be handed on in pieces from now on: nothing of it has come.
    pub(super) fn allow_parts(&mut self) {
        self.parts = true;
    }

    /// Some of a large body was handed on, and more of it may come.
    pub(super) fn is_in_parts(&self) -> bool {
        self.in_parts
    }

    /// Whether it may be.
    pub(super) fn allows_parts(&self) -> bool {
        self.parts
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
                        read_events(&mut reader.sse, &mut self.in_parts, name, chunk, range, out)?;
                    } else {
                        self.take_data(&reader.limits, name, chunk, range, &mut here, out)?;
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
                let most = self.most(&reader.limits, head.is_json() && head.status < 300) as u64;
                if !head.is_event_stream() && head.body_bytes.is_some_and(|bytes| bytes > most) {
                    return Err(explain(ResponseError::TooLarge("body")));
                }
                self.take_head(&head, name, out);
                reader.sse.reset();
                reader.sse.hand_parts(self.parts.then(|| reader.parts()));
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

    /// Longest body of what is no event stream.
    fn most(&self, limits: &LinkLimits, json: bool) -> usize {
        match self.parts && json {
            true => limits.parts_bytes_max.max(limits.body_bytes_max),
            false => limits.body_bytes_max,
        }
    }

    /// Body bytes of anything but an event stream.
    fn take_data(
        &mut self,
        limits: &LinkLimits,
        name: Name,
        chunk: &[u8],
        range: Range<usize>,
        here: &mut Option<Range<usize>>,
        out: &mut Vec<Happening>,
    ) -> Result<(), String> {
        self.taken += range.len();
        if self.taken > self.most(limits, matches!(self.mode, Mode::Json)) {
            return Err(explain(ResponseError::TooLarge("body")));
        }
        match &self.mode {
            Mode::Json if self.in_parts => out.push(name.part(Body::Here(range), false)),
            Mode::Json if self.body.is_empty() && here.is_none() => *here = Some(range),
            Mode::Json => {
                self.spill(chunk, here.take());
                self.body.extend_from_slice(&chunk[range]);
                if self.parts && self.body.len() > limits.parts_from_bytes {
                    self.in_parts = true;
                    out.push(name.part(Body::Owned(std::mem::take(&mut self.body)), false));
                }
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
            _ if self.in_parts => out.push(name.part(Body::Here(0..0), true)),
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
    in_parts: &mut bool,
    name: Name,
    chunk: &[u8],
    range: Range<usize>,
    out: &mut Vec<Happening>,
) -> Result<(), String> {
    let outcome = decoder.push(&chunk[range], |event| {
        *in_parts = event.part == sse::Part::Piece;
        let Name { exchange, tag } = name;
        let (body, id) = (locate(chunk, event.data), event.id.map(str::to_owned));
        let (retry_ms, last) = (event.retry, event.part == sse::Part::Last);
        out.push(match event.part {
            sse::Part::Whole => {
                let event = (event.event != "message").then(|| event.event.to_owned());
                Happening::Message { exchange, tag, body, event, id, retry_ms }
            }
            _ => Happening::Part { exchange, tag, body, last, id, retry_ms },
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
