//! What must change in a tool's definition that crosses the eras?
//!
//! | from | to | rewrite |
//! |---|---|---|
//! | modern | legacy | an `outputSchema` whose `type` is not `"object"` is removed: earlier revisions know no other, and their clients refuse the whole list |
//!
//! It goes together with the `structuredContent` that is no object (`result`). All else passes byte
//! for byte. Sources: `Tool` of 2025-06-18, 2025-11-25 and 2026-07-28.

use crate::json::{Span, get, same_text};
use crate::rewrite::Splice;

/// The definition `tool` of a modern server as a legacy client gets it; `None` if it is the same.
pub fn modern_to_legacy(tool: &[u8]) -> Option<Vec<u8>> {
    // Most tools have none.
    memchr::memmem::find(tool, b"utputSchema")?;
    let schema = get(tool, Span::all(tool), "outputSchema")?;
    let kind = get(tool, schema, "type");
    if kind.is_some_and(|kind| same_text(kind.of(tool), "object")) {
        return None;
    }
    let mut splice = Splice::new(tool);
    splice.remove_value(schema);
    let mut out = Vec::with_capacity(tool.len());
    splice.write_into(&mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::modern_to_legacy;

    #[test]
    fn a_list_holds_nothing_that_makes_an_old_client_refuse_it() {
        for (modern, legacy) in [
            (r#"{"name":"a"}"#, None),
            (r#"{"name":"outputSchema"}"#, None),
            (r#"{"name":"a","outputSchema":{"type":"object","x":1}}"#, None),
            (r#"{"name":"a","inputSchema":{"outputSchema":{}}}"#, None),
            (r#"{"outputSchema":{"type":"array"},"name":"a"}"#, Some(r#"{"name":"a"}"#)),
            (r#"{"name":"a","outputSchema":{"anyOf":[]}}"#, Some(r#"{"name":"a"}"#)),
            (r#"{"name":"a","outputSchema":true,"z":1e0}"#, Some(r#"{"name":"a","z":1e0}"#)),
        ] {
            let changed = modern_to_legacy(modern.as_bytes());
            assert_eq!(changed.as_deref().map(String::from_utf8_lossy).as_deref(), legacy);
        }
    }
}
