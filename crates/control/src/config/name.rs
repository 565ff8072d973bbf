//! What may an upstream be called?
//!
//! The name becomes the prefix of its tools' names, which clients bound to 64 characters of
//! `[A-Za-z0-9_-]`; two underscores in a row separate prefix and tool.

use crate::limits::NAME_BYTES_MAX;

/// Whether `name` may be an upstream's.
pub(crate) fn is_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let inner = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    bytes.len() <= NAME_BYTES_MAX
        && inner
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("__")
}

/// The nearest name to `declared` that may be used: other characters become `-`, which neither
/// repeats nor stands at an end.
pub(crate) fn fit_name(declared: &str) -> String {
    if is_name(declared) {
        return declared.to_owned();
    }
    let mut name = String::with_capacity(NAME_BYTES_MAX);
    for c in declared.chars() {
        let separator = !c.is_ascii_alphanumeric();
        if separator && (name.is_empty() || name.ends_with(['-', '_'])) {
            continue;
        }
        name.push(if separator && c != '_' { '-' } else { c });
        if name.len() == NAME_BYTES_MAX {
            break;
        }
    }
    let name = name.trim_end_matches(['-', '_']);
    if name.is_empty() { "server".to_owned() } else { name.to_owned() }
}

/// `name` with `-2`, `-3` … such that `taken` refuses it.
pub(crate) fn distinct_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2_u32;
    while taken(&candidate) {
        let suffix = format!("-{number}");
        let kept = name.len().min(NAME_BYTES_MAX - suffix.len());
        candidate = format!("{}{suffix}", name[..kept].trim_end_matches(['-', '_']));
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_declared_name_becomes_a_usable_prefix() {
        for (declared, expected) in [
            ("github", "github"),
            ("github.com/modelcontextprotocol/x", "github-com-modelcontextprotocol"),
            ("My Server!", "My-Server"),
            ("a__b", "a_b"),
            ("été", "t"),
            ("  ", "server"),
            ("_x_", "x"),
        ] {
            assert_eq!(fit_name(declared), expected, "{declared}");
        }
        assert_eq!(distinct_name("a", |name| ["a", "a-2"].contains(&name)), "a-3");
        let long = "x".repeat(NAME_BYTES_MAX);
        assert!(is_name(&distinct_name(&long, |name| name == long)));
    }

    proptest! {
        #[test]
        fn what_is_made_fit_is_fit(declared in "\\PC*") {
            prop_assert!(is_name(&fit_name(&declared)));
        }
    }
}
