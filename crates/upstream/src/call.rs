//! What a client's request becomes on its way to a server.
//!
//! The message is spliced, not parsed and written again: only the id, the name or URI, the progress
//! token and, where the eras differ, the members of `_meta` that the receiver's revision names
//! are replaced. Everything else arrives byte for byte.

use kern_mcp::era::request::Sender;
use kern_mcp::era::result::CacheHint;
use kern_mcp::rewrite::Splice;
use kern_mcp::{Envelope, Method, era, json};
use kern_terms::{Era, FlightId, Revision};

/// A request of a client, with what routing decided.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The client's message.
    pub message: &'a [u8],
    /// Its spans.
    pub envelope: &'a Envelope,
    /// The tool's or prompt's name as its server knows it, where that differs.
    pub name: Option<&'a str>,
    /// The resource's URI as its server knows it, where that differs.
    pub uri: Option<&'a str>,
    /// The revision the client speaks.
    pub from: Revision,
    /// The client's `Implementation`, JSON; used where the message itself does not carry it.
    pub client_info: &'a [u8],
    /// The client's `ClientCapabilities` as a modern server is told them, JSON; used where the
    /// message itself does not carry them.
    pub client_capabilities: &'a [u8],
    /// The least severity of log messages the client asked for, where the message itself does not
    /// carry it.
    pub log_level: Option<&'static str>,
}

/// Appends the message for a server that speaks `to`, under the id of `flight`. `scratch` is memory
/// for what is inserted, to be used again.
pub fn encode(
    call: &Call<'_>,
    flight: FlightId,
    to: Revision,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    scratch.clear();
    let mut digits = itoa::Buffer::new();
    let number = digits.format(flight.number()).as_bytes();
    let mut splice = Splice::new(call.message);
    let envelope = call.envelope;
    if let Some(id) = envelope.id {
        splice.replace(id, number);
    }
    let quoted = |text: &str| {
        let mut json = Vec::with_capacity(text.len() + 2);
        json::quote_into(&mut json, text);
        json
    };
    let (name_span, uri_span) = match (envelope.method, envelope.reference) {
        (Method::CompletionComplete, Some(reference)) => (reference.name, reference.uri),
        _ => (envelope.name, envelope.uri),
    };
    if let (Some(span), Some(name)) = (name_span, call.name) {
        splice.replace(span, quoted(name));
    }
    if let (Some(span), Some(uri)) = (uri_span, call.uri) {
        splice.replace(span, quoted(uri));
    }
    match (call.from.era(), to.era()) {
        (Era::Modern, Era::Legacy) => era::request::modern_to_legacy(&mut splice, envelope),
        (Era::Legacy, Era::Modern) => {
            let level = call.log_level.map(quoted);
            let sender = Sender {
                revision: to,
                client_info: Some(call.client_info),
                client_capabilities: call.client_capabilities,
                log_level: level.as_deref(),
            };
            era::request::legacy_to_modern(&mut splice, envelope, &sender, scratch);
        }
        _ => {}
    }
    if let Some(token) = envelope.progress_token {
        splice.replace(token, number);
    }
    splice.write_into(out);
}

/// Appends the answer a client gets: the server's message under the client's own id, with result
/// members added or removed as the client's revision wants.
pub fn answer(
    message: &[u8],
    envelope: &Envelope,
    method: Method,
    client_id: &[u8],
    from: Revision,
    to: Revision,
    out: &mut Vec<u8>,
) {
    let mut splice = Splice::new(message);
    if let Some(id) = envelope.id {
        splice.replace(id, client_id);
    }
    match (from.era(), to.era()) {
        (Era::Legacy, Era::Modern) => {
            let hint = CacheHint::default();
            era::result::legacy_to_modern(&mut splice, envelope, method, hint, None);
        }
        (Era::Modern, Era::Legacy) => era::result::modern_to_legacy(&mut splice, envelope),
        _ => {}
    }
    if from.era() != to.era() {
        era::error::translate(&mut splice, envelope, to.era(), method);
    }
    splice.write_into(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kern_mcp::{ScanLimits, scan};
    use kern_terms::{CoreId, Key};

    fn check(message: &str, from: Revision, to: Revision, name: Option<&str>, expected: &str) {
        let envelope = scan(message.as_bytes(), &ScanLimits::default()).expect("valid");
        let flight = FlightId::new(CoreId(0), Key { slot: 7, generation: 0 });
        let mut out = Vec::new();
        let call = Call {
            message: message.as_bytes(),
            envelope: &envelope,
            name,
            uri: None,
            from,
            client_info: br#"{"name":"c","version":"1"}"#,
            client_capabilities: b"{}",
            log_level: None,
        };
        encode(&call, flight, to, &mut Vec::new(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_call_keeps_every_byte_that_is_not_an_identifier() {
        use Revision::V2025_11_25 as V25;
        check(
            r#"{ "x":1.50e+0,"id":"abc" ,"method":"tools/call","jsonrpc":"2.0","params":{"name":"up__echo","arguments":{"a":"\u00e9"},"_meta":{"progressToken":"p","z":[ ]}}}"#,
            V25,
            V25,
            Some("echo"),
            r#"{ "x":1.50e+0,"id":7 ,"method":"tools/call","jsonrpc":"2.0","params":{"name":"echo","arguments":{"a":"\u00e9"},"_meta":{"progressToken":7,"z":[ ]}}}"#,
        );
    }
}
