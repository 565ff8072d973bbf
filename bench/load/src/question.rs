//! What a request looks like on the wire.
//!
//! Invariant: all requests of a connection have the same length; only the digits of the number
//! change, in the id and in the text, so that an answer to another request is never taken for
//! the right one.

use std::fmt::Write as _;
use std::ops::Range;

use crate::options::{Era, Options};

/// Digits of a request's number.
const DIGITS: usize = 10;
/// The first number.
const FIRST: u64 = 1_000_000_000;

/// Numbers that belong to one place among those in flight.
const PLACE: u64 = 100_000_000;

/// A request whose number can be changed in place.
#[derive(Debug)]
pub(crate) struct Question {
    bytes: Vec<u8>,
    number: u64,
    id: usize,
    text: Range<usize>,
}

impl Question {
    /// A call of the echoing tool, in the session of that id if there is one.
    pub(crate) fn call(options: &Options, session: Option<&str>) -> Self {
        let mut text = FIRST.to_string();
        text.push(' ');
        text.extend((0..).map(|at| char::from(b'a' + (at % 26) as u8)).take(options.text_bytes));
        text.truncate(options.text_bytes);
        let meta = match options.era {
            Era::Modern | Era::Fixed => {
                r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#
            }
            Era::Session | Era::Stateless => "",
        };
        let tool = &options.tool;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{FIRST},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"message":"{text}"}}{meta}}}}}"#
        );
        let bytes = match options.is_http() {
            true => post(options, session, Some(("tools/call", Some(tool))), &body),
            false if options.ring.is_some() => body.clone(),
            false => format!("{body}\n"),
        };
        let start = bytes.find(&body).expect("the body was written");
        let digits = FIRST.to_string();
        let id = start + body.find(&digits).expect("the id was written");
        let at = start + body.find(&text).expect("the text was written");
        Self { bytes: bytes.into_bytes(), number: FIRST, id, text: at..at + text.len() }
    }

    /// The same, of the numbers that belong to a place among those in flight.
    pub(crate) fn at(mut self, place: usize) -> Self {
        self.number = FIRST + place as u64 * PLACE;
        self
    }

    /// The place an id belongs to.
    pub(crate) fn place(id: u64) -> Option<usize> {
        Some((id.checked_sub(FIRST)? / PLACE) as usize)
    }

    /// Moves on to the next number.
    pub(crate) fn advance(&mut self) {
        self.number = if self.number == FIRST * 10 - 1 { FIRST } else { self.number + 1 };
        let mut digits = [0; DIGITS];
        let mut rest = self.number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes[self.id..self.id + DIGITS].copy_from_slice(&digits);
        self.bytes[self.text.start..self.text.start + DIGITS].copy_from_slice(&digits);
    }

    /// The request.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digits of its id.
    pub(crate) fn id(&self) -> &[u8] {
        &self.bytes[self.id..self.id + DIGITS]
    }

    /// The text to be echoed.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[self.text.clone()]
    }
}

/// The greeting of a client of 2025-11-25.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
/// What follows the greeting.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The greeting over HTTP.
pub(crate) fn initialize(options: &Options) -> String {
    post(options, None, None, INITIALIZE)
}

/// What follows it over HTTP.
pub(crate) fn initialized(options: &Options, session: Option<&str>) -> String {
    post(options, session, None, INITIALIZED)
}

/// The end of a session.
pub(crate) fn delete(options: &Options, session: &str) -> String {
    let mut out = format!("DELETE {} HTTP/1.1\r\n", options.path);
    headers(&mut out, options, Some(session), None);
    out.push_str("\r\n");
    out
}

fn post(
    options: &Options,
    session: Option<&str>,
    mirrored: Option<(&str, Option<&str>)>,
    body: &str,
) -> String {
    let mut out = format!("POST {} HTTP/1.1\r\n", options.path);
    headers(&mut out, options, session, mirrored);
    let length = body.len();
    write!(out, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("a string takes everything");
    out
}

fn headers(
    out: &mut String,
    options: &Options,
    session: Option<&str>,
    mirrored: Option<(&str, Option<&str>)>,
) {
    let version = match options.era {
        Era::Modern | Era::Fixed => "2026-07-28",
        Era::Session | Era::Stateless => "2025-11-25",
    };
    let address = options.address;
    let mut line = |name: &str, value: &str| {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    };
    line("Host", &address.to_string());
    line("Accept", "application/json, text/event-stream");
    line("MCP-Protocol-Version", version);
    if let Some(session) = session {
        line("Mcp-Session-Id", session);
    }
    if let (Some((method, name)), Era::Modern | Era::Fixed) = (mirrored, options.era) {
        line("Mcp-Method", method);
        if let Some(name) = name {
            line("Mcp-Name", name);
        }
    }
}
