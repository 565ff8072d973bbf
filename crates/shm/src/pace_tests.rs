//! Is a wake ever lost, is data read before it is written, in any order of any two threads?
//!
//! The protocol of `pace` in the model checker `loom`, which tries every interleaving and every
//! value that weak memory allows. A lost wake is a deadlock there.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::error::Fault;
use crate::pace::Pace;
use crate::words::{Side, Word};

struct Modelled(Arc<AtomicU32>);

impl Word for Modelled {
    fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// The words of one side, for both to hold.
fn words() -> [Arc<AtomicU32>; 4] {
    std::array::from_fn(|_| Arc::new(AtomicU32::new(0)))
}

fn side(words: &[Arc<AtomicU32>; 4]) -> Side<Modelled> {
    let [tail, finished, head, sleep] = std::array::from_fn(|at| Modelled(Arc::clone(&words[at])));
    Side { tail, finished, head, sleep }
}

/// Slots of 8 bytes.
const SLOTS: usize = 2;
const RING: u32 = 8 * SLOTS as u32;

struct World {
    left: [Arc<AtomicU32>; 4],
    right: [Arc<AtomicU32>; 4],
    slots: [UnsafeCell<u32>; SLOTS],
    /// What wakes each side: it stays rung until it is heard, like bytes in a socket.
    bells: [Notify; 2],
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            left: words(),
            right: words(),
            slots: std::array::from_fn(|_| UnsafeCell::new(0)),
            bells: [Notify::new(), Notify::new()],
        })
    }

    fn slot(&self, index: u32) -> &UnsafeCell<u32> {
        &self.slots[(index / 8) as usize % SLOTS]
    }
}

fn produce(world: &World, values: u32, batch: u32) {
    let mut pace = Pace::new(side(&world.left), side(&world.right), RING, RING);
    for value in 1..=values {
        while !pace.has_room(8).unwrap() {
            if pace.tell() {
                world.bells[1].notify();
            }
            if pace.fall_asleep(true, true) {
                world.bells[0].wait();
                pace.awake();
            }
        }
        world.slot(pace.tail()).with_mut(|slot| write(slot, value));
        pace.put(8);
        if value % batch == 0 && pace.tell() {
            world.bells[1].notify();
        }
    }
    pace.finish();
    if pace.tell() {
        world.bells[1].notify();
    }
}

fn consume(world: &World) -> Vec<u32> {
    let mut pace = Pace::new(side(&world.right), side(&world.left), RING, RING);
    let mut values = Vec::new();
    loop {
        while pace.available().unwrap() > 0 {
            values.push(world.slot(pace.head()).with(read));
            pace.took(8);
            // Told after each, so that the producer's wait for room is tried too.
            if pace.tell() {
                world.bells[0].notify();
            }
        }
        if pace.is_over().unwrap() {
            return values;
        }
        if pace.fall_asleep(true, false) {
            world.bells[1].wait();
            pace.awake();
        }
    }
}

#[allow(unsafe_code)]
fn write(slot: *mut u32, value: u32) {
    // SAFETY: the pointer comes from a cell of the test, and loom fails the test if anybody else
    // uses it meanwhile.
    unsafe { *slot = value }
}

#[allow(unsafe_code)]
fn read(slot: *const u32) -> u32 {
    // SAFETY: as in `write`.
    unsafe { *slot }
}

/// How often a thread may be interrupted; `KERN_LOOM_MORE` adds to it, for nights.
fn bound(least: usize) -> usize {
    let more = std::env::var("KERN_LOOM_MORE").ok().and_then(|more| more.parse().ok());
    least + more.unwrap_or(0)
}

fn check(values: u32, batch: u32, preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let world = World::new();
        let there = Arc::clone(&world);
        let producer = thread::spawn(move || produce(&there, values, batch));
        assert_eq!(consume(&world), (1..=values).collect::<Vec<_>>());
        producer.join().unwrap();
    });
}

#[test]
fn a_side_that_sleeps_for_messages_is_always_woken() {
    check(1, 1, bound(2));
    check(2, 1, bound(1));
}

#[test]
fn a_side_that_sleeps_for_room_is_always_woken() {
    check(3, 1, bound(1));
    check(4, 2, bound(1));
}

#[test]
fn an_index_that_no_honest_peer_has_is_a_fault_and_not_a_long_loop() {
    loom::model(|| {
        // Each as the peer's tail, and as its head after we put 8 bytes.
        for (index, tail_is_good, head_is_good) in [
            (0, true, true),
            (8, true, true),
            (RING, true, false),
            (4, false, false),
            (RING + 8, false, false),
            (u32::MAX, false, false),
            (u32::MAX - 7, false, true),
            (u32::MAX - 15, false, false),
        ] {
            let world = World::new();
            let mut pace = Pace::new(side(&world.left), side(&world.right), RING, RING);
            world.right[0].store(index, Ordering::Release);
            let expected = if tail_is_good { Ok(index) } else { Err(Fault::Index) };
            assert_eq!(pace.available(), expected, "tail {index}");
            world.right[2].store(index, Ordering::Release);
            pace.put(8);
            assert_eq!(pace.has_room(RING).is_ok(), head_is_good, "head {index}");
        }
    });
}
