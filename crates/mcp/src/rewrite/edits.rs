//! A short list without an allocation.
//!
//! Most messages need fewer than six edits; a hostile one may need more, and then they go to the heap.

const INLINE: usize = 6;

/// Items in the order of the calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits<T> {
    inline: [T; INLINE],
    length: usize,
    rest: Vec<T>,
}

impl<T> Edits<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.length < INLINE {
            self.inline[self.length] = item;
            self.length += 1;
        } else {
            self.rest.push(item);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn len(&self) -> usize {
        self.length + self.rest.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.inline[..self.length].iter().chain(&self.rest)
    }
}
