//! What does a core know of a stream?
//!
//! Invariants: `queued` counts the bytes of `pieces`; at most one batch is with the driver
//! (`sending`); a stream leaves the table only at the end of a turn, through `doomed`.

use std::io;

use kern_terms::Key;

use crate::dial::Dial;
use crate::driver::{Batch, Piece};
use crate::event::Watermarks;
use crate::limits::{SEND_BUFFER_KEPT_BYTES, SEND_BUFFERS_KEPT};
use crate::ring::Ring;
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
    pub(crate) pieces: Vec<Piece>,
    pub(crate) queued: usize,
    pub(crate) in_flight: usize,
    pub(crate) sending: bool,
    pub(crate) watermarks: Watermarks,
    /// Above the high mark since the last `Drained`.
    pub(crate) above: bool,
    pub(crate) receiving: bool,
    pub(crate) read_ended: bool,
    pub(crate) finish: Finish,
    pub(crate) broken: Option<io::Error>,
    pub(crate) timer: Option<Key>,
    pub(crate) dial: Option<Box<Dial>>,
    pub(crate) tls: Option<Box<Tls>>,
    pub(crate) ring: Option<Box<Ring>>,
    /// In the core's list of streams to flush.
    pub(crate) dirty: bool,
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
            ring: None,
            dirty: false,
            accepted: false,
        }
    }

    /// Whether what the app queues can still leave.
    pub(crate) fn takes(&self) -> bool {
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

    /// Whether something happens as soon as the batch in flight has left: the sending direction ends,
    /// the app hears of room in the queue, or more is sent.
    pub(crate) fn awaits_sent(&self) -> bool {
        self.phase != Phase::Open
            || self.finish == Finish::Asked
            || self.above
            || !self.pieces.is_empty()
            || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
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
    pub(crate) lists: Vec<Vec<Piece>>,
}

impl SendPool {
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// A batch of one buffer.
    pub(crate) fn batch(&mut self, bytes: Vec<u8>) -> Batch {
        let mut pieces = self.lists.pop().unwrap_or_default();
        pieces.push(Piece::Owned(bytes));
        Batch { pieces }
    }

    pub(crate) fn recycle(&mut self, batch: Batch) {
        let mut pieces = batch.pieces;
        for piece in pieces.drain(..) {
            if let Piece::Owned(mut bytes) = piece
                && (1..=SEND_BUFFER_KEPT_BYTES).contains(&bytes.capacity())
                && self.buffers.len() < SEND_BUFFERS_KEPT
            {
                bytes.clear();
                self.buffers.push(bytes);
            }
        }
        if pieces.capacity() > 0 && self.lists.len() < SEND_BUFFERS_KEPT {
            self.lists.push(pieces);
        }
    }
}
