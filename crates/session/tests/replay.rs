//! Does a client that lost its connection get what followed on its stream, and nothing else?
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kern_session::{EventId, Replay};
use kern_terms::Instant;
use proptest::prelude::*;

const FIRST: u32 = u32::MAX - 2;

/// What can happen to a session's streams.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Say { stream: usize, bytes: usize },
    End { stream: usize },
    Wrote { stream: usize },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..6usize;
    prop_oneof![
        1 => Just(Step::Open),
        12 => (stream.clone(), 0..40usize)
            .prop_map(|(stream, bytes)| Step::Say { stream, bytes }),
        2 => stream.clone().prop_map(|stream| Step::End { stream }),
        2 => stream.prop_map(|stream| Step::Wrote { stream }),
        1 => (0..200u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Everything that was said, by stream.
type Said = BTreeMap<u32, Vec<Bytes>>;

/// What is given after each place of each stream is the newest part of what was said there.
fn check(replay: &Replay, said: &Said, bytes_max: usize) {
    let mut kept = 0;
    for (stream, all) in said {
        let most: Vec<_> =
            replay.after(EventId { stream: *stream, sequence: 0 }).map(|(id, _)| id).collect();
        for sequence in 0..=all.len() as u32 {
            let place = EventId { stream: *stream, sequence };
            let given: Vec<_> = replay.after(place).collect();
            let wanted = all.len() - sequence as usize;
            assert!(given.len() <= wanted);
            for (at, (id, message)) in given.iter().rev().enumerate() {
                let position = all.len() - 1 - at;
                assert_eq!((id.stream, id.sequence as usize), (*stream, position + 1));
                assert_eq!(**message, all[position]);
            }
            // Only what is kept of the whole stream can be missing.
            assert_eq!(given.len(), wanted.min(most.len()));
        }
        kept += replay.after(EventId { stream: *stream, sequence: 0 }).count();
        let beyond = EventId { stream: *stream, sequence: all.len() as u32 + 1 };
        assert!(!replay.has_place(beyond));
        assert_eq!(replay.after(beyond).count(), 0);
    }
    let bytes: usize = said
        .keys()
        .flat_map(|stream| replay.after(EventId { stream: *stream, sequence: 0 }))
        .map(|(_, message)| message.len())
        .sum();
    assert_eq!(replay.bytes(), bytes);
    assert!(kept <= Replay::EVENTS_MAX && bytes <= bytes_max);
}

proptest! {
    #[test]
    fn a_resumed_stream_gets_its_newest_events_in_order_and_memory_stays_bounded(
        steps in prop::collection::vec(step(), 1..120),
        bytes_max in prop_oneof![Just(200usize), Just(10_000)],
    ) {
        let mut replay = Replay::new(FIRST);
        let mut said = Said::new();
        let mut ended = Vec::new();
        let mut streams = vec![replay.open(Instant::ZERO)];
        said.insert(streams[0], Vec::new());
        let mut now = Instant::ZERO;
        for step in steps {
            match step {
                Step::Open if streams.len() < 6 => {
                    let stream = replay.open(Instant::ZERO);
                    prop_assert!(said.insert(stream, Vec::new()).is_none());
                    streams.push(stream);
                }
                Step::Open => {}
                Step::Say { stream, bytes } => {
                    let stream = streams[stream % streams.len()];
                    let message = Bytes::from(vec![b'x'; bytes]);
                    let id = replay.say(stream, Instant::ZERO, message.clone(), bytes_max);
                    prop_assert_eq!(id.is_none(), ended.contains(&stream));
                    if let Some(id) = id {
                        let all = said.get_mut(&stream).unwrap();
                        all.push(message);
                        prop_assert_eq!(id, EventId { stream, sequence: all.len() as u32 });
                    }
                }
                Step::End { stream } => {
                    let stream = streams[stream % streams.len()];
                    replay.end(stream, now);
                    ended.push(stream);
                }
                Step::Wrote { stream } => {
                    let stream = streams[stream % streams.len()];
                    replay.wrote(stream);
                    if let Some(id) = replay.written(stream) {
                        prop_assert_eq!(id.sequence as usize, said[&stream].len());
                    }
                }
                Step::Wait { seconds } => {
                    now = now + Duration::from_secs(seconds);
                    replay.expire(now);
                }
            }
            check(&replay, &said, bytes_max);
        }
    }

    #[test]
    fn only_the_exact_text_names_an_event(stream: u32, sequence: u32, text in "[0-9a-f+ -]{0,14}") {
        let id = EventId { stream, sequence };
        prop_assert_eq!(EventId::parse(id.to_string().as_bytes()), Some(id));
        if let Some(id) = EventId::parse(text.as_bytes()) {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn an_ended_stream_is_kept_for_a_while_and_for_so_many_only() {
    let mut replay = Replay::new(7);
    let start = Instant::ZERO;
    let first = replay.open(Instant::ZERO);
    replay.say(first, Instant::ZERO, Bytes::from_static(b"answer"), 100);
    replay.end(first, start);
    let place = EventId { stream: first, sequence: 0 };
    assert!(replay.has_place(place) && !replay.state(first).goes_on());
    replay.expire(start + (Replay::KEPT_FOR - Duration::from_secs(1)));
    assert_eq!(replay.after(place).count(), 1);
    replay.expire(start + Replay::KEPT_FOR);
    assert_eq!((replay.has_place(place), replay.bytes()), (false, 0));
    for _ in 0..=Replay::ENDED_MAX {
        let stream = replay.open(Instant::ZERO);
        replay.say(stream, Instant::ZERO, Bytes::from_static(b"x"), 1_000);
        replay.end(stream, start);
    }
    assert_eq!(replay.bytes(), Replay::ENDED_MAX);
    assert!(!replay.has_place(EventId { stream: first + 1, sequence: 0 }));
}

#[test]
fn an_answer_too_large_to_keep_leaves_no_stream_that_would_wait_for_it() {
    let mut replay = Replay::new(7);
    let stream = replay.open(Instant::ZERO);
    replay.say(stream, Instant::ZERO, Bytes::from(vec![0; 101]), 100);
    replay.end(stream, Instant::ZERO);
    assert!(!replay.has_place(EventId { stream, sequence: 0 }));
    assert_eq!(replay.bytes(), 0);
}
