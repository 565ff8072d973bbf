//! How is a table read so that whatever is wrong in it is said once, with its place and its cure?
//!
//! Invariants: a getter returns `None` both for an absent key and for a wrong one, and has noted a
//! problem in the second case; reading goes on after a problem, so all are found in one go.

use std::ops::Range;
use std::path::Path;

use super::nearest::nearest;
use crate::error::Problem;
use crate::limits::{Bound, ITEMS_MAX, PROBLEMS_MAX, TEXT_BYTES_MAX};
use crate::node::{Node, Value};

/// A piece of text from the file and its place.
pub(crate) type Word<'n> = (&'n str, Range<usize>);

/// Collects what is wrong while a file is read.
pub(crate) struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// A table and its name in messages.
#[derive(Clone, Copy)]
pub(crate) struct Section<'n> {
    pub(crate) name: &'n str,
    pub(crate) node: &'n Node,
}

impl Section<'_> {
    /// The whole name of `key`, as in `serve.listen`.
    pub(crate) fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The problems and warnings, at most [`PROBLEMS_MAX`] of each, in the order of the file.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, Vec<Problem>) {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        (self.problems, self.warnings)
    }

    pub(crate) fn problem(&mut self, span: &Range<usize>, message: impl Into<String>) {
        // Making one reads the file up to its place, so what is not told is not made.
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::new(self.path, self.text, span.clone(), message.into()));
        }
    }

    pub(crate) fn problem_with_help(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.problems.len() < PROBLEMS_MAX {
            let problem = Problem::new(self.path, self.text, span.clone(), message.into());
            self.problems.push(problem.with_help(help));
        }
    }

    pub(crate) fn warn(&mut self, span: &Range<usize>, message: String, help: String) {
        if self.warnings.len() < PROBLEMS_MAX {
            let problem = Problem::new(self.path, self.text, span.clone(), message);
            self.warnings.push(problem.with_help(help));
        }
    }

    /// Notes every key of `section` that is not in `known`.
    pub(crate) fn only_known(&mut self, section: Section<'_>, known: &[&str]) {
        for (key, _) in section.node.table().unwrap_or_default() {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let message = format!("`{}` is no setting", section.dotted(&key.name));
            match nearest(&key.name, known) {
                Some(near) => {
                    self.problem_with_help(&key.span, message, format!("did you mean `{near}`?"));
                }
                None => {
                    let help = format!("the settings here are: {}", known.join(", "));
                    self.problem_with_help(&key.span, message, help);
                }
            }
        }
    }

    /// The value of `key`, if `convert` takes it; else a problem that names what was expected.
    fn get<'n, T>(
        &mut self,
        section: Section<'n>,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'n Node) -> Option<T>,
    ) -> Option<T> {
        let node = section.node.get(key)?;
        let value = convert(node);
        if value.is_none() {
            let dotted = section.dotted(key);
            let message = format!("`{dotted}` is {expected}, not {}", node.value.kind());
            self.problem(&node.span, message);
        }
        value
    }

    pub(crate) fn word<'n>(&mut self, section: Section<'n>, key: &str) -> Option<Word<'n>> {
        let word =
            self.get(section, key, "text", |node| Some((node.text()?, node.span.clone())))?;
        self.fitting(section, key, word)
    }

    /// As `word`, with anything that is one of `choices`.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        section: Section<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let (text, span) = self.word(section, key)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("`{}` cannot be `{text}`", section.dotted(key));
            let help = match nearest(text, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of: {}", names.join(", ")),
            };
            self.problem_with_help(&span, message, help);
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn boolean(&mut self, section: Section<'_>, key: &str) -> Option<bool> {
        self.get(section, key, "true or false", Node::bool)
    }

    /// A number within `bound`.
    pub(crate) fn number(&mut self, section: Section<'_>, key: &str, bound: Bound) -> Option<u64> {
        let (number, span) = self.get(section, key, "a number", |node| match node.value {
            Value::Int(number) => Some((number, node.span.clone())),
            _ => None,
        })?;
        let fits = u64::try_from(number).ok().filter(|n| (bound.min..=bound.max).contains(n));
        if fits.is_none() {
            let dotted = section.dotted(key);
            let message = format!("`{dotted}` is from {} to {}", bound.min, bound.max);
            self.problem(&span, message);
        }
        fits
    }

    /// A time like `"30s"`, in ms, within `bound`.
    pub(crate) fn duration(
        &mut self,
        section: Section<'_>,
        key: &str,
        bound: Bound,
    ) -> Option<u64> {
        const EXPECTED: &str = "a time such as \"30s\"";
        let node = section.node.get(key)?;
        if let Value::Int(number) = node.value {
            let message = format!("`{}` has no unit", section.dotted(key));
            self.problem_with_help(&node.span, message, format!("write \"{number}s\" for seconds"));
            return None;
        }
        let text = self.get(section, key, EXPECTED, Node::text)?;
        let Some(ms) = parse_duration(text) else {
            let message = format!("`{}` is no time", section.dotted(key));
            let help = "write a whole number and a unit: \"500ms\", \"30s\", \"5m\" or \"1h\"";
            self.problem_with_help(&node.span, message, help);
            return None;
        };
        let span = node.span.clone();
        self.bounded(section, key, ms, bound, &span, shown_duration)
    }

    /// A size like `"16MiB"` or a number of bytes, within `bound`.
    pub(crate) fn size(&mut self, section: Section<'_>, key: &str, bound: Bound) -> Option<u64> {
        let node = section.node.get(key)?;
        let bytes = match &node.value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Text(text) => parse_size(text),
            _ => None,
        };
        let Some(bytes) = bytes else {
            let message = format!("`{}` is no size", section.dotted(key));
            let help = "write a number of bytes, or a number and a unit: \"64KiB\", \"16MiB\"";
            self.problem_with_help(&node.span, message, help);
            return None;
        };
        let span = node.span.clone();
        self.bounded(section, key, bytes, bound, &span, shown_size)
    }

    fn bounded(
        &mut self,
        section: Section<'_>,
        key: &str,
        value: u64,
        bound: Bound,
        span: &Range<usize>,
        shown: fn(u64) -> String,
    ) -> Option<u64> {
        if (bound.min..=bound.max).contains(&value) {
            return Some(value);
        }
        let (min, max) = (shown(bound.min), shown(bound.max));
        self.problem(span, format!("`{}` is from {min} to {max}", section.dotted(key)));
        None
    }

    /// A list of texts.
    pub(crate) fn words<'n>(&mut self, section: Section<'n>, key: &str) -> Option<Vec<Word<'n>>> {
        let elements = self.get(section, key, "a list of texts", Node::list)?;
        if elements.len() > ITEMS_MAX {
            let node = section.node.get(key)?;
            let message = format!("`{}` has more than {ITEMS_MAX} entries", section.dotted(key));
            self.problem(&node.span, message);
            return None;
        }
        let mut words = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let item = format!("{key}[{index}]");
            match element.text() {
                Some(text) => {
                    words.extend(self.fitting(section, &item, (text, element.span.clone())));
                }
                None => {
                    let message = format!(
                        "`{}` is text, not {}",
                        section.dotted(&item),
                        element.value.kind()
                    );
                    self.problem(&element.span, message);
                }
            }
        }
        Some(words)
    }

    /// A table of texts: name, its place, value.
    pub(crate) fn pairs<'n>(
        &mut self,
        section: Section<'n>,
        key: &str,
    ) -> Vec<(Word<'n>, Word<'n>)> {
        let entries = self.get(section, key, "a table of texts", Node::table).unwrap_or_default();
        let mut pairs = Vec::with_capacity(entries.len().min(ITEMS_MAX));
        for (name, node) in entries {
            let item = format!("{key}.{}", name.name);
            let word = match node.text() {
                Some(text) => self.fitting(section, &item, (text, node.span.clone())),
                None => {
                    let dotted = section.dotted(&item);
                    let message = format!("`{dotted}` is text, not {}", node.value.kind());
                    self.problem_with_help(&node.span, message, "put it in quotes");
                    None
                }
            };
            pairs.extend(word.map(|word| ((name.name.as_str(), name.span.clone()), word)));
        }
        if pairs.len() > ITEMS_MAX {
            let message = format!("`{}` has more than {ITEMS_MAX} entries", section.dotted(key));
            self.problem(&section.node.span, message);
            pairs.truncate(ITEMS_MAX);
        }
        pairs
    }

    fn fitting<'n>(&mut self, section: Section<'_>, key: &str, word: Word<'n>) -> Option<Word<'n>> {
        if word.0.len() <= TEXT_BYTES_MAX && !word.0.contains('\0') {
            return Some(word);
        }
        let dotted = section.dotted(key);
        let message = format!("`{dotted}` is longer than {TEXT_BYTES_MAX} bytes or holds a NUL");
        self.problem(&word.1, message);
        None
    }
}

/// Splits `"30s"` into 30 and `s`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// Reads `500ms`, `30s`, `5m`, `1h`, in ms.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Reads `64KiB`, `16MB` and the like, in bytes.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "kib" | "k" => 1 << 10,
        "mb" => 1_000_000,
        "mib" | "m" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" | "g" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn shown_duration(ms: u64) -> String {
    match ms {
        _ if ms >= 3_600_000 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms >= 1_000 && ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

fn shown_size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_need_a_unit_and_never_overflow() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            (" 5 m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("30", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1d", None),
            ("18446744073709551615h", None),
            ("99999999999999999999s", None),
            ("", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(parse_size("16MiB"), Some(16 << 20));
        assert_eq!(parse_size("1kb"), Some(1000));
        assert_eq!(parse_size("18446744073709551615GiB"), None);
        assert_eq!((shown_size(16 << 20), shown_duration(90_000)), ("16MiB".into(), "90s".into()));
    }
}
