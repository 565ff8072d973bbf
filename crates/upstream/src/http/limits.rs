//! How much may one link to an HTTP server hold, and for how long?
//!
//! The sum: `connections_max` pooled connections and as many streams, each with at most one head
//! (16 KiB) and one answer or event (`body_bytes_max`; `parts_from_bytes` where it is handed on as it
//! comes) in memory, and `queue_max` waiting requests. Connections whose reading is stopped do not
//! count: their owner bounds them.

use std::time::Duration;

/// Bytes kept of the body of a refusal (status 300 and above); the rest is read and dropped.
pub const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Bytes kept of a `WWW-Authenticate` value.
pub const CHALLENGE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a session id that is believed; a longer or malformed one counts as absent.
pub const SESSION_ID_BYTES_MAX: usize = 1024;

/// Buffers kept for later requests, and the most bytes each may have grown to.
pub const SPARE_BUFFERS_MAX: usize = 16;
/// See [`SPARE_BUFFERS_MAX`].
pub const SPARE_BYTES_MAX: usize = 64 * 1024;

/// The limits of one link, for one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Connections for requests; the same number again may be open for streams.
    pub connections_max: usize,
    /// Requests that wait although every connection allowed is in use.
    pub queue_max: usize,
    /// Bytes of one answer, or of one event of a stream, that is held.
    pub body_bytes_max: usize,
    /// An answer that may be handed on in pieces is, once it has more bytes than this.
    pub parts_from_bytes: usize,
    /// Bytes of one answer that is handed on in pieces.
    pub parts_bytes_max: usize,
    /// An idle connection is closed after this. Common servers close theirs after 5 s, and who
    /// closes first knows that no request is lost.
    pub idle_close: Duration,
}

impl LinkLimits {
    /// What a link has unless configured otherwise.
    pub const DEFAULT: Self = Self {
        connections_max: 64,
        queue_max: 1024,
        body_bytes_max: 64 * 1024 * 1024,
        parts_from_bytes: 256 * 1024,
        parts_bytes_max: 64 * 1024 * 1024,
        idle_close: Duration::from_secs(4),
    };
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
