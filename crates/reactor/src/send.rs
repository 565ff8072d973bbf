//! How does what an app queues reach the driver?
//!
//! Invariants: one batch a stream is with the driver at a time; a stream with something to send is in
//! the core's `dirty` list or has a batch under way.

use std::io;

use bytes::Bytes;
use kern_terms::Key;

use crate::driver::{Batch, Piece};
use crate::event::Event;
use crate::io::Io;
use crate::limits::SHARED_COPIED_BYTES;
use crate::stream::{Finish, Phase};

impl<P: Send + 'static> Io<P> {
    /// Appends to a stream's send queue.
    pub(crate) fn queue_with(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.takes()) else {
            return;
        };
        if !matches!(stream.pieces.last(), Some(Piece::Owned(_))) {
            if stream.pieces.capacity() == 0 {
                stream.pieces = self.pool.lists.pop().unwrap_or_default();
            }
            stream.pieces.push(Piece::Owned(self.pool.buffer()));
        }
        let Some(Piece::Owned(bytes)) = stream.pieces.last_mut() else {
            unreachable!("just pushed")
        };
        let before = bytes.len();
        write(bytes);
        debug_assert!(bytes.len() >= before, "queueing only appends");
        stream.queued += bytes.len().saturating_sub(before);
        stream.above |= stream.is_full();
        self.mark_dirty(key);
    }

    /// Appends shared bytes to a stream's send queue.
    pub(crate) fn queue_shared(&mut self, key: Key, bytes: Bytes) {
        if bytes.len() <= SHARED_COPIED_BYTES {
            return self.queue_with(key, |buffer| buffer.extend_from_slice(&bytes));
        }
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.takes()) else {
            return;
        };
        stream.queued += bytes.len();
        stream.pieces.push(Piece::Shared(bytes));
        stream.above |= stream.is_full();
        self.mark_dirty(key);
    }

    /// Has the stream flushed when the turn ends.
    pub(crate) fn mark_dirty(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && !std::mem::replace(&mut stream.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Hands queued bytes to the driver, one batch a stream.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.flush_stream(key);
        }
        // What flushing itself marked waits for the next turn.
        std::mem::swap(&mut dirty, &mut self.dirty);
        self.dirty.append(&mut dirty);
        self.rings_sleep();
    }

    fn flush_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.dirty = false;
        let ready = matches!(stream.phase, Phase::Handshaking | Phase::Open | Phase::Lingering);
        if !ready || !stream.wired || stream.sending {
            return;
        }
        if stream.ring.is_some() {
            return self.ring_flush(key);
        }
        if let Some(tls) = &mut stream.tls {
            let mut wire = self.pool.buffer();
            if stream.phase != Phase::Handshaking {
                let plain = std::mem::take(&mut stream.pieces);
                stream.queued = 0;
                tls.encrypt(&plain, stream.finish == Finish::Asked);
                self.pool.recycle(Batch { pieces: plain });
            }
            tls.write_wire(&mut wire);
            let batch = self.pool.batch(wire);
            if !batch.pieces[0].as_slice().is_empty() {
                return self.hand_over(key, batch);
            }
            self.pool.recycle(batch);
            if stream.phase == Phase::Handshaking {
                return;
            }
        }
        if stream.pieces.is_empty() {
            return self.emptied(key);
        }
        let batch = Batch { pieces: std::mem::take(&mut stream.pieces) };
        stream.queued = 0;
        self.hand_over(key, batch);
    }

    /// Tells the peer why TLS failed, if that can be sent at once.
    pub(crate) fn send_alert(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if let (Some(tls), false) = (&mut stream.tls, stream.sending) {
            let mut wire = self.pool.buffer();
            tls.write_wire(&mut wire);
            let batch = self.pool.batch(wire);
            self.hand_over(key, batch);
        }
    }

    fn hand_over(&mut self, key: Key, batch: Batch) {
        let bytes: usize = batch.pieces.iter().map(|piece| piece.as_slice().len()).sum();
        let stream = self.streams.get_mut(key).expect("the caller has the stream");
        stream.in_flight = bytes;
        stream.sending = true;
        let prompt = stream.awaits_sent();
        if let Some((batch, result)) = self.driver.send(key, batch, prompt) {
            self.sent(key, batch, result);
        }
    }

    /// The driver is done with a batch.
    pub(crate) fn sent(&mut self, key: Key, batch: Batch, result: io::Result<()>) {
        self.pool.recycle(batch);
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.sending = false;
        let bytes = std::mem::take(&mut stream.in_flight);
        match result {
            Ok(()) => {
                self.stats.sent_bytes += bytes as u64;
                self.after_sent(key);
            }
            Err(error) => self.sending_failed(key, error),
        }
    }

    fn after_sent(&mut self, key: Key) {
        self.drained_below(key);
        let Some(stream) = self.streams.get_mut(key) else { return };
        let more =
            !stream.pieces.is_empty() || stream.tls.as_ref().is_some_and(|t| t.wants_write());
        if more || (stream.finish == Finish::Asked && stream.tls.is_some()) {
            self.mark_dirty(key);
        } else {
            self.emptied(key);
        }
    }

    /// Tells the app if the queue has fallen below the low mark.
    pub(crate) fn drained_below(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.above && stream.queued_bytes() <= stream.watermarks.low_bytes {
            stream.above = false;
            if stream.phase == Phase::Open {
                self.emit(Event::Drained { stream: key });
            }
        }
    }

    /// Everything queued has left.
    pub(crate) fn emptied(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.finish == Finish::Asked && stream.phase != Phase::Handshaking {
            stream.finish = Finish::Done;
            match stream.ring {
                Some(_) => self.ring_finish(key),
                None => self.driver.finish(key),
            }
            self.after_finish(key);
        }
    }
}
