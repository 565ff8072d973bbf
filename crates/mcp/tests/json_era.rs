//! Does a plain message keep its meaning, and all else its bytes, across the eras?

use kern_mcp::era::{error, request, result};
use kern_mcp::errors::Cause;
use kern_mcp::json::validate;
use kern_mcp::{Envelope, Method, ScanLimits, Splice, scan};
use kern_terms::{Era, Revision};

#[track_caller]
fn check(message: &str, edit: impl Fn(&mut Splice<'_>, &Envelope), expected: &str) {
    let limits = ScanLimits::default();
    let envelope = scan(message.as_bytes(), &limits).expect(message);
    let mut splice = Splice::new(message.as_bytes());
    edit(&mut splice, &envelope);
    let mut out = Vec::new();
    splice.write_into(&mut out);
    assert_eq!(String::from_utf8(out.clone()).expect("UTF-8"), expected);
    scan(&out, &limits).expect(expected);
    if let Some(params) = envelope.params.or(envelope.result) {
        let mut part = Vec::new();
        splice.write_span_into(params, &mut part);
        validate(&part, 128).expect("a part is JSON");
    }
}

#[test]
fn a_modern_request_loses_what_a_legacy_server_never_heard_of() {
    let edit = request::modern_to_legacy;
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#,
        edit,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#,
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"io.modelcontextprotocol/clientInfo":{},"progressToken": 1.50,"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"t","io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/vendor":1,"io.modelcontextprotocol/clientCapabilities":{}},"requestState":"s","x":1e2,"inputResponses":{}}}"#,
        edit,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken": 1.50,"traceparent":"t","io.modelcontextprotocol/vendor":1},"x":1e2}}"#,
    );
    for untouched in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{}}}"#,
    ] {
        check(untouched, edit, untouched);
    }
}

