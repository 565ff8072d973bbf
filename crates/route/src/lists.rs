//! What one upstream declared: its identity and its four lists, as it sent them.
//!
//! Invariants: an item's bytes are exactly those the upstream sent; the keys of one kind are
//! distinct; the sums in [`limits`] hold whatever the upstream sends. Built off the
//! path, page by page, then shared and never changed.

use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use kern_mcp::headers::ParamHeaders;
use kern_mcp::json::{self, Span};
use kern_terms::Revision;

use crate::error::{ListError, Reason, Warning};
use crate::kind::ListKind;
use crate::limits;

/// One tool, prompt, resource or resource template.
#[derive(Debug, Clone)]
pub struct Item {
    /// The definition's exact JSON bytes.
    pub raw: Bytes,
    /// The name, URI or URI template, unescaped.
    pub key: Box<str>,
    /// Where in `raw` the key stands as a JSON string, quotes included.
    pub key_span: Span,
    /// The resource URIs a tool's `_meta` names for its user interface (MCP Apps, SEP-1865), with
    /// their places in `raw`, in ascending order.
    pub links: Box<[(Span, Box<str>)]>,
    /// Whether a tool may be called by a user interface: `_meta.ui.visibility` does not rule it out.
    pub for_apps: bool,
    /// Arguments of a tool that travel in headers, too (`x-mcp-header`, 2026-07-28); nearly no tool has
    /// any.
    pub mirrored: Option<Box<ParamHeaders>>,
}

impl Item {
    /// The key as the upstream spelled it: a JSON string with its quotes.
    pub fn key_json(&self) -> &[u8] {
        self.key_span.of(&self.raw)
    }
}

/// For how long and for whom a list may be cached (specification 2026-07-28, caching).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Milliseconds; `None` where the upstream did not say.
    pub ttl_ms: Option<u64>,
    /// Whether the answer may only be reused for the same authorization.
    pub private: bool,
}

impl Hint {
    /// What holds for an answer made of two: the shorter time, the narrower scope.
    pub fn and(self, other: Self) -> Self {
        let ttl_ms = match (self.ttl_ms, other.ttl_ms) {
            (Some(one), Some(two)) => Some(one.min(two)),
            _ => None,
        };
        Self { ttl_ms, private: self.private || other.private }
    }
}

/// What one upstream instance declared.
#[derive(Debug, Clone)]
pub struct Lists {
    /// The name the operator gave the upstream.
    pub upstream: Arc<str>,
    /// The revision it speaks.
    pub revision: Revision,
    /// Its `serverInfo`, exact bytes; empty where it gave none.
    pub server_info: Bytes,
    /// Its `capabilities`, exact bytes; empty where it gave none.
    pub capabilities: Bytes,
    /// Its instructions for the model.
    pub instructions: Option<String>,
    /// What was left out, the first [`WARNINGS_MAX`](limits::WARNINGS_MAX).
    pub warnings: Vec<Warning>,
    /// How many things were left out in all.
    pub left_out: usize,
    items: [Vec<Item>; 4],
    seen: [HashTable<u32>; 4],
    hints: [Option<Hint>; 4],
    pages: [u32; 4],
    bytes: usize,
    hasher: DefaultHashBuilder,
}

