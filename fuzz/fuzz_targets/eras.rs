//! Can a message make its translation to the other era panic, or become what is no message?
//!
//! Invariants: whatever was accepted is accepted again after each rewrite, with the same id and
//! method; what is cut into pieces says the same of itself as when it is whole.

#![no_main]

use kern_mcp::era::{error, request, result, rounds, task, tool};
use kern_mcp::json::{self, Span};
use kern_mcp::outline::Scan;
use kern_mcp::{Envelope, Kind, Method, ScanLimits, Splice, scan, tasks};
use kern_terms::{Era, Revision};
use libfuzzer_sys::fuzz_target;

const METHODS: [Method; 4] =
    [Method::ToolsCall, Method::ToolsList, Method::ResourcesRead, Method::TasksList];
const SENDER: request::Sender<'_> = request::Sender {
    revision: Revision::LATEST,
    client_info: Some(b"{\"name\":\"fuzz\",\"version\":\"1\"}"),
    client_capabilities: b"{}",
    log_level: Some(b"\"info\""),
};

fn json(bytes: &[u8]) {
    let valid = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    assert!(valid, "{}", String::from_utf8_lossy(bytes));
}

/// The message after `edit`, which is still the same message.
fn still(message: &[u8], envelope: &Envelope, edit: impl FnOnce(&mut Splice<'_>)) {
    let mut splice = Splice::new(message);
    edit(&mut splice);
    written(message, envelope, &splice);
}

fn written(message: &[u8], envelope: &Envelope, splice: &Splice<'_>) {
    let mut out = Vec::new();
    splice.write_into(&mut out);
    same(message, envelope, &out);
}

fn same(message: &[u8], envelope: &Envelope, out: &[u8]) {
    let limits = ScanLimits::default();
    match scan(out, &limits) {
        Ok(after) => {
            let id = |bytes: &[u8], envelope: &Envelope| envelope.id.map(|id| id.of(bytes).to_vec());
            assert_eq!(id(message, envelope), id(out, &after));
            assert_eq!(envelope.kind, after.kind);
        }
        // A member more than the limits allow is the one reason.
        Err(_) => json(out),
    }
}

fn requests(message: &[u8], envelope: &Envelope) {
    still(message, envelope, |splice| request::modern_to_legacy(splice, envelope));
    let (mut splice, mut sender) = (Splice::new(message), Vec::new());
    request::legacy_to_modern(&mut splice, envelope, &SENDER, &mut sender);
    written(message, envelope, &splice);
    let again = rounds::retry(message, envelope, Some(b"{\"k\":{}}"), Some(b"\"s\""));
    same(message, envelope, &again);
}

fn results(message: &[u8], envelope: &Envelope) {
    let info = Some(&b"{\"name\":\"fuzz\"}"[..]);
    let hint = result::CacheHint { ttl_ms: 1, public: true };
    for method in METHODS {
        still(message, envelope, |splice| {
            result::legacy_to_modern(splice, envelope, method, hint, info);
        });
    }
    still(message, envelope, |splice| result::modern_to_legacy(splice, envelope));
    for question in rounds::questions(message, envelope).unwrap_or_default() {
        let mut out = Vec::new();
        rounds::write_request(message, &question, b"\"q\"", &mut out);
        let limits = ScanLimits { ..ScanLimits::default() };
        assert!(scan(&out, &limits).is_ok(), "{}", String::from_utf8_lossy(&out));
    }
    if let Some(span) = envelope.result {
        let object = span.of(message);
        json(&task::to_modern(object, "shown", "task", None));
        json(&task::to_modern(object, "shown", "complete", Some(task::Outcome::Result(b"{}"))));
        json(&task::to_legacy(object, "shown"));
        task::result_to_modern(message).iter().for_each(|out| json(out));
        task::result_to_legacy(object, "shown").iter().for_each(|out| json(out));
        tool::modern_to_legacy(object).iter().for_each(|out| json(out));
    }
}

fn renamed(message: &[u8], envelope: &Envelope) {
    for method in METHODS {
        still(message, envelope, |splice| {
            tasks::rename(splice, envelope, method, |id| Some(tasks::exposed("up", id)));
        });
    }
}

fn outline(message: &[u8], step: usize, envelope: Option<&Envelope>) {
    let read = |step: usize| {
        let mut scan = Scan::default();
        message.chunks(step).for_each(|piece| scan.push(piece));
        scan.finish()
    };
    let (whole, split) = (read(message.len().max(1)), read(step));
    assert_eq!(whole, split, "the split changed it");
    if let (Some(outline), Some(envelope)) = (whole, envelope) {
        assert_eq!(envelope.id.map(|id| id.of(message)), Some(&*outline.id));
        assert_eq!(outline.request, envelope.method_span.is_some());
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, message) = (usize::from(input.0) + 1, input.1);
    let envelope = scan(message, &ScanLimits::default()).ok();
    outline(message, step, envelope.as_ref());
    let Some(envelope) = envelope else { return };
    renamed(message, &envelope);
    match envelope.kind {
        Kind::Request | Kind::Notification => requests(message, &envelope),
        Kind::Result => results(message, &envelope),
        Kind::Error => {
            for to in [Era::Legacy, Era::Modern] {
                for method in METHODS {
                    still(message, &envelope, |splice| {
                        error::translate(splice, &envelope, to, method);
                    });
                }
            }
        }
    }
    let _ = json::members(message, Span::all(message)).count();
});
