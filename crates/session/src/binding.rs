//! What is a sealed state bound to?
//!
//! To who was given it and to the request it was given for: spec 2026-07-28 basic/patterns/mrtr,
//! "Server Requirements" 5. A state presented by anybody else, or with another request, does not
//! open.
//!
//! Invariant: every part is hashed with its length before it, so no two different requests feed the
//! digest the same bytes.

use aws_lc_rs::digest::{Context, SHA256};
use kern_mcp::{Span, json};
use kern_terms::{CoreId, Key};

/// Members of `params` that differ between a request and its retry.
const VARYING: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// Who a state, or the id of a task, is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// An HTTP client that authorized itself with nothing: all such are one.
    Nobody,
    /// An HTTP client; the digest of its `Authorization`.
    Credential([u8; 32]),
    /// A connection that carries a whole conversation: nobody else is on it.
    Connection(CoreId, Key),
}

impl Principal {
    /// Bytes that no other principal has.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Nobody => b"nobody".to_vec(),
            Self::Credential(digest) => [&b"credential"[..], &digest].concat(),
            Self::Connection(core, key) => {
                [&b"connection"[..], &[core.0], &key.to_bits().to_be_bytes()].concat()
            }
        }
    }
}

/// The digest of `authorization`, the header's value: the header itself need not be kept.
pub fn credential_of(authorization: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(authorization);
    finish(context)
}

/// The digest of a request and of who sent it. White space between tokens, the order of the members
/// of `params`, and those that a retry changes (`_meta`, `inputResponses`, `requestState`) do not
/// count.
pub fn binding(
    principal: Principal,
    endpoint: Option<&str>,
    method: &[u8],
    message: &[u8],
    params: Option<Span>,
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    part(&mut context, b"kernmantle request 1");
    part(&mut context, &principal.to_bytes());
    part(&mut context, if endpoint.is_some() { b"one" } else { b"all" });
    part(&mut context, endpoint.unwrap_or_default().as_bytes());
    part(&mut context, method);
    let mut members: Vec<_> = params
        .into_iter()
        .flat_map(|params| json::members(message, params))
        .map(|(key, value)| (key.of(message), value.of(message)))
        .filter(|(key, _)| !VARYING.iter().any(|name| json::same_text(key, name)))
        .collect();
    members.sort_unstable();
    let mut tight = Vec::new();
    for (key, value) in members {
        part(&mut context, key);
        tight.clear();
        tighten(&mut tight, value);
        part(&mut context, &tight);
    }
    finish(context)
}

fn part(context: &mut Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn finish(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Appends `value`, valid JSON, without the white space between its tokens.
fn tighten(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len());
    let (mut inside, mut escaped) = (false, false);
    for byte in value {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' if !inside => continue,
            b'"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && *byte == b'\\' && !escaped;
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(principal: Principal, endpoint: Option<&str>, method: &str, params: &str) -> [u8; 32] {
        let span = Some(Span::all(params.as_bytes()));
        binding(principal, endpoint, method.as_bytes(), params.as_bytes(), span)
    }

    #[test]
    fn a_retry_is_the_same_request_and_anything_else_is_another() {
        let nobody = Principal::Nobody;
        let first = of(nobody, None, "tools/call", r#"{"name":"a","arguments":{"x":"y \" z"}}"#);
        for same in [
            r#"{ "name" : "a", "arguments" : { "x" : "y \" z" } }"#,
            r#"{"arguments":{"x":"y \" z"},"_meta":{"a":1},"name":"a"}"#,
            r#"{"inputResponses":{"q":{}},"name":"a","arguments":{"x":"y \" z"},"requestState":"s"}"#,
            "{\"name\":\"a\",\n\t\"arguments\":{\"x\":\r\"y \\\" z\"},\"\\u005fmeta\":{}}",
        ] {
            assert_eq!(of(nobody, None, "tools/call", same), first, "{same}");
        }
        for other in [
            r#"{"name":"b","arguments":{"x":"y \" z"}}"#,
            r#"{"name":"a","arguments":{"x":"y  \" z"}}"#,
            r#"{"name":"a","arguments":{"x":"y \" z","more":1}}"#,
            r#"{"name":"a"}"#,
            r#"{"name":"a","arguments":{"x":"y \" z"},"uri":""}"#,
        ] {
            assert_ne!(of(nobody, None, "tools/call", other), first, "{other}");
        }
        let params = r#"{"name":"a","arguments":{"x":"y \" z"}}"#;
        let key = Key { slot: 1, generation: 2 };
        for (principal, endpoint, method) in [
            (Principal::Credential(credential_of(b"Bearer x")), None, "tools/call"),
            (Principal::Connection(CoreId(0), key), None, "tools/call"),
            (nobody, Some("a"), "tools/call"),
            (nobody, Some(""), "tools/call"),
            (nobody, None, "prompts/get"),
        ] {
            assert_ne!(of(principal, endpoint, method, params), first, "{principal:?}");
        }
    }

    #[test]
    fn two_credentials_are_two_principals() {
        let digest = |text: &str| credential_of(text.as_bytes());
        assert_eq!(digest("Bearer a"), digest("Bearer a"));
        assert_ne!(digest("Bearer a"), digest("Bearer b"));
    }
}
