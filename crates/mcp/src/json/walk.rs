//! Which members or elements does this container have?
//!
//! The walkers check the grammar as they go, so they are safe on bytes nobody validated: they stop at
//! the first fault. On validated input they find everything. Spans are offsets into `message`.

use super::fault::JsonFault;
use super::scanner::Scanner;
use super::span::Span;
use super::text::key_is;
use crate::limits::DEPTH_MAX;

/// Checks that `bytes` are one JSON value nested at most `depth_max` deep, and says where it lies
/// without the white space around it.
pub fn validate(bytes: &[u8], depth_max: u32) -> Result<Span, JsonFault> {
    let mut scanner = Scanner::new(bytes, 0, depth_max.min(DEPTH_MAX));
    let span = scanner.value(0)?;
    scanner.end()?;
    Ok(span)
}

/// Whether the value at `span` is an object.
pub fn is_object(message: &[u8], span: Span) -> bool {
    span.of(message).first() == Some(&b'{')
}

/// Whether the value at `span` stands for an absent object: `null`, or the `[]` that PHP servers write.
pub fn is_absent(message: &[u8], span: Span) -> bool {
    match span.of(message) {
        b"null" => true,
        [b'[', inner @ .., b']'] => inner.iter().all(|byte| b" \n\r\t".contains(byte)),
        _ => false,
    }
}

/// The members of the object at `object`, in order, as (key with quotes, value). Empty where the value
/// there is no object.
pub fn members(message: &[u8], object: Span) -> Members<'_> {
    Members { scanner: open(message, object, b'{') }
}

/// The elements of the array at `array`, in order. Empty where the value there is no array.
pub fn elements(message: &[u8], array: Span) -> Elements<'_> {
    Elements { scanner: open(message, array, b'[') }
}

/// The value of the first member called `name`, however the key is spelled.
pub fn get(message: &[u8], object: Span, name: &str) -> Option<Span> {
    members(message, object)
        .find(|&(key, _)| {
            let raw = key.of(message);
            key_is(raw, memchr::memchr(b'\\', raw).is_some(), name)
        })
        .map(|(_, value)| value)
}

/// A scanner inside the container, before its first item; `None` where there is no item.
fn open(message: &[u8], span: Span, bracket: u8) -> Option<Scanner<'_>> {
    let bounded = message.get(..span.end as usize)?;
    let mut scanner = Scanner::new(bounded, span.start, DEPTH_MAX);
    if scanner.token() != bracket {
        return None;
    }
    scanner.open(0).ok()?;
    let closing = if bracket == b'{' { b'}' } else { b']' };
    (scanner.token() != closing).then_some(scanner)
}

/// See [`members`].
pub struct Members<'a> {
    scanner: Option<Scanner<'a>>,
}

impl Iterator for Members<'_> {
    type Item = (Span, Span);

    fn next(&mut self) -> Option<Self::Item> {
        let scanner = self.scanner.as_mut()?;
        let item = member(scanner);
        if !matches!(item, Some((_, _, true))) {
            self.scanner = None;
        }
        item.map(|(key, value, _)| (key, value))
    }
}

fn member(scanner: &mut Scanner<'_>) -> Option<(Span, Span, bool)> {
    let key = scanner.key().ok()?.span;
    let value = scanner.value(1).ok()?;
    Some((key, value, scanner.another(b'}').ok()?))
}

/// See [`elements`].
pub struct Elements<'a> {
    scanner: Option<Scanner<'a>>,
}

impl Iterator for Elements<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Self::Item> {
        let scanner = self.scanner.as_mut()?;
        let item = element(scanner);
        if !matches!(item, Some((_, true))) {
            self.scanner = None;
        }
        item.map(|(value, _)| value)
    }
}

fn element(scanner: &mut Scanner<'_>) -> Option<(Span, bool)> {
    let value = scanner.value(1).ok()?;
    Some((value, scanner.another(b']').ok()?))
}
