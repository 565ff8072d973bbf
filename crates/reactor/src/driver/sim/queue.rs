//! Bytes that wait in order.

/// A queue of bytes: appended at the end, taken from the front, copied in blocks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// Takes `length` bytes, or all if there are fewer.
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let end = self.bytes.len().min(self.taken + length);
        let taken = self.bytes[self.taken..end].to_vec();
        self.taken = end;
        // Moving the rest costs no more than what was taken since the last move.
        if self.taken * 2 >= self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        taken
    }
}

#[test]
fn what_is_pushed_is_taken_in_order() {
    let mut queue = Queue::default();
    let whole: Vec<u8> = (0..=255).collect();
    let mut out = Vec::new();
    for part in whole.chunks(7) {
        queue.push(part);
        out.extend(queue.take(5));
    }
    out.extend(queue.take(usize::MAX / 2));
    assert_eq!(out, whole);
    assert!(queue.is_empty());
}
