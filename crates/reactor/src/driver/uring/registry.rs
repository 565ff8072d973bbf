//! Which entry belongs to the core's key?
//!
//! The core's keys die when the core says so; an entry has to live until the kernel is done with
//! it. So entries have keys of their own, and a name (the core's key) is only bound to one.
//!
//! Invariants: a name is bound to one entry at a time; an unbound entry is found by its own key only.

use kern_terms::{Key, Slab};

use crate::driver::names::Names;

/// Entries and their names.
pub(super) struct Registry<T> {
    names: Names,
    entries: Slab<T>,
}

impl<T> Registry<T> {
    pub(super) fn new() -> Self {
        Self { names: Names::default(), entries: Slab::new() }
    }

    /// Stores an entry and binds `name` to it.
    pub(super) fn bind(&mut self, name: Key, value: T) -> Key {
        let entry = self.entries.insert(value);
        self.names.set(name, entry);
        entry
    }

    /// The entry bound to `name`.
    pub(super) fn find(&self, name: Key) -> Option<Key> {
        self.names.get(name)
    }

    /// Unbinds `name`; its entry stays.
    pub(super) fn unbind(&mut self, name: Key) -> Option<Key> {
        self.names.remove(name)
    }

    /// The entry itself.
    pub(super) fn get(&mut self, entry: Key) -> Option<&mut T> {
        self.entries.get_mut(entry)
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, entry: Key) -> Option<T> {
        self.entries.remove(entry)
    }

    /// Keys of all entries, bound or not.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.entries.keys()
    }

    /// Forgets all names and takes all entries.
    pub(super) fn take_all(&mut self) -> Slab<T> {
        self.names = Names::default();
        std::mem::take(&mut self.entries)
    }
}
