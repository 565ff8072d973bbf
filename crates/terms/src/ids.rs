//! Names for cores, slots and flights.
//!
//! Invariant: a [`FlightId`] fits 53 bits, so that a JSON-RPC peer whose numbers are doubles
//! (every JavaScript server) echoes it exactly.

use std::fmt;

/// One event loop thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CoreId(pub u8);

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core{}", self.0)
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A slot of a [`Slab`](crate::Slab) together with the generation that makes a stale name
/// recognisable: a slot is reused, a key never names two things.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Index of the slot.
    pub slot: u32,
    /// How often the slot was freed before this key was made.
    pub generation: u32,
}

impl Key {
    /// The key as one number, for kernel interfaces that carry 64 bits of user data.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The inverse of [`Key::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

const SLOT_BITS: u32 = 22;
const GENERATION_BITS: u32 = 24;

/// A request on its way to an upstream, and the JSON-RPC id it carries there.
///
/// Packed as 7 bits of core, 24 of generation, 22 of slot: 53 in all. A reply finds its flight by
/// indexing; a late reply is recognised by its generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlightId(u64);

impl FlightId {
    /// Most flights one core can have open at once.
    pub const SLOTS_MAX: usize = 1 << SLOT_BITS;
    /// Most cores a flight id can name.
    pub const CORES_MAX: usize = 128;

    /// Names the flight in `key` of `core`'s table. Generations wrap after 2^24 reuses of a slot.
    pub const fn new(core: CoreId, key: Key) -> Self {
        assert!(key.slot < 1 << SLOT_BITS && (core.0 as usize) < Self::CORES_MAX);
        let generation = (key.generation & ((1 << GENERATION_BITS) - 1)) as u64;
        Self((core.0 as u64) << 46 | generation << SLOT_BITS | key.slot as u64)
    }

    /// Reads an id a peer sent back; `None` where no flight can have that number.
    pub const fn from_number(number: u64) -> Option<Self> {
        if number >> 53 == 0 { Some(Self(number)) } else { None }
    }

    /// The number that travels as JSON-RPC id.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The core whose table holds the flight.
    pub const fn core(self) -> CoreId {
        CoreId((self.0 >> 46) as u8)
    }

    /// The slot in that core's table.
    pub const fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }

    /// Whether `key` is the one this id was made from.
    pub const fn names(self, key: Key) -> bool {
        self.slot() == key.slot
            && (self.0 >> SLOT_BITS) as u32 & ((1 << GENERATION_BITS) - 1)
                == key.generation & ((1 << GENERATION_BITS) - 1)
    }
}

impl fmt::Debug for FlightId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flight:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_id_survives_a_double_and_finds_its_slot() {
        let key = Key { slot: (1 << SLOT_BITS) - 1, generation: u32::MAX };
        let id = FlightId::new(CoreId(127), key);
        assert_eq!(id.number() as f64 as u64, id.number());
        let back = FlightId::from_number(id.number()).expect("53 bits");
        assert_eq!((back.core(), back.slot()), (CoreId(127), key.slot));
        assert!(back.names(key));
        assert!(!back.names(Key { generation: 7, ..key }));
        assert_eq!(FlightId::from_number(1 << 53), None);
    }
}
