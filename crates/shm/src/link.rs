//! Both directions between two sides: what may be called without ever waiting.
//!
//! Invariant: what was put is seen by the peer after [`Link::tell`] at the latest, and a peer that
//! sleeps is woken by it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use rustix::net::{RecvFlags, SendFlags};

use crate::error::{Error, Fault};
use crate::handover;
use crate::inbox::{Held, Inbox};
use crate::layout::{AT_BELL, AT_WAKE_BY, Sizes, WAKE_FUTEX, WAKE_NEVER, WAKE_SOCKET};
use crate::memory::{Memory, SharedWord};
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::wait::{self, WakeBy};
use crate::words::Word;

/// What became of a message that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// All of it is in the ring.
    Whole,
    /// This many bytes of it are; put the rest when there is room, before any other message.
    Part(usize),
}

/// What was taken from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Nothing is there now.
    Nothing,
    /// A piece of a message that goes on.
    Part,
    /// The last (or only) piece of a message.
    Whole,
}

/// One side's end of a pair of rings.
#[derive(Debug)]
pub struct Link {
    pace: Pace<SharedWord>,
    outbox: Outbox,
    inbox: Inbox,
    wake_by: SharedWord,
    peer_wake_by: SharedWord,
    bell: SharedWord,
    pub(crate) peer_bell: SharedWord,
    /// Rings at the peer, and ends when the peer ends.
    socket: Option<UnixStream>,
}

impl Link {
    /// Makes the memories and hands them to the guest at the other end of `socket`. The caller goes
    /// on owning its `socket`, on which bytes arrive that mean "look": their values mean nothing.
    ///
    /// # Errors
    /// The system's: no memory, no descriptors, a guest that is gone already.
    pub fn host(socket: &UnixStream, sizes: Sizes) -> Result<Self, Error> {
        let sizes = sizes.check()?;
        let doorbell = socket.try_clone()?;
        let (own, own_fd) = handover::make_own(sizes)?;
        let (peer, peer_fd) = handover::make_peers(sizes)?;
        let link = Self::new((own, sizes), (peer, sizes), Some(doorbell));
        link.set_wake_by(WakeBy::Socket);
        handover::send(socket.as_fd(), [own_fd.as_fd(), peer_fd.as_fd()])?;
        Ok(link)
    }

    /// Takes the memories that the host at the other end of `socket` hands over.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where it does not in time (see
    /// [`HANDOVER_TIMEOUT`](crate::limits::HANDOVER_TIMEOUT)), [`Error::Gone`], [`Error::Fault`]
    /// where what it hands over is no ring, or the system's.
    pub fn guest(socket: UnixStream) -> Result<Self, Error> {
        let [host_fd, own_fd] = handover::receive(&socket)?;
        let (peer, peer_sizes) = Memory::open(host_fd.as_fd(), handover::HOST, false)?;
        let (own, own_sizes) = Memory::open(own_fd.as_fd(), handover::GUEST, true)?;
        Ok(Self::new((own, own_sizes), (peer, peer_sizes), Some(socket)))
    }

    pub(crate) fn new(
        (own, own_sizes): (Memory, Sizes),
        (peer, peer_sizes): (Memory, Sizes),
        socket: Option<UnixStream>,
    ) -> Self {
        let rings = (own_sizes.ring_bytes, peer_sizes.ring_bytes);
        Self {
            pace: Pace::new(own.side(), peer.side(), rings.0, rings.1),
            outbox: Outbox::new(own.clone(), own_sizes, &peer),
            inbox: Inbox::new(peer.clone(), peer_sizes, &own),
            wake_by: own.word(AT_WAKE_BY),
            peer_wake_by: peer.word(AT_WAKE_BY),
            bell: own.word(AT_BELL),
            peer_bell: peer.word(AT_BELL),
            socket,
        }
    }

    /// Puts as much of `message` as there is room for. The peer hears of it by [`Link::tell`].
    ///
    /// # Errors
    /// What the peer lied about; the ring is of no use then.
    pub fn put(&mut self, message: &[u8]) -> Result<Put, Fault> {
        let put = self.outbox.put(&mut self.pace, message)?;
        Ok(put.map_or(Put::Whole, Put::Part))
    }

