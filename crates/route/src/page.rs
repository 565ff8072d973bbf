//! A list in pages, with cursors that stay true while the list changes between them.
//!
//! A cursor does not say "from position 50": it names the last items served and the next ones due.
//! So what was added or removed elsewhere neither hides an item nor shows it twice. Invariants: a
//! page holds at least one item unless the list has ended; a cursor is at most
//! [`CURSOR_BYTES_MAX`] bytes and only good for the endpoint and list that gave it. Cursors are not
//! secret and not signed: who forges one only chooses where to begin reading.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kern_terms::Era;

use crate::error::BadCursor;
use crate::hash;
use crate::kind::ListKind;
use crate::view::{Entry, Shelf, View};

/// Longest cursor given out, bytes of base64url.
pub const CURSOR_BYTES_MAX: usize = 256;
/// Items before and after the border, and upstreams after it, that a cursor names.
const BEFORE: usize = 8;
const AFTER: usize = 8;
const FOLLOWING: usize = 4;
const FORMAT: u8 = 1;

/// How large a page may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Most items.
    pub items: usize,
    /// Most bytes of definitions; a single larger one still gets its page.
    pub bytes: usize,
}

impl Default for PageLimits {
    /// 1,000 items and 4 MiB: far more than a model can use, well below what clients refuse.
    fn default() -> Self {
        Self { items: 1_000, bytes: 4 << 20 }
    }
}

/// Some consecutive items of a list.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    pub(crate) entries: &'a [Entry],
    /// Leads to the page after this one; `None` at the end. Plain ASCII without escapes.
    pub next: Option<String>,
}

impl<'a> Page<'a> {
    /// The definitions as served to clients of `era`, each a JSON object.
    pub fn items(&self, era: Era) -> impl ExactSizeIterator<Item = &'a Bytes> {
        self.entries.iter().map(move |entry| match (era, &entry.rendered_legacy) {
            (Era::Legacy, Some(legacy)) => legacy,
            _ => &entry.rendered,
        })
    }

    /// Appends the JSON array of the items.
    pub fn write_array(&self, era: Era, out: &mut Vec<u8>) {
        out.reserve(2 + self.items(era).map(|item| item.len() + 1).sum::<usize>());
        out.push(b'[');
        for (at, item) in self.items(era).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item);
        }
        out.push(b']');
    }
}

impl View {
    /// The page of `kind` at `cursor`, or the first one.
    pub fn page(
        &self,
        kind: ListKind,
        cursor: Option<&str>,
        limits: PageLimits,
    ) -> Result<Page<'_>, BadCursor> {
        let shelf = &self.shelves[kind.index()];
        let start = match cursor {
            None => 0,
            Some(text) => self.resume(kind, &Cursor::decode(text, self.endpoint, kind)?),
        };
        let mut bytes = 0;
        let mut end = start;
        for entry in shelf.entries[start..].iter().take(limits.items.max(1)) {
            bytes += entry.rendered.len();
            if end > start && bytes > limits.bytes {
                break;
            }
            end += 1;
        }
        let next = (end < shelf.entries.len())
            .then(|| self.cursor_at(shelf, end).encode(self.endpoint, kind));
        Ok(Page { entries: &shelf.entries[start..end], next })
    }

    fn cursor_at(&self, shelf: &Shelf, border: usize) -> Cursor {
        let entries = &shelf.entries;
        // The upstream of the last item served: the last one that begins before the border.
        let source = shelf.starts.partition_point(|&start| (start as usize) < border) - 1;
        let ids = |range: &[Entry]| range.iter().map(|entry| entry.id).collect::<Vec<_>>();
        let mut before = ids(&entries[border.saturating_sub(BEFORE)..border]);
        before.reverse();
        let following = self.sources[source + 1..].iter().enumerate().filter(|(at, _)| {
            let at = source + 1 + at;
            shelf.starts[at] < shelf.starts[at + 1]
        });
        Cursor {
            border: border as u32,
            within: border as u32 - shelf.starts[source],
            source: self.sources[source].id,
            before,
            after: ids(&entries[border..entries.len().min(border + AFTER)]),
            following: following.map(|(_, source)| source.id).take(FOLLOWING).collect(),
        }
    }

    /// Where to go on: after the last item served that is still there; else before the first due
    /// one that is; else by upstream.
    fn resume(&self, kind: ListKind, cursor: &Cursor) -> usize {
        let shelf = &self.shelves[kind.index()];
        let near = cursor.border as usize;
        for &id in &cursor.before {
            if let Some(at) = shelf.nearest(id, near.saturating_sub(1)) {
                return at + 1;
            }
        }
        for &id in &cursor.after {
            if let Some(at) = shelf.nearest(id, near) {
                return at;
            }
        }
        let place = |id: u64| self.sources.iter().position(|source| source.id == id);
        if let Some(source) = place(cursor.source) {
            let (start, end) = (shelf.starts[source], shelf.starts[source + 1]);
            return end.min(start.saturating_add(cursor.within)) as usize;
        }
        let following = cursor.following.iter().find_map(|&id| place(id));
        following.map_or(shelf.entries.len(), |source| shelf.starts[source] as usize)
    }
}

