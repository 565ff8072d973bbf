//! A view from the lists of its upstreams.
//!
//! Order matters: URIs are settled before tools are rendered, because a tool may mention them.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use kern_mcp::era;
use kern_terms::Era;

use super::{Entry, Pattern, Shelf, Source, View, name, render::render, uri};
use crate::kind::ListKind;
use crate::lists::{Hint, Item, Lists};
use crate::template::Template;
use crate::{hash, merge};

/// Who declared a URI: one upstream, or several.
enum Owner {
    One(u32),
    Several,
}

type Owners<'a> = HashMap<&'a str, Owner>;

impl View {
    /// The view of one upstream alone: every name and URI is its own.
    pub fn single(lists: &Arc<Lists>) -> Self {
        let endpoint = hash::stable(1, &[&lists.upstream]) as u32;
        Self::build(endpoint, std::slice::from_ref(lists), &[], false)
    }

    /// The view of several upstreams, in the operator's order; of one alone it changes no names.
    /// An upstream that is down should keep its place with the lists it last declared, so that
    /// names do not change under the clients.
    ///
    /// # Panics
    /// If two upstreams have one name, or one of several a name that is none
    /// ([`kern_mcp::names::is_upstream_name`]): the configuration must rule that out.
    pub fn merged(lists: &[Arc<Lists>]) -> Self {
        Self::merged_among(lists, lists.len(), &[])
    }

    /// As [`View::merged`], with names and URIs that other upstreams' coming and going does not
    /// change: `declared` counts all that share the endpoint, those too that offer nothing now, and
    /// `absent` is what those last declared. Nothing of it is served, but it is nobody else's.
    ///
    /// # Panics
    /// As [`View::merged`].
    pub fn merged_among(lists: &[Arc<Lists>], declared: usize, absent: &[Arc<Lists>]) -> Self {
        Self::build(hash::stable(2, &[]) as u32, lists, absent, declared.max(lists.len()) > 1)
    }

    fn build(endpoint: u32, lists: &[Arc<Lists>], absent: &[Arc<Lists>], renames: bool) -> Self {
        let names: HashSet<&str> = lists.iter().map(|one| &*one.upstream).collect();
        assert_eq!(names.len(), lists.len(), "upstreams have distinct names");
        let named = |name| kern_mcp::names::is_upstream_name(name);
        assert!(!renames || names.iter().all(|name| named(name)), "{names:?}");
        let mut view = View {
            endpoint,
            sources: lists.iter().map(Source::new).collect(),
            shelves: Default::default(),
            links: HashMap::new(),
            plain: HashMap::new(),
            patterns: Vec::new(),
            sole: sole(lists, absent),
            mirrors: lists
                .iter()
                .any(|one| one.items(ListKind::Tools).iter().any(|item| item.mirrored.is_some())),
            renames,
            capabilities: merge::capabilities(lists),
            instructions: merge::instructions(lists),
            hasher: DefaultHashBuilder::default(),
        };
        let owners = owners(lists, absent, |one| {
            let linked = one.items(ListKind::Tools).iter().flat_map(|item| &item.links);
            let listed = one.items(ListKind::Resources).iter().map(|item| &*item.key);
            listed.chain(linked.map(|(_, uri)| &**uri))
        });
        view.stock(ListKind::Resources, |view, source, item| view.uri(&owners, source, &item.key));
        let templates = self::owners(lists, absent, |one| {
            one.items(ListKind::Templates).iter().map(|item| &*item.key)
        });
        view.stock(ListKind::Templates, |view, source, item| {
            view.uri(&templates, source, &item.key)
        });
        view.link(&owners);
        view.pattern(absent);
        for kind in [ListKind::Prompts, ListKind::Tools] {
            view.stock(kind, |view, source, item| view.name(kind, source, item));
        }
        view.plain_names(&self::owners(lists, absent, |one| {
            one.items(ListKind::Tools).iter().map(|item| &*item.key)
        }));
        view
    }

    /// Fills one shelf, each item under the name that `expose` gives it.
    fn stock(&mut self, kind: ListKind, expose: impl Fn(&Self, usize, &Item) -> Box<str>) {
        let mut digest = foldhash::quality::FixedState::default().build_hasher();
        for source in 0..self.sources.len() {
            let lists = Arc::clone(&self.sources[source].lists);
            let start = self.len(kind) as u32;
            self.shelves[kind.index()].starts.push(start);
            for (at, item) in lists.items(kind).iter().enumerate() {
                let exposed = expose(self, source, item);
                let rendered = self.rendered(source, item, &exposed);
                digest.write(&rendered);
                digest.write_usize(rendered.len());
                let modern_tool = kind == ListKind::Tools && lists.revision.era() == Era::Modern;
                let rendered_legacy = modern_tool
                    .then(|| era::tool::modern_to_legacy(&rendered).map(Bytes::from))
                    .flatten();
                let id = hash::stable(0, &[&lists.upstream, &item.key]);
                self.shelves[kind.index()].push(&self.hasher, &exposed, |slot| Entry {
                    slot,
                    source: source as u32,
                    item: at as u32,
                    rendered,
                    rendered_legacy,
                    id,
                });
            }
        }
        let end = self.len(kind) as u32;
        let hints = self.sources.iter().filter_map(|one| one.lists.hint(kind));
        let hint = hints.reduce(Hint::and);
        let shelf: &mut Shelf = &mut self.shelves[kind.index()];
        shelf.starts.push(end);
        shelf.digest = digest.finish();
        shelf.hint = hint;
    }

