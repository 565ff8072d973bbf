//! How does a message get into our ring?
//!
//! Invariants: records are contiguous and aligned to 8; one that does not fit before the ring's end
//! is preceded by a skip record up to there; a slab is written only while the peer has given back
//! every use of it. A put that finds no room has found the ring more than half full, which is what
//! a wait for room waits to end.

use std::sync::atomic::Ordering;

use crate::error::Fault;
use crate::layout::{
    AT_RETURNED, HEADER_BYTES, KIND_INLINE, KIND_MORE, KIND_SKIP, KIND_SLAB, RECORD_BYTES,
    SLAB_RECORD_BYTES, Sizes, padded,
};
use crate::limits::SLAB_FROM_BYTES;
use crate::memory::{Memory, SharedWord};
use crate::pace::Pace;
use crate::words::Word;

/// Our ring and slabs.
#[derive(Debug)]
pub(crate) struct Outbox {
    memory: Memory,
    sizes: Sizes,
    /// For each slab: how often it was lent, and the peer's count of returns.
    slabs: Vec<(u32, SharedWord)>,
    /// The slab to try first.
    next: usize,
}

impl Outbox {
    /// An empty outbox in `memory`; `peer` is where returns are counted.
    pub(crate) fn new(memory: Memory, sizes: Sizes, peer: &Memory) -> Self {
        let word = |slab: u32| peer.word(AT_RETURNED + 4 * slab as usize);
        let slabs = (0..sizes.slabs).map(|slab| (0, word(slab))).collect();
        Self { memory, sizes, slabs, next: 0 }
    }

    /// Puts as much of `message` as there is room for; how many bytes that was. The last piece is
    /// marked as the message's end.
    pub(crate) fn put(
        &mut self,
        pace: &mut Pace<SharedWord>,
        message: &[u8],
    ) -> Result<Option<usize>, Fault> {
        let mut done = 0;
        loop {
            let rest = &message[done..];
            let slab = if rest.len() >= SLAB_FROM_BYTES.min(self.sizes.inline_max() + 1) {
                self.free_slab()
            } else {
                None
            };
            let put = match slab {
                Some(slab) => self.put_slab(pace, slab, rest)?,
                None => self.put_inline(pace, rest)?,
            };
            match put {
                Some(bytes) if bytes == rest.len() => return Ok(None),
                Some(bytes) => done += bytes,
                None => return Ok(Some(done)),
            }
        }
    }

    fn put_inline(
        &mut self,
        pace: &mut Pace<SharedWord>,
        rest: &[u8],
    ) -> Result<Option<usize>, Fault> {
        let len = rest.len().min(self.sizes.inline_max());
        let size = RECORD_BYTES + padded(len as u32);
        let Some(at) = self.reserve(pace, size)? else { return Ok(None) };
        let kind = KIND_INLINE | if len < rest.len() { KIND_MORE } else { 0 };
        self.memory.store(at, len as u32);
        self.memory.store(at + 4, kind);
        self.memory.write(at + RECORD_BYTES as usize, &rest[..len]);
        pace.put(size);
        Ok(Some(len))
    }

    fn put_slab(
        &mut self,
        pace: &mut Pace<SharedWord>,
        slab: usize,
        rest: &[u8],
    ) -> Result<Option<usize>, Fault> {
        let Some(at) = self.reserve(pace, SLAB_RECORD_BYTES)? else { return Ok(None) };
        let len = rest.len().min(self.sizes.slab_bytes as usize);
        self.memory.write(self.sizes.slab_at(slab as u32), &rest[..len]);
        let kind = KIND_SLAB | if len < rest.len() { KIND_MORE } else { 0 };
        self.memory.store(at, len as u32);
        self.memory.store(at + 4, kind);
        self.memory.store(at + 8, slab as u32);
        self.memory.store(at + 12, 0);
        pace.put(SLAB_RECORD_BYTES);
        self.slabs[slab].0 = self.slabs[slab].0.wrapping_add(1);
        self.next = slab + 1;
        Ok(Some(len))
    }

    /// Finds `size` contiguous bytes in the ring; skips to its begin where its end is too near.
    fn reserve(&mut self, pace: &mut Pace<SharedWord>, size: u32) -> Result<Option<usize>, Fault> {
        let at = pace.tail() & (self.sizes.ring_bytes - 1);
        let until_end = self.sizes.ring_bytes - at;
        let skip = if until_end < size { until_end } else { 0 };
        if !pace.has_room(skip + size)? {
            return Ok(None);
        }
        if skip > 0 {
            let at = (HEADER_BYTES + at) as usize;
            self.memory.store(at, skip - RECORD_BYTES);
            self.memory.store(at + 4, KIND_SKIP);
            pace.put(skip);
        }
        Ok(Some((HEADER_BYTES + (pace.tail() & (self.sizes.ring_bytes - 1))) as usize))
    }

    /// A slab that the peer has given back as often as it was lent.
    fn free_slab(&self) -> Option<usize> {
        let count = self.slabs.len();
        (0..count).map(|step| (self.next + step) % count).find(|slab| {
            let (lent, returned) = &self.slabs[*slab];
            returned.load(Ordering::Acquire) == *lent
        })
    }
}
