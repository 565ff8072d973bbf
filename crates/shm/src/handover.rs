//! How do the memories get from host to guest?
//!
//! The host sends one message of 16 bytes with two descriptors: its own memory, which the guest only
//! reads, and the guest's, which the guest writes. Invariants: what the host maps of the guest's
//! memory is read-only; both are sealed before they leave.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::error::{Error, Fault};
use crate::layout::{HANDOVER_BYTES, MAGIC, Sizes, VERSION};
use crate::limits::HANDOVER_TIMEOUT;
use crate::memory::Memory;

/// The role in the header of the host's memory.
pub(crate) const HOST: u32 = 0;
/// The role in the header of the guest's memory.
pub(crate) const GUEST: u32 = 1;

/// The memory that we write.
pub(crate) fn make_own(sizes: Sizes) -> Result<(Memory, OwnedFd), Error> {
    let fd = Memory::create("kern-ring-host", sizes, HOST)?;
    let memory = Memory::map(fd.as_fd(), sizes.total_bytes(), true)?;
    Memory::seal(&fd, true)?;
    Ok((memory, fd))
}

/// The memory that the guest writes.
pub(crate) fn make_peers(sizes: Sizes) -> Result<(Memory, OwnedFd), Error> {
    let fd = Memory::create("kern-ring-guest", sizes, GUEST)?;
    Memory::seal(&fd, false)?;
    Ok((Memory::map(fd.as_fd(), sizes.total_bytes(), false)?, fd))
}

/// Sends both descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, fds: [BorrowedFd<'_>; 2]) -> Result<(), Error> {
    let mut bytes = [0; HANDOVER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "there is space for two");
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, flags)?;
    if sent == HANDOVER_BYTES { Ok(()) } else { Err(Error::Gone) }
}

/// Receives both descriptors.
pub(crate) fn receive(socket: &UnixStream) -> Result<[OwnedFd; 2], Error> {
    wait_readable(socket)?;
    let mut bytes = [0; HANDOVER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    if received.bytes == 0 {
        return Err(Error::Gone);
    }
    let fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let greeted = received.bytes == HANDOVER_BYTES && bytes[..8] == MAGIC;
    if !greeted || bytes[8..12] != VERSION.to_le_bytes() {
        return Err(Fault::Layout("the other side hands over no ring of this version").into());
    }
    fds.try_into().map_err(|_| Fault::Layout("not two memories").into())
}

fn wait_readable(socket: &UnixStream) -> Result<(), Error> {
    let until = Instant::now() + HANDOVER_TIMEOUT;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a few seconds");
        let mut polled = [PollFd::new(socket, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&left)) {
            Ok(0) => return Err(Error::TimedOut),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