impl Lists {
    /// An upstream that has declared nothing yet.
    pub fn new(upstream: impl Into<Arc<str>>, revision: Revision) -> Self {
        Self {
            upstream: upstream.into(),
            revision,
            server_info: Bytes::new(),
            capabilities: Bytes::new(),
            instructions: None,
            warnings: Vec::new(),
            left_out: 0,
            items: Default::default(),
            seen: Default::default(),
            hints: [None; 4],
            pages: [0; 4],
            bytes: 0,
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The items of one kind, in the upstream's order.
    pub fn items(&self, kind: ListKind) -> &[Item] {
        &self.items[kind.index()]
    }

    /// How long the list may be cached, from all its pages; `None` while no page was read.
    pub fn hint(&self, kind: ListKind) -> Option<Hint> {
        self.hints[kind.index()]
    }

    /// Bytes of definitions kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether `other` offers and says the same in the same words.
    pub fn is_like(&self, other: &Self) -> bool {
        let said =
            |it: &Self| (it.upstream.clone(), it.revision, it.hints, it.instructions.clone());
        let declared = |it: &Self| (it.server_info.clone(), it.capabilities.clone());
        let raws = |it: &Self| it.items.each_ref().map(Vec::len);
        raws(self) == raws(other)
            && said(self) == said(other)
            && declared(self) == declared(other)
            && self.items.iter().zip(&other.items).all(|(one, two)| {
                one.iter().map(|item| &item.raw).eq(two.iter().map(|item| &item.raw))
            })
    }

    /// Whether the upstream declared the capability `name`.
    pub fn can(&self, name: &str) -> bool {
        json::get(&self.capabilities, Span::all(&self.capabilities), name)
            .is_some_and(|value| json::is_object(&self.capabilities, value))
    }

    /// Forgets one kind, so that it can be read again.
    pub fn clear(&mut self, kind: ListKind) {
        let at = kind.index();
        self.bytes -= self.items[at].iter().map(|item| item.raw.len()).sum::<usize>();
        self.items[at].clear();
        self.seen[at].clear();
        self.hints[at] = None;
        self.pages[at] = 0;
        self.warnings.retain(|warning| warning.kind != kind);
    }

    /// Takes in one page: the `result` of `tools/list` or one of its siblings, which must be valid
    /// JSON. Returns the cursor of the next page as the upstream spelled it (a JSON string with its
    /// quotes), or `None` after the last one.
    ///
    /// A definition that cannot be served is left out with a warning; the others stay.
    pub fn parse_page(
        &mut self,
        kind: ListKind,
        result_json: &[u8],
    ) -> Result<Option<Bytes>, ListError> {
        let page = Page::read(kind, result_json)?;
        let at = kind.index();
        self.hints[at] = Some(self.hints[at].map_or(page.hint, |known| known.and(page.hint)));
        self.pages[at] += 1;
        for element in json::elements(result_json, page.items) {
            let raw = element.of(result_json);
            if self.items[at].len() >= limits::ITEMS_MAX
                || self.bytes + raw.len() > limits::LIST_BYTES_MAX
            {
                self.leave_out(kind, "", Reason::ListFull);
                return Ok(None);
            }
            self.add(kind, raw);
        }
        if page.next.is_some() && self.pages[at] >= limits::PAGES_MAX {
            self.leave_out(kind, "", Reason::ListFull);
            return Ok(None);
        }
        Ok(page.next.map(|next| Bytes::copy_from_slice(next.of(result_json))))
    }

    fn add(&mut self, kind: ListKind, raw: &[u8]) {
        let item = match parse_item(kind, raw) {
            Ok(item) => item,
            Err((label, reason)) => return self.leave_out(kind, &label, reason),
        };
        let items = &mut self.items[kind.index()];
        let hasher = &self.hasher;
        let hash = hasher.hash_one(&*item.key);
        let seen = &mut self.seen[kind.index()];
        if seen.find(hash, |&at| items[at as usize].key == item.key).is_some() {
            return self.leave_out(kind, &item.key, Reason::Duplicate);
        }
        let at = u32::try_from(items.len()).expect("fewer than ITEMS_MAX items");
        self.bytes += item.raw.len();
        items.push(item);
        seen.insert_unique(hash, at, |&at| hasher.hash_one(&*items[at as usize].key));
    }

    fn leave_out(&mut self, kind: ListKind, label: &str, reason: Reason) {
        self.left_out += 1;
        if self.warnings.len() < limits::WARNINGS_MAX {
            let end = label.floor_char_boundary(limits::LABEL_BYTES_MAX);
            self.warnings.push(Warning { kind, label: label[..end].to_owned(), reason });
        }
    }
}

/// The members of a list result that concern the gateway.
struct Page {
    items: Span,
    next: Option<Span>,
    hint: Hint,
}

impl Page {
    fn read(kind: ListKind, result: &[u8]) -> Result<Self, ListError> {
        let all = Span::all(result);
        if result.trim_ascii_start().first() != Some(&b'{') {
            return Err(ListError::NotAnObject);
        }
        let mut items = None;
        let mut next = None;
        let mut hint = Hint { ttl_ms: None, private: true };
        for (key, value) in json::members(result, all) {
            let (key, text) = (key.of(result), value.of(result));
            if json::same_text(key, kind.member()) {
                items = (text.first() == Some(&b'[')).then_some(value);
            } else if json::same_text(key, "nextCursor") {
                next = next_cursor(text)?.then_some(value);
            } else if json::same_text(key, "ttlMs") {
                hint.ttl_ms = ttl_ms(text);
            } else if json::same_text(key, "cacheScope") {
                hint.private = !json::same_text(text, "public");
            }
        }
        Ok(Self { items: items.ok_or(ListError::NoItems(kind))?, next, hint })
    }
}

/// Whether `value` names a next page.
fn next_cursor(value: &[u8]) -> Result<bool, ListError> {
    match value.first() {
        Some(b'"') if value.len() <= limits::UPSTREAM_CURSOR_BYTES_MAX => Ok(true),
        Some(b'"') => Err(ListError::LongCursor(value.len())),
        // Some servers spell "no more" as null.
        Some(b'n') => Ok(false),
        _ => Err(ListError::BadCursor),
    }
}

/// A negative time counts as 0 (caching, "Time-to-Live"); what is not a number was not said.
fn ttl_ms(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('-') {
        return Some(0);
    }
    text.parse::<u64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number as u64)
    })
}

