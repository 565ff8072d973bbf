//! Which bytes does an edited message have?
//!
//! Removed members that stand side by side are one run, so that each comma is taken once: a run takes
//! the comma after it, or, at the end of an object, the comma before it. An object into which members
//! are inserted needs a comma after them unless everything it had is removed.

use super::neighbours::next_token;
use super::{Change, Edit, Splice};
use crate::json::{Span, is_object};

/// Bytes `start..end` of the message become the `parts`, in order.
struct Patch<'s, 'a> {
    start: u32,
    end: u32,
    edit: Option<&'s Edit<'a>>,
    open: bool,
    close: bool,
    comma: bool,
}

pub(super) fn write(splice: &Splice<'_>, span: Span, out: &mut Vec<u8>) {
    let message = splice.message;
    let patches = patches(splice, span);
    let added: usize =
        patches.iter().map(|patch| patch.edit.map_or(0, |edit| edit.bytes.len() + 3)).sum();
    out.reserve(span.len() + added);
    let mut at = span.start;
    for patch in &patches {
        assert!(at <= patch.start && patch.end <= span.end, "edits do not overlap");
        out.extend_from_slice(&message[at as usize..patch.start as usize]);
        if patch.open {
            out.push(b'{');
        }
        if let Some(edit) = patch.edit {
            out.extend_from_slice(&edit.bytes);
        }
        if patch.comma {
            out.push(b',');
        }
        if patch.close {
            out.push(b'}');
        }
        at = patch.end;
    }
    out.extend_from_slice(&message[at as usize..span.end as usize]);
}

fn patches<'s, 'a>(splice: &'s Splice<'a>, span: Span) -> Vec<Patch<'s, 'a>> {
    let mut edits: Vec<&Edit<'_>> = Vec::with_capacity(splice.edits.len());
    edits.extend(splice.edits.iter().filter(|edit| overlaps(edit.span, span)));
    for edit in &edits {
        assert!(span.contains(edit.span), "an edit does not cross the border of the span");
    }
    // Stable: insertions into one object keep the order of their calls.
    edits.sort_by_key(|edit| place(edit));
    let mut patches = Vec::with_capacity(edits.len());
    let mut rest = edits.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        rest = match first.change {
            Change::Replace => {
                patches.push(plain(first.span, Some(first)));
                tail
            }
            Change::Insert => insertions(splice.message, rest, &mut patches),
            Change::Remove => removals(splice.message, rest, &mut patches),
        };
    }
    patches
}

fn overlaps(edit: Span, span: Span) -> bool {
    edit.start < span.end && span.start < edit.end
}

/// Where an edit takes effect: an insertion after its object's opening bracket and before what stands
/// there.
fn place(edit: &Edit<'_>) -> (u32, bool) {
    match edit.change {
        Change::Insert => (edit.span.start + 1, false),
        _ => (edit.span.start, true),
    }
}

fn plain<'s, 'a>(span: Span, edit: Option<&'s Edit<'a>>) -> Patch<'s, 'a> {
    let Span { start, end } = span;
    Patch { start, end, edit, open: false, close: false, comma: false }
}

/// All insertions into the object of the first edit; answers the edits after them.
fn insertions<'e, 's, 'a>(
    message: &[u8],
    edits: &'e [&'s Edit<'a>],
    patches: &mut Vec<Patch<'s, 'a>>,
) -> &'e [&'s Edit<'a>] {
    let object = edits[0].span;
    let same = |edit: &&&Edit<'_>| edit.change == Change::Insert && edit.span == object;
    let (inserts, rest) = edits.split_at(edits.iter().take_while(same).count());
    if !is_object(message, object) {
        for (index, edit) in inserts.iter().enumerate() {
            let last = index + 1 == inserts.len();
            let start = if index == 0 { object.start } else { object.end };
            patches.push(Patch {
                start,
                end: object.end,
                edit: Some(edit),
                open: index == 0,
                close: last,
                comma: !last,
            });
        }
        return rest;
    }
    let first_member = next_token(message, object.start as usize + 1) as u32;
    let empty = message[first_member as usize] == b'}' || all_removed(rest, first_member);
    for (index, edit) in inserts.iter().enumerate() {
        let at = object.start + 1;
        let last = index + 1 == inserts.len();
        patches.push(Patch { comma: !(last && empty), ..plain(Span::new(at, at), Some(edit)) });
    }
    rest
}

/// Whether the edits take away every member from the one at `first_member` on.
fn all_removed(edits: &[&Edit<'_>], first_member: u32) -> bool {
    match edits.first() {
        Some(edit) if edit.change == Change::Remove && edit.span.start == first_member => {
            edits[run(edits) - 1].neighbours.comma_after.is_none()
        }
        _ => false,
    }
}

/// How many edits from the first on remove members that stand side by side.
fn run(edits: &[&Edit<'_>]) -> usize {
    let side_by_side = edits.windows(2).take_while(|pair| {
        let after = pair[0].neighbours.comma_after;
        pair[1].change == Change::Remove
            && after.is_some()
            && pair[1].neighbours.comma_before == after
    });
    1 + side_by_side.count()
}

/// One run of removed members; answers the edits after it.
fn removals<'e, 's, 'a>(
    message: &[u8],
    edits: &'e [&'s Edit<'a>],
    patches: &mut Vec<Patch<'s, 'a>>,
) -> &'e [&'s Edit<'a>] {
    let (run, rest) = edits.split_at(run(edits));
    let (first, last) = (run[0], run[run.len() - 1]);
    let span = match (first.neighbours.comma_before, last.neighbours.comma_after) {
        (_, Some(comma)) => {
            Span::new(first.span.start, next_token(message, comma as usize + 1) as u32)
        }
        (Some(comma), None) => Span::new(comma, last.span.end),
        (None, None) => Span::new(first.span.start, last.span.end),
    };
    patches.push(plain(span, None));
    rest
}
