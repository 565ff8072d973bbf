//! How does another thread end this core's sleep?
//!
//! An eventfd that the ring polls (multishot, edge triggered, so nobody has to read it), and a state
//! that spares the write when the core is awake.
//!
//! Invariant: a wake that comes after the state was set to asleep writes the eventfd; one that comes
//! before is seen by the core when it tries to fall asleep. No wake is lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::driver::Wake;

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const WOKEN: u8 = 2;

/// Wakes one core.
pub(super) struct Waker {
    state: AtomicU8,
    event: OwnedFd,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: AtomicU8::new(AWAKE), event })
    }

    /// What to poll.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Announces that the core will sleep. `false`: it was woken meanwhile and must not.
    pub(super) fn fall_asleep(&self) -> bool {
        let slept = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        slept.is_ok()
    }

    /// The core is awake again. `true`: it was woken.
    pub(super) fn awake(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }
}

impl Wake for Waker {
    fn wake(&self) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            // The only error an eventfd gives is "counter full" after 2^64 wakes.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}
