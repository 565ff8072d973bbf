//! Every endpoint at one moment: the snapshot that a request is routed by.
//!
//! Invariants: a catalog never changes; whoever holds one sees all its views from the same lists;
//! versions grow.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::kind::ListKind;
use crate::lists::Lists;
use crate::view::View;

/// All endpoints.
#[derive(Debug)]
pub struct Catalog {
    version: u64,
    all: Arc<View>,
    one: HashMap<Arc<str>, Arc<View>>,
    absent: Vec<Arc<Lists>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            version: 0,
            all: Arc::new(View::merged(&[])),
            one: HashMap::new(),
            absent: Vec::new(),
        }
    }
}

impl Catalog {
    /// The catalog after this one, of `lists` in the operator's order; `declared` and `absent` as for
    /// [`View::merged_among`]. Views of upstreams whose lists are the very same are kept, not built
    /// again.
    ///
    /// # Panics
    /// As [`View::merged`].
    pub fn next(&self, lists: &[Arc<Lists>], declared: usize, absent: &[Arc<Lists>]) -> Self {
        let same = |view: &View, lists: &[Arc<Lists>]| {
            view.upstreams().len() == lists.len()
                && view.upstreams().zip(lists).all(|(one, two)| Arc::ptr_eq(one, two))
        };
        let renames = declared.max(lists.len()) > 1;
        let claims = self.absent.iter().map(Arc::as_ptr).eq(absent.iter().map(Arc::as_ptr));
        let all = if same(&self.all, lists) && self.all.renames() == renames && claims {
            Arc::clone(&self.all)
        } else {
            Arc::new(View::merged_among(lists, declared, absent))
        };
        let one = lists.iter().map(|lists| {
            let known = self.one.get(&lists.upstream);
            let view = match known.filter(|view| same(view, std::slice::from_ref(lists))) {
                Some(view) => Arc::clone(view),
                None => Arc::new(View::single(lists)),
            };
            (Arc::clone(&lists.upstream), view)
        });
        let absent = absent.to_vec();
        Self { version: self.version + 1, all, one: one.collect(), absent }
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The endpoint that serves every upstream.
    pub fn all(&self) -> &Arc<View> {
        &self.all
    }

    /// The endpoint that serves `upstream` alone.
    pub fn one(&self, upstream: &str) -> Option<&Arc<View>> {
        self.one.get(upstream)
    }

    /// What upstreams last declared that offer nothing now.
    pub fn absent(&self) -> &[Arc<Lists>] {
        &self.absent
    }

    /// The upstreams' names, in no order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.one.keys()
    }

    /// Which lists of a view differ from those of an earlier one, so that its clients need a
    /// `list_changed`.
    pub fn changed(before: &View, after: &View) -> impl Iterator<Item = ListKind> {
        let differs = ListKind::ALL.map(|kind| before.digest(kind) != after.digest(kind));
        ListKind::ALL.into_iter().filter(move |kind| differs[kind.index()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kern_terms::Revision;

    fn upstream(name: &str, tools: &[&str]) -> Arc<Lists> {
        let mut lists = Lists::new(name, Revision::LATEST);
        let items: Vec<_> = tools
            .iter()
            .map(|tool| format!(r#"{{"name":"{tool}","inputSchema":{{"type":"object"}}}}"#))
            .collect();
        let page = format!(r#"{{"tools":[{}]}}"#, items.join(","));
        assert_eq!(lists.parse_page(ListKind::Tools, page.as_bytes()), Ok(None));
        Arc::new(lists)
    }

    #[test]
    fn a_new_catalog_builds_only_what_changed() {
        let (a, b) = (upstream("a", &["x"]), upstream("b", &["y"]));
        let first = Catalog::default().next(&[Arc::clone(&a), Arc::clone(&b)], 2, &[]);
        let same = first.next(&[Arc::clone(&a), Arc::clone(&b)], 2, &[]);
        assert!(Arc::ptr_eq(first.all(), same.all()));
        let changed = first.next(&[Arc::clone(&a), upstream("b", &["y", "z"])], 2, &[]);
        let one = |catalog: &Catalog, name| Arc::clone(catalog.one(name).expect("known"));
        assert!(Arc::ptr_eq(&one(&first, "a"), &one(&changed, "a")));
        assert!(!Arc::ptr_eq(&one(&first, "b"), &one(&changed, "b")));
        assert_eq!((first.version(), changed.version()), (1, 2));
        let kinds: Vec<_> = Catalog::changed(first.all(), changed.all()).collect();
        assert_eq!(kinds, [ListKind::Tools]);
        assert!(changed.one("c").is_none());
    }

    #[test]
    fn an_upstream_that_dies_renames_nobody_elses_tools() {
        let (a, b) = (upstream("a", &["x"]), upstream("b", &["y"]));
        let name = |catalog: &Catalog| catalog.all().tool("a__x").is_some();
        let both = Catalog::default().next(&[Arc::clone(&a), b], 2, &[]);
        let one = both.next(&[Arc::clone(&a)], 2, &[]);
        assert!(name(&both) && name(&one));
        let alone = one.next(&[a], 1, &[]);
        assert!(!name(&alone) && alone.all().tool("x").is_some());
    }

    #[test]
    fn the_digest_ignores_where_the_same_list_was_read() {
        let first = View::single(&upstream("a", &["x", "y"]));
        let again = View::single(&upstream("a", &["x", "y"]));
        let other = View::single(&upstream("a", &["y", "x"]));
        assert_eq!(first.digest(ListKind::Tools), again.digest(ListKind::Tools));
        assert_ne!(first.digest(ListKind::Tools), other.digest(ListKind::Tools));
    }
}
