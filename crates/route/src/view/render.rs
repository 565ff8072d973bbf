//! A definition as it is served: the upstream's bytes, on one line, with only names replaced.

use bytes::Bytes;
use kern_mcp::json::{self, Span};

use crate::lists::Item;

/// The definition with the JSON strings at `edits` (ascending, disjoint) replaced. Shares the
/// upstream's bytes where nothing has to change.
///
/// Line breaks become spaces: in JSON they stand only between tokens, and some framings (stdio,
/// SSE) end a message at a line break.
pub(super) fn render(item: &Item, edits: &[(Span, &str)]) -> Bytes {
    let breaks = item.raw.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    if edits.is_empty() && !breaks {
        return item.raw.clone();
    }
    let grown: usize = edits.iter().map(|(_, text)| text.len() + 2).sum();
    let mut out = Vec::with_capacity(item.raw.len() + grown);
    let mut done = 0;
    for (span, text) in edits {
        out.extend_from_slice(&item.raw[done..span.start as usize]);
        json::quote_into(&mut out, text);
        done = span.end as usize;
    }
    out.extend_from_slice(&item.raw[done..]);
    if breaks {
        for byte in &mut out {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    out.into()
}
