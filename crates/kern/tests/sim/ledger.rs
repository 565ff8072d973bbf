//! Was every request answered, refused or cancelled exactly once, and with what belongs to it?
//!
//! Clients and servers write here what they asked, heard and saw; whatever breaks a promise becomes a
//! violation, and one violation fails the run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

/// Shared by all peers of a run.
pub type Shared = Rc<RefCell<Ledger>>;

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub asked: usize,
    /// With the result that belongs to them.
    pub answered: usize,
    /// With an error.
    pub refused: usize,
    /// Withdrawn by the client, and heard of at most once since.
    pub cancelled: usize,
    /// Their connection broke under them.
    pub lost: usize,
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A result that holds this text in its first content, message or contents.
    Text(String),
    /// One of these texts.
    AnyOf(Vec<String>),
    /// One of these texts, or an error whose message holds the last: of several that present the
    /// same request state, it serves one.
    Race(Vec<String>, &'static str),
    /// A tool result that is an error and holds this text.
    ToolError(String),
    /// An error whose message holds this text.
    Error(String),
    /// Any result.
    Result,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Withdrawn, or given up with its session: an answer may still come, once.
    Withdrawn,
    Done,
}

#[derive(Clone, Debug)]
struct Entry {
    state: State,
    /// The request state it presented.
    presented: Option<String>,
    expect: Expect,
    what: String,
    asked_at_ms: u64,
}

/// The books of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<(String, String), Entry>,
    pub tally: Tally,
    pub violations: Vec<String>,
    /// Nothing fails in this world, so an error where a result was due is a violation.
    pub strict: bool,
    /// Answers by what was asked, to see that a run exercised something.
    pub answers: BTreeMap<String, usize>,
    /// What else a run exercised.
    pub saw: BTreeMap<&'static str, usize>,
    /// How often each request state was presented and served, and may have been.
    states: BTreeMap<String, Presented>,
    /// Requests to be sent again whose state others may try to use.
    pub handed_out: Vec<HandedOut>,
    /// Payloads of calls whose client left without withdrawing them, in the old era: their servers
    /// are not to be told that nobody wants them.
    pub left_running: BTreeSet<String>,
}

/// What became of one request state.
#[derive(Clone, Copy, Debug, Default)]
struct Presented {
    /// Times it was presented as it was given.
    tries: usize,
    served: usize,
    /// Of the times it was presented, those of which nothing is known.
    unknown: usize,
}

/// A request that was answered with a request state, and to whom.
#[derive(Clone, Debug)]
pub struct HandedOut {
    pub owner: String,
    pub method: String,
    /// With the state, and answers.
    pub params: Value,
}

impl Ledger {
    pub fn new(strict: bool) -> Shared {
        Rc::new(RefCell::new(Self { strict, ..Self::default() }))
    }

    pub fn violation(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.violations.len() < 20 {
            self.violations.push(text);
        }
    }

    /// `client` asked `what` under the JSON-RPC id `id` (its JSON text).
    pub fn asked(&mut self, client: &str, id: &str, what: &str, expect: Expect, now_ms: u64) {
        self.tally.asked += 1;
        let what = what.to_owned();
        let entry =
            Entry { state: State::Open, presented: None, expect, what, asked_at_ms: now_ms };
        let before = self.entries.insert((client.to_owned(), id.to_owned()), entry);
        assert!(before.is_none(), "{client} used the id {id} twice");
    }

    /// The request `id` of `client` presents a request state that was given to it.
    pub fn presents(&mut self, client: &str, id: &str, state: &str) {
        let entry = self.entries.get_mut(&(client.to_owned(), id.to_owned()));
        entry.expect("it was just asked").presented = Some(state.to_owned());
        self.states.entry(state.to_owned()).or_default().tries += 1;
    }

    /// The answer to a request that presented a state came, or never will.
    fn presented(&mut self, client: &str, id: &str, served: Option<bool>) {
        let key = (client.to_owned(), id.to_owned());
        let taken = self.entries.get_mut(&key).and_then(|entry| entry.presented.take());
        let Some(state) = taken else { return };
        let known = self.states.entry(state.clone()).or_default();
        known.served += usize::from(served == Some(true));
        known.unknown += usize::from(served.is_none());
        if known.served > 1 {
            self.violation(format!("{client} was served twice for the request state {state}"));
        }
    }

