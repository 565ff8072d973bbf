//! What do the two sides share word by word?
//!
//! Invariant: each word is written by one side only. [`Word`] is a trait so that the protocol in
//! `pace` runs on shared memory and, unchanged, in a model checker.

use std::sync::atomic::Ordering;

/// One shared `u32`.
pub(crate) trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u32;
    /// Writes it.
    fn store(&self, value: u32, order: Ordering);
    /// A sequentially consistent fence.
    fn fence();
}

/// The words one side writes.
#[derive(Debug)]
pub(crate) struct Side<W> {
    /// Bytes ever put into its own ring.
    pub(crate) tail: W,
    /// It puts no more.
    pub(crate) finished: W,
    /// Bytes ever taken from the other's ring.
    pub(crate) head: W,
    /// Whether it sleeps, what for, and for how many times.
    pub(crate) sleep: W,
}
