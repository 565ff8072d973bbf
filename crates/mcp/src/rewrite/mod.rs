//! How is a message changed without touching the rest of it?
//!
//! A [`Splice`] collects edits by span and writes the message around them. Invariants:
//!
//! - Every byte outside an edit is written as it came.
//! - Edits do not overlap; two edits of one value are a caller's bug and assert.
//! - A message that was JSON is JSON afterwards, if replacements and members are: commas are settled
//!   when the message is written, over all edits of one object together.
//!
//! Members are inserted at the start of an object, in the order of the calls.

mod edits;
mod neighbours;
mod write;

use std::borrow::Cow;

use crate::json::{Span, get};
use edits::Edits;

/// Edits to one message.
#[derive(Debug)]
pub struct Splice<'a> {
    message: &'a [u8],
    edits: Edits<Edit<'a>>,
}

/// One change, by the offset in the message where it begins.
#[derive(Debug, Clone, Default)]
struct Edit<'a> {
    change: Change,
    /// The bytes this edit takes away; for an insertion, the object it goes into.
    span: Span,
    /// For a removed member: from its key to its value, and whether a comma stands on either side.
    neighbours: neighbours::Neighbours,
    bytes: Cow<'a, [u8]>,
}

impl Edit<'_> {
    /// Where it takes effect: an insertion after its object's opening bracket and before what stands
    /// there.
    fn place(&self) -> (u32, bool) {
        match self.change {
            Change::Insert => (self.span.start + 1, false),
            _ => (self.span.start, true),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Change {
    #[default]
    Replace,
    Insert,
    Remove,
}

impl<'a> Splice<'a> {
    /// No edits to `message`, which must be JSON that [`scan`](crate::envelope::scan) let through.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, edits: Edits::default() }
    }

    /// The message under the edits.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.as_slice().is_empty()
    }

    /// Writes `bytes` in place of the value at `span`.
    pub fn replace(&mut self, span: Span, bytes: impl Into<Cow<'a, [u8]>>) {
        assert!(span.end as usize <= self.message.len(), "a span of this message");
        self.add(Edit { change: Change::Replace, span, bytes: bytes.into(), ..Edit::default() });
    }

    /// Adds `"key":value` (JSON, one or more members with commas between them) to the object at
    /// `object`. Where `null` or `[]` stands in place of an object, it becomes one.
    pub fn insert_member(&mut self, object: Span, member: impl Into<Cow<'a, [u8]>>) {
        assert!(object.end as usize <= self.message.len(), "a span of this message");
        let bytes = member.into();
        debug_assert!(!bytes.is_empty(), "a member has a key");
        self.add(Edit { change: Change::Insert, span: object, bytes, ..Edit::default() });
    }

    /// Takes away the member called `key` of the object at `object`, if there is one.
    pub fn remove_member(&mut self, object: Span, key: &str) -> bool {
        match get(self.message, object, key) {
            Some(value) => {
                self.remove_value(value);
                true
            }
            None => false,
        }
    }

    /// Takes away the member whose value is at `value`, found without reading the object again.
    ///
    /// # Panics
    /// If no key stands before `value`: a caller's bug.
    pub fn remove_value(&mut self, value: Span) {
        let neighbours = neighbours::find(self.message, value);
        let span = Span::new(neighbours.key_start, value.end);
        self.add(Edit { change: Change::Remove, span, neighbours, ..Edit::default() });
    }

    fn add(&mut self, edit: Edit<'a>) {
        self.edits.insert(edit, Edit::place);
    }

    /// Appends the edited message to `out`.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        self.write_span_into(Span::all(self.message), out);
    }

    /// Appends the edited bytes of `span` to `out`: the params alone, to be written into another
    /// message. Edits elsewhere are left out.
    ///
    /// # Panics
    /// If edits overlap each other, or one lies across the border of `span`: a caller's bug.
    pub fn write_span_into(&self, span: Span, out: &mut Vec<u8>) {
        write::write(self, span, out);
    }
}
