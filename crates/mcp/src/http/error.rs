//! Why can a connection's bytes not be read as HTTP?
//!
//! Invariant: once a decoder has returned an error, the rest of that connection's input has no
//! agreed meaning. It is never read as another message (that is what request smuggling needs).

use std::fmt;

use super::body::BodyFault;
use super::head::HeadFault;

/// A request this layer refuses. The client's fault; the same bytes would be refused again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// The status to answer with: 400, 413, 414, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong, in a few fixed words that may be shown to the client.
    pub reason: &'static str,
    /// Whether the connection must be closed after the answer. True for all faults of framing.
    pub close: bool,
}

impl HttpError {
    /// A fault after which the connection must close.
    #[must_use]
    pub const fn closing(status: u16, reason: &'static str) -> Self {
        Self { status, reason, close: true }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status)
    }
}

impl std::error::Error for HttpError {}

impl From<HeadFault> for HttpError {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::StartLineTooLong => Self::closing(414, "request target too long"),
            HeadFault::TooLarge => Self::closing(431, "request head too large"),
            HeadFault::TooManyHeaders => Self::closing(431, "too many headers"),
            HeadFault::Malformed(reason) => Self::closing(400, reason),
        }
    }
}

impl From<BodyFault> for HttpError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::closing(413, "request body too large"),
            BodyFault::TrailersTooLong => Self::closing(431, "trailers too long"),
            BodyFault::Malformed(reason) => Self::closing(400, reason),
        }
    }
}

/// A response this layer refuses. The upstream's fault; the connection must be closed.
///
/// Whether the request may be sent again is the caller's to say: the upstream may have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The bytes are not an HTTP/1 response, or its framing is ambiguous. In fixed words: how.
    Malformed(&'static str),
    /// A head, body or trailer section larger than the limits. In fixed words: which.
    TooLarge(&'static str),
    /// The connection ended inside a response.
    Truncated,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(f, "malformed HTTP response: {reason}"),
            Self::TooLarge(what) => write!(f, "HTTP response too large: {what}"),
            Self::Truncated => f.write_str("connection closed inside an HTTP response"),
        }
    }
}

impl std::error::Error for ResponseError {}

impl From<HeadFault> for ResponseError {
    fn from(fault: HeadFault) -> Self {
        match fault {
            HeadFault::StartLineTooLong | HeadFault::TooLarge => Self::TooLarge("head"),
            HeadFault::TooManyHeaders => Self::TooLarge("too many headers"),
            HeadFault::Malformed(reason) => Self::Malformed(reason),
        }
    }
}

impl From<BodyFault> for ResponseError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::TooLarge("body"),
            BodyFault::TrailersTooLong => Self::TooLarge("trailers"),
            BodyFault::Malformed(reason) => Self::Malformed(reason),
        }
    }
}
