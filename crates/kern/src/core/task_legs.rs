//! Tasks whose client and server are of different eras: one request of the client becomes one or
//! more to the server.
//!
//! ```text
//! client of 2026-07-28           server of 2025-11-25
//! tools/call                     tools/call with `task`
//! tasks/get                      tasks/get, then tasks/result when it has ended
//! tasks/cancel                   tasks/cancel; tasks/get where that is refused, to see why
//! tasks/update                   tasks/get: it asks nothing that could be answered
//! ```
//!
//! What the members become is in `kern_mcp::era::task`. Such a task runs on the shared instance,
//! which was told that its client can do nothing. Invariants: a flight's next request goes where its
//! first one went; whatever a server answers, its client gets one answer.

use bytes::Bytes;
use kern_mcp::era::capabilities::with_tasks;
use kern_mcp::era::rounds::can_be_asked;
use kern_mcp::era::task::{self, Outcome, Status};
use kern_mcp::errors::INVALID_PARAMS;
use kern_mcp::tasks::{self, Support, TASK_ID_BYTES_MAX};
use kern_mcp::{Envelope, Kind, Method, Splice, encode, json, scan};
use kern_session::{Principal, TAG_TEXT_BYTES, call};
use kern_terms::{Era, Key, Revision};
use kern_upstream::call::Call;

use super::place::Place;
use super::task_waits::LegOf;
use super::timers::Timer;
use super::words::{Ending, Health, Leg, Step};
use super::{Core, Io};
use crate::pipeline::{Destination, Inbound};

/// An id that no client gave: answers to it are told by the flight.
const NO_ID: &[u8] = b"0";

impl Core {
    /// A tool call on its way: as a task where its client and its server want that in different
    /// words, else as it is.
    pub(crate) fn depart(&mut self, io: &mut Io, inbound: &Inbound<'_>, to: Destination) {
        if inbound.envelope.method != Method::ToolsCall {
            return self.fly(io, inbound, to);
        }
        let start = self.may_start(io, inbound, to.upstream);
        let leg = match self.leg_of_call(inbound, &to) {
            Ok(_) if start => Ok(Some(Box::new(Leg::new(Step::Start, Principal::Nobody)))),
            other => other,
        };
        let leg = match leg {
            Ok(leg) => leg,
            Err(fault) => return self.refuse_with(io, inbound, fault),
        };
        let crosses = inbound.revision.era() == Era::Modern
            && self.era_at(Place::Shared, to.upstream) == Some(Era::Legacy);
        let stray = inbound.envelope.task.filter(|_| crosses || start);
        if leg.is_none() && stray.is_none() {
            return self.fly(io, inbound, to);
        }
        let mut splice = Splice::new(inbound.message);
        if let Some(stray) = stray {
            splice.remove_value(stray);
        }
        if let (Some(_), Some(params), false) = (&leg, inbound.envelope.params, start) {
            splice.insert_member(params, &b"\"task\":{}"[..]);
        }
        let mut message = Vec::with_capacity(inbound.message.len() + 16);
        splice.write_into(&mut message);
        self.fly_rewritten(io, inbound, Destination { leg, ..to }, &message);
    }

    /// Whether a modern client's call becomes a task of an old server.
    fn leg_of_call(&self, inbound: &Inbound<'_>, to: &Destination) -> LegOf {
        let Some(upstream) = self.upstreams.get(&to.upstream) else { return Ok(None) };
        let old =
            matches!(&upstream.health, Health::Up(up) if up.revision == Revision::V2025_11_25);
        let name = &upstream.spec.name;
        if inbound.revision.era() != Era::Modern
            || !old
            || !tasks::is_offered(self.capabilities_of(name))
        {
            return Ok(None);
        }
        let asked = || inbound.text(inbound.envelope.name);
        let Some(tool) = to.name.clone().or_else(asked) else { return Ok(None) };
        let target = self.catalog.one(name).and_then(|view| view.tool(&tool));
        let support = target.map_or(Support::Forbidden, |target| Support::of(&target.item.raw));
        let declared = super::tasks::declares(inbound);
        // A client that can be asked gets the answer at once: a task could not ask it.
        match support {
            Support::Required if !declared => Err(super::tasks::undeclared()),
            Support::Optional if !declared || converses(inbound) => Ok(None),
            Support::Required | Support::Optional => {
                let owner = self.principal(inbound.reply);
                Ok(Some(Box::new(Leg::new(Step::Create, owner))))
            }
            Support::Forbidden => Ok(None),
        }
    }

    /// A modern client's request about a task of an old server.
    pub(super) fn ask_old_server(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
        to: Destination,
        shown: &str,
        own: &str,
    ) {
        let (step, method) = match inbound.envelope.method {
            Method::TasksGet => (Step::Get, Method::TasksGet),
            Method::TasksCancel => (Step::Cancel, Method::TasksCancel),
            _ => (Step::Check, Method::TasksGet),
        };
        let leg = Leg::about(step, shown, own);
        let message = request(inbound.id(), method, own);
        self.fly_rewritten(io, inbound, Destination { leg: Some(Box::new(leg)), ..to }, &message);
    }

