//! Who speaks, and in which revision.
//!
//! A client of the old era has a [`Session`]: it said once what it can do, and later messages only
//! name the session. A client of the new era says everything in each request and has none.
//!
//! Invariants: no upstream's name is known here; a session's state never serves another session;
//! the table of sessions is bounded and idle sessions end.

pub mod limits;
mod replay;
pub mod rounds;
mod session;
mod table;
mod tags;
mod token;

pub use replay::{EventId, Replay};
pub use session::{Level, Session};
pub use table::{Full, Sessions};
pub use tags::{TAG_TEXT_BYTES, Tagger};
pub use token::Token;
