//! A legacy client's call that a modern server answers in rounds: what is asked, what was answered,
//! and what happens next.
//!
//! ```text
//!          Required: questions              Answered: the last
//!   Sent ──────────────────────► Asking ───────────────────────► Sent
//!    │ └─ Required: a state only ► Sent        │
//!    └────────── Ended ──────► Over ◄── Ended, Overdue, an answer that is none
//! ```
//!
//! | state ╲ event | `Required` | `Answered` | `Overdue` | `Ended` |
//! |---|---|---|---|---|
//! | `Sent` | `Ask`, `Retry` or `Fail` | `Ignore` | `Ignore` | `Ignore`, over |
//! | `Asking` | `Ignore` | `Wait`, `Retry` or `Fail` | `Wait` before the deadline, then `Fail` | `Ignore`, over |
//! | `Over` | `Ignore` | `Ignore` | `Ignore` | `Ignore` |
//!
//! Invariants: a retry is asked for only when every question has its answer, and never twice for
//! one round; after `Fail` and `Ended` nothing is asked for any more; rounds, questions and bytes
//! are bounded. Source: 2026-07-28 basic/patterns/mrtr.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::era::rounds::{Input, Malformed, Question};
use kern_terms::{Instant, Key};

use crate::limits::{ANSWERS_BYTES_MAX, ROUNDS_MAX};

/// The state of one call.
#[derive(Debug)]
pub struct Rounds {
    phase: Phase,
    /// Rounds begun.
    count: u32,
    asked: Vec<Asked>,
    /// The server's `requestState`, a JSON string.
    state: Option<Bytes>,
    answers_bytes: usize,
    /// How long the client may take in each round.
    patience: Duration,
    deadline: Instant,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// With the server.
    Sent,
    /// With the client.
    Asking,
    /// Answered, failed or cancelled.
    Over,
}

/// One question of the round.
#[derive(Debug)]
struct Asked {
    /// The server's key, JSON with its quotes.
    key: Box<[u8]>,
    input: Input,
    /// The request the client has for it.
    request: Option<Key>,
    /// JSON.
    answer: Option<Bytes>,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The server answered that it needs input.
    Required {
        /// Its message.
        message: &'a [u8],
        /// What the message asks for, or why that can't be read.
        questions: Result<Vec<Question>, Malformed>,
        /// Its `requestState`, JSON.
        state: Option<&'a [u8]>,
        /// The client's `ClientCapabilities`, JSON.
        capabilities: &'a [u8],
    },
    /// The client answered one request.
    Answered {
        /// Which.
        request: Key,
        /// What.
        answer: Answer<'a>,
    },
    /// Time passed.
    Overdue,
    /// The call is over: answered for good, failed, cancelled.
    Ended,
}

/// A client's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `result`, JSON.
    Result(&'a [u8]),
    /// `error`.
    Error {
        /// Its code.
        code: i64,
        /// Its message.
        message: &'a str,
    },
}

impl<'a> Answer<'a> {
    /// What the server that asked for `input` is told, JSON.
    ///
    /// # Errors
    /// [`RoundFault::NoObject`] and [`RoundFault::Refused`]: there is nothing it could be told.
    pub fn told(self, input: Input) -> Result<&'a [u8], RoundFault> {
        match (self, input) {
            (Self::Result(result), _) if result.starts_with(b"{") => Ok(result),
            (Self::Result(_), _) => Err(RoundFault::NoObject(input)),
            // The person saw no form, or closed it: there is a word for that. For the others
            // there is none.
            (Self::Error { .. }, Input::Form | Input::Url) => Ok(br#"{"action":"cancel"}"#),
            (Self::Error { code, message }, _) => {
                Err(RoundFault::Refused { input, code, message: message.to_owned() })
            }
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the client all [`Rounds::questions`]; [`Rounds::bind`] each.
    Ask,
    /// Send the call again, with [`Rounds::responses`] and [`Rounds::state`].
    Retry,
    /// Other answers are still to come.
    Wait,
    /// Nothing: it came too late or means nothing here.
    Ignore,
    /// End the call with an error; take back the requests that are [`Rounds::open`].
    Fail(RoundFault),
}

/// Why a call in rounds fails. Calling again may work for all but the first three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundFault {
    /// The server's fault.
    Malformed(Malformed),
    /// The server asks for what the client did not declare; the server's fault.
    Undeclared(Input),
    /// More than [`ROUNDS_MAX`] rounds; the server's fault.
    Endless,
    /// The client answered with an error where the server can't be told of one.
    Refused {
        /// What it was asked.
        input: Input,
        /// The client's code.
        code: i64,
        /// The client's words.
        message: String,
    },
    /// The client's answer is no object.
    NoObject(Input),
    /// The answers of one round are longer than [`ANSWERS_BYTES_MAX`].
    Large,
    /// No answer within so long.
    Unanswered(Input, Duration),
}

impl fmt::Display for RoundFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the server asks for input, but {why}"),
            Self::Undeclared(input) => write!(
                f,
                "the server asks for {}, but the client did not declare the capability {:?}",
                input.method(),
                input.capability()
            ),
            Self::Endless => write!(f, "the server asked for input {ROUNDS_MAX} times in a row"),
            Self::Refused { input, code, message } => {
                write!(f, "the client answered {} with the error {code}: {message}", input.method())
            }
            Self::NoObject(input) => {
                write!(f, "the client's answer to {} is no object", input.method())
            }
            Self::Large => f.write_str("the client's answers to the server are too long"),
            Self::Unanswered(input, patience) => write!(
                f,
                "the client did not answer {} within {} s (limits.answer_timeout)",
                input.method(),
                patience.as_secs_f32()
            ),
        }
    }
}

