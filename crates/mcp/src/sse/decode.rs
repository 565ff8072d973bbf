//! Which events do these bytes hold?
//!
//! Invariants: every split of a stream gives the same events. An event that lies whole in one
//! push, with one `data:` line, is handed out where it lies. At most `event_bytes_max` bytes of an
//! event are held; a larger one is dropped up to its empty line, and the stream goes on. Where parts
//! are wanted ([`Decoder::hand_parts`]), the data of a large event is handed out as it comes instead.

use std::fmt;

use memchr::memchr2;

use crate::http::limits::BUFFER_KEEP_BYTES_MAX;

/// One event.
///
/// Beyond the standard, a block that has an `id:` or `retry:` line but no `data:` is handed out
/// too, with empty data: a reader that resumes wants both. Who wants messages skips empty data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name; `message` if it has none.
    pub event: &'a str,
    /// The data lines, joined by LF. Not checked to be UTF-8.
    pub data: &'a [u8],
    /// This event's own id; `Some("")` resets. Ids with a NUL are ignored as the standard says.
    pub id: Option<&'a str>,
    /// The reconnection time in milliseconds, if this event sets it.
    pub retry: Option<u64>,
    /// Whether `data` is all of it.
    pub part: Part,
}

/// How much of an event's data is handed out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    Whole,
    /// Some of it; more follows, and the other fields are not known yet.
    Piece,
    /// The last of it, which is empty; the other fields are known now.
    Last,
}

/// When the data of an event is handed out in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Once more than this is held, bytes.
    pub from_bytes: usize,
    /// Longest event then, bytes of all its lines.
    pub event_bytes_max: usize,
}

/// An event larger than the limit was dropped. The sender's fault; other events are unharmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The limit, in bytes of all the event's lines.
    pub bytes_max: usize,
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is larger than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for EventTooLarge {}

/// Reads one event stream.
#[derive(Debug)]
pub struct Decoder {
    event_bytes_max: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    fields: Fields,
    /// Bytes of the current event's lines, ended or not.
    event_bytes: usize,
    /// The current event is too large: drop lines until an empty one.
    skipping: bool,
    /// While skipping: the current line has bytes.
    skipped_line: bool,
    /// The last byte was CR; an LF that follows belongs to it.
    after_cr: bool,
    /// The first line of the stream is still to come; it may begin with a byte order mark.
    first_line: bool,
    parts: Option<Parts>,
    /// The current event is handed out in pieces.
    in_parts: bool,
    /// The line whose end has not come yet is one of them.
    in_data: bool,
}

/// The lines of the current event that earlier pushes brought.
#[derive(Debug, Default)]
struct Fields {
    data: Vec<u8>,
    has_data: bool,
    event: String,
    id: String,
    has_id: bool,
    retry: Option<u64>,
}

/// The data of the current event while it may still lie in the pushed bytes.
type InPlace<'a> = Option<&'a [u8]>;

