//! Timers, callbacks, posts and their order.

use std::time::Duration;

use kern_reactor::Event;
use kern_terms::CoreId;

use crate::check;
use crate::rig::Seen;

#[test]
fn callbacks_come_in_their_turn() {
    check(|rig| {
        rig.react(|io, event| {
            if let Event::Callback { token: 1 } = event {
                io.this_turn(10);
                io.next_turn(20);
            }
        });
        rig.io().next_turn(1);
        rig.io().next_turn(2);
        rig.see(&Seen::Callback(20));
        rig.turn();
        let callbacks = [1, 2, 10].map(Seen::Callback);
        let expected =
            [&callbacks[..], &[Seen::TurnEnd, Seen::Callback(20), Seen::TurnEnd]].concat();
        assert_eq!(rig.with_turn_ends(), expected);
    });
}

#[test]
fn callbacks_that_ask_for_themselves_do_not_hold_the_turn() {
    check(|rig| {
        rig.react(|io, event| {
            if let Event::Callback { token } = event {
                io.this_turn(*token);
            }
        });
        rig.io().this_turn(1);
        let timer = Duration::from_millis(1);
        rig.io().timer(timer, 7);
        rig.see(&Seen::Timer(7));
    });
}

#[test]
fn timers_fire_in_order_and_not_once_cancelled() {
    check(|rig| {
        let millis = Duration::from_millis;
        rig.io().timer(millis(30), 3);
        rig.io().timer(millis(10), 1);
        let cancelled = rig.io().timer(millis(20), 2);
        rig.io().timer(Duration::ZERO, 0);
        rig.io().cancel(cancelled);
        let start = rig.io().now();
        rig.see(&Seen::Timer(3));
        assert!(rig.io().now().since(start) >= millis(30));
        rig.io().cancel(cancelled);
        assert_eq!(rig.all(), [0, 1, 3].map(Seen::Timer));
    });
}

#[test]
fn a_timer_cancelled_by_another_of_the_same_moment_does_not_fire() {
    check(|rig| {
        let first = rig.io().timer(Duration::from_millis(5), 1);
        let second = rig.io().timer(Duration::from_millis(5), 2);
        rig.react(move |io, event| {
            if let Event::Timer { timer, .. } = event {
                io.cancel(if *timer == first { second } else { first });
            }
        });
        rig.see(&Seen::Timer(1));
        rig.turn();
        rig.turn();
        assert_eq!(rig.all(), [Seen::Timer(1)]);
    });
}

#[test]
fn an_unloaded_core_gives_a_scaled_timer_all_its_time() {
    check(|rig| {
        let start = rig.io().now();
        let timer = rig.io().scaled_timer(Duration::from_millis(10), Duration::from_millis(80), 1);
        let other = rig.io().scaled_timer(Duration::from_millis(10), Duration::from_millis(80), 2);
        assert_ne!(timer, other);
        rig.io().cancel(other);
        rig.see(&Seen::Timer(1));
        // Building and running this may itself load the core, but never below the least.
        let took = rig.io().now().since(start);
        assert!(took >= Duration::from_millis(10), "{took:?}");
        assert_eq!(rig.all(), [Seen::Timer(1)]);
    });
}

#[test]
fn posts_to_oneself_keep_their_order_and_come_in_a_later_turn() {
    check(|rig| {
        rig.react(|io, event| {
            if let Event::Post { message: 3, .. } = event {
                io.post(io.core(), 4);
            }
        });
        for message in 1..=3 {
            rig.io().post(CoreId(0), message);
        }
        rig.see(&Seen::Post(Some(CoreId(0)), 4));
        rig.turn();
        let posts = |messages: std::ops::RangeInclusive<u32>| {
            messages.map(|message| Seen::Post(Some(CoreId(0)), message)).collect::<Vec<_>>()
        };
        let expected = [posts(1..=3), vec![Seen::TurnEnd], posts(4..=4), vec![Seen::TurnEnd]];
        assert_eq!(rig.with_turn_ends(), expected.concat());
    });
}

#[test]
fn the_answer_of_an_errand_comes_as_a_post() {
    check(|rig| {
        rig.io().errand(|| 42);
        rig.see(&Seen::Post(None, 42));
    });
}

#[test]
fn a_post_to_a_core_that_is_not_there_is_counted_as_lost() {
    check(|rig| {
        rig.io().post(CoreId(9), 1);
        rig.turn();
        assert_eq!(rig.io().stats().posts_lost, 1);
    });
}
