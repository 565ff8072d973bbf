//! What a timer's token means.
//!
//! Invariant: a token carries its kind in the top four bits and the key it concerns below, so a
//! timer that fires after its object went finds nothing and does nothing.

use kern_terms::Key;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A client connection was silent too long, or its request took too long to arrive.
    Edge(Key),
    /// A flight took too long.
    Flight(Key),
    /// A step of a built-in tool is due.
    Step(Key),
    /// An instance asked to be woken.
    Instance(Key),
    /// A stopped instance's process has not ended.
    Stopping(Key),
    /// HTTP links look at their deadlines; sessions expire.
    Sweep,
    /// Requests for lists waited long enough.
    Lists,
    /// The rest of a flight's stream is to be asked for.
    Resume(Key),
    /// Draining took too long.
    Drain,
    /// What a server asks in one moment goes to its client together.
    Moment(Key),
    /// The grace period of an upstream that is down ends.
    Grace(u32),
}

const SLOT_BITS: u32 = 28;

fn pack(kind: u64, key: Key) -> u64 {
    let slot = u64::from(key.slot) & ((1 << SLOT_BITS) - 1);
    kind << 60 | u64::from(key.generation) << SLOT_BITS | slot
}

impl Timer {
    /// The token.
    pub fn token(self) -> u64 {
        let number = |number: u32| Key { slot: 0, generation: number };
        match self {
            Self::Edge(key) => pack(0, key),
            Self::Flight(key) => pack(1, key),
            Self::Step(key) => pack(2, key),
            Self::Instance(key) => pack(3, key),
            Self::Stopping(key) => pack(4, key),
            Self::Sweep => pack(5, number(0)),
            Self::Lists => pack(6, number(0)),
            Self::Drain => pack(7, number(0)),
            Self::Grace(upstream) => pack(8, number(upstream)),
            Self::Resume(key) => pack(9, key),
            Self::Moment(key) => pack(10, key),
        }
    }

    /// Reads a token.
    pub fn from_token(token: u64) -> Self {
        let generation = (token >> SLOT_BITS) as u32;
        let key = Key { slot: (token & ((1 << SLOT_BITS) - 1)) as u32, generation };
        match token >> 60 {
            0 => Self::Edge(key),
            1 => Self::Flight(key),
            2 => Self::Step(key),
            3 => Self::Instance(key),
            4 => Self::Stopping(key),
            6 => Self::Lists,
            7 => Self::Drain,
            8 => Self::Grace(generation),
            9 => Self::Resume(key),
            10 => Self::Moment(key),
            _ => Self::Sweep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_means_one_thing() {
        let key = Key { slot: 12_345, generation: u32::MAX };
        for timer in [
            Timer::Edge(key),
            Timer::Flight(key),
            Timer::Step(key),
            Timer::Instance(key),
            Timer::Stopping(key),
            Timer::Sweep,
            Timer::Lists,
            Timer::Resume(key),
            Timer::Drain,
            Timer::Grace(7),
            Timer::Moment(key),
        ] {
            assert_eq!(Timer::from_token(timer.token()), timer);
        }
    }
}
