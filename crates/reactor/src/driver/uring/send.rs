//! How does a batch leave?
//!
//! One piece by `SEND` (or `WRITE` for pipes), several by `SENDMSG` (`WRITEV`), repeated until all of
//! it is gone.
//!
//! Where the core does not wait for the end, the first attempt at a socket takes what fits and
//! completes only if that was not all: so one system call can both send an answer and sleep until
//! the next request, where the completion of a send would end that sleep.
//!
//! Invariant: an [`Outgoing`] is boxed, owned by its stream and not touched from the moment an
//! operation that points into it is pushed until that operation completed.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed};

use super::limits::{PIECES_MAX, SEND_MAX_BYTES};
use super::ring::{File, on};
use crate::driver::Batch;

/// A batch on its way, and how far it is.
pub(super) struct Outgoing {
    batch: Batch,
    /// The first piece that has not left whole.
    piece: usize,
    /// Bytes of it that have left.
    offset: usize,
    vectors: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Outgoing {
    /// An empty record.
    pub(super) fn new() -> Box<Self> {
        // SAFETY: all fields of `msghdr` are integers and pointers, for which zero is a value.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Self {
            batch: Batch::default(),
            piece: 0,
            offset: 0,
            vectors: Vec::new(),
            message,
        })
    }

    /// Takes a batch in.
    pub(super) fn load(&mut self, batch: Batch) {
        self.batch = batch;
        self.piece = 0;
        self.offset = 0;
    }

    /// Gives the batch back.
    pub(super) fn unload(&mut self) -> Batch {
        self.vectors.clear();
        std::mem::take(&mut self.batch)
    }

    /// Notes that `sent` bytes left. `true`: that was all.
    pub(super) fn advance(&mut self, mut sent: usize) -> bool {
        while let Some(piece) = self.batch.pieces.get(self.piece) {
            let left = piece.as_slice().len() - self.offset;
            if sent < left {
                self.offset += sent;
                return false;
            }
            sent -= left;
            self.piece += 1;
            self.offset = 0;
        }
        assert!(sent == 0, "the kernel sends no more than it is given");
        true
    }

    /// The operation that sends what is left to `file`, or, to a socket, what of it fits `now`. Points
    /// into `self`.
    pub(super) fn operation(&mut self, file: File, socket: bool, now: bool) -> Entry {
        self.vectors.clear();
        let mut offset = self.offset;
        let mut room = SEND_MAX_BYTES;
        for piece in &self.batch.pieces[self.piece..] {
            let bytes = &piece.as_slice()[offset..];
            offset = 0;
            let len = bytes.len().min(room);
            if len == 0 {
                continue;
            }
            self.vectors
                .push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len });
            room -= len;
            if self.vectors.len() == PIECES_MAX || room == 0 {
                break;
            }
        }
        // `WAITALL` makes a short send a failed one, which completes also where success does not.
        let wait = if now { libc::MSG_DONTWAIT } else { 0 };
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL | wait;
        let vectors = &self.vectors;
        if let [only] = vectors.as_slice() {
            let (base, len) = (only.iov_base.cast_const().cast::<u8>(), only.iov_len as u32);
            return if socket {
                on!(file, |target| opcode::Send::new(target, base, len).flags(flags).build())
            } else {
                on!(file, |target| opcode::Write::new(target, base, len).offset(u64::MAX).build())
            };
        }
        if socket {
            self.message.msg_iov = vectors.as_ptr().cast_mut();
            self.message.msg_iovlen = vectors.len();
            let message = ptr::from_ref(&self.message);
            on!(file, |target| opcode::SendMsg::new(target, message).flags(flags as u32).build())
        } else {
            let (base, count) = (vectors.as_ptr(), vectors.len() as u32);
            on!(file, |target| opcode::Writev::new(target, base, count).offset(u64::MAX).build())
        }
    }
}

/// What became of a send.
pub(super) enum Progress {
    /// The batch has ended, well or not.
    Ended(io::Result<()>),
    /// Some is left; send again.
    More,
    /// The descriptor takes nothing now; wait until it does.
    Full,
}

/// Judges a completed send.
pub(super) fn judge(outgoing: &mut Outgoing, value: io::Result<usize>) -> Progress {
    match value {
        Ok(0) => Progress::Ended(Err(io::ErrorKind::WriteZero.into())),
        Ok(sent) if outgoing.advance(sent) => Progress::Ended(Ok(())),
        Ok(_) => Progress::More,
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR) => Progress::More,
            Some(libc::EAGAIN) => Progress::Full,
            _ => Progress::Ended(Err(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::driver::Piece;

    #[test]
    fn a_batch_sent_in_any_steps_ends_exactly_at_its_last_byte() {
        let sizes = [0, 3, 0, 5, 1, 0];
        let total: usize = sizes.iter().sum();
        for step in 1..=total {
            let mut outgoing = Outgoing::new();
            let pieces = sizes.map(|size| Piece::Shared(Bytes::from(vec![1; size])));
            outgoing.load(Batch { pieces: pieces.into() });
            let mut sent = 0;
            loop {
                outgoing.operation(File::Plain(0), true, false);
                let offered: usize = outgoing.vectors.iter().map(|vector| vector.iov_len).sum();
                assert_eq!(offered, total - sent);
                let now = step.min(total - sent);
                sent += now;
                if outgoing.advance(now) {
                    break;
                }
            }
            assert_eq!(sent, total);
            assert_eq!(outgoing.unload().pieces.len(), sizes.len());
        }
    }
}
