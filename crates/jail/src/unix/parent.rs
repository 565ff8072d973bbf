//! Is the process that the server is kept for still alive?
//!
//! Invariant: "gone" is concluded only from the parent's id having changed. A parent-death
//! signal alone does not prove it, for it is sent when the *thread* that started us ends
//! (prctl(2), `PR_SET_PDEATHSIG`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::process::{Pid, getppid};

use crate::limits::PARENT_POLL;

/// The parent, seen alive after the watch began.
#[derive(Debug)]
pub(crate) struct Parent {
    id: Pid,
    end: Option<OwnedFd>,
}

impl Parent {
    /// Watches the process `id`. `None` if it is not our parent (any more).
    pub(crate) fn watch(id: i32) -> Option<Self> {
        let id = Pid::from_raw(id)?;
        // Both first, then the check: an end before it shows in the id, a later one wakes us.
        let parent = Self { id, end: watch_end(id) };
        (!parent.is_gone()).then_some(parent)
    }

    pub(crate) fn is_gone(&self) -> bool {
        getppid() != Some(self.id)
    }

    /// Readable when the parent has ended.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// When to ask `is_gone` again, where no descriptor tells.
    pub(crate) fn check_at(&self, now: Instant) -> Option<Instant> {
        self.end.is_none().then(|| now + PARENT_POLL)
    }
}

#[cfg(target_os = "linux")]
fn watch_end(id: Pid) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open, set_parent_process_death_signal};
    // For kernels without process descriptors (before 5.3) and filters that refuse them.
    let _ = set_parent_process_death_signal(Some(super::signals::PARENT_MAY_BE_GONE));
    pidfd_open(id, PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn watch_end(_id: Pid) -> Option<OwnedFd> {
    None
}