    fn rendered(&self, source: usize, item: &Item, exposed: &str) -> Bytes {
        let mut edits = Vec::new();
        if exposed != &*item.key {
            edits.push((item.key_span, exposed));
        }
        let links: Vec<_> =
            item.links.iter().map(|(span, uri)| (*span, self.resource_back(source, uri))).collect();
        for ((span, now), (_, before)) in links.iter().zip(&item.links) {
            if **now != **before {
                edits.push((*span, &**now));
            }
        }
        edits.sort_by_key(|(span, _)| span.start);
        render(item, &edits)
    }

    fn name(&self, kind: ListKind, source: usize, item: &Item) -> Box<str> {
        if !self.renames() {
            return item.key.clone();
        }
        let shelf = &self.shelves[kind.index()];
        let taken = |name: &str| shelf.find(&self.hasher, name).is_some();
        name::expose(&self.sources[source].lists.upstream, &item.key, taken)
    }

    fn uri(&self, owners: &Owners<'_>, source: usize, uri: &str) -> Box<str> {
        let clear = matches!(owners.get(uri), Some(Owner::One(owner)) if *owner as usize == source);
        if !self.renames() || (clear && !uri::is_reserved(uri)) {
            uri.into()
        } else {
            uri::wrap(&self.sources[source].lists.upstream, uri).into()
        }
    }

    /// Remembers whose are the URIs that no list holds but a tool mentions.
    fn link(&mut self, owners: &Owners<'_>) {
        if !self.renames() {
            return;
        }
        for source in 0..self.sources.len() {
            let lists = Arc::clone(&self.sources[source].lists);
            for (_, uri) in lists.items(ListKind::Tools).iter().flat_map(|item| &item.links) {
                let exposed = self.uri(owners, source, uri);
                let listed = &self.shelves[ListKind::Resources.index()];
                if listed.find(&self.hasher, &exposed).is_none() {
                    self.links.insert(exposed, (source as u32, uri.clone()));
                }
            }
        }
    }

    /// Finds the tools that a user interface may call by their own names (MCP Apps, SEP-1865): its
    /// document was written for its server alone, and is no place to change names in. A name leads
    /// somewhere only if no other server has such a tool, not even one that is down.
    fn plain_names(&mut self, owners: &Owners<'_>) {
        if !self.renames() {
            return;
        }
        let shelf = &self.shelves[ListKind::Tools.index()];
        let shows = |one: &Source| {
            one.lists.items(ListKind::Tools).iter().any(|tool| !tool.links.is_empty())
        };
        let shows: Vec<bool> = self.sources.iter().map(shows).collect();
        let mut plain = HashMap::new();
        for (at, entry) in (0..).zip(&shelf.entries) {
            let source = entry.source as usize;
            let item = &self.sources[source].lists.items(ListKind::Tools)[entry.item as usize];
            let own = matches!(owners.get(&*item.key), Some(Owner::One(_)));
            if own && item.for_apps && shows[source] {
                plain.insert(item.key.clone(), at);
            }
        }
        self.plain = plain;
    }

    /// Prepares the templates: the most literal first, then the operator's order.
    ///
    /// Where upstreams share the endpoint a template must fix at least the scheme, or one upstream
    /// could claim every URI there is.
    fn pattern(&mut self, absent: &[Arc<Lists>]) {
        let mut patterns = Vec::new();
        let sources = (0..).zip(&self.sources).map(|(at, one)| (Some(at), &one.lists));
        for (source, lists) in sources.chain(absent.iter().map(|lists| (None, lists))) {
            for item in lists.items(ListKind::Templates) {
                let Some(template) = Template::parse(&item.key) else { continue };
                if !self.renames() || template.prefix().contains(&b':') {
                    patterns.push(Pattern { template, source });
                }
            }
        }
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.template.literals()));
        self.patterns = patterns;
    }
}

impl Source {
    fn new(lists: &Arc<Lists>) -> Self {
        Self { lists: Arc::clone(lists), id: hash::stable(3, &[&lists.upstream]) }
    }
}

fn sole(lists: &[Arc<Lists>], absent: &[Arc<Lists>]) -> Option<u32> {
    if absent.iter().any(|one| one.can("resources")) {
        return None;
    }
    let mut able = (0..).zip(lists).filter(|(_, one)| one.can("resources")).map(|(at, _)| at);
    able.next().filter(|_| able.next().is_none())
}

fn owners<'a, I: Iterator<Item = &'a str>>(
    lists: &'a [Arc<Lists>],
    absent: &'a [Arc<Lists>],
    uris: impl Fn(&'a Lists) -> I,
) -> Owners<'a> {
    let mut owners = Owners::new();
    for (source, one) in (0..).zip(lists.iter().chain(absent)) {
        for uri in uris(one) {
            owners
                .entry(uri)
                .and_modify(|owner| {
                    if !matches!(owner, Owner::One(known) if *known == source) {
                        *owner = Owner::Several;
                    }
                })
                .or_insert(Owner::One(source));
        }
    }
    owners
}
