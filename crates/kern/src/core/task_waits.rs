//! Clients of 2025-11-25 and the tasks of modern servers.
//!
//! ```text
//! client of 2025-11-25           server of 2026-07-28 with the extension
//! tools/call with `task`         tools/call; an answer at once is kept as a task that has ended
//! tasks/get                      tasks/get
//! tasks/cancel                   tasks/get, tasks/cancel, tasks/get
//! tasks/result                   tasks/get again and again; its questions become requests to the
//!                                client, whose answers go back with tasks/update
//! ```
//!
//! Invariants: a question of a task is asked once; what a client is asked is withdrawn with the
//! `tasks/result` it was asked for.

use std::time::Duration;

use kern_mcp::era::rounds::{self, Question};
use kern_mcp::era::task::{self, Status};
use kern_mcp::errors::{self, INTERNAL_ERROR, INVALID_PARAMS};
use kern_mcp::limits::INPUT_REQUESTS_MAX;
use kern_mcp::{Envelope, Method, Splice, encode, json, scan, tasks};
use kern_session::call;
use kern_session::limits::{ANSWERS_BYTES_MAX, ROUNDS_MAX};
use kern_terms::{Era, Key, Revision};

use super::asks::{Asker, ask_id};
use super::flight::Flight;
use super::place::Place;
use super::rounds::answer_of;
use super::task_legs::request;
use super::timers::Timer;
use super::words::{Ending, Leg, Step, UpstreamId, Waiting};
use super::{Core, Io};
use crate::pipeline::{Destination, Fault, Inbound};
use kern_mcp::errors::Cause;

/// How often a task is looked at whose server does not say, and the bounds of what it may say.
const POLL: Duration = Duration::from_secs(1);
const POLL_LEAST: Duration = Duration::from_millis(50);
const POLL_MOST: Duration = Duration::from_secs(30);

/// Questions of a task that one `tasks/result` brings to its client: as many as a call in rounds may
/// have.
const TOLD_MAX: usize = ROUNDS_MAX as usize * INPUT_REQUESTS_MAX;
/// Longest key of a question, bytes: it is kept while the client waits.
const KEY_BYTES_MAX: usize = 1 << 10;

/// How long the server wants to be left alone.
fn poll_interval(task: &[u8]) -> Duration {
    let ms = json::field(task, "pollIntervalMs").and_then(json::integer_u64);
    ms.map_or(POLL, Duration::from_millis).clamp(POLL_LEAST, POLL_MOST)
}

impl Core {
    /// What the server of an upstream declared that answers a session.
    fn capabilities_at(&self, place: Place, id: UpstreamId) -> &[u8] {
        if let Place::Private(hosted) = place {
            let known = self.hosted.get(hosted);
            return known.map_or(b"{}", |hosted| &hosted.instance.identity().capabilities);
        }
        let upstream = self.upstreams.get(&id);
        upstream.map_or(b"{}", |upstream| self.capabilities_of(&upstream.spec.name))
    }

    /// Whether an old client's call may become a task of a modern server.
    pub(super) fn may_start(&mut self, io: &mut Io, inbound: &Inbound<'_>, id: UpstreamId) -> bool {
        let wanted = inbound.envelope.task.map(|span| span.of(inbound.message));
        if inbound.revision != Revision::V2025_11_25
            || inbound.session.is_none()
            || !wanted.is_some_and(|task| task.starts_with(b"{"))
        {
            return false;
        }
        let place = self.place(io, inbound.session, id);
        self.era_at(place, id) == Some(Era::Modern)
            && tasks::is_declared(self.capabilities_at(place, id))
    }

