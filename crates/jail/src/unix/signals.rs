//! Which signals reach the keeper, and when?
//!
//! Invariants: every signal is blocked except inside `wait`, and there only those listed in
//! `HANDLED`; a handler does nothing but store a flag; all dispositions are the default ones
//! before the server is forked, save the handlers, which `execve` resets.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{io, ptr};

use libc::{c_int, sighandler_t, sigset_t};

/// What the kernel sends when the thread that started us ends; not used by anybody else, and
/// harmless if it is.
pub(super) const PARENT_MAY_BE_GONE: rustix::process::Signal = rustix::process::Signal::USR1;

/// SIGUSR1 and SIGCHLD only wake. All others, SIGHUP among them, are the server's business.
const HANDLED: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGUSR1];

static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(number: c_int) {
    if number == libc::SIGTERM || number == libc::SIGINT {
        TOLD_TO_END.store(true, Ordering::Relaxed);
    }
}

/// The keeper's signals, held back between waits.
#[derive(Debug)]
pub(super) struct Signals(());

impl Signals {
    /// Blocks all signals, forgets inherited dispositions, and sets the handlers.
    pub(super) fn hold() -> io::Result<Self> {
        set_mask(&full_set())?;
        // Of the dispositions only "ignored" is inherited, and SIGCHLD ignored would hide ends.
        default_dispositions();
        for number in HANDLED {
            // SAFETY: all-zero is a valid sigaction, with no flag and an empty mask.
            let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            action.sa_sigaction = on_signal as extern "C" fn(c_int) as sighandler_t;
            // SAFETY: `action` is initialised, its handler only stores to an atomic.
            check(unsafe { libc::sigaction(number, &raw const action, ptr::null_mut()) })?;
        }
        Ok(Self(()))
    }

    /// True once for one or more of SIGTERM and SIGINT.
    pub(super) fn take_told_to_end(&self) -> bool {
        TOLD_TO_END.swap(false, Ordering::Relaxed)
    }

    /// Sleeps until a handled signal, `fd` being readable, or `until`. May return early.
    pub(super) fn wait(&self, fd: Option<BorrowedFd<'_>>, until: Option<Instant>) {
        let timeout = until.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            libc::timespec {
                tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut mask = full_set();
        for number in HANDLED {
            // SAFETY: `mask` is initialised, and the numbers are signals.
            unsafe { libc::sigdelset(&raw mut mask, number) };
        }
        // SAFETY: all-zero is an empty fd_set.
        let mut readable: libc::fd_set = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut count = 0;
        if let Some(fd) = fd.map(|fd| fd.as_raw_fd()) {
            assert!(fd < 64, "few descriptors are open, so the number is small");
            // SAFETY: the number is below FD_SETSIZE.
            unsafe { libc::FD_SET(fd, &raw mut readable) };
            count = fd + 1;
        }
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: every pointer is null or to a live, initialised value of this frame.
        unsafe {
            // Whatever the outcome, the caller looks at everything anew.
            libc::pselect(
                count,
                &raw mut readable,
                ptr::null_mut(),
                ptr::null_mut(),
                timeout,
                &raw const mask,
            );
        }
    }
}

/// What a new program expects: nothing ignored, nothing blocked. Async-signal-safe.
pub(super) fn give_defaults() -> io::Result<()> {
    default_dispositions();
    let mut none = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    let none = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        none.assume_init()
    };
    set_mask(&none)
}

fn default_dispositions() {
    for number in 1..=64 {
        // SAFETY: the default disposition runs no code. The call refuses (SIGKILL, SIGSTOP, the
        // C library's own, and what is no signal here) without effect.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

fn full_set() -> sigset_t {
    let mut set = MaybeUninit::<sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set it is given.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn set_mask(set: &sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialised; the old set is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, ptr::null_mut()) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
