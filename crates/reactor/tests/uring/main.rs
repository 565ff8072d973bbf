//! Does the io_uring driver keep its own promises: memory, buffers, descriptors?
//!
//! What every driver promises is tested in `driver_conformance`. All tests are skipped, loudly, where
//! the system offers no io_uring.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod lazy;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kern_reactor::driver::uring::{Settings, Uring};
use kern_reactor::driver::{Address, Batch, Completion, Driver, Piece};
use kern_reactor::{Chunk, Command, Signal};
use kern_terms::Key;
use support::*;

#[test]
fn a_thousand_connections_are_answered_and_leave_nothing_behind() {
    with_driver(|driver| {
        const COUNT: usize = 1000;
        let before = descriptors();
        let address = listen(driver, key(0));
        let clients = thread::spawn(move || {
            let mut streams: Vec<TcpStream> =
                (0..COUNT).map(|_| TcpStream::connect(address).unwrap()).collect();
            for (i, stream) in streams.iter_mut().enumerate() {
                stream.write_all(format!("{i:8}").as_bytes()).unwrap();
            }
            for (i, stream) in streams.iter_mut().enumerate() {
                let mut answer = [0; 8];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(std::str::from_utf8(&answer).unwrap().trim(), i.to_string());
            }
        });
        let (mut next, mut ended) = (1, 0);
        pump(driver, |driver, completion| {
            match completion {
                Completion::Accepted { listener, socket, .. } => {
                    assert_eq!(listener, key(0));
                    driver.adopt(key(next), socket).unwrap();
                    next += 1;
                }
                Completion::Received { stream, chunk } => {
                    assert!(driver.send(stream, owned(&chunk), stream.slot % 2 == 0).is_none());
                }
                Completion::ReadEnded { stream, result } => {
                    result.unwrap();
                    driver.close(stream);
                    ended += 1;
                }
                Completion::Sent { result, .. } => result.unwrap(),
                other => panic!("{other:?}"),
            }
            ended == COUNT
        });
        clients.join().unwrap();
        driver.unlisten(key(0));
        assert!(TcpStream::connect(address).is_err(), "refused as soon as unlisten returns");
        idle(driver, Duration::from_millis(20));
        settles_at(before);
    });
}

#[test]
fn a_slow_reader_gets_every_byte_of_a_large_batch_in_order() {
    with_driver(|driver| {
        const PIECES: usize = 3000;
        let theirs = pair(driver, key(1));
        let expected: Vec<u8> = (0..PIECES).flat_map(|i| vec![i as u8; i % 7 * 1000 / 3]).collect();
        let pieces = (0..PIECES).map(|i| {
            let bytes = vec![i as u8; i % 7 * 1000 / 3];
            if i % 2 == 0 { Piece::Owned(bytes) } else { Piece::Shared(Bytes::from(bytes)) }
        });
        let batch = Batch { pieces: pieces.collect() };
        let total = expected.len();
        let reader = thread::spawn(move || {
            let mut theirs = theirs;
            let (mut all, mut part) = (Vec::new(), vec![0; 50_000]);
            while all.len() < total {
                thread::sleep(Duration::from_millis(1));
                let count = theirs.read(&mut part).unwrap();
                all.extend_from_slice(&part[..count]);
            }
            assert!(all == expected);
            theirs
        });
        assert!(driver.send(key(1), batch, true).is_none());
        pump(driver, |_, completion| match completion {
            Completion::Sent { batch, result, .. } => {
                result.unwrap();
                assert_eq!(batch.pieces.len(), PIECES);
                true
            }
            other => panic!("{other:?}"),
        });
        driver.close(key(1));
        reader.join().unwrap();
    });
}

#[test]
fn chunks_that_are_held_stop_receiving_and_letting_go_resumes_it() {
    with_sizes(|driver, buffered| {
        let theirs = pair(driver, key(1));
        let total = 3 * buffered;
        let writer = thread::spawn(move || {
            let mut theirs = theirs;
            let block: Vec<u8> = (0..251).cycle().take(251 * 40).collect();
            let mut left = total;
            while left > 0 {
                let now = left.min(block.len());
                theirs.write_all(&block[..now]).unwrap();
                left -= now;
            }
        });
        let mut held: Vec<Chunk> = Vec::new();
        let (mut seen, mut rounds) = (0_usize, 0);
        while seen < total {
            let all = idle(driver, Duration::from_millis(5));
            let stuck = all.is_empty() && !held.is_empty();
            for completion in all {
                match completion {
                    Completion::Received { chunk, .. } => {
                        for (i, byte) in chunk.iter().enumerate() {
                            assert_eq!(usize::from(*byte), (seen + i) % 251);
                        }
                        seen += chunk.len();
                        held.push(chunk);
                    }
                    Completion::ReadEnded { .. } if seen == total => {}
                    other => panic!("{other:?} after {seen} bytes"),
                }
            }
            if stuck {
                rounds += 1;
                held.clear();
            }
        }
        assert!(rounds > 0, "the buffers never ran out");
        writer.join().unwrap();
        driver.close(key(1));
    });
}

