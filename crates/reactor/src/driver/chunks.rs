//! Where does memory for received bytes come from?
//!
//! Invariant: every buffer in the pool is empty and has room for [`CHUNK_BYTES`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::event::{Chunk, Recycle};
use crate::limits::{CHUNK_BYTES, CHUNKS_KEPT};

/// A core's pool of receive buffers.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    free: RefCell<Vec<Vec<u8>>>,
}

impl Chunks {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES))
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&self, mut bytes: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if free.len() < CHUNKS_KEPT && bytes.capacity() >= CHUNK_BYTES {
            bytes.clear();
            free.push(bytes);
        }
    }

    /// A chunk of a buffer from `this`.
    pub(crate) fn chunk(this: &Rc<Self>, bytes: Vec<u8>) -> Chunk {
        Chunk::pooled(bytes, Rc::clone(this) as Rc<dyn Recycle>, 0)
    }
}

impl Recycle for Chunks {
    fn recycle(&self, _tag: u32, bytes: Vec<u8>) {
        self.give_back(bytes);
    }
}
