//! How do operations reach the kernel and come back?
//!
//! Invariants: submission never fails and never blocks: what does not fit the kernel's queue waits
//! in memory, in order. Every counted operation ends with exactly one completion without `MORE`, so
//! `in_flight` is zero exactly when the kernel holds none of our memory but that of operations it does
//! as it takes them.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, cqueue, opcode};

use super::buffers::GROUP;
use super::limits::Settings;
use super::token::{Op, Token};

/// A file an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// By descriptor.
    Plain(RawFd),
    /// By slot of the ring's table.
    Registered(u32),
}

/// Chooses the type the opcode builder wants.
macro_rules! on {
    ($file:expr, |$target:ident| $build:expr) => {
        match $file {
            File::Plain(fd) => {
                let $target = Fd(fd);
                $build
            }
            File::Registered(slot) => {
                let $target = Fixed(slot);
                $build
            }
        }
    };
}
pub(super) use on;

/// What a completion says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) token: Token,
    /// The operation's value, or a negated errno.
    pub(super) result: i32,
    /// The buffer the kernel picked.
    pub(super) buffer: Option<u16>,
    /// More completions of the same operation follow.
    pub(super) more: bool,
}

impl Done {
    /// The value or the error.
    pub(super) fn value(&self) -> io::Result<usize> {
        match usize::try_from(self.result) {
            Ok(value) => Ok(value),
            Err(_) => Err(io::Error::from_raw_os_error(-self.result)),
        }
    }
}

/// How long to wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// Hand over and look.
    No,
    /// At most so long.
    For(Duration),
    /// For ever.
    Ever,
}

/// One io_uring and the operations on their way to it.
pub(super) struct Ring {
    uring: IoUring,
    /// What did not fit the submission queue.
    waiting: VecDeque<Entry>,
    in_flight: usize,
    sleep_flags: EnterFlags,
}

