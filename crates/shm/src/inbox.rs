//! What does the peer's ring hold?
//!
//! Invariants: each number of a record is read once and checked before it is used; payload is
//! copied into memory of our own; every call ends after one record and at most one skip, however the
//! peer goes on writing.

use std::sync::atomic::Ordering;

use crate::error::Fault;
use crate::layout::{
    AT_RETURNED, HEADER_BYTES, KIND_INLINE, KIND_MORE, KIND_SKIP, KIND_SLAB, RECORD_BYTES,
    SLAB_RECORD_BYTES, Sizes, padded,
};
use crate::link::Take;
use crate::memory::{Memory, SharedWord};
use crate::pace::Pace;
use crate::words::Word;

/// A whole message in a slab that is not given back yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    slab: u32,
    len: usize,
}

impl Held {
    /// Bytes of the message.
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

/// The peer's ring and slabs.
#[derive(Debug)]
pub(crate) struct Inbox {
    memory: Memory,
    sizes: Sizes,
    /// For each slab: how often we gave it back, and where that is told.
    returned: Vec<(u32, SharedWord)>,
}

impl Inbox {
    /// What the owner of `memory` sends; `own` is where we count returns.
    pub(crate) fn new(memory: Memory, sizes: Sizes, own: &Memory) -> Self {
        let word = |slab: u32| own.word(AT_RETURNED + 4 * slab as usize);
        let returned = (0..sizes.slabs).map(|slab| (0, word(slab))).collect();
        Self { memory, sizes, returned }
    }

    /// Appends the payload of the next record to `out`.
    pub(crate) fn take(
        &mut self,
        pace: &mut Pace<SharedWord>,
        out: &mut Vec<u8>,
    ) -> Result<Take, Fault> {
        let mut skipped = false;
        loop {
            let available = pace.available()?;
            if available == 0 {
                return Ok(Take::Nothing);
            }
            let at = pace.head() & (self.sizes.ring_bytes - 1);
            let until_end = self.sizes.ring_bytes - at;
            let room = available.min(until_end);
            let at = (HEADER_BYTES + at) as usize;
            let (len, kind) = self.memory.head_at(at);
            let more = kind & KIND_MORE != 0;
            match kind & !KIND_MORE {
                KIND_SKIP if more || skipped => return Err(Fault::Record),
                KIND_SKIP if len != until_end - RECORD_BYTES || available < until_end => {
                    return Err(Fault::Record);
                }
                KIND_SKIP => {
                    pace.took(until_end);
                    skipped = true;
                    continue;
                }
                // So that what is added up below fits, and a message that goes on grows.
                _ if len > self.sizes.total_bytes() as u32 || (more && len == 0) => {
                    return Err(Fault::Record);
                }
                KIND_INLINE => {
                    let size = RECORD_BYTES + padded(len);
                    if size > room {
                        return Err(Fault::Record);
                    }
                    self.memory.read(at + RECORD_BYTES as usize, len as usize, out);
                    pace.took(size);
                }
                KIND_SLAB => {
                    if SLAB_RECORD_BYTES > room || len > self.sizes.slab_bytes {
                        return Err(Fault::Record);
                    }
                    self.take_slab(self.memory.load(at + 8), len as usize, out)?;
                    pace.took(SLAB_RECORD_BYTES);
                }
                _ => return Err(Fault::Record),
            }
            return Ok(if more { Take::Part } else { Take::Whole });
        }
    }

    /// Takes the next record if it is a whole message in a slab, and leaves the payload there until
    /// [`Inbox::give_back`]. Anything else, lies too, is left to [`Inbox::take`].
    pub(crate) fn hold(&mut self, pace: &mut Pace<SharedWord>) -> Result<Option<Held>, Fault> {
        if pace.available()? < SLAB_RECORD_BYTES {
            return Ok(None);
        }
        let at = pace.head() & (self.sizes.ring_bytes - 1);
        if self.sizes.ring_bytes - at < SLAB_RECORD_BYTES {
            return Ok(None);
        }
        let at = (HEADER_BYTES + at) as usize;
        let ((len, kind), slab) = (self.memory.head_at(at), self.memory.load(at + 8));
        if kind != KIND_SLAB || len > self.sizes.slab_bytes || slab >= self.sizes.slabs {
            return Ok(None);
        }
        pace.took(SLAB_RECORD_BYTES);
        Ok(Some(Held { slab, len: len as usize }))
    }

    /// The payload of a held message, where it lies.
    ///
    /// # Safety
    /// The peer does not write it before it is given back.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn held(&self, held: Held) -> &[u8] {
        // SAFETY: passed on to the caller.
        unsafe { self.memory.borrow(self.sizes.slab_at(held.slab), held.len) }
    }

    /// Gives the slab of a held message back; its payload is not looked at any more.
    pub(crate) fn give_back(&mut self, held: Held) {
        let entry = &mut self.returned[held.slab as usize];
        entry.0 = entry.0.wrapping_add(1);
        entry.1.store(entry.0, Ordering::Release);
    }

    /// Copies a slab's payload and gives the slab back.
    fn take_slab(&mut self, slab: u32, len: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        if slab >= self.sizes.slabs {
            return Err(Fault::Record);
        }
        self.memory.read(self.sizes.slab_at(slab), len, out);
        self.give_back(Held { slab, len });
        Ok(())
    }
}
