//! Does the validator accept exactly JSON?
//!
//! Checked against `serde_json` as an independent reader, on tables, on generated documents and on
//! documents with a byte changed.

use kern_mcp::Span;
use kern_mcp::json::{JsonFaultKind, elements, get, members, unescape, validate};
use kern_mcp::limits::DEPTH_MAX;
use proptest::prelude::*;

/// `serde_json` skips strings without checking UTF-8 and counts no depth when it ignores a value.
fn oracle(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

fn check(bytes: &[u8]) {
    let ours = validate(bytes, DEPTH_MAX);
    if matches!(ours, Err(fault) if fault.kind == JsonFaultKind::TooDeep) {
        return;
    }
    assert_eq!(ours.is_ok(), oracle(bytes), "{ours:?} {:?}", String::from_utf8_lossy(bytes));
    if let Ok(span) = ours {
        let text = span.of(bytes);
        assert!(!text[0].is_ascii_whitespace() && !text[text.len() - 1].is_ascii_whitespace());
    }
}

/// Right and wrong, and right for some parsers.
const TEXTS: &[&str] = &[
    "",
    " ",
    "{}",
    "[]",
    " {} ",
    "\u{feff}{}",
    "null",
    "nul",
    "nulll",
    "true",
    "false",
    "TRUE",
    "0",
    "-0",
    "00",
    "01",
    "-01",
    "-",
    "+1",
    "1.",
    ".5",
    "1.5",
    "1.5e",
    "1e5",
    "1E+5",
    "1e-05",
    "1e+",
    "1e5.5",
    "1_000",
    "0x10",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "123456789012345678901234567890",
    r#""""#,
    r#""a"#,
    r#""\""#,
    r#""\\""#,
    r#""\\\""#,
    r#""\x""#,
    r#""\u12g4""#,
    r#""\u1234""#,
    r#""\ud83d""#,
    r#""\ud83d\ude00""#,
    "\"\t\"",
    "\"\u{7f}\"",
    "\"a\nb\"",
    "'a'",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,2",
    "[1}",
    "{]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1,\"a\":2}",
    "{}{}",
    "[] []",
    "{} x",
    "/**/{}",
    "[1,/*x*/2]",
    "\u{a0}1",
    "\u{c}1",
    "[\"abcdefgh\",\"abcdefghi\"]",
    "{\"\":0}",
    "\"\u{e9}\u{65e5}\u{1f600}\"",
];

/// Texts that are no UTF-8, or hold what a text file may not.
const BYTES: &[&[u8]] = &[
    b"\"\xff\"",
    b"\"\xc3\"",
    b"\"\xc3\xa9\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xc0\x80\"",
    b"\"aaaaaaaa\xf4\x90\x80\x80aaaaaaaaaaaa\"",
    b"\xef\xbb\xbf{}",
    b"\xff",
    b"{\"a\":1}\0",
    b"\0",
];

#[test]
fn the_grammar_is_rfc_8259_or_a_peer_reads_what_we_refused() {
    for text in TEXTS {
        check(text.as_bytes());
    }
    for bytes in BYTES {
        check(bytes);
    }
}

#[test]
fn strings_of_every_length_end_where_they_end() {
    for length in 0..40 {
        for special in ["", "\\n", "\\u00e9", "\u{e9}", "\u{1f600}", "\u{1}", "\\", "\\q", "\""] {
            for at in 0..=length {
                let mut text = "a".repeat(length);
                text.insert_str(at, special);
                for tail in ["", " ", "        ,        "] {
                    check(format!("\"{text}\"{tail}").as_bytes());
                    check(format!("[\"{text}\"{tail}1]").as_bytes());
                }
            }
        }
    }
}

#[test]
fn depth_is_bounded_or_a_message_of_brackets_ends_the_process() {
    for (depth, fits) in [(1, true), (DEPTH_MAX, true), (DEPTH_MAX + 1, false), (1_000_000, false)]
    {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let text = open.repeat(depth as usize) + inner + &close.repeat(depth as usize);
            let ours = validate(text.as_bytes(), u32::MAX);
            assert_eq!(ours.is_ok(), fits, "{depth} {open}");
            if !fits {
                assert_eq!(ours.expect_err("too deep").kind, JsonFaultKind::TooDeep);
            }
        }
    }
}

#[test]
fn a_fault_says_where_it_is() {
    for (text, offset, kind) in [
        ("{\"a\":tru}", 8, JsonFaultKind::UnexpectedByte),
        ("{\"a\":1", 6, JsonFaultKind::Truncated),
        ("{\"a\":01}", 6, JsonFaultKind::Number),
        ("[1] 2", 4, JsonFaultKind::Trailing),
        ("[\"aaaaaaaaaa\\x\"]", 13, JsonFaultKind::Escape),
        ("[\"aaa\u{1}\",2,3,4,5]", 5, JsonFaultKind::ControlCharacter),
    ] {
        let fault = validate(text.as_bytes(), DEPTH_MAX).expect_err(text);
        assert_eq!((fault.offset, fault.kind), (offset, kind), "{text}");
    }
}

/// Any JSON value, at most four deep.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn parsed(bytes: &[u8], span: Span) -> serde_json::Value {
    serde_json::from_slice(span.of(bytes)).expect("a span of validated JSON is JSON")
}

fn walk(bytes: &[u8], span: Span, value: &serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            let found: Vec<_> = members(bytes, span).collect();
            assert_eq!(found.len(), object.len());
            for ((key, found), (name, value)) in found.iter().zip(object) {
                assert_eq!(unescape(key.of(bytes)).as_deref(), Some(name.as_str()));
                assert_eq!(get(bytes, span, name), Some(*found));
                walk(bytes, *found, value);
            }
        }
        serde_json::Value::Array(array) => {
            let found: Vec<_> = elements(bytes, span).collect();
            assert_eq!(found.len(), array.len());
            found.iter().zip(array).for_each(|(found, value)| walk(bytes, *found, value));
        }
        serde_json::Value::String(text) => {
            assert_eq!(unescape(span.of(bytes)).as_deref(), Some(text.as_str()));
        }
        other => assert_eq!(&parsed(bytes, span), other),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn documents_walk_to_the_values_another_parser_finds(value in value(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
        let text = text.expect("serialises");
        let span = validate(&text, DEPTH_MAX).expect("serde_json writes JSON");
        // Numbers pass through a double in serde_json: compare with what it reads back.
        let value = serde_json::from_slice(&text).expect("its own");
        walk(&text, span, &value);
    }

    #[test]
    fn one_changed_byte_is_judged_as_another_parser_judges(
        value in value(), place: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut text = serde_json::to_vec(&value).expect("serialises");
        let at = place.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at + 1);
        }
        check(&text);
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(
        prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b':'), Just(b','), Just(b'1'), any::<u8>()], 0..40,
    )) {
        check(&bytes);
        let all = Span::all(&bytes);
        members(&bytes, all).for_each(|(key, value)| assert!(!key.is_empty() && !value.is_empty()));
        elements(&bytes, all).for_each(|element| assert!(!element.is_empty()));
        let _ = unescape(&bytes);
    }
}
