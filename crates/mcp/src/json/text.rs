//! What does this string say, and how is text spelled as a string?
//!
//! Readers take the raw text with its quotes. They are total: on bytes that are no JSON string they
//! answer `None` or `false`.

use std::borrow::Cow;

/// The bytes between the quotes; `None` where `raw` is not in quotes.
fn quoted_content(raw: &[u8]) -> Option<&[u8]> {
    match raw {
        [b'"', content @ .., b'"'] => Some(content),
        _ => None,
    }
}

/// The text of a string, borrowed where it holds no escape. `None` where `raw` is no JSON string, or
/// holds a lone surrogate and so has no text.
pub fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    read(raw, false)
}

/// As [`unescape`], with U+FFFD for each lone surrogate. For display and search, never for names.
pub fn unescape_lossy(raw: &[u8]) -> Option<Cow<'_, str>> {
    read(raw, true)
}

fn read(raw: &[u8], lossy: bool) -> Option<Cow<'_, str>> {
    let content = quoted_content(raw)?;
    // Without an early end, so that it is done in blocks.
    let special = |found: bool, &byte: &u8| found | matches!(byte, b'\\' | b'"' | 0..0x20);
    let plain = !content.iter().fold(false, special);
    let content = std::str::from_utf8(content).ok()?;
    if plain {
        return Some(Cow::Borrowed(content));
    }
    memchr::memchr(b'\\', content.as_bytes())?;
    let mut text = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find(['\\', '"']) {
        text.push_str(&rest[..at]);
        let (character, length) = escape(&rest.as_bytes()[at..], lossy)?;
        text.push(character);
        rest = rest.get(at + length..)?;
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character an escape stands for, and the escape's length in bytes.
fn escape(bytes: &[u8], lossy: bool) -> Option<(char, usize)> {
    let simple = match bytes {
        [b'\\', b'"' | b'\\' | b'/', ..] => bytes[1] as char,
        [b'\\', b'b', ..] => '\u{8}',
        [b'\\', b'f', ..] => '\u{c}',
        [b'\\', b'n', ..] => '\n',
        [b'\\', b'r', ..] => '\r',
        [b'\\', b't', ..] => '\t',
        _ => {
            let first = unit(bytes)?;
            if let Some(character) = char::from_u32(first.into()) {
                return Some((character, 6));
            }
            let second = if first < 0xdc00 { unit(&bytes[6..]) } else { None };
            return match second {
                Some(second @ 0xdc00..0xe000) => {
                    let code = 0x10000 + ((first as u32 - 0xd800) << 10) + (second as u32 - 0xdc00);
                    Some((char::from_u32(code)?, 12))
                }
                _ => lossy.then_some((char::REPLACEMENT_CHARACTER, 6)),
            };
        }
    };
    Some((simple, 2))
}

/// The UTF-16 unit of a `\uXXXX` at the start of `bytes`.
fn unit(bytes: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes else { return None };
    digits.get(..4)?.iter().try_fold(0u16, |unit, &digit| {
        let value = (digit as char).to_digit(16)?;
        Some(unit << 4 | value as u16)
    })
}

/// Whether the string `raw` says `text`, however it is spelled.
pub fn same_text(raw: &[u8], text: &str) -> bool {
    match quoted_content(raw) {
        Some(content) if content == text.as_bytes() => {
            !text.bytes().any(|byte| byte == b'\\' || byte == b'"' || byte < 0x20)
        }
        Some(content) if memchr::memchr(b'\\', content).is_some() => {
            unescape(raw).is_some_and(|said| said == text)
        }
        _ => false,
    }
}

/// As [`same_text`], for a key whose scan told whether it is escaped.
pub(super) fn key_is(raw: &[u8], escaped: bool, text: &str) -> bool {
    if escaped { same_text(raw, text) } else { quoted_content(raw) == Some(text.as_bytes()) }
}

/// Appends `text` escaped for the inside of a string: quote, backslash and control characters only.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// Appends `text` as a JSON string, quotes included.
pub fn quote_into(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape_into(out, text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_their_text_or_a_name_could_hide_behind_one() {
        let table: [(&str, Option<&str>); 14] = [
            (r#""plain""#, Some("plain")),
            (r#""""#, Some("")),
            (r#""na\u006de""#, Some("name")),
            (r#""\"\\\/\b\f\n\r\t""#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r#""\ud83d\ude00""#, Some("😀")),
            (r#""\ud83d""#, None),
            (r#""\ude00\ud83d""#, None),
            (r#""\ud83d\u0041""#, None),
            (r#""é\u00e9""#, Some("éé")),
            (r#""\x""#, None),
            (r#""\u12""#, None),
            (r#""a"b""#, None),
            (r#"plain"#, None),
            ("\"", None),
        ];
        for (raw, text) in table {
            assert_eq!(unescape(raw.as_bytes()).as_deref(), text, "{raw}");
            if let Some(text) = text {
                assert!(same_text(raw.as_bytes(), text), "{raw}");
            }
        }
        assert_eq!(unescape_lossy(br#""a\ud83d\u0041""#).as_deref(), Some("a\u{fffd}A"));
    }
}
