//! Which of a driver's own sources does a core's key name?
//!
//! Keys of listeners, streams and children come from tables of the core, so their slots are small
//! numbers and an array indexed by slot is the map. Invariant: a stale key names nothing.

use kern_terms::Key;

/// A map from the core's keys to the driver's.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: Vec<Option<(u32, Key)>>,
}

impl Names {
    /// Names `source` by `key`.
    pub(crate) fn set(&mut self, key: Key, source: Key) {
        let slot = key.slot as usize;
        if self.entries.len() <= slot {
            self.entries.resize(slot + 1, None);
        }
        debug_assert!(self.entries[slot].is_none(), "{key:?} names a source already");
        self.entries[slot] = Some((key.generation, source));
    }

    /// What `key` names.
    pub(crate) fn get(&self, key: Key) -> Option<Key> {
        let (generation, source) = (*self.entries.get(key.slot as usize)?)?;
        (generation == key.generation).then_some(source)
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Key> {
        let source = self.get(key)?;
        self.entries[key.slot as usize] = None;
        Some(source)
    }
}
