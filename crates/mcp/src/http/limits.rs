//! How much of one HTTP message may a peer make us hold?
//!
//! Invariant: every buffer the codec grows is bounded by a value here, and so is every scan.
//! The sum for one connection is [`HttpLimits::message_bytes_max`].

/// Bytes of one head: start line, header lines and the empty line that ends them.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The largest `head_bytes_max` that can be configured: header positions are kept as `u16`.
pub const HEAD_BYTES_CEILING: usize = u16::MAX as usize;

/// Header lines in one head. Also the ceiling of `headers_max`.
pub const HEADERS_MAX: usize = 100;

/// Bytes of a request target (RFC 9112 section 3 recommends to support at least 8,000).
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a request line beside its target: a method, two spaces, the version, the line end.
/// A longer method is nobody's method; the request is then answered as a target too long.
pub const REQUEST_LINE_REST_BYTES_MAX: usize = 64;

/// Bytes of one body, after chunk decoding. Event streams are not bounded in total.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of chunk extensions in one whole body. Nothing reads them; senders have no use for them.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;

/// Digits of one chunk size: more could overflow 64 bits.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of the trailer section of one chunked body. Trailers are checked and dropped.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Empty lines tolerated before a request line (RFC 9112 section 2.2 asks for at least one).
pub const LEADING_EMPTY_LINES_MAX: u8 = 2;

/// Interim (1xx) responses skipped before one final response.
pub const INTERIM_RESPONSES_MAX: u8 = 8;

/// A buffer that grew beyond this for one large message is given back before the next.
pub const BUFFER_KEEP_BYTES_MAX: usize = 64 * 1024;

/// The limits one decoder works under. All values in bytes except `headers_max`, a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// See [`HEAD_BYTES_MAX`]; values above [`HEAD_BYTES_CEILING`] count as that.
    pub head_bytes_max: usize,
    /// See [`HEADERS_MAX`]; values above it count as that.
    pub headers_max: usize,
    /// See [`TARGET_BYTES_MAX`].
    pub target_bytes_max: usize,
    /// See [`BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// See [`CHUNK_EXTENSION_BYTES_MAX`].
    pub chunk_extension_bytes_max: usize,
    /// See [`TRAILER_BYTES_MAX`].
    pub trailer_bytes_max: usize,
}

impl HttpLimits {
    /// The constants of this file.
    pub const DEFAULT: Self = Self {
        head_bytes_max: HEAD_BYTES_MAX,
        headers_max: HEADERS_MAX,
        target_bytes_max: TARGET_BYTES_MAX,
        body_bytes_max: BODY_BYTES_MAX,
        chunk_extension_bytes_max: CHUNK_EXTENSION_BYTES_MAX,
        trailer_bytes_max: TRAILER_BYTES_MAX,
    };

    /// The most bytes a receive buffer has to hold for one message to complete: a head and a
    /// body of known length. (A chunked body is taken out of the buffer as it comes.)
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.head_bytes_max() + self.body_bytes_max
    }

    pub(super) fn head_bytes_max(&self) -> usize {
        self.head_bytes_max.min(HEAD_BYTES_CEILING)
    }

    pub(super) fn headers_max(&self) -> usize {
        self.headers_max.min(HEADERS_MAX)
    }

    pub(super) fn request_line_bytes_max(&self) -> usize {
        self.target_bytes_max + REQUEST_LINE_REST_BYTES_MAX
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = assert!(HEAD_BYTES_MAX <= HEAD_BYTES_CEILING);
const _: () = assert!(
    TARGET_BYTES_MAX + REQUEST_LINE_REST_BYTES_MAX < HEAD_BYTES_MAX,
    "a target within its limit must fit into a head"
);
