//! The words all rooms share.
//!
//! What may enter: a value type that at least three rooms use. What may not: I/O, a clock, a trait
//! for others to implement.

mod ids;
mod revision;
mod slab;
mod time;

pub use ids::{CoreId, FlightId, Key};
pub use revision::{Era, Revision};
pub use slab::Slab;
pub use time::Instant;
