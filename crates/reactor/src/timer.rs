//! Which timers are due?
//!
//! A hierarchical timing wheel (Varghese and Lauck, 1987): six levels of 64 slots, the lowest of
//! 1 ms each, so a timer is set and cancelled in constant time and moved down at most five times.
//!
//! Invariants: a timer never fires early and, once the clock is past it, at most 1 ms late by the
//! wheel's own doing; a slot's list is in the order of setting; an entry is in exactly one list, or
//! in none while its owner decides what becomes of it.

use kern_terms::{Instant, Key, Slab};

const LEVELS: usize = 6;
const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Nanoseconds in a tick.
const TICK_NS: u64 = 1_000_000;
/// Ticks the wheel spans: more than two years. What is farther waits at the rim and is put back.
const SPAN: u64 = 1 << (LEVELS * SLOT_BITS);

const NONE: u32 = u32::MAX;
/// The list of entries whose time has come.
const DUE: usize = LEVELS * SLOTS;
/// The place of an entry in no list.
const NOWHERE: usize = DUE + 1;

#[derive(Debug)]
struct Entry<T> {
    value: T,
    /// The first tick that is not before the deadline.
    tick: u64,
    place: usize,
    next: u32,
    previous: u32,
}

/// A wheel of timers, each with a value.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    entries: Slab<Entry<T>>,
    /// First and last entry of each list.
    lists: Vec<(u32, u32)>,
    /// A bit for each slot of a level that has entries.
    occupied: [u64; LEVELS],
    /// Every tick up to this one has been looked at.
    elapsed: u64,
}

impl<T> Wheel<T> {
    /// A wheel whose time starts at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            entries: Slab::new(),
            lists: vec![(NONE, NONE); DUE + 1],
            occupied: [0; LEVELS],
            elapsed: now.as_nanos() / TICK_NS,
        }
    }

    /// Number of timers, due ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sets a timer.
    pub(crate) fn insert(&mut self, deadline: Instant, value: T) -> Key {
        let tick = tick_of(deadline);
        let entry = Entry { value, tick, place: NOWHERE, next: NONE, previous: NONE };
        let key = self.entries.insert(entry);
        self.link(key);
        key
    }

    /// Sets a timer to another time.
    pub(crate) fn set(&mut self, key: Key, deadline: Instant) {
        self.unlink(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.tick = tick_of(deadline);
            self.link(key);
        }
    }

    /// Forgets a timer.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.unlink(key);
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// A timer's value.
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Takes the next due timer off its list; it stays in the table until it is removed or set
    /// again.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Key> {
        let now = now.as_nanos() / TICK_NS;
        loop {
            let first = self.lists[DUE].0;
            if first != NONE {
                let key = self.entries.key_at(first).expect("listed entries live");
                self.unlink(key);
                return Some(key);
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= now => {
                    self.elapsed = tick;
                    self.empty(level, slot);
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            }
        }
    }

    /// When to call [`Wheel::pop`] next: not after the first deadline, possibly before it.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.lists[DUE].0 != NONE {
            return Some(Instant::ZERO);
        }
        self.next_slot().map(|(_, _, tick)| Instant::from_nanos(tick.saturating_mul(TICK_NS)))
    }

    /// The first slot with entries and the tick at which it must be emptied. Lower levels come
    /// before higher ones: an entry is on the lowest level whose turn reaches it.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = level * SLOT_BITS;
        let here = (self.elapsed >> shift) as usize & (SLOTS - 1);
        let ahead = self.occupied[level].rotate_right(here as u32).trailing_zeros() as usize;
        let slot = (here + ahead) & (SLOTS - 1);
        let turn_start = self.elapsed >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        let mut tick = turn_start + ((slot as u64) << shift);
        if slot < here {
            // Only on the highest level, where the span reaches into the next turn.
            tick += SPAN;
        }
        Some((level, slot, tick))
    }

    /// Moves the entries of a slot whose tick has come to where they belong now.
    fn empty(&mut self, level: usize, slot: usize) {
        let place = level * SLOTS + slot;
        let (mut at, _) = std::mem::replace(&mut self.lists[place], (NONE, NONE));
        self.occupied[level] &= !(1 << slot);
        while at != NONE {
            let key = self.entries.key_at(at).expect("listed entries live");
            let entry = self.entries.get_mut(key).expect("listed entries live");
            at = entry.next;
            entry.place = NOWHERE;
            self.link(key);
        }
    }

    fn link(&mut self, key: Key) {
        let elapsed = self.elapsed;
        let entry = self.entries.get_mut(key).expect("the caller has the entry");
        let place = place_of(entry.tick, elapsed);
        let last = self.lists[place].1;
        entry.place = place;
        entry.previous = last;
        entry.next = NONE;
        if last == NONE {
            self.lists[place].0 = key.slot;
        } else {
            let last = self.entries.key_at(last).expect("listed entries live");
            self.entries.get_mut(last).expect("listed entries live").next = key.slot;
        }
        self.lists[place].1 = key.slot;
        if place != DUE {
            self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
        }
    }

    fn unlink(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (place, next, previous) = (entry.place, entry.next, entry.previous);
        if place == NOWHERE {
            return;
        }
        entry.place = NOWHERE;
        match self.entries.key_at(previous) {
            Some(key) => self.entries.get_mut(key).expect("listed entries live").next = next,
            None => self.lists[place].0 = next,
        }
        match self.entries.key_at(next) {
            Some(key) => {
                self.entries.get_mut(key).expect("listed entries live").previous = previous
            }
            None => self.lists[place].1 = previous,
        }
        if place != DUE && self.lists[place].0 == NONE {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }
}

