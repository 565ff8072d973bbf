//! What came of a request to an HTTP server?
//!
//! Invariant: an exchange gives at most one `Head`, then its messages, then exactly one `Ended`,
//! unless it was aborted; then nothing follows.

use std::fmt;
use std::ops::Range;

use kern_terms::Key;

/// What a link tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The answer's head came.
    Head {
        /// The exchange.
        exchange: Key,
        /// The caller's word for it.
        tag: u64,
        /// 200 to 599.
        status: u16,
        /// `Mcp-Session-Id`, if it is one the protocol allows.
        session_id: Option<Vec<u8>>,
        /// Messages will come one by one.
        event_stream: bool,
    },
    /// A message: a JSON answer as a whole, or one event.
    Message {
        /// The exchange.
        exchange: Key,
        /// The caller's word for it.
        tag: u64,
        /// The message. Empty for an event that only carries an id or a time to reconnect.
        body: Body,
        /// The event's name where it is not `message`.
        event: Option<String>,
        /// The event's id.
        id: Option<String>,
        /// The time after which to reconnect, in milliseconds.
        retry_ms: Option<u64>,
    },
    /// A piece of a message that is too large to be held; the pieces up to the last one are the
    /// message. Only where [`HttpLink::hand_parts`](super::HttpLink::hand_parts) allowed it.
    Part {
        /// The exchange.
        exchange: Key,
        /// The caller's word for it.
        tag: u64,
        /// The piece.
        body: Body,
        /// Nothing of this message follows; what is below is known now.
        last: bool,
        /// The event's id.
        id: Option<String>,
        /// The time after which to reconnect, in milliseconds.
        retry_ms: Option<u64>,
    },
    /// Nothing more comes of this exchange.
    Ended {
        /// The exchange; the key names nothing any more.
        exchange: Key,
        /// The caller's word for it.
        tag: u64,
        /// How it ended.
        how: Ended,
    },
}

/// The bytes of a message: where they came in, if they lie there whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A range of the chunk that was handed to [`HttpLink::received`](super::HttpLink::received).
    Here(Range<usize>),
    /// Joined from several chunks.
    Owned(Vec<u8>),
}

impl Body {
    /// The bytes; `chunk` is what was handed to the call that gave this.
    #[must_use]
    pub fn bytes<'a>(&'a self, chunk: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Here(range) => &chunk[range.clone()],
            Self::Owned(bytes) => bytes,
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 2xx, and the answer came whole (it may be empty).
    Complete {
        /// 200 to 299.
        status: u16,
    },
    /// The server said no. Redirections count: they are not followed, because the headers sent
    /// along would tell another server what only the configured one may know.
    Refused {
        /// 300 to 599.
        status: u16,
        /// The answer's body, cut at [`REFUSAL_BYTES_MAX`](super::limits::REFUSAL_BYTES_MAX).
        body: Vec<u8>,
        /// How to authenticate.
        www_authenticate: Option<String>,
        /// `Retry-After`, where it is given in seconds.
        retry_after_s: Option<u64>,
    },
    /// No whole answer came.
    Failed {
        /// Why, in words for an operator.
        why: String,
        /// The server may have seen the request, and acted.
        sent: bool,
    },
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Every connection is in use and the queue is full: this link's limits, a slow server's
    /// doing. Try again later.
    QueueFull,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("too many requests wait for this server"),
        }
    }
}

impl std::error::Error for LinkError {}
