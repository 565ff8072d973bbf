//! Send queues and their watermarks.

use bytes::Bytes;
use kern_reactor::{Event, Watermarks};

use crate::check;
use crate::rig::{Seen, pattern};

#[test]
fn everything_queued_in_a_turn_arrives_in_the_order_it_was_queued() {
    check(|rig| {
        let (near, far) = rig.pair();
        let mut whole = Vec::new();
        for round in 0..200 {
            let bytes = pattern(round * 40);
            match round % 3 {
                0 => rig.io().send(near, &bytes),
                1 => rig.io().send_with(near, |buffer| buffer.extend_from_slice(&bytes)),
                _ => rig.io().send_shared(near, Bytes::from(bytes.clone())),
            }
            whole.extend(bytes);
        }
        assert_eq!(rig.io().queued_bytes(near), whole.len());
        rig.until("all", |rig| rig.received(far).len() == whole.len());
        assert!(rig.received(far) == whole);
        rig.until("nothing queued", |rig| rig.io().queued_bytes(near) == 0);
        assert_eq!(rig.of(near), [], "never above the mark, so never drained");
    });
}

#[test]
fn a_producer_that_obeys_the_watermark_is_told_once_when_to_go_on() {
    check(|rig| {
        const SIZE: usize = 24 << 20;
        let (near, far) = rig.pair();
        rig.io().set_watermarks(near, Watermarks { low_bytes: 1000, high_bytes: 1 << 20 });
        rig.io().receive(far, false);
        rig.turn();
        let mut produced = 0;
        while !rig.io().is_full(near) {
            rig.io().send(near, &pattern(1 << 20));
            produced += 1 << 20;
            if produced % (4 << 20) == 0 {
                rig.turn();
            }
            assert!(produced < 64 << 20, "a peer that does not read fills the queue");
        }
        rig.turn();
        assert_eq!(rig.of(near), []);
        rig.io().receive(far, true);
        rig.see(&Seen::Drained(near));
        assert!(!rig.io().is_full(near));
        rig.until("all", |rig| rig.received(far).len() == produced);
        assert_eq!(rig.of(near), [Seen::Drained(near)]);
        assert!(produced < SIZE * 4);
    });
}

#[test]
fn a_stream_that_does_not_receive_gets_nothing_until_it_does() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.io().receive(far, false);
        rig.turn();
        rig.io().send(near, b"later");
        for _ in 0..5 {
            rig.turn();
        }
        assert_eq!(rig.received(far), b"");
        rig.io().receive(far, true);
        rig.see(&Seen::Received(far, b"later".into()));
    });
}

#[test]
fn an_echo_from_inside_the_event_reaches_the_peer() {
    check(|rig| {
        let (near, far) = rig.pair();
        rig.react(move |io, event| {
            if let Event::Received { stream, chunk } = event
                && *stream == far
            {
                io.send(far, chunk);
            }
        });
        rig.io().send(near, &pattern(300_000));
        rig.until("the echo", |rig| rig.received(near).len() == 300_000);
        assert!(rig.received(near) == pattern(300_000));
        let stats = rig.io().stats();
        assert_eq!((stats.received_bytes, stats.sent_bytes), (600_000, 600_000));
    });
}
