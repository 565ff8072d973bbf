//! How does a stream run through shared memory instead of its socket?
//!
//! A ring stream is a Unix socket to the driver: bytes on it mean "look", its end is the peer's end.
//! To the app it is a stream of lines: each message of the ring comes out as one line, and each line
//! queued leaves as one message. (A line break inside a message becomes a space: between JSON's
//! tokens they mean the same, and inside them there is none.)
//!
//! Invariants: after a turn a ring that has something to do is in `rings_due`, or its peer was told
//! that we sleep, or we wait for the app to receive again; one look takes a bounded number of bytes; what
//! the peer lies about ends its stream and nothing else.

#[cfg_attr(not(target_os = "linux"), path = "none.rs")]
mod wire;

use std::io;

use kern_terms::Key;

use crate::driver::chunks::Chunks;
use crate::driver::{Batch, Socket};
use crate::event::{Chunk, Closed, Command, Event};
use crate::io::{Child, Io};
use crate::limits::{CHUNK_BYTES, RECEIVE_PER_TURN_BYTES, RINGS_MAX};
use crate::stream::{Finish, Kind, Phase, Stream};
use wire::Wire;

/// A stream's ring.
pub(crate) struct Ring {
    wire: Wire,
    /// Bytes of the first queued piece that are in the ring already.
    offset: usize,
    /// There was no room for all that is queued.
    stuck: bool,
    /// The socket ended: the peer is gone, what it sent is not.
    cut: bool,
    /// In `rings_due`.
    due: bool,
    /// In `rings_awake`.
    awake: bool,
}

