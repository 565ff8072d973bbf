//! A send whose end nobody waits for: it spares the system call that would only tell of it, and
//! nothing else changes.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use kern_reactor::driver::{Completion, Driver};

use crate::support::*;

#[test]
fn a_client_that_is_answered_costs_no_turn_until_it_asks_again() {
    with_driver(|driver| {
        let mut theirs = pair(driver, key(1));
        idle(driver, Duration::from_millis(5));
        for length in [1, 60_000] {
            let answer = vec![5; length];
            assert!(driver.send(key(1), owned(&answer), false).is_none());
            let mut completions = Vec::new();
            let asks = thread::spawn(move || {
                let mut heard = vec![0; length];
                theirs.read_exact(&mut heard).unwrap();
                assert!(heard == answer);
                thread::sleep(Duration::from_millis(20));
                theirs.write_all(b"again").unwrap();
                theirs
            });
            let limit = driver.now() + Duration::from_secs(10);
            driver.wait(Some(limit), &mut completions).unwrap();
            let names: Vec<_> = completions.iter().map(name_of).collect();
            assert_eq!(names, ["received", "sent"], "one wait, ended by the next question");
            theirs = asks.join().unwrap();
        }
        driver.close(key(1));
    });
}

#[test]
fn a_timer_that_ends_the_sleep_finds_the_send_ended() {
    with_driver(|driver| {
        let mut theirs = pair(driver, key(1));
        assert!(driver.send(key(1), owned(b"answer"), false).is_none());
        let all = idle(driver, Duration::from_millis(10));
        assert_eq!(all.iter().map(name_of).collect::<Vec<_>>(), ["sent"]);
        let mut heard = [0; 6];
        theirs.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"answer");
        driver.close(key(1));
    });
}

#[test]
fn what_does_not_fit_leaves_although_nothing_else_happens() {
    with_driver(|driver| {
        let theirs = pair(driver, key(1));
        let bytes: Vec<u8> = (0..3_000_000).map(|i| (i % 251) as u8).collect();
        let expected = bytes.clone();
        let reader = thread::spawn(move || {
            let (mut theirs, mut heard) = (theirs, vec![0; expected.len()]);
            thread::sleep(Duration::from_millis(5));
            theirs.read_exact(&mut heard).unwrap();
            assert!(heard == expected);
            theirs
        });
        assert!(driver.send(key(1), owned(&bytes), false).is_none());
        // Part of it left at once: the rest does not lie until something else happens.
        let mut completions = Vec::new();
        while !reader.is_finished() {
            let soon = driver.now() + Duration::from_millis(50);
            driver.wait(Some(soon), &mut completions).unwrap();
        }
        drop(reader.join().unwrap());
        completions.extend(idle(driver, Duration::from_millis(5)));
        assert_eq!(completions.first().map(name_of), Some("sent"));
        driver.close(key(1));
    });
}

#[test]
fn a_peer_that_is_gone_is_told_of() {
    with_driver(|driver| {
        drop(pair(driver, key(1)));
        assert!(driver.send(key(1), owned(b"answer"), false).is_none());
        let (mut failed, mut ended) = (false, false);
        pump(driver, |_, completion| {
            match completion {
                Completion::Sent { result, .. } => failed = result.is_err(),
                Completion::ReadEnded { .. } => ended = true,
                other => panic!("{other:?}"),
            }
            failed && ended
        });
        driver.close(key(1));
    });
}

#[test]
fn an_answer_leaves_although_its_stream_is_closed_at_once() {
    with_driver(|driver| {
        let before = descriptors();
        let mut theirs = pair(driver, key(1));
        assert!(driver.send(key(1), owned(b"last words"), false).is_none());
        driver.close(key(1));
        let after = idle(driver, Duration::from_millis(5));
        assert!(after.is_empty(), "{after:?}");
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "last words");
        drop(theirs);
        settles_at(before);
    });
}

fn name_of(completion: &Completion) -> &'static str {
    match completion {
        Completion::Received { .. } => "received",
        Completion::Sent { result: Ok(()), .. } => "sent",
        _ => "other",
    }
}
