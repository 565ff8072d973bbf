//! How does a side wait: spinning, on a futex, or on the socket?
//!
//! Spinning is worth its core only while the peer runs on another one. Nothing says so directly, so
//! success is watched: a spin that failed makes the next shorter and, after a few, pauses spinning
//! for a growing number of waits. Invariant: nobody is pinned, and a process that may use one
//! processor never spins.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::futex;

use crate::error::Error;
use crate::limits::{SPIN_ALWAYS, SPIN_MAX};
use crate::memory::SharedWord;

/// How the peer is to wake us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WakeBy {
    /// Not at all: we look by ourselves.
    Nothing,
    /// By a byte on the socket; the peer's end is seen at once.
    #[default]
    Socket,
    /// By a futex; the peer's end is seen within a tenth of a second.
    Futex,
}

/// Whether a wait begins by spinning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spin {
    /// While it pays.
    #[default]
    Auto,
    /// No.
    Never,
    /// For [`SPIN_ALWAYS`] each time: only for measurements, and machines with cores to give away.
    Always,
}

/// What was learned about spinning.
#[derive(Debug)]
pub(crate) struct Spinner {
    mode: Spin,
    budget: Duration,
    /// Waits without spinning still to come, and how many there will be after the next failures.
    rests: u32,
    rest: u32,
}

/// Shortest spin that is worth the clock it is measured with.
const SPIN_MIN: Duration = Duration::from_micros(2);
/// Most waits without spinning after spins that failed.
const REST_MAX: u32 = 1024;
/// Looks between two readings of the clock.
const LOOKS: u32 = 32;

impl Spinner {
    pub(crate) fn new(mode: Spin) -> Self {
        let alone = std::thread::available_parallelism().is_ok_and(|count| count.get() < 2);
        let mode = if alone && mode == Spin::Auto { Spin::Never } else { mode };
        Self { mode, budget: SPIN_MAX, rests: 0, rest: 1 }
    }

    /// Looks until `changed` or it is no longer worth it; whether it changed.
    pub(crate) fn spin(&mut self, until: Option<Instant>, changed: impl Fn() -> bool) -> bool {
        if changed() {
            return true;
        }
        let budget = match self.mode {
            Spin::Never => return false,
            Spin::Always => SPIN_ALWAYS,
            Spin::Auto if self.rests > 0 => {
                self.rests -= 1;
                return false;
            }
            Spin::Auto => self.budget,
        };
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                std::hint::spin_loop();
                if changed() {
                    self.paid();
                    return true;
                }
            }
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return false;
            }
            if now - start >= budget {
                self.failed();
                return false;
            }
        }
    }

    fn paid(&mut self) {
        self.budget = SPIN_MAX;
        self.rest = 1;
    }

    fn failed(&mut self) {
        self.budget /= 2;
        if self.budget < SPIN_MIN {
            self.budget = SPIN_MAX / 4;
            self.rests = self.rest;
            self.rest = (self.rest * 2).min(REST_MAX);
        }
    }
}

/// Waits until `socket` is readable, at most `left`.
pub(crate) fn on_socket(socket: BorrowedFd<'_>, left: Option<Duration>) -> Result<(), Error> {
    let left = left.map(timespec);
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    match rustix::event::poll(&mut polled, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until `bell` is no longer `heard`, at most `left`.
pub(crate) fn on_bell(bell: &SharedWord, heard: u32, left: Duration) -> Result<(), Error> {
    use rustix::io::Errno;
    let heard = u32::from_le(heard);
    match futex::wait(bell.atomic(), futex::Flags::empty(), heard, Some(&timespec(left))) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Wakes whoever sleeps on our bell.
pub(crate) fn futex_wake(bell: &SharedWord) {
    // Fails only for words that are not there.
    let _ = futex::wake(bell.atomic(), futex::Flags::empty(), 1);
}

fn timespec(duration: Duration) -> Timespec {
    // Longer than any clock runs.
    const MAX: Duration = Duration::from_secs(u32::MAX as u64);
    Timespec::try_from(duration.min(MAX)).expect("bounded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_that_never_pays_becomes_rare_and_one_that_pays_comes_back() {
        let mut spinner = Spinner { mode: Spin::Auto, budget: SPIN_MAX, rests: 0, rest: 1 };
        let start = Instant::now();
        let spun = (0..2000).filter(|_| {
            let rests = spinner.rests;
            assert!(!spinner.spin(None, || false));
            rests == 0
        });
        let spun = spun.count();
        assert!(spun < 60, "{spun} of 2000 waits spun, in {:?}", start.elapsed());
        while spinner.rests > 0 {
            spinner.spin(None, || false);
        }
        let looks = std::cell::Cell::new(0);
        assert!(spinner.spin(None, || {
            looks.set(looks.get() + 1);
            looks.get() > 3
        }));
        assert_eq!((spinner.budget, spinner.rest), (SPIN_MAX, 1));
    }

    #[test]
    fn who_may_not_spin_does_not() {
        let mut spinner = Spinner::new(Spin::Never);
        let start = Instant::now();
        assert!(!spinner.spin(None, || false));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