    /// An answer to a request of a flight with a leg; `false` if it goes to the client as it is.
    pub(super) fn leg_answered(
        &mut self,
        io: &mut Io,
        key: Key,
        message: &[u8],
        envelope: &Envelope,
    ) -> bool {
        let Some(flight) = self.flights.get_mut(key) else { return false };
        let Some(leg) = &mut flight.leg else { return false };
        let result = envelope.result.filter(|_| envelope.kind == Kind::Result);
        let result = result.map(|span| span.of(message));
        match (&mut leg.step, result) {
            (Step::Create, Some(result)) => {
                let Some(task) = json::field(result, "task").map(<[u8]>::to_vec) else {
                    return false;
                };
                self.created_for_modern(io, key, &task);
            }
            (Step::Get, Some(result)) => match Status::of(result) {
                Status::Completed | Status::Failed => {
                    let (own, task) = (leg.own.clone(), result.into());
                    leg.step = Step::Finish(task);
                    self.send_next(io, key, &request(NO_ID, Method::TasksResult, &own));
                }
                _ => {
                    let answer = task::to_modern(result, &leg.shown, "complete", None);
                    self.end_leg(io, key, &answer);
                }
            },
            (Step::Finish(ended), result) => {
                let own = result.and_then(|_| task::result_to_modern(message));
                let error = envelope.error.map(|span| span.of(message));
                let outcome = match (&own, error) {
                    (Some(result), _) => Some(Outcome::Result(result)),
                    (None, Some(error)) => Some(Outcome::Error(error)),
                    (None, None) => None,
                };
                let answer = task::to_modern(ended, &leg.shown, "complete", outcome);
                self.end_leg(io, key, &answer);
            }
            (Step::Start, Some(_)) => return self.started(io, key, message, envelope),
            (Step::Look, Some(result)) => {
                let answer = task::to_legacy(result, &leg.shown);
                self.end_leg(io, key, &answer);
            }
            (Step::BeforeCancel, Some(result)) => self.before_cancel(io, key, result),
            (Step::Cancelling, Some(_)) => {
                let own = leg.own.clone();
                leg.step = Step::Look;
                self.send_next(io, key, &request(NO_ID, Method::TasksGet, &own));
            }
            (Step::Wait(_), Some(_)) => self.looked(io, key, message, envelope),
            (Step::Cancel | Step::Check, Some(_)) => {
                self.end_leg(io, key, b"{\"resultType\":\"complete\"}");
            }
            (Step::Cancel, None) if envelope.error_code == Some(INVALID_PARAMS) => {
                // The old era refuses to cancel what has ended; the new one does not mind.
                let own = leg.own.clone();
                leg.step = Step::Check;
                self.send_next(io, key, &request(NO_ID, Method::TasksGet, &own));
            }
            (_, None) => return false,
        }
        true
    }

    fn created_for_modern(&mut self, io: &mut Io, key: Key, task: &[u8]) {
        let id = json::text_field(task, "taskId");
        let id = id.filter(|id| TAG_TEXT_BYTES + 1 + id.len() <= TASK_ID_BYTES_MAX);
        let Some(flight) = self.flights.get(key) else { return };
        let shown = id.and_then(|id| self.shown_task(flight, &id));
        let Some(shown) = shown else {
            let why = "the server made a task whose id is missing or too long";
            return self.fail_flight(io, key, why);
        };
        let answer = task::to_modern(task, &shown, "task", None);
        self.end_leg(io, key, &answer);
    }

    /// Sends the next request of a flight, under a flight id of its own.
    pub(super) fn send_next(&mut self, io: &mut Io, key: Key, message: &[u8]) {
        let Some(key) = self.begin_round(io, key) else { return };
        self.move_asks(key);
        let Ok(envelope) = scan(message, &self.scan_limits) else {
            return self.fail_flight(io, key, "what its client answered is too long");
        };
        let session = self.flights.get(key).and_then(|flight| flight.session);
        let session = session.and_then(|session| self.sessions.get(session));
        let able = with_tasks(session.map_or(&b"{}"[..], |session| &session.capabilities_modern));
        let client_info = match session {
            Some(session) if session.info.len() > 2 => session.info.clone(),
            _ => Bytes::from_static(super::INFO.as_bytes()),
        };
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let (upstream, private) = (flight.upstream, flight.private);
        let timeout = self.upstreams.get(&upstream).map(|it| it.spec.timeout);
        (flight.began, flight.heard) = (now, now);
        flight.timer = io.timer(timeout.unwrap_or_default(), Timer::Flight(key).token());
        let call = Call {
            message,
            envelope: &envelope,
            name: None,
            uri: None,
            from: Revision::V2025_11_25,
            client_info: &client_info,
            client_capabilities: &able,
            log_level: None,
        };
        let place = private.map_or(Place::Shared, Place::Private);
        self.send_call(io, key, place, &call);
    }

    /// Gives the client the answer it waits for.
    pub(super) fn end_leg(&mut self, io: &mut Io, key: Key, result: &[u8]) {
        self.call_step(key, call::Event::Answered);
        let Some(flight) = self.land(io, key) else { return };
        self.expect_end(flight.exchange, flight.which());
        let mut out = Vec::with_capacity(result.len() + 64);
        encode::result(&mut out, &flight.id, result);
        self.deliver(io, flight.reply, &out, Ending::Answer(200));
    }
}

/// Whether a modern client can be asked in mid-call.
fn converses(inbound: &Inbound<'_>) -> bool {
    let capabilities = inbound.envelope.client_capabilities;
    let declared = capabilities.map_or(&b"{}"[..], |span| span.of(inbound.message));
    can_be_asked(declared)
}

/// A request about a task, under a raw id.
pub(super) fn request(id: &[u8], method: Method, task: &str) -> Vec<u8> {
    let mut message = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    message.extend_from_slice(id);
    message.extend_from_slice(b",\"method\":\"");
    message.extend_from_slice(method.as_str().as_bytes());
    message.extend_from_slice(b"\",\"params\":{\"taskId\":");
    json::quote_into(&mut message, task);
    message.extend_from_slice(b"}}");
    message
}
