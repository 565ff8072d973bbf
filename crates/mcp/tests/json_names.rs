//! Do exposed names stay apart, stay the same, and fit every client?

use kern_mcp::names::{exposed, is_upstream_name, split};
use proptest::prelude::*;

#[test]
fn names_that_fit_are_readable_and_others_end_in_a_hash() {
    for (upstream, name, expected) in [
        ("git", "status", "git__status"),
        ("git", "_private", "git___private"),
        ("my-files", "read_file", "my-files__read_file"),
        // Remembered by clients: these must never change.
        ("git", "log.show", "git__log_show_z7gcrpur"),
        ("git", "日本", "git_____ugrgrenu"),
        ("git", "", "git___5dtri6sv"),
    ] {
        assert_eq!(exposed(upstream, name, 64), expected, "{name}");
    }
}

#[test]
fn upstream_names_keep_the_border_unique() {
    for (name, valid) in [
        ("git", true),
        ("a", true),
        ("a-b_c", true),
        ("9lives", true),
        ("a-", true),
        ("", false),
        ("a__b", false),
        ("a_", false),
        ("_a", false),
        ("-a", false),
        ("a.b", false),
        ("é", false),
        ("abcdefghijklmnopqrstuvwxyz0123", true),
        ("abcdefghijklmnopqrstuvwxyz01234", false),
    ] {
        assert_eq!(is_upstream_name(name), valid, "{name}");
    }
}

proptest! {
    #[test]
    fn every_exposed_name_is_accepted_by_every_client(
        upstream in "[a-z0-9][a-zA-Z0-9-]{0,29}", name in "\\PC{0,200}", length_max in 42usize..=128,
    ) {
        let found = exposed(&upstream, &name, length_max);
        prop_assert!(found.len() <= length_max);
        prop_assert!(found.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        prop_assert_eq!(&found, &exposed(&upstream, &name, length_max));
        let (first, rest) = split(&found).expect("has a border");
        prop_assert_eq!(first, upstream.as_str());
        if found.len() == upstream.len() + 2 + name.len() {
            prop_assert!(rest == name || rest.len() > 9);
        }
    }

    #[test]
    fn two_tools_never_share_a_name(
        upstreams in ("[a-z][a-z-]{0,8}", "[a-z][a-z-]{0,8}"), names in ("[a-z_.é ]{0,70}", "[a-z_.é ]{0,70}"),
    ) {
        let (a, b) = ((&upstreams.0, &names.0), (&upstreams.1, &names.1));
        prop_assume!(a != b);
        prop_assert_ne!(exposed(a.0, a.1, 64), exposed(b.0, b.1, 64));
    }
}