impl Ring {
    /// Makes the ring. The calling thread is the only one that may use it.
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(settings.completions)
            .dontfork()
            .build(settings.submissions)?;
        // An idle core is idle, not waiting for a disk, to whoever looks at the machine.
        let sleep_flags = if uring.params().is_feature_no_iowait() {
            EnterFlags::NO_IOWAIT
        } else {
            EnterFlags::empty()
        };
        Ok(Self { uring, waiting: VecDeque::new(), in_flight: 0, sleep_flags })
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.uring.submitter()
    }

    /// The kernel's features.
    pub(super) fn params(&self) -> &io_uring::Parameters {
        self.uring.params()
    }

    /// Operations that still have a completion to come.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether everything was handed over and has completed.
    pub(super) fn is_idle(&mut self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty() && self.uring.submission().is_empty()
    }

    /// Hands an operation over at the next [`Ring::enter`].
    ///
    /// # Safety
    ///
    /// What the entry points to must stay valid and in place until the completion of `token`
    /// without `MORE` was reaped.
    pub(super) unsafe fn push(&mut self, entry: Entry, token: Token) {
        self.in_flight += 1;
        self.enqueue(entry.user_data(token.bits()));
    }

    /// Hands over, at the next [`Ring::enter`], an operation that the kernel does as it takes it and
    /// that completes only if it fails. It is counted nowhere.
    ///
    /// # Safety
    ///
    /// What the entry points to must stay valid and in place until [`Ring::is_through`] is true, or
    /// the completion of `token` was reaped.
    pub(super) unsafe fn push_now(&mut self, entry: Entry, token: Token) {
        self.enqueue(entry.user_data(token.bits()).flags(Flags::SKIP_SUCCESS));
    }

    /// Whether the kernel took every operation, and every completion it has posted was reaped: a
    /// [`Ring::push_now`] without a completion has succeeded.
    pub(super) fn is_through(&mut self) -> bool {
        let taken = {
            let queue = self.uring.submission();
            queue.is_empty() && !queue.cq_overflow()
        };
        taken && self.waiting.is_empty() && self.uring.completion().is_empty()
    }

    fn enqueue(&mut self, entry: Entry) {
        if self.waiting.is_empty() {
            // SAFETY: `push`'s caller keeps the memory; entries from elsewhere point to none.
            let full = unsafe { self.uring.submission().push(&entry) }.is_err();
            if !full {
                return;
            }
        }
        self.waiting.push_back(entry);
    }

    /// An operation that points to no memory of ours.
    fn push_bare(&mut self, entry: Entry, token: Token) {
        // SAFETY: the entry holds no pointer (buffers are picked from the registered ring).
        unsafe { self.push(entry, token) };
    }

    /// Accepts until cancelled; each completion carries a new descriptor.
    pub(super) fn accept(&mut self, fd: BorrowedFd<'_>, token: Token) {
        let entry = opcode::AcceptMulti::new(Fd(fd.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        self.push_bare(entry, token);
    }

    /// Receives from a socket into picked buffers until cancelled.
    pub(super) fn receive(&mut self, fd: RawFd, token: Token) {
        self.push_bare(opcode::RecvMulti::new(Fd(fd), GROUP).build(), token);
    }

    /// Reads from a pipe into picked buffers until cancelled.
    pub(super) fn read_many(&mut self, fd: RawFd, token: Token) {
        self.push_bare(opcode::ReadMulti::new(Fd(fd), 0, GROUP).build(), token);
    }

    /// Reads once into a picked buffer of at most `len` bytes, at the file's position.
    pub(super) fn read(&mut self, fd: RawFd, len: u32, token: Token) {
        let entry = opcode::Read::new(Fd(fd), std::ptr::null_mut(), len)
            .offset(u64::MAX)
            .buf_group(GROUP)
            .build()
            .flags(Flags::BUFFER_SELECT);
        self.push_bare(entry, token);
    }

    /// Waits for `events` (poll's bits), once or until cancelled.
    pub(super) fn poll(&mut self, fd: RawFd, events: i16, multi: bool, token: Token) {
        let entry = opcode::PollAdd::new(Fd(fd), events as u16 as u32).multi(multi).build();
        self.push_bare(entry, token);
    }

    /// Ends the operation `token` early; its own completion says so.
    pub(super) fn cancel(&mut self, token: Token) {
        self.forget(opcode::AsyncCancel::new(token.bits()).build());
    }

    /// Ends all operations early.
    pub(super) fn cancel_all(&mut self) {
        self.forget(opcode::AsyncCancel2::new(CancelBuilder::any().all()).build());
    }

    /// Closes a descriptor after everything pushed before has been handed over.
    pub(super) fn close(&mut self, fd: OwnedFd) {
        self.forget(opcode::Close::new(Fd(fd.into_raw_fd())).build());
    }

    /// Drops a registered file after everything pushed before has been handed over.
    pub(super) fn unregister(&mut self, slot: u32) {
        self.forget(opcode::Close::new(Fixed(slot)).build());
    }

    /// An operation nobody waits for: it is counted nowhere and completes only if it fails.
    fn forget(&mut self, entry: Entry) {
        let entry = entry.user_data(Token::own(Op::Forgotten).bits()).flags(Flags::SKIP_SUCCESS);
        self.enqueue(entry);
    }

    /// Hands everything over and waits until a completion is there or `sleep` is over.
    ///
    /// Returns early on signals and when the kernel wants completions reaped first.
    pub(super) fn enter(&mut self, sleep: Sleep) -> io::Result<()> {
        loop {
            self.refill();
            if self.waiting.is_empty() {
                break;
            }
            let entered = self.enter_once(None);
            if entered.is_err() || self.uring.submission().is_full() {
                return benign(entered);
            }
        }
        let timeout = match sleep {
            Sleep::No => {
                let idle = {
                    let queue = self.uring.submission();
                    queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
                };
                return if idle { Ok(()) } else { benign(self.enter_once(None)) };
            }
            Sleep::For(duration) => Some(Timespec::from(duration)),
            Sleep::Ever => None,
        };
        let mut args = SubmitArgs::new();
        if let Some(timeout) = &timeout {
            args = args.timespec(timeout);
        }
        benign(self.enter_once(Some(&args)))
    }

    fn refill(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.waiting.front() {
            // SAFETY: the entry was given to `push` or `forget`, whose memory is kept.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    fn enter_once(&mut self, args: Option<&SubmitArgs<'_, '_>>) -> io::Result<()> {
        let count = self.uring.submission().len() as u32;
        let submitter = self.uring.submitter();
        let mut flags = EnterFlags::GETEVENTS;
        let Some(args) = args else {
            // SAFETY: no argument is passed; the count is that of the queue.
            let entered = unsafe { submitter.enter::<()>(count, 0, flags.bits(), None) };
            return entered.map(drop);
        };
        flags |= EnterFlags::EXT_ARG | self.sleep_flags;
        // SAFETY: the argument is of the type that `EXT_ARG` announces and outlives the call.
        unsafe { submitter.enter(count, 1, flags.bits(), Some(args)) }.map(drop)
    }

    /// Moves up to `most` completions out.
    pub(super) fn reap(&mut self, into: &mut Vec<Done>, most: usize) {
        for entry in self.uring.completion().take(most) {
            let flags = entry.flags();
            let done = Done {
                token: Token::from_bits(entry.user_data()),
                result: entry.result(),
                buffer: cqueue::buffer_select(flags),
                more: cqueue::more(flags),
            };
            if !done.more && !matches!(done.token.split().0, Op::Forgotten | Op::SendNow) {
                self.in_flight -= 1;
            }
            into.push(done);
        }
    }
}

/// Errors of `io_uring_enter` that only mean "look again": time is up, a signal came, or the kernel
/// wants completions reaped (or memory freed) before it takes more.
fn benign(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
