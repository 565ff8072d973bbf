//! Which bytes does an edited message have?
//!
//! Removed members that stand side by side are one run, so that each comma is taken once: a run takes
//! the comma after it, or, at the end of an object, the comma before it. An object into which members
//! are inserted needs a comma after them unless everything it had is removed.

use super::neighbours::next_token;
use super::{Change, Edit, Splice};
use crate::json::{Span, is_object};

/// The output, and how much of the message it stands for.
struct Writer<'o, 'm> {
    message: &'m [u8],
    out: &'o mut Vec<u8>,
    at: u32,
}

impl Writer<'_, '_> {
    /// Bytes `span` of the message become `parts`; what stands before them is as it was.
    fn patch(&mut self, span: Span, parts: &[&[u8]]) {
        assert!(self.at <= span.start, "edits do not overlap");
        self.copy_to(span.start);
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        self.at = span.end;
    }

    fn copy_to(&mut self, end: u32) {
        self.out.extend_from_slice(&self.message[self.at as usize..end as usize]);
        self.at = end;
    }
}

pub(super) fn write(splice: &Splice<'_>, span: Span, out: &mut Vec<u8>) {
    let message = splice.message;
    let edits = within(splice.edits.as_slice(), span);
    let added: usize = edits.iter().map(|edit| edit.bytes.len() + 3).sum();
    out.reserve(span.len() + added);
    let mut writer = Writer { message, out, at: span.start };
    let mut rest = edits;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first.change {
            Change::Replace => {
                writer.patch(first.span, &[&first.bytes]);
                tail
            }
            Change::Insert => insertions(rest, &mut writer),
            Change::Remove => removals(rest, &mut writer),
        };
    }
    writer.copy_to(span.end);
}

/// The edits of `span`: they stand side by side, since edits do not overlap.
fn within<'e, 'a>(edits: &'e [Edit<'a>], span: Span) -> &'e [Edit<'a>] {
    let overlaps = |edit: &Edit<'_>| edit.span.start < span.end && span.start < edit.span.end;
    let first = edits.iter().position(overlaps).unwrap_or(edits.len());
    let last = edits.iter().rposition(overlaps).map_or(first, |last| last + 1);
    let within = &edits[first..last];
    for edit in within {
        assert!(span.contains(edit.span), "an edit does not cross the border of the span");
    }
    within
}

/// All insertions into the object of the first edit; answers the edits after them.
fn insertions<'e, 'a>(edits: &'e [Edit<'a>], writer: &mut Writer<'_, '_>) -> &'e [Edit<'a>] {
    let message = writer.message;
    let object = edits[0].span;
    let same = |edit: &&Edit<'_>| edit.change == Change::Insert && edit.span == object;
    let (inserts, rest) = edits.split_at(edits.iter().take_while(same).count());
    let comma = |wanted: bool| if wanted { &b","[..] } else { b"" };
    if !is_object(message, object) {
        writer.patch(object, &[b"{"]);
        for (index, edit) in inserts.iter().enumerate() {
            let last = index + 1 == inserts.len();
            writer.patch(Span::new(object.end, object.end), &[&edit.bytes, comma(!last)]);
        }
        writer.out.push(b'}');
        return rest;
    }
    let first_member = next_token(message, object.start as usize + 1) as u32;
    let empty = message[first_member as usize] == b'}' || all_removed(rest, first_member);
    let at = Span::new(object.start + 1, object.start + 1);
    for (index, edit) in inserts.iter().enumerate() {
        let last = index + 1 == inserts.len();
        writer.patch(at, &[&edit.bytes, comma(!(last && empty))]);
    }
    rest
}

/// Whether the edits take away every member from the one at `first_member` on.
fn all_removed(edits: &[Edit<'_>], first_member: u32) -> bool {
    match edits.first() {
        Some(edit) if edit.change == Change::Remove && edit.span.start == first_member => {
            edits[run(edits) - 1].neighbours.comma_after.is_none()
        }
        _ => false,
    }
}

/// How many edits from the first on remove members that stand side by side.
fn run(edits: &[Edit<'_>]) -> usize {
    let side_by_side = edits.windows(2).take_while(|pair| {
        let after = pair[0].neighbours.comma_after;
        pair[1].change == Change::Remove
            && after.is_some()
            && pair[1].neighbours.comma_before == after
    });
    1 + side_by_side.count()
}

/// One run of removed members; answers the edits after it.
fn removals<'e, 'a>(edits: &'e [Edit<'a>], writer: &mut Writer<'_, '_>) -> &'e [Edit<'a>] {
    let (run, rest) = edits.split_at(run(edits));
    let (first, last) = (&run[0], &run[run.len() - 1]);
    let span = match (first.neighbours.comma_before, last.neighbours.comma_after) {
        (_, Some(comma)) => {
            Span::new(first.span.start, next_token(writer.message, comma as usize + 1) as u32)
        }
        (Some(comma), None) => Span::new(comma, last.span.end),
        (None, None) => Span::new(first.span.start, last.span.end),
    };
    writer.patch(span, &[]);
    rest
}