    /// An old client's request about a task of a modern server.
    pub(super) fn ask_new_server(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        to: Destination,
        shown: &str,
        own: &str,
    ) {
        let Some(session) = inbound.session else { return self.unknown_method(io, inbound) };
        let method = inbound.envelope.method;
        if let Some(done) = self.done_book.find(session, to.upstream, own) {
            let answer = match method {
                Method::TasksGet => Some(task::to_legacy(&done.task(), shown)),
                Method::TasksResult => task::result_to_legacy(&done.result, shown),
                _ => None,
            };
            return match answer {
                Some(answer) => self.reply(io, inbound, &answer),
                None => self.refuse(io, inbound, Cause::InvalidParams, ENDED),
            };
        }
        let step = match method {
            Method::TasksGet => Step::Look,
            Method::TasksCancel => Step::BeforeCancel,
            _ => Step::Wait(Box::new(Waiting {
                until: self.now + super::flight::TASK_RESULT_MOST,
                ..Waiting::default()
            })),
        };
        let leg = Leg::about(step, shown, own);
        let message = request(inbound.id(), Method::TasksGet, own);
        self.fly_rewritten(io, inbound, Destination { leg: Some(Box::new(leg)), ..to }, &message);
    }

    /// The answer to a call whose client asked for a task.
    pub(super) fn started(
        &mut self,
        io: &mut Io,
        key: Key,
        message: &[u8],
        envelope: &Envelope,
    ) -> bool {
        let kind = envelope.result_type.map(|span| span.of(message));
        let is = |word| kind.is_some_and(|kind| json::same_text(kind, word));
        let Some(result) = envelope.result.map(|span| span.of(message)) else { return false };
        let Some(flight) = self.flights.get(key) else { return false };
        let (session, upstream) = (flight.session, flight.upstream);
        let name = self.upstreams.get(&upstream).map(|upstream| upstream.spec.name.clone());
        let all = name.filter(|_| flight.all);
        let shown = |own: &str| {
            all.as_ref().map_or_else(|| own.to_owned(), |name| tasks::exposed(name, own))
        };
        let task = if is("task") {
            let own = envelope.task_id.and_then(|span| json::text(span.of(message)));
            let Some(own) = own.filter(|own| own.len() <= tasks::TASK_ID_BYTES_MAX) else {
                self.fail_flight(io, key, "the server made a task whose id is missing or too long");
                return true;
            };
            task::to_legacy(result, &shown(&own))
        } else if is("input_required") {
            return false;
        } else {
            let Some(session) = session else { return false };
            let kept = self.done_book.keep(session, upstream, io.random(), result);
            let Some(own) = kept else {
                let why = "the result is too long to be kept: call the tool without `task`";
                self.fail_flight(io, key, why);
                return true;
            };
            let Some(done) = self.done_book.find(session, upstream, &own) else { return false };
            task::to_legacy(&done.task(), &shown(&own))
        };
        self.end_leg(io, key, &[b"{\"task\":", &task[..], b"}"].concat());
        true
    }

    /// How the task fares that an old client wants to cancel.
    pub(super) fn before_cancel(&mut self, io: &mut Io, key: Key, result: &[u8]) {
        if Status::of(result).is_terminal() {
            return self.refuse_leg(io, key, INVALID_PARAMS, ENDED);
        }
        let Some(leg) = self.leg_mut(key) else { return };
        leg.step = Step::Cancelling;
        let own = leg.own.clone();
        self.send_next(io, key, &request(b"0", Method::TasksCancel, &own));
    }

    pub(super) fn leg_mut(&mut self, key: Key) -> Option<&mut Leg> {
        self.flights.get_mut(key)?.leg.as_deref_mut()
    }

