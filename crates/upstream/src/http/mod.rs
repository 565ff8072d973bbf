//! How do messages get to an MCP server behind a URL, and its answers back?
//!
//! [`HttpLink`] is a client to one server for one core: a pool of connections, exchanges on them,
//! answers as JSON or event stream. It knows no JSON-RPC: a message is bytes. It does no I/O: the
//! owner carries out what it asks of [`Wire`] and hands back what happens.
//!
//! Invariants: one exchange at a time on a connection; a request is sent a second time only when
//! the caller allowed it and a reused connection closed before any byte of the answer;
//! redirections are not followed; connections, queue and answers are bounded by [`LinkLimits`].

mod answer;
mod events;
mod happening;
pub mod limits;
mod link;
mod target;

pub use happening::{Body, Ended, Happening, LinkError};
pub use limits::LinkLimits;
pub use link::{HttpLink, Post, Wire};
pub use target::HttpTarget;
