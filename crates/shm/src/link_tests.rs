//! Records through memory of this process: everything that Miri can run, and a peer that lies.

#[cfg(not(miri))]
use proptest::prelude::*;

use crate::client::{Client, Options};
use crate::error::{Error, Fault};
use crate::layout::*;
use crate::link::{Link, Put, Take};
use crate::memory::Memory;

const SIZES: Sizes = Sizes { ring_bytes: 4096, slab_bytes: 4096, slabs: 2 };
const NO_SLABS: Sizes = Sizes { ring_bytes: 4096, slab_bytes: 0, slabs: 0 };

/// Both ends, and the memories below them.
fn pair(sizes: Sizes) -> (Link, Link, [Memory; 2]) {
    let (left, right) = (Memory::heap(sizes), Memory::heap(sizes));
    let ends =
        |own: &Memory, peer: &Memory| Link::new((own.clone(), sizes), (peer.clone(), sizes), None);
    (ends(&left, &right), ends(&right, &left), [left, right])
}

fn message(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + seed * 7 + len) as u8).collect()
}

/// Moves messages of these lengths through, in turns of one thread.
fn check(sizes: Sizes, lengths: &[usize]) {
    let (mut left, mut right, _memories) = pair(sizes);
    let mut received = Vec::new();
    let mut partial = Vec::new();
    for (seed, len) in lengths.iter().enumerate() {
        let sent = message(*len, seed);
        let mut rest = &sent[..];
        loop {
            let put = left.put(rest).unwrap();
            left.tell();
            loop {
                match right.take(&mut partial).unwrap() {
                    Take::Nothing => break,
                    Take::Part => {}
                    Take::Whole => received.push(std::mem::take(&mut partial)),
                }
            }
            right.tell();
            match put {
                Put::Whole => break,
                Put::Part(bytes) => rest = &rest[bytes..],
            }
        }
    }
    let expected: Vec<_> = lengths.iter().enumerate().map(|(at, len)| message(*len, at)).collect();
    assert!(received == expected, "lengths {lengths:?}");
    left.finish();
    left.tell();
    assert!(right.is_over().unwrap());
}

#[test]
fn messages_of_all_lengths_come_out_as_they_went_in() {
    for sizes in [SIZES, NO_SLABS] {
        check(sizes, &[0, 1, 7, 8, 9, 503, 504, 505, 4096, 8191, 8192, 30_000, 0, 3]);
        check(sizes, &[497; 40]);
    }
}

#[test]
fn two_threads_pass_messages_both_ways_without_reading_what_is_not_written() {
    let (left, right, _memories) = pair(SIZES);
    let count = if cfg!(miri) { 40 } else { 20_000 };
    let run = move |mut link: Link| {
        let (mut sent, mut received, mut partial) = (0, 0, Vec::new());
        let mut waiting: Option<(Vec<u8>, usize)> = None;
        while sent < count || received < count || waiting.is_some() {
            let (bytes, from) = waiting.take().unwrap_or_else(|| (message(sent % 700, sent), 0));
            if sent < count || from > 0 {
                match link.put(&bytes[from..]).unwrap() {
                    Put::Whole => sent += 1,
                    Put::Part(put) => waiting = Some((bytes, from + put)),
                }
            }
            match link.take(&mut partial).unwrap() {
                Take::Whole => {
                    assert!(partial == message(received % 700, received));
                    partial.clear();
                    received += 1;
                }
                Take::Part => {}
                Take::Nothing => std::thread::yield_now(),
            }
            link.tell();
        }
    };
    let other = std::thread::spawn(move || run(left));
    run(right);
    other.join().unwrap();
}

/// What is received in place is what was sent, and its slab is lent until the next receive.
#[test]
#[allow(unsafe_code)]
fn a_message_in_a_slab_is_read_where_it_lies_and_given_back_later() {
    let (left, right, [_, own]) = pair(SIZES);
    let mut sender = Client::from_link(left, Options::default());
    let mut receiver = Client::from_link(right, Options::default());
    let returned = || own.load(AT_RETURNED) + own.load(AT_RETURNED + 4);
    // (bytes, whether it lies in a slab of its own); several pieces are put together.
    let lengths =
        [(3000, true), (10, false), (4096, true), (5000, false), (2000, true), (3, false)];
    for round in 0..if cfg!(miri) { 2 } else { 20 } {
        for (seed, (len, in_slab)) in lengths.iter().enumerate() {
            let sent = message(*len, seed);
            sender.send(&sent).unwrap();
            let before = returned();
            // SAFETY: both ends are here, and the sender writes only slabs that were given back.
            let received = unsafe { receiver.recv_in_place(None) }.unwrap();
            assert!(received == sent, "{len} bytes in round {round}");
            let held = returned() == before && *len >= 2000 && *len <= 4096;
            assert_eq!(held, *in_slab, "{len} bytes in round {round}");
        }
        // SAFETY: as above.
        assert!(unsafe { receiver.try_recv_in_place() }.unwrap().is_none());
    }
    // Other ways to receive give it back as well, and the order stays.
    for seed in 0..3 {
        sender.push(&message(2500, seed)).unwrap();
        sender.flush();
    }
    // SAFETY: as above.
    assert!(unsafe { receiver.try_recv_in_place() }.unwrap() == Some(&message(2500, 0)[..]));
    assert_eq!(receiver.try_recv().unwrap(), Some(message(2500, 1)));
    // SAFETY: as above.
    assert!(unsafe { receiver.recv_in_place(None) }.unwrap() == message(2500, 2));
    let short = Options { message_bytes: 100, ..Options::default() };
    let (left, right, _memories) = pair(SIZES);
    let (mut sender, mut receiver) =
        (Client::from_link(left, short), Client::from_link(right, short));
    sender.send(&message(2500, 0)).unwrap();
    // SAFETY: as above.
    let refused = unsafe { receiver.recv_in_place(None) };
    assert!(matches!(refused, Err(Error::Fault(Fault::TooLong))));
}