#[test]
fn a_legacy_request_says_who_it_is_from() {
    let sender = request::Sender {
        revision: Revision::V2026_07_28,
        client_info: Some(br#"{"name":"c"}"#),
        client_capabilities: b"{}",
        log_level: None,
    };
    let meta = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/clientCapabilities":{}"#;
    let edit = |splice: &mut Splice<'_>, envelope: &Envelope| {
        request::legacy_to_modern(splice, envelope, &sender, Box::leak(Box::default()));
    };
    let wrap =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#);
    let whole =
        |params: &str| format!(r#"{{{params}"jsonrpc":"2.0","id":1,"method":"tools/list"}}"#);
    check(&wrap(""), edit, &whole(&format!(r#""params":{{"_meta":{{{meta}}}}},"#)));
    for (params, expected) in [
        ("{}", format!(r#"{{"_meta":{{{meta}}}}}"#)),
        ("null", format!(r#"{{"_meta":{{{meta}}}}}"#)),
        ("[]", format!(r#"{{"_meta":{{{meta}}}}}"#)),
        (r#"{"cursor":"c"}"#, format!(r#"{{"_meta":{{{meta}}},"cursor":"c"}}"#)),
        (r#"{"_meta":null,"cursor":"c"}"#, format!(r#"{{"_meta":{{{meta}}},"cursor":"c"}}"#)),
        (
            r#"{"_meta":{"progressToken":1}}"#,
            format!(r#"{{"_meta":{{{meta},"progressToken":1}}}}"#),
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"spoof"},"progressToken":1}}"#,
            format!(r#"{{"_meta":{{{meta},"progressToken":1}}}}"#),
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/logLevel":"debug"}}"#,
            format!(r#"{{"_meta":{{{meta}}}}}"#),
        ),
    ] {
        let expected = wrap(&format!(",\"params\":{expected}"));
        check(&wrap(&format!(",\"params\":{params}")), edit, &expected);
    }
    let mut out = Vec::new();
    request::Sender { log_level: Some(b"\"info\""), ..sender }.write_params(&mut out);
    let expected = format!(r#"{{"_meta":{{{meta},"io.modelcontextprotocol/logLevel":"info"}}}}"#);
    assert_eq!(out, expected.as_bytes());
}

#[test]
fn results_gain_and_lose_what_only_modern_clients_read() {
    let hint = result::CacheHint { ttl_ms: 500, public: true };
    let wrap = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    for (method, before, after) in [
        (Method::ToolsCall, r#"{"content":[]}"#, r#"{"resultType":"complete","content":[]}"#),
        (
            Method::ToolsList,
            r#"{"tools":[]}"#,
            r#"{"resultType":"complete","ttlMs":500,"cacheScope":"public","tools":[]}"#,
        ),
        (
            Method::ToolsList,
            r#"{"tools":[],"ttlMs":1}"#,
            r#"{"resultType":"complete","cacheScope":"public","tools":[],"ttlMs":1}"#,
        ),
        (Method::Ping, "{}", r#"{"resultType":"complete"}"#),
        (Method::Ping, "[]", r#"{"resultType":"complete"}"#),
        (
            Method::ResourcesRead,
            r#"{"resultType":"input_required","requestState":"s"}"#,
            r#"{"resultType":"input_required","requestState":"s"}"#,
        ),
    ] {
        let edit = |splice: &mut Splice<'_>, envelope: &Envelope| {
            result::legacy_to_modern(splice, envelope, method, hint, None);
        };
        check(&wrap(before), edit, &wrap(after));
    }
    let named = |splice: &mut Splice<'_>, envelope: &Envelope| {
        result::legacy_to_modern(
            splice,
            envelope,
            Method::ToolsCall,
            hint,
            Some(br#"{"name":"s"}"#),
        );
    };
    let info = r#""io.modelcontextprotocol/serverInfo":{"name":"s"}"#;
    check(
        &wrap(r#"{"a":1}"#),
        named,
        &wrap(&format!(r#"{{"resultType":"complete","_meta":{{{info}}},"a":1}}"#)),
    );
    check(
        &wrap(r#"{"_meta":{"b":1}}"#),
        named,
        &wrap(&format!(r#"{{"resultType":"complete","_meta":{{{info},"b":1}}}}"#)),
    );
    check(
        &wrap(r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#),
        named,
        &wrap(r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#),
    );
    for (before, after) in [
        (
            r#"{"resultType":"complete","tools":[],"ttlMs":1,"cacheScope":"public"}"#,
            r#"{"tools":[]}"#,
        ),
        (r#"{"resultType":"complete"}"#, "{}"),
        (r#"{"content":[],"structuredContent":[1]}"#, r#"{"content":[]}"#),
        (
            r#"{"content":[],"structuredContent":{"a":1}}"#,
            r#"{"content":[],"structuredContent":{"a":1}}"#,
        ),
    ] {
        check(&wrap(before), result::modern_to_legacy, &wrap(after));
    }
}

#[test]
fn error_codes_are_words_the_reader_knows() {
    let read = Method::ResourcesRead;
    for (to, method, before, after) in [
        (Era::Modern, read, -32002, -32602),
        (Era::Legacy, read, -32602, -32002),
        (Era::Legacy, Method::ToolsCall, -32602, -32602),
        (Era::Modern, Method::ToolsCall, -32042, -32603),
        (Era::Legacy, Method::ToolsCall, -32021, -32603),
        (Era::Modern, read, -32603, -32603),
        (Era::Modern, read, 7, 7),
    ] {
        let wrap = |code: i64| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{{"uri":1.0}}}}}}"#
            )
        };
        let edit = |splice: &mut Splice<'_>, envelope: &Envelope| {
            assert_eq!(error::translate(splice, envelope, to, method), before != after);
        };
        check(&wrap(before), edit, &wrap(after));
    }
    assert_eq!(
        (Cause::MethodNotFound.code(Era::Modern), Cause::MethodNotFound.http_status(Era::Modern)),
        (-32601, 404)
    );
    assert_eq!(
        (
            Cause::ResourceNotFound.code(Era::Legacy),
            Cause::ResourceNotFound.http_status(Era::Legacy)
        ),
        (-32002, 200)
    );
    assert_eq!(Cause::MalformedParams.http_status(Era::Modern), 400);
}
