//! Which URIs name their upstream, and how.
//!
//! `kern://NAME/<uri>`, and `ui://kern/NAME/<rest>` for `ui://<rest>`, because hosts of MCP Apps take
//! only `ui:` URIs. Invariants: wrapping is injective; what an upstream sends that already looks
//! wrapped is wrapped again, so no upstream can speak in another's name. An upstream's name
//! ([`kern_mcp::names::is_upstream_name`]) holds nothing that a URI would have to escape.

use std::borrow::Cow;

const WRAPPED: &str = "kern://";
const WRAPPED_UI: &str = "ui://kern/";
const UI: &str = "ui://";

/// Whether only the gateway may give out such a URI.
pub(super) fn is_reserved(uri: &str) -> bool {
    uri.starts_with(WRAPPED) || uri.starts_with(WRAPPED_UI)
}

/// The URI that names both the upstream and what is there.
pub(super) fn wrap(upstream: &str, uri: &str) -> String {
    match uri.strip_prefix(UI) {
        Some(rest) => format!("{WRAPPED_UI}{upstream}/{rest}"),
        None => format!("{WRAPPED}{upstream}/{uri}"),
    }
}

/// The inverse of [`wrap`]: the upstream's name, and the URI as the upstream knows it.
pub(super) fn unwrap(uri: &str) -> Option<(&str, Cow<'_, str>)> {
    if let Some(rest) = uri.strip_prefix(WRAPPED_UI) {
        let (upstream, rest) = rest.split_once('/')?;
        return Some((upstream, Cow::Owned(format!("{UI}{rest}"))));
    }
    let (upstream, original) = uri.strip_prefix(WRAPPED)?.split_once('/')?;
    // `ui:` has its own spelling; a second one would make two URIs of one thing.
    (!original.starts_with(UI)).then_some((upstream, Cow::Borrowed(original)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_uri_leads_back_to_what_was_wrapped() {
        for name in ["fs", "a-b", "a_b", "0", "kern"] {
            for uri in ["file:///a", "ui://w", "ui://kern/fs/w", "kern://fs/file:///a", "x:", "/"] {
                let wrapped = wrap(name, uri);
                assert!(is_reserved(&wrapped));
                assert_eq!(unwrap(&wrapped), Some((name, Cow::Borrowed(uri))), "{wrapped}");
            }
        }
    }
}
