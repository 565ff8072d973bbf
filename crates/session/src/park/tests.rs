//! Every state meets every event, and any sequence of events keeps the invariants.

use super::*;
use kern_mcp::era::rounds::Input;
use kern_terms::Instant;
use proptest::prelude::*;
use std::collections::BTreeSet;

const PATIENCE: Duration = Duration::from_secs(10);
const START: Instant = Instant::ZERO;

fn ask(id: &str) -> Event<'static> {
    Event::Asked(Asked::new(id.as_bytes(), Input::Form, Some(b"{\"message\":\"?\"}")))
}

fn step(park: &mut Park, now: Instant, event: Event<'_>) -> Vec<Effect> {
    let mut fx = Vec::new();
    park.step(now, event, &mut fx);
    fx
}

fn back(round: u32, responses: &'static str) -> Event<'static> {
    Event::Back { round, responses: Some(responses.as_bytes()) }
}

/// A park in each state; in `Gathering` and `Waiting` its server asked "a" under the id 1.
fn in_state(name: &str) -> Park {
    let mut park = Park::new(PATIENCE);
    let path = ["Running", "Gathering", "Waiting", "Kept", "Over"];
    let far = path.iter().position(|known| *known == name).expect("a state's name");
    if far >= 1 {
        step(&mut park, START, ask("1"));
    }
    if far >= 2 {
        step(&mut park, START + MOMENT, Event::Moment);
    }
    if far >= 3 {
        step(&mut park, START, Event::Finished);
    }
    if far >= 4 {
        step(&mut park, START, back(1, "{}"));
    }
    assert_eq!(name_of(&park), name);
    park
}

fn name_of(park: &Park) -> &'static str {
    match park.state() {
        State::Running => "Running",
        State::Gathering => "Gathering",
        State::Waiting { .. } => "Waiting",
        State::Kept { .. } => "Kept",
        State::Over => "Over",
    }
}

