//! What one endpoint serves, and where each thing it serves comes from.
//!
//! Invariants: every name served leads to exactly one upstream and the name it has there; nothing
//! an upstream declares can take a name or URI away from another; building a view twice from the
//! same lists gives the same view. A view never changes, so it needs no lock.

mod build;
mod find;
mod name;
mod render;
#[cfg(test)]
mod tests;
mod uri;

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use kern_terms::Era;

use crate::kind::ListKind;
use crate::lists::{Hint, Item, Lists};
use crate::page::Page;
use crate::template::Template;

pub use find::{Located, Rule};

/// What one endpoint serves.
#[derive(Debug)]
pub struct View {
    /// Tells cursors of different endpoints apart.
    pub(crate) endpoint: u32,
    pub(crate) sources: Vec<Source>,
    pub(crate) shelves: [Shelf; 4],
    /// URIs that only a tool's definition mentions: whose they are.
    links: HashMap<Box<str>, (u32, Box<str>)>,
    /// Tools that user interfaces may call by the name their server gave them.
    plain: HashMap<Box<str>, u32>,
    /// Templates in the order in which they are tried.
    patterns: Vec<Pattern>,
    /// The only upstream with the resources capability.
    sole: Option<u32>,
    /// A tool has arguments that travel in headers.
    mirrors: bool,
    renames: bool,
    capabilities: Bytes,
    instructions: Option<String>,
    hasher: DefaultHashBuilder,
}

/// One upstream of a view.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) lists: Arc<Lists>,
    /// Names this upstream in cursors.
    pub(crate) id: u64,
}

/// The served items of one kind, in order.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) entries: Vec<Entry>,
    /// Where each source's entries begin, and a last one for the end.
    pub(crate) starts: Vec<u32>,
    index: HashTable<Slot>,
    /// The exposed names one after the other: a lookup touches little memory.
    names: String,
    digest: u64,
    hint: Option<Hint>,
}

/// Where an exposed name stands in a shelf's `names`, and whose it is.
#[derive(Debug, Clone, Copy)]
struct Slot {
    start: usize,
    len: u32,
    at: u32,
}

/// One served item.
#[derive(Debug)]
pub(crate) struct Entry {
    slot: Slot,
    source: u32,
    item: u32,
    /// The definition as served: on one line, renamed where it must be.
    pub(crate) rendered: Bytes,
    /// The same for clients of the old era, where that differs.
    pub(crate) rendered_legacy: Option<Bytes>,
    /// Names this item in cursors: a hash of the upstream and the original name, so that it stays
    /// the same when the served name changes.
    pub(crate) id: u64,
}

#[derive(Debug)]
struct Pattern {
    template: Template,
    /// `None` where it is of one that offers nothing now.
    source: Option<u32>,
}

/// Where a tool, prompt or template comes from.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Position of the upstream in the view.
    pub source: usize,
    /// What the upstream declared.
    pub lists: &'a Arc<Lists>,
    /// The definition, under the name it has there.
    pub item: &'a Item,
    /// The name it is served under.
    pub exposed: &'a str,
    /// The definition as served.
    pub rendered: &'a Bytes,
}

impl<'a> Target<'a> {
    /// The upstream's name.
    pub fn upstream(&self) -> &'a Arc<str> {
        &self.lists.upstream
    }

    /// The original name.
    pub fn name(&self) -> &'a str {
        &self.item.key
    }

    /// The original name as the upstream spelled it: a JSON string with its quotes.
    pub fn name_json(&self) -> &'a [u8] {
        self.item.key_json()
    }
}

