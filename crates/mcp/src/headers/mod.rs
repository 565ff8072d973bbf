//! Do the headers of a modern request say what its body says, and which headers must we send?
//!
//! 2026-07-28, basic/transports/streamable-http, "Request Metadata". Policy in front of a server reads
//! headers, the server acts on the body: where the two differ, one of them was fooled, so a difference
//! refuses the request (-32020, HTTP 400).

mod params;
mod schema;
mod value;

use std::fmt;

use crate::envelope::{Envelope, Kind};
use crate::json;

pub use params::{ParamFault, ParamHeader, ParamHeaders};
pub use schema::AnnotationFault;
pub use value::{decode_value, encode_value, encode_value_into};

/// The headers of one request that mirror its body, as received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestHeaders<'a> {
    /// `MCP-Protocol-Version`.
    pub protocol_version: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub name: Option<&'a [u8]>,
}

/// Why the headers do not stand for the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeaderFault {
    /// A required header is missing.
    Missing(String),
    /// A value holds bytes a header cannot, or is wrongly encoded.
    Malformed(String),
    /// The body says something else.
    Differs(String),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(header) => write!(f, "Header mismatch: {header} is missing"),
            Self::Malformed(header) => write!(f, "Header mismatch: {header} is malformed"),
            Self::Differs(header) => {
                write!(f, "Header mismatch: {header} does not match the body")
            }
        }
    }
}

impl std::error::Error for HeaderFault {}

/// Compares the standard headers with a scanned modern message.
///
/// Requests need all that apply; for notifications the revision defines none, so those present are
/// compared. A member the body lacks is not compared: its absence is another error (-32602).
pub fn check(
    headers: &RequestHeaders<'_>,
    envelope: &Envelope,
    message: &[u8],
) -> Result<(), HeaderFault> {
    let required = envelope.kind == Kind::Request;
    let same = |header: &str, value: Option<&[u8]>, span: Option<json::Span>, encoded: bool| {
        let raw = span.map(|span| span.of(message));
        if let (Some(value), Some(raw)) = (value, raw)
            && is_plainly(value, raw)
        {
            return Ok(());
        }
        let text = raw.and_then(json::unescape);
        compare(header, value, text.as_deref(), required, encoded)
    };
    same("MCP-Protocol-Version", headers.protocol_version, envelope.protocol_version, false)?;
    same("Mcp-Method", headers.method, envelope.method_span, false)?;
    if envelope.method.named_by().is_some() {
        same("Mcp-Name", headers.name, envelope.subject(), true)?;
    }
    Ok(())
}

/// Whether a header value is, byte for byte, the content of a raw string, both of letters, digits and
/// `_-./` alone: then no spelling of either needs to be read. Most names and all methods are so.
fn is_plainly(value: &[u8], raw: &[u8]) -> bool {
    matches!(raw, [b'"', content @ .., b'"'] if content == value)
        && value.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// Letters, digits and `_-./`.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let plain = matches!(byte as u8, b'_' | b'-' | b'.' | b'/');
        table[byte] = plain || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

fn compare(
    header: &str,
    value: Option<&[u8]>,
    body: Option<&str>,
    required: bool,
    may_be_encoded: bool,
) -> Result<(), HeaderFault> {
    let Some(value) = value else {
        return if required { Err(HeaderFault::Missing(header.into())) } else { Ok(()) };
    };
    let said = if may_be_encoded { decode_value(value) } else { value::plain(value) };
    let said = said.ok_or_else(|| HeaderFault::Malformed(header.into()))?;
    match body {
        Some(body) if body != said => Err(HeaderFault::Differs(header.into())),
        _ => Ok(()),
    }
}