const DATA_FIELD: &[u8] = b"data:";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Decoder {
    /// A decoder for a fresh stream. Allocates nothing yet.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            fields: Fields::default(),
            event_bytes: 0,
            skipping: false,
            skipped_line: false,
            after_cr: false,
            first_line: true,
            parts: None,
            in_parts: false,
            in_data: false,
        }
    }

    /// From now on large events are handed out in pieces (or not). Not in the middle of an event.
    pub fn hand_parts(&mut self, parts: Option<Parts>) {
        debug_assert!(!self.in_parts, "between events");
        self.parts = parts;
    }

    /// Makes this a decoder for a fresh stream, keeping its buffers. Events are handed out whole.
    pub fn reset(&mut self) {
        self.clear_event();
        self.parts = None;
        self.line.clear();
        self.skipping = false;
        self.skipped_line = false;
        self.after_cr = false;
        self.first_line = true;
    }

    /// Takes the next bytes of the stream and hands each event they complete to `each`.
    ///
    /// # Errors
    /// [`EventTooLarge`], after all of `bytes` was read. Go on calling.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Event<'_>),
    ) -> Result<(), EventTooLarge> {
        let mut outcome = Ok(());
        let mut in_place: InPlace<'_> = None;
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            let line = &rest[..end];
            let skip = match &rest[end..] {
                [b'\r', b'\n', ..] => 2,
                [b'\r'] => {
                    self.after_cr = true;
                    1
                }
                _ => 1,
            };
            rest = &rest[end + skip..];
            outcome = outcome.and(self.take_line(line, &mut in_place, &mut each));
        }
        outcome = outcome.and(self.keep_rest(rest, &mut each));
        if !self.skipping {
            self.spill(&mut in_place);
            self.hand_held(&mut each);
        }
        outcome
    }

    /// Hands out what is held of an event that has grown large.
    fn hand_held(&mut self, each: &mut impl FnMut(Event<'_>)) {
        let Some(parts) = self.parts.filter(|parts| self.pending_bytes() > parts.from_bytes) else {
            return;
        };
        let named = !matches!(&*self.fields.event, "" | "message");
        // The space after the colon may be still to come.
        let data = self.line.strip_prefix(DATA_FIELD).filter(|data| !data.is_empty());
        if named || (data.is_none() && !self.fields.has_data) {
            return;
        }
        debug_assert!(parts.from_bytes > DATA_FIELD.len() + BYTE_ORDER_MARK.len());
        self.in_parts = true;
        if !self.fields.data.is_empty() {
            each(piece(&self.fields.data));
            self.fields.data = Vec::new();
        }
        if let Some(data) = data {
            if std::mem::replace(&mut self.fields.has_data, true) {
                each(piece(b"\n"));
            }
            let data = data.strip_prefix(b" ").unwrap_or(data);
            if !data.is_empty() {
                each(piece(data));
            }
            self.event_bytes += self.line.len();
            self.line.clear();
            (self.in_data, self.first_line) = (true, false);
        }
    }

    /// Longest event now, bytes.
    fn most(&self) -> usize {
        match self.parts {
            Some(parts) if self.in_parts => parts.event_bytes_max,
            _ => self.event_bytes_max,
        }
    }

    /// Bytes held of an event that has not ended.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.line.len() + self.fields.data.len()
    }

    fn too_large(&mut self, in_line: bool) -> Result<(), EventTooLarge> {
        let bytes_max = self.most();
        self.clear_event();
        self.line = Vec::new();
        self.first_line = false;
        self.skipping = true;
        self.skipped_line = in_line;
        Err(EventTooLarge { bytes_max })
    }

    /// Keeps the beginning of a line.
    fn keep_rest(
        &mut self,
        rest: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), EventTooLarge> {
        if rest.is_empty() {
            return Ok(());
        }
        if self.skipping {
            self.skipped_line = true;
            return Ok(());
        }
        if self.event_bytes + self.line.len() + rest.len() > self.most() {
            return self.too_large(true);
        }
        if self.in_data {
            self.event_bytes += rest.len();
            each(piece(rest));
        } else {
            self.line.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Ends the current line, whose last part is `tail`.
    fn take_line<'a>(
        &mut self,
        tail: &'a [u8],
        in_place: &mut InPlace<'a>,
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), EventTooLarge> {
        if self.skipping {
            let had_bytes = std::mem::take(&mut self.skipped_line);
            self.skipping = had_bytes || !tail.is_empty();
            return Ok(());
        }
        let line_bytes = self.line.len() + tail.len();
        if self.event_bytes + line_bytes > self.most() {
            *in_place = None;
            return self.too_large(false);
        }
        if std::mem::take(&mut self.in_data) {
            self.event_bytes += tail.len();
            if !tail.is_empty() {
                each(piece(tail));
            }
            return Ok(());
        }
        if self.line.is_empty() {
            let line = self.without_mark(tail);
            if line.is_empty() {
                self.end_event(in_place.take(), each);
            } else if line[0] != b':' {
                self.event_bytes += line_bytes;
                self.take_field(line, true, in_place);
                self.hand_line(in_place, each);
            }
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.line);
        joined.extend_from_slice(tail);
        let line = self.without_mark(&joined);
        if line.is_empty() {
            self.end_event(in_place.take(), each);
        } else if line[0] != b':' {
            self.event_bytes += line_bytes;
            // `joined` does not outlive this call, so the data is copied at once.
            let mut copied: InPlace<'_> = None;
            self.spill(in_place);
            self.take_field(line, false, &mut copied);
            self.hand_line(&mut copied, each);
        }
        joined.clear();
        if joined.capacity() <= BUFFER_KEEP_BYTES_MAX {
            self.line = joined;
        }
        Ok(())
    }

    /// In an event that is handed out in pieces: hands out a line of its data.
    fn hand_line(&mut self, in_place: &mut InPlace<'_>, each: &mut impl FnMut(Event<'_>)) {
        if self.in_parts {
            self.spill(in_place);
            if !self.fields.data.is_empty() {
                each(piece(&self.fields.data));
                self.fields.data.clear();
            }
        }
    }

    fn without_mark<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        if std::mem::take(&mut self.first_line) {
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
        } else {
            line
        }
    }

    /// Copies data that lies in the pushed bytes.
    fn spill(&mut self, in_place: &mut InPlace<'_>) {
        if let Some(data) = in_place.take() {
            self.fields.data.extend_from_slice(data);
        }
    }

    /// One line that is neither empty nor a comment. With `stays`, `line` may be kept in place.
    fn take_field<'a>(&mut self, line: &'a [u8], stays: bool, in_place: &mut InPlace<'a>) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        let fields = &mut self.fields;
        match name {
            b"data" if stays && !fields.has_data => {
                fields.has_data = true;
                *in_place = Some(value);
            }
            b"data" => {
                self.spill(in_place);
                let fields = &mut self.fields;
                if std::mem::replace(&mut fields.has_data, true) {
                    fields.data.push(b'\n');
                }
                fields.data.extend_from_slice(value);
            }
            b"event" => replace_text(&mut fields.event, value),
            b"id" if !value.contains(&0) => {
                fields.has_id = true;
                replace_text(&mut fields.id, value);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = std::str::from_utf8(value).expect("digits are ASCII");
                fields.retry = digits.parse().ok().or(fields.retry);
            }
            _ => {}
        }
    }

    fn end_event(&mut self, in_place: InPlace<'_>, each: &mut impl FnMut(Event<'_>)) {
        let fields = &self.fields;
        if fields.has_data || fields.has_id || fields.retry.is_some() {
            each(Event {
                event: if fields.event.is_empty() { "message" } else { &fields.event },
                data: in_place.unwrap_or(&fields.data),
                id: fields.has_id.then_some(&fields.id),
                retry: fields.retry,
                part: if self.in_parts { Part::Last } else { Part::Whole },
            });
        }
        self.clear_event();
    }

    fn clear_event(&mut self) {
        let fields = &mut self.fields;
        if fields.data.capacity() > BUFFER_KEEP_BYTES_MAX {
            fields.data = Vec::new();
        }
        fields.data.clear();
        fields.event.clear();
        fields.id.clear();
        fields.has_data = false;
        fields.has_id = false;
        fields.retry = None;
        self.event_bytes = 0;
        (self.in_parts, self.in_data) = (false, false);
    }
}

fn piece(data: &[u8]) -> Event<'_> {
    Event { event: "message", data, id: None, retry: None, part: Part::Piece }
}

fn replace_text(text: &mut String, value: &[u8]) {
    text.clear();
    text.push_str(&String::from_utf8_lossy(value));
}