fn tick_of(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NS)
}

/// The list for an entry of `tick`: the level of the highest digit (base 64) in which `tick` and
/// `elapsed` differ.
fn place_of(tick: u64, elapsed: u64) -> usize {
    if tick <= elapsed {
        return DUE;
    }
    let tick = tick.min(elapsed + SPAN - 1);
    let digit = (63 - ((tick ^ elapsed) | 1).leading_zeros() as usize) / SLOT_BITS;
    let level = digit.min(LEVELS - 1);
    level * SLOTS + ((tick >> (level * SLOT_BITS)) as usize & (SLOTS - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(usize),
        Move(usize, u64),
        Advance(u64),
    }

    fn after_ns() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..5_000_000u64,
            0..10_000_000_000u64,
            0..100_000_000_000_000u64,
            Just(SPAN * TICK_NS + 1),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => after_ns().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Cancel),
            1 => (any::<usize>(), after_ns()).prop_map(|(at, ns)| Step::Move(at, ns)),
            3 => after_ns().prop_map(Step::Advance),
        ]
    }

    /// Pops what is due and checks it against a plain map from key to deadline.
    fn check_due(wheel: &mut Wheel<u64>, model: &mut BTreeMap<Key, u64>, now: u64) {
        while let Some(key) = wheel.pop(Instant::from_nanos(now)) {
            let deadline = model.remove(&key).expect("fires once, and not after cancelling");
            assert_eq!(wheel.remove(key), Some(7));
            assert!(deadline <= now, "{} ns early", deadline - now);
        }
        for deadline in model.values() {
            assert!(*deadline + TICK_NS > now, "{} ns late", now - deadline);
        }
        let next = wheel.next().map(Instant::as_nanos);
        let first = model.values().min().copied();
        assert_eq!(next.is_some(), first.is_some());
        if let (Some(next), Some(first)) = (next, first) {
            assert!(next > now && next < first.saturating_add(TICK_NS), "{now} {next} {first}");
        }
    }

    proptest! {
        #[test]
        fn timers_fire_when_a_sorted_list_would_fire_them(
            start in 0..SPAN * TICK_NS * 2,
            steps in proptest::collection::vec(step(), 1..200),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(Instant::from_nanos(now));
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(ns) => {
                        let key = wheel.insert(Instant::from_nanos(now + ns), 7);
                        model.insert(key, now + ns);
                    }
                    Step::Cancel(at) if !model.is_empty() => {
                        let key = *model.keys().nth(at % model.len()).unwrap();
                        prop_assert!(wheel.remove(key).is_some());
                        model.remove(&key);
                    }
                    Step::Move(at, ns) if !model.is_empty() => {
                        let key = *model.keys().nth(at % model.len()).unwrap();
                        wheel.set(key, Instant::from_nanos(now + ns));
                        model.insert(key, now + ns);
                    }
                    Step::Advance(ns) => now += ns,
                    _ => {}
                }
                check_due(&mut wheel, &mut model, now);
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }

    #[test]
    fn timers_of_one_moment_fire_in_the_order_they_were_set() {
        let mut wheel = Wheel::new(Instant::ZERO);
        let keys: Vec<_> =
            (0..100).map(|i| wheel.insert(Instant::from_nanos(5 * TICK_NS), i)).collect();
        let fired: Vec<_> =
            std::iter::from_fn(|| wheel.pop(Instant::from_nanos(5 * TICK_NS))).collect();
        assert_eq!(fired, keys);
    }
}
