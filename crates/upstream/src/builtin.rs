//! The upstream answered inside the process: `builtin = "echo"`.
//!
//! Four tools for trials and benchmarks. Pure: what takes time is returned as a plan the caller
//! carries out.

use std::time::Duration;

use kern_mcp::json;

/// Longest `sleep`, and longest whole run of `progress`.
pub const SLEEP_MOST: Duration = Duration::from_secs(600);
/// Largest `blob`, bytes.
pub const BLOB_BYTES_MAX: usize = 100 << 20;
/// Most steps of `progress`.
pub const STEPS_MAX: u32 = 10_000;

/// The result of `tools/list`.
pub const TOOLS: &str = r#"{"tools":[{"name":"echo","description":"Answers with the message it was given.","inputSchema":{"type":"object","properties":{"message":{"type":"string","description":"What to say back."}},"required":["message"]},"annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}},{"name":"sleep","description":"Answers after a while.","inputSchema":{"type":"object","properties":{"ms":{"type":"integer","minimum":0,"maximum":600000,"description":"How long to wait, in milliseconds."}},"required":["ms"]},"annotations":{"readOnlyHint":true,"openWorldHint":false}},{"name":"blob","description":"Answers with a text of a given size.","inputSchema":{"type":"object","properties":{"bytes":{"type":"integer","minimum":0,"maximum":104857600,"description":"The size of the text, in bytes."}},"required":["bytes"]},"annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}},{"name":"progress","description":"Reports progress step by step, then answers.","inputSchema":{"type":"object","properties":{"steps":{"type":"integer","minimum":0,"maximum":10000,"description":"How many steps to report."},"interval_ms":{"type":"integer","minimum":0,"maximum":600000,"default":10,"description":"The wait between two steps, in milliseconds."}},"required":["steps"]},"annotations":{"readOnlyHint":true,"openWorldHint":false}}]}"#;
/// Its capabilities.
pub const CAPABILITIES: &str = r#"{"tools":{}}"#;
/// Its name.
pub const INFO: &str =
    concat!(r#"{"name":"kern-echo","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// How a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The result was written.
    Done,
    /// The result was written and is due after so long.
    Later(Duration),
    /// The result was written and is due after so many progress notifications.
    Steps {
        /// How many notifications.
        count: u32,
        /// The wait before each.
        every: Duration,
    },
}

/// Calls a tool: appends the members of its result (without the braces) to `out`.
///
/// # Errors
/// The text says which argument is wrong; it belongs into a result with `isError`, or, for an
/// unknown tool (`None`), into a protocol error.
pub fn call(name: &str, arguments: &[u8], out: &mut Vec<u8>) -> Result<Course, Option<String>> {
    let number = |key: &str, default: Option<u64>, most: u64| -> Result<u64, Option<String>> {
        match json::field(arguments, key) {
            None => default.ok_or_else(|| Some(format!("argument {key:?} is missing"))),
            Some(raw) => json::integer_u64(raw)
                .filter(|value| *value <= most)
                .ok_or_else(|| Some(format!("argument {key:?} must be an integer 0…{most}"))),
        }
    };
    let sleep_most = SLEEP_MOST.as_millis() as u64;
    match name {
        "echo" => {
            let raw = json::field(arguments, "message")
                .filter(|raw| raw.starts_with(b"\""))
                .ok_or_else(|| Some("argument \"message\" must be a string".to_owned()))?;
            text(out, |out| out.extend_from_slice(raw));
            Ok(Course::Done)
        }
        "sleep" => {
            let ms = number("ms", None, sleep_most)?;
            text(out, |out| out.extend_from_slice(format!("\"slept {ms} ms\"").as_bytes()));
            Ok(Course::Later(Duration::from_millis(ms)))
        }
        "blob" => {
            let bytes = number("bytes", None, BLOB_BYTES_MAX as u64)? as usize;
            text(out, |out| {
                out.push(b'"');
                out.resize(out.len() + bytes, b'x');
                out.push(b'"');
            });
            Ok(Course::Done)
        }
        "progress" => {
            let count = number("steps", None, u64::from(STEPS_MAX))? as u32;
            let every = number("interval_ms", Some(10), sleep_most)?;
            text(out, |out| out.extend_from_slice(format!("\"took {count} steps\"").as_bytes()));
            Ok(Course::Steps { count, every: Duration::from_millis(every) })
        }
        _ => Err(None),
    }
}

fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    write(out);
    out.extend_from_slice(b"}]");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, arguments: &str, expected: Result<(Course, &str), Option<&str>>) {
        let mut out = Vec::new();
        let got = call(name, arguments.as_bytes(), &mut out);
        match (got, expected) {
            (Ok(course), Ok((wanted, text))) => {
                assert_eq!((course, String::from_utf8_lossy(&out).as_ref()), (wanted, text));
            }
            (Err(why), Err(wanted)) => assert_eq!(why.as_deref(), wanted, "{name} {arguments}"),
            (got, wanted) => panic!("{name} {arguments}: {got:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn each_tool_answers_or_says_which_argument_is_wrong() {
        let text = |text: &str| format!(r#""content":[{{"type":"text","text":"{text}"}}]"#);
        check("echo", r#"{"message":"h\u00e9"}"#, Ok((Course::Done, &text(r"h\u00e9"))));
        check("echo", r#"{"message":1}"#, Err(Some("argument \"message\" must be a string")));
        let later = Course::Later(Duration::from_millis(5));
        check("sleep", r#"{"ms":5}"#, Ok((later, &text("slept 5 ms"))));
        check("sleep", r#"{}"#, Err(Some("argument \"ms\" is missing")));
        check("blob", r#"{"bytes":3}"#, Ok((Course::Done, &text("xxx"))));
        let steps = Course::Steps { count: 2, every: Duration::from_millis(10) };
        check("progress", r#"{"steps":2}"#, Ok((steps, &text("took 2 steps"))));
        check("nothing", r#"{}"#, Err(None));
    }
}
