//! Does the scan judge messages as another parser does, and find what that parser finds?
//!
//! The oracle is `serde_json`. Where they may differ: the oracle counts no depth when it skips, and
//! does not check UTF-8 in strings it skips; duplicates and look-alikes are ours alone to refuse.

#![no_main]

use kern_mcp::envelope::ScanFault;
use kern_mcp::json::{self, JsonFaultKind};
use kern_mcp::{Kind, ScanLimits, Span, Splice, scan};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn oracle(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The value at `span` is what the oracle finds under `member`; members the oracle cannot read
/// (lone surrogates, numbers beyond a double) are not compared.
fn same(message: &[u8], span: Option<Span>, parent: Option<&Value>, member: &str) {
    let expected = parent.and_then(|parent| parent.get(member));
    assert_eq!(span.is_some(), expected.is_some(), "{member}");
    if let Some(span) = span {
        let found: Value = serde_json::from_slice(span.of(message)).expect("a value");
        assert_eq!(Some(&found), expected, "{member}");
    }
}

fn accepted(message: &[u8], envelope: &kern_mcp::Envelope) {
    let Ok(value) = serde_json::from_slice::<Value>(message) else { return };
    assert_eq!(value["jsonrpc"], "2.0");
    let whole = Some(&value);
    same(message, envelope.id, whole, "id");
    same(message, envelope.method_span, whole, "method");
    same(message, envelope.params, whole, "params");
    same(message, envelope.result, whole, "result");
    same(message, envelope.error, whole, "error");
    let inner =
        if envelope.kind == Kind::Result { value.get("result") } else { value.get("params") };
    let inner = inner.filter(|inner| inner.is_object());
    same(message, envelope.meta, inner, "_meta");
    if !envelope.kind.is_response() {
        same(message, envelope.name, inner, "name");
        same(message, envelope.uri, inner, "uri");
        same(message, envelope.arguments, inner, "arguments");
        same(message, envelope.request_state, inner, "requestState");
    }
    if let Some(container) = envelope.params.or(envelope.result) {
        rewritten(message, container);
    }
}

/// A member in, every second member out: the rest keeps its values, and the message is JSON.
fn rewritten(message: &[u8], container: Span) {
    let mut splice = Splice::new(message);
    splice.insert_member(container, &b"\"kern\":{}"[..]);
    let values: Vec<Span> = json::members(message, container).map(|(_, value)| value).collect();
    values.iter().step_by(2).for_each(|&value| splice.remove_value(value));
    let mut out = Vec::new();
    splice.write_span_into(container, &mut out);
    assert!(oracle(&out), "{}", String::from_utf8_lossy(&out));
    let kept = json::members(&out, Span::all(&out)).skip(1).map(|(_, value)| value.of(&out));
    assert!(kept.eq(values.iter().skip(1).step_by(2).map(|value| value.of(message))));
}

fuzz_target!(|message: &[u8]| {
    match scan(message, &ScanLimits::default()) {
        Ok(envelope) => {
            assert!(oracle(message));
            accepted(message, &envelope);
        }
        Err(refusal) => match refusal.fault {
            ScanFault::Json(JsonFaultKind::TooDeep) => {}
            ScanFault::Json(_) => assert!(!oracle(message), "{refusal}"),
            _ => assert!(oracle(message), "{refusal}"),
        },
    }
    let _ = json::unescape_lossy(message);
});
