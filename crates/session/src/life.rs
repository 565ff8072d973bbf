//! How long does a client's session live?
//!
//! From `initialize` until the client ends it, its connection carries no more, or nothing was heard
//! of it for too long; a connection of its own or a call under way keeps it. Whoever names it
//! afterwards is told that it has ended (2025-11-25 basic/transports, "Session Management": 404).
//!
//! Invariants: what a session holds is released once; no clock ends a session that is in use. The
//! whole table is in `docs/states.md`.

use std::time::Duration;

use kern_terms::Instant;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection of its own, no call.
    Idle {
        /// When it was last heard of, or `initialize` was answered.
        since: Instant,
    },
    /// Calls are under way; no connection is its own.
    Calling {
        /// How many.
        calls: usize,
    },
    /// It has connections of its own: streams, or the one that carries everything.
    Streaming {
        /// How many connections.
        streams: usize,
        /// How many calls are under way.
        calls: usize,
    },
    /// It has ended.
    Over,
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody names it, rightly: a message, a stream asked for.
    Named,
    /// A call begins.
    CallBegan,
    /// A call is over.
    CallEnded,
    /// A connection becomes its own.
    StreamOpened,
    /// A connection of its own is gone.
    StreamClosed,
    /// Time has passed; a silent session lives this long.
    Clock(Duration),
    /// The client ends it (DELETE), or the connection is gone that carried everything.
    Ended,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Serve whoever named it.
    Serve,
    /// Tell whoever named it that it has ended: 404.
    NotFound,
    /// Release all that it holds: calls, questions, streams, subscriptions, servers.
    Release,
}

impl State {
    /// Where it is after `event`, and what has to be done.
    pub fn step(self, now: Instant, event: Event) -> (Self, Effect) {
        use Effect::{NotFound, Nothing, Release, Serve};
        use State::{Calling, Idle, Over, Streaming};
        match (self, event) {
            (Idle { .. }, Event::Named) => (Idle { since: now }, Serve),
            (Calling { .. } | Streaming { .. }, Event::Named) => (self, Serve),
            (Over, Event::Named) => (Over, NotFound),

            (Idle { .. }, Event::CallBegan) => (Calling { calls: 1 }, Nothing),
            (Calling { calls }, Event::CallBegan) => (Calling { calls: calls + 1 }, Nothing),
            (Streaming { streams, calls }, Event::CallBegan) => {
                (Streaming { streams, calls: calls + 1 }, Nothing)
            }

            (Calling { calls: 0 | 1 }, Event::CallEnded) => (Idle { since: now }, Nothing),
            (Calling { calls }, Event::CallEnded) => (Calling { calls: calls - 1 }, Nothing),
            (Streaming { streams, calls }, Event::CallEnded) => {
                (Streaming { streams, calls: calls.saturating_sub(1) }, Nothing)
            }
            (Idle { .. }, Event::CallEnded) => (self, Nothing),

            (Idle { .. }, Event::StreamOpened) => (Streaming { streams: 1, calls: 0 }, Nothing),
            (Calling { calls }, Event::StreamOpened) => (Streaming { streams: 1, calls }, Nothing),
            (Streaming { streams, calls }, Event::StreamOpened) => {
                (Streaming { streams: streams + 1, calls }, Nothing)
            }

            (Streaming { streams: 0 | 1, calls: 0 }, Event::StreamClosed) => {
                (Idle { since: now }, Nothing)
            }
            (Streaming { streams: 0 | 1, calls }, Event::StreamClosed) => {
                (Calling { calls }, Nothing)
            }
            (Streaming { streams, calls }, Event::StreamClosed) => {
                (Streaming { streams: streams - 1, calls }, Nothing)
            }
            (Idle { .. } | Calling { .. }, Event::StreamClosed) => (self, Nothing),

            (Idle { since }, Event::Clock(most)) => match now.since(since) >= most {
                true => (Over, Release),
                false => (self, Nothing),
            },
            (Calling { .. } | Streaming { .. }, Event::Clock(_)) => (self, Nothing),

            (Idle { .. } | Calling { .. } | Streaming { .. }, Event::Ended) => (Over, Release),

            (
                Over,
                Event::CallBegan
                | Event::CallEnded
                | Event::StreamOpened
                | Event::StreamClosed
                | Event::Clock(_)
                | Event::Ended,
            ) => (Over, Nothing),
        }
    }
}
