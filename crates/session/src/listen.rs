//! What is said on a `subscriptions/listen` of a client of the new era, and when?
//!
//! Source: 2026-07-28 basic/patterns/subscriptions: the acknowledgement is a stream's first message,
//! and the stream ends with the result of its request, or with its connection. It is never resumed.
//!
//! Invariants: nothing is told before the acknowledgement or after the end; what it holds is
//! released once. The whole table is in `docs/states.md`.

/// Where a listen stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was asked for.
    Opening,
    /// It was acknowledged.
    Open,
    /// It has ended.
    Over,
}

/// What happens to a listen stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What it wants is subscribed to.
    Agreed,
    /// Something changed that it wants to hear of.
    Changed,
    /// Its client withdraws it, or its connection is gone.
    Withdrawn,
    /// The gateway ends it.
    Ended,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: too early, too late, or there already.
    Ignore,
    /// Acknowledge it.
    Acknowledge,
    /// Tell what changed.
    Tell,
    /// Release what it holds; nobody is told.
    Release,
    /// Release what it holds, and end it with its result.
    Finish,
}

impl State {
    /// Where it is after `event`, and what has to be done.
    pub fn step(self, event: Event) -> (Self, Effect) {
        use State::{Open, Opening, Over};
        match (self, event) {
            (Opening, Event::Agreed) => (Open, Effect::Acknowledge),
            (Open | Over, Event::Agreed) => (self, Effect::Ignore),
            (Open, Event::Changed) => (Open, Effect::Tell),
            (Opening | Over, Event::Changed) => (self, Effect::Ignore),
            (Opening | Open, Event::Withdrawn) => (Over, Effect::Release),
            (Opening | Open, Event::Ended) => (Over, Effect::Finish),
            (Over, Event::Withdrawn | Event::Ended) => (Over, Effect::Ignore),
        }
    }
}