impl<P: Send + 'static> Io<P> {
    /// Starts a child whose messages go through a ring: its stdin is the ring's socket, its stdout
    /// and stderr together are `errors`. `pipes` of the result is the ring.
    ///
    /// # Errors
    /// The system's; `Unsupported` where there are no rings (they need Linux).
    pub fn spawn_ring(&mut self, command: &Command) -> io::Result<Child> {
        let (ours, theirs) = wire::pair()?;
        let pipes = self.open_ring(ours)?;
        let errors = self.streams.insert(Stream::new(Kind::ReadOnly, Phase::Open));
        let child = self.children.insert(0);
        match self.driver.spawn_on(child, errors, theirs, command) {
            Ok(pid) => Ok(Child { child, pipes, errors, pid }),
            Err(error) => {
                self.doom(pipes);
                self.streams.remove(errors);
                self.children.remove(child);
                Err(error)
            }
        }
    }

    /// Makes a ring for whoever is at the other end of `socket`.
    pub(crate) fn open_ring(&mut self, socket: Socket) -> io::Result<Key> {
        if self.rings >= RINGS_MAX {
            return Err(io::Error::other(format!("there are {RINGS_MAX} rings already")));
        }
        let wire = Wire::host(&socket)?;
        let mut stream = Stream::new(Kind::Socket, Phase::Open);
        let ring = Ring { wire, offset: 0, stuck: false, cut: false, due: false, awake: false };
        stream.ring = Some(Box::new(ring));
        let key = self.streams.insert(stream);
        if let Err(error) = self.driver.adopt(key, socket) {
            self.streams.remove(key);
            return Err(error);
        }
        self.rings += 1;
        self.ring_due(key);
        Ok(key)
    }

    /// Has the ring looked at in the next turn, which starts without sleeping.
    pub(crate) fn ring_due(&mut self, key: Key) {
        if let Some(ring) = self.streams.get_mut(key).and_then(|stream| stream.ring.as_mut())
            && !std::mem::replace(&mut ring.due, true)
        {
            self.rings_due.push(key);
        }
    }

    /// The socket ended. What is in the ring still comes out; nothing goes in any more.
    pub(crate) fn ring_cut(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Some(ring) = &mut stream.ring else { return };
        ring.cut = true;
        ring.stuck = false;
        self.pool.recycle(Batch { pieces: std::mem::take(&mut stream.pieces) });
        stream.queued = 0;
        stream.finish = Finish::Done;
        self.drained_below(key);
        self.ring_look(key);
    }

    /// Takes this turn's share of what the peer sent, sends what waits for room, and says that we
    /// sleep, if so.
    pub(crate) fn ring_look(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Some(ring) = &mut stream.ring else { return };
        ring.due = false;
        if !matches!(stream.phase, Phase::Open | Phase::Lingering) {
            return;
        }
        match self.ring_take(key) {
            Ok(true) => return self.ring_due(key),
            Ok(false) => {}
            Err(error) => return self.fail(key, Closed::Broken(error)),
        }
        let stuck = |stream: &Stream| stream.ring.as_ref().is_some_and(|ring| ring.stuck);
        if self.streams.get(key).is_some_and(stuck) {
            self.ring_flush(key);
        }
        self.ring_awake(key);
    }

    /// Has the ring say that it sleeps when the turn ends: until then its peer need not wake us.
    fn ring_awake(&mut self, key: Key) {
        if let Some(ring) = self.streams.get_mut(key).and_then(|stream| stream.ring.as_mut())
            && !std::mem::replace(&mut ring.awake, true)
        {
            self.rings_awake.push(key);
        }
    }

    /// The turn ends: no ring is looked at before its peer, or the app, asks for it.
    pub(crate) fn rings_sleep(&mut self) {
        let mut awake = std::mem::take(&mut self.rings_awake);
        for key in awake.drain(..) {
            self.ring_sleep(key);
        }
        self.rings_awake = awake;
    }

    /// Takes what the peer sent; true if there is more.
    fn ring_take(&mut self, key: Key) -> io::Result<bool> {
        let mut left = RECEIVE_PER_TURN_BYTES;
        loop {
            let Some(stream) = self.streams.get_mut(key) else { return Ok(false) };
            let Some(ring) = &mut stream.ring else { return Ok(false) };
            let open = stream.phase == Phase::Open;
            if stream.read_ended || (open && !stream.receiving) {
                return Ok(false);
            }
            let mut bytes = self.chunks.take();
            let more = ring.wire.take(&mut bytes, CHUNK_BYTES)?;
            let (count, ended) = (bytes.len(), !more && (ring.cut || ring.wire.is_over()?));
            if !bytes.is_empty() && open {
                self.stats.received_bytes += count as u64;
                // One that grew is not kept: see `CHUNKS_KEPT`.
                let chunk = match bytes.capacity() > 2 * CHUNK_BYTES {
                    true => Chunk::from_vec(bytes),
                    false => Chunks::chunk(&self.chunks, bytes),
                };
                self.emit(Event::Received { stream: key, chunk });
            } else {
                self.chunks.give_back(bytes);
            }
            if ended {
                self.read_ended(key, Ok(()));
            }
            left = left.saturating_sub(count);
            if !more || left == 0 {
                return Ok(more);
            }
        }
    }

    /// Puts what is queued into the ring.
    pub(crate) fn ring_flush(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Some(ring) = &mut stream.ring else { return };
        let mut whole = 0;
        let mut failed = None;
        while let Some(piece) = stream.pieces.get(whole) {
            let bytes = piece.as_slice();
            match ring.wire.put(&bytes[ring.offset..]) {
                Ok(put) => {
                    self.stats.sent_bytes += put as u64;
                    stream.queued -= put;
                    ring.offset += put;
                }
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || ring.offset < bytes.len() {
                break;
            }
            ring.offset = 0;
            whole += 1;
        }
        ring.wire.tell();
        let rest = stream.pieces.split_off(whole);
        ring.stuck = !rest.is_empty();
        let pieces = std::mem::replace(&mut stream.pieces, rest);
        self.pool.recycle(Batch { pieces });
        if let Some(error) = failed {
            return self.fail(key, Closed::Broken(error));
        }
        self.drained_below(key);
        match self.streams.get(key) {
            Some(stream) if stream.pieces.is_empty() => self.emptied(key),
            _ => self.ring_awake(key),
        }
    }

    /// Tells the peer that we send no more.
    pub(crate) fn ring_finish(&mut self, key: Key) {
        let ring = self.streams.get_mut(key).and_then(|stream| stream.ring.as_mut());
        if let Some(ring) = ring {
            ring.wire.finish();
        }
    }

    /// Says that we sleep, unless there is something to do after all.
    fn ring_sleep(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Some(ring) = &mut stream.ring else { return };
        ring.awake = false;
        let takes = stream.receiving || stream.phase == Phase::Lingering;
        let data = takes && !stream.read_ended;
        if ring.cut || ring.due || !(data || ring.stuck) {
            return;
        }
        if !ring.wire.sleep(data, ring.stuck) {
            self.ring_due(key);
        }
    }
}
