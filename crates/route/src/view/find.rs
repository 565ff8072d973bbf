//! Which upstream answers for a resource URI, and under which URI it knows it.

use std::borrow::Cow;
use std::sync::Arc;

use super::{View, uri};
use crate::kind::ListKind;
use crate::lists::Lists;

/// The rule by which a URI found its upstream, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is in the list of resources.
    Listed,
    /// A tool's definition names it as its user interface.
    Linked,
    /// It says its upstream itself.
    Explicit,
    /// It matches a resource template.
    Template,
    /// Only one upstream has resources at all.
    Sole,
}

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// Position of the upstream in the view.
    pub source: usize,
    /// The URI under which the upstream knows the resource.
    pub uri: Cow<'a, str>,
    /// How it was found.
    pub rule: Rule,
}

impl Located<'_> {
    /// What the upstream declared.
    pub fn lists<'v>(&self, view: &'v View) -> &'v Arc<Lists> {
        &view.sources[self.source].lists
    }
}

impl View {
    /// Where the resource `uri` is; `None` where nobody can be asked for it.
    pub fn resource<'a>(&'a self, uri: &'a str) -> Option<Located<'a>> {
        if let Some(entry) = self.shelves[ListKind::Resources.index()].find(&self.hasher, uri) {
            let target = self.target_of(ListKind::Resources, entry);
            return Some(Located {
                source: target.source,
                uri: Cow::Borrowed(target.name()),
                rule: Rule::Listed,
            });
        }
        if let Some((source, original)) = self.links.get(uri) {
            return Some(Located {
                source: *source as usize,
                uri: Cow::Borrowed(original),
                rule: Rule::Linked,
            });
        }
        if self.renames() && uri::is_reserved(uri) {
            let (upstream, original) = uri::unwrap(uri)?;
            let source = self.source(upstream)?;
            return Some(Located { source, uri: original, rule: Rule::Explicit });
        }
        let located = |source, rule| Located { source, uri: Cow::Borrowed(uri), rule };
        if let Some(pattern) = self.patterns.iter().find(|one| one.template.matches(uri)) {
            return Some(located(pattern.source? as usize, Rule::Template));
        }
        self.sole.map(|source| located(source as usize, Rule::Sole))
    }

    /// The URI under which a client of this view finds what the upstream at `source` calls `uri`:
    /// for results, links and `notifications/resources/updated`. Unchanged wherever that is
    /// unmistakable.
    ///
    /// # Panics
    /// If the view has no such upstream: a bug of the caller.
    pub fn resource_back<'a>(&'a self, source: usize, uri: &'a str) -> Cow<'a, str> {
        let one = &self.sources[source];
        if !self.renames() {
            return Cow::Borrowed(uri);
        }
        match self.resource(uri) {
            Some(found) if found.source == source && found.uri == uri => Cow::Borrowed(uri),
            _ => Cow::Owned(uri::wrap(&one.lists.upstream, uri)),
        }
    }

    /// The position of the upstream called `name`.
    pub fn source(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|one| &*one.lists.upstream == name)
    }
}
