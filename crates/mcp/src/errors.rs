//! Which error code says what, in which revision, and with which HTTP status?
//!
//! Sources: JSON-RPC 2.0 section 5.1; MCP 2026-07-28 basic/index "Error Codes" and
//! basic/transports/streamable-http; the `schema.ts` of each earlier revision.
//!
//! The status belongs to the cause, not to the code: -32602 for a request without its required `_meta`
//! is HTTP 400, -32602 from a server that does not know the resource is an answer like any other (200).

use kern_terms::{Era, Revision};

use crate::json::quote_into;

/// JSON-RPC: the bytes are not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON-RPC: JSON, but not a request.
pub const INVALID_REQUEST: i64 = -32600;
/// JSON-RPC: no such method here.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: wrong params. Modern: also a missing resource or a missing required `_meta` member.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: the receiver failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// MCP up to 2025-11-25: no such resource. Modern peers accept it and must not send it.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// MCP 2025-11-25 only: the user must visit a URL first.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;
/// MCP 2026-07-28: a header is missing, malformed, or says other than the body.
pub const HEADER_MISMATCH: i64 = -32020;
/// MCP 2026-07-28: the request needs a capability the client did not declare.
pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
/// MCP 2026-07-28: the revision is not spoken here.
pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;

/// Why a request gets an error for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Not JSON.
    Parse,
    /// Not a request.
    InvalidRequest,
    /// No such method.
    MethodNotFound,
    /// A modern request without a required `_meta` member, or params of the wrong type.
    MalformedParams,
    /// Params that are well-formed and name nothing we have: an unknown tool, a stale cursor.
    InvalidParams,
    /// No such resource.
    ResourceNotFound,
    /// We failed, or the upstream did.
    Internal,
    /// A header is missing, malformed, or says other than the body.
    HeaderMismatch,
    /// The client lacks a capability.
    MissingClientCapability,
    /// The revision is not spoken here.
    UnsupportedProtocolVersion,
}

impl Cause {
    /// The code a client of `era` reads.
    pub const fn code(self, era: Era) -> i64 {
        match (self, era) {
            (Self::Parse, _) => PARSE_ERROR,
            (Self::InvalidRequest, _) => INVALID_REQUEST,
            (Self::MethodNotFound, _) => METHOD_NOT_FOUND,
            (Self::MalformedParams | Self::InvalidParams, _) => INVALID_PARAMS,
            (Self::ResourceNotFound, Era::Modern) => INVALID_PARAMS,
            (Self::ResourceNotFound, Era::Legacy) => RESOURCE_NOT_FOUND,
            (Self::Internal, _) => INTERNAL_ERROR,
            (Self::HeaderMismatch, Era::Modern) => HEADER_MISMATCH,
            (Self::MissingClientCapability, Era::Modern) => MISSING_CLIENT_CAPABILITY,
            (Self::UnsupportedProtocolVersion, Era::Modern) => UNSUPPORTED_PROTOCOL_VERSION,
            // Legacy revisions have one word for all three.
            (
                Self::HeaderMismatch
                | Self::MissingClientCapability
                | Self::UnsupportedProtocolVersion,
                Era::Legacy,
            ) => INVALID_REQUEST,
        }
    }

    /// The HTTP status of the answer. Legacy revisions fix none for JSON-RPC errors except 400 for
    /// what is no message of the protocol.
    pub const fn http_status(self, era: Era) -> u16 {
        match (self, era) {
            (Self::Parse | Self::InvalidRequest, _) => 400,
            (Self::HeaderMismatch | Self::UnsupportedProtocolVersion, _) => 400,
            (Self::MalformedParams | Self::MissingClientCapability, Era::Modern) => 400,
            (Self::MethodNotFound, Era::Modern) => 404,
            _ => 200,
        }
    }
}

/// The HTTP status a modern server's answer with `code` has when the server itself, not a handler
/// behind it, refused the request: for passing an upstream's own error on. -32602 is a handler's.
pub const fn modern_status_of(code: i64) -> u16 {
    match code {
        METHOD_NOT_FOUND => 404,
        PARSE_ERROR
        | INVALID_REQUEST
        | HEADER_MISMATCH
        | MISSING_CLIENT_CAPABILITY
        | UNSUPPORTED_PROTOCOL_VERSION => 400,
        _ => 200,
    }
}

/// Whether a server that answers with `code` must be a modern one: era detection reads it
/// (streamable-http, "Backward Compatibility").
pub const fn proves_modern(code: i64) -> bool {
    matches!(code, HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_PROTOCOL_VERSION)
}

/// Appends the `data` of an [`UNSUPPORTED_PROTOCOL_VERSION`] error.
pub fn unsupported_version_data(out: &mut Vec<u8>, supported: &[Revision], requested: &str) {
    out.extend_from_slice(b"{\"supported\":[");
    for (index, revision) in supported.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quote_into(out, revision.as_str());
    }
    out.extend_from_slice(b"],\"requested\":");
    quote_into(out, requested);
    out.push(b'}');
}

/// Appends the `data` of a [`MISSING_CLIENT_CAPABILITY`] error; `capabilities` is a JSON object such as
/// `{"sampling":{}}`.
pub fn missing_capability_data(out: &mut Vec<u8>, capabilities: &[u8]) {
    out.extend_from_slice(b"{\"requiredCapabilities\":");
    out.extend_from_slice(capabilities);
    out.push(b'}');
}
