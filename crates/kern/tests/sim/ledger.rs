//! Was every request answered, refused or cancelled exactly once, and with what belongs to it?
//!
//! Clients and servers write here what they asked, heard and saw; whatever breaks a promise becomes a
//! violation, and one violation fails the run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

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
    /// One of two texts.
    Either(String, String),
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
        let entry =
            Entry { state: State::Open, expect, what: what.to_owned(), asked_at_ms: now_ms };
        let before = self.entries.insert((client.to_owned(), id.to_owned()), entry);
        assert!(before.is_none(), "{client} used the id {id} twice");
    }

    /// A response came: `Ok` with a result or `Err` with an error's message.
    pub fn answered(&mut self, client: &str, id: &str, answer: Result<Answer, String>) {
        let Some(entry) = self.entries.get_mut(&(client.to_owned(), id.to_owned())) else {
            return self.violation(format!("{client} got an answer to {id}, which it never asked"));
        };
        let (was, what) = (entry.state, entry.what.clone());
        entry.state = State::Done;
        let fits = entry.expect.fits(&answer);
        let expected = format!("{:?}", entry.expect);
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
        }
    }

    /// The connection a request was asked on, or its session, is gone.
    pub fn lost(&mut self, client: &str, id: &str) {
        let Some(entry) = self.entries.get_mut(&(client.to_owned(), id.to_owned())) else { return };
        if entry.state == State::Open {
            entry.state = State::Withdrawn;
            self.tally.lost += 1;
            let what = entry.what.clone();
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
    fn fits(&self, answer: &Result<Answer, String>) -> bool {
        match (self, answer) {
            (Expect::Text(text), Ok(answer)) => !answer.is_error && answer.text == *text,
            (Expect::Either(one, other), Ok(answer)) => {
                !answer.is_error && (answer.text == *one || answer.text == *other)
            }
            (Expect::ToolError(text), Ok(answer)) => answer.is_error && answer.text == *text,
            (Expect::Error(text), Err(message)) => message.contains(text),
            (Expect::Result, Ok(_)) => true,
            _ => false,
        }
    }
}
