//! What must change in a plain message when its two sides speak different eras?
//!
//! Pure functions: they add edits to a [`Splice`](crate::rewrite::Splice) and keep no state. Only plain
//! messages, one in and one out; conversations that change shape (handshake, parked calls,
//! subscriptions) are the session's. Each file has a table of what it rewrites; what is not in a table
//! passes byte for byte.

pub mod capabilities;
pub mod error;
pub mod request;
pub mod result;
pub mod rounds;
pub mod task;
