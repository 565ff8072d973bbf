//! Where does what lie in a ring's memory?
//!
//! The same facts as `docs/shm-layout.md`; all integers are little-endian. Invariant: sizes that
//! passed [`Sizes::check`] make every offset computed here fit in a `u32`.

use crate::error::Fault;

/// The first eight bytes of a memory, and of the message that hands it over.
pub const MAGIC: [u8; 8] = *b"KERNRING";
/// The version of all this.
pub const VERSION: u32 = 1;
/// Bytes before the ring.
pub const HEADER_BYTES: u32 = 4096;
/// Bytes of the message that carries the descriptors.
pub const HANDOVER_BYTES: usize = 16;

/// Offset of the version.
pub const AT_VERSION: usize = 8;
/// Offset of the header's length.
pub const AT_HEADER_BYTES: usize = 12;
/// Offset of the ring's length.
pub const AT_RING_BYTES: usize = 16;
/// Offset of a slab's length.
pub const AT_SLAB_BYTES: usize = 20;
/// Offset of the number of slabs.
pub const AT_SLABS: usize = 24;
/// Offset of the owner's role: 0 host, 1 guest.
pub const AT_ROLE: usize = 28;
/// Offset of how the owner wants to be woken; see [`WAKE_NEVER`] and the next two.
pub const AT_WAKE_BY: usize = 32;
/// Offset of the bytes ever put into the owner's ring, modulo 2^32.
pub const AT_TAIL: usize = 64;
/// Offset of the flag that the owner puts no more.
pub const AT_FINISHED: usize = 68;
/// Offset of the bytes the owner ever took from the other's ring, modulo 2^32.
pub const AT_HEAD: usize = 128;
/// Offset of the owner's sleep word.
pub const AT_SLEEP: usize = 192;
/// Offset of the word that a futex sleeper of the other side sleeps on.
pub const AT_BELL: usize = 256;
/// Offset of the counters of slabs of the other's memory that the owner gave back.
pub const AT_RETURNED: usize = 320;

/// The owner never sleeps.
pub const WAKE_NEVER: u32 = 0;
/// The owner is woken by a byte on the socket.
pub const WAKE_SOCKET: u32 = 1;
/// The owner is woken by a futex wake on the other's bell.
pub const WAKE_FUTEX: u32 = 2;

/// In a sleep word: the owner is asleep, or about to be.
pub const SLEEP_ASLEEP: u32 = 1;
/// In a sleep word: it also waits for room in its own ring.
pub const SLEEP_WANTS_ROOM: u32 = 2;
/// Bits of a sleep word below the count of sleeps.
pub const SLEEP_SHIFT: u32 = 2;

/// A record that fills the ring up to its end.
pub const KIND_SKIP: u32 = 0;
/// A record whose payload follows.
pub const KIND_INLINE: u32 = 1;
/// A record whose payload lies in a slab.
pub const KIND_SLAB: u32 = 2;
/// Set where the message goes on in the next record.
pub const KIND_MORE: u32 = 0x100;
/// Bytes of a record before its payload, and the alignment of records.
pub const RECORD_BYTES: u32 = 8;
/// Bytes of a record whose payload lies in a slab.
pub const SLAB_RECORD_BYTES: u32 = 16;

/// Sizes that a memory may have.
pub const RING_BYTES: std::ops::RangeInclusive<u32> = 4096..=(16 << 20);
/// Longest slab.
pub const SLAB_BYTES_MAX: u32 = 16 << 20;
/// Most slabs: what the counters in the header have room for.
pub const SLABS_MAX: u32 = 64;

/// How large the parts of a memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the ring: a power of two within [`RING_BYTES`].
    pub ring_bytes: u32,
    /// Bytes of one slab: a multiple of 4096, [`SLAB_BYTES_MAX`] at most.
    pub slab_bytes: u32,
    /// Slabs, [`SLABS_MAX`] at most.
    pub slabs: u32,
}

impl Sizes {
    /// Whether a memory may have these sizes.
    ///
    /// # Errors
    /// [`Fault::Layout`] where it may not.
    pub fn check(self) -> Result<Self, Fault> {
        let ring = self.ring_bytes.is_power_of_two() && RING_BYTES.contains(&self.ring_bytes);
        let slab = self.slab_bytes.is_multiple_of(4096) && self.slab_bytes <= SLAB_BYTES_MAX;
        let slabs = self.slabs <= SLABS_MAX && (self.slabs == 0 || self.slab_bytes > 0);
        if ring && slab && slabs { Ok(self) } else { Err(Fault::Layout("sizes out of bounds")) }
    }

    /// Bytes of the whole memory: at most 16 MiB + 64 × 16 MiB and a page.
    pub fn total_bytes(self) -> usize {
        self.slab_at(self.slabs)
    }

    /// Where a slab begins.
    pub(crate) fn slab_at(self, index: u32) -> usize {
        let ring_end = (HEADER_BYTES + self.ring_bytes) as usize;
        ring_end + index as usize * self.slab_bytes as usize
    }

    /// Payload of one inline record at most: an eighth of the ring, so that a put that fails has
    /// found the ring more than half full.
    pub(crate) fn inline_max(self) -> usize {
        (self.ring_bytes / 8 - RECORD_BYTES) as usize
    }

    /// The constant part of a header.
    pub(crate) fn header(self, role: u32) -> [u8; AT_WAKE_BY] {
        let mut bytes = [0; AT_WAKE_BY];
        bytes[..8].copy_from_slice(&MAGIC);
        let words = [
            (AT_VERSION, VERSION),
            (AT_HEADER_BYTES, HEADER_BYTES),
            (AT_RING_BYTES, self.ring_bytes),
            (AT_SLAB_BYTES, self.slab_bytes),
            (AT_SLABS, self.slabs),
            (AT_ROLE, role),
        ];
        for (at, word) in words {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads the constant part of a header.
    pub(crate) fn parse(bytes: &[u8; AT_WAKE_BY], role: u32) -> Result<Self, Fault> {
        let word = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a header"))
        };
        if bytes[..8] != MAGIC {
            return Err(Fault::Layout("no ring's memory"));
        }
        if word(AT_VERSION) != VERSION || word(AT_HEADER_BYTES) != HEADER_BYTES {
            return Err(Fault::Layout("another version of the layout"));
        }
        if word(AT_ROLE) != role {
            return Err(Fault::Layout("the memories are swapped"));
        }
        let sizes = Self {
            ring_bytes: word(AT_RING_BYTES),
            slab_bytes: word(AT_SLAB_BYTES),
            slabs: word(AT_SLABS),
        };
        sizes.check()
    }
}

/// Rounds up to the alignment of records.
pub(crate) fn padded(len: u32) -> u32 {
    len.next_multiple_of(RECORD_BYTES)
}
