//! Is a message that comes in pieces judged as it would be whole?
#![allow(missing_docs)]

use kern_mcp::growing::{Growing, GrowingFault, SKELETON_BYTES_MAX};
use kern_mcp::limits::DEPTH_MAX;
use kern_mcp::{ScanLimits, json, scan};
use proptest::prelude::*;

/// Takes `message` in pieces of the given sizes, again and again; its skeleton, if it is JSON.
fn grown(message: &[u8], sizes: &[usize]) -> Result<Vec<u8>, GrowingFault> {
    let mut growing = Growing::new(DEPTH_MAX);
    let mut rest = message;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len().max(1)).min(rest.len()));
        growing.push(piece)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(growing.bytes(), message.len() as u64);
    growing.finish().map(<[u8]>::to_vec)
}

#[track_caller]
fn check(message: &[u8], sizes: &[usize]) {
    let whole = json::validate(message, DEPTH_MAX);
    let grown = grown(message, sizes);
    let shown = String::from_utf8_lossy(message);
    assert_eq!(grown.is_ok(), whole.is_ok(), "{shown} {whole:?} {grown:?} {sizes:?}");
    let limits = ScanLimits::default();
    let (Ok(skeleton), Ok(found)) = (grown, scan(message, &limits)) else { return };
    if !found.kind.is_response() {
        return;
    }
    let again = scan(&skeleton, &limits);
    let seen = String::from_utf8_lossy(&skeleton);
    let again = again.unwrap_or_else(|why| panic!("{shown} became {seen}: {why}"));
    assert_eq!(again.kind, found.kind);
    for (name, mine, whole) in [
        ("id", again.id, found.id),
        ("resultType", again.result_type, found.result_type),
        ("isError", again.is_error, found.is_error),
        ("ttlMs", again.ttl_ms, found.ttl_ms),
    ] {
        let (mine, whole) = (mine.map(|it| it.of(&skeleton)), whole.map(|it| it.of(message)));
        let container = whole.is_some_and(|raw| matches!(raw[0], b'{' | b'['));
        assert!(container || mine == whole, "{name}: {shown} became {seen}");
        assert_eq!(mine.is_some(), whole.is_some(), "{name}: {shown} became {seen}");
    }
    assert_eq!(again.related_task.is_some(), found.related_task.is_some(), "{shown}: {seen}");
    assert_eq!(again.structured_content.is_some(), found.structured_content.is_some());
}

/// What is refused whole for its meaning is refused by its skeleton too.
#[track_caller]
fn refused(message: &str) {
    let limits = ScanLimits::default();
    let whole = scan(message.as_bytes(), &limits).expect_err(message).fault;
    for step in 1..=message.len() {
        let skeleton = grown(message.as_bytes(), &[step]).expect(message);
        let grown = scan(&skeleton, &limits).expect_err(message).fault;
        assert_eq!(grown, whole, "{message} by {step}");
    }
}

#[test]
fn an_answer_that_is_refused_whole_is_refused_when_it_was_passed_on() {
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[1]},"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[1]},"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[1],"isError":true,"isError":false}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[1],"isErro\u0072":true,"isError":false}}"#,
        r#"{"jsonrpc":"2.0","result":{"content":[1]}}"#,
        r#"{"id":1,"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"1.0","id":1,"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":1,"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":{},"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"ID":1,"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[1],"_meta":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"traceparent":1,"traceparent":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{},"_met\u0061":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[1]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":"x"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        "7",
    ] {
        refused(message);
    }
}

/// Right and wrong.
const TEXTS: &[&str] = &[
    r#" { "a" : [ 1 , -0.5e+10 , 1E9 , true,false , null , "x\u00e9\\\"\/\b" , {} , [ ] ] } "#,
    r#"{"jsonrpc":"2.0","id":"a\u0062","result":{"content":[{"x":[1]}],"_meta":{"a":{"b":1}}}}"#,
    r#"{"result":{"resultType":"complete","ttlMs":12,"big":"é漢😀"},"jsonrpc":"2.0","id":7}"#,
    "01",
    "-",
    "-x",
    "1.",
    "1.e1",
    "1e",
    "1e+",
    "1e+5",
    "0",
    "0x",
    "-0",
    "00",
    "1.5.5",
    "--1",
    "tru",
    "truex",
    "true ",
    "nul",
    "nulL",
    "falsee",
    "",
    " ",
    "[",
    "]",
    "{",
    "}",
    "[1",
    "[1,]",
    "[,1]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{1:1}",
    "{\"a\" 1}",
    "[1 2]",
    "[1}",
    "{\"a\":1]",
    "\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12G4\"",
    "\"\\uD83D\"",
    "\"a\nb\"",
    "\"\u{7f}\"",
    "1 1",
    "{} {}",
    "\u{feff}{}",
    "\"é",
    "\u{c}1",
];

#[test]
fn grammar_is_the_same_at_every_cut() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for message in TEXTS.iter().copied().chain([&*deep(128), &deep(129)]) {
        for step in 1..=message.len().max(1) {
            check(message.as_bytes(), &[step]);
        }
    }
    for bytes in [
        &b"\"\xc3\""[..],
        b"\"\xc3\xa9\"",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf0\x9f\x98\"",
        b"\"\xf0\x9f\x98\x80\"",
        b"\"\xe6\\n\"",
        b"\"\xc0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\xc3",
    ] {
        for step in 1..=bytes.len() {
            check(bytes, &[step]);
        }
    }
}

