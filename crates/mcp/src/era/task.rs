//! What must change in a task that crosses the eras?
//!
//! | 2025-11-25 | extension of 2026-07-28 |
//! |---|---|
//! | `result.task` of the answer that creates it | members of the result, `resultType` is `"task"` |
//! | `ttl` | `ttlMs`, an integer |
//! | `pollInterval` | `pollIntervalMs`, an integer |
//! | `tasks/result` | `result` or `error` of `tasks/get` |
//! | status `failed`, and a result with `isError` | status `completed`, and that result |
//! | status `failed`, and an error | status `failed`, and `error` |
//! | status `input_required` | `working` where the questions can't be told; else `input_required` and `inputRequests` |
//! | `_meta["io.modelcontextprotocol/related-task"]` of a result | nothing: the id stands beside it |
//!
//! All other members pass as they are. Sources: 2025-11-25 basic/utilities/tasks; SEP-2663.

use crate::envelope::{ScanLimits, scan};
use crate::json::{Span, field, members, quote_into, text_field};
use crate::method::Method;
use crate::rewrite::Splice;
use crate::tasks::RELATED_KEY;

use super::result::{self, CacheHint};

/// How a task fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It runs.
    Working,
    /// It waits for its client.
    InputRequired,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Reads `status` of a task, JSON; a word nobody knows means that it runs.
    pub fn of(task: &[u8]) -> Self {
        match text_field(task, "status").as_deref() {
            Some("input_required") => Self::InputRequired,
            Some("completed") => Self::Completed,
            Some("failed") => Self::Failed,
            Some("cancelled") => Self::Cancelled,
            _ => Self::Working,
        }
    }

    /// The word of both eras.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is the last one.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Members of one object, each written once.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Self {
        Self(b"{".to_vec())
    }

    fn add_raw(&mut self, key: &[u8], value: &[u8]) {
        self.0.extend_from_slice(if self.0.len() > 1 { b"," } else { b"" });
        self.0.extend_from_slice(key);
        self.0.push(b':');
        self.0.extend_from_slice(value);
    }

    fn add(&mut self, key: &str, value: &[u8]) {
        let mut quoted = Vec::with_capacity(key.len() + 2);
        quote_into(&mut quoted, key);
        self.add_raw(&quoted, value);
    }

    fn add_text(&mut self, key: &str, text: &str) {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        quote_into(&mut quoted, text);
        self.add(key, &quoted);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// Members that a task is written with anew.
const OWN: [&str; 9] = [
    "resultType",
    "taskId",
    "status",
    "ttl",
    "ttlMs",
    "pollInterval",
    "pollIntervalMs",
    "result",
    "error",
];

fn pass_others(out: &mut Object, task: &[u8], also: &[&str]) {
    for (key, value) in members(task, Span::all(task)) {
        let (key, value) = (key.of(task), value.of(task));
        let known = |name: &&str| crate::json::same_text(key, name);
        if !OWN.iter().any(known) && !also.iter().any(known) {
            out.add_raw(key, value);
        }
    }
}

/// Milliseconds as an integer; what is none is `null`.
fn whole(number: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(number).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(ms) if (0.0..9e15).contains(&ms) => format!("{}", ms.floor()).into_bytes(),
        _ => b"null".to_vec(),
    }
}

