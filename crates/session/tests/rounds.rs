//! Does a call in rounds end, and does its server get exactly what its client said?
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use kern_mcp::era::rounds::{Input, Malformed, questions};
use kern_mcp::{ScanLimits, scan};
use kern_session::limits::{ANSWERS_BYTES_MAX, ROUNDS_MAX};
use kern_session::rounds::{Answer, Event, Phase, RoundFault, Rounds, Step};
use kern_terms::{Instant, Key};
use proptest::prelude::*;

const PATIENCE: Duration = Duration::from_secs(7);
const ALL: &[u8] = br#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;
const ACCEPT: Answer<'static> = Answer::Result(br#"{"action":"accept"}"#);
const ERROR: Answer<'static> = Answer::Error { code: -1, message: "no" };

fn key(slot: usize) -> Key {
    Key { slot: u32::try_from(slot).unwrap(), generation: 0 }
}

/// A result that asks for these, under `k0`, `k1`, …
fn result(kinds: &[Input], state: Option<&str>) -> String {
    let entry = |(at, kind): (usize, &Input)| {
        let mode = if *kind == Input::Url { r#""mode":"url""# } else { "" };
        format!(r#""k{at}":{{"method":"{}","params":{{{mode}}}}}"#, kind.method())
    };
    let entries: Vec<String> = kinds.iter().enumerate().map(entry).collect();
    let state = state.map_or(String::new(), |state| format!(r#","requestState":"{state}""#));
    let entries = entries.join(",");
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","inputRequests":{{{entries}}}{state}}}}}"#
    )
}

/// Feeds a result; binds question `n` to the request `base + n`.
fn require(rounds: &mut Rounds, message: &str, capabilities: &[u8], base: usize) -> Step {
    let envelope = scan(message.as_bytes(), &ScanLimits::default()).expect(message);
    let event = Event::Required {
        message: message.as_bytes(),
        questions: questions(message.as_bytes(), &envelope),
        state: envelope.request_state.map(|span| span.of(message.as_bytes())),
        capabilities,
    };
    let step = rounds.step(Instant::ZERO, event);
    if step == Step::Ask {
        for index in 0..rounds.questions() {
            rounds.bind(index, key(base + index));
        }
    }
    step
}

fn answer(rounds: &mut Rounds, request: usize, answer: Answer<'_>) -> Step {
    rounds.step(Instant::ZERO, Event::Answered { request: key(request), answer })
}

fn late() -> Instant {
    Instant::ZERO + PATIENCE
}

/// For each state what each event of [`every_state_knows_every_event`] leads to.
fn expected() -> [(Phase, [(Step, Phase); 7]); 3] {
    let unanswered = Step::Fail(RoundFault::Unanswered(Input::Form, PATIENCE));
    use Phase::{Asking, Over, Sent};
    use Step::{Ask, Ignore, Retry, Wait};
    [
        (
            Sent,
            [
                (Ask, Asking),
                (Retry, Sent),
                (Ignore, Sent),
                (Ignore, Sent),
                (Ignore, Sent),
                (Ignore, Sent),
                (Ignore, Over),
            ],
        ),
        (
            Asking,
            [
                (Ignore, Asking),
                (Ignore, Asking),
                (Wait, Asking),
                (Ignore, Asking),
                (Wait, Asking),
                (unanswered, Over),
                (Ignore, Over),
            ],
        ),
        (
            Over,
            [
                (Ignore, Over),
                (Ignore, Over),
                (Ignore, Over),
                (Ignore, Over),
                (Ignore, Over),
                (Ignore, Over),
                (Ignore, Over),
            ],
        ),
    ]
}

#[test]
fn every_state_knows_every_event() {
    let message = result(&[Input::Form, Input::Roots], Some("s"));
    let in_phase = |phase: Phase| {
        let mut rounds = Rounds::new(PATIENCE);
        match phase {
            Phase::Sent => {}
            Phase::Asking => assert_eq!(require(&mut rounds, &message, ALL, 0), Step::Ask),
            Phase::Over => assert_eq!(rounds.step(late(), Event::Ended), Step::Ignore),
        }
        assert_eq!(rounds.phase(), phase);
        rounds
    };
    let state_only = result(&[], Some("s"));
    type Act<'a> = (&'a str, &'a dyn Fn(&mut Rounds) -> Step);
    let events: [Act<'_>; 7] = [
        ("questions", &|it| require(it, &message, ALL, 10)),
        ("a state", &|it| require(it, &state_only, ALL, 10)),
        ("an answer", &|it| answer(it, 0, ACCEPT)),
        ("somebody's answer", &|it| answer(it, 99, ACCEPT)),
        ("a tick", &|it| it.step(Instant::ZERO, Event::Overdue)),
        ("the deadline", &|it| it.step(late(), Event::Overdue)),
        ("the end", &|it| it.step(Instant::ZERO, Event::Ended)),
    ];
    for (phase, row) in expected() {
        for ((what, act), (step, after)) in events.iter().zip(row) {
            let mut rounds = in_phase(phase);
            assert_eq!(act(&mut rounds), step, "{phase:?}: {what}");
            assert_eq!(rounds.phase(), after, "{phase:?}: {what}");
        }
    }
}

#[test]
fn a_server_gets_the_answers_under_its_own_keys_and_its_state_byte_for_byte() {
    let message = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a\u0062 \"":{"method":"roots/list"},"":{"params":{},"method":"elicitation/create"}},"requestState":"\u00e9\/x"}}"#;
    let mut rounds = Rounds::new(PATIENCE);
    assert_eq!(require(&mut rounds, message, ALL, 0), Step::Ask);
    assert_eq!(rounds.open().collect::<Vec<_>>(), [key(0), key(1)]);
    assert_eq!(rounds.responses(), None, "not before all are here");
    assert_eq!(answer(&mut rounds, 1, ERROR), Step::Wait);
    assert_eq!(rounds.open().collect::<Vec<_>>(), [key(0)]);
    assert_eq!(answer(&mut rounds, 0, Answer::Result(br#"{ "roots":[ 1e0 ] }"#)), Step::Retry);
    let responses = String::from_utf8(rounds.responses().unwrap()).unwrap();
    assert_eq!(responses, r#"{"a\u0062 \"":{ "roots":[ 1e0 ] },"":{"action":"cancel"}}"#);
    assert_eq!(rounds.state(), Some(&br#""\u00e9\/x""#[..]));
    // The next round starts anew: without a state, none is sent.
    assert_eq!(require(&mut rounds, &result(&[Input::Roots], None), ALL, 5), Step::Ask);
    assert_eq!(rounds.state(), None);
    assert_eq!(answer(&mut rounds, 0, ACCEPT), Step::Ignore, "an answer to an earlier round");
    assert_eq!(answer(&mut rounds, 5, ACCEPT), Step::Retry);
    assert_eq!(answer(&mut rounds, 5, ACCEPT), Step::Ignore, "twice");
    assert_eq!(rounds.count(), 2);
}

#[test]
fn a_server_cannot_ask_what_the_client_never_declared_nor_for_ever() {
    for (capabilities, kind, declared) in [
        ("{}", Input::Roots, false),
        (r#"{"roots":null}"#, Input::Roots, false),
        (r#"{"roots":{}}"#, Input::Roots, true),
        (r#"{"elicitation":{}}"#, Input::Form, true),
        (r#"{"elicitation":null}"#, Input::Form, false),
        (r#"{"elicitation":{}}"#, Input::Url, false),
        (r#"{"elicitation":{"url":{}}}"#, Input::Url, true),
        (r#"{"elicitation":{"url":{}}}"#, Input::Form, false),
        (r#"{"elicitation":{"url":{},"form":{}}}"#, Input::Form, true),
        (r#"{"roots":{}}"#, Input::Sampling, false),
        (r#"{"sampling":{}}"#, Input::Sampling, true),
    ] {
        let mut rounds = Rounds::new(PATIENCE);
        let step = require(&mut rounds, &result(&[kind], None), capabilities.as_bytes(), 0);
        let expected = if declared { Step::Ask } else { Step::Fail(RoundFault::Undeclared(kind)) };
        assert_eq!(step, expected, "{capabilities} {kind:?}");
    }
    let mut rounds = Rounds::new(PATIENCE);
    let state = result(&[], Some("again"));
    for _ in 0..ROUNDS_MAX {
        assert_eq!(require(&mut rounds, &state, ALL, 0), Step::Retry);
        assert_eq!(rounds.responses(), None);
    }
    assert_eq!(require(&mut rounds, &state, ALL, 0), Step::Fail(RoundFault::Endless));
    assert_eq!(require(&mut rounds, &state, ALL, 0), Step::Ignore);
    let mut rounds = Rounds::new(PATIENCE);
    let nothing = result(&[], None);
    let step = require(&mut rounds, &nothing, ALL, 0);
    assert_eq!(step, Step::Fail(RoundFault::Malformed(Malformed::Nothing)));
}

#[test]
fn an_answer_that_is_none_ends_the_call_and_what_is_open_can_be_taken_back() {
    let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(ANSWERS_BYTES_MAX));
    let refused = |input| RoundFault::Refused { input, code: -1, message: "no".into() };
    for (kind, given, why) in [
        (Input::Roots, ERROR, refused(Input::Roots)),
        (Input::Sampling, ERROR, refused(Input::Sampling)),
        (Input::Roots, Answer::Result(b"null"), RoundFault::NoObject(Input::Roots)),
        (Input::Form, Answer::Result(b"[]"), RoundFault::NoObject(Input::Form)),
        (Input::Form, Answer::Result(long.as_bytes()), RoundFault::Large),
    ] {
        let mut rounds = Rounds::new(PATIENCE);
        require(&mut rounds, &result(&[kind, Input::Form], None), ALL, 0);
        assert_eq!(answer(&mut rounds, 0, given), Step::Fail(why));
        assert!(rounds.open().any(|open| open == key(1)));
        assert_eq!(answer(&mut rounds, 1, ACCEPT), Step::Ignore);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Questions(Vec<Input>, bool),
    Answer(usize, u8),
    Time(u64),
    End,
}

fn act() -> impl Strategy<Value = Act> {
    let kind =
        prop_oneof![Just(Input::Roots), Just(Input::Sampling), Just(Input::Form), Just(Input::Url)];
    prop_oneof![
        4 => (prop::collection::vec(kind, 0..4), any::<bool>())
            .prop_map(|(kinds, state)| Act::Questions(kinds, state)),
        8 => (0..12usize, 0..4u8).prop_map(|(request, how)| Act::Answer(request, how)),
        1 => (0..700u64).prop_map(Act::Time),
        1 => Just(Act::End),
    ]
}

proptest! {
    /// Whatever happens in whatever order: a retry carries an answer to each question of its
    /// round, there is one for each round at most, and what is over stays over.
    #[test]
    fn no_order_of_events_loses_or_invents_an_answer(acts in prop::collection::vec(act(), 0..80)) {
        let mut rounds = Rounds::new(PATIENCE);
        let (mut retries, mut base, mut over) = (0, 0, false);
        let mut answered: Vec<usize> = Vec::new();
        for act in acts {
            let step = match act {
                Act::Questions(kinds, state) => {
                    let asking = rounds.phase() == Phase::Asking;
                    let message = result(&kinds, state.then_some("s"));
                    let step = require(&mut rounds, &message, ALL, base);
                    prop_assert!(!(asking || over) || step == Step::Ignore);
                    if step == Step::Ask {
                        answered.clear();
                    }
                    step
                }
                Act::Answer(request, how) => {
                    let given = [ACCEPT, ERROR, Answer::Result(b"1"), ACCEPT][usize::from(how)];
                    let before: Vec<_> = rounds.open().collect();
                    let step = answer(&mut rounds, base + request, given);
                    let waited = before.contains(&key(base + request)) && !over;
                    prop_assert_eq!(waited, step != Step::Ignore);
                    if matches!(step, Step::Wait | Step::Retry) {
                        answered.push(request);
                    }
                    step
                }
                Act::Time(s) => {
                    rounds.step(Instant::ZERO + Duration::from_secs(s), Event::Overdue)
                }
                Act::End => rounds.step(Instant::ZERO, Event::Ended),
            };
            prop_assert!(!over || step == Step::Ignore);
            if step == Step::Retry {
                retries += 1;
                prop_assert_eq!(rounds.responses().is_some(), rounds.questions() > 0);
                if rounds.questions() > 0 {
                    answered.sort_unstable();
                    prop_assert_eq!(&answered, &(0..rounds.questions()).collect::<Vec<_>>());
                    base += rounds.questions();
                }
                prop_assert_eq!(rounds.open().count(), 0);
            }
            over = rounds.phase() == Phase::Over;
            prop_assert!(retries <= rounds.count() && rounds.count() <= ROUNDS_MAX);
            prop_assert!(rounds.phase() != Phase::Asking || rounds.open().count() > 0);
        }
    }
}
