//! What does every driver need of a Unix system?
//!
//! Functions that open things and return plain descriptors, all close-on-exec and non-blocking; how
//! to wait for them is each driver's own business. Nothing here sleeps, but the threads that
//! [`process`] and [`stdio`] start where the system offers no descriptor to wait for.

pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod stdio;

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Makes reads and writes through this open file description return instead of waiting.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    if flags.contains(OFlags::NONBLOCK) {
        return Ok(());
    }
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// Keeps the calling thread on the `number`th (modulo their count) processor it is allowed.
#[cfg(target_os = "linux")]
pub(crate) fn pin_thread(number: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let all: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut one = CpuSet::new();
    one.set(all[number % all.len()]);
    Ok(sched_setaffinity(None, &one)?)
}

/// Raises the soft limit of open descriptors to the hard one.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the descriptor limit stays as it is");
        }
    }
}
