//! Is `docs/states.md` what the state machines do, and do they keep their promises in any order of
//! events?
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::{Debug, Write};
use std::time::Duration;

use kern_session::{call, life, listen, stream};
use kern_terms::{Era, Instant};
use proptest::prelude::*;

const START: Instant = Instant::ZERO;
const IDLE: Duration = Duration::from_secs(60);

fn late() -> Instant {
    START + IDLE
}

/// One table of the document: a row for each state, a column for each event; where nothing happens
/// a dash, else the next state and what is done.
fn table<S: Copy + Debug + PartialEq, E: Copy, F: Debug>(
    states: &[(&str, S)],
    events: &[(&str, E)],
    step: impl Fn(S, E) -> (S, F),
    name: impl Fn(S) -> &'static str,
) -> String {
    let mut out = String::from("| |");
    events.iter().for_each(|(event, _)| write!(out, " {event} |").unwrap());
    out.push_str("\n|---|");
    events.iter().for_each(|_| out.push_str("---|"));
    for (shown, state) in states {
        write!(out, "\n| `{shown}` |").unwrap();
        for (_, event) in events {
            let (next, effect) = step(*state, *event);
            let effect = format!("{effect:?}");
            let stays = name(next) == *shown;
            let cell = match (stays, effect.as_str()) {
                (true, "Nothing") => "–".to_owned(),
                (true, effect) => effect.to_owned(),
                (false, "Nothing") => format!("`{}`", name(next)),
                (false, effect) => format!("`{}`, {effect}", name(next)),
            };
            write!(out, " {cell} |").unwrap();
        }
    }
    out.push('\n');
    out
}

fn life_name(state: life::State) -> &'static str {
    match state {
        life::State::Idle { .. } => "Idle",
        life::State::Calling { .. } => "Calling",
        life::State::Streaming { .. } => "Streaming",
        life::State::Over => "Over",
    }
}

fn call_name(state: call::State) -> &'static str {
    match state {
        call::State::Waiting => "Waiting",
        call::State::Sent => "Sent",
        call::State::Answering => "Answering",
        call::State::Asking => "Asking",
        call::State::Pausing => "Pausing",
        call::State::Away => "Away",
        call::State::Kept { .. } => "Kept",
        call::State::Over { owes: false } => "Over",
        call::State::Over { owes: true } => "Over, owed",
    }
}

fn stream_name(state: stream::State) -> &'static str {
    match state {
        stream::State::Opening { .. } => "Opening",
        stream::State::Carried => "Carried",
        stream::State::Cut { .. } => "Cut",
        stream::State::Ended { .. } => "Ended",
        stream::State::Over => "Over",
    }
}

fn listen_name(state: listen::State) -> &'static str {
    match state {
        listen::State::Opening => "Opening",
        listen::State::Open => "Open",
        listen::State::Over => "Over",
    }
}

const CALL_EVENTS: [(&str, call::Event); 13] = [
    ("sent", call::Event::Sent),
    ("queued", call::Event::Queued),
    ("asked", call::Event::Asked),
    ("paused", call::Event::Paused),
    ("told", call::Event::Told),
    ("back", call::Event::Back),
    ("begun", call::Event::Begun),
    ("answered", call::Event::Answered),
    ("failed", call::Event::Failed),
    ("cancelled", call::Event::Cancelled),
    ("gone, new era", call::Event::Gone(Era::Modern)),
    ("gone, old era", call::Event::Gone(Era::Legacy)),
    ("overdue", call::Event::Overdue),
];

const LIFE_EVENTS: [(&str, life::Event); 7] = [
    ("named", life::Event::Named),
    ("a call begins", life::Event::CallBegan),
    ("a call ends", life::Event::CallEnded),
    ("a stream opens", life::Event::StreamOpened),
    ("a stream closes", life::Event::StreamClosed),
    ("silent too long", life::Event::Clock(IDLE)),
    ("ended", life::Event::Ended),
];

const STREAM_EVENTS: [(&str, stream::Event); 6] = [
    ("said", stream::Event::Said),
    ("attached", stream::Event::Attached),
    ("lost", stream::Event::Lost),
    ("finished", stream::Event::Finished),
    ("kept long enough", stream::Event::Clock(IDLE)),
    ("dropped", stream::Event::Dropped),
];

