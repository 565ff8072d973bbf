//! What several upstreams can do together, and what they say about themselves.
//!
//! Invariants: a capability is merged in if any upstream has it; where two give different values
//! the first in the operator's order wins, except that `true` wins over `false`; the result is
//! bounded whatever the upstreams send.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::json::{self, Span};

use crate::limits::{CAPABILITY_DEPTH_MAX, INSTRUCTIONS_BYTES_MAX};
use crate::lists::Lists;

const NONE: &[u8] = b"{}";

/// The server capabilities of all `lists` as one JSON object.
pub(crate) fn capabilities(lists: &[Arc<Lists>]) -> Bytes {
    let mut objects =
        lists.iter().map(|one| &one.capabilities).filter(|object| object.first() == Some(&b'{'));
    match (objects.next(), objects.next()) {
        (None, _) => Bytes::from_static(NONE),
        (Some(only), None) => only.clone(),
        _ => {
            let all: Vec<&[u8]> = lists.iter().map(|one| &one.capabilities[..]).collect();
            let mut out = Vec::new();
            unite(&all, CAPABILITY_DEPTH_MAX, &mut out);
            out.into()
        }
    }
}

/// Appends the union of JSON values: of objects member by member, of others the one that wins.
fn unite(values: &[&[u8]], depth: usize, out: &mut Vec<u8>) {
    let objects: Vec<&[u8]> =
        values.iter().copied().filter(|value| value.first() == Some(&b'{')).collect();
    if objects.is_empty() || depth == 0 {
        let truth = values.iter().find(|value| **value == b"true");
        out.extend_from_slice(truth.or(values.first()).copied().unwrap_or(b"null"));
        return;
    }
    // Members in the order in which they first appear; capabilities have few.
    let mut united: Vec<(&[u8], Vec<&[u8]>)> = Vec::new();
    for object in objects {
        for (key, value) in json::members(object, Span::all(object)) {
            let (key, value) = (key.of(object), value.of(object));
            match united.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) => values.push(value),
                None => united.push((key, vec![value])),
            }
        }
    }
    out.push(b'{');
    for (at, (key, values)) in united.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.push(b':');
        unite(values, depth - 1, out);
    }
    out.push(b'}');
}

/// What the upstreams tell the model: an only upstream's own words, else each under its name with
/// an equal share of [`INSTRUCTIONS_BYTES_MAX`].
pub(crate) fn instructions(lists: &[Arc<Lists>]) -> Option<String> {
    if let [only] = lists {
        return only.instructions.clone();
    }
    let spoken: Vec<_> = lists
        .iter()
        .filter_map(|one| Some((&one.upstream, one.instructions.as_deref()?.trim())))
        .filter(|(_, words)| !words.is_empty())
        .collect();
    let share = INSTRUCTIONS_BYTES_MAX / spoken.len().max(1);
    let mut out = String::new();
    for (name, words) in spoken {
        let separator = if out.is_empty() { "" } else { "\n\n" };
        let title = format!("{separator}# {name}\n\n");
        let Some(left) = share.checked_sub(title.len()).filter(|&left| left > 0) else { continue };
        out.push_str(&title);
        if words.len() <= left {
            out.push_str(words);
        } else {
            out.push_str(&words[..words.floor_char_boundary(left.saturating_sub(3))]);
            out.push('…');
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kern_terms::Revision;

    fn upstream(name: &str, capabilities: &'static str, words: Option<&str>) -> Arc<Lists> {
        let mut lists = Lists::new(name, Revision::LATEST);
        lists.capabilities = Bytes::from_static(capabilities.as_bytes());
        lists.instructions = words.map(str::to_owned);
        Arc::new(lists)
    }

    fn check(given: &[&'static str], expected: &str) {
        let lists: Vec<_> = (0..)
            .zip(given)
            .map(|(at, capabilities)| upstream(&format!("u{at}"), capabilities, None))
            .collect();
        let merged = capabilities(&lists);
        assert_eq!(std::str::from_utf8(&merged).expect("UTF-8"), expected, "{given:?}");
    }

    #[test]
    fn a_capability_of_any_upstream_is_offered() {
        check(&[], "{}");
        check(&[""], "{}");
        check(&[r#"{ "tools" : {} }"#], r#"{ "tools" : {} }"#);
        check(&[r#"{"tools":{}}"#, r#"{"prompts":{}}"#], r#"{"tools":{},"prompts":{}}"#);
        check(
            &[r#"{"resources":{"subscribe":false}}"#, r#"{"resources":{"subscribe":true}}"#],
            r#"{"resources":{"subscribe":true}}"#,
        );
        check(
            &[r#"{"extensions":{"a":{"x":1}}}"#, r#"{"extensions":{"b":{},"a":{"x":2,"y":3}}}"#],
            r#"{"extensions":{"a":{"x":1,"y":3},"b":{}}}"#,
        );
        check(
            &[r#"{"tools":null}"#, r#"{"tools":{"listChanged":true}}"#],
            r#"{"tools":{"listChanged":true}}"#,
        );
    }

    #[test]
    fn instructions_of_several_stand_under_their_names_and_stay_bounded() {
        let one = upstream("one", "{}", Some("Do."));
        let two = upstream("two", "{}", Some("Do not."));
        let mute = upstream("mute", "{}", Some("  "));
        assert_eq!(instructions(std::slice::from_ref(&one)).as_deref(), Some("Do."));
        let both = instructions(&[Arc::clone(&one), mute, two]).expect("two speak");
        assert_eq!(both, "# one\n\nDo.\n\n# two\n\nDo not.");
        let long = upstream("long", "{}", Some(&"é".repeat(INSTRUCTIONS_BYTES_MAX)));
        let bounded = instructions(&[long, one]).expect("two speak");
        assert!(bounded.len() <= INSTRUCTIONS_BYTES_MAX, "{}", bounded.len());
        assert!(bounded.ends_with("# one\n\nDo."), "the other is still heard");
        assert_eq!(instructions(&[]), None);
    }
}