#[test]
fn what_large_values_hold_is_not_kept() {
    let text = "x".repeat(3 << 20);
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"text":"{text}"}}],"s":"{text}","n":1{}}}}}"#,
        "0".repeat(3 << 20)
    );
    let skeleton = grown(message.as_bytes(), &[32 << 10]).expect("JSON");
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"s":"","n":0}}"#;
    assert_eq!(String::from_utf8_lossy(&skeleton), expected);
    let members: String = (0..60_000).map(|n| format!(r#""m{n}":1,"#)).collect();
    let message = format!(r#"{{"result":{{{members}"a":1}}}}"#);
    assert!(message.len() > SKELETON_BYTES_MAX);
    assert_eq!(grown(message.as_bytes(), &[100]), Err(GrowingFault::Skeleton));
}

#[test]
fn an_answer_can_begin_only_within_a_value_of_its_result() {
    let begun = |held: &str| {
        let mut growing = Growing::new(DEPTH_MAX);
        growing.push(held.as_bytes()).expect(held);
        let beginning = growing.beginning(held.as_bytes(), 7)?;
        let closed = String::from_utf8(beginning.closed.clone()).expect("text");
        assert!(closed.starts_with(&held[..beginning.taken_bytes]));
        assert_eq!(beginning.closed.len(), beginning.taken_bytes + beginning.added_bytes);
        scan(&beginning.closed, &ScanLimits::default()).expect(&closed);
        Some(closed)
    };
    let whole = |result: &str| Some(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#));
    let head = r#"{"jsonrpc":"2.0","id":7,"result":"#;
    assert_eq!(begun(&format!(r#"{head}{{"content":[{{"te"#)), whole(r#"{"content":[]}"#));
    assert_eq!(begun(&format!(r#"{head}{{"a":1,"s":"x"#)), whole(r#"{"a":1,"s":""}"#));
    assert_eq!(begun(&format!(r#"{head}{{"a":1,"s":"x\"#)), whole(r#"{"a":1,"s":""}"#));
    assert_eq!(begun(&format!(r#"{head}{{"a":[],"o":{{"k"#)), whole(r#"{"a":[],"o":{}}"#));
    let last = Some(r#"{"result":{"content":[]},"jsonrpc":"2.0","id":7}"#.to_owned());
    assert_eq!(begun(r#"{"result":{"content":["#), last);
    for held in [
        r#"{"#,
        r#"{"id":7,"result":{"#,
        r#"{"result":{"a"#,
        r#"{"result":{"a":1"#,
        r#"{"result":{"a":tr"#,
        r#"{"result":{"a":[]"#,
        r#"{"result":{"a":[],"#,
        r#"{"result":[["#,
        r#"{"params":{"a":["#,
        r#"[{"result":{"a":["#,
        r#"{"error":{"data":["#,
        r#"{"result":{"a":[]},"x":{"a":["#,
    ] {
        assert_eq!(begun(held), None, "{held}");
    }
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[0-9]{1,3}",
        "-?[1-9][0-9]{0,2}(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
        Just("true".to_owned()),
        Just("null".to_owned()),
        "\"[a-z éß漢😀]{0,90}\"",
        "\"[a-z]{0,3}(\\\\n|\\\\u00e9|\\\\\")?[a-z]{0,70}\"",
        Just("\"complete\"".to_owned()),
        Just("\"2.0\"".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![
            Just("\"id\""),
            Just("\"result\""),
            Just("\"jsonrpc\""),
            Just("\"_meta\""),
            Just("\"resultType\""),
            Just("\"isError\""),
            Just("\"content\""),
            Just("\"ttlMs\""),
            Just("\"structuredContent\""),
            Just("\"io.modelcontextprotocol/related-task\""),
            Just("\"resul\\u0074\""),
            Just("\"Result\""),
            Just("\"x\""),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec((key, inner), 0..5).prop_map(|all| {
                let all: Vec<_> =
                    all.iter().map(|(key, value)| format!("{key} : {value}")).collect();
                format!("{{{}}}", all.join(" , "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_judged_the_same_in_any_pieces(
        text in value(),
        harm in proptest::collection::vec((any::<usize>(), any::<u8>(), 0..3_u8), 0..3),
        sizes in proptest::collection::vec(1..80_usize, 1..6),
    ) {
        let mut bytes = text.into_bytes();
        for (place, byte, how) in harm {
            let place = place % (bytes.len() + 1);
            match how {
                0 => bytes.insert(place, byte),
                1 if place < bytes.len() => bytes[place] = byte,
                _ => bytes.truncate(place),
            }
        }
        check(&bytes, &sizes);
    }

    #[test]
    fn any_answer_has_the_skeleton_of_its_envelope(
        result in value(), meta in value(), sizes in proptest::collection::vec(1..80_usize, 1..6),
        last in any::<bool>(),
    ) {
        let message = match last {
            true => format!(r#"{{"result":{{"content":{result},"_meta":{meta}}},"jsonrpc":"2.0","id":7}}"#),
            false => format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"_meta":{meta},"content":{result}}}}}"#),
        };
        check(message.as_bytes(), &sizes);
    }
}
