//! Where does received data land?
//!
//! In a ring of buffers that the kernel picks from when data is there, so that an idle connection
//! holds none. A full buffer becomes a [`Chunk`] and comes back when that is dropped.
//!
//! Invariants: a buffer is either the kernel's (its slot holds the vector, which nobody touches) or
//! lent (its slot is empty, the vector is in a chunk). The kernel gets a buffer only if the vector's
//! capacity covers the length it is told. Buffers and entries are freed only after the ring was
//! unregistered, which [`BufferRing::close`] records.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::limits::{BUFFER_STAGGER_BYTES, BUFFERS_FIRST, Settings};
use crate::event::{Chunk, Recycle};

/// The group all receives take their buffers from.
pub(super) const GROUP: u16 = 0;

/// A page: the alignment the kernel asks for.
const ALIGN: usize = 4096;

/// The buffers of one core.
pub(super) struct BufferRing {
    /// As many entries as `slots` may have, a power of two.
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    mask: u16,
    most: u16,
    buffer_bytes: u32,
    tail: Cell<u16>,
    /// Buffers the kernel can pick.
    available: Cell<u16>,
    /// By buffer id: the buffer while it is the kernel's.
    slots: RefCell<Vec<Option<Vec<u8>>>>,
    open: Cell<bool>,
}

impl BufferRing {
    /// Allocates the ring and registers it with `submitter`'s ring.
    pub(super) fn register(submitter: &Submitter<'_>, settings: &Settings) -> io::Result<Rc<Self>> {
        let most = settings.buffers;
        assert!(most.is_power_of_two() && most <= 1 << 15 && settings.buffer_bytes > 0);
        let layout = Layout::array::<BufRingEntry>(most as usize)
            .and_then(|layout| layout.align_to(ALIGN))
            .expect("at most 32,768 entries of 16 bytes");
        // SAFETY: the layout is not empty: `most` is a power of two.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast::<BufRingEntry>()) else {
            handle_alloc_error(layout)
        };
        let ring = Self {
            entries,
            layout,
            mask: most - 1,
            most,
            buffer_bytes: settings.buffer_bytes,
            tail: Cell::new(0),
            available: Cell::new(0),
            slots: RefCell::new(Vec::new()),
            open: Cell::new(false),
        };
        // SAFETY: `entries` spans `most` entries, page aligned and zeroed, and lives until after
        // `close`, which the driver calls once the ring is unregistered.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, most, GROUP, 0)?;
        }
        ring.open.set(true);
        ring.grow(BUFFERS_FIRST);
        Ok(Rc::new(ring))
    }

    /// Buffers the kernel can pick now.
    pub(super) fn available(&self) -> u16 {
        self.available.get()
    }

    /// The largest chunk, bytes.
    pub(super) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Doubles the number of buffers when few are left, up to the most there may be.
    pub(super) fn replenish(&self) {
        let total = self.slots.borrow().len() as u16;
        if self.available.get() < total / 4 && total < self.most {
            self.grow(total);
        }
    }

    fn grow(&self, by: u16) {
        let first = self.slots.borrow().len() as u16;
        for id in first..self.most.min(first.saturating_add(by)) {
            self.slots.borrow_mut().push(None);
            self.provide(id, self.allocate());
        }
    }

    fn allocate(&self) -> Vec<u8> {
        Vec::with_capacity(self.buffer_bytes as usize + BUFFER_STAGGER_BYTES)
    }

    /// Makes `buffer` the kernel's under `id`, whose slot is empty.
    fn provide(&self, id: u16, mut buffer: Vec<u8>) {
        assert!(buffer.capacity() >= self.buffer_bytes as usize, "the kernel may write that much");
        let tail = self.tail.get();
        // SAFETY: the index is below the number of entries; the kernel reads an entry only once the
        // tail has passed it and this one is not yet passed. The three fields written do not overlap
        // the tail, which shares the first entry.
        let entry = unsafe { &mut *self.entries.as_ptr().add((tail & self.mask) as usize) };
        entry.set_addr(buffer.as_mut_ptr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.slots.borrow_mut()[id as usize] = Some(buffer);
        self.tail.set(tail.wrapping_add(1));
        self.available.set(self.available.get() + 1);
        // SAFETY: `entries` is the address of the first entry of a ring of valid memory, whose tail
        // field is two aligned bytes that the kernel only reads.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail.get(), Ordering::Release);
        }
    }

    /// Takes the buffer the kernel picked and filled with `len` bytes.
    pub(super) fn take(self: &Rc<Self>, id: u16, len: usize) -> Chunk {
        let buffer = self.slots.borrow_mut().get_mut(id as usize).and_then(Option::take);
        let mut buffer = buffer.expect("the kernel returns only buffers it was given");
        self.available.set(self.available.get() - 1);
        assert!(len <= self.buffer_bytes as usize, "the kernel was told the buffer's length");
        // SAFETY: the capacity covers `buffer_bytes` (checked when it was provided) and the kernel
        // wrote the first `len` bytes before it posted the completion.
        unsafe { buffer.set_len(len) };
        Chunk::pooled(buffer, Rc::clone(self) as Rc<dyn Recycle>, u32::from(id))
    }

    /// The kernel no longer knows the ring; what comes back is freed.
    pub(super) fn close(&self) {
        self.open.set(false);
    }
}

impl Recycle for BufferRing {
    fn recycle(&self, tag: u32, mut bytes: Vec<u8>) {
        // Anybody may call this with anything: only an empty slot takes a buffer, and only one that
        // is large enough.
        let lent = self.slots.borrow().get(tag as usize).is_some_and(Option::is_none);
        if !self.open.get() || !lent {
            return;
        }
        if bytes.capacity() < self.buffer_bytes as usize {
            bytes = self.allocate();
        }
        bytes.clear();
        self.provide(tag as u16, bytes);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if self.open.get() {
            // The kernel may still write: leak rather than free.
            std::mem::forget(self.slots.take());
            return;
        }
        // SAFETY: allocated in `register` with this layout; the kernel no longer knows the ring, and
        // the last owner is gone.
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}
