//! Bytes to frame to message and back, in five protocol revisions.

pub mod encode;
pub mod envelope;
pub mod era;
pub mod errors;
pub mod headers;
pub mod json;
pub mod limits;
pub mod method;
pub mod names;
pub mod rewrite;
pub mod tasks;

pub use envelope::{Envelope, Kind, ScanError, ScanLimits, scan};
pub use json::Span;
pub use method::Method;
pub use rewrite::Splice;

pub mod growing;
pub mod http;
pub mod lines;
pub mod outline;
pub mod sse;
