//! How many bytes of requests wait on this core for servers?
//!
//! Counted are those that wait for a server to start, for one of their own, and for the lists of
//! servers that start. Invariant: what was counted is given back when it no longer waits, whatever
//! becomes of it, since the count goes with the request.

use std::cell::Cell;
use std::rc::Rc;

use super::Core;

/// What is said of a request for which there is no room.
pub(super) const NO_ROOM: &str = "too many bytes of requests wait for servers (limits.queue_bytes)";

/// The count of a core.
#[derive(Debug, Default)]
pub(super) struct Queued(Rc<Cell<usize>>);

/// The bytes of one request that waits.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    total: Rc<Cell<usize>>,
}

impl Queued {
    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.0.get()
    }

    /// Counts `bytes` until the weight is dropped; `None` if there would be more than `most`. One
    /// request, however large, may always wait.
    fn take(&self, bytes: usize, most: usize) -> Option<Weight> {
        let alone = self.0.get() == 0;
        let total = self.0.get().checked_add(bytes).filter(|total| alone || *total <= most)?;
        self.0.set(total);
        Some(Weight { bytes, total: Rc::clone(&self.0) })
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.bytes);
    }
}

impl Core {
    /// Room for a request that is to wait; `None` if there is none.
    pub(super) fn room_to_wait(&self, bytes: usize) -> Option<Weight> {
        let most = self.setup.plan.limits.queue_bytes / self.setup.cores.len().max(1);
        self.queued.take(bytes, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_longer_waits_makes_room() {
        let queued = Queued::default();
        let first = queued.take(6, 10).expect("room");
        assert!(queued.take(5, 10).is_none() && queued.take(usize::MAX, 10).is_none());
        let second = queued.take(4, 10).expect("room");
        drop(first);
        assert!(queued.take(6, 10).is_some());
        drop(second);
        drop(queued.take(11, 10).expect("alone"));
        assert_eq!(queued.0.get(), 0);
    }
}