    /// Appends the next piece of a message to `out`.
    ///
    /// # Errors
    /// As [`Link::put`].
    pub fn take(&mut self, out: &mut Vec<u8>) -> Result<Take, Fault> {
        let take = self.inbox.take(&mut self.pace, out)?;
        if self.pace.owes_room() {
            self.tell();
        }
        Ok(take)
    }

    /// Takes the next record if it is a whole message in a slab, and leaves it there.
    pub(crate) fn hold(&mut self) -> Result<Option<Held>, Fault> {
        let held = self.inbox.hold(&mut self.pace)?;
        if self.pace.owes_room() {
            self.tell();
        }
        Ok(held)
    }

    /// See [`Inbox::held`].
    ///
    /// # Safety
    /// As there.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn held(&self, held: Held) -> &[u8] {
        // SAFETY: passed on to the caller.
        unsafe { self.inbox.held(held) }
    }

    pub(crate) fn give_back(&mut self, held: Held) {
        self.inbox.give_back(held);
    }

    /// Whether the peer said that it sends no more, and all it sent was taken.
    ///
    /// # Errors
    /// As [`Link::put`].
    pub fn is_over(&mut self) -> Result<bool, Fault> {
        self.pace.is_over()
    }

    /// Says that we send no more. The peer hears of it by [`Link::tell`].
    pub fn finish(&mut self) {
        self.pace.finish();
    }

    /// Tells the peer what was put and taken, and wakes it where it sleeps.
    pub fn tell(&mut self) {
        if self.pace.tell() {
            self.ring();
        }
    }

    /// Tells, then says that we sleep until the socket is readable (or the bell rings), waiting for
    /// `data` to take or `room` for what was only put in part. `false`: it is there, do not sleep.
    pub fn arm(&mut self, data: bool, room: bool) -> bool {
        self.tell();
        self.pace.fall_asleep(data, room)
    }

    /// Says that we are awake. Not needed for correctness; it spares the peer wakes.
    pub fn disarm(&self) {
        self.pace.awake();
    }

    /// Whether [`Link::arm`] would say that there is something to do.
    pub fn changed(&self, data: bool, room: bool) -> bool {
        self.pace.changed(data, room)
    }

    /// How the peer is to wake us.
    pub fn set_wake_by(&self, wake_by: WakeBy) {
        let value = match wake_by {
            WakeBy::Nothing => WAKE_NEVER,
            WakeBy::Socket => WAKE_SOCKET,
            WakeBy::Futex => WAKE_FUTEX,
        };
        self.wake_by.store(value, Ordering::Release);
    }

    /// Takes the bytes that mean "look" from the socket.
    ///
    /// # Errors
    /// [`Error::Gone`] where the peer has closed it.
    pub fn answer_bell(&self) -> Result<(), Error> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut bytes = [0; 64];
        loop {
            let flags = RecvFlags::DONTWAIT;
            match rustix::net::recv(socket, &mut bytes, flags) {
                Ok((_, 0)) => return Err(Error::Gone),
                Ok((_, read)) if read < bytes.len() => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::CONNRESET) => return Err(Error::Gone),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The socket: readable when the peer wants us to look, and at its end when the peer ended.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn ring(&self) {
        if self.peer_wake_by.load(Ordering::Relaxed) == WAKE_FUTEX {
            let rung = self.bell.load(Ordering::Relaxed).wrapping_add(1);
            self.bell.store(rung, Ordering::Release);
            return wait::futex_wake(&self.bell);
        }
        let Some(socket) = &self.socket else { return };
        // Full: it has enough to read. Broken: its end is seen by whoever reads.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let _ = rustix::net::send(socket, &[1], flags);
    }

    /// Ends the peer's sleep on the socket for good: it sees the end.
    ///
    /// # Errors
    /// The system's.
    pub fn shut(&self) -> io::Result<()> {
        match &self.socket {
            Some(socket) => socket.shutdown(std::net::Shutdown::Both),
            None => Ok(()),
        }
    }
}
