//! A short sorted list without an allocation.
//!
//! Most messages need fewer than six edits; a hostile one may need more, and then they go to the heap.

const INLINE: usize = 6;

/// Items in the order of their keys; items of one key in the order of the calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits<T> {
    inline: [T; INLINE],
    length: usize,
    /// All of them, once there are more than fit inline.
    all: Vec<T>,
}

impl<T: Default> Edits<T> {
    /// Adds an item after those whose key is not greater.
    pub(super) fn insert<K: Ord>(&mut self, item: T, key: impl Fn(&T) -> K) {
        let at = {
            let new = key(&item);
            let items = self.as_slice();
            items.iter().rposition(|known| key(known) <= new).map_or(0, |before| before + 1)
        };
        if self.all.is_empty() && self.length < INLINE {
            self.inline[self.length] = item;
            self.length += 1;
            self.inline[at..self.length].rotate_right(1);
            return;
        }
        if self.all.is_empty() {
            self.all.extend(self.inline.iter_mut().map(std::mem::take));
        }
        self.all.insert(at, item);
    }

    pub(super) fn as_slice(&self) -> &[T] {
        if self.all.is_empty() { &self.inline[..self.length] } else { &self.all }
    }
}
