//! What becomes of a call whose server asks its client something in the way of the old era, while
//! its client speaks the new one?
//!
//! Such a client can't be asked while it waits: its request is answered with `input_required`, and it
//! sends the request again with what was asked for (spec 2026-07-28 basic/patterns/mrtr). The
//! server's call goes on all the while.
//!
//! | | Asked | Withdrawn | Moment | Finished | Back | Clock |
//! |---|---|---|---|---|---|---|
//! | `Running`: the client waits, nothing is asked | `Gathering` | – | – | the answer, `Over` | refused | – |
//! | `Gathering`: something is asked, more may follow at once | one more | one less, maybe `Running` | told, `Waiting` | the answer, `Over` | refused | – |
//! | `Waiting`: the client is away | one more | one less | – | kept, `Kept` | answers to the server; the rest is told anew, or `Running` | `Over` when time is up |
//! | `Kept`: the client is away, the answer is here | refused | – | – | – | the answer, `Over` | `Over` when time is up |
//! | `Over` | refused | – | – | – | refused | – |
//!
//! Invariants: what a server asks is answered, refused or withdrawn once, or ends with its call; the
//! client is told something once for each time it came; a round is answered once.

mod ask;

use std::time::Duration;

use kern_terms::Instant;

use crate::limits::{MOMENT, MOMENTS_MOST};

pub use ask::{Asked, Fault};

/// Requests of one call that may wait for its client.
const ASKED_MAX: usize = 16;
/// Bytes of requests of one call that may wait for its client.
const ASKED_BYTES_MAX: usize = 4 << 20;

const CALL_OVER: &str = "the call it belongs to is over";

/// Where a parked call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The client waits; nothing is asked of it.
    Running,
    /// The client waits, and is told within a moment what is asked.
    Gathering,
    /// The client was told and is away.
    Waiting {
        /// When it is no longer waited for.
        until: Instant,
    },
    /// The client is away, and what its call came to is kept.
    Kept {
        /// When it is no longer waited for.
        until: Instant,
    },
    /// Nothing more happens.
    Over,
}

/// What happens to a parked call.
#[derive(Debug)]
pub enum Event<'a> {
    /// Its server asks.
    Asked(Asked),
    /// Its server no longer wants what it asked under this raw id.
    Withdrawn(&'a [u8]),
    /// The moment in which several requests come together is over.
    Moment,
    /// Its server answered, died, or can't be waited for any longer.
    Finished,
    /// The client came back.
    Back {
        /// The round its state names.
        round: u32,
        /// `inputResponses`, an object; `None` if it brought none.
        responses: Option<&'a [u8]>,
    },
    /// Time has passed.
    Clock,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Call again with [`Event::Moment`] after [`MOMENT`].
    WakeSoon,
    /// The client waits again: where it is told is where it came from now.
    Resume,
    /// Tell the client what is asked ([`Park::write_result`]); it goes away.
    Tell,
    /// Answer the server's request `id` with `result`, both JSON.
    Answer {
        /// As the server wrote it.
        id: Box<[u8]>,
        /// As the client wrote it.
        result: Box<[u8]>,
    },
    /// Refuse the server's request `id`.
    Refuse {
        /// As the server wrote it.
        id: Box<[u8]>,
        /// For the server's log.
        why: &'static str,
    },
    /// What the call came to goes to the client.
    Deliver,
    /// What the call came to is kept for the client.
    Keep,
    /// The client's coming back is refused; nothing changed.
    Reject(Fault),
    /// The server is told that nobody wants the answer any more, if it has not given it.
    Cancel,
}

/// A call whose server asked its client something.
#[derive(Debug)]
pub struct Park {
    state: State,
    /// In the order they were asked.
    asked: Vec<Asked>,
    /// The newest round the client was told of; the first is 1.
    round: u32,
    /// Requests named so far.
    named: u32,
    /// How long a client may stay away.
    patience: Duration,
    /// When the first and the last request of a moment came.
    oldest: Instant,
    newest: Instant,
    /// [`Effect::WakeSoon`] was asked for and [`Event::Moment`] has not come: never two at once, or a
    /// server that asks and withdraws would set timers without end.
    awake: bool,
}