fn parse_item(kind: ListKind, raw: &[u8]) -> Result<Item, (String, Reason)> {
    if raw.len() > limits::ITEM_BYTES_MAX {
        return Err((String::new(), Reason::LongItem));
    }
    if raw.first() != Some(&b'{') {
        return Err((String::new(), Reason::NotAnObject));
    }
    let mut key_span = None;
    let mut schema_is_object = false;
    let (mut has_schema, mut mirrored) = (false, None);
    let mut links = Vec::new();
    let mut for_apps = kind == ListKind::Tools;
    for (member, value) in json::members(raw, Span::all(raw)) {
        let member = member.of(raw);
        if json::same_text(member, kind.key_member()) {
            if key_span.replace(value).is_some() {
                return Err((String::new(), Reason::TwoKeys));
            }
        } else if kind == ListKind::Tools && json::same_text(member, "inputSchema") {
            schema_is_object = json::is_object(raw, value);
            if !std::mem::replace(&mut has_schema, true) {
                mirrored = mirrored_of(raw, value);
            }
        } else if kind == ListKind::Tools && json::same_text(member, "_meta") {
            find_links(raw, value, &mut links);
            for_apps = is_for_apps(raw, value);
        }
    }
    let key_span = key_span.ok_or((String::new(), Reason::NoKey))?;
    let key = json::unescape(key_span.of(raw)).ok_or((String::new(), Reason::NoKey))?;
    let key: Box<str> = key.into();
    if let Some(reason) = key_fault(kind, &key) {
        return Err((key.into(), reason));
    }
    if kind == ListKind::Tools && !schema_is_object {
        return Err((key.into(), Reason::NoInputSchema));
    }
    // Each definition is copied by itself, so that what is left out is not kept in memory with it.
    let (raw, links) = (Bytes::copy_from_slice(raw), links.into());
    Ok(Item { raw, key, key_span, links, for_apps, mirrored })
}

/// The annotated arguments of the schema at `schema`. Of a tool whose annotations are invalid nothing is
/// known: who may not offer it leaves it out.
fn mirrored_of(raw: &[u8], schema: Span) -> Option<Box<ParamHeaders>> {
    memchr::memmem::find(schema.of(raw), b"x-mcp-header")?;
    let mirrored = ParamHeaders::from_schema(raw, schema).ok()?;
    (!mirrored.is_empty()).then(|| Box::new(mirrored))
}

fn key_fault(kind: ListKind, key: &str) -> Option<Reason> {
    let longest = match kind {
        ListKind::Tools | ListKind::Prompts => limits::NAME_BYTES_MAX,
        ListKind::Resources | ListKind::Templates => limits::URI_BYTES_MAX,
    };
    if key.is_empty() {
        Some(Reason::EmptyKey)
    } else if key.len() > longest {
        Some(Reason::LongKey)
    } else if key.chars().any(char::is_control) {
        Some(Reason::ControlCharacter)
    } else {
        None
    }
}

/// `_meta.ui.resourceUri` (MCP Apps), its older spelling `_meta["ui/resourceUri"]`, and the name
/// OpenAI's Apps SDK gives the same URI. Every occurrence is found, so that every one is rewritten.
fn find_links(raw: &[u8], meta: Span, links: &mut Vec<(Span, Box<str>)>) {
    let mut add = |value: Span| {
        let uri = json::unescape(value.of(raw));
        if let Some(uri) = uri.filter(|uri| key_fault(ListKind::Resources, uri).is_none())
            && links.len() < limits::LINKS_MAX
        {
            links.push((value, uri.into()));
        }
    };
    for (key, value) in json::members(raw, meta) {
        let key = key.of(raw);
        if json::same_text(key, "ui/resourceUri") || json::same_text(key, "openai/outputTemplate") {
            add(value);
        } else if json::same_text(key, "ui") {
            json::members(raw, value)
                .filter(|(key, _)| json::same_text(key.of(raw), "resourceUri"))
                .for_each(|(_, uri)| add(uri));
        }
    }
}

/// `_meta.ui.visibility`: who may call a tool; the model and user interfaces where it says nothing.
fn is_for_apps(raw: &[u8], meta: Span) -> bool {
    let visibility = json::get(raw, meta, "ui").and_then(|ui| json::get(raw, ui, "visibility"));
    visibility.is_none_or(|list| {
        let named = |span: Span| json::same_text(span.of(raw), "app");
        json::elements(raw, list).any(named)
    })
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