#[test]
fn what_arrives_while_receiving_is_off_comes_later_in_order() {
    with_driver(|driver| {
        let mut theirs = pair(driver, key(1));
        idle(driver, Duration::from_millis(5));
        theirs.write_all(&[1; 700]).unwrap();
        driver.receive(key(1), false);
        let early = idle(driver, Duration::from_millis(10));
        theirs.write_all(&[2; 700]).unwrap();
        drop(theirs);
        let none = idle(driver, Duration::from_millis(10));
        assert!(early.is_empty() && none.is_empty(), "{early:?} {none:?}");
        driver.receive(key(1), true);
        let mut all = Vec::new();
        pump(driver, |_, completion| match completion {
            Completion::Received { chunk, .. } => {
                all.extend_from_slice(&chunk);
                false
            }
            Completion::ReadEnded { result, .. } => result.is_ok(),
            other => panic!("{other:?}"),
        });
        assert!(all == [vec![1; 700], vec![2; 700]].concat());
        driver.close(key(1));
    });
}

#[test]
fn switching_on_and_off_in_any_rhythm_loses_nothing() {
    with_driver(|driver| {
        let theirs = pair(driver, key(1));
        let total = 3_000_000;
        let writer = thread::spawn(move || {
            let mut theirs = theirs;
            let bytes: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            theirs.write_all(&bytes).unwrap();
        });
        let (mut seen, mut state, mut ended) = (0_usize, 1_u32, false);
        let mut completions = Vec::new();
        let limit = Instant::now() + Duration::from_secs(20);
        while !ended {
            assert!(Instant::now() < limit, "stuck after {seen}");
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            driver.receive(key(1), state >> 30 != 0);
            if state >> 28 & 3 == 0 {
                driver.receive(key(1), false);
                driver.receive(key(1), true);
            }
            let until = driver.now() + Duration::from_micros(300);
            driver.wait(Some(until), &mut completions).unwrap();
            for completion in completions.drain(..) {
                match completion {
                    Completion::Received { chunk, .. } => {
                        assert!(
                            chunk
                                .iter()
                                .enumerate()
                                .all(|(i, b)| usize::from(*b) == (seen + i) % 251)
                        );
                        seen += chunk.len();
                    }
                    Completion::ReadEnded { result, .. } => {
                        result.unwrap();
                        ended = true;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(seen, total);
        writer.join().unwrap();
        driver.close(key(1));
    });
}

#[test]
fn closing_with_everything_in_flight_reports_nothing_and_leaks_nothing() {
    with_driver(|driver| {
        let before = descriptors();
        for round in 0..50_u32 {
            let mut others = Vec::new();
            for slot in 0..20 {
                let name = Key { slot, generation: round };
                others.push(pair(driver, name));
                // More than the socket holds, so that the send stays in flight.
                let pieces = (0..4).map(|_| Piece::Owned(vec![7; 400_000])).collect();
                assert!(driver.send(name, Batch { pieces }, slot % 3 == 0).is_none());
            }
            for other in others.iter_mut().take(10) {
                other.write_all(b"unread").unwrap();
            }
            if round % 2 == 0 {
                idle(driver, Duration::from_millis(1));
            }
            for slot in 0..20 {
                driver.close(Key { slot, generation: round });
            }
            let after = idle(driver, Duration::from_millis(1));
            assert!(after.is_empty(), "{after:?}");
        }
        settles_at(before);
    });
}

#[test]
fn dropping_a_busy_driver_ends_cleanly_and_frees_its_addresses() {
    with_driver(|_| {
        let before = descriptors();
        for settings in [Settings::default(), small()] {
            let mut driver = Uring::with(settings).unwrap();
            let address = listen(&mut driver, key(0));
            let _client = TcpStream::connect(address).unwrap();
            let mut other = pair(&mut driver, key(1));
            other.write_all(b"unread").unwrap();
            assert!(driver.send(key(1), owned(&vec![7; 4 << 20]), settings == small()).is_none());
            driver.connect(key(2), &Address::Tcp("10.255.255.1:9".parse().unwrap())).unwrap();
            let command = Command {
                program: "sleep".into(),
                args: vec!["1000".into()],
                env: Vec::new(),
                cwd: None,
            };
            let pid = driver.spawn(key(0), key(3), key(4), &command).unwrap();
            idle(&mut driver, Duration::from_millis(5));
            let started = Instant::now();
            drop(driver);
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "killed and reaped");
            assert!(std::net::TcpListener::bind(address).is_ok());
            drop((_client, other));
            settles_at(before);
        }
    });
}

#[test]
fn chunks_may_outlive_their_driver() {
    with_driver(|_| {
        let mut driver = Uring::with(small()).unwrap();
        let mut other = pair(&mut driver, key(1));
        other.write_all(b"still here").unwrap();
        let mut kept = None;
        pump(&mut driver, |_, completion| {
            if let Completion::Received { chunk, .. } = completion {
                kept = Some(chunk);
            }
            kept.is_some()
        });
        drop(driver);
        assert_eq!(&kept.unwrap()[..], b"still here");
    });
}

#[test]
fn a_wake_ends_the_current_sleep_or_the_next_one() {
    with_driver(|driver| {
        let mut none = Vec::new();
        let waker = driver.waker();
        waker.wake();
        waker.wake();
        driver.wait(None, &mut none).unwrap();
        for pause in [0, 1, 20] {
            let waker = driver.waker();
            let other = thread::spawn(move || {
                thread::sleep(Duration::from_millis(pause));
                waker.wake();
            });
            driver.wait(None, &mut none).unwrap();
            other.join().unwrap();
        }
        // No wake is left over.
        let until = driver.now() + Duration::from_millis(10);
        driver.wait(Some(until), &mut none).unwrap();
        assert!(driver.now() >= until && none.is_empty());
    });
}

#[test]
fn no_wake_is_lost_between_two_cores_that_play_ping_pong() {
    with_driver(|driver| {
        let counter = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (mine, theirs) = (driver.waker(), std::sync::Arc::clone(&counter));
        let other = thread::spawn(move || {
            let mut driver = Uring::with(small()).unwrap();
            sender.send(driver.waker()).unwrap();
            let mut none = Vec::new();
            loop {
                let value = theirs.load(std::sync::atomic::Ordering::SeqCst);
                if value >= 20_000 {
                    return;
                }
                if value % 2 == 1 {
                    theirs.store(value + 1, std::sync::atomic::Ordering::SeqCst);
                    mine.wake();
                } else {
                    driver.wait(None, &mut none).unwrap();
                }
            }
        });
        let waker = receiver.recv().unwrap();
        let mut none = Vec::new();
        loop {
            let value = counter.load(std::sync::atomic::Ordering::SeqCst);
            if value.is_multiple_of(2) {
                counter.store(value + 1, std::sync::atomic::Ordering::SeqCst);
                waker.wake();
            }
            if value >= 20_000 {
                break;
            }
            let until = driver.now() + Duration::from_secs(5);
            driver.wait(Some(until), &mut none).unwrap();
            assert!(driver.now() < until, "a wake was lost at {value}");
        }
        other.join().unwrap();
    });
}

#[test]
fn a_child_speaks_hears_and_ends() {
    with_driver(|driver| {
        let before = descriptors();
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "cat; echo done >&2; exit 7".into()],
            env: vec![("PATH".into(), std::env::var("PATH").unwrap())],
            cwd: None,
        };
        driver.spawn(key(0), key(1), key(2), &command).unwrap();
        let text: Vec<u8> = (0..300_000).map(|i| (i % 249) as u8).collect();
        assert!(driver.send(key(1), owned(&text), true).is_none());
        let (mut out, mut errors, mut left) = (Vec::new(), Vec::new(), 3);
        pump(driver, |driver, completion| {
            match completion {
                Completion::Received { stream, chunk } if stream == key(1) => {
                    out.extend_from_slice(&chunk);
                }
                Completion::Received { stream, chunk } if stream == key(2) => {
                    errors.extend_from_slice(&chunk);
                }
                Completion::Sent { stream, result, .. } => {
                    result.unwrap();
                    driver.finish(stream);
                }
                Completion::ReadEnded { result, .. } => {
                    result.unwrap();
                    left -= 1;
                }
                Completion::Exited { child, exit } => {
                    assert_eq!((child, exit.code, exit.signal), (key(0), Some(7), None));
                    left -= 1;
                }
                other => panic!("{other:?}"),
            }
            left == 0
        });
        assert!(out == text && errors == b"done\n");
        assert!(driver.signal(key(0), Signal::Kill).is_err(), "it is gone");
        driver.close(key(1));
        driver.close(key(2));
        idle(driver, Duration::from_millis(5));
        settles_at(before);
    });
}

#[test]
fn a_refused_connection_frees_its_key_and_a_made_one_talks() {
    with_driver(|driver| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        driver.connect(key(1), &Address::Tcp(address)).unwrap();
        pump(driver, |_, completion| match completion {
            Completion::Connected { stream, result } => {
                assert_eq!(stream, key(1));
                assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
                true
            }
            other => panic!("{other:?}"),
        });
        let address = listen(driver, key(0));
        driver.connect(key(1), &Address::Tcp(address)).unwrap();
        let mut heard = Vec::new();
        pump(driver, |driver, completion| {
            match completion {
                Completion::Connected { stream, result } => {
                    result.unwrap();
                    assert!(driver.send(stream, owned(b"hello"), true).is_none());
                }
                Completion::Accepted { socket, .. } => driver.adopt(key(2), socket).unwrap(),
                Completion::Received { stream, chunk } => {
                    assert_eq!(stream, key(2));
                    heard.extend_from_slice(&chunk);
                }
                Completion::Sent { result, .. } => result.unwrap(),
                other => panic!("{other:?}"),
            }
            heard == b"hello"
        });
        for name in [key(1), key(2)] {
            driver.close(name);
        }
        driver.unlisten(key(0));
    });
}
