//! What is the value of this member, as bytes?
//!
//! For small objects read outside the path of a request (capabilities, greetings, cards): the spans
//! of [`get`] without the bookkeeping.

use super::span::Span;
use super::text::unescape;
use super::walk::{elements, get};

/// The raw value of member `name` of `object`, which is the whole of the bytes given.
pub fn field<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    get(object, Span::all(object), name).map(|span| span.of(object))
}

/// The text of member `name`, where it is a string.
pub fn text_field(object: &[u8], name: &str) -> Option<String> {
    field(object, name).and_then(text)
}

/// The text of a raw JSON string.
pub fn text(raw: &[u8]) -> Option<String> {
    unescape(raw).map(|text| text.into_owned())
}

/// The raw elements of `array`, which is the whole of the bytes given.
pub fn items(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(array, Span::all(array)).map(|span| span.of(array))
}
