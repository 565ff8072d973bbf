//! How do bytes on a connection become HTTP/1.1 messages, and back?
//!
//! [`RequestDecoder`] reads what clients send, [`ResponseDecoder`] what upstream servers answer;
//! [`encode`] writes both ways. No sockets and no clock: bytes in, messages out.
//!
//! Invariants: whatever two HTTP readers might understand differently is refused (RFC 9112
//! section 11.2); every limit is in [`limits`]; a request that lies whole in the receive buffer
//! is read without an allocation and without copying its body.

mod body;
pub mod encode;
mod error;
mod head;
pub mod limits;
mod request;
mod response;
mod start_line;

pub use error::{HttpError, ResponseError};
pub use head::Headers;
pub use limits::HttpLimits;
pub use request::{Decoded, Request, RequestDecoder};
pub use response::{Piece, ResponseDecoder, ResponseHead};
pub use start_line::Method;
