//! What becomes of an event stream of a session whose connection comes and goes?
//!
//! Revisions 2025-03-26 to 2025-11-25 let a client that lost the connection of a stream (that of a
//! `GET`, or of a `POST` whose answer became one) ask for the rest (basic/transports, "Resumability
//! and Redelivery").
//!
//! Invariants: a message is written to one connection, or kept for one; nothing is said on a stream
//! that ended; a stream is forgotten once. The whole table is in `docs/states.md`.

use std::time::Duration;

use kern_terms::Instant;

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection has carried it yet.
    Opening {
        /// Since when.
        since: Instant,
    },
    /// A connection carries it.
    Carried,
    /// Its connection was lost, or closed for the client to ask for the rest.
    Cut {
        /// Since when.
        since: Instant,
    },
    /// Nothing more will be said; what was said is kept.
    Ended {
        /// Since when.
        since: Instant,
    },
    /// It is forgotten.
    Over,
}

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something is said on it.
    Said,
    /// A connection asks for it.
    Attached,
    /// The connection that carries it is gone, or is closed for the client to poll.
    Lost,
    /// Nothing more will be said.
    Finished,
    /// Time has passed; an ended stream is kept this long.
    Clock(Duration),
    /// There is no room for it, or its session is over.
    Dropped,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Nothing: there is no such stream any more, or not this way.
    Ignore,
    /// Write it to the connection, and keep it.
    Write,
    /// Keep it for the next connection.
    Keep,
    /// Write what was kept to the connection, which carries the stream from now on.
    Carry,
    /// The same, and end the connection that carried it before.
    Replace,
    /// Write what was kept to the connection, and end it.
    Replay,
    /// Tell the connection that there is no such stream.
    Unknown,
    /// Forget what was kept.
    Forget,
}

impl State {
    /// How long a stream counts as open after its connection was lost.
    pub const LOST_MOST: Duration = Duration::from_secs(60);

    /// Where it is after `event`, and what has to be done.
    pub fn step(self, now: Instant, event: Event) -> (Self, Effect) {
        use State::{Carried, Cut, Ended, Opening, Over};
        match (self, event) {
            (Carried, Event::Said) => (Carried, Effect::Write),
            (Opening { .. } | Cut { .. }, Event::Said) => (self, Effect::Keep),
            (Ended { .. } | Over, Event::Said) => (self, Effect::Ignore),

            (Opening { .. } | Cut { .. }, Event::Attached) => (Carried, Effect::Carry),
            (Carried, Event::Attached) => (Carried, Effect::Replace),
            (Ended { .. }, Event::Attached) => (self, Effect::Replay),
            (Over, Event::Attached) => (Over, Effect::Unknown),

            (Carried, Event::Lost) => (Cut { since: now }, Effect::Nothing),
            (Opening { .. } | Cut { .. } | Ended { .. } | Over, Event::Lost) => {
                (self, Effect::Ignore)
            }

            (Opening { .. } | Carried | Cut { .. }, Event::Finished) => {
                (Ended { since: now }, Effect::Nothing)
            }
            (Ended { .. } | Over, Event::Finished) => (self, Effect::Ignore),

            (Ended { since }, Event::Clock(most)) => match now.since(since) >= most {
                true => (Over, Effect::Forget),
                false => (self, Effect::Nothing),
            },
            (Opening { .. } | Carried | Cut { .. } | Over, Event::Clock(_)) => {
                (self, Effect::Nothing)
            }

            (Opening { .. } | Carried | Cut { .. } | Ended { .. }, Event::Dropped) => {
                (Over, Effect::Forget)
            }
            (Over, Event::Dropped) => (Over, Effect::Ignore),
        }
    }

    /// Whether messages that could go elsewhere go here: a connection carries it, or did so a moment
    /// ago.
    pub fn is_open(self, now: Instant) -> bool {
        match self {
            Self::Carried => true,
            Self::Opening { since } | Self::Cut { since } => now.since(since) < Self::LOST_MOST,
            Self::Ended { .. } | Self::Over => false,
        }
    }

    /// Whether more may be said on it.
    pub fn goes_on(self) -> bool {
        match self {
            Self::Opening { .. } | Self::Carried | Self::Cut { .. } => true,
            Self::Ended { .. } | Self::Over => false,
        }
    }
}
