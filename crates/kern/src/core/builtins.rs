//! Tools that this process answers by itself.
//!
//! Invariant: one that takes time is a flight like any other, so it can be cancelled.

use std::borrow::Cow;
use std::time::Duration;

use kern_mcp::errors::Cause;
use kern_mcp::{Method, encode};
use kern_session::call;
use kern_terms::Key;
use kern_upstream::builtin::{self, Course};

use super::timers::Timer;
use super::words::Ending;
use super::{Core, Io};
use crate::pipeline::{Destination, Fault, Inbound};

/// A built-in tool that takes time.
#[derive(Debug)]
pub(super) struct Steps {
    done: u32,
    count: u32,
    every: Duration,
    answer: Vec<u8>,
}

impl Core {
    pub(super) fn call_builtin(&mut self, io: &mut Io, inbound: &Inbound<'_>, to: &Destination) {
        let name = to.name.as_deref().map(Cow::Borrowed);
        let name = name.or_else(|| inbound.str(inbound.envelope.name)).unwrap_or_default();
        let arguments = inbound.envelope.arguments.map(|span| span.of(inbound.message));
        let mut result = std::mem::take(&mut self.scratch);
        result.clear();
        result.push(b'{');
        let course = match inbound.envelope.method {
            Method::ToolsCall => builtin::call(&name, arguments.unwrap_or(b"{}"), &mut result),
            _ => return self.unknown_method(io, inbound),
        };
        let (count, every) = match course {
            Ok(Course::Done) => {
                result.push(b'}');
                self.reply(io, inbound, &result);
                self.scratch = result;
                return;
            }
            Ok(Course::Later(wait)) => (0, wait),
            Ok(Course::Steps { count, every }) => (count, every),
            Err(Some(why)) => {
                let mut text = b"{\"content\":[{\"type\":\"text\",\"text\":".to_vec();
                kern_mcp::json::quote_into(&mut text, &why);
                text.extend_from_slice(b"}],\"isError\":true}");
                return self.reply(io, inbound, &text);
            }
            Err(None) => {
                let fault = Fault::new(Cause::InvalidParams, format!("unknown tool: {name}"));
                return self.refuse_with(io, inbound, fault);
            }
        };
        result.push(b'}');
        let key = self.add_flight(io, inbound, to, builtin::SLEEP_MOST * 2);
        if let Some(flight) = self.flights.get_mut(key) {
            flight.steps = Some(Box::new(Steps { done: 0, count, every, answer: result }));
        }
        self.call_step(key, call::Event::Sent);
        self.remember_call(inbound, self.flight_id(key));
        io.timer(every, Timer::Step(key).token());
    }

    /// A step of a built-in tool is due.
    pub(super) fn step(&mut self, io: &mut Io, key: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(steps) = &mut flight.steps else { return };
        if steps.done < steps.count {
            steps.done += 1;
            let (done, count, every) = (steps.done, steps.count, steps.every);
            let reply = flight.reply;
            if let Some(token) = &flight.progress {
                let token = String::from_utf8_lossy(token);
                let params =
                    format!("{{\"progressToken\":{token},\"progress\":{done},\"total\":{count}}}");
                let mut out = Vec::new();
                let method = Method::Progress.as_str();
                encode::notification(&mut out, method, Some(params.as_bytes()));
                self.deliver(io, reply, &out, Ending::More);
            }
            if done < count {
                io.timer(every, Timer::Step(key).token());
                return;
            }
        }
        self.call_step(key, call::Event::Answered);
        let Some(mut flight) = self.land(io, key) else { return };
        let answer = flight.steps.take().map(|steps| steps.answer).unwrap_or_default();
        self.answer_built(io, flight.reply, &flight.id, flight.revision, &answer);
    }
}
