//! What does a core know of a stream?
//!
//! Invariants: `queued` counts the bytes of `pieces`; at most one batch is with the driver
//! (`sending`); a stream leaves the table only at the end of a turn, through `doomed`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use kern_terms::{Instant, Key};

use crate::dial::Dial;
use crate::driver::{Batch, Piece};
use crate::event::{Closed, Event, Watermarks};
use crate::io::Io;
use crate::limits::{SEND_BUFFER_KEPT_BYTES, SEND_BUFFERS_KEPT, SHARED_COPIED_BYTES};
use crate::tls::Tls;

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A name is resolved or an address tried.
    Dialing,
    /// TLS is being agreed.
    Handshaking,
    /// The app uses it.
    Open,
    /// `Closed` is on its way to the app.
    Failing,
    /// The app closed it; what is queued still leaves.
    Lingering,
    /// Nothing happens any more; it is removed when the turn ends.
    Doomed,
}

/// What lies below a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A socket: closing needs care, see `FINISH_LINGER`.
    Socket,
    /// Pipes.
    Pipes,
    /// One pipe to read from.
    ReadOnly,
}

/// The end of the sending direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Not asked for.
    No,
    /// To come once all is sent.
    Asked,
    /// The driver was told, or sending failed.
    Done,
}

/// What a stream's own timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// This address or handshake took too long.
    Connect,
    /// Lingering ends.
    Linger,
    /// Broken for sending; see `BROKEN_LINGER`.
    Broken,
}

pub(crate) struct Stream {
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    /// The driver has it.
    pub(crate) wired: bool,
    pieces: Vec<Piece>,
    queued: usize,
    in_flight: usize,
    pub(crate) sending: bool,
    watermarks: Watermarks,
    /// Above the high mark since the last `Drained`.
    above: bool,
    pub(crate) receiving: bool,
    pub(crate) read_ended: bool,
    pub(crate) finish: Finish,
    pub(crate) broken: Option<io::Error>,
    pub(crate) timer: Option<Key>,
    pub(crate) dial: Option<Box<Dial>>,
    pub(crate) tls: Option<Box<Tls>>,
    /// In the core's list of streams to flush.
    dirty: bool,
    /// Counts in the lane's connections.
    pub(crate) accepted: bool,
}

impl Stream {
    pub(crate) fn new(kind: Kind, phase: Phase) -> Self {
        let finish = if kind == Kind::ReadOnly { Finish::Done } else { Finish::No };
        Self {
            phase,
            kind,
            wired: phase == Phase::Open,
            pieces: Vec::new(),
            queued: 0,
            in_flight: 0,
            sending: false,
            watermarks: Watermarks::default(),
            above: false,
            receiving: true,
            read_ended: false,
            finish,
            broken: None,
            timer: None,
            dial: None,
            tls: None,
            dirty: false,
            accepted: false,
        }
    }

    /// Whether what the app queues can still leave.
    fn takes(&self) -> bool {
        matches!(self.phase, Phase::Dialing | Phase::Handshaking | Phase::Open)
            && self.finish == Finish::No
            && self.broken.is_none()
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued + self.in_flight
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queued_bytes() > self.watermarks.high_bytes
    }

    pub(crate) fn set_watermarks(&mut self, watermarks: Watermarks) {
        self.watermarks = watermarks;
        self.above |= self.is_full();
    }
}

/// Memory for send queues.
#[derive(Default)]
pub(crate) struct SendPool {
    buffers: Vec<Vec<u8>>,
    lists: Vec<Vec<Piece>>,
}

