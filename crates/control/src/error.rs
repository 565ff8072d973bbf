//! What went wrong with a file, whose fault is it, and how is it shown?
//!
//! Invariant: a rendered error shows the line of the file with the values in it masked, so that an
//! error message can be pasted into a bug report.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Everything that can go wrong in this room. All of it is for the user to repair; retrying
/// without a change gives the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A file could not be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Files say what they may not. Never empty.
    Problems(Vec<Problem>),
    /// The user's folders are unknown: neither a home folder nor a variable names them.
    NoHome,
    /// The system refused to watch files.
    Watch(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Problems(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if index == 0 { "" } else { "\n\n" })?;
                }
                Ok(())
            }
            Self::NoHome => f.write_str("there is no home folder; set HOME"),
            Self::Watch(why) => write!(f, "files cannot be watched: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// One thing wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters the caret marks, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line, with the values in it masked.
    pub shown: String,
}

impl Problem {
    /// Describes what is wrong at `span` of `text`.
    pub(crate) fn new(path: &Path, text: &str, span: Range<usize>, message: String) -> Self {
        let start = span.start.min(text.len());
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = span.end.clamp(start, line_end);
        Self {
            path: path.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            message,
            help: None,
            shown: masked(text[line_start..line_end].trim_end_matches('\r')),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 160;
        writeln!(f, "error: {}", self.message)?;
        let margin = " ".repeat(self.line.to_string().len());
        write!(f, "{margin}--> {}:{}:{}", self.path.display(), self.line, self.column)?;
        if self.column <= SHOWN_MAX {
            let shown: String = self
                .shown
                .chars()
                .take(SHOWN_MAX)
                .map(|c| if c == '\t' { ' ' } else { c })
                .collect();
            let caret = "^".repeat(self.width.min(SHOWN_MAX + 1 - self.column));
            let indent = " ".repeat(self.column - 1);
            write!(f, "\n{margin} |\n{} | {shown}\n{margin} | {indent}{caret}", self.line)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// `line` with everything that could be a value replaced by `*`, as long as before: what stands in
/// quotes (unless a key) and what follows a bare `:` (YAML).
fn masked(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'']) {
        let quote = rest.as_bytes()[at];
        shown.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        let end = end_of_quoted(rest, quote);
        let body = &rest[..end];
        let after = rest[end..].trim_start_matches(['"', '\'']).trim_start();
        if after.starts_with(['=', ':']) || is_plain_word(body) {
            shown.push_str(body);
        } else {
            shown.extend(body.chars().map(|_| '*'));
        }
        if end < rest.len() {
            shown.push(char::from(quote));
            rest = &rest[end + 1..];
        } else {
            rest = "";
        }
    }
    shown.push_str(rest);
    mask_bare(&shown)
}

/// The index of the closing quote in `rest`, or its length.
fn end_of_quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != quote {
        at += if quote == b'"' && bytes[at] == b'\\' { 2 } else { 1 };
    }
    let mut at = at.min(bytes.len());
    while !rest.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Whether `text` is too short and plain to be a secret: `auto`, `30s`, `127.0.0.1:70000`, `npx`.
fn is_plain_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".:-_[]".contains(c);
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(char::is_ascii_lowercase).count();
    text.chars().all(plain) && text.len() <= 24 && (letters <= 12 && (digits <= 4 || letters == 0))
}

/// Masks long bare words, where a value may stand without quotes: YAML, or a forgotten quote.
fn mask_bare(line: &str) -> String {
    const BARE_MAX: usize = 16;
    let Some(at) = line.find([':', '=']) else { return line.to_owned() };
    let (key, value) = line.split_at(at + 1);
    let mut shown = key.to_owned();
    for word in value.split_inclusive(|c: char| c.is_whitespace() || "\"',[]{}".contains(c)) {
        let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "\"',[]{}".contains(c));
        if bare.chars().count() > BARE_MAX {
            shown.extend(bare.chars().map(|_| '*'));
            shown.push_str(&word[bare.len()..]);
        } else {
            shown.push_str(word);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_place_and_no_secret() {
        let text = "[upstream.gh]\ncomand = \"npx\" # x\nenv = { TOKEN = \"ghp_S3cretS3cret\" }\n";
        let start = text.find("comand").expect("there");
        let problem = Problem::new(Path::new("kern.toml"), text, start..start + 6, "m".into())
            .with_help("did you mean `command`?");
        assert_eq!(
            problem.to_string(),
            "error: m\n --> kern.toml:2:1\n  |\n2 | comand = \"npx\" # x\n  | ^^^^^^\n  \
             = help: did you mean `command`?"
        );
        let start = text.find("env").expect("there");
        let problem = Problem::new(Path::new("k"), text, start..text.len(), "m".into());
        assert_eq!(problem.shown, "env = { TOKEN = \"****************\" }");
        assert_eq!(problem.width, problem.shown.len());
    }

    #[test]
    fn no_line_shows_what_could_be_a_secret() {
        for line in [
            "key = \"ghp_S3cretS3cretS3cret",
            "  TOKEN: ghp_S3cretS3cretS3cret",
            "\"A\": \"x\", \"B\": \"S3cret\\\"S3cret\"",
            "x = ghp_S3cretS3cretS3cret\"",
            "a = 'S3cret' 'S3cretS3cretS3cret",
        ] {
            let shown = masked(line);
            assert!(!shown.contains("S3cret"), "{shown}");
            assert_eq!(shown.chars().count(), line.chars().count());
        }
        assert_eq!(masked("\"command\" = \"npx\""), "\"command\" = \"npx\"");
        assert_eq!(masked("listen = '127.0.0.1:70000'"), "listen = '127.0.0.1:70000'");
    }

    #[test]
    fn any_span_of_any_text_is_rendered() {
        for text in ["", "\n", "é\r\n\"", "\"\\", "\"\\é"] {
            for start in 0..=text.len() {
                if text.is_char_boundary(start) {
                    Problem::new(Path::new(""), text, start..text.len(), String::new()).to_string();
                }
            }
        }
    }
}
