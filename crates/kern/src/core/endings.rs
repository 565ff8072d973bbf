//! How calls end without an answer: refused, overdue, withdrawn.
//!
//! What has to be done is decided in [`kern_session::call`]; here it is done. Invariant: whoever
//! waits is told once, the client and the server.

use std::sync::Arc;
use std::time::Duration;

use kern_session::call::{Effect, Event, State};
use kern_terms::{FlightId, Key};

use super::flight::patience;
use super::parks::Outcome;
use super::timers::Timer;
use super::words::{Ending, Post};
use super::{Core, Io};

impl Core {
    /// Ends a flight with an error of the gateway's.
    pub(super) fn fail_flight(&mut self, io: &mut Io, key: Key, why: &str) {
        if self.call_state(key) == State::Answering {
            // The client can't be told.
            tracing::warn!(why, "an answer that had begun can't be finished");
        }
        match self.call_step(key, Event::Failed) {
            Effect::Keep => self.keep_for_client(io, key, Outcome::Failed(why)),
            Effect::Refuse => self.refuse_flight(io, key, why),
            // It is over, or what it came to is kept already.
            _ => {}
        }
    }

    fn refuse_flight(&mut self, io: &mut Io, key: Key, why: &str) {
        if let Some(flight) = self.land(io, key) {
            self.expect_end(flight.exchange, flight.which());
            self.refuse_id(io, flight.reply, &flight.id, flight.revision.era(), why);
        }
    }

    /// A flight's timer: its time may be up.
    pub(super) fn flight_overdue(&mut self, io: &mut Io, key: Key) {
        let state = self.call_state(key);
        let why = match state {
            State::Waiting | State::Sent | State::Answering => match self.server_overdue(io, key) {
                Some(why) => why,
                None => return,
            },
            _ => String::new(),
        };
        if state.is_away() && !self.client_is_overdue(io, key) {
            return;
        }
        match self.call_step(key, Event::Overdue) {
            Effect::Refuse => self.refuse_flight(io, key, &why),
            Effect::Expire => {
                self.tell_server_cancelled(io, key, "the gateway's timeout");
                self.refuse_flight(io, key, &why);
            }
            Effect::Forget => {
                self.tell_server_cancelled(io, key, "its client did not come back");
                self.land(io, key);
            }
            Effect::Drop => {
                self.land(io, key);
            }
            Effect::AskRounds => self.round_overdue(io, key),
            Effect::GoOn => self.go_on(io, key),
            _ => {}
        }
    }

    /// Why its server took too long, unless it reported progress meanwhile: that starts `timeout`
    /// anew, as long as `total_timeout` allows (2025-11-25 basic/lifecycle, timeouts).
    fn server_overdue(&mut self, io: &mut Io, key: Key) -> Option<String> {
        let total = Duration::from_millis(self.setup.plan.limits.total_timeout_ms);
        let now = self.now;
        let flight = self.flights.get_mut(key)?;
        let upstream = self.upstreams.get(&flight.upstream);
        let name = upstream.map(|upstream| Arc::clone(&upstream.spec.name)).unwrap_or_default();
        let timeout = upstream.map(|upstream| upstream.spec.timeout).unwrap_or_default();
        let timeout = patience(flight.method, flight.leg.is_some(), timeout);
        let end = (flight.heard + timeout).min(flight.began + total.max(timeout));
        if now < end {
            flight.timer = io.timer(end.since(now), Timer::Flight(key).token());
            return None;
        }
        let (waited, setting) = match now.since(flight.heard) < timeout {
            true => (total, "limits.total_timeout"),
            false => (timeout, "timeout"),
        };
        Some(format!(
            "upstream {name:?} did not answer within {} s (its setting `{setting}`)",
            waited.as_secs_f32()
        ))
    }

    /// The client no longer wants the answer: its exchange ends without one.
    pub(super) fn cancel_flight(&mut self, io: &mut Io, id: FlightId) {
        if let Some(key) = self.flight_key(id) {
            self.withdraw_flight(io, key, Event::Cancelled, "cancelled by the client");
        }
    }

    /// A client withdraws its call, or can't wait for it any longer.
    pub(super) fn withdraw_flight(&mut self, io: &mut Io, key: Key, event: Event, why: &str) {
        let effect = self.call_step(key, event);
        if matches!(effect, Effect::Withdraw | Effect::Forget) {
            self.tell_server_cancelled(io, key, why);
        }
        match effect {
            Effect::Withdraw | Effect::Close => {
                if let Some(flight) = self.land(io, key) {
                    self.deliver(io, flight.reply, b"", Ending::Nothing);
                }
            }
            Effect::Forget | Effect::Drop => {
                self.land(io, key);
            }
            _ => {}
        }
    }

    /// Tells the server that has a call that its answer is no longer wanted.
    fn tell_server_cancelled(&mut self, io: &mut Io, key: Key, why: &str) {
        let Some(flight) = self.flights.get(key).filter(|flight| flight.steps.is_none()) else {
            return;
        };
        let id = self.flight_id(key);
        if let Some(exchange) = flight.exchange {
            self.cancel_exchange(io, key, exchange, why);
            return;
        }
        let (upstream, private) = (flight.upstream, flight.private);
        let hosted = private.or_else(|| self.upstreams.get(&upstream)?.hosted);
        match hosted {
            Some(hosted) => self.cancel_hosted(io, hosted, id, why),
            None => {
                let owner = self.setup.owner(upstream);
                io.post(owner, Post::Cancel { upstream, flight: id });
            }
        }
    }
}
