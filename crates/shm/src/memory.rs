//! How is memory made, sealed, mapped, read and written?
//!
//! Invariants: a mapping is as long as its file, which is sealed against shrinking, so no access
//! faults; each access is checked against the mapping's length; nobody gets a reference into memory
//! that the other process may write: words are atomics, bytes are copied.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::{Error, Fault};
use crate::layout::{
    AT_FINISHED, AT_HEAD, AT_SLEEP, AT_TAIL, AT_WAKE_BY, HEADER_BYTES, RING_BYTES, SLAB_BYTES_MAX,
    SLABS_MAX, Sizes,
};
use crate::words::{Side, Word};

/// Without these the other side could make an access fault.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// The largest memory there is.
const TOTAL_MAX: u64 =
    HEADER_BYTES as u64 + *RING_BYTES.end() as u64 + SLABS_MAX as u64 * SLAB_BYTES_MAX as u64;

/// A piece of memory that two sides see.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Region>);

struct Region {
    start: NonNull<u8>,
    len: usize,
    writable: bool,
    from: From,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Mapping,
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests and Miri"))]
    Heap,
}

// SAFETY: the memory belongs to the region until it is dropped; words are atomics, and which side
// may write which bytes when is the protocol's, whose indices are passed with Release and Acquire.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Memory {
    /// A new file of memory with its header, not sealed yet.
    pub(crate) fn create(name: &str, sizes: Sizes, role: u32) -> Result<OwnedFd, Error> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3.
            Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
            other => other?,
        };
        rustix::fs::ftruncate(&fd, sizes.total_bytes() as u64)?;
        let written = rustix::io::pwrite(&fd, &sizes.header(role), 0)?;
        debug_assert_eq!(written, AT_WAKE_BY, "a fresh file takes a header whole");
        Ok(fd)
    }

    /// Fixes the file's size; where `read_only`, others can only map it for reading from now on.
    pub(crate) fn seal(fd: &OwnedFd, read_only: bool) -> Result<(), Error> {
        if read_only {
            // Before Linux 5.1 there is no such seal, and it protects from nothing that the
            // protocol relies on.
            let _ = rustix::fs::fcntl_add_seals(fd, SealFlags::FUTURE_WRITE);
        }
        Ok(rustix::fs::fcntl_add_seals(fd, SEALS | SealFlags::SEAL)?)
    }

    /// Takes a file of memory that the other side made: its seals, its length, its header.
    pub(crate) fn open(
        fd: BorrowedFd<'_>,
        role: u32,
        writable: bool,
    ) -> Result<(Self, Sizes), Error> {
        if !rustix::fs::fcntl_get_seals(fd)?.contains(SEALS) {
            return Err(Fault::Seals.into());
        }
        let len = rustix::fs::fstat(fd)?.st_size as u64;
        let mut header = [0; AT_WAKE_BY];
        if !(u64::from(HEADER_BYTES)..=TOTAL_MAX).contains(&len)
            || rustix::io::pread(fd, &mut header, 0)? != AT_WAKE_BY
        {
            return Err(Fault::Layout("its length").into());
        }
        let sizes = Sizes::parse(&header, role)?;
        if sizes.total_bytes() as u64 != len {
            return Err(Fault::Layout("its length").into());
        }
        Ok((Self::map(fd, sizes.total_bytes(), writable)?, sizes))
    }

    /// Maps a file of `len` bytes.
    pub(crate) fn map(fd: BorrowedFd<'_>, len: usize, writable: bool) -> Result<Self, Error> {
        let mut access = ProtFlags::READ;
        access.set(ProtFlags::WRITE, writable);
        // SAFETY: the kernel chooses the address, so nothing of ours is mapped over.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd.as_fd(), 0)?
        };
        let start = NonNull::new(start.cast()).expect("the kernel maps nothing at zero");
        Ok(Self(Arc::new(Region { start, len, writable, from: From::Mapping })))
    }

    /// Memory of this process alone.
    #[cfg(test)]
    pub(crate) fn heap(sizes: Sizes) -> Self {
        let layout = Region::layout(sizes.total_bytes());
        // SAFETY: the layout is not empty.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).expect("tests have memory");
        let (len, from) = (sizes.total_bytes(), From::Heap);
        Self(Arc::new(Region { start, len, writable: true, from }))
    }

    /// The words that the memory's owner writes.
    pub(crate) fn side(&self) -> Side<SharedWord> {
        Side {
            tail: self.word(AT_TAIL),
            finished: self.word(AT_FINISHED),
            head: self.word(AT_HEAD),
            sleep: self.word(AT_SLEEP),
        }
    }

    /// The word at an offset.
    ///
    /// # Panics
    /// Outside of the memory, or not aligned.
    pub(crate) fn word(&self, at: usize) -> SharedWord {
        assert!(at.is_multiple_of(4) && at + 4 <= self.0.len, "a word of the memory");
        // SAFETY: within the region, as just checked.
        let at = unsafe { self.0.start.add(at) };
        SharedWord { at: at.cast(), _memory: self.clone() }
    }

    /// Reads the two words of a record's head, each once.
    pub(crate) fn head_at(&self, at: usize) -> (u32, u32) {
        (self.load(at), self.load(at + 4))
    }

    /// Reads the word at an offset, once.
    pub(crate) fn load(&self, at: usize) -> u32 {
        u32::from_le(self.atomic(at).load(Ordering::Relaxed))
    }

    /// Writes the word at an offset.
    pub(crate) fn store(&self, at: usize, value: u32) {
        assert!(self.0.writable, "only our own memory is written");
        self.atomic(at).store(value.to_le(), Ordering::Relaxed);
    }

    fn atomic(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.0.len, "a word of the memory");
        // SAFETY: within the region and aligned, as just checked; the region begins at a page.
        // Where the mapping is read-only, callers only load.
        unsafe { self.0.start.add(at).cast().as_ref() }
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(self.0.writable, "only our own memory is written");
        assert!(at <= self.0.len && bytes.len() <= self.0.len - at, "within the memory");
        // SAFETY: in bounds, as just checked, and no reference into the region exists. The other
        // side reads these bytes only after an index told of them.
        unsafe {
            self.0.start.add(at).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
    }

    /// Bytes where they lie.
    ///
    /// # Safety
    /// Nobody writes them while they are borrowed.
    pub(crate) unsafe fn borrow(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.0.len && len <= self.0.len - at, "within the memory");
        // SAFETY: in bounds, as just checked; the caller vouches for the other side.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr().add(at), len) }
    }

    /// Appends a copy of bytes to `out`.
    pub(crate) fn read(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        assert!(at <= self.0.len && len <= self.0.len - at, "within the memory");
        out.reserve(len);
        // SAFETY: in bounds, as just checked; `out` has room for `len` more. An honest side does
        // not write these bytes before we give them back; a lying one may, in another process, and
        // then the copy is any bytes, which is all that is asked of it.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            self.0.start.add(at).as_ptr().copy_to_nonoverlapping(end, len);
            out.set_len(out.len() + len);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.0.len)
    }
}

