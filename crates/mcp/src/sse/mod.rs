//! How do bytes of an event stream become events, and back? (WHATWG HTML, section 9.2)
//!
//! Invariants: what [`encode`] writes, [`Decoder`] reads back; no text given to `encode` can end
//! an event or begin a field.

mod decode;
pub mod encode;

pub use decode::{Decoder, Event, EventTooLarge, Part, Parts};
