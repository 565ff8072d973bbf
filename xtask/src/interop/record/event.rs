//! What a recorder sees, before it is understood.

use std::sync::{Arc, Mutex};

/// Header lines, as they were spelled.
pub(super) type Headers = Vec<(String, String)>;

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// One thing seen, in the order in which things were passed on.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Which request of HTTP it belongs to.
    pub(super) stream: usize,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// A line.
    Line(Side, String),
    /// A request of HTTP: its method, its headers and its body.
    Asked(String, Headers, String),
    /// The head of its answer.
    Head(u16, Headers),
    /// An event of its answer: what stands before its data, the data, and what ends it.
    Data(String, String, String),
    /// Its answer, where that is no stream.
    Body(String),
}

/// What one conversation over HTTP gave so far.
pub(super) type Log = Arc<Mutex<Vec<Event>>>;
