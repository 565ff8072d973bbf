//! Does what a modern server asks reach an old client whole, and the answers the server?

use kern_mcp::era::rounds::{Input, Malformed, questions, retry, write_request};
use kern_mcp::json::{field, validate};
use kern_mcp::limits::INPUT_REQUESTS_MAX;
use kern_mcp::{Kind, Method, ScanLimits, scan};
use proptest::prelude::*;

fn wrap(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"resultType":"input_required"{result}}}}}"#)
}

/// The requests an old client gets.
fn requests(message: &str) -> Result<Vec<String>, Malformed> {
    let envelope = scan(message.as_bytes(), &ScanLimits::default()).expect(message);
    let found = questions(message.as_bytes(), &envelope)?;
    let request = |question| {
        let mut out = Vec::new();
        write_request(message.as_bytes(), question, b"\"q1\"", &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    Ok(found.iter().map(request).collect())
}

#[test]
fn an_old_client_is_asked_in_the_servers_own_bytes() {
    for (asked, expected) in [
        (r#"{"method":"roots/list"}"#, r#""method":"roots/list"}"#),
        (r#"{"method":"roots\/list","params":null}"#, r#""method":"roots/list"}"#),
        (
            r#"{"params":{ "messages":[1e0,"\u00e9"],"_meta":{"x":[ ]} },"method":"sampling/createMessage","z":1}"#,
            r#""method":"sampling/createMessage","params":{ "messages":[1e0,"\u00e9"],"_meta":{"x":[ ]} }}"#,
        ),
        (
            r#"{"method":"elicitation/create","params":{"mode":"form"}}"#,
            r#""method":"elicitation/create","params":{"mode":"form"}}"#,
        ),
        (
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"u"}}"#,
            r#""method":"elicitation/create","params":{"elicitationId":"q1","mode":"url","url":"u"}}"#,
        ),
        (
            r#"{"method":"elicitation/create","params":{"mode":"url","elicitationId":"own"}}"#,
            r#""method":"elicitation/create","params":{"mode":"url","elicitationId":"own"}}"#,
        ),
    ] {
        let message = wrap(&format!(r#","inputRequests":{{"k":{asked}}}"#));
        let expected = format!(r#"{{"jsonrpc":"2.0","id":"q1",{expected}"#);
        assert_eq!(requests(&message), Ok(vec![expected.clone()]));
        let envelope = scan(expected.as_bytes(), &ScanLimits::default()).expect("a request");
        assert_eq!(envelope.kind, Kind::Request);
    }
}

#[test]
fn a_result_that_cannot_be_followed_says_why() {
    let many: Vec<String> =
        (0..=INPUT_REQUESTS_MAX).map(|at| format!(r#""{at}":{{"method":"roots/list"}}"#)).collect();
    let many = format!(r#","inputRequests":{{{}}}"#, many.join(","));
    let other = Malformed::Method("tools/list".into());
    for (result, why) in [
        ("", Malformed::Nothing),
        (r#","inputRequests":{}"#, Malformed::Nothing),
        (r#","inputRequests":null,"requestState":null"#, Malformed::Nothing),
        (r#","requestState":{}"#, Malformed::State),
        (r#","inputRequests":"x""#, Malformed::Shape),
        (r#","inputRequests":[1]"#, Malformed::Shape),
        (r#","inputRequests":{"a":1}"#, Malformed::Shape),
        (r#","inputRequests":{"a":{}}"#, Malformed::Shape),
        (r#","inputRequests":{"a":{"method":1}}"#, Malformed::Shape),
        (r#","inputRequests":{"a":{"method":"roots/list","params":3}}"#, Malformed::Shape),
        (r#","inputRequests":{"a":{"method":"elicitation/create"}}"#, Malformed::Shape),
        (r#","inputRequests":{"a":{"method":"tools/list","params":{}}}"#, other),
        (
            r#","inputRequests":{"a":{"method":"roots/list"},"\u0061":{"method":"roots/list"}}"#,
            Malformed::Twice,
        ),
        (&many, Malformed::Many),
    ] {
        let message = wrap(result);
        assert_eq!(requests(&message), Err(why.clone()), "{message}");
        assert!(!why.to_string().is_empty());
    }
    assert_eq!(requests(&wrap(r#","requestState":"s""#)), Ok(Vec::new()));
}

#[track_caller]
fn check(message: &str, responses: Option<&str>, state: Option<&str>, expected: &str) {
    let envelope = scan(message.as_bytes(), &ScanLimits::default()).expect(message);
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let (responses, state) = (bytes(responses), bytes(state));
    let out = retry(message.as_bytes(), &envelope, responses.as_deref(), state.as_deref());
    assert_eq!(String::from_utf8_lossy(&out), expected);
    // Once more gives the same: what is there already is replaced.
    let envelope = scan(&out, &ScanLimits::default()).expect(expected);
    let again = retry(&out, &envelope, responses.as_deref(), state.as_deref());
    assert_eq!(again, out);
}

#[test]
fn a_retry_is_the_first_request_with_the_answers() {
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    for (before, responses, state, after) in [
        (
            r#"{"name":"a" }"#,
            Some("{}"),
            Some(r#""s""#),
            r#"{"inputResponses":{},"requestState":"s","name":"a" }"#,
        ),
        (r#"{"name":"a"}"#, None, Some(r#""s""#), r#"{"requestState":"s","name":"a"}"#),
        (r#"{"name":"a"}"#, Some("{ }"), None, r#"{"inputResponses":{ },"name":"a"}"#),
        (
            r#"{"requestState":"old","name":"a","inputResponses":{"x":1},"arguments":{"requestState":"mine"}}"#,
            Some(r#"{"k":{}}"#),
            None,
            r#"{"inputResponses":{"k":{}},"name":"a","arguments":{"requestState":"mine"}}"#,
        ),
        (r#"{"requestState":"old"}"#, None, None, "{}"),
    ] {
        check(&call(before), responses, state, &call(after));
    }
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        None,
        Some(r#""s""#),
        r#"{"params":{"requestState":"s"},"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
    );
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    /// Whatever a server writes as key, params and state, an old client's request and the retry
    /// are messages again, and the state comes back as it was.
    #[test]
    fn keys_params_and_state_of_any_text_survive(key in text(), value in text(), state in text()) {
        let (key, value) = (serde_json::json!(key), serde_json::json!({ "m": value }));
        let state = serde_json::json!(state).to_string();
        let message = wrap(&format!(
            r#","inputRequests":{{{key}:{{"method":"elicitation/create","params":{value}}}}},"requestState":{state}"#
        ));
        let bytes = message.as_bytes();
        let envelope = scan(bytes, &ScanLimits::default()).expect("valid");
        let found = questions(bytes, &envelope).expect("one question");
        prop_assert_eq!(found[0].input, Input::Form);
        prop_assert_eq!(String::from_utf8_lossy(found[0].key.of(bytes)), key.to_string());
        let mut asked = Vec::new();
        write_request(bytes, &found[0], b"\"q\"", &mut asked);
        let params = field(&asked, "params").map(String::from_utf8_lossy);
        let shown = value.to_string();
        prop_assert_eq!(params.as_deref(), Some(shown.as_str()));
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
        let first = scan(call, &ScanLimits::default()).expect("valid");
        let responses = format!("{{{key}:{{}}}}");
        let again = retry(call, &first, Some(responses.as_bytes()), Some(state.as_bytes()));
        validate(&again, 16).expect("JSON");
        let again_envelope = scan(&again, &ScanLimits::default()).expect("a message");
        prop_assert_eq!(again_envelope.method, Method::ToolsCall);
        let sent = again_envelope.request_state.expect("a state").of(&again);
        prop_assert_eq!(sent, state.as_bytes());
    }
}