impl Rounds {
    /// A call that was just sent, whose client may take `patience` for each round.
    pub fn new(patience: Duration) -> Self {
        Self {
            phase: Phase::Sent,
            count: 0,
            asked: Vec::new(),
            state: None,
            answers_bytes: 0,
            patience,
            deadline: Instant::ZERO,
        }
    }

    /// Where the call is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Rounds begun so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How long from `now` the client may still take.
    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.since(now)
    }

    /// Takes an event.
    pub fn step(&mut self, now: Instant, event: Event<'_>) -> Step {
        let step = match (self.phase, event) {
            (Phase::Sent, Event::Required { message, questions, state, capabilities }) => {
                self.required(now, message, questions, state, capabilities)
            }
            (Phase::Asking, Event::Answered { request, answer }) => self.answered(request, answer),
            (Phase::Asking, Event::Overdue) => self.overdue(now),
            (_, Event::Ended) => {
                self.phase = Phase::Over;
                Step::Ignore
            }
            (Phase::Sent, Event::Answered { .. } | Event::Overdue)
            | (Phase::Asking, Event::Required { .. })
            | (Phase::Over, _) => Step::Ignore,
        };
        match step {
            Step::Ask => self.phase = Phase::Asking,
            Step::Retry => self.phase = Phase::Sent,
            Step::Fail(_) => self.phase = Phase::Over,
            Step::Wait | Step::Ignore => {}
        }
        step
    }

    fn required(
        &mut self,
        now: Instant,
        message: &[u8],
        questions: Result<Vec<Question>, Malformed>,
        state: Option<&[u8]>,
        capabilities: &[u8],
    ) -> Step {
        let questions = match questions {
            Ok(questions) => questions,
            Err(why) => return Step::Fail(RoundFault::Malformed(why)),
        };
        let undeclared = |question: &&Question| !question.input.is_declared(capabilities);
        if let Some(question) = questions.iter().find(undeclared) {
            return Step::Fail(RoundFault::Undeclared(question.input));
        }
        if self.count >= ROUNDS_MAX {
            return Step::Fail(RoundFault::Endless);
        }
        self.count += 1;
        self.state = state.map(Bytes::copy_from_slice);
        self.answers_bytes = 0;
        self.deadline = now + self.patience;
        let asked = |question: &Question| Asked {
            key: question.key.of(message).into(),
            input: question.input,
            request: None,
            answer: None,
        };
        self.asked = questions.iter().map(asked).collect();
        if self.asked.is_empty() { Step::Retry } else { Step::Ask }
    }

    fn answered(&mut self, request: Key, answer: Answer<'_>) -> Step {
        let waits = |asked: &&mut Asked| asked.request == Some(request) && asked.answer.is_none();
        let Some(asked) = self.asked.iter_mut().find(waits) else { return Step::Ignore };
        let input = asked.input;
        let bytes = match answer.told(input) {
            Ok(bytes) => bytes,
            Err(why) => return Step::Fail(why),
        };
        self.answers_bytes += bytes.len();
        if self.answers_bytes > ANSWERS_BYTES_MAX {
            return Step::Fail(RoundFault::Large);
        }
        asked.answer = Some(Bytes::copy_from_slice(bytes));
        match self.asked.iter().all(|asked| asked.answer.is_some()) {
            true => Step::Retry,
            false => Step::Wait,
        }
    }

    fn overdue(&mut self, now: Instant) -> Step {
        let waits = self.asked.iter().find(|asked| asked.answer.is_none());
        match waits {
            Some(asked) if now >= self.deadline => {
                Step::Fail(RoundFault::Unanswered(asked.input, self.patience))
            }
            _ => Step::Wait,
        }
    }

    /// How many questions the round has.
    pub fn questions(&self) -> usize {
        self.asked.len()
    }

    /// Says which request the client has for the question at `index`.
    ///
    /// # Panics
    /// If there is no such question, or it has a request already: a caller's bug.
    pub fn bind(&mut self, index: usize, request: Key) {
        let before = self.asked[index].request.replace(request);
        assert!(before.is_none(), "a question is asked once");
    }

    /// The requests the client has and did not answer.
    pub fn open(&self) -> impl Iterator<Item = Key> {
        self.asked.iter().filter(|asked| asked.answer.is_none()).filter_map(|asked| asked.request)
    }

    /// `inputResponses` of the retry, JSON; `None` where nothing was asked.
    pub fn responses(&self) -> Option<Vec<u8>> {
        if self.asked.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(self.answers_bytes + 32 * self.asked.len());
        for asked in &self.asked {
            let answer = asked.answer.as_ref()?;
            out.push(if out.is_empty() { b'{' } else { b',' });
            out.extend_from_slice(&asked.key);
            out.push(b':');
            out.extend_from_slice(answer);
        }
        out.push(b'}');
        Some(out)
    }

    /// `requestState` of the retry, JSON.
    pub fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }
}
