//! Which resources clients of this core want to hear of, and which server each is asked of.
//!
//! A server is told once however many clients want the same, and is told to stop where it was told
//! to begin: what the catalog says of a resource may change in between.
//!
//! Invariants: a want stands here exactly while a client holds it; what is asked of a server is
//! taken back from the same server, under the same URI; the bytes of all URIs and ids of tasks that
//! clients of a core hold are bounded.

use std::sync::Arc;

use hashbrown::HashMap;
use kern_terms::Key;

use super::words::{Post, UpstreamId};
use super::{Core, Io};

/// Bytes of URIs, and of ids of tasks, that clients of one core hold. A modern server is asked for all of them in one
/// message, which it must be able to read.
const BYTES_MAX: usize = 4 << 20;

/// A resource as clients of an endpoint name it.
pub(super) type Wanted = (Option<Arc<str>>, String);

/// How many want it, and where it is asked for.
#[derive(Debug, Default)]
pub(super) struct Want {
    count: u32,
    /// The server, and its own name of the resource; `None` while nobody offers it.
    at: Option<(UpstreamId, String)>,
}

/// What clients of this core want to hear of.
#[derive(Debug, Default)]
pub(super) struct Wants {
    known: HashMap<Wanted, Want>,
    /// Listen streams by the tasks they name.
    tasks: HashMap<(UpstreamId, String), Vec<Key>>,
    /// Bytes of the URIs and of the tasks' ids, each as often as a client holds it.
    bytes: usize,
}

impl Wants {
    /// A listen stream names a task, which its client calls `shown` (`on`), or is over.
    pub(super) fn watch(&mut self, by: Key, task: &(UpstreamId, String), shown: &str, on: bool) {
        let bytes = task.1.len() + shown.len();
        if on {
            self.bytes += bytes;
            return self.tasks.entry(task.clone()).or_default().push(by);
        }
        let Some(listens) = self.tasks.get_mut(task) else { return };
        self.bytes -= bytes;
        listens.retain(|known| *known != by);
        if listens.is_empty() {
            self.tasks.remove(task);
        }
    }

    /// The listen streams that name a task.
    pub(super) fn watchers(&self, task: &(UpstreamId, String)) -> Vec<Key> {
        self.tasks.get(task).cloned().unwrap_or_default()
    }

    /// How many resources and tasks are wanted.
    pub(super) fn len(&self) -> usize {
        self.known.len() + self.tasks.len()
    }

    /// Bytes of the URIs and ids that clients hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether clients may hold URIs and ids of `bytes` more.
    pub(super) fn have_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= BYTES_MAX
    }
}

impl Core {
    pub(super) fn gain_interest(&mut self, io: &mut Io, endpoint: Option<&Arc<str>>, uri: &str) {
        let key: Wanted = (endpoint.cloned(), uri.to_owned());
        self.wants.bytes += uri.len();
        if let Some(want) = self.wants.known.get_mut(&key) {
            want.count += 1;
            return;
        }
        let at = self.asked_of(&key);
        if let Some(at) = &at {
            self.tell_interest(io, at, true);
        }
        self.wants.known.insert(key, Want { count: 1, at });
    }

    pub(super) fn lose_interest(&mut self, io: &mut Io, endpoint: Option<&Arc<str>>, uri: &str) {
        let key: Wanted = (endpoint.cloned(), uri.to_owned());
        let Some(want) = self.wants.known.get_mut(&key) else { return };
        self.wants.bytes -= uri.len();
        want.count -= 1;
        if want.count == 0
            && let Some(Want { at: Some(at), .. }) = self.wants.known.remove(&key)
        {
            self.tell_interest(io, &at, false);
        }
    }

    /// The catalog or the configuration changed: what is wanted may be elsewhere now, or offered
    /// for the first time. What nobody offers at the moment stays asked of whom it was asked.
    pub(super) fn review_wants(&mut self, io: &mut Io) {
        let mut moved = Vec::new();
        for (key, want) in &self.wants.known {
            let known = want.at.as_ref().filter(|(id, _)| self.upstreams.contains_key(id));
            let now = self.asked_of(key).or_else(|| known.cloned());
            if now != want.at {
                moved.push((key.clone(), now));
            }
        }
        for (key, now) in moved {
            let Some(want) = self.wants.known.get_mut(&key) else { continue };
            let before = std::mem::replace(&mut want.at, now.clone());
            for (at, on) in [(before, false), (now, true)] {
                if let Some(at) = at {
                    self.tell_interest(io, &at, on);
                }
            }
        }
    }

    fn asked_of(&self, (endpoint, uri): &Wanted) -> Option<(UpstreamId, String)> {
        let view = match endpoint {
            None => self.catalog.all(),
            Some(name) => self.catalog.one(name)?,
        };
        let found = self.find_resource(view, uri).ok()?;
        Some((found.upstream, found.uri.unwrap_or_else(|| uri.clone())))
    }

    fn tell_interest(&mut self, io: &mut Io, (upstream, uri): &(UpstreamId, String), on: bool) {
        let owner = self.setup.owner(*upstream);
        let (upstream, uri) = (*upstream, uri.clone());
        self.post_to(io, owner, Post::Interest { upstream, uri, on });
    }
}

/// Whether a set that `has` URIs covers `uri`: it may also name what lies above it (2025-11-25
/// server/resources: a server may tell of a sub-resource of what was subscribed to).
pub(super) fn covers(has: impl Fn(&str) -> bool, uri: &str) -> bool {
    if has(uri) {
        return true;
    }
    if uri.len() > super::interest::URI_BYTES_MAX {
        return false;
    }
    uri.rmatch_indices('/').any(|(at, _)| has(&uri[..=at]) || has(&uri[..at]))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_subscriber_hears_of_what_lies_below_and_of_nothing_beside() {
        let has = |uri: &str| ["file:///a/b", "x://top/"].contains(&uri);
        for (uri, expected) in [
            ("file:///a/b", true),
            ("file:///a/b/c/d", true),
            ("file:///a/bc", false),
            ("file:///a", false),
            ("x://top/1", true),
            ("x://other/1", false),
            ("", false),
        ] {
            assert_eq!(covers(has, uri), expected, "{uri}");
        }
    }
}
