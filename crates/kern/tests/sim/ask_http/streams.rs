//! What a simulated HTTP client of the old era does with its session: it loses connections and asks
//! for the rest, leaves calls running, closes and opens the session's own stream, ends the session in
//! mid-call; and what it makes of the end of a response.

use kern_reactor::driver::sim::{Context, Link};
use serde_json::{Value, json};

use super::{BEGIN, Carries, Connection, HttpClient};
use crate::ledger::Expect;
use crate::words;

/// How often the rest of one stream is asked for.
const TRIES_MAX: u32 = 5;

impl HttpClient {
    /// A connection that carries what `wanted` wants.
    fn link_with(
        &self,
        context: &mut Context<'_>,
        wanted: impl Fn(&Connection, &Carries) -> bool,
    ) -> Option<Link> {
        let all = self.connections.iter();
        let fits = |one: &Connection| {
            one.open && one.exchange.as_ref().is_some_and(|it| wanted(one, &it.carries))
        };
        let links: Vec<Link> = all.filter(|(_, one)| fits(one)).map(|(link, _)| *link).collect();
        context.rng(|rng| rng.pick(&links).copied())
    }

    /// Loses the connection of a stream that can be resumed, and asks for the rest.
    pub(super) fn cut(&mut self, context: &mut Context<'_>) {
        let resumable = |one: &Connection, carries: &Carries| {
            let placed = one.exchange.as_ref().is_some_and(|it| it.events.last_id.is_some());
            placed && matches!(carries, Carries::Request(_) | Carries::Rest(_))
        };
        let Some(link) = self.link_with(context, resumable) else { return };
        self.brain.saw("cuts");
        context.close(link);
        self.broken(context, link);
    }

    /// Loses the connection of a call that has no stream, and wants its answer no more. Its server
    /// works on: only in the new era that withdraws a call.
    pub(super) fn abandon(&mut self, context: &mut Context<'_>) {
        let silent = |one: &Connection, carries: &Carries| {
            let begun = one.exchange.as_ref().is_some_and(|it| it.head.status != 0);
            !begun && matches!(carries, Carries::Request(key) if self.brain.may_leave(key))
        };
        let Some(link) = self.link_with(context, silent) else { return };
        let exchange = self.connections.remove(&link).and_then(|one| one.exchange);
        if let Some(Carries::Request(key)) = exchange.map(|it| it.carries) {
            self.brain.saw("calls left running");
            self.brain.leave_running(&key);
        }
        context.close(link);
    }

    /// Closes the session's own stream, or opens it again.
    pub(super) fn toggle_stream(&mut self, context: &mut Context<'_>) {
        let own = |_: &Connection, carries: &Carries| *carries == Carries::Stream;
        if let Some(link) = self.link_with(context, own) {
            self.brain.saw("own streams closed");
            let exchange = self.connections.remove(&link).and_then(|one| one.exchange);
            self.stream_last = exchange.and_then(|it| it.events.last_id);
            return context.close(link);
        }
        let last = self.stream_last.take().filter(|_| context.rng(|rng| rng.below(2)) == 0);
        self.bare(context, "GET", Carries::Stream, last.as_deref());
    }

    /// Ends the session with calls under way, to begin another.
    pub(super) fn end_session(&mut self, context: &mut Context<'_>) {
        self.brain.walk_out();
        self.brain.disown();
        self.ready = false;
        self.bare(context, "DELETE", Carries::Delete, None);
    }

    /// The session was ended: a request in it must be refused.
    fn deleted(&mut self, context: &mut Context<'_>, status: u16) {
        if self.leaving {
            return;
        }
        if status != 200 {
            if self.brain.is_strict() {
                self.brain.violation(&format!("{status} for the end of its session"));
            }
            return self.schedule(context, 10_000, BEGIN);
        }
        self.brain.saw("sessions deleted in mid-call");
        let refused = Expect::Error("session has ended".to_owned());
        let message = self.brain.ask(context, "ping", json!({}), refused);
        self.probe = Some(words::id_text(&message["id"]));
        self.post(context, &message);
    }

