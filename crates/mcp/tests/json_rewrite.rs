//! Is a rewritten message the old one plus the edits, and still JSON?

use kern_mcp::json::{get, validate};
use kern_mcp::limits::DEPTH_MAX;
use kern_mcp::{Span, Splice};
use proptest::prelude::*;

fn check(message: &str, edit: impl Fn(&mut Splice<'_>, Span), expected: &str) {
    let root = validate(message.as_bytes(), DEPTH_MAX).expect(message);
    let mut splice = Splice::new(message.as_bytes());
    edit(&mut splice, root);
    let mut out = Vec::new();
    splice.write_into(&mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert_eq!(out, expected, "{message}");
    validate(out.as_bytes(), DEPTH_MAX).expect(expected);
}

#[test]
fn members_come_and_go_with_their_commas() {
    let insert = |keys: &'static [&'static str]| {
        move |splice: &mut Splice<'_>, root: Span| {
            for key in keys {
                splice.insert_member(root, format!("\"{key}\":0").into_bytes());
            }
        }
    };
    check("{}", insert(&["x"]), r#"{"x":0}"#);
    check("{ }", insert(&["x", "y"]), r#"{"x":0,"y":0 }"#);
    check(r#"{"a":1}"#, insert(&["x"]), r#"{"x":0,"a":1}"#);
    check(r#" { "a" : 1 } "#, insert(&["x", "y"]), r#" {"x":0,"y":0, "a" : 1 } "#);
    check("null", insert(&["x", "y"]), r#"{"x":0,"y":0}"#);
    check("[ ]", insert(&["x"]), r#"{"x":0}"#);

    let remove = |keys: &'static [&'static str]| {
        move |splice: &mut Splice<'_>, root: Span| {
            for key in keys {
                assert!(splice.remove_member(root, key));
            }
            assert!(!splice.remove_member(root, "absent"));
        }
    };
    check(r#"{"a":1}"#, remove(&["a"]), "{}");
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["a"]), r#"{"b":2,"c":3}"#);
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["b"]), r#"{"a":1,"c":3}"#);
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["c"]), r#"{"a":1,"b":2}"#);
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["c", "b"]), r#"{"a":1}"#);
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["a", "c"]), r#"{"b":2}"#);
    check(r#"{"a":1,"b":2,"c":3}"#, remove(&["a", "b", "c"]), "{}");
    check("{ \"a\" : 1 ,\n \"b\" : 2 }", remove(&["b"]), "{ \"a\" : 1  }");
    check(r#"{"\\\"":1,"a\\":2,"\u0061":3}"#, remove(&["\\\"", "a\\"]), r#"{"\u0061":3}"#);
    check(r#"{"\u0061":3}"#, remove(&["a"]), "{}");
}

#[test]
fn edits_of_one_object_settle_their_commas_together() {
    check(
        r#"{"a":1,"b":{"c":2}}"#,
        |splice, root| {
            let b = get(splice.message(), root, "b").expect("b");
            splice.remove_member(b, "c");
            splice.insert_member(b, &b"\"x\":0"[..]);
            splice.remove_member(root, "a");
            splice.insert_member(root, &b"\"y\":0"[..]);
        },
        r#"{"y":0,"b":{"x":0}}"#,
    );
    check(
        r#"{"a":1,"b":2}"#,
        |splice, root| {
            splice.remove_member(root, "b");
            splice.remove_member(root, "a");
            splice.insert_member(root, &b"\"x\":0"[..]);
            splice.insert_member(root, &b"\"y\":0"[..]);
        },
        r#"{"x":0,"y":0}"#,
    );
    check(
        r#"{"a":1,"b":[1,2]}"#,
        |splice, root| {
            let a = get(splice.message(), root, "a").expect("a");
            splice.replace(a, &b"{\"deep\":[]}"[..]);
        },
        r#"{"a":{"deep":[]},"b":[1,2]}"#,
    );
}

#[test]
fn params_alone_are_written_for_another_message() {
    let message = br#"{"id":1,"params":{"a":1,"b":2},"x":0}"#;
    let root = Span::all(message);
    let params = get(message, root, "params").expect("params");
    let mut splice = Splice::new(message);
    splice.replace(get(message, root, "id").expect("id"), &b"9"[..]);
    splice.remove_member(params, "a");
    splice.remove_member(root, "x");
    let mut out = Vec::new();
    splice.write_span_into(params, &mut out);
    assert_eq!(out, br#"{"b":2}"#);
}

#[test]
#[should_panic(expected = "edits do not overlap")]
fn two_edits_of_one_value_are_a_bug_of_the_caller() {
    let message = br#"{"a":[1,2]}"#;
    let a = get(message, Span::all(message), "a").expect("a");
    let mut splice = Splice::new(message);
    splice.replace(a, &b"1"[..]);
    splice.replace(a, &b"2"[..]);
    splice.write_into(&mut Vec::new());
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Keep,
    Remove,
    Replace,
}

proptest! {
    #[test]
    fn any_mix_of_edits_equals_editing_the_list_of_members(
        fates in prop::collection::vec(prop_oneof![Just(Fate::Keep), Just(Fate::Remove), Just(Fate::Replace)], 0..9),
        inserted in 0usize..4,
        spaces in prop::collection::vec(prop_oneof![Just(""), Just(" "), Just("\n\t")], 40),
        order in any::<u64>(),
    ) {
        let mut spaces = spaces.into_iter().cycle();
        let mut message = String::from("{");
        for (index, _) in fates.iter().enumerate() {
            let mut space = || spaces.next().expect("cycles");
            if index > 0 {
                message += ",";
            }
            message += &format!("{}\"k{index}\"{}:{}{{\"v\":{index}}}{}", space(), space(), space(), space());
        }
        message += "}";
        let bytes = message.as_bytes();
        let root = Span::all(bytes);
        let mut splice = Splice::new(bytes);
        let mut steps: Vec<usize> = (0..fates.len() + inserted).collect();
        // Any order of calls.
        let mut random = order | 1;
        for index in (1..steps.len()).rev() {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            steps.swap(index, (random >> 33) as usize % (index + 1));
        }
        let mut inserts = Vec::new();
        for step in steps {
            let Some(fate) = fates.get(step) else {
                inserts.push(format!("n{step}"));
                splice.insert_member(root, format!("\"n{step}\":0").into_bytes());
                continue;
            };
            let value = get(bytes, root, &format!("k{step}")).expect("member");
            match fate {
                Fate::Keep => {}
                Fate::Remove => splice.remove_value(value),
                Fate::Replace => splice.replace(value, &b"\"new\""[..]),
            }
        }
        let mut out = Vec::new();
        splice.write_into(&mut out);
        let found: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&out).expect("JSON");
        let mut expected = serde_json::Map::new();
        for name in inserts {
            expected.insert(name, 0.into());
        }
        for (index, fate) in fates.iter().enumerate() {
            let value = match fate {
                Fate::Remove => continue,
                Fate::Replace => "new".into(),
                Fate::Keep => serde_json::json!({"v": index}),
            };
            expected.insert(format!("k{index}"), value);
        }
        prop_assert_eq!(
            found.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>(),
            "{} -> {}", message, String::from_utf8_lossy(&out)
        );
        if splice.is_empty() {
            prop_assert_eq!(out, bytes);
        }
    }
}
