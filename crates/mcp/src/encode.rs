//! How is a whole message written around parts that exist already?
//!
//! Every function appends to `out` and never fails. Parts called JSON must be JSON: they are spliced
//! in untouched.

use crate::json::quote_into;

const HEAD: &[u8] = b"{\"jsonrpc\":\"2.0\"";

/// Appends a response with a result; `id` and `result` are JSON.
pub fn result(out: &mut Vec<u8>, id: &[u8], result: &[u8]) {
    out.reserve(HEAD.len() + id.len() + result.len() + 16);
    response_head(out, Some(id));
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
}

/// Appends a response with an error; `id` and `data` are JSON, `message` is text.
///
/// Without an id the member is left out, as the MCP schema has it; JSON-RPC 2.0 itself writes `null`,
/// which a caller may pass.
pub fn error(out: &mut Vec<u8>, id: Option<&[u8]>, code: i64, message: &str, data: Option<&[u8]>) {
    response_head(out, id);
    out.extend_from_slice(b",\"error\":{\"code\":");
    number(out, code);
    out.extend_from_slice(b",\"message\":");
    quote_into(out, message);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
}

/// Appends a request with the number `id`; `params` is JSON.
pub fn request(out: &mut Vec<u8>, id: u64, method: &str, params: Option<&[u8]>) {
    request_head(out, id, method);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(params);
    }
    out.push(b'}');
}

/// Appends all of a request up to its params, so that the caller can write `,"params":` and spliced
/// bytes, and then `}`.
pub fn request_head(out: &mut Vec<u8>, id: u64, method: &str) {
    out.extend_from_slice(HEAD);
    out.extend_from_slice(b",\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.extend_from_slice(b",\"method\":");
    quote_into(out, method);
}

/// Appends all of a response up to its `result` or `error` member; `id` is JSON.
pub fn response_head(out: &mut Vec<u8>, id: Option<&[u8]>) {
    out.extend_from_slice(HEAD);
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id);
    }
}

/// Appends a notification; `params` is JSON.
pub fn notification(out: &mut Vec<u8>, method: &str, params: Option<&[u8]>) {
    out.extend_from_slice(HEAD);
    out.extend_from_slice(b",\"method\":");
    quote_into(out, method);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        out.extend_from_slice(params);
    }
    out.push(b'}');
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}
