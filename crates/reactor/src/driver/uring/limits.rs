//! How large are the queues and tables of one ring?
//!
//! Per core and at the defaults: 64 KiB of submission queue, 128 KiB of completion queue, 4 MiB of
//! receive buffers that grow to 32 MiB under load, 12 bytes a registered file.

use std::time::Duration;

use crate::limits::CHUNK_BYTES;

/// The sizes of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Operations handed over in one system call; more are queued in memory until the next.
    /// A power of two.
    pub submissions: u32,
    /// Completions that fit before the kernel has to keep some back. A power of two.
    pub completions: u32,
    /// Receive buffers at most. A power of two, at most 32,768.
    pub buffers: u16,
    /// Bytes a receive buffer holds: the largest chunk.
    pub buffer_bytes: u32,
    /// Files the ring can hold references to; further streams work with plain descriptors.
    pub files: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            submissions: 1024,
            completions: 8192,
            buffers: 1024,
            buffer_bytes: CHUNK_BYTES as u32,
            files: 16 << 10,
        }
    }
}

/// Receive buffers a ring starts with; it doubles them whenever they run short.
pub(super) const BUFFERS_FIRST: u16 = 128;
/// Bytes by which buffers are longer than a power of two, so that their first lines do not all
/// fall into the same cache sets.
pub(super) const BUFFER_STAGGER_BYTES: usize = 320;
/// Completions one wait looks at; the rest are left for the next.
pub(super) const REAP_MAX: usize = 1024;
/// Pieces of a batch that one operation takes (the kernel's `IOV_MAX`).
pub(super) const PIECES_MAX: usize = 1024;
/// Bytes one operation sends; the kernel's own limit is just below 2 GiB.
pub(super) const SEND_MAX_BYTES: usize = 1 << 30;
/// How long a dropped driver waits for cancelled operations before it leaks their memory.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Records of finished sends kept for reuse.
pub(super) const SPARE_SENDS_MAX: usize = 256;
