//! How does a driver see SIGHUP, SIGINT and SIGTERM?
//!
//! A handler sets a flag, then writes to a socket the driver waits for. Signals of one kind that
//! come in quick succession are seen once, as is the custom. SIGPIPE is not here: the standard
//! library ignores it in every Rust program, and restores it in children.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;

use crate::event::Signal;

const WATCHED: [(i32, Signal); 3] = [
    (libc::SIGHUP, Signal::Hangup),
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGTERM, Signal::Terminate),
];

/// The signals of this process. Dropping it stops reporting; the default action stays replaced.
#[derive(Debug)]
pub(crate) struct Signals {
    reader: UnixStream,
    seen: [Arc<AtomicBool>; WATCHED.len()],
    registered: Vec<SigId>,
}

impl Signals {
    /// Takes the watched signals over.
    pub(crate) fn watch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let mut signals = Self { reader, seen: Default::default(), registered: Vec::new() };
        for ((number, _), seen) in WATCHED.iter().zip(&signals.seen) {
            // The flag first: handlers run in this order, and a wakeup must find it set.
            let flag = signal_hook::flag::register(*number, Arc::clone(seen))?;
            let wakeup = signal_hook::low_level::pipe::register(*number, writer.try_clone()?)?;
            signals.registered.extend([flag, wakeup]);
        }
        Ok(signals)
    }

    /// Becomes readable when a signal came.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// The signals that came since the last call.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Signal> {
        let mut bytes = [0; 64];
        while matches!(self.reader.read(&mut bytes), Ok(count) if count > 0) {}
        WATCHED.iter().zip(&self.seen).filter_map(|((_, signal), seen)| {
            // Pairs with the handler's store; the pipe's byte orders the two anyway.
            seen.swap(false, Ordering::SeqCst).then_some(*signal)
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
