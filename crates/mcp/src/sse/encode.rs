//! How is an event written?
//!
//! Invariants: data with line ends in it (pretty-printed JSON) goes out as several `data:` lines;
//! line ends and NUL in an event name or id become spaces.

use memchr::memchr2;

/// Appends one event whose data is the `parts` joined. Without parts its data is empty.
pub fn event(out: &mut Vec<u8>, event: Option<&str>, id: Option<&str>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 64);
    let mut data = open_event(out, event, id);
    for part in parts {
        data.piece(out, part);
    }
    data.end(out);
}

/// Appends the beginning of an event whose data comes in pieces.
pub fn open_event(out: &mut Vec<u8>, event: Option<&str>, id: Option<&str>) -> Data {
    if let Some(name) = event {
        field(out, b"event: ", name);
    }
    if let Some(id) = id {
        field(out, b"id: ", id);
    }
    out.extend_from_slice(b"data: ");
    Data { after_cr: false }
}

/// The data of an event in the writing. Nothing else may be written before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// A CR LF may be cut between two pieces; it is still one line end.
    after_cr: bool,
}

impl Data {
    /// Appends some of the data.
    pub fn piece(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        let mut rest = piece;
        if self.after_cr && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            out.extend_from_slice(&rest[..end]);
            out.extend_from_slice(b"\ndata: ");
            let skip = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
            rest = &rest[end + skip..];
        }
        out.extend_from_slice(rest);
        self.after_cr = *last == b'\r';
    }

    /// Ends the event.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends an event with empty data and an id, from which a client can resume, and optionally
/// the time in milliseconds after which it shall reconnect (revision 2025-11-25).
pub fn prime(out: &mut Vec<u8>, id: &str, retry_ms: Option<u64>) {
    field(out, b"id: ", id);
    if let Some(ms) = retry_ms {
        retry_line(out, ms);
    }
    out.extend_from_slice(b"data: \n\n");
}

/// Appends the time in milliseconds after which a client shall reconnect, without an event.
pub fn retry(out: &mut Vec<u8>, ms: u64) {
    retry_line(out, ms);
    out.push(b'\n');
}

/// Appends a comment, which keeps the connection from looking idle.
pub fn comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

fn retry_line(out: &mut Vec<u8>, ms: u64) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
    out.push(b'\n');
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    if value.bytes().any(ends_field) {
        out.extend(value.bytes().map(|byte| if ends_field(byte) { b' ' } else { byte }));
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'\n');
}

fn ends_field(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}
