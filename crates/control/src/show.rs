//! How is what files say put before a person's eyes?
//!
//! Invariants: no value of a variable or a header, and nothing that looks like a secret in an
//! argument or an URL, gets through; nor does a character that moves the cursor or the reading
//! direction, so that a hostile file cannot paint over what it does.

use std::fmt::Write as _;

use crate::limits::SHOWN_CHARS_MAX;
use crate::plan::{Builtin, Kind};
use crate::secret::{Template, is_variable};

/// Words in a name that announce a secret.
const TELLING: &[&str] =
    &["token", "secret", "password", "passwd", "auth", "apikey", "api-key", "api_key", "bearer"];
/// What stands for a hidden value.
const HIDDEN: &str = "***";

/// `text` with control and formatting characters spelled out.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let formatting = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}');
        if c.is_control() || formatting {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// One line that says what is started or called. What is cut off is counted, so that nothing
/// hides behind a long beginning.
pub(crate) fn describe(kind: &Kind) -> String {
    let line = whole_line(kind);
    match line.char_indices().nth(SHOWN_CHARS_MAX) {
        None => line,
        Some((at, _)) => {
            format!("{} … and {} more characters", &line[..at], line[at..].chars().count())
        }
    }
}

fn whole_line(kind: &Kind) -> String {
    match kind {
        Kind::Builtin(Builtin::Echo) => "builtin echo".to_owned(),
        Kind::Url(plan) => {
            let mut line = shown_url(&plan.url.source_in_clear());
            append_names(&mut line, "headers", plan.headers.iter().map(|(name, _)| name.as_str()));
            printable(&line)
        }
        Kind::Command(plan) => {
            let mut line = plan.program.source_in_clear();
            let mut hide_next = false;
            for arg in &plan.args {
                let text = shown_argument(arg, hide_next);
                hide_next = arg.as_literal().is_some_and(is_telling_flag);
                line.push(' ');
                line.push_str(&text);
            }
            append_names(&mut line, "env", plan.env.iter().map(|(name, _)| name.as_str()));
            printable(&line)
        }
    }
}

fn append_names<'n>(line: &mut String, what: &str, names: impl Iterator<Item = &'n str>) {
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        let _ = write!(line, "  [{what}: {}]", names.join(", "));
    }
}

/// Whether the next argument is a secret: `--api-key`, `-H`. What `-e` sets is `NAME=value`.
fn is_telling_flag(arg: &str) -> bool {
    let lower = arg.to_ascii_lowercase();
    let named = TELLING.iter().any(|word| lower.contains(word)) && !lower.contains('=');
    arg.starts_with('-') && (named || matches!(arg, "-H" | "--header"))
}

fn shown_argument(arg: &Template, hide: bool) -> String {
    let text = arg.source_in_clear();
    if hide {
        // A name is kept: `-H Authorization:***`.
        return match text.find([':', '=']) {
            Some(at) => format!("{}{HIDDEN}", &text[..=at]),
            None if arg.as_literal().is_none() => arg.to_string(),
            None => HIDDEN.to_owned(),
        };
    }
    if text.contains("://") {
        return shown_url(&text);
    }
    if let Some((name, value)) = text.split_once('=') {
        let lower = name.to_ascii_lowercase();
        let variable = !name.contains(|c: char| c.is_ascii_lowercase()) && is_variable(name);
        if variable || TELLING.iter().any(|word| lower.contains(word)) || looks_secret(value) {
            return format!("{name}={HIDDEN}");
        }
    }
    let quoted = text.is_empty() || text.contains([' ', '"', '\'']);
    match arg.as_literal() {
        Some(literal) if literal.split_whitespace().any(looks_secret) => HIDDEN.to_owned(),
        _ if quoted => format!("'{text}'"),
        _ => text,
    }
}

/// Whether a word could be a key: long, without the marks of a path or a package name, and of
/// mixed characters.
fn looks_secret(word: &str) -> bool {
    let prefixed = ["ghp_", "gho_", "github_pat_", "sk-", "xox", "eyJ", "AKIA", "glpat-"];
    if prefixed.iter().any(|prefix| word.starts_with(prefix)) && word.len() >= 12 {
        return true;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=".contains(c);
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let letters = word.chars().filter(char::is_ascii_alphabetic).count();
    word.len() >= 24 && word.chars().all(plain) && digits >= 4 && letters >= 4
}

/// An URL without user, query and fragment.
fn shown_url(url: &str) -> String {
    let (base, rest) = match url.find(['?', '#']) {
        Some(at) => (&url[..at], "?***"),
        None => (url, ""),
    };
    let (scheme, after) = base.split_once("://").unwrap_or(("", base));
    let (authority, path) = match after.find('/') {
        Some(at) => after.split_at(at),
        None => (after, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path: Vec<&str> =
        path.split('/').map(|part| if looks_secret(part) { HIDDEN } else { part }).collect();
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{}{rest}", path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CommandPlan, Transport, UrlPlan};

    #[test]
    fn what_is_shown_names_everything_and_reveals_nothing() {
        let literal = |text: &&str| Template::literal(*text);
        let plan = CommandPlan {
            program: Template::literal("npx"),
            args: [
                "-y",
                "@org/server@1.2.3",
                "--api-key",
                "S3cret",
                "--token=S3cret",
                "-H",
                "Authorization: Bearer S3cret",
                "ghp_S3cretS3cretS3cret",
                "https://u:S3cret@h/p?k=S3cret",
                "x y",
                "--dir=/home/u",
                "-e",
                "A=S3cret",
                "0123456789abcdefS3cret0123456789",
            ]
            .iter()
            .map(literal)
            .chain([Template::variable("", "KEY")])
            .collect(),
            env: vec![("B".to_owned(), Template::literal("S3cret"))],
            env_file: None,
            cwd: None,
            ring: false,
        };
        assert_eq!(
            describe(&Kind::Command(plan)),
            "npx -y @org/server@1.2.3 --api-key *** --token=*** -H Authorization:*** *** \
             https://h/p?*** 'x y' --dir=/home/u -e A=*** *** ${env:KEY}  [env: B]"
        );
        let plan = UrlPlan {
            url: Template::literal("https://h/mcp/0123456789abcdefS3cret0123456789/x?key=S3cret"),
            headers: vec![("authorization".to_owned(), Template::literal("S3cret"))],
            transport: Transport::Auto,
        };
        assert_eq!(describe(&Kind::Url(plan)), "https://h/mcp/***/x?***  [headers: authorization]");
    }

    #[test]
    fn nothing_hides_behind_a_long_beginning() {
        let plan = CommandPlan {
            program: Template::literal("x"),
            args: vec![Template::literal(" ".repeat(SHOWN_CHARS_MAX)), Template::literal("; evil")],
            env: Vec::new(),
            env_file: None,
            cwd: None,
            ring: false,
        };
        let line = describe(&Kind::Command(plan));
        assert!(line.ends_with("… and 13 more characters"), "{line}");
    }

    #[test]
    fn a_hostile_file_cannot_paint_over_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[2K\r\u{202e}b\u{200b}é"),
            "a\\u{1b}[2K\\u{d}\\u{202e}b\\u{200b}é"
        );
    }
}