    /// A request was answered with a demand for input: what it presented served it.
    pub fn served(&mut self, client: &str, id: &str) {
        self.presented(client, id, Some(true));
    }

    /// A response came: `Ok` with a result or `Err` with an error's message.
    pub fn answered(&mut self, client: &str, id: &str, answer: Result<Answer, String>) {
        let Some(entry) = self.entries.get_mut(&(client.to_owned(), id.to_owned())) else {
            return self.violation(format!("{client} got an answer to {id}, which it never asked"));
        };
        let (was, what) = (entry.state, entry.what.clone());
        entry.state = State::Done;
        // An error may be the answer of a call that was resumed.
        let used_up = |why: &String| why.contains("requestState");
        let served = match &answer {
            Ok(_) => Some(true),
            Err(why) => used_up(why).then_some(false),
        };
        let fits = entry.expect.fits(&answer);
        let expected = format!("{:?}", entry.expect);
        self.presented(client, id, served);
        match was {
            State::Done => self.violation(format!("{client} got two answers to {id} ({what})")),
            State::Withdrawn => {}
            State::Open => match (&answer, fits) {
                (_, true) => {
                    self.tally.answered += 1;
                    *self.answers.entry(what).or_default() += 1;
                }
                (Err(_), false) if !self.strict => self.tally.refused += 1,
                _ => self.violation(format!(
                    "{client} asked {what} as {id}, wants {expected}, got {answer:?}"
                )),
            },
        }
    }

    /// The client withdrew a request.
    pub fn cancelled(&mut self, client: &str, id: &str) {
        if let Some(entry) = self.entries.get_mut(&(client.to_owned(), id.to_owned()))
            && entry.state == State::Open
        {
            entry.state = State::Withdrawn;
            self.tally.cancelled += 1;
            self.presented(client, id, None);
        }
    }

    /// The connection a request was asked on, or its session, is gone.
    pub fn lost(&mut self, client: &str, id: &str) {
        let Some(entry) = self.entries.get_mut(&(client.to_owned(), id.to_owned())) else { return };
        if entry.state == State::Open {
            entry.state = State::Withdrawn;
            self.tally.lost += 1;
            let what = entry.what.clone();
            self.presented(client, id, None);
            if self.strict {
                self.violation(format!("{client} lost {id} ({what}) though nothing fails"));
            }
        }
    }

    /// At the end: what is still open was lost by the gateway.
    pub fn close(&mut self, now_ms: u64) {
        let open = self.entries.iter().filter(|(_, entry)| entry.state == State::Open);
        let silent: Vec<_> = open
            .map(|((client, id), entry)| {
                let age_ms = now_ms - entry.asked_at_ms;
                format!("{client} asked {} as {id} {age_ms} ms ago: no answer", entry.what)
            })
            .collect();
        for text in silent {
            self.violation(text);
        }
        let never = |it: &&Presented| it.tries > 0 && it.served == 0 && it.unknown == 0;
        if self.strict && self.states.values().any(|it| never(&it)) {
            self.violation("a request state was presented and served nobody");
        }
        let Tally { asked, answered, refused, cancelled, lost } = self.tally;
        if self.violations.is_empty() && asked != answered + refused + cancelled + lost {
            self.violation(format!("the books do not add up: {:?}", self.tally));
        }
    }
}

/// The parts of a result that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub is_error: bool,
}

impl Expect {
    /// The texts that may be the answer.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Expect::Text(text) => vec![text.clone()],
            Expect::AnyOf(texts) | Expect::Race(texts, _) => texts.clone(),
            Expect::ToolError(_) | Expect::Error(_) | Expect::Result => Vec::new(),
        }
    }

    fn fits(&self, answer: &Result<Answer, String>) -> bool {
        match (self, answer) {
            (Expect::Text(text), Ok(answer)) => !answer.is_error && answer.text == *text,
            (Expect::AnyOf(texts) | Expect::Race(texts, _), Ok(answer)) => {
                !answer.is_error && texts.contains(&answer.text)
            }
            (Expect::Race(_, refusal), Err(message)) => message.contains(refusal),
            (Expect::ToolError(text), Ok(answer)) => answer.is_error && answer.text == *text,
            (Expect::Error(text), Err(message)) => message.contains(text),
            (Expect::Result, Ok(_)) => true,
            _ => false,
        }
    }
}
