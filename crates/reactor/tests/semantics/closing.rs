//! Ends of streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kern_reactor::{Command, Event};

use crate::check;
use crate::rig::{Seen, pattern};

const LINGER: Duration = Duration::from_secs(5);

#[test]
fn both_ends_finishing_is_an_orderly_close_seen_once_by_each() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.io().send(near, b"question");
        rig.io().finish(near);
        rig.see(&Seen::Finished(far));
        rig.io().send(far, b"answer");
        rig.io().finish(far);
        rig.see(&Seen::Orderly(near));
        rig.see(&Seen::Orderly(far));
        rig.turn();
        assert_eq!(
            rig.of(near),
            [Seen::Received(near, b"answer".into()), Seen::Finished(near), Seen::Orderly(near)]
        );
        assert_eq!(
            rig.of(far),
            [Seen::Received(far, b"question".into()), Seen::Finished(far), Seen::Orderly(far)]
        );
        assert_eq!(rig.streams(), 0);
    });
}

#[test]
fn a_stream_the_app_closed_is_not_heard_of_again() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.io().send(far, b"on its way");
        rig.io().abort(near);
        rig.io().send(near, b"nothing happens");
        rig.io().finish(near);
        rig.io().close(near, LINGER);
        assert_eq!((rig.io().queued_bytes(near), rig.io().is_full(near)), (0, false));
        rig.until("the other end notices", |rig| !rig.of(far).is_empty());
        rig.io().close(far, Duration::ZERO);
        rig.until("gone", |rig| rig.streams() == 0);
        assert_eq!(rig.of(near), []);
    });
}

#[test]
fn a_stream_closed_while_its_end_was_on_the_way_is_not_reported_closed() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.react(move |io, event| {
            if matches!(event, Event::Finished { stream } if *stream == far) {
                io.abort(far);
            }
        });
        rig.io().finish(far);
        rig.io().finish(near);
        rig.see(&Seen::Finished(far));
        rig.see(&Seen::Orderly(near));
        rig.turn();
        assert_eq!(rig.of(far), [Seen::Finished(far)]);
        assert_eq!(rig.streams(), 0);
    });
}

#[test]
fn a_peer_that_vanishes_breaks_the_stream_once() {
    check(|rig| {
        let (_, address) = rig.listen();
        let peer = TcpStream::connect(address).unwrap();
        rig.until("accepted", |rig| !rig.all().is_empty());
        let Seen::Accepted(far) = rig.all()[0].clone() else { panic!() };
        let peer = socket2::Socket::from(peer);
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        rig.see(&Seen::Broken(far));
        rig.turn();
        assert_eq!(rig.of(far), [Seen::Accepted(far), Seen::Broken(far)]);
        assert_eq!(rig.streams(), 0);
    });
}

#[test]
fn closing_delivers_what_is_queued_even_to_a_peer_whose_bytes_we_never_read() {
    check(|rig| {
        const SIZE: usize = 4 << 20;
        let (_, address) = rig.listen();
        let mut peer = TcpStream::connect(address).unwrap();
        rig.until("accepted", |rig| !rig.all().is_empty());
        let Seen::Accepted(far) = rig.all()[0].clone() else { panic!() };
        rig.io().receive(far, false);
        rig.turn();
        // Unread input makes a plain close reset the connection.
        peer.write_all(&pattern(100_000)).unwrap();
        rig.io().send(far, &pattern(SIZE));
        rig.io().close(far, LINGER);
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        rig.until("gone", |rig| rig.streams() == 0);
        assert!(reader.join().unwrap() == pattern(SIZE));
        assert_eq!(rig.of(far).len(), 1, "only accepted");
    });
}

#[test]
fn closing_does_not_wait_longer_than_the_linger_for_a_peer_that_does_not_read() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.io().receive(near, false);
        rig.io().send(far, &pattern(32 << 20));
        rig.turn();
        let started = rig.io().now();
        rig.io().close(far, Duration::from_millis(100));
        rig.until("gone", |rig| rig.streams() < 2);
        let waited = rig.io().now().since(started);
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
        assert_eq!(rig.of(far), []);
    });
}

#[test]
fn a_core_that_leaves_lets_closed_streams_deliver_and_then_ends() {
    check(|rig| {
        const SIZE: usize = 4 << 20;
        let (_, address) = rig.listen();
        let mut peer = TcpStream::connect(address).unwrap();
        rig.until("accepted", |rig| !rig.all().is_empty());
        let Seen::Accepted(far) = rig.all()[0].clone() else { panic!() };
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all.len()
        });
        rig.io().send(far, &pattern(SIZE));
        rig.io().close(far, LINGER);
        rig.io().leave();
        while !rig.turn() {}
        assert_eq!(reader.join().unwrap(), SIZE);
    });
}

#[test]
#[cfg_attr(not(unix), ignore = "needs a shell")]
fn a_child_is_heard_to_its_end() {
    check(|rig| {
        let path = std::env::var("PATH").unwrap();
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "cat; echo oops >&2; exit 3".into()],
            env: vec![("PATH".into(), path)],
            cwd: None,
        };
        let child = rig.io().spawn(&command).unwrap();
        rig.io().send(child.pipes, b"hello");
        rig.io().finish(child.pipes);
        rig.see(&Seen::Exited(child.child, Some(3)));
        rig.see(&Seen::Orderly(child.pipes));
        rig.see(&Seen::Orderly(child.errors));
        let (pipes, errors) = (child.pipes, child.errors);
        assert_eq!(
            rig.of(pipes),
            [Seen::Received(pipes, b"hello".into()), Seen::Finished(pipes), Seen::Orderly(pipes)]
        );
        assert_eq!(
            rig.of(errors),
            [
                Seen::Received(errors, b"oops\n".into()),
                Seen::Finished(errors),
                Seen::Orderly(errors)
            ]
        );
        assert!(rig.io().signal(child.child, kern_reactor::Signal::Kill).is_err());
        rig.turn();
        assert_eq!(rig.streams(), 0);
    });
}

#[test]
#[cfg_attr(not(unix), ignore = "needs a shell")]
fn the_last_words_of_a_child_that_does_not_listen_are_heard() {
    check(|rig| {
        let path = std::env::var("PATH").unwrap();
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "exec 0<&-; echo a; sleep 0.2; echo b".into()],
            env: vec![("PATH".into(), path)],
            cwd: None,
        };
        let child = rig.io().spawn(&command).unwrap();
        rig.until("it is deaf", |rig| rig.received(child.pipes) == b"a\n");
        rig.io().send(child.pipes, b"hello?");
        rig.see(&Seen::Broken(child.pipes));
        assert_eq!(rig.received(child.pipes), b"a\nb\n");
    });
}
