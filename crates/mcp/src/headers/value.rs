//! How does text travel in a header value?
//!
//! Plain where it is visible ASCII and inner spaces; else `=?base64?…?=` around the Base64 of its
//! UTF-8 (2026-07-28, streamable-http, "Value Encoding"). Text that looks encoded is encoded, so that
//! decoding always gives back what was encoded.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &[u8] = b"=?base64?";
const SUFFIX: &[u8] = b"?=";

/// Whether `bytes` are their own header value.
fn is_plain(bytes: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| byte == Some(&b' ');
    bytes.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic())
        && !edge(bytes.first())
        && !edge(bytes.last())
        && !looks_encoded(bytes)
}

/// The header value for `text`: mostly the text itself.
pub fn encode_value(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    if !is_plain(text.as_bytes()) {
        let mut value = Vec::new();
        encode_value_into(&mut value, &text);
        return value.into();
    }
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// Appends the header value for `text`.
pub fn encode_value_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return;
    }
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(SUFFIX);
}

/// The text of a header value. `None` where it holds what a header cannot, or its Base64 is not
/// exactly what [`encode_value_into`] would write: padded, no stray bits, UTF-8 inside.
pub fn decode_value(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = trim(value);
    if !looks_encoded(value) {
        return plain(value);
    }
    let inner = value.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    String::from_utf8(STANDARD.decode(inner).ok()?).ok().map(Cow::Owned)
}

/// The text of a value that is never encoded.
pub(super) fn plain(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = trim(value);
    let allowed = |&byte: &u8| matches!(byte, b' ' | b'\t') || byte.is_ascii_graphic();
    if !value.iter().all(allowed) {
        return None;
    }
    std::str::from_utf8(value).ok().map(Cow::Borrowed)
}

/// Optional white space around a field value is no part of it (RFC 9110 section 5.5).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn looks_encoded(value: &[u8]) -> bool {
    value.starts_with(PREFIX) && value.ends_with(SUFFIX)
}
