//! A ring with the waiting done: for clients, for servers started with one, and for bindings.
//!
//! Invariants: messages come out in the order they were sent; a call that waits for room takes in
//! what arrives meanwhile, so two sides that both send cannot wait for each other for ever.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::{Error, Fault};
use crate::inbox::Held;
use crate::limits::{ABSORBED_BYTES_MAX, FUTEX_SLICE, MESSAGE_BYTES};
use crate::link::{Link, Put, Take};
use crate::wait::{self, Spin, Spinner, WakeBy};
use crate::words::Word;

/// How a [`Client`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether its waits begin by spinning.
    pub spin: Spin,
    /// How it sleeps.
    pub wake_by: WakeBy,
    /// Longest message it accepts, bytes.
    pub message_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { spin: Spin::Auto, wake_by: WakeBy::Socket, message_bytes: MESSAGE_BYTES }
    }
}

/// One end of a ring, used by one thread at a time. Dropping it ends the conversation.
#[derive(Debug)]
pub struct Client {
    link: Link,
    options: Options,
    spinner: Spinner,
    /// The message being put together.
    partial: Vec<u8>,
    /// Messages taken in while there was no room to send.
    absorbed: VecDeque<Vec<u8>>,
    absorbed_bytes: usize,
    gone: bool,
    /// What was received in place last.
    held: Option<Held>,
    /// Where what did not come in one slab is put together for it.
    gathered: Vec<u8>,
}