impl Shelf {
    /// The position of the item called `id`, the closest to `near` if an adversary made two alike.
    fn nearest(&self, id: u64, near: usize) -> Option<usize> {
        if self.entries.get(near).is_some_and(|entry| entry.id == id) {
            return Some(near);
        }
        let named = self.entries.iter().enumerate().filter(|(_, entry)| entry.id == id);
        named.map(|(at, _)| at).min_by_key(|at| at.abs_diff(near))
    }
}

/// A border between two items, described so that it is found again in a changed list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    /// How many items stood before the border.
    border: u32,
    /// How many of them belonged to the upstream of the last one.
    within: u32,
    /// That upstream.
    source: u64,
    /// The items before the border, nearest first.
    before: Vec<u64>,
    /// The items after it, nearest first.
    after: Vec<u64>,
    /// The upstreams after that of the last item.
    following: Vec<u64>,
}

impl Cursor {
    fn encode(&self, endpoint: u32, kind: ListKind) -> String {
        let mut out = vec![FORMAT, kind.index() as u8];
        out.extend_from_slice(&endpoint.to_be_bytes());
        out.extend_from_slice(&self.border.to_be_bytes());
        out.extend_from_slice(&self.within.to_be_bytes());
        let lists = [&self.before, &self.after, &self.following];
        out.extend(lists.map(|list| list.len() as u8));
        out.extend_from_slice(&self.source.to_be_bytes());
        for id in lists.into_iter().flatten() {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(&check(&out));
        let text = URL_SAFE_NO_PAD.encode(out);
        debug_assert!(text.len() <= CURSOR_BYTES_MAX);
        text
    }

    fn decode(text: &str, endpoint: u32, kind: ListKind) -> Result<Self, BadCursor> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(BadCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(BadCursor)?;
        if *sum != check(body) {
            return Err(BadCursor);
        }
        let mut rest = body;
        let head = [FORMAT, kind.index() as u8];
        if take(&mut rest)? != head || take(&mut rest)? != endpoint.to_be_bytes() {
            return Err(BadCursor);
        }
        let border = u32::from_be_bytes(take(&mut rest)?);
        let within = u32::from_be_bytes(take(&mut rest)?);
        let [before, after, following] = take(&mut rest)?;
        let source = u64::from_be_bytes(take(&mut rest)?);
        let mut ids = |count: u8| {
            (0..count).map(|_| take(&mut rest).map(u64::from_be_bytes)).collect::<Result<_, _>>()
        };
        let (before, after, following) = (ids(before)?, ids(after)?, ids(following)?);
        if !rest.is_empty() {
            return Err(BadCursor);
        }
        Ok(Self { border, within, source, before, after, following })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadCursor> {
    let (first, others) = rest.split_first_chunk::<N>().ok_or(BadCursor)?;
    *rest = others;
    Ok(*first)
}

/// Tells a damaged cursor from a whole one.
fn check(body: &[u8]) -> [u8; 4] {
    (hash::stable_bytes(4, body) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cursor_fits_and_comes_back() {
        let cursor = Cursor {
            border: u32::MAX,
            within: 7,
            source: u64::MAX,
            before: vec![1; BEFORE],
            after: vec![2; AFTER],
            following: vec![3; FOLLOWING],
        };
        let text = cursor.encode(9, ListKind::Tools);
        assert!(text.len() <= CURSOR_BYTES_MAX, "{}", text.len());
        assert_eq!(Cursor::decode(&text, 9, ListKind::Tools), Ok(cursor));
        assert_eq!(Cursor::decode(&text, 8, ListKind::Tools), Err(BadCursor));
        assert_eq!(Cursor::decode(&text, 9, ListKind::Prompts), Err(BadCursor));
        let long = "A".repeat(10_000);
        for bad in ["", "x", "AQAA", "\u{e9}", &text[1..], &text[..text.len() - 2], &long] {
            assert_eq!(Cursor::decode(bad, 9, ListKind::Tools), Err(BadCursor), "{bad}");
        }
    }
}