const LISTEN_EVENTS: [(&str, listen::Event); 4] = [
    ("agreed", listen::Event::Agreed),
    ("changed", listen::Event::Changed),
    ("withdrawn", listen::Event::Withdrawn),
    ("ended", listen::Event::Ended),
];

fn tables() -> [(&'static str, String); 4] {
    let since = START;
    let sessions = table(
        &[
            ("Idle", life::State::Idle { since }),
            ("Calling", life::State::Calling { calls: 1 }),
            ("Streaming", life::State::Streaming { streams: 1, calls: 0 }),
            ("Over", life::State::Over),
        ],
        &LIFE_EVENTS,
        |state, event| state.step(late(), event),
        life_name,
    );
    let calls = table(
        &[
            ("Waiting", call::State::Waiting),
            ("Sent", call::State::Sent),
            ("Answering", call::State::Answering),
            ("Asking", call::State::Asking),
            ("Pausing", call::State::Pausing),
            ("Away", call::State::Away),
            ("Kept", call::State::Kept { owes: false }),
            ("Over", call::State::Over { owes: false }),
        ],
        &CALL_EVENTS,
        call::State::step,
        call_name,
    );
    let streams = table(
        &[
            ("Opening", stream::State::Opening { since }),
            ("Carried", stream::State::Carried),
            ("Cut", stream::State::Cut { since }),
            ("Ended", stream::State::Ended { since }),
            ("Over", stream::State::Over),
        ],
        &STREAM_EVENTS,
        |state, event| state.step(late(), event),
        stream_name,
    );
    let listens = table(
        &[
            ("Opening", listen::State::Opening),
            ("Open", listen::State::Open),
            ("Over", listen::State::Over),
        ],
        &LISTEN_EVENTS,
        listen::State::step,
        listen_name,
    );
    [
        ("Sessions", sessions),
        ("Calls", calls),
        ("Event streams", streams),
        ("Listen streams", listens),
    ]
}

#[test]
fn a_reader_of_the_document_reads_what_the_machines_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");
    let document = std::fs::read_to_string(path).expect(path).replace("\r\n", "\n");
    let wrong = tables().into_iter().filter(|(title, table)| {
        !document.contains(&format!("\n## {title}\n")) || !document.contains(table)
    });
    let wrong: Vec<String> = wrong.map(|(title, table)| format!("## {title}\n{table}")).collect();
    assert!(wrong.is_empty(), "docs/states.md should say:\n{}", wrong.join("\n"));
}

