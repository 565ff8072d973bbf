//! Rust source without what is not code, and where its functions and tests lie.
//!
//! A scanner, not a parser: it knows comments, strings and brackets. Invariants: the masked text has
//! the same lines and the same length in bytes as the source; it never fails, on any input.

use std::ops::Range;

/// Source with strings, characters and comments blanked out.
#[derive(Debug)]
pub(super) struct Source {
    /// Only code.
    pub(super) code: String,
    /// Only comments.
    pub(super) comments: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Line of `fn`, from 1.
    pub(super) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(super) lines: usize,
}

impl Source {
    pub(super) fn mask(text: &str) -> Self {
        let bytes = text.as_bytes();
        let blank = |byte: u8| if byte == b'\n' { b'\n' } else { b' ' };
        let mut code: Vec<u8> = bytes.iter().map(|&byte| blank(byte)).collect();
        let mut comments = code.clone();
        let mut at = 0;
        while at < bytes.len() {
            let (end, target) = match token(bytes, at) {
                Token::Code(end) => (end, Some(&mut code)),
                Token::Comment(end) => (end, Some(&mut comments)),
                Token::Literal(end) => (end, None),
            };
            let end = end.clamp(at + 1, bytes.len());
            if let Some(target) = target {
                target[at..end].copy_from_slice(&bytes[at..end]);
            }
            at = end;
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("characters stay whole");
        Self { code: text(code), comments: text(comments) }
    }

    /// The functions with bodies, in order.
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for start in words(&self.code, "fn") {
            let rest = self.code[start + 2..].trim_start();
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(body) = body(self.code.as_bytes(), start).filter(|_| !name.is_empty()) else {
                continue;
            };
            let line = line_of(&self.code, start);
            let lines = line_of(&self.code, body.end - 1) - line + 1;
            functions.push(Function { name, line, lines });
        }
        functions
    }

    /// The byte ranges of items under `#[cfg(test)]` or `#[test]`.
    pub(super) fn tests(&self) -> Vec<Range<usize>> {
        let mut tests = Vec::new();
        for mark in ["#[cfg(test)]", "#[test]", "#[cfg(all(test"] {
            for (start, _) in self.code.match_indices(mark) {
                let after = start + mark.len();
                if let Some(body) = body(self.code.as_bytes(), after) {
                    tests.push(start..body.end);
                }
            }
        }
        tests
    }
}

enum Token {
    Code(usize),
    Comment(usize),
    Literal(usize),
}

/// The token at `at` and where it ends.
fn token(bytes: &[u8], at: usize) -> Token {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let starts_word = !before.is_some_and(is_word);
    match rest {
        [b'/', b'/', ..] => {
            let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            Token::Comment(at + length)
        }
        [b'/', b'*', ..] => Token::Comment(at + block_comment(rest)),
        [b'"', ..] => Token::Literal(at + string(rest)),
        [b'r', b'"' | b'#', ..] | [b'b' | b'c', b'r', b'"' | b'#', ..] if starts_word => {
            let prefix = if rest[0] == b'r' { 1 } else { 2 };
            match raw_string(&rest[prefix..]) {
                Some(length) => Token::Literal(at + prefix + length),
                None => Token::Code(at + prefix),
            }
        }
        [b'\'', b'\\', ..] => Token::Literal(at + 2 + character(&rest[2..])),
        [b'\'', ..] => {
            // A character, unless no quote follows one character later: then a lifetime.
            let width = rest.get(1).map_or(1, |&lead| utf8_width(lead));
            match rest.get(1 + width) {
                Some(b'\'') => Token::Literal(at + width + 2),
                _ => Token::Code(at + 1),
            }
        }
        _ => Token::Code(at + utf8_width(rest[0])),
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `#…#"…"#…#`, if it is one.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &rest[hashes + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| hashes + 1 + end + close.len()))
}

/// The length of an escaped character from after its backslash to its quote.
fn character(rest: &[u8]) -> usize {
    let escaped = usize::from(!rest.is_empty());
    let close = rest.iter().skip(escaped).position(|&byte| byte == b'\'');
    close.map_or(rest.len(), |close| escaped + close + 1)
}

fn utf8_width(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where `word` stands as a word of its own.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + word.len());
        !before.is_some_and(|&byte| is_word(byte)) && !after.is_some_and(|&byte| is_word(byte))
    })
}

/// The line of the byte at `at`, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// The braces that follow `start` before a `;` outside all brackets.
fn body(code: &[u8], start: usize) -> Option<Range<usize>> {
    let mut depth = 0usize;
    let mut open = None;
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' => {
                open = open.or((depth == 0).then_some((at, depth)));
                depth += 1;
            }
            b'}' => {
                depth = depth.checked_sub(1)?;
                if let Some((open, outside)) = open
                    && depth == outside
                {
                    return Some(open..at + 1);
                }
            }
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_code_is_blanked_and_lines_stay() {
        for (source, code) in [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a("b // c") d"#, r#"a(        ) d"#),
            (r##"a(r#"b"c"#) d"##, r##"a(        ) d"##),
            (r#"x = '"'; y"#, r#"x =    ; y"#),
            (r"x = '\''; y", r"x =     ; y"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("a\"\n\"b", "a \n b"),
            ("br#\"x\"# y", "        y"),
            ("r#type x", "r#type x"),
            ("\"open", "     "),
            ("'\\", "  "),
        ] {
            assert_eq!(Source::mask(source).code, code, "{source}");
        }
        assert_eq!(Source::mask("a // b").comments, "  // b");
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let source = "fn one() {}\ntrait T { fn none(&self); }\nfn two(x: [u8; 3])\nwhere X: Y {\n if a { b }\n}\nlet f: fn(u8);\n";
        let found: Vec<_> = Source::mask(source)
            .functions()
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect();
        assert_eq!(found, [("one".to_owned(), 1, 1), ("two".to_owned(), 3, 4)]);
    }

    #[test]
    fn test_items_are_found() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}";
        let tests = Source::mask(source).tests();
        assert_eq!(tests.len(), 1);
        assert!(source[tests[0].clone()].ends_with("{} }\n}"));
    }
}