impl Park {
    /// A call that runs. A client that is told something has `patience` to come back.
    pub fn new(patience: Duration) -> Self {
        Self {
            state: State::Running,
            asked: Vec::new(),
            round: 0,
            named: 0,
            patience,
            oldest: Instant::ZERO,
            newest: Instant::ZERO,
            awake: false,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the client was told something and has not come back.
    pub fn is_away(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Kept { .. })
    }

    /// The newest round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Bytes kept of what the server asks.
    pub fn bytes(&self) -> usize {
        self.asked.iter().map(Asked::bytes).sum()
    }

    /// Takes what happened, and appends what has to be done.
    pub fn step(&mut self, now: Instant, event: Event<'_>, fx: &mut Vec<Effect>) {
        match event {
            Event::Asked(asked) => self.asks(now, asked, fx),
            Event::Withdrawn(id) => self.withdrawn(id),
            Event::Moment => {
                self.awake = false;
                let more = now.since(self.newest) < MOMENT && now.since(self.oldest) < MOMENTS_MOST;
                match self.state {
                    State::Gathering if more => self.wake_soon(fx),
                    State::Gathering => self.tell(now, fx),
                    _ => {}
                }
            }
            Event::Finished => {
                let (state, effect) = match self.state {
                    State::Running | State::Gathering => (State::Over, Effect::Deliver),
                    State::Waiting { until } => (State::Kept { until }, Effect::Keep),
                    State::Kept { .. } | State::Over => return,
                };
                self.end(CALL_OVER, fx);
                self.state = state;
                fx.push(effect);
            }
            Event::Back { round, responses } => self.back(now, round, responses, fx),
            Event::Clock => match self.state {
                State::Waiting { until } if until <= now => {
                    fx.push(Effect::Cancel);
                    self.end("the client did not come back in time", fx);
                }
                State::Kept { until } if until <= now => self.state = State::Over,
                _ => {}
            },
        }
    }

    /// Ends it from this side: what is asked is refused.
    pub fn end(&mut self, why: &'static str, fx: &mut Vec<Effect>) {
        fx.extend(self.asked.drain(..).map(|asked| Effect::Refuse { id: asked.id, why }));
        self.state = State::Over;
    }

    /// [`Event::Moment`] for a client that can't be told: what was asked and the client was not told
    /// yet is refused, and the call goes on without.
    pub fn refuse_asked(&mut self, why: &'static str, fx: &mut Vec<Effect>) {
        self.awake = false;
        let untold = self.asked.extract_if(.., |asked| !asked.told);
        fx.extend(untold.map(|asked| Effect::Refuse { id: asked.id, why }));
        self.nothing_asked();
    }

    /// The server forgot what it asked.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
        self.nothing_asked();
    }

    fn nothing_asked(&mut self) {
        if self.state == State::Gathering && self.asked.is_empty() {
            self.state = State::Running;
        }
    }

    /// Appends the result that tells the client what is asked: an `InputRequiredResult`.
    pub fn write_result(&self, request_state: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"resultType\":\"input_required\",\"inputRequests\":{");
        for (at, asked) in self.asked.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b"," });
            asked.write_member(out);
        }
        out.extend_from_slice(b"},\"requestState\":");
        kern_mcp::json::quote_into(out, request_state);
        out.push(b'}');
    }

    fn asks(&mut self, now: Instant, mut asked: Asked, fx: &mut Vec<Effect>) {
        let why = match self.state {
            State::Kept { .. } | State::Over => Some(CALL_OVER),
            _ if self.asked.iter().any(|known| known.id == asked.id) => {
                Some("a request with this id is still open")
            }
            _ if self.asked.len() >= ASKED_MAX
                || self.bytes() + asked.bytes() > ASKED_BYTES_MAX =>
            {
                Some("too much waits for this client")
            }
            _ => None,
        };
        if let Some(why) = why {
            return fx.push(Effect::Refuse { id: asked.id, why });
        }
        self.newest = now;
        self.named += 1;
        asked.number = self.named;
        self.asked.push(asked);
        if self.state == State::Running {
            self.state = State::Gathering;
            self.oldest = now;
            self.wake_soon(fx);
        }
    }

    fn wake_soon(&mut self, fx: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.awake, true) {
            fx.push(Effect::WakeSoon);
        }
    }

    fn withdrawn(&mut self, id: &[u8]) {
        self.asked.retain(|asked| *asked.id != *id);
        self.nothing_asked();
    }

    fn tell(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        self.round += 1;
        self.asked.iter_mut().for_each(|asked| asked.told = true);
        self.state = State::Waiting { until: now + self.patience };
        fx.push(Effect::Tell);
    }

    fn back(&mut self, now: Instant, round: u32, responses: Option<&[u8]>, fx: &mut Vec<Effect>) {
        let (State::Waiting { until } | State::Kept { until }) = self.state else {
            return fx.push(Effect::Reject(Fault::Used));
        };
        if round != self.round {
            return fx.push(Effect::Reject(Fault::Used));
        }
        if until <= now {
            return fx.push(Effect::Reject(Fault::Expired));
        }
        if matches!(self.state, State::Kept { .. }) {
            self.state = State::Over;
            return fx.extend([Effect::Resume, Effect::Deliver]);
        }
        let answers = match ask::read(responses.unwrap_or(b"{}"), &self.asked) {
            Ok(answers) => answers,
            Err(fault) => return fx.push(Effect::Reject(fault)),
        };
        fx.push(Effect::Resume);
        for (number, result) in answers {
            let at = self.asked.iter().position(|asked| asked.number == number);
            let asked = self.asked.remove(at.expect("only what is asked is answered"));
            fx.push(Effect::Answer { id: asked.id, result: result.into() });
        }
        match self.asked.is_empty() {
            true => self.state = State::Running,
            false => self.tell(now, fx),
        }
    }
}

#[cfg(test)]
mod tests;
