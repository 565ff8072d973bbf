//! Does the envelope find what routing needs, and refuse what two parsers could read in two ways?

use kern_mcp::envelope::{Envelope, ScanFault};
use kern_mcp::errors::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use kern_mcp::{Kind, Method, ScanLimits, Span, encode, scan};

fn read(text: &str) -> Envelope {
    scan(text.as_bytes(), &ScanLimits::default()).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

#[track_caller]
fn says(text: &str, span: Option<Span>, expected: &str) {
    let found = span.map(|span| std::str::from_utf8(span.of(text.as_bytes())).expect("UTF-8"));
    assert_eq!(found, Some(expected), "{text}");
}

#[test]
fn a_modern_call_shows_its_parts() {
    let text = r#" {"jsonrpc":"2.0","id":"a-1","method":"tools\/call","params":{"na\u006de":"echo","arguments":{"name":"not me","_meta":{}},
        "requestState":"s","inputResponses":{"k":{}},"vendor":[1],"_meta":{"progressToken":7,"traceparent":"00-x",
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},
        "io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"io.modelcontextprotocol/logLevel":"info"}},"extra":null} "#;
    let envelope = read(text);
    assert_eq!((envelope.kind, envelope.method), (Kind::Request, Method::ToolsCall));
    says(text, envelope.id, "\"a-1\"");
    says(text, envelope.name, "\"echo\"");
    assert_eq!(envelope.subject(), envelope.name);
    says(text, envelope.arguments, r#"{"name":"not me","_meta":{}}"#);
    says(text, envelope.request_state, "\"s\"");
    says(text, envelope.input_responses, r#"{"k":{}}"#);
    says(text, envelope.progress_token, "7");
    says(text, envelope.traceparent, "\"00-x\"");
    says(text, envelope.protocol_version, "\"2026-07-28\"");
    says(text, envelope.client_info, r#"{"name":"c","version":"1"}"#);
    says(text, envelope.client_capabilities, r#"{"sampling":{}}"#);
    says(text, envelope.log_level, "\"info\"");
    says(text, Some(envelope.root), text.trim());
    assert_eq!(envelope.uri, None);
}

#[test]
fn initialize_and_its_answer_show_what_was_agreed() {
    let text = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}}"#;
    let envelope = read(text);
    assert_eq!(envelope.method, Method::Initialize);
    says(text, envelope.offered_version, "\"2025-11-25\"");
    says(text, envelope.capabilities, r#"{"roots":{}}"#);
    says(text, envelope.peer_info, r#"{"name":"c","version":"1"}"#);

    let text = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"hi","_meta":{"io.modelcontextprotocol/serverInfo":{}}}}"#;
    let envelope = read(text);
    assert_eq!((envelope.kind, envelope.method), (Kind::Result, Method::None));
    says(text, envelope.capabilities, r#"{"tools":{}}"#);
    says(text, envelope.peer_info, r#"{"name":"s","version":"1"}"#);
    says(text, envelope.instructions, "\"hi\"");
    says(text, envelope.server_info, "{}");
}

#[test]
fn results_show_lists_cursors_and_lifetimes() {
    let text = r#"{"jsonrpc":"2.0","id":5,"result":{"resultType":"complete","tools":[{"name":"a"}],"nextCursor":"c","ttlMs":5,"cacheScope":"public","supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
    let envelope = read(text);
    says(text, envelope.result_type, "\"complete\"");
    says(text, envelope.tools, r#"[{"name":"a"}]"#);
    says(text, envelope.next_cursor, "\"c\"");
    says(text, envelope.ttl_ms, "5");
    says(text, envelope.cache_scope, "\"public\"");
    says(text, envelope.supported_versions, r#"["2026-07-28"]"#);
    says(text, envelope.subscription_id, "1");
    let text = r#"{"jsonrpc":"2.0","id":5,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}}"#;
    let envelope = read(text);
    says(text, envelope.input_requests, r#"{"k":{"method":"roots/list"}}"#);
    says(text, envelope.request_state, "\"s\"");
}

#[test]
fn errors_show_their_code_even_when_the_rest_is_odd() {
    let text =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32002,"message":"no","data":{"uri":"x"}}}"#;
    let envelope = read(text);
    assert_eq!((envelope.kind, envelope.error_code), (Kind::Error, Some(-32002)));
    says(text, envelope.error_message, "\"no\"");
    says(text, envelope.error_data, r#"{"uri":"x"}"#);
    says(text, envelope.id, "null");
    for (error, code) in
        [(r#"{"code":-32603.0}"#, Some(-32603)), (r#"{"code":"x"}"#, None), ("\"boom\"", None)]
    {
        let envelope = read(&format!(r#"{{"jsonrpc":"2.0","error":{error}}}"#));
        assert_eq!((envelope.kind, envelope.error_code, envelope.id), (Kind::Error, code, None));
    }
}

#[test]
fn notifications_show_whom_they_concern() {
    let text = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1,"_meta":{"progressToken":"other"}}}"#;
    let envelope = read(text);
    assert_eq!((envelope.kind, envelope.method), (Kind::Notification, Method::Progress));
    says(text, envelope.progress_token, "\"t\"");
    let text = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7","reason":"r"}}"#;
    says(text, read(text).request_id, "\"7\"");
    let text =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}"#;
    says(text, read(text).level, "\"error\"");
    let text = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}"#;
    says(text, read(text).subscription_id, "\"s\"");
    says(text, read(text).uri, "\"a:b\"");
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}"#;
    says(text, read(text).notifications, r#"{"toolsListChanged":true}"#);
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p","uri":"u"},"argument":{}}}"#;
    let reference = read(text).reference.expect("ref");
    says(text, reference.kind, "\"ref/prompt\"");
    says(text, reference.name, "\"p\"");
    says(text, reference.uri, "\"u\"");
    says(text, Some(reference.span), r#"{"type":"ref/prompt","name":"p","uri":"u"}"#);
}

#[test]
fn what_some_languages_write_for_an_empty_object_passes() {
    for params in ["null", "[]", "[ ]", "{}", r#"{"_meta":null}"#, r#"{"_meta":[]}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{params}}}"#);
        says(&text, read(&text).params, params);
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{params}}}"#);
        says(&text, read(&text).result, params);
    }
}

#[test]
fn ids_are_strings_and_integers_and_answers_may_spell_them_as_doubles() {
    let long = format!("\"{}\"", "x".repeat(2000));
    for (id, in_request, in_result, in_error) in [
        ("1", true, true, true),
        ("-1", true, true, true),
        ("\"\"", true, true, true),
        ("\"a\"", true, true, true),
        ("7.0", false, true, true),
        ("1e3", false, true, true),
        ("null", false, false, true),
        ("true", false, false, false),
        ("{}", false, false, false),
        ("[1]", false, false, false),
        (&long, false, false, false),
    ] {
        for (rest, allowed) in [
            (r#""method":"ping""#, in_request),
            (r#""result":{}"#, in_result),
            (r#""error":{"code":1}"#, in_error),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
            let found = scan(text.as_bytes(), &ScanLimits::default()).map_err(|e| (e.fault, e.id));
            let expected = if allowed { Ok(true) } else { Err((ScanFault::Id, None)) };
            assert_eq!(found.map(|envelope| envelope.id.is_some()), expected, "{text}");
        }
    }
}

#[track_caller]
fn refuses(text: &str, fault: ScanFault, code: i64, id: Option<&str>) {
    let refusal = scan(text.as_bytes(), &ScanLimits::default()).expect_err(text);
    assert_eq!((refusal.fault, refusal.fault.code()), (fault, code), "{text}");
    let found = refusal.answer_id().map(|span| span.of(text.as_bytes()));
    assert_eq!(found, id.map(str::as_bytes), "{text}");
}

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused() {
    use ScanFault::{Duplicate, Lookalike};
    let wrap = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{params}}}"#)
    };
    for params in [
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","n\u0061me":"a"}"#,
        r#"{"arguments":{},"arguments":{}}"#,
        r#"{"uri":"a","uri":"b"}"#,
        r#"{"_meta":{},"\u005fmeta":{}}"#,
        r#"{"requestState":"a","requestState":"b"}"#,
        r#"{"_meta":{"progressToken":1,"progressToken":2}}"#,
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol\/protocolVersion":"b"}}"#,
        r#"{"ref":{},"ref":{}}"#,
        r#"{"ref":{"name":"a","name":"b"}}"#,
    ] {
        refuses(&wrap(params), Duplicate, INVALID_REQUEST, Some("3"));
    }
    for params in [r#"{"name":"a","Name":"b"}"#, r#"{"NAME":"b"}"#, r#"{"argument\u017f":{}}"#] {
        refuses(&wrap(params), Lookalike, INVALID_REQUEST, Some("3"));
    }
    // The same member may occur twice where nobody here reads it.
    read(&wrap(r#"{"name":"a","arguments":{"x":1,"x":2},"vendor":1,"vendor":2}"#));
    // Methods of other protocols keep their own spelling.
    read(r#"{"jsonrpc":"2.0","id":1,"method":"vendor/x","params":{"Name":1}}"#);

    refuses(r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#, Duplicate, INVALID_REQUEST, None);
    refuses(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
        Duplicate,
        INVALID_REQUEST,
        Some("1"),
    );
    refuses(
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"ping"}"#,
        Duplicate,
        INVALID_REQUEST,
        Some("1"),
    );
    refuses(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}"#,
        Lookalike,
        INVALID_REQUEST,
        Some("1"),
    );
    refuses(
        r#"{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}"#,
        Lookalike,
        INVALID_REQUEST,
        Some("1"),
    );
    refuses(
        r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
        Duplicate,
        INVALID_REQUEST,
        Some("1"),
    );
}

#[test]
fn refusals_name_their_code_and_the_id_wherever_it_stands() {
    use ScanFault::{
        Batch, Id, JsonRpcVersion, Meta, Method, NotAnObject, Params, ProgressToken, Result, Shape,
    };
    for (text, fault, code, id) in [
        ("[]", Batch, INVALID_REQUEST, None),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Batch, INVALID_REQUEST, None),
        ("1", NotAnObject, INVALID_REQUEST, None),
        ("{}", JsonRpcVersion, INVALID_REQUEST, None),
        (r#"{"id":1,"method":"ping"}"#, JsonRpcVersion, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"1.0","method":"ping","id":1}"#, JsonRpcVersion, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":2.0,"method":"ping","id":1}"#, JsonRpcVersion, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","method":5,"id":1}"#, Method, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1}"#, Shape, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#, Shape, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{},"result":{}}"#, Shape, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#, Shape, INVALID_REQUEST, Some("1")),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Id, INVALID_REQUEST, None),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Id, INVALID_REQUEST, None),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":[1],"id":1}"#,
            Params,
            INVALID_PARAMS,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":"a","id":1}"#,
            Params,
            INVALID_PARAMS,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":1},"id":1}"#,
            Meta,
            INVALID_PARAMS,
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{"progressToken":{}}},"id":1}"#,
            ProgressToken,
            INVALID_PARAMS,
            Some("1"),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":"ok"}"#, Result, INVALID_REQUEST, Some("1")),
    ] {
        refuses(text, fault, code, id);
    }
}

#[test]
fn half_a_response_still_names_the_request_that_waits_for_it() {
    let text = br#"{"jsonrpc":"2.0","id":42,"result":{"content":[tru"#;
    let refusal = scan(text, &ScanLimits::default()).expect_err("not JSON");
    assert_eq!(refusal.fault.code(), PARSE_ERROR);
    assert_eq!(refusal.id.map(|id| id.of(text)), Some(&b"42"[..]));
    assert_eq!(refusal.answer_id(), None);
}

#[test]
fn limits_hold() {
    let limits = ScanLimits { bytes_max: 50, depth_max: 3 };
    let fault = |text: &str| scan(text.as_bytes(), &limits).expect_err(text).fault;
    assert_eq!(fault(&format!("{{\"a\":\"{}\"}}", "x".repeat(50))), ScanFault::TooLong);
    assert_eq!(fault(r#"{"params":{"arguments":{"a":[]}}}"#).code(), INVALID_REQUEST);
    assert!(scan(br#"{"jsonrpc":"2.0","method":"x","params":{"a":[]}}"#, &limits).is_ok());
}

#[test]
fn what_we_write_we_can_read() {
    let check = |write: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text, expected);
        read(&text)
    };
    let envelope = check(
        &|out| encode::result(out, b"\"a\"", b"{}"),
        r#"{"jsonrpc":"2.0","id":"a","result":{}}"#,
    );
    assert_eq!(envelope.kind, Kind::Result);
    let envelope = check(
        &|out| encode::error(out, Some(b"1"), -32601, "no \"x\"\n", Some(b"[1]")),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no \"x\"\n","data":[1]}}"#,
    );
    assert_eq!(envelope.error_code, Some(-32601));
    check(
        &|out| encode::error(out, None, -32700, "x", None),
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}"#,
    );
    let envelope = check(
        &|out| encode::request(out, 7, "tools/call", Some(br#"{"name":"a"}"#)),
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}"#,
    );
    assert_eq!(envelope.method, Method::ToolsCall);
    check(
        &|out| encode::request(out, 7, "ping", None),
        r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#,
    );
    check(
        &|out| encode::notification(out, "notifications/initialized", None),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    );
}
