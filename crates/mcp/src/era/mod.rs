//! What must change in a plain message when its two sides speak different eras?
//!
//! Pure functions: they add edits to a [`Splice`](crate::rewrite::Splice) and keep no state. Only plain
//! messages and their parts; how a conversation that changes shape goes on (handshake, parked calls,
//! rounds, subscriptions) is the session's to say. Each file has a table of what it rewrites; what is
//! not in a table passes byte for byte.

pub mod capabilities;
pub mod error;
pub mod request;
pub mod result;
pub mod rounds;
pub mod task;
pub mod tool;
