//! Where does this string end, and is it well-formed?
//!
//! Two ways: a fast one for what most strings are, short and plain; a full one for the rest.

use super::block::{passable_64, plain_of_16};
use super::fault::JsonFaultKind;

/// The offset after the closing quote of the string whose opening quote is at `start`, if it is plain
/// and ends within 16 bytes, and the message does not end sooner. `None` decides nothing.
#[inline(always)]
pub(super) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let block: &[u8; 16] = bytes.get(start + 1..)?.first_chunk()?;
    let plain = plain_of_16(block);
    (plain < 16 && block[plain] == b'"').then_some(start + 2 + plain)
}

/// A string that is well-formed.
pub(super) struct Ended {
    /// The offset after the closing quote.
    pub(super) end: usize,
    /// Whether it holds an escape.
    pub(super) escaped: bool,
}

/// As [`string_end`], for any string, with the fault and its offset where it is not well-formed.
pub(super) fn unplain_string_end(
    bytes: &[u8],
    start: usize,
) -> Result<Ended, (JsonFaultKind, usize)> {
    let (mut at, mut wide) = stop_within(bytes, start + 1, false, NEAR_BLOCKS);
    let mut escaped = false;
    loop {
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => {
                escaped = true;
                at = escape_end(bytes, at)?;
            }
            Some(0..0x20) => return Err((JsonFaultKind::ControlCharacter, at)),
            Some(_) => {}
            None => return Err((JsonFaultKind::Truncated, at)),
        }
        (at, wide) = stop_within(bytes, at, wide, NEAR_BLOCKS);
        while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let (passable, outside_ascii) = passable_64(block);
            if !passable {
                break;
            }
            wide |= outside_ascii;
            at += 64;
        }
    }
    if wide && let Err(fault) = std::str::from_utf8(&bytes[start + 1..at]) {
        return Err((JsonFaultKind::NotUtf8, start + 1 + fault.valid_up_to()));
    }
    Ok(Ended { end: at + 1, escaped })
}

/// How many blocks of 16 bytes are searched one by one before larger ones: a line of text, since text
/// has an escape a line.
const NEAR_BLOCKS: usize = 8;

/// The next quote, backslash or control character from `at` on, or the end of the message, or how far
/// `blocks` went without one; and whether `wide` or a byte outside ASCII was passed.
#[inline(always)]
fn stop_within(bytes: &[u8], mut at: usize, mut wide: bool, blocks: usize) -> (usize, bool) {
    for _ in 0..blocks {
        if let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            let plain = plain_of_16(block);
            at += plain;
            if plain == 16 {
                continue;
            }
        }
        // Also the last bytes of a message, fewer than a block.
        while let Some(&byte) = bytes.get(at) {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return (at, wide);
            }
            if byte < 0x80 && at + 16 <= bytes.len() {
                break;
            }
            wide |= byte >= 0x80;
            at += 1;
        }
    }
    (at, wide)
}

/// The offset after the escape whose backslash is at `at`.
#[inline(always)]
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, (JsonFaultKind, usize)> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            for digit in at + 2..at + 6 {
                if !bytes.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                    return Err((JsonFaultKind::Escape, digit));
                }
            }
            Ok(at + 6)
        }
        _ => Err((JsonFaultKind::Escape, at + 1)),
    }
}
