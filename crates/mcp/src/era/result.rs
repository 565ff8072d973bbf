//! What must change in a plain result that crosses the eras?
//!
//! | from | to | rewrite |
//! |---|---|---|
//! | legacy | modern | `resultType` is added as `"complete"` where absent |
//! | legacy | modern | complete results of cacheable methods gain `ttlMs` and `cacheScope` where absent |
//! | legacy | modern | `_meta["io.modelcontextprotocol/serverInfo"]` is added where absent and known |
//! | modern | legacy | `resultType`, `ttlMs`, `cacheScope` are removed |
//! | modern | legacy | a `structuredContent` that is no object is removed: earlier revisions allow only objects, and the same value stands in `content` as text |
//!
//! A result whose `resultType` is not `"complete"` is not plain. Sources: 2026-07-28 basic/index
//! "ResultType", server/utilities/caching; `CallToolResult` of 2025-11-25.

use crate::envelope::Envelope;
use crate::json::{Span, is_object, same_text};
use crate::method::Method;
use crate::rewrite::Splice;

/// The key of `_meta` that names the server.
pub const SERVER_INFO_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// How long and for whom a result stays fresh where its server does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheHint {
    /// Lifetime in milliseconds; 0 means stale at once.
    pub ttl_ms: u64,
    /// Whether it may be shared between principals.
    pub public: bool,
}

/// Whether a result is final: its `resultType` is absent or `"complete"`.
pub fn is_complete(envelope: &Envelope, message: &[u8]) -> bool {
    envelope.result_type.is_none_or(|kind| same_text(kind.of(message), "complete"))
}

/// Edits a legacy server's result for `method` into a modern one. `server_info` is JSON.
pub fn legacy_to_modern(
    splice: &mut Splice<'_>,
    envelope: &Envelope,
    method: Method,
    hint: CacheHint,
    server_info: Option<&[u8]>,
) {
    let Some(result) = envelope.result else { return };
    let complete = is_complete(envelope, splice.message());
    if envelope.result_type.is_none() {
        splice.insert_member(result, &b"\"resultType\":\"complete\""[..]);
    }
    if complete && method.is_cacheable() {
        if envelope.ttl_ms.is_none() {
            splice.insert_member(result, format!("\"ttlMs\":{}", hint.ttl_ms).into_bytes());
        }
        if envelope.cache_scope.is_none() {
            let scope = if hint.public { "public" } else { "private" };
            splice.insert_member(result, format!("\"cacheScope\":\"{scope}\"").into_bytes());
        }
    }
    if let (Some(info), None) = (server_info, envelope.server_info) {
        insert_server_info(splice, result, envelope.meta, info);
    }
}

/// Edits a modern server's complete result into a legacy one.
pub fn modern_to_legacy(splice: &mut Splice<'_>, envelope: &Envelope) {
    for value in [envelope.result_type, envelope.ttl_ms, envelope.cache_scope].into_iter().flatten()
    {
        splice.remove_value(value);
    }
    if let Some(content) = envelope.structured_content
        && !is_object(splice.message(), content)
    {
        splice.remove_value(content);
    }
}

fn insert_server_info(splice: &mut Splice<'_>, result: Span, meta: Option<Span>, info: &[u8]) {
    let mut bytes = Vec::with_capacity(info.len() + 64);
    if meta.is_none() {
        bytes.extend_from_slice(b"\"_meta\":{");
    }
    bytes.extend_from_slice(b"\"");
    bytes.extend_from_slice(SERVER_INFO_KEY.as_bytes());
    bytes.extend_from_slice(b"\":");
    bytes.extend_from_slice(info);
    if meta.is_none() {
        bytes.push(b'}');
    }
    splice.insert_member(meta.unwrap_or(result), bytes);
}
