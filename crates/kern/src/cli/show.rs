//! How results look on a terminal and in a pipe.
//!
//! Invariant: what a server wrote reaches a terminal without control characters, so it can't move
//! the cursor, change the title or hide text; a pipe gets the text as it is.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use kern_mcp::json;
use serde_json::Value;

use super::client_talk::Failure;

/// Exit status of a tool that says it failed.
pub(super) const TOOL_FAILED: u8 = 1;
/// Exit status where there is no result at all.
const NO_RESULT: u8 = 2;
/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Columns assumed where the terminal does not say.
const WIDTH_DEFAULT: usize = 100;
/// A wait shorter than this is not mentioned.
const WAIT_SHOWN: Duration = Duration::from_secs(2);

/// Prints why a verb failed, and what to do about it.
pub(super) fn failure(failure: &Failure) -> ExitCode {
    let code = match failure {
        Failure::Interrupted => {
            eprintln!("kern: cancelled");
            INTERRUPTED
        }
        Failure::Usage(why) | Failure::Other(why) => {
            eprintln!("kern: {}", for_errors(why));
            NO_RESULT
        }
        Failure::Refused { code, message, data } => {
            eprintln!("kern: {}", for_errors(&plain_reason(*code, message)));
            if let Some(data) = data {
                eprintln!("      {}", for_errors(data));
            }
            NO_RESULT
        }
    };
    ExitCode::from(code)
}

/// The reason alone where the event loop of this process wrapped it up, else the server's words.
fn plain_reason(code: i64, message: &str) -> String {
    let down = message.strip_prefix("upstream \"server\" is down: ");
    let Some(why) = down else { return format!("{message} (error {code})") };
    let why = why.rsplit_once("; it is started again in ").map_or(why, |(why, _)| why);
    format!("the server does not answer: {why}")
}

/// A word nobody knows, with the nearest one that somebody does.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match kern_control::nearest(word, known) {
        Some(near) => format!("there is no {what} `{word}`; did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no {what} `{word}`: there are none at all"),
        None if known.len() == 1 => {
            format!("there is no {what} `{word}`, only `{}`", known[0])
        }
        None => {
            let mut some: Vec<_> = known.iter().take(12).map(|name| format!("`{name}`")).collect();
            if known.len() > some.len() {
                some.push(format!("and {} more", known.len() - some.len()));
            }
            format!("there is no {what} `{word}`; there are {}", some.join(", "))
        }
    }
}

/// Columns of the terminal on stdout; `None` if it is none.
pub(super) fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| {
        let size = terminal_size::terminal_size();
        size.map_or(WIDTH_DEFAULT, |(width, _)| usize::from(width.0)).max(40)
    })
}

/// Text fit for stdout.
pub(super) fn for_output(text: &str) -> String {
    if std::io::stdout().is_terminal() { harmless(text) } else { text.to_owned() }
}

fn for_errors(text: &str) -> String {
    if std::io::stderr().is_terminal() { harmless(text) } else { text.to_owned() }
}