proptest! {
    /// Else a client gets two answers, or a server is told of a call that it never had.
    #[test]
    fn a_call_ends_once_for_its_client_and_is_taken_back_once(
        events in prop::collection::vec(0..CALL_EVENTS.len(), 0..40)
    ) {
        use call::{Effect, Event, State};
        let mut state = State::Waiting;
        let (mut ends, mut told, mut kept, mut out, mut begun) = (0, 0, 0, false, false);
        for at in events {
            let event = CALL_EVENTS[at].1;
            let was = state;
            let (next, effect) = state.step(event);
            state = next;
            let ends_now = matches!(
                effect,
                Effect::Deliver | Effect::Finish | Effect::Refuse | Effect::Close | Effect::Withdraw
                    | Effect::Expire | Effect::Forget | Effect::Drop
            );
            prop_assert_eq!(ends_now, matches!(next, State::Over { .. }) && next != was);
            ends += usize::from(ends_now);
            if matches!(effect, Effect::Withdraw | Effect::Expire | Effect::Forget) {
                prop_assert!(out, "told of what it does not have: {:?} in {:?}", event, was);
                told += 1;
            }
            kept += usize::from(effect == Effect::Keep);
            // What has begun is finished or cut off; no other answer takes its place.
            begun |= effect == Effect::Begin;
            prop_assert!(effect != Effect::Finish || begun);
            prop_assert!(!(begun && matches!(effect, Effect::Deliver | Effect::Keep | Effect::Close)));
            if effect == Effect::Fetch {
                prop_assert!(kept > 0);
            }
            out = state.is_sent();
            if was == (State::Over { owes: true }) || was == (State::Over { owes: false }) {
                prop_assert!(next == was && effect == Effect::Ignore);
            }
            if event == Event::Gone(Era::Legacy) {
                prop_assert_eq!(next, was);
            }
        }
        prop_assert!(ends <= 1 && told <= 1);
    }

    /// Else a session leaks, or one in use is taken away.
    #[test]
    fn a_session_is_released_once_and_never_by_the_clock_while_it_is_used(
        events in prop::collection::vec((0..LIFE_EVENTS.len(), 0..100u64), 0..60)
    ) {
        use life::{Effect, Event, State};
        let mut state = State::Idle { since: START };
        let (mut now, mut streams, mut calls, mut released) = (START, 0_usize, 0_usize, 0);
        for (at, seconds) in events {
            now = now + Duration::from_secs(seconds);
            let event = LIFE_EVENTS[at].1;
            // A caller ends what it began.
            if (event == Event::CallEnded && calls == 0) || (event == Event::StreamClosed && streams == 0) {
                continue;
            }
            let was = state;
            let (next, effect) = state.step(now, event);
            state = next;
            if was != State::Over {
                match event {
                    Event::CallBegan => calls += 1,
                    Event::CallEnded => calls -= 1,
                    Event::StreamOpened => streams += 1,
                    Event::StreamClosed => streams -= 1,
                    Event::Clock(_) => {
                        prop_assert!(effect == Effect::Nothing || (streams == 0 && calls == 0));
                    }
                    Event::Named | Event::Ended => {}
                }
                let expected = match (streams, calls) {
                    _ if state == State::Over => (0, 0),
                    now => now,
                };
                let held = match state {
                    State::Idle { .. } | State::Over => (0, 0),
                    State::Calling { calls } => (0, calls),
                    State::Streaming { streams, calls } => (streams, calls),
                };
                prop_assert_eq!(held, expected);
            } else {
                prop_assert_eq!(state, State::Over);
                prop_assert_eq!(effect == Effect::NotFound, event == Event::Named);
            }
            released += usize::from(effect == Effect::Release);
            prop_assert_eq!(released, usize::from(state == State::Over));
        }
    }

    /// Else a message is lost on the way, or said on a stream that ended.
    #[test]
    fn what_is_said_on_a_stream_is_written_or_kept_until_it_ends(
        events in prop::collection::vec((0..STREAM_EVENTS.len(), 0..100u64), 0..60)
    ) {
        use stream::{Effect, Event, State};
        let mut state = State::Opening { since: START };
        let (mut now, mut carried, mut ended, mut forgotten) = (START, false, false, 0);
        for (at, seconds) in events {
            now = now + Duration::from_secs(seconds);
            let event = STREAM_EVENTS[at].1;
            let (next, effect) = state.step(now, event);
            state = next;
            match event {
                Event::Said => {
                    let expected = match (ended, carried) {
                        (true, _) => Effect::Ignore,
                        (false, true) => Effect::Write,
                        (false, false) => Effect::Keep,
                    };
                    prop_assert_eq!(effect, expected);
                }
                Event::Attached => {
                    prop_assert_eq!(effect == Effect::Replace, carried);
                    carried |= matches!(effect, Effect::Carry | Effect::Replace);
                }
                Event::Lost => carried = false,
                Event::Finished | Event::Dropped => (carried, ended) = (false, true),
                Event::Clock(_) => {}
            }
            forgotten += usize::from(effect == Effect::Forget);
            prop_assert_eq!(forgotten, usize::from(state == State::Over));
            prop_assert_eq!(state.goes_on(), !ended);
        }
    }

    /// Else a client hears of a change before it knows what it subscribed to, or a subscription is
    /// left behind at a server.
    #[test]
    fn a_listen_stream_begins_with_its_acknowledgement_and_is_released_once(
        events in prop::collection::vec(0..LISTEN_EVENTS.len(), 0..30)
    ) {
        use listen::{Effect, State};
        let mut state = State::Opening;
        let (mut acknowledged, mut released) = (0, 0);
        for at in events {
            let (next, effect) = state.step(LISTEN_EVENTS[at].1);
            state = next;
            if effect == Effect::Tell {
                prop_assert!(acknowledged == 1 && released == 0);
            }
            acknowledged += usize::from(effect == Effect::Acknowledge);
            released += usize::from(matches!(effect, Effect::Release | Effect::Finish));
            prop_assert_eq!(released, usize::from(state == State::Over));
        }
        prop_assert!(acknowledged <= 1);
    }
}