impl SendPool {
    fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    fn recycle(&mut self, batch: Batch) {
        let mut pieces = batch.pieces;
        for piece in pieces.drain(..) {
            if let Piece::Owned(mut bytes) = piece
                && bytes.capacity() <= SEND_BUFFER_KEPT_BYTES
                && self.buffers.len() < SEND_BUFFERS_KEPT
            {
                bytes.clear();
                self.buffers.push(bytes);
            }
        }
        if self.lists.len() < SEND_BUFFERS_KEPT {
            self.lists.push(pieces);
        }
    }
}

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
    }

    fn flush_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.dirty = false;
        let ready = matches!(stream.phase, Phase::Handshaking | Phase::Open | Phase::Lingering);
        if !ready || !stream.wired || stream.sending {
            return;
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
            if !wire.is_empty() {
                return self.hand_over(key, Batch { pieces: vec![Piece::Owned(wire)] });
            }
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
            let mut wire = Vec::new();
            tls.write_wire(&mut wire);
            self.hand_over(key, Batch { pieces: vec![Piece::Owned(wire)] });
        }
    }

    fn hand_over(&mut self, key: Key, batch: Batch) {
        let bytes: usize = batch.pieces.iter().map(|piece| piece.as_slice().len()).sum();
        let stream = self.streams.get_mut(key).expect("the caller has the stream");
        stream.in_flight = bytes;
        stream.sending = true;
        if let Some((batch, result)) = self.driver.send(key, batch) {
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
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.above && stream.queued_bytes() <= stream.watermarks.low_bytes {
            stream.above = false;
            if stream.phase == Phase::Open {
                self.emit(Event::Drained { stream: key });
            }
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        let more =
            !stream.pieces.is_empty() || stream.tls.as_ref().is_some_and(|t| t.wants_write());
        if more || (stream.finish == Finish::Asked && stream.tls.is_some()) {
            self.mark_dirty(key);
        } else {
            self.emptied(key);
        }
    }

    /// Everything queued has left.
    fn emptied(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.finish == Finish::Asked && stream.phase != Phase::Handshaking {
            stream.finish = Finish::Done;
            self.driver.finish(key);
            self.after_finish(key);
        }
    }

    /// The sending direction has ended; so may the stream.
    fn after_finish(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.phase {
            Phase::Lingering if stream.read_ended || stream.kind != Kind::Socket => self.doom(key),
            Phase::Lingering => {
                let soonest = self.now + crate::limits::FINISH_LINGER;
                self.stream_deadline(key, Deadline::Linger, soonest, true);
            }
            Phase::Open if stream.read_ended => self.fail(key, Closed::Orderly),
            _ => {}
        }
    }

    fn sending_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        self.pool.recycle(Batch { pieces: std::mem::take(&mut stream.pieces) });
        stream.queued = 0;
        stream.finish = Finish::Done;
        match stream.phase {
            Phase::Lingering => self.doom(key),
            Phase::Handshaking => self.fail(key, Closed::Refused(error)),
            Phase::Open if stream.read_ended || !stream.receiving => {
                self.fail(key, Closed::Broken(error));
            }
            Phase::Open => {
                stream.broken = Some(error);
                let until = self.now + crate::limits::BROKEN_LINGER;
                self.stream_deadline(key, Deadline::Broken, until, false);
            }
            _ => {}
        }
    }

    /// Reading ended, in order or not.
    pub(crate) fn read_ended(&mut self, key: Key, result: io::Result<()>) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if std::mem::replace(&mut stream.read_ended, true) {
            // TLS ended before the connection did.
            return;
        }
        let broken = stream.broken.take();
        match (stream.phase, result) {
            (Phase::Lingering, Ok(())) if stream.finish != Finish::Done => {}
            (Phase::Lingering, _) => self.doom(key),
            (Phase::Handshaking, Ok(())) => {
                self.fail(key, Closed::Tls("the peer closed the connection".into()));
            }
            (Phase::Handshaking, Err(error)) => self.fail(key, Closed::Refused(error)),
            (Phase::Open, Err(error)) => self.fail(key, Closed::Broken(broken.unwrap_or(error))),
            (Phase::Open, Ok(())) => {
                let finished = stream.finish == Finish::Done;
                self.emit(Event::Finished { stream: key });
                match broken {
                    Some(error) => self.fail(key, Closed::Broken(error)),
                    None if finished => self.fail(key, Closed::Orderly),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// The stream is gone: the app will be told.
    pub(crate) fn fail(&mut self, key: Key, why: Closed) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if matches!(stream.phase, Phase::Failing | Phase::Doomed) {
            return;
        }
        stream.phase = Phase::Failing;
        self.emit(Event::Closed { stream: key, why });
    }

    /// Has the stream removed when the turn ends.
    pub(crate) fn doom(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.phase == Phase::Doomed {
            return;
        }
        stream.phase = Phase::Doomed;
        if let Some(timer) = stream.timer.take() {
            self.timers.remove(timer);
        }
        self.doomed.push(key);
    }

    /// Removes what was doomed in this turn.
    pub(crate) fn destroy_doomed(&mut self) {
        let mut doomed = std::mem::take(&mut self.doomed);
        for key in doomed.drain(..) {
            let Some(stream) = self.streams.remove(key) else { continue };
            if stream.wired {
                self.driver.close(key);
            }
            if stream.accepted {
                self.lane.connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            }
            self.pool.recycle(Batch { pieces: stream.pieces });
        }
        self.doomed = doomed;
    }

    /// Notes that the sending direction shall end; false where it cannot.
    pub(crate) fn ask_finish(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.takes()) else {
            return false;
        };
        stream.finish = Finish::Asked;
        true
    }

    /// See [`Io::close`].
    pub(crate) fn begin_close(&mut self, key: Key, linger: Duration) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.phase {
            Phase::Lingering | Phase::Doomed => return,
            Phase::Open if stream.broken.is_none() => {}
            // Nothing was ever sent, or nothing can be.
            _ => return self.doom(key),
        }
        if stream.finish == Finish::Done && stream.read_ended {
            return self.doom(key);
        }
        stream.phase = Phase::Lingering;
        let finished = stream.finish == Finish::Done;
        if !finished {
            stream.finish = Finish::Asked;
        }
        // Input is discarded, so that the peer's end is seen; see `FINISH_LINGER`.
        if !stream.receiving {
            self.driver.receive(key, true);
        }
        self.stream_deadline(key, Deadline::Linger, self.now + linger, false);
        if finished {
            self.after_finish(key);
        } else {
            self.mark_dirty(key);
        }
    }

    /// Sets the stream's own timer; `sooner` keeps an earlier one.
    pub(crate) fn stream_deadline(&mut self, key: Key, what: Deadline, at: Instant, sooner: bool) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if let Some(timer) = stream.timer.take() {
            let kept = self.timers.remove(timer);
            let earlier = kept.map(|due| due.at()).filter(|earlier| sooner && *earlier < at);
            return self.arm(key, what, earlier.unwrap_or(at));
        }
        self.arm(key, what, at);
    }

    fn arm(&mut self, key: Key, what: Deadline, at: Instant) {
        let due = crate::io::Due::Stream { stream: key, what, at };
        let timer = self.timers.insert(at, due);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.timer = Some(timer);
        }
    }
}