impl Client {
    /// Connects to `kern serve --ring PATH`.
    ///
    /// # Errors
    /// The system's where nobody listens there; see [`Link::guest`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_socket(UnixStream::connect(path)?, Options::default())
    }

    /// The ring of a server that was started with `ring = true`: the environment variable
    /// `KERN_RING_FD` names the descriptor of its socket (0, its standard input). Call it once.
    ///
    /// # Errors
    /// `NotFound` without that variable; see [`Link::guest`].
    pub fn from_env() -> Result<Self, Error> {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no KERN_RING_FD");
        let number = std::env::var(crate::ENV_FD).ok().and_then(|text| text.parse().ok());
        let number = number.filter(|number| *number >= 0).ok_or_else(missing)?;
        Self::from_socket(inherited(number)?, Options::default())
    }

    /// The ring whose host is at the other end of `socket`.
    ///
    /// # Errors
    /// See [`Link::guest`].
    pub fn from_socket(socket: UnixStream, options: Options) -> Result<Self, Error> {
        Ok(Self::from_link(Link::guest(socket)?, options))
    }

    /// Either end of a ring that is set up already.
    pub fn from_link(link: Link, options: Options) -> Self {
        link.set_wake_by(options.wake_by);
        Self {
            link,
            options,
            spinner: Spinner::new(options.spin),
            partial: Vec::new(),
            absorbed: VecDeque::new(),
            absorbed_bytes: 0,
            gone: false,
            held: None,
            gathered: Vec::new(),
        }
    }

    /// Sends one message; waits while there is no room.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::Fault`]; the ring is of no use then.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.push(message)?;
        self.flush();
        Ok(())
    }

    /// Like [`Client::send`], but the peer is told only by [`Client::flush`] or the next wait: one
    /// wake for several messages.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn push(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut rest = message;
        while let Put::Part(put) = self.link.put(rest)? {
            rest = &rest[put..];
            self.absorb()?;
            if self.gone {
                return Err(Error::Gone);
            }
            self.wait(true, None)?;
        }
        Ok(())
    }

    /// Puts as much of a message as there is room for, without waiting; how many bytes that was. The
    /// rest must be the next thing pushed.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn try_push(&mut self, message: &[u8]) -> Result<usize, Error> {
        Ok(match self.link.put(message)? {
            Put::Whole => message.len(),
            Put::Part(put) => put,
        })
    }

    /// Tells the peer of everything pushed.
    pub fn flush(&mut self) {
        self.link.tell();
    }

    /// The next message; waits for it at most `timeout`, for ever without one.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Gone`] once the peer ended and all it sent was received;
    /// [`Error::Fault`].
    pub fn recv(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>, Error> {
        let mut message = Vec::new();
        self.recv_into(&mut message, timeout)?;
        Ok(message)
    }

    /// Like [`Client::recv`], into memory of the caller's, which is emptied first.
    ///
    /// # Errors
    /// As [`Client::recv`].
    pub fn recv_into(
        &mut self,
        message: &mut Vec<u8>,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        // Looked at only if there is something to wait for.
        let mut until = None;
        loop {
            if self.try_recv_into(message)? {
                return Ok(());
            }
            if until.is_none() {
                until = timeout.map(|timeout| Instant::now() + timeout);
            } else if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Error::TimedOut);
            }
            self.wait(false, until)?;
        }
    }

    /// The next message if it is there.
    ///
    /// # Errors
    /// As [`Client::recv`], except that it never times out.
    pub fn try_recv(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut message = Vec::new();
        Ok(self.try_recv_into(&mut message)?.then_some(message))
    }

    /// Like [`Client::try_recv`], into memory of the caller's, which is emptied first.
    ///
    /// # Errors
    /// As [`Client::try_recv`].
    pub fn try_recv_into(&mut self, message: &mut Vec<u8>) -> Result<bool, Error> {
        message.clear();
        self.give_back();
        if let Some(absorbed) = self.absorbed.pop_front() {
            self.absorbed_bytes -= absorbed.len();
            *message = absorbed;
            return Ok(true);
        }
        if self.partial.is_empty() {
            // The common case: a message of one piece goes straight to where it is wanted.
            match self.link.take(message)? {
                Take::Whole => return self.checked(message.len()).map(|()| true),
                Take::Part => std::mem::swap(&mut self.partial, message),
                Take::Nothing => return self.nothing(),
            }
        }
        if self.gather()? {
            std::mem::swap(&mut self.partial, message);
            return Ok(true);
        }
        self.nothing()
    }

    /// Like [`Client::recv`], without a copy where the message came in one slab: it is read where the
    /// peer put it. The slab is given back by the next call that receives.
    ///
    /// # Errors
    /// As [`Client::recv`].
    ///
    /// # Safety
    /// The peer is trusted to keep to the protocol: it does not write the slab of a message before that
    /// is given back. That is what a client may believe of its `kern`, and `kern` of nobody.
    #[allow(unsafe_code)]
    pub unsafe fn recv_in_place(&mut self, timeout: Option<Duration>) -> Result<&[u8], Error> {
        let mut until = None;
        while !self.look_in_place()? {
            if until.is_none() {
                until = timeout.map(|timeout| Instant::now() + timeout);
            } else if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Error::TimedOut);
            }
            self.wait(false, until)?;
        }
        // SAFETY: the caller vouches for the peer.
        Ok(unsafe { self.in_place() })
    }

    /// Like [`Client::recv_in_place`], if it is there.
    ///
    /// # Errors
    /// As [`Client::try_recv`].
    ///
    /// # Safety
    /// As [`Client::recv_in_place`].
    #[allow(unsafe_code)]
    pub unsafe fn try_recv_in_place(&mut self) -> Result<Option<&[u8]>, Error> {
        if !self.look_in_place()? {
            return Ok(None);
        }
        // SAFETY: the caller vouches for the peer.
        Ok(Some(unsafe { self.in_place() }))
    }

    /// Takes the next message, and says whether there was one.
    fn look_in_place(&mut self) -> Result<bool, Error> {
        self.give_back();
        if self.absorbed.is_empty() && self.partial.is_empty() {
            self.held = self.link.hold()?;
        }
        if let Some(held) = self.held {
            return self.checked(held.len()).map(|()| true);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let received = self.try_recv_into(&mut gathered);
        self.gathered = gathered;
        received
    }

    /// The message that was taken last.
    ///
    /// # Safety
    /// As [`Client::recv_in_place`].
    #[allow(unsafe_code)]
    unsafe fn in_place(&self) -> &[u8] {
        match self.held {
            // SAFETY: the caller vouches for the peer.
            Some(held) => unsafe { self.link.held(held) },
            None => &self.gathered,
        }
    }

    fn give_back(&mut self) {
        if let Some(held) = self.held.take() {
            self.link.give_back(held);
        }
    }

    /// Says that no more will be sent; the peer hears of it at once. What it sends can still be
    /// received.
    pub fn finish(&mut self) {
        self.link.finish();
        self.link.tell();
    }

    /// For event loops: `true` if nothing can be received now, and the descriptor
    /// ([`AsFd`]) becomes readable when that changes; `false` if [`Client::try_recv`] has something.
    /// Only for clients with [`WakeBy::Socket`].
    ///
    /// # Errors
    /// [`Error::Fault`].
    pub fn arm(&mut self) -> Result<bool, Error> {
        self.arm_for(false)
    }

    /// Like [`Client::arm`], after [`Client::try_push`] has put a part: `false` also if there is room
    /// for more, and the descriptor becomes readable when there is.
    ///
    /// # Errors
    /// As [`Client::arm`].
    pub fn arm_to_push(&mut self) -> Result<bool, Error> {
        self.arm_for(true)
    }

    fn arm_for(&mut self, room: bool) -> Result<bool, Error> {
        if !self.absorbed.is_empty() {
            return Ok(false);
        }
        match self.link.answer_bell() {
            Err(Error::Gone) => self.gone = true,
            other => other?,
        }
        Ok(!self.gone && self.link.arm(true, room))
    }

    /// Takes pieces of one message until it is whole (`true`) or there are no more.
    fn gather(&mut self) -> Result<bool, Error> {
        loop {
            let take = self.link.take(&mut self.partial)?;
            self.checked(self.partial.len())?;
            match take {
                Take::Whole => return Ok(true),
                Take::Part => {}
                Take::Nothing => return Ok(false),
            }
        }
    }

    fn checked(&self, len: usize) -> Result<(), Error> {
        if len > self.options.message_bytes {
            return Err(Fault::TooLong.into());
        }
        Ok(())
    }

    /// Nothing is there: perhaps nothing will ever be.
    fn nothing(&mut self) -> Result<bool, Error> {
        if self.link.is_over()? || (self.gone && !self.link.changed(true, false)) {
            return Err(Error::Gone);
        }
        Ok(false)
    }

    /// Takes in what arrived while we want to send.
    fn absorb(&mut self) -> Result<(), Error> {
        while self.absorbed_bytes < ABSORBED_BYTES_MAX && self.gather()? {
            let message = std::mem::take(&mut self.partial);
            self.absorbed_bytes += message.len();
            self.absorbed.push_back(message);
        }
        Ok(())
    }

    /// Waits until there is something to take (or room), the peer is gone, or time is up.
    fn wait(&mut self, wants_room: bool, until: Option<Instant>) -> Result<(), Error> {
        self.link.tell();
        let link = &self.link;
        if self.spinner.spin(until, || link.changed(true, wants_room)) {
            return Ok(());
        }
        if self.gone {
            return Ok(());
        }
        let heard = self.link.peer_bell.load(Ordering::Acquire);
        if !self.link.arm(true, wants_room) {
            return Ok(());
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let mut look = true;
        match (self.options.wake_by, self.link.socket()) {
            (WakeBy::Socket, Some(socket)) => wait::on_socket(socket, left)?,
            (WakeBy::Futex, _) => {
                let slice = left.unwrap_or(FUTEX_SLICE).min(FUTEX_SLICE);
                wait::on_bell(&self.link.peer_bell, heard, slice)?;
                look = !self.link.changed(true, wants_room);
            }
            _ => std::thread::yield_now(),
        }
        self.link.disarm();
        if look {
            match self.link.answer_bell() {
                Err(Error::Gone) => self.gone = true,
                other => other?,
            }
        }
        Ok(())
    }
}

impl AsFd for Client {
    /// The socket; see [`Client::arm`].
    ///
    /// # Panics
    /// For an end without a socket, which only tests make.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.socket().expect("a client has a socket")
    }
}

/// Takes an inherited descriptor over.
#[allow(unsafe_code)]
fn inherited(number: i32) -> Result<UnixStream, Error> {
    // SAFETY: borrowed only for the call, which fails for a number that is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::net::sockopt::socket_domain(fd)? != rustix::net::AddressFamily::UNIX {
        return Err(Fault::Layout("KERN_RING_FD names no Unix socket").into());
    }
    // SAFETY: whoever set the variable gave the descriptor to us; it is open, as just seen.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(UnixStream::from(fd))
}