/// The text with control characters spelled out; line breaks and tabs stay.
fn harmless(text: &str) -> String {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t' || is_direction(c);
    if !text.contains(bad) {
        return text.to_owned();
    }
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| if bad(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

/// Characters that reverse the order of what follows.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first line that says something, in at most `most` columns.
pub(super) fn one_line(text: &str, most: Option<usize>) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = for_output(line);
    match most {
        Some(most) if line.chars().count() > most => {
            let cut: String = line.chars().take(most.saturating_sub(1)).collect();
            format!("{}…", cut.trim_end())
        }
        _ => line,
    }
}

/// The text in lines of at most `width` columns, each after `indent` blanks.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let most = width.saturating_sub(indent).max(20);
    let mut out = String::new();
    for paragraph in for_output(text).lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && longer > most {
                out.push_str(&format!("{:indent$}{line}\n", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            out.push_str(&format!("{:indent$}{line}\n", ""));
        }
    }
    out
}

/// Rows of cells, aligned; the last cell is cut to the terminal's width.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let longest = |column: usize| {
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| &row[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(longest).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                let room = width().map(|width| width.saturating_sub(line.chars().count()));
                line.push_str(&one_line(cell, room));
            } else {
                let cell = for_output(cell);
                line.push_str(&format!("{cell:width$}  ", width = widths[column]));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Content blocks of a tool's or prompt's result, as text. What is no text is named.
pub(super) fn content(blocks: &[Value]) -> String {
    let mut out = String::new();
    for block in blocks {
        let text = |name: &str| block[name].as_str().unwrap_or_default();
        let shown = match text("type") {
            "text" => text("text").to_owned(),
            kind @ ("image" | "audio") => binary(kind, text("mimeType"), text("data")),
            "resource" => resource(&block["resource"]),
            "resource_link" => {
                let title = block["title"].as_str().unwrap_or(text("name"));
                format!("{}  {title}", text("uri"))
            }
            _ => block.to_string(),
        };
        out.push_str(&shown);
        if !shown.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

fn resource(resource: &Value) -> String {
    if let Some(text) = resource["text"].as_str() {
        return text.to_owned();
    }
    let kind = resource["mimeType"].as_str().unwrap_or("application/octet-stream");
    let uri = resource["uri"].as_str().unwrap_or_default();
    binary(uri, kind, resource["blob"].as_str().unwrap_or_default())
}

/// Stands for bytes that are no text.
fn binary(what: &str, kind: &str, base64: &str) -> String {
    format!("[{what}: {kind}, {} bytes; --json shows it]", base64.len() / 4 * 3)
}

/// What is written to stderr while one waits, on a terminal only.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    shown: bool,
    progressed: bool,
}

impl Ticker {
    pub(super) fn wait(&mut self, whom: &str, waited: Duration) {
        if waited >= WAIT_SHOWN && !self.progressed {
            self.line(&format!("waiting for {whom}… {} s", waited.as_secs()));
        }
    }

    /// `params` of `notifications/progress`.
    pub(super) fn progress(&mut self, params: &[u8]) {
        let number = |name| json::field(params, name).and_then(|raw| std::str::from_utf8(raw).ok());
        let number = |name| number(name).and_then(|raw| raw.parse::<f64>().ok());
        let done = number("progress").unwrap_or_default();
        let text = json::text_field(params, "message").unwrap_or_default();
        let count = match number("total").filter(|total| *total > 0.0) {
            Some(total) => format!("{done}/{total}"),
            None => done.to_string(),
        };
        self.progressed = true;
        self.line(&format!("{count} {text}"));
    }

    /// `params` of `notifications/message`.
    pub(super) fn log(&mut self, params: &[u8]) {
        self.clear();
        let level = json::text_field(params, "level").unwrap_or_default();
        let data = json::field(params, "data").unwrap_or_default();
        let text = json::text(data).unwrap_or_else(|| String::from_utf8_lossy(data).into_owned());
        eprintln!("{}: {}", for_errors(&level), for_errors(&text));
    }

    fn line(&mut self, text: &str) {
        if std::io::stderr().is_terminal() {
            self.shown = true;
            let width = terminal_size::terminal_size_of(std::io::stderr());
            let most = width.map_or(WIDTH_DEFAULT, |(width, _)| usize::from(width.0));
            let text: String =
                harmless(text).replace('\n', " ").chars().take(most.saturating_sub(1)).collect();
            eprint!("\r\u{1b}[K{text}");
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\u{1b}[K");
            // Nothing is lost if the terminal is gone.
            let _ = std::io::stderr().flush();
        }
    }
}

/// Writes to stdout; a reader that left early (`kern ls | head`) is no failure.
pub(super) fn print(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kern: the result cannot be written: {error}");
            ExitCode::from(NO_RESULT)
        }
    }
}

/// Writes a raw JSON result as one line.
pub(super) fn print_json(raw: &[u8]) -> ExitCode {
    print(&[raw, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_steer_the_terminal_that_shows_its_text() {
        for (text, expected) in [
            ("plain\ttext\nsecond", "plain\ttext\nsecond"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\rb", "a\\u{d}b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("evil\u{202e}txt", "evil\\u{202e}txt"),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_descriptions_break_between_words() {
        let text = "one two three four five six seven\n\nnext";
        assert_eq!(wrapped(text, 2, 22), "  one two three four\n  five six seven\n  next\n");
        assert_eq!(one_line("\n  first line\nsecond", Some(6)), "first…");
        assert_eq!(one_line("short", Some(6)), "short");
    }

    #[test]
    fn what_is_no_text_is_named_with_its_size() {
        let blocks = serde_json::json!([
            { "type": "text", "text": "hello" },
            { "type": "image", "mimeType": "image/png", "data": "AAAABBBB" },
            { "type": "resource", "resource": { "uri": "a://b", "text": "inner\n" } },
            { "type": "resource_link", "uri": "a://c", "name": "c" },
        ]);
        let shown = content(blocks.as_array().expect("an array"));
        assert_eq!(shown, "hello\n[image: image/png, 6 bytes; --json shows it]\ninner\na://c  c\n");
    }

    #[test]
    fn a_slip_of_the_finger_is_answered_with_the_right_word() {
        let known = ["read_file", "write_file"];
        assert!(unknown("tool", "read_fiel", &known).ends_with("did you mean `read_file`?"));
        assert!(unknown("tool", "xyz", &known).contains("there are `read_file`, `write_file`"));
        assert!(unknown("tool", "xyz", &[]).contains("none at all"));
    }
}
