//! Which slot of the ring's file table holds a stream's file?
//!
//! Operations on a registered file spare the kernel the lookup and the reference count of a
//! descriptor. Streams still own their descriptor: the peer's address, shutdown and the hand-over
//! to another core need it.
//!
//! Invariant: the descriptor numbers the kernel reads while it registers a file stay at one address
//! as long as the ring lives, and a number is only written while its slot is free.

use std::os::fd::RawFd;

/// The slots.
pub(super) struct Files {
    numbers: Box<[RawFd]>,
    free: Vec<u32>,
}

impl Files {
    /// A table of `slots`, all free.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            numbers: vec![-1; slots as usize].into_boxed_slice(),
            free: (0..slots).rev().collect(),
        }
    }

    /// Reserves a slot for `fd`.
    pub(super) fn take(&mut self, fd: RawFd) -> Option<u32> {
        let slot = self.free.pop()?;
        self.numbers[slot as usize] = fd;
        Some(slot)
    }

    /// Where the number of `slot` stands.
    pub(super) fn number(&self, slot: u32) -> *const RawFd {
        &raw const self.numbers[slot as usize]
    }

    /// Frees a slot that holds no file (or is about to be cleared, in submission order).
    pub(super) fn give_back(&mut self, slot: u32) {
        self.free.push(slot);
    }
}