    /// Asks for the rest of a stream; `false` if that is no use.
    fn resume(&mut self, context: &mut Context<'_>, key: &str, last: Option<String>) -> bool {
        let Some(last) = last.filter(|_| self.ready && self.session.is_some()) else {
            return false;
        };
        if !self.brain.is_open(key) {
            return true;
        }
        let tries = self.tries.entry(key.to_owned()).or_default();
        *tries += 1;
        if *tries > TRIES_MAX && !self.brain.is_strict() {
            return false;
        }
        self.brain.saw("streams resumed");
        let carries = Carries::Rest(key.to_owned());
        self.bare(context, "GET", carries.clone(), Some(&last));
        // Should nothing come of it, that is still the place.
        let all = self.connections.values_mut().filter_map(|one| one.exchange.as_mut());
        all.filter(|it| it.carries == carries)
            .for_each(|it| it.events.last_id = Some(last.clone()));
        true
    }

    /// A response is complete.
    pub(super) fn ended(&mut self, context: &mut Context<'_>, link: Link) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let Some(exchange) = connection.exchange.as_mut() else { return };
        let body = std::mem::take(&mut exchange.body);
        let (status, carries) = (exchange.head.status, exchange.carries.clone());
        let closes = exchange.head.get("connection") == Some("close");
        // What was sent in a session that it left says nothing of the one it has now.
        let current = exchange.session == self.session;
        let in_session = exchange.session.is_some() || self.brain.is_modern();
        let last = exchange.events.last_id.clone().filter(|_| current);
        let is_message = serde_json::from_slice::<Value>(&body)
            .is_ok_and(|value| value.get("jsonrpc").is_some() && !value["id"].is_null());
        if is_message {
            self.message(context, link, &body);
        }
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.exchange = None;
        }
        if closes {
            self.connections.remove(&link);
            context.close(link);
        }
        if carries == Carries::Notice && current && std::mem::take(&mut self.initializing) {
            self.initialized(context, status);
        }
        match &carries {
            // Nothing is open under it where it was answered.
            Carries::Request(key) | Carries::Rest(key) => {
                if self.probe.as_ref() == Some(key) {
                    self.probe = None;
                    self.brain.lose(key);
                    return self.schedule(context, 10_000, BEGIN);
                }
                if status == 404 || !self.brain.is_open(key) || !self.resume(context, key, last) {
                    self.brain.lose(key);
                }
            }
            // Between two sessions, what it says is said in none.
            Carries::Notice if !matches!(status, 202 | 404) && in_session => {
                self.brain.violation(&format!("{status} for a notification or an answer"));
            }
            Carries::Stream
                if self.wilful
                    && status != 200
                    && current
                    && self.ready
                    && self.brain.is_strict() =>
            {
                self.brain.violation(&format!("{status} for the session's own stream"));
            }
            Carries::Delete => self.deleted(context, status),
            Carries::Notice | Carries::Stream => {}
        }
        let expired = status == 404 && !self.brain.is_modern() && carries != Carries::Delete;
        if expired && current && self.ready {
            self.brain.lose_all();
            self.ready = false;
            self.schedule(context, 10_000, BEGIN);
        }
    }

    /// Its server knows that it is there.
    fn initialized(&mut self, context: &mut Context<'_>, status: u16) {
        if status != 202 {
            return self.schedule(context, 10_000, BEGIN);
        }
        self.ready = true;
        if context.rng(|rng| rng.below(2)) == 0 {
            self.bare(context, "GET", Carries::Stream, None);
        }
    }

    /// A connection is gone.
    pub(super) fn broken(&mut self, context: &mut Context<'_>, link: Link) {
        let Some(connection) = self.connections.remove(&link) else { return };
        let Some(exchange) = connection.exchange else { return };
        let last = exchange.events.last_id.filter(|_| exchange.session == self.session);
        match exchange.carries {
            Carries::Request(key) | Carries::Rest(key) => {
                let begins = self.handshake.as_ref() == Some(&key);
                let probes = self.probe.as_ref() == Some(&key);
                if !self.resume(context, &key, last) {
                    self.brain.lose(&key);
                }
                if begins || probes {
                    (self.handshake, self.probe) = (None, None);
                    self.schedule(context, 1_000_000, BEGIN);
                }
            }
            Carries::Delete if !self.leaving => self.schedule(context, 10_000, BEGIN),
            Carries::Stream => self.stream_last = last,
            Carries::Notice if std::mem::take(&mut self.initializing) => {
                self.schedule(context, 1_000_000, BEGIN);
            }
            Carries::Notice | Carries::Delete => {}
        }
    }
}