/// How a task of the old era ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// With this result, JSON.
    Result(&'a [u8]),
    /// With this error, JSON.
    Error(&'a [u8]),
}

/// A task of 2025-11-25 as the members of a modern result of type `kind` (`"task"` or
/// `"complete"`), under the id `shown`.
pub fn to_modern(task: &[u8], shown: &str, kind: &str, outcome: Option<Outcome<'_>>) -> Vec<u8> {
    let mut out = Object::new();
    out.add_text("resultType", kind);
    out.add_text("taskId", shown);
    let status = match (Status::of(task), outcome) {
        (_, Some(Outcome::Result(_))) => Status::Completed,
        (_, Some(Outcome::Error(_))) => Status::Failed,
        (Status::InputRequired, None) => Status::Working,
        (status, None) => status,
    };
    out.add_text("status", status.as_str());
    out.add("ttlMs", &field(task, "ttl").map_or_else(|| b"null".to_vec(), whole));
    match field(task, "pollInterval").map(whole) {
        Some(interval) if interval != b"null" => out.add("pollIntervalMs", &interval),
        _ => {}
    }
    pass_others(&mut out, task, &["inputRequests"]);
    match outcome {
        Some(Outcome::Result(result)) => out.add("result", result),
        Some(Outcome::Error(error)) => out.add("error", error),
        None => {}
    }
    out.finish()
}

/// A modern `Task` or `DetailedTask` as the `Task` of 2025-11-25, under the id `shown`.
pub fn to_legacy(task: &[u8], shown: &str) -> Vec<u8> {
    let mut out = Object::new();
    out.add_text("taskId", shown);
    let result = field(task, "result").unwrap_or(b"{}");
    let failed = field(result, "isError") == Some(b"true");
    let status = match Status::of(task) {
        Status::Completed if failed => Status::Failed,
        status => status,
    };
    out.add_text("status", status.as_str());
    let number = |name| field(task, name).unwrap_or(b"null");
    out.add("ttl", number("ttlMs"));
    if number("pollIntervalMs") != b"null" {
        out.add("pollInterval", number("pollIntervalMs"));
    }
    let error = field(task, "error").and_then(|error| field(error, "message"));
    if let (None, Some(message)) = (field(task, "statusMessage"), error) {
        out.add("statusMessage", message);
    }
    pass_others(&mut out, task, &["inputRequests", "_meta"]);
    out.finish()
}

/// The result of a tool call that stands in `message`, a legacy answer to `tasks/result`, as it
/// stands in a modern task.
pub fn result_to_modern(message: &[u8]) -> Option<Vec<u8>> {
    let envelope = scan(message, &ScanLimits::default()).ok()?;
    let span = envelope.result?;
    let mut splice = Splice::new(message);
    let hint = CacheHint::default();
    result::legacy_to_modern(&mut splice, &envelope, Method::ToolsCall, hint, None);
    if let (Some(related), Some(meta)) = (envelope.related_task, envelope.meta) {
        let only = members(message, meta).count() == 1;
        splice.remove_value(if only { meta } else { related });
    }
    let mut out = Vec::with_capacity(span.len() + 64);
    splice.write_span_into(span, &mut out);
    Some(out)
}

/// The result in a modern task as the old era's `tasks/result` gives it, for the task `shown`.
pub fn result_to_legacy(result: &[u8], shown: &str) -> Option<Vec<u8>> {
    let message = [&b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":"[..], result, b"}"].concat();
    let envelope = scan(&message, &ScanLimits::default()).ok()?;
    let span = envelope.result?;
    let mut splice = Splice::new(&message);
    result::modern_to_legacy(&mut splice, &envelope);
    let mut related = format!("\"{RELATED_KEY}\":{{\"taskId\":").into_bytes();
    quote_into(&mut related, shown);
    related.push(b'}');
    match (envelope.meta, envelope.related_task) {
        (Some(_), Some(old)) => splice.replace(old, related[RELATED_KEY.len() + 3..].to_vec()),
        (Some(meta), None) => splice.insert_member(meta, related),
        (None, _) => splice.insert_member(span, [b"\"_meta\":{", &related[..], b"}"].concat()),
    }
    let mut out = Vec::with_capacity(message.len() + 64);
    splice.write_span_into(span, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn a_modern_client_reads_an_old_task() {
        let task = br#"{"taskId":"1","status":"failed","createdAt":"t","ttl":60000.5,"pollInterval":5e3,"x":1.0}"#;
        let shown = |kind, outcome| text(to_modern(task, "s:1", kind, outcome));
        assert_eq!(
            shown("task", None),
            r#"{"resultType":"task","taskId":"s:1","status":"failed","ttlMs":60000,"pollIntervalMs":5000,"createdAt":"t","x":1.0}"#
        );
        let failed = br#"{"isError":true}"#;
        assert_eq!(
            shown("complete", Some(Outcome::Result(failed))),
            r#"{"resultType":"complete","taskId":"s:1","status":"completed","ttlMs":60000,"pollIntervalMs":5000,"createdAt":"t","x":1.0,"result":{"isError":true}}"#
        );
        assert_eq!(
            shown("complete", Some(Outcome::Error(b"{\"code\":-1}"))),
            r#"{"resultType":"complete","taskId":"s:1","status":"failed","ttlMs":60000,"pollIntervalMs":5000,"createdAt":"t","x":1.0,"error":{"code":-1}}"#
        );
        let cases = [
            (r#"{"status":"input_required","ttl":null}"#, "working", "null"),
            (r#"{"status":"cancelled"}"#, "cancelled", "null"),
            (r#"{"status":"nonsense","ttl":"1"}"#, "working", "null"),
            (r#"{"status":"completed","ttl":-1}"#, "completed", "null"),
        ];
        for (task, status, ttl) in cases {
            let expected = format!(
                r#"{{"resultType":"complete","taskId":"a","status":"{status}","ttlMs":{ttl}}}"#
            );
            assert_eq!(text(to_modern(task.as_bytes(), "a", "complete", None)), expected, "{task}");
        }
    }

    #[test]
    fn an_old_client_reads_a_modern_task() {
        for (task, expected) in [
            (
                r#"{"resultType":"task","taskId":"1","status":"working","createdAt":"t","ttlMs":5,"pollIntervalMs":6}"#,
                r#"{"taskId":"s","status":"working","ttl":5,"pollInterval":6,"createdAt":"t"}"#,
            ),
            (
                r#"{"taskId":"1","status":"completed","ttlMs":null,"result":{"isError":true},"_meta":{}}"#,
                r#"{"taskId":"s","status":"failed","ttl":null}"#,
            ),
            (
                r#"{"taskId":"1","status":"failed","ttlMs":1,"error":{"code":-1,"message":"m"}}"#,
                r#"{"taskId":"s","status":"failed","ttl":1,"statusMessage":"m"}"#,
            ),
            (
                r#"{"status":"input_required","statusMessage":"z","inputRequests":{"a":{}}}"#,
                r#"{"taskId":"s","status":"input_required","ttl":null,"statusMessage":"z"}"#,
            ),
        ] {
            assert_eq!(text(to_legacy(task.as_bytes(), "s")), expected, "{task}");
        }
    }

    #[test]
    fn a_result_loses_what_only_the_other_era_has() {
        let key = RELATED_KEY;
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[ ],"_meta":{{"{key}":{{"taskId":"1"}}}}}}}}"#
        );
        let modern = result_to_modern(message.as_bytes()).expect("a result");
        assert_eq!(text(modern.clone()), r#"{"resultType":"complete","content":[ ]}"#);
        let legacy = result_to_legacy(&modern, "s").expect("a result");
        let meta = format!(r#""_meta":{{"{key}":{{"taskId":"s"}}}}"#);
        assert_eq!(text(legacy.clone()), format!(r#"{{{meta},"content":[ ]}}"#));
        let again = result_to_legacy(&legacy, "t").expect("a result");
        assert_eq!(text(again), text(legacy).replace("\"s\"", "\"t\""));
        assert_eq!(result_to_modern(b"{}"), None);
        assert_eq!(result_to_legacy(b"[1]", "s"), None);
    }
}
