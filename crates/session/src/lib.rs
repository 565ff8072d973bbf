//! Who speaks, and in which revision.
//!
//! A client of the old era has a [`Session`]: it said once what it can do, and later messages only
//! name the session. A client of the new era says everything in each request and has none. A call
//! whose server asks the client something, in the way of the old era, is parked ([`Park`]) until
//! such a client comes back; what it brings back is sealed ([`Sealer`]).
//!
//! What a conversation can be in is written as state machines, each with every state and every
//! event: [`life`] (sessions), [`call`], [`rounds`], [`Park`], [`stream`], [`listen`].
//!
//! Invariants: no upstream's name is known here; a session's state never serves another session;
//! the table of sessions is bounded and idle sessions end.

mod binding;
pub mod call;
pub mod life;
pub mod limits;
pub mod listen;
mod park;
mod replay;
pub mod rounds;
mod seal;
mod session;
mod small;
pub mod stream;
mod table;
mod tags;
mod token;

pub use binding::{Principal, binding, credential_of};
pub use park::{Asked, Effect, Event, Fault, Park, State};
pub use replay::{EventId, Replay};
pub use seal::{Sealer, Ticket, is_ours};
pub use session::{Level, Session};
pub use small::SmallBytes;
pub use table::{Full, Sessions};
pub use tags::{TAG_TEXT_BYTES, Tagger};
pub use token::Token;
