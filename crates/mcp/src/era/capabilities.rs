//! What must change in a client's capabilities when its requests go to a server of the modern era?
//!
//! | from | to | rewrite |
//! |---|---|---|
//! | legacy | modern | `roots.listChanged` is removed: there is nothing to notify any more |
//! | legacy | modern | `tasks` is removed, and of `extensions` the modern task extension: what a server does with them reaches a legacy client only in the old way |
//!
//! All else passes byte for byte. Sources: `ClientCapabilities` of 2025-11-25 and 2026-07-28.

use crate::json::{Span, get, is_object};
use crate::rewrite::Splice;
use crate::tasks::EXTENSION;

/// What a legacy client's `capabilities` are in a modern request's `_meta`. Both are JSON; what is
/// no object becomes one without members.
pub fn legacy_to_modern(capabilities: &[u8]) -> Vec<u8> {
    if !capabilities.starts_with(b"{") {
        return b"{}".to_vec();
    }
    let all = Span::all(capabilities);
    let mut splice = Splice::new(capabilities);
    splice.remove_member(all, "tasks");
    for (member, key) in [("roots", "listChanged"), ("extensions", EXTENSION)] {
        if let Some(inner) = get(capabilities, all, member) {
            splice.remove_member(inner, key);
        }
    }
    let mut out = Vec::with_capacity(capabilities.len());
    splice.write_into(&mut out);
    out
}

/// `capabilities`, a JSON object, with the tasks extension among them.
pub fn with_tasks(capabilities: &[u8]) -> Vec<u8> {
    let all = Span::all(capabilities);
    let mut splice = Splice::new(capabilities);
    let member = format!("\"{EXTENSION}\":{{}}");
    match get(capabilities, all, "extensions") {
        Some(extensions) if get(capabilities, extensions, EXTENSION).is_some() => {}
        Some(extensions) if is_object(capabilities, extensions) => {
            splice.insert_member(extensions, member.into_bytes());
        }
        Some(other) => splice.replace(other, format!("{{{member}}}").into_bytes()),
        None => splice.insert_member(all, format!("\"extensions\":{{{member}}}").into_bytes()),
    }
    let mut out = Vec::with_capacity(capabilities.len() + 64);
    splice.write_into(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::{legacy_to_modern, with_tasks};

    #[test]
    fn the_tasks_extension_is_declared_once_beside_whatever_is_there() {
        const TASKS: &str = r#""io.modelcontextprotocol/tasks":{}"#;
        for (before, after) in [
            ("{}", format!(r#"{{"extensions":{{{TASKS}}}}}"#)),
            (r#"{"extensions":{}}"#, format!(r#"{{"extensions":{{{TASKS}}}}}"#)),
            (r#"{"extensions":null}"#, format!(r#"{{"extensions":{{{TASKS}}}}}"#)),
            (r#"{"extensions":{"a":1}}"#, format!(r#"{{"extensions":{{{TASKS},"a":1}}}}"#)),
        ] {
            assert_eq!(String::from_utf8_lossy(&with_tasks(before.as_bytes())), after);
            assert_eq!(String::from_utf8_lossy(&with_tasks(after.as_bytes())), after);
        }
    }

    #[test]
    fn a_modern_server_hears_of_what_the_client_can_still_be_asked() {
        for (legacy, modern) in [
            ("{}", "{}"),
            ("null", "{}"),
            ("[]", "{}"),
            (r#"{"roots":{"listChanged":true},"x":1e0}"#, r#"{"roots":{},"x":1e0}"#),
            (r#"{"roots":{"listChanged":false,"y":[ ]}}"#, r#"{"roots":{"y":[ ]}}"#),
            (
                r#"{"roots":null,"sampling":{"tools":{}}}"#,
                r#"{"roots":null,"sampling":{"tools":{}}}"#,
            ),
            (
                r#"{"elicitation":{"form":{},"url":{}},"tasks":{"list":{}},"experimental":{"a":{}}}"#,
                r#"{"elicitation":{"form":{},"url":{}},"experimental":{"a":{}}}"#,
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"io.modelcontextprotocol/ui":{}}}"#,
                r#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8_lossy(&legacy_to_modern(legacy.as_bytes())), modern);
        }
    }
}
