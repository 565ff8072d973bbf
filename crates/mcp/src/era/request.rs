//! What must change in a request that crosses the eras?
//!
//! | from | to | rewrite |
//! |---|---|---|
//! | modern | legacy | `params._meta` loses `io.modelcontextprotocol/` `protocolVersion`, `clientInfo`, `clientCapabilities`, `logLevel` |
//! | modern | legacy | a `_meta` that held nothing else is removed |
//! | modern | legacy | `params.inputResponses` and `params.requestState` are removed |
//! | legacy | modern | `params._meta` gains these members (`logLevel` only if the client set a level); `params` and `_meta` are made where absent |
//! | legacy | modern | such members the client wrote itself are replaced: the session knows better |
//!
//! `progressToken`, `traceparent`, extensions' keys and all else pass. Sources: 2026-07-28 basic/index
//! "Per-request protocol fields"; basic/patterns/mrtr.

use kern_terms::Revision;

use crate::envelope::Envelope;
use crate::json::{Span, members, quote_into};
use crate::rewrite::Splice;

/// The keys of `_meta` that say what a handshake says in the legacy era.
pub const PROTOCOL_VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// See [`PROTOCOL_VERSION_KEY`].
pub const CLIENT_INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
/// See [`PROTOCOL_VERSION_KEY`].
pub const CLIENT_CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
/// See [`PROTOCOL_VERSION_KEY`].
pub const LOG_LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

/// What every modern request says about its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender<'a> {
    /// The revision spoken.
    pub revision: Revision,
    /// The client's `Implementation` object, JSON.
    pub client_info: Option<&'a [u8]>,
    /// The client's `ClientCapabilities` object, JSON.
    pub client_capabilities: &'a [u8],
    /// The level below which the client wants no log messages, a JSON string.
    pub log_level: Option<&'a [u8]>,
}

impl Sender<'_> {
    /// Appends the members of `_meta`, with commas between them.
    pub fn write_members(&self, out: &mut Vec<u8>) {
        let mut first = true;
        let mut member = |key: &str, value: &[u8]| {
            if !std::mem::replace(&mut first, false) {
                out.push(b',');
            }
            quote_into(out, key);
            out.push(b':');
            out.extend_from_slice(value);
        };
        member(PROTOCOL_VERSION_KEY, quoted(self.revision));
        if let Some(client_info) = self.client_info {
            member(CLIENT_INFO_KEY, client_info);
        }
        member(CLIENT_CAPABILITIES_KEY, self.client_capabilities);
        if let Some(log_level) = self.log_level {
            member(LOG_LEVEL_KEY, log_level);
        }
    }

    /// Appends the params of a request that has no others: `{"_meta":{…}}`.
    pub fn write_params(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"_meta\":{");
        self.write_members(out);
        out.extend_from_slice(b"}}");
    }
}

/// The revision as a JSON string.
const fn quoted(revision: Revision) -> &'static [u8] {
    match revision {
        Revision::V2024_11_05 => b"\"2024-11-05\"",
        Revision::V2025_03_26 => b"\"2025-03-26\"",
        Revision::V2025_06_18 => b"\"2025-06-18\"",
        Revision::V2025_11_25 => b"\"2025-11-25\"",
        Revision::V2026_07_28 => b"\"2026-07-28\"",
    }
}

/// Edits a modern request into a legacy one.
pub fn modern_to_legacy(splice: &mut Splice<'_>, envelope: &Envelope) {
    for value in [envelope.input_responses, envelope.request_state].into_iter().flatten() {
        splice.remove_value(value);
    }
    drop_sender(splice, envelope);
}

/// Edits a legacy request into a modern one from `sender`. What is added is written to `bytes`,
/// which must be empty.
pub fn legacy_to_modern<'a>(
    splice: &mut Splice<'a>,
    envelope: &Envelope,
    sender: &Sender<'_>,
    bytes: &'a mut Vec<u8>,
) {
    debug_assert!(bytes.is_empty(), "it becomes one member");
    match (envelope.meta, envelope.params) {
        (Some(meta), _) => {
            sender_fields(envelope).into_iter().flatten().for_each(|old| splice.remove_value(old));
            sender.write_members(bytes);
            splice.insert_member(meta, &**bytes);
        }
        (None, Some(params)) => {
            bytes.extend_from_slice(b"\"_meta\":{");
            sender.write_members(bytes);
            bytes.push(b'}');
            splice.insert_member(params, &**bytes);
        }
        (None, None) => {
            bytes.extend_from_slice(b"\"params\":");
            sender.write_params(bytes);
            splice.insert_member(envelope.root, &**bytes);
        }
    }
}

fn drop_sender(splice: &mut Splice<'_>, envelope: &Envelope) {
    let Some(meta) = envelope.meta else { return };
    let fields = sender_fields(envelope);
    let dropped = fields.iter().flatten().count();
    if dropped == 0 {
        return;
    }
    if members(splice.message(), meta).count() == dropped {
        splice.remove_value(meta);
    } else {
        fields.into_iter().flatten().for_each(|value| splice.remove_value(value));
    }
}

fn sender_fields(envelope: &Envelope) -> [Option<Span>; 4] {
    [
        envelope.protocol_version,
        envelope.client_info,
        envelope.client_capabilities,
        envelope.log_level,
    ]
}
