//! How is a message written so that it can be read in one way only?
//!
//! Invariants: no CR, LF or NUL from a value reaches a start line or a header line: bytes that a
//! header value may not hold become spaces (RFC 9110 section 5.5), bytes that a target may not
//! hold are percent-encoded, a header whose name is no token is left out. The headers that frame
//! a message are written here and nowhere else; callers' headers of these names are left out.

use super::error::HttpError;
use super::head::{is_token_byte, is_value_byte};

/// Header names that callers may not write: they decide where a message ends.
const FRAMING_NAMES: [&str; 7] =
    ["content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"];

/// A header given by a caller.
pub type Header<'a> = (&'a str, &'a [u8]);

/// Appends a whole response with a JSON body, given in parts.
pub fn json_response(
    out: &mut Vec<u8>,
    status: u16,
    extra: &[Header<'_>],
    keep_alive: bool,
    parts: &[&[u8]],
) {
    if (status, keep_alive) != (200, true) {
        return response(out, status, "application/json", extra, keep_alive, parts);
    }
    // What nearly every answer begins with, in one piece.
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 256);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a whole response with a body of `content_type`, given in parts.
pub fn response(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    extra: &[Header<'_>],
    keep_alive: bool,
    parts: &[&[u8]],
) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 256);
    response_start(out, status, keep_alive);
    header(out, "content-type", content_type.as_bytes());
    content_length(out, length as u64);
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a whole response without a body (202, 204, 405 ...).
pub fn empty_response(out: &mut Vec<u8>, status: u16, extra: &[Header<'_>], keep_alive: bool) {
    response_start(out, status, keep_alive);
    // RFC 9110 section 8.6: no Content-Length in a 204, and in a 304 only that of the 200.
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
}

/// Appends the response to a request that could not be read. Close afterwards if it says so.
pub fn error_response(out: &mut Vec<u8>, error: &HttpError) {
    let parts: [&[u8]; 2] = [error.reason.as_bytes(), b"\n"];
    response(out, error.status, "text/plain; charset=utf-8", &[], !error.close, &parts);
}

/// Appends the head of a JSON answer whose length is not known yet; its body follows in [`chunk`]s,
/// ended by [`last_chunk`].
pub fn json_head(out: &mut Vec<u8>, extra: &[Header<'_>], keep_alive: bool) {
    response_start(out, 200, keep_alive);
    out.extend_from_slice(b"content-type: application/json\r\ntransfer-encoding: chunked\r\n");
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an event stream; its body follows in [`chunk`]s, ended by [`last_chunk`].
pub fn sse_head(out: &mut Vec<u8>, extra: &[Header<'_>], keep_alive: bool) {
    response_start(out, 200, keep_alive);
    out.extend_from_slice(SSE_FIXED);
    out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an event stream for an HTTP/1.0 client; its body follows bare, and the end
/// of the connection ends it.
pub fn sse_head_http10(out: &mut Vec<u8>, extra: &[Header<'_>]) {
    response_start(out, 200, false);
    out.extend_from_slice(SSE_FIXED);
    headers(out, extra);
    out.extend_from_slice(b"\r\n");
}

const SSE_FIXED: &[u8] = b"content-type: text/event-stream\r\n\
    cache-control: no-cache, no-transform\r\n\
    x-accel-buffering: no\r\n";

/// Appends `100 Continue`.
pub fn send_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends one chunk, its data given in parts. No data, no chunk: an empty one would end the body.
pub fn chunk(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length == 0 {
        return;
    }
    out.reserve(length + 20);
    hexadecimal(out, length);
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk of what `write` appends. Its size is known only then, so it is put before it.
pub fn chunk_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let end = out.len();
    if end == start {
        return;
    }
    hexadecimal(out, end - start);
    out.extend_from_slice(b"\r\n");
    let size_bytes = out.len() - end;
    out[start..].rotate_right(size_bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Appends the head of a request. `body_bytes` is the length of the body the caller appends;
/// `None` for a request without a body.
pub fn request_head(
    out: &mut Vec<u8>,
    method: &str,
    target: &str,
    host: &str,
    extra: &[Header<'_>],
    body_bytes: Option<u64>,
) {
    let mut head = RequestHead::start(out, method, target, host);
    for (name, value) in extra {
        head.header(name, value);
    }
    head.finish(body_bytes);
}

/// Header lines checked and written once, to be used in many heads.
#[derive(Clone, Default)]
pub struct HeaderLines(Vec<u8>);

impl HeaderLines {
    /// Appends one header, under the rules of this module.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        if !name.eq_ignore_ascii_case("host") {
            headers(&mut self.0, &[(name, value)]);
        }
    }
}

impl std::fmt::Debug for HeaderLines {
    /// Values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeaderLines({} bytes)", self.0.len())
    }
}

/// A request head in the writing; [`RequestHead::finish`] ends it.
#[derive(Debug)]
pub struct RequestHead<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> RequestHead<'o> {
    /// Appends the request line and the Host header.
    pub fn start(out: &'o mut Vec<u8>, method: &str, target: &str, host: &str) -> Self {
        debug_assert!(method.bytes().all(is_token_byte), "a method is a token");
        out.extend(method.bytes().filter(|byte| is_token_byte(*byte)));
        out.push(b' ');
        write_target(out, target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        header(out, "host", host.as_bytes());
        Self { out }
    }

    /// Goes on with a head whose beginning, made by [`RequestHead::start`] and what follows it, the
    /// caller has copied to the end of `out`.
    pub fn resume(out: &'o mut Vec<u8>) -> Self {
        debug_assert!(out.ends_with(b"\r\n"), "whole lines");
        Self { out }
    }

    /// Appends a header; a second Host is left out.
    pub fn header(&mut self, name: &str, value: &[u8]) {
        if !name.eq_ignore_ascii_case("host") {
            headers(self.out, &[(name, value)]);
        }
    }

    /// Appends lines made before.
    pub fn lines(&mut self, lines: &HeaderLines) {
        self.out.extend_from_slice(&lines.0);
    }

    /// Ends the head. The caller appends a body of `body_bytes`; `None`: there is none.
    pub fn finish(self, body_bytes: Option<u64>) {
        if let Some(bytes) = body_bytes {
            content_length(self.out, bytes);
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

fn response_start(out: &mut Vec<u8>, status: u16, keep_alive: bool) {
    match status_line(status) {
        Some(line) => out.extend_from_slice(line),
        // The reason phrase may be empty, its space may not (RFC 9112 section 4).
        None => {
            debug_assert!((200..=599).contains(&status), "{status} ends no request");
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(itoa::Buffer::new().format(status.clamp(200, 599)).as_bytes());
            out.extend_from_slice(b" \r\n");
        }
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
}

macro_rules! status_lines {
    ($($code:literal $reason:literal)*) => {
        /// The whole line of each status this gateway answers with by itself.
        fn status_line(status: u16) -> Option<&'static [u8]> {
            match status {
                $($code => {
                    Some(concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n").as_bytes())
                })*
                _ => None,
            }
        }
    };
}

status_lines! {
    200 "OK"
    202 "Accepted"
    204 "No Content"
    301 "Moved Permanently"
    302 "Found"
    304 "Not Modified"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    417 "Expectation Failed"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
}

fn headers(out: &mut Vec<u8>, extra: &[Header<'_>]) {
    for (name, value) in extra {
        if !FRAMING_NAMES.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
            header(out, name, value);
        }
    }
}

fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    // No exit in mid-name: names are short, and most are good.
    let token = name.bytes().fold(true, |good, byte| good & is_token_byte(byte));
    if name.is_empty() || !token {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    if value.iter().fold(true, |good, byte| good & is_value_byte(*byte)) {
        out.extend_from_slice(value);
    } else {
        out.extend(value.iter().map(|byte| if is_value_byte(*byte) { *byte } else { b' ' }));
    }
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_target(out: &mut Vec<u8>, target: &str) {
    for byte in target.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            out.push(b'%');
            out.push(hex_digit(byte >> 4).to_ascii_uppercase());
            out.push(hex_digit(byte & 0xf).to_ascii_uppercase());
        }
    }
    if target.is_empty() {
        out.push(b'/');
    }
}

fn hexadecimal(out: &mut Vec<u8>, number: usize) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let nibble = (number >> (place * 4)) & 0xf;
        out.push(hex_digit(u8::try_from(nibble).expect("four bits")));
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}