/// The effects in short: their names, and what is answered or refused.
fn short(fx: &[Effect]) -> String {
    let words = fx.iter().map(|effect| match effect {
        Effect::WakeSoon => "soon".to_owned(),
        Effect::Resume => "resume".to_owned(),
        Effect::Tell => "tell".to_owned(),
        Effect::Answer { id, result } => {
            format!("answer {} {}", String::from_utf8_lossy(id), result.len())
        }
        Effect::Refuse { id, .. } => format!("refuse {}", String::from_utf8_lossy(id)),
        Effect::Deliver => "deliver".to_owned(),
        Effect::Keep => "keep".to_owned(),
        Effect::Reject(Fault::Used) => "used".to_owned(),
        Effect::Reject(Fault::Expired) => "expired".to_owned(),
        Effect::Reject(Fault::Malformed(_)) => "malformed".to_owned(),
        Effect::Cancel => "cancel".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

const OK: &str = r#"{"q1":{"action":"decline"}}"#;

#[test]
fn every_state_knows_what_to_do_with_every_event() {
    let late = START + MOMENT + PATIENCE;
    #[rustfmt::skip]
    let table = [
        ("Running", START, ask("2"), "Gathering", "soon"),
        ("Running", START, Event::Withdrawn(b"1"), "Running", ""),
        ("Running", START, Event::Moment, "Running", ""),
        ("Running", START, Event::Finished, "Over", "deliver"),
        ("Running", START, back(1, OK), "Running", "used"),
        ("Running", late, Event::Clock, "Running", ""),
        ("Gathering", START, ask("2"), "Gathering", ""),
        ("Gathering", START, ask("1"), "Gathering", "refuse 1"),
        ("Gathering", START, Event::Withdrawn(b"1"), "Running", ""),
        ("Gathering", START, Event::Withdrawn(b"2"), "Gathering", ""),
        ("Gathering", START, Event::Moment, "Gathering", "soon"),
        ("Gathering", START + MOMENT, Event::Moment, "Waiting", "tell"),
        ("Gathering", START, Event::Finished, "Over", "refuse 1, deliver"),
        ("Gathering", START, back(1, OK), "Gathering", "used"),
        ("Gathering", late, Event::Clock, "Gathering", ""),
        ("Waiting", START, ask("2"), "Waiting", ""),
        ("Waiting", START, Event::Withdrawn(b"1"), "Waiting", ""),
        ("Waiting", START, Event::Moment, "Waiting", ""),
        ("Waiting", START, Event::Finished, "Kept", "refuse 1, keep"),
        ("Waiting", START, back(1, OK), "Running", "resume, answer 1 20"),
        ("Waiting", START, back(1, "{}"), "Waiting", "resume, tell"),
        ("Waiting", START, back(1, r#"{"x":{},"q2":{},"q01":{}}"#), "Waiting", "resume, tell"),
        ("Waiting", START, back(0, OK), "Waiting", "used"),
        ("Waiting", START, back(2, OK), "Waiting", "used"),
        ("Waiting", late, back(1, OK), "Waiting", "expired"),
        ("Waiting", START, back(1, r#"{"q1":7}"#), "Waiting", "malformed"),
        ("Waiting", START, back(1, r#"{"q1":{}}"#), "Waiting", "malformed"),
        ("Waiting", START, back(1, r#"{"q1":{"action":"no"}}"#), "Waiting", "malformed"),
        ("Waiting", START, Event::Clock, "Waiting", ""),
        ("Waiting", late, Event::Clock, "Over", "cancel, refuse 1"),
        ("Kept", START, ask("2"), "Kept", "refuse 2"),
        ("Kept", START, Event::Withdrawn(b"1"), "Kept", ""),
        ("Kept", START, Event::Moment, "Kept", ""),
        ("Kept", START, Event::Finished, "Kept", ""),
        ("Kept", START, back(1, "{}"), "Over", "resume, deliver"),
        ("Kept", START, back(2, "{}"), "Kept", "used"),
        ("Kept", late, back(1, "{}"), "Kept", "expired"),
        ("Kept", START, Event::Clock, "Kept", ""),
        ("Kept", late, Event::Clock, "Over", ""),
        ("Over", START, ask("2"), "Over", "refuse 2"),
        ("Over", START, Event::Withdrawn(b"1"), "Over", ""),
        ("Over", START, Event::Moment, "Over", ""),
        ("Over", START, Event::Finished, "Over", ""),
        ("Over", START, back(1, OK), "Over", "used"),
        ("Over", late, Event::Clock, "Over", ""),
    ];
    for (before, now, event, after, effects) in table {
        let shown = format!("{before} {event:?}");
        let mut park = in_state(before);
        let fx = step(&mut park, now, event);
        assert_eq!((name_of(&park), short(&fx).as_str()), (after, effects), "{shown}");
    }
}

#[test]
fn what_comes_together_is_told_together_but_nobody_waits_for_ever() {
    let mut park = in_state("Gathering");
    let half = MOMENT / 2;
    for at in 1..10 {
        let now = START + half * at;
        step(&mut park, now, ask(&format!("more {at}")));
        assert_eq!(short(&step(&mut park, now + half, Event::Moment)), "soon", "{at}");
    }
    assert_eq!(short(&step(&mut park, START + MOMENTS_MOST, Event::Moment)), "tell");
}

#[test]
fn what_is_not_answered_is_asked_again_with_what_came_meanwhile() {
    let mut park = in_state("Waiting");
    step(&mut park, START, ask("2"));
    let two = r#"{"q2":{"action":"accept","content":{}}}"#;
    assert_eq!(short(&step(&mut park, START, back(1, two))), "resume, tell", "it was not told yet");
    let mut out = Vec::new();
    park.write_result("s", &mut out);
    let out = String::from_utf8(out).expect("text");
    let member = r#"{"method":"elicitation/create","params":{"message":"?"}}"#;
    let expected = format!(
        r#"{{"resultType":"input_required","inputRequests":{{"q1":{member},"q2":{member}}},"requestState":"s"}}"#
    );
    assert_eq!(out, expected);
    assert_eq!(short(&step(&mut park, START, back(2, two))), "resume, answer 2 32, tell");
    assert_eq!(short(&step(&mut park, START, back(2, OK))), "used");
    assert_eq!(short(&step(&mut park, START, back(3, OK))), "resume, answer 1 20");
}

#[test]
fn a_server_cannot_make_us_keep_without_bound() {
    let mut park = Park::new(PATIENCE);
    for at in 0..ASKED_MAX {
        assert!(!short(&step(&mut park, START, ask(&at.to_string()))).contains("refuse"));
    }
    assert_eq!(short(&step(&mut park, START, ask("more"))), "refuse more");
    let mut park = Park::new(PATIENCE);
    let large = vec![b' '; ASKED_BYTES_MAX];
    let event = Event::Asked(Asked::new(b"1", Input::Roots, Some(&large)));
    assert_eq!(short(&step(&mut park, START, event)), "refuse 1");
}

#[test]
fn a_server_that_asks_and_withdraws_for_ever_sets_one_timer() {
    let mut park = Park::new(PATIENCE);
    for at in 0..10 {
        let fx = step(&mut park, START, ask("1"));
        assert_eq!(short(&fx), if at == 0 { "soon" } else { "" });
        step(&mut park, START, Event::Withdrawn(b"1"));
    }
    assert_eq!(short(&step(&mut park, START, ask("1"))), "");
    assert_eq!(short(&step(&mut park, START, Event::Moment)), "soon");
    assert_eq!(short(&step(&mut park, START + MOMENT, Event::Moment)), "tell");
    // A moment without room for another client is over, too: what comes next has one of its own.
    let (mut park, mut fx) = (in_state("Gathering"), Vec::new());
    park.refuse_asked("no room", &mut fx);
    assert_eq!(short(&step(&mut park, START, ask("2"))), "soon");
}

#[test]
fn a_server_that_forgot_what_it_asked_gets_no_answer_to_it() {
    let mut park = in_state("Gathering");
    park.forget_asked();
    assert_eq!(name_of(&park), "Running");
    let mut park = in_state("Gathering");
    let mut fx = Vec::new();
    park.refuse_asked("no room", &mut fx);
    assert_eq!((name_of(&park), short(&fx).as_str()), ("Running", "refuse 1"));
    let mut park = in_state("Waiting");
    park.forget_asked();
    assert_eq!(short(&step(&mut park, START, back(1, OK))), "resume");
    assert_eq!(name_of(&park), "Running");
}

#[derive(Clone, Debug)]
enum Act {
    Ask(u8),
    Withdraw(u8),
    Moment,
    Finish,
    Back { stale: bool, keys: Vec<u32> },
    Clock,
    Wait(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..20u8).prop_map(Act::Ask),
        1 => (0..20u8).prop_map(Act::Withdraw),
        4 => Just(Act::Moment),
        1 => Just(Act::Finish),
        4 => (any::<bool>(), proptest::collection::vec(1..20u32, 0..4))
            .prop_map(|(stale, keys)| Act::Back { stale, keys }),
        1 => Just(Act::Clock),
        1 => (0..4u8).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn nobody_is_answered_twice_and_nobody_is_forgotten(
        acts in proptest::collection::vec(act(), 0..60),
    ) {
        let mut park = Park::new(PATIENCE);
        let mut now = START;
        let mut open: BTreeSet<String> = BTreeSet::new();
        let (mut here, mut delivered, mut ended) = (true, 0, false);
        for act in acts {
            let responses;
            let event = match act {
                Act::Ask(id) => {
                    let new = open.insert(id.to_string());
                    if !new { continue }
                    ask(&id.to_string())
                }
                Act::Withdraw(id) => {
                    open.remove(&id.to_string());
                    responses = id.to_string();
                    Event::Withdrawn(responses.as_bytes())
                }
                Act::Moment => Event::Moment,
                Act::Finish => {
                    if ended { continue }
                    ended = true;
                    Event::Finished
                }
                Act::Back { stale, keys } => {
                    let keys: BTreeSet<_> = keys.into_iter().collect();
                    let members: Vec<_> =
                        keys.iter().map(|key| format!("\"q{key}\":{{\"action\":\"cancel\"}}")).collect();
                    responses = format!("{{{}}}", members.join(","));
                    let round = if stale { park.round().wrapping_sub(1) } else { park.round() };
                    Event::Back { round, responses: Some(responses.as_bytes()) }
                }
                Act::Clock => Event::Clock,
                Act::Wait(seconds) => { now = now + Duration::from_secs(seconds.into()); continue }
            };
            let mut fx = Vec::new();
            park.step(now, event, &mut fx);
            for effect in fx {
                match effect {
                    Effect::Resume => { prop_assert!(!here); here = true }
                    Effect::Tell => { prop_assert!(here && !open.is_empty()); here = false }
                    Effect::Deliver => { prop_assert!(here); here = false; delivered += 1 }
                    Effect::Answer { id, .. } | Effect::Refuse { id, .. } => {
                        prop_assert!(open.remove(&*String::from_utf8_lossy(&id)));
                    }
                    Effect::Keep => prop_assert!(!here && ended),
                    Effect::Cancel => { prop_assert!(!ended && !here); ended = true }
                    Effect::Reject(_) | Effect::WakeSoon => {}
                }
            }
            let over = park.state() == State::Over;
            prop_assert_eq!(park.is_away(), !here && !over);
            prop_assert!(delivered <= 1);
            prop_assert!(!over || open.is_empty());
            prop_assert!(park.asked.len() <= ASKED_MAX);
        }
    }
}