impl View {
    /// The tool served as `exposed`, or the only one that a user interface can mean by that name.
    pub fn tool(&self, exposed: &str) -> Option<Target<'_>> {
        self.target(ListKind::Tools, exposed).or_else(|| {
            let entry = *self.plain.get(exposed)?;
            let entry = self.shelves[ListKind::Tools.index()].entries.get(entry as usize)?;
            Some(self.target_of(ListKind::Tools, entry))
        })
    }

    /// The prompt served as `exposed`.
    pub fn prompt(&self, exposed: &str) -> Option<Target<'_>> {
        self.target(ListKind::Prompts, exposed)
    }

    /// The resource template served as `exposed`, for completions that refer to it.
    pub fn template(&self, exposed: &str) -> Option<Target<'_>> {
        self.target(ListKind::Templates, exposed)
    }

    fn target(&self, kind: ListKind, exposed: &str) -> Option<Target<'_>> {
        let entry = self.shelves[kind.index()].find(&self.hasher, exposed)?;
        Some(self.target_of(kind, entry))
    }

    fn target_of<'a>(&'a self, kind: ListKind, entry: &'a Entry) -> Target<'a> {
        let shelf = &self.shelves[kind.index()];
        let lists = &self.sources[entry.source as usize].lists;
        Target {
            source: entry.source as usize,
            lists,
            item: &lists.items(kind)[entry.item as usize],
            exposed: shelf.name(entry.slot),
            rendered: &entry.rendered,
        }
    }

    /// Whether any tool has arguments that travel in headers, too.
    pub fn mirrors(&self) -> bool {
        self.mirrors
    }

    /// Everything of one kind, in the order served.
    pub fn targets(&self, kind: ListKind) -> impl ExactSizeIterator<Item = Target<'_>> {
        self.shelves[kind.index()].entries.iter().map(move |entry| self.target_of(kind, entry))
    }

    /// How many items of one kind are served.
    pub fn len(&self, kind: ListKind) -> usize {
        self.shelves[kind.index()].entries.len()
    }

    /// Whether nothing of any kind is served.
    pub fn is_empty(&self) -> bool {
        self.shelves.iter().all(|shelf| shelf.entries.is_empty())
    }

    /// The definitions of a page as served to clients of `era`, each with what its upstream
    /// declared.
    pub fn page_items<'v>(
        &'v self,
        page: &Page<'v>,
        era: Era,
    ) -> impl ExactSizeIterator<Item = (&'v Lists, &'v Bytes)> {
        let lists = |entry: &Entry| &*self.sources[entry.source as usize].lists;
        page.entries.iter().map(lists).zip(page.items(era))
    }

    /// The upstreams, in the operator's order.
    pub fn upstreams(&self) -> impl ExactSizeIterator<Item = &Arc<Lists>> {
        self.sources.iter().map(|source| &source.lists)
    }

    /// A number that changes when the list as served changes, order included. Compared only within
    /// one process.
    pub fn digest(&self, kind: ListKind) -> u64 {
        self.shelves[kind.index()].digest
    }

    /// How long and for whom the list may be cached: the shortest time, the narrowest scope of
    /// those that make it up.
    pub fn hint(&self, kind: ListKind) -> Hint {
        self.shelves[kind.index()].hint.unwrap_or(Hint { ttl_ms: None, private: true })
    }

    /// The server capabilities, a JSON object: the upstream's own bytes where there is one, else the
    /// union over all.
    pub fn capabilities(&self) -> &Bytes {
        &self.capabilities
    }

    /// The instructions for the model: an only upstream's own, else each under its name, bounded.
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// Whether names carry their upstream's name, because several upstreams share the endpoint.
    pub fn renames(&self) -> bool {
        self.renames
    }
}

impl Shelf {
    fn name(&self, slot: Slot) -> &str {
        &self.names[slot.start..slot.start + slot.len as usize]
    }

    fn find(&self, hasher: &DefaultHashBuilder, exposed: &str) -> Option<&Entry> {
        let slot = self.index.find(hasher.hash_one(exposed), |slot| self.name(*slot) == exposed)?;
        Some(&self.entries[slot.at as usize])
    }

    /// Adds an item under a name that is not on the shelf yet.
    fn push(
        &mut self,
        hasher: &DefaultHashBuilder,
        exposed: &str,
        make: impl FnOnce(Slot) -> Entry,
    ) {
        let at = u32::try_from(self.entries.len()).expect("fewer than 2^32 items");
        let len = u32::try_from(exposed.len()).expect("names are bounded");
        let slot = Slot { start: self.names.len(), len, at };
        self.names.push_str(exposed);
        self.entries.push(make(slot));
        let names = &self.names;
        let hash =
            |slot: &Slot| hasher.hash_one(&names[slot.start..slot.start + slot.len as usize]);
        self.index.insert_unique(hasher.hash_one(exposed), slot, hash);
    }
}