impl Region {
    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, 4096).expect("the sizes were checked")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.from {
            // SAFETY: mapped by us with this length, and the last handle is gone.
            From::Mapping => unsafe {
                let _ = rustix::mm::munmap(self.start.as_ptr().cast(), self.len);
            },
            // SAFETY: allocated by us with this layout, and the last handle is gone.
            From::Heap => unsafe {
                std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.len));
            },
        }
    }
}

/// A word of a memory, which it keeps alive.
pub(crate) struct SharedWord {
    at: NonNull<AtomicU32>,
    _memory: Memory,
}

// SAFETY: it is a handle on an atomic that lives as long as the handle.
unsafe impl Send for SharedWord {}
// SAFETY: as above.
unsafe impl Sync for SharedWord {}

impl SharedWord {
    /// The atomic itself, for a futex.
    pub(crate) fn atomic(&self) -> &AtomicU32 {
        // SAFETY: aligned and in bounds since it was made by `Memory::word`; `_memory` keeps it.
        unsafe { self.at.as_ref() }
    }
}

impl Word for SharedWord {
    fn load(&self, order: Ordering) -> u32 {
        u32::from_le(self.atomic().load(order))
    }

    fn store(&self, value: u32, order: Ordering) {
        self.atomic().store(value.to_le(), order);
    }

    fn fence() {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

impl fmt::Debug for SharedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load(Ordering::Relaxed).fmt(f)
    }
}