#[test]
fn a_put_that_finds_no_room_has_found_the_ring_more_than_half_full() {
    // Else who waits for half of it to be free would wait for what is so already.
    for len in [0, 1, 100, 503, 504, 600, 5000] {
        let (mut left, mut right, _memories) = pair(NO_SLABS);
        let sent = message(len, 0);
        loop {
            if let Put::Part(_) = left.put(&sent).unwrap() {
                assert!(left.arm(true, true), "length {len}");
                break;
            }
            let mut taken = Vec::new();
            // Leave most of it in, so that the ring fills from different places.
            if !len.is_multiple_of(2) {
                left.tell();
                let _ = right.take(&mut taken).unwrap();
                right.tell();
                left.put(&sent).unwrap();
            }
        }
    }
}

#[test]
fn what_no_honest_peer_writes_is_a_fault() {
    let ring = HEADER_BYTES as usize;
    // The length and kind of the first record, its slab, and the tail.
    for (len, kind, slab, tail) in [
        (0, 7, 0, 8),
        (u32::MAX, 1, 0, 16),
        (16, 1, 0, 16),
        (8, 1 | 0x200, 0, 16),
        (0, 0x101, 0, 8),
        (4096 - 8, 0, 0, 8),
        (8, 0, 0, 16),
        (4096 - 8, 0x100, 0, 4096),
        (8, 2, 2, 16),
        (8, 2, u32::MAX, 16),
        (4097, 2, 0, 16),
        (8, 2, 0, 8),
        (0, 0x102, 0, 16),
    ] {
        let (_left, mut right, [memory, _]) = pair(SIZES);
        memory.store(ring, len);
        memory.store(ring + 4, kind);
        memory.store(ring + 8, slab);
        memory.store(AT_TAIL, tail);
        let taken = right.take(&mut Vec::new());
        assert_eq!(taken, Err(Fault::Record), "len {len} kind {kind} slab {slab} tail {tail}");
    }
}

#[test]
fn a_peer_that_only_ever_skips_does_not_keep_us_busy() {
    let (_left, mut right, [memory, _]) = pair(SIZES);
    memory.store(HEADER_BYTES as usize, 4096 - 8);
    memory.store(AT_TAIL, 4096);
    assert_eq!(right.take(&mut Vec::new()), Ok(Take::Nothing));
    memory.store(AT_TAIL, 8192);
    assert_eq!(right.take(&mut Vec::new()), Ok(Take::Nothing));
}

#[cfg(not(miri))]
/// What a lying peer writes: a word somewhere in its memory.
fn lie() -> impl Strategy<Value = (usize, u32)> {
    let places = prop_oneof![
        Just(AT_TAIL),
        Just(AT_HEAD),
        Just(AT_FINISHED),
        Just(AT_RETURNED),
        (0..64usize).prop_map(|word| HEADER_BYTES as usize + 4 * word),
        (0..1024usize).prop_map(|word| HEADER_BYTES as usize + 4 * word),
    ];
    let values = prop_oneof![
        0..64u32,
        (0..600u32).prop_map(|word| word * 8),
        Just(0x100u32),
        Just(0x101),
        Just(0x102),
        any::<u32>(),
    ];
    (places, values)
}

// Not for Miri, which takes hours for it.
#[cfg(not(miri))]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_lying_peer_gets_a_fault_and_neither_memory_nor_time(
        lies in prop::collection::vec(lie(), 1..200),
    ) {
        let (mut left, _right, [_, memory]) = pair(SIZES);
        let mut out = Vec::new();
        for (at, value) in lies {
            memory.store(at, value);
            // One step each; a fault ends the ring, but must not have broken anything.
            let _ = left.put(&[7; 100]);
            let _ = left.put(&[7; 9000]);
            for _ in 0..4 {
                let before = out.len();
                match left.take(&mut out) {
                    Ok(_) => prop_assert!(out.len() - before <= SIZES.slab_bytes as usize),
                    Err(_) => prop_assert_eq!(out.len(), before),
                }
            }
            out.clear();
            left.tell();
            let _ = left.is_over();
            if left.arm(true, true) {
                left.disarm();
            }
        }
    }
}