    fn waiting_mut(&mut self, key: Key) -> Option<&mut Waiting> {
        match &mut self.leg_mut(key)?.step {
            Step::Wait(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// The server answered a flight that waits for the end of a task.
    pub(super) fn looked(&mut self, io: &mut Io, key: Key, message: &[u8], envelope: &Envelope) {
        let Some(result) = envelope.result.map(|span| span.of(message)) else { return };
        let Some(leg) = self.leg_mut(key) else { return };
        let (shown, own) = (leg.shown.clone(), leg.own.clone());
        let Some(waiting) = self.waiting_mut(key) else { return };
        if std::mem::take(&mut waiting.updating) {
            return self.send_next(io, key, &request(b"0", Method::TasksGet, &own));
        }
        waiting.poll = poll_interval(result);
        match Status::of(result) {
            Status::Completed => {
                let own = json::field(result, "result").unwrap_or(b"{}");
                match task::result_to_legacy(own, &shown) {
                    Some(answer) => self.end_leg(io, key, &answer),
                    None => self.fail_flight(io, key, "the task's result is malformed"),
                }
            }
            Status::Failed => {
                let error = json::field(result, "error").unwrap_or(b"{}");
                let code = json::field(error, "code").and_then(json::integer_i64);
                let why = json::text_field(error, "message");
                let why = why.unwrap_or_else(|| "the task failed".to_owned());
                self.refuse_leg(io, key, code.unwrap_or(INTERNAL_ERROR), &why);
            }
            Status::Cancelled => {
                self.refuse_leg(io, key, INTERNAL_ERROR, "the task was cancelled");
            }
            Status::InputRequired => match rounds::questions(message, envelope) {
                Ok(asked) => self.ask_of_task(io, key, message, &asked),
                Err(why) => {
                    let why = format!("the task asks for input that can't be given: {why}");
                    self.fail_flight(io, key, &why);
                }
            },
            Status::Working => self.pause(io, key),
        }
    }

    /// Brings the questions of a task to its client that it was not asked before.
    fn ask_of_task(&mut self, io: &mut Io, key: Key, message: &[u8], asked: &[Question]) {
        let Some(flight) = self.flights.get(key) else { return };
        let session = flight.session.and_then(|key| Some((key, self.sessions.get(key)?)));
        let (Some((session, known)), Some(to)) = (session, self.ask_route(flight)) else {
            let why = "the task asks for input, but the client takes no event stream";
            return self.fail_flight(io, key, why);
        };
        let able = known.capabilities_modern.clone();
        for question in asked {
            let name = String::from_utf8_lossy(question.key.of(message)).into_owned();
            let Some(waiting) = self.waiting_mut(key) else { return };
            if waiting.told.contains(&name) {
                continue;
            }
            if waiting.told.len() >= TOLD_MAX || name.len() > KEY_BYTES_MAX {
                let why = "the task asks for too much, or under a name that is too long";
                return self.fail_flight(io, key, why);
            }
            if !question.input.is_declared(&able) {
                let why = format!(
                    "the task asks for {}, but the client did not declare the capability {:?}",
                    question.input.method(),
                    question.input.capability()
                );
                return self.fail_flight(io, key, &why);
            }
            let Some(ask) = self.add_ask(Asker::Task { flight: key }, session) else { break };
            let Some(leg) = self.leg_mut(key) else { return };
            let shown = leg.shown.clone();
            if let Step::Wait(waiting) = &mut leg.step {
                waiting.told.insert(name.clone());
                waiting.asked.push((ask, question.input, name));
            }
            let mut out = Vec::new();
            rounds::write_request(message, question, ask_id(ask).as_bytes(), &mut out);
            self.deliver(io, to, &related(&out, &shown), Ending::More);
        }
        self.pause(io, key);
    }

    /// Waits before the task is looked at again.
    fn pause(&mut self, io: &mut Io, key: Key) {
        let Some(waiting) = self.waiting_mut(key) else { return };
        if !waiting.answers.is_empty() {
            return self.go_on(io, key);
        }
        let wait = waiting.poll;
        // The exchange that brought the answer ends without another one.
        let Some(key) = self.begin_round(io, key) else { return };
        self.move_asks(key);
        self.call_step(key, call::Event::Paused);
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.timer = io.timer(wait, Timer::Flight(key).token());
    }

    /// The pause is over: looks at the task again, or brings what the client answered.
    pub(super) fn go_on(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        let Some(leg) = self.leg_mut(key) else { return };
        let own = leg.own.clone();
        let Step::Wait(waiting) = &mut leg.step else { return };
        if now >= waiting.until {
            let why = "the task has not ended within an hour: ask for its result again";
            return self.fail_flight(io, key, why);
        }
        if waiting.answers.is_empty() {
            return self.send_next(io, key, &request(b"0", Method::TasksGet, &own));
        }
        waiting.updating = true;
        let mut message = request(b"0", Method::TasksUpdate, &own);
        message.truncate(message.len() - 2);
        message.extend_from_slice(b",\"inputResponses\":{");
        for (at, (name, answer)) in waiting.answers.drain(..).enumerate() {
            message.extend_from_slice(if at > 0 { b"," } else { b"" });
            message.extend_from_slice(name.as_bytes());
            message.push(b':');
            message.extend_from_slice(&answer);
        }
        message.extend_from_slice(b"}}}");
        if let Some(flight) = self.flights.get_mut(key) {
            flight.held.clear();
        }
        self.send_next(io, key, &message);
    }

    /// The client answered a question of a task.
    pub(super) fn task_answered(&mut self, io: &mut Io, key: Key, ask: Key, inbound: &Inbound<'_>) {
        let Some(waiting) = self.waiting_mut(key) else { return };
        let Some(at) = waiting.asked.iter().position(|(asked, ..)| *asked == ask) else { return };
        let (_, input, name) = waiting.asked.remove(at);
        let text = inbound.text(inbound.envelope.error_message).unwrap_or_default();
        let answer = match answer_of(inbound, &text).told(input) {
            Ok(answer) => answer.to_vec(),
            Err(why) => return self.fail_flight(io, key, &why.to_string()),
        };
        let held: usize = waiting.answers.iter().map(|(_, answer)| answer.len()).sum();
        if held + answer.len() > ANSWERS_BYTES_MAX {
            return self.fail_flight(io, key, "the client's answers to the server are too long");
        }
        if !self.hold_answer(io, key, answer.len()) {
            return;
        }
        let Some(waiting) = self.waiting_mut(key) else { return };
        waiting.answers.push((name, answer));
        if self.call_state(key) == call::State::Pausing {
            self.go_on(io, key);
        }
    }

    /// A flight got another number: its questions are told.
    pub(super) fn move_asks(&mut self, key: Key) {
        let Some(waiting) = self.waiting_mut(key) else { return };
        for (ask, ..) in waiting.asked.clone() {
            if let Some(ask) = self.asks.get_mut(ask) {
                ask.asker = Asker::Task { flight: key };
            }
        }
    }

    /// A flight left the table: its client is asked no longer.
    pub(super) fn withdraw_task_asks(&mut self, io: &mut Io, flight: &Flight) {
        let Some(Step::Wait(waiting)) = flight.leg.as_ref().map(|leg| &leg.step) else { return };
        let to = self.ask_route(flight);
        for (ask, ..) in &waiting.asked {
            if self.take_ask(*ask).is_some() {
                self.tell_withdrawn(io, *ask, to);
            }
        }
    }

    fn refuse_leg(&mut self, io: &mut Io, key: Key, code: i64, why: &str) {
        self.call_step(key, call::Event::Answered);
        let Some(flight) = self.land(io, key) else { return };
        self.expect_end(flight.exchange, flight.which());
        let era = flight.revision.era();
        let code = kern_mcp::era::error::translate_code(era, Method::ToolsCall, code);
        let mut out = Vec::new();
        encode::error(&mut out, Some(&flight.id), code, why, None);
        let status = match era {
            Era::Modern => errors::modern_status_of(code),
            Era::Legacy => 200,
        };
        self.deliver(io, flight.reply, &out, Ending::Answer(status));
    }
}

/// What is said of a task that can no longer be cancelled.
const ENDED: &str = "the task has ended";

/// A request to a client, tied to a task.
fn related(message: &[u8], shown: &str) -> Vec<u8> {
    let Ok(envelope) = scan(message, &kern_mcp::ScanLimits::default()) else {
        return message.to_vec();
    };
    let mut member = format!("\"{}\":{{\"taskId\":", tasks::RELATED_KEY).into_bytes();
    json::quote_into(&mut member, shown);
    member.push(b'}');
    let mut splice = Splice::new(message);
    match (envelope.meta, envelope.params) {
        (Some(meta), _) => splice.insert_member(meta, member),
        (None, Some(params)) => {
            splice.insert_member(params, [b"\"_meta\":{", &member[..], b"}"].concat());
        }
        (None, None) => {
            let params = [b"\"params\":{\"_meta\":{", &member[..], b"}}"].concat();
            splice.insert_member(envelope.root, params);
        }
    }
    let mut out = Vec::with_capacity(message.len() + 96);
    splice.write_into(&mut out);
    out
}

/// Where a call goes and why it does not.
pub(super) type LegOf = Result<Option<Box<Leg>>, Fault>;
