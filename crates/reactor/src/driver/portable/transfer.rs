//! How does readiness become received chunks and sent batches?
//!
//! Invariant: reading goes on until the system says there is no more (or has said so by a short
//! read), because only then will it say again that there is some.

use std::io::{self, IoSlice};
use std::rc::Rc;

use kern_terms::Key;

use super::platform::Wire;
use crate::driver::chunks::Chunks;
use crate::driver::{Batch, Completion};
use crate::limits::RECEIVE_PER_TURN_BYTES;

/// Pieces handed to one system call; what the system takes at least (`IOV_MAX`) is 16, what all
/// known ones take is 1024.
const SLICES_MAX: usize = 64;

/// A stream and where it stands.
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) wire: Wire,
    connecting: bool,
    /// The connection failed and this was reported.
    failed: bool,
    receiving: bool,
    /// The system may have bytes, or an end, to read.
    readable: bool,
    /// The system said that the peer's end is near: read up to it.
    ending: bool,
    /// `ReadEnded` was reported.
    ended: bool,
    /// In the driver's `ready` queue.
    queued: bool,
    sending: Option<Sending>,
}

/// A batch on its way.
struct Sending {
    batch: Batch,
    /// Pieces sent whole.
    piece: usize,
    /// Bytes sent of the next piece.
    offset: usize,
}

impl Stream {
    pub(super) fn new(key: Key, wire: Wire, connecting: bool) -> Self {
        Self {
            key,
            wire,
            connecting,
            failed: false,
            receiving: true,
            readable: false,
            ending: false,
            ended: false,
            queued: false,
            sending: None,
        }
    }

    /// Takes in what an event says; writes what now can be written.
    pub(super) fn note(&mut self, event: &mio::event::Event, completions: &mut Vec<Completion>) {
        let closed = event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || closed;
        self.ending |= closed;
        if !(event.is_writable() || event.is_write_closed() || event.is_error()) {
            return;
        }
        if self.connecting {
            self.conclude_connect(completions);
        }
        if !self.connecting {
            self.resume(completions);
        }
    }

    fn conclude_connect(&mut self, completions: &mut Vec<Completion>) {
        let result = match self.wire.connected() {
            Ok(false) => return,
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        self.failed = result.is_err();
        self.connecting = false;
        completions.push(Completion::Connected { stream: self.key, result });
    }

    /// Whether the driver must forget the stream.
    pub(super) fn forgotten(&self) -> bool {
        self.failed
    }

    /// Whether there is something to read now; true at most once until [`Stream::receive`].
    pub(super) fn wants_turn(&mut self) -> bool {
        let wants = self.receiving && self.readable && !self.ended && !self.connecting;
        wants && !std::mem::replace(&mut self.queued, true)
    }

    /// Switches receiving; true if that changed it.
    pub(super) fn switch(&mut self, on: bool) -> bool {
        std::mem::replace(&mut self.receiving, on) != on
    }

    /// Reads this turn's share.
    pub(super) fn receive(&mut self, chunks: &Rc<Chunks>, completions: &mut Vec<Completion>) {
        self.queued = false;
        let mut left = RECEIVE_PER_TURN_BYTES;
        while self.receiving && self.readable && !self.ended && left > 0 {
            let mut bytes = chunks.take();
            let room = bytes.capacity();
            match self.wire.read(&mut bytes) {
                Ok(0) => {
                    chunks.give_back(bytes);
                    return self.end(Ok(()), completions);
                }
                Ok(count) => {
                    if count < room && !self.ending && self.wire.short_read_means_empty() {
                        self.readable = false;
                    }
                    left = left.saturating_sub(count);
                    let chunk = Chunks::chunk(chunks, bytes);
                    completions.push(Completion::Received { stream: self.key, chunk });
                }
                Err(error) => {
                    chunks.give_back(bytes);
                    match error.kind() {
                        io::ErrorKind::WouldBlock => self.readable = false,
                        io::ErrorKind::Interrupted => {}
                        _ => return self.end(Err(error), completions),
                    }
                }
            }
        }
    }

    fn end(&mut self, result: io::Result<()>, completions: &mut Vec<Completion>) {
        self.ended = true;
        self.readable = false;
        completions.push(Completion::ReadEnded { stream: self.key, result });
    }

    /// Takes a batch and writes what can be written at once.
    pub(super) fn send(&mut self, batch: Batch) -> Option<(Batch, io::Result<()>)> {
        debug_assert!(self.sending.is_none(), "one batch at a time");
        let mut sending = Sending { batch, piece: 0, offset: 0 };
        if !self.connecting {
            match sending.write(&mut self.wire) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Some((sending.batch, result)),
            }
        }
        self.sending = Some(sending);
        None
    }

    fn resume(&mut self, completions: &mut Vec<Completion>) {
        let Some(mut sending) = self.sending.take() else { return };
        match sending.write(&mut self.wire) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.sending = Some(sending);
            }
            result => {
                let batch = sending.batch;
                completions.push(Completion::Sent { stream: self.key, batch, result });
            }
        }
    }
}

impl Sending {
    /// Writes until everything left, or an error: `WouldBlock` keeps the place.
    fn write(&mut self, wire: &mut Wire) -> io::Result<()> {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            let mut offset = self.offset;
            for piece in self.batch.pieces[self.piece..].iter().take(SLICES_MAX) {
                slices[count] = IoSlice::new(&piece.as_slice()[offset..]);
                offset = 0;
                count += 1;
            }
            if count == 0 {
                return Ok(());
            }
            if slices[..count].iter().all(|slice| slice.is_empty()) {
                self.piece += count;
                self.offset = 0;
                continue;
            }
            match wire.write(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.batch.pieces.get(self.piece) {
            let left = piece.as_slice().len() - self.offset;
            if written < left {
                self.offset += written;
                return;
            }
            written -= left;
            self.piece += 1;
            self.offset = 0;
        }
        debug_assert_eq!(written, 0, "the system wrote what it was given");
    }
}
