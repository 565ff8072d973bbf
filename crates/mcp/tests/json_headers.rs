//! Do headers and bodies agree as 2026-07-28 demands?

use kern_mcp::headers::{
    AnnotationFault, HeaderFault, ParamHeaders, RequestHeaders, check, decode_value,
    encode_value_into,
};
use kern_mcp::{ScanLimits, Span, scan};
use proptest::prelude::*;

fn encoded(text: &str) -> String {
    let mut out = Vec::new();
    encode_value_into(&mut out, text);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn the_specifications_examples_are_encoded_as_printed() {
    for (text, header) in [
        ("us-west1", "us-west1"),
        ("", ""),
        ("inner space", "inner space"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("\tindented", "=?base64?CWluZGVudGVk?="),
        ("=?BASE64?x?=", "=?BASE64?x?="),
    ] {
        assert_eq!(encoded(text), header);
        assert_eq!(decode_value(header.as_bytes()).as_deref(), Some(text));
    }
}

#[test]
fn a_value_that_two_decoders_could_read_differently_is_malformed() {
    for header in [
        "=?base64?SGVsbG8?=",
        "=?base64?SGVsbG9=?=",
        "=?base64?SGVs bG8=?=",
        "=?base64?SGVsbG-_?=",
        "=?base64?/w==?=",
        "=?base64?=",
        "=?base64?====?=",
    ] {
        assert_eq!(decode_value(header.as_bytes()), None, "{header}");
    }
    for header in [&b"a\x00b"[..], b"a\x7fb", b"caf\xc3\xa9", b"a\rb", b"\x0bab"] {
        assert_eq!(decode_value(header), None, "{header:?}");
    }
    assert_eq!(decode_value(b" \t a b \t").as_deref(), Some("a b"));
}

proptest! {
    #[test]
    fn any_text_survives_the_header(text in any::<String>()) {
        let header = encoded(&text);
        prop_assert!(header.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        let decoded = decode_value(header.as_bytes());
        prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
    }
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

#[test]
fn standard_headers_match_the_body_or_the_request_is_refused() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let call = request("tools/call", &format!(r#"{{"name":"caf\u00e9",{meta}}}"#));
    let read = request("resources/read", &format!(r#"{{"uri":"file:///a b","name":"x",{meta}}}"#));
    let list = request("tools/list", &format!("{{{meta}}}"));
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#.to_owned();
    let missing = |header: &str| Err(HeaderFault::Missing(header.into()));
    let differs = |header: &str| Err(HeaderFault::Differs(header.into()));
    let malformed = |header: &str| Err(HeaderFault::Malformed(header.into()));
    let v = Some("2026-07-28");
    let cafe = Some("=?base64?Y2Fmw6k=?=");
    for (body, version, method, name, expected) in [
        (&call, v, Some("tools/call"), cafe, Ok(())),
        (&call, Some(" 2026-07-28 "), Some("tools/call"), cafe, Ok(())),
        (&call, None, Some("tools/call"), cafe, missing("MCP-Protocol-Version")),
        (&call, Some("2025-11-25"), Some("tools/call"), cafe, differs("MCP-Protocol-Version")),
        (&call, v, None, cafe, missing("Mcp-Method")),
        (&call, v, Some("Tools/call"), cafe, differs("Mcp-Method")),
        (&call, v, Some("=?base64?dG9vbHMvY2FsbA==?="), cafe, differs("Mcp-Method")),
        (&call, v, Some("tools/call"), None, missing("Mcp-Name")),
        (&call, v, Some("tools/call"), Some("caf"), differs("Mcp-Name")),
        (&call, v, Some("tools/call"), Some("café"), malformed("Mcp-Name")),
        (&read, v, Some("resources/read"), Some("file:///a b"), Ok(())),
        (&read, v, Some("resources/read"), Some("x"), differs("Mcp-Name")),
        (&list, v, Some("tools/list"), None, Ok(())),
        (&list, v, Some("tools/list"), Some("ignored"), Ok(())),
        (&notification, None, None, None, Ok(())),
        (&notification, v, Some("x"), None, differs("Mcp-Method")),
    ] {
        let envelope = scan(body.as_bytes(), &ScanLimits::default()).expect(body);
        let headers = RequestHeaders {
            protocol_version: version.map(str::as_bytes),
            method: method.map(str::as_bytes),
            name: name.map(str::as_bytes),
        };
        assert_eq!(check(&headers, &envelope, body.as_bytes()), expected, "{body} {headers:?}");
    }
}

fn annotations(schema: &str) -> Result<ParamHeaders, AnnotationFault> {
    ParamHeaders::from_schema(schema.as_bytes(), Span::all(schema.as_bytes()))
}

#[test]
fn one_invalid_annotation_makes_the_tool_invalid() {
    use AnnotationFault::{
        Duplicate, Empty, NotPrimitive, NotText, NotToken, TooMany, Unreachable,
    };
    let property = |text: &str| format!(r#"{{"properties":{{"a":{text}}}}}"#);
    let many: Vec<_> =
        (0..65).map(|i| format!(r#""p{i}":{{"type":"string","x-mcp-header":"H{i}"}}"#)).collect();
    let many = format!(r#"{{"properties":{{{}}}}}"#, many.join(","));
    for (schema, fault) in [
        (property(r#"{"type":"string","x-mcp-header":""}"#), Empty),
        (property(r#"{"type":"string","x-mcp-header":5}"#), NotText),
        (property(r#"{"type":"string","x-mcp-header":"My Region"}"#), NotToken),
        (property(r#"{"type":"string","x-mcp-header":"Region:"}"#), NotToken),
        (property(r#"{"type":"string","x-mcp-header":"Région"}"#), NotToken),
        (property(r#"{"type":"string","x-mcp-header":"a\r\nb"}"#), NotToken),
        (property(r#"{"type":"object","x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"type":"array","x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"type":"number","x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"type":"null","x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"type":["string","integer"],"x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"x-mcp-header":"A"}"#), NotPrimitive),
        (property(r#"{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#), Unreachable),
        (property(r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#), Unreachable),
        (r#"{"x-mcp-header":"A","type":"string"}"#.into(), Unreachable),
        (r#"{"allOf":[[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]]}"#.into(), Unreachable),
        (r#"{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}"#.into(), Unreachable),
        (r#"{"if":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}"#.into(), Unreachable),
        (r#"{"vendor":{"x-mcp-header":"A"}}"#.into(), Unreachable),
        (
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"properties":{"c":{"type":"string","x-mcp-header":"a"}}}}}"#.into(),
            Duplicate,
        ),
        (many, TooMany),
    ] {
        assert_eq!(annotations(&schema), Err(fault), "{schema}");
    }
    // A property may be called so, and data may hold anything.
    for schema in [
        r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#,
        r#"{"$defs":{"x-mcp-header":{"type":"object"}}}"#,
        r#"{"properties":{"a":{"default":{"x-mcp-header":"A"},"enum":[{"x-mcp-header":"A"}]}}}"#,
        "true",
        "{}",
    ] {
        assert!(annotations(schema).expect(schema).is_empty());
    }
}

const SCHEMA: &str = r#"{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "count":{"type":"integer","x-mcp-header":"Count"},
    "dry":{"type":["boolean","null"],"x-mcp-header":"Dry"},
    "deep":{"type":"object","properties":{"tenant":{"type":"string","x-mcp-header":"Tenant"}}},
    "query":{"type":"string"}}}"#;

fn mirrored(arguments: &str) -> Result<Vec<(String, String)>, String> {
    let headers = annotations(SCHEMA).expect("valid");
    let mut found = Vec::new();
    headers
        .for_arguments(
            arguments.as_bytes(),
            Some(Span::all(arguments.as_bytes())),
            |name, value| {
                found.push((name.to_owned(), String::from_utf8(value.to_vec()).expect("ASCII")));
            },
        )
        .map_err(|fault| fault.header)?;
    Ok(found)
}

#[test]
fn arguments_are_mirrored_into_exactly_their_headers() {
    let pairs = |list: &[(&str, &str)]| {
        Ok(list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    };
    assert_eq!(mirrored("{}"), pairs(&[]));
    assert_eq!(
        mirrored(
            r#"{"query":"q","region":"caf\u00e9","count":42.0,"dry":false,"deep":{"tenant":"t","region":"no"}}"#
        ),
        pairs(&[
            ("Mcp-Param-Region", "=?base64?Y2Fmw6k=?="),
            ("Mcp-Param-Count", "42"),
            ("Mcp-Param-Dry", "false"),
            ("Mcp-Param-Tenant", "t"),
        ])
    );
    assert_eq!(
        mirrored(r#"{"region":"","dry":null,"deep":{}}"#),
        pairs(&[("Mcp-Param-Region", "")])
    );
    assert_eq!(
        mirrored(r#"{"count":-9007199254740991}"#),
        pairs(&[("Mcp-Param-Count", "-9007199254740991")])
    );
    for (arguments, header) in [
        (r#"{"count":9007199254740992}"#, "Mcp-Param-Count"),
        (r#"{"count":1.5}"#, "Mcp-Param-Count"),
        (r#"{"region":5}"#, "Mcp-Param-Region"),
        (r#"{"region":"\ud800"}"#, "Mcp-Param-Region"),
        (r#"{"dry":"true"}"#, "Mcp-Param-Dry"),
    ] {
        assert_eq!(mirrored(arguments), Err(header.to_owned()), "{arguments}");
    }
}

#[test]
fn a_call_whose_headers_say_other_than_its_arguments_is_refused() {
    let headers = annotations(SCHEMA).expect("valid");
    let check = |arguments: &str, sent: &[(&str, &'static str)]| {
        headers.check(arguments.as_bytes(), Some(Span::all(arguments.as_bytes())), |name| {
            let found = sent.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_bytes())
        })
    };
    let arguments = r#"{"region":"é","count":42,"dry":true}"#;
    let right = [
        ("mcp-param-region", "=?base64?w6k=?="),
        ("MCP-PARAM-COUNT", "42.0"),
        ("Mcp-Param-Dry", "true"),
    ];
    assert_eq!(check(arguments, &right), Ok(()));
    assert_eq!(check(arguments, &right[1..]), Err(HeaderFault::Missing("Mcp-Param-Region".into())));
    assert_eq!(check("{}", &right[1..2]), Err(HeaderFault::Differs("Mcp-Param-Count".into())));
    assert_eq!(check(r#"{"dry":null}"#, &[]), Ok(()));
    assert_eq!(
        check(r#"{"dry":false}"#, &right),
        Err(HeaderFault::Differs("Mcp-Param-Region".into()))
    );
    let wrong = [("Mcp-Param-Region", "=?base64?w6k?=")];
    assert_eq!(
        check(r#"{"region":"é"}"#, &wrong),
        Err(HeaderFault::Malformed("Mcp-Param-Region".into()))
    );
}
