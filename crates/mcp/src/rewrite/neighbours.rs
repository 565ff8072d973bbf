//! What stands around a member?
//!
//! Read backwards from a value in validated JSON: white space, a colon, white space, the key, white
//! space, then a comma or the opening bracket.

use crate::json::Span;

/// The place of one member among the others of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Neighbours {
    /// Where the key's opening quote is.
    pub(super) key_start: u32,
    /// The comma before the member; `None` for the first.
    pub(super) comma_before: Option<u32>,
    /// The comma after the member; `None` for the last.
    pub(super) comma_after: Option<u32>,
}

/// The neighbours of the member whose value is at `value`.
pub(super) fn find(message: &[u8], value: Span) -> Neighbours {
    let colon = back_over_space(message, value.start as usize);
    assert!(colon > 0 && message[colon - 1] == b':', "a member's value follows a colon");
    let key_end = back_over_space(message, colon - 1);
    let key_start = opening_quote(message, key_end);
    let before = back_over_space(message, key_start);
    let has_comma = before > 0 && message[before - 1] == b',';
    let after = next_token(message, value.end as usize);
    Neighbours {
        key_start: key_start as u32,
        comma_before: has_comma.then(|| before as u32 - 1),
        comma_after: (message.get(after) == Some(&b',')).then_some(after as u32),
    }
}

/// The offset after the last byte before `at` that is no white space.
fn back_over_space(message: &[u8], mut at: usize) -> usize {
    while at > 0 && is_space(message[at - 1]) {
        at -= 1;
    }
    at
}

/// The offset of the first byte from `at` on that is no white space.
pub(super) fn next_token(message: &[u8], at: usize) -> usize {
    message[at..].iter().position(|&byte| !is_space(byte)).map_or(message.len(), |skip| at + skip)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The opening quote of the string that ends before `end`. A quote inside a string stands behind an
/// odd number of backslashes; the opening one behind none.
fn opening_quote(message: &[u8], end: usize) -> usize {
    assert!(end > 1 && message[end - 1] == b'"', "a key is a string");
    let mut at = end - 2;
    loop {
        if message[at] == b'"' {
            let backslashes = message[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
            if backslashes % 2 == 0 {
                return at;
            }
        }
        assert!(at > 0, "a key has an opening quote");
        at -= 1;
    }
}
