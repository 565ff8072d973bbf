//! A client comes back with what a server asked it, on whatever core and connection.
//!
//! Its `requestState` names the call and the core that holds it, and opens only for the principal
//! and the request it was given for. Invariant: whoever presents a state that does not open learns
//! nothing, not even whether there is such a call.

use bytes::Bytes;
use kern_mcp::errors::Cause;
use kern_mcp::{encode, scan};
use kern_session::{Effect, Event, Fault, Level, SmallBytes, Ticket, binding, call, is_ours};
use kern_terms::{Era, FlightId, Key};

use super::edge::{Doing, Edge, Kind};
use super::parks::Kept;
use super::timers::Timer;
use super::words::{Back, Ending, Post, ReplyTo};
use super::{Core, Io};
use crate::pipeline::Inbound;

/// What is said of a state that does not open.
const NOT_VALID: &str = "params.requestState is not valid for this request: it must come \
     from an input_required result given to the same client for the same request";
const USED: &str = "params.requestState was used already, or the call it belongs to is over";
const EXPIRED: &str = "params.requestState has expired: send the request anew";

impl Core {
    /// Takes a request whose state was given here; `false` if it has none such.
    pub(crate) fn comes_back(&mut self, io: &mut Io, inbound: &Inbound<'_>) -> bool {
        let envelope = &inbound.envelope;
        let Some(state) = inbound.text(envelope.request_state) else { return false };
        if inbound.revision.era() != Era::Modern || inbound.session.is_some() || !is_ours(&state) {
            return false;
        }
        let Some(ticket) = self.open_state(inbound, &state) else { return false };
        let responses = envelope.input_responses.map(|span| span.of(inbound.message));
        let responses = responses.filter(|raw| *raw != b"null");
        if responses.is_some_and(|raw| !raw.starts_with(b"{")) {
            let why = "params.inputResponses must be an object";
            self.refuse(io, inbound, Cause::MalformedParams, why);
            return true;
        }
        if self.draining {
            self.refuse_busy(io, inbound);
            return true;
        }
        let raw = |span: kern_mcp::Span| SmallBytes::from(span.of(inbound.message));
        let back = Back {
            reply: inbound.reply,
            id: inbound.id().into(),
            progress: envelope.progress_token.map(raw),
            log_level: inbound.text(envelope.log_level).and_then(|text| Level::parse(&text)),
            ticket,
            responses: responses.map(Bytes::copy_from_slice),
        };
        // Should the client leave, the call it came back to is told.
        self.note_exchange(inbound.reply, FlightId::new(ticket.core, ticket.park));
        self.post_to(io, ticket.core, Post::Back(Box::new(back)));
        true
    }

    fn open_state(&self, inbound: &Inbound<'_>, state: &str) -> Option<Ticket> {
        let principal = self.principal(inbound.reply);
        let method = inbound.envelope.method_span.map(|span| span.of(inbound.message));
        let endpoint = inbound.endpoint.as_deref();
        let (method, params) = (method.unwrap_or_default(), inbound.envelope.params);
        let binding = binding(principal, endpoint, method, inbound.message, params);
        let ticket = self.parks.sealer.as_ref()?.open(state, &binding)?;
        self.setup.cores.contains(&ticket.core).then_some(ticket)
    }

    /// A client came back to a call of this core.
    pub(super) fn came_back(&mut self, io: &mut Io, back: Back) {
        let (key, now) = (back.ticket.park, self.now);
        let refused = Cause::MalformedParams;
        let mut fx = Vec::new();
        match self.park_mut(key) {
            Some(park) => {
                let (round, responses) = (back.ticket.round, back.responses.as_deref());
                park.step(now, Event::Back { round, responses }, &mut fx);
            }
            None if back.ticket.until <= now => fx.push(Effect::Reject(Fault::Expired)),
            None => fx.push(Effect::Reject(Fault::Used)),
        }
        if let [Effect::Reject(fault)] = fx.as_slice() {
            let why = match fault {
                Fault::Used => USED,
                Fault::Expired => EXPIRED,
                Fault::Malformed(why) => why,
            };
            return self.refuse_raw(io, back.reply, &back.id, refused, why);
        }
        self.count_kept(key);
        self.waits_again(io, key, back);
        for effect in fx {
            match effect {
                Effect::Deliver => self.deliver_kept(io, key),
                effect => self.park_effect(io, key, effect),
            }
        }
    }

    /// The client of a call waits for its answer again.
    fn waits_again(&mut self, io: &mut Io, key: Key, back: Back) {
        self.call_step(key, call::Event::Back);
        let now = self.now;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let upstream = self.upstreams.get_mut(&flight.upstream);
        let timeout = upstream.as_ref().map(|it| it.spec.timeout).unwrap_or_default();
        flight.count(upstream, true);
        io.cancel(flight.timer);
        flight.timer = io.timer(timeout, Timer::Flight(key).token());
        (flight.began, flight.heard) = (now, now);
        flight.reply = back.reply;
        flight.progress = back.progress;
        flight.log_level = back.log_level;
        flight.id = back.id;
        let id = flight.id.clone();
        let flight = self.flight_id(key);
        if let Some(line) = self.line_of(back.reply) {
            line.calls.insert(id, flight);
        }
    }

    /// What the call came to meanwhile goes to its client.
    fn deliver_kept(&mut self, io: &mut Io, key: Key) {
        let talk = self.flights.get_mut(key).and_then(|flight| flight.talk.as_mut());
        match talk.and_then(|talk| talk.kept.take()) {
            Some(Kept::Answer(message)) => match scan(&message, &self.scan_limits) {
                Ok(envelope) => self.answered(io, key, &message, &envelope),
                Err(_) => self.fail_flight(io, key, "the limits of the configuration changed"),
            },
            Some(Kept::Failed(why)) => self.fail_flight(io, key, &why),
            None => self.fail_flight(io, key, "the call ended without an answer"),
        }
    }

    /// The client of an exchange is gone: its call is no longer wanted.
    pub(super) fn client_gone(&mut self, io: &mut Io, reply: ReplyTo, flight: FlightId) {
        match flight.core() == self.id {
            true => self.client_left(io, reply, flight),
            false => io.post(flight.core(), Post::Left { reply, flight }),
        }
    }

    pub(super) fn client_left(&mut self, io: &mut Io, reply: ReplyTo, flight: FlightId) {
        // It may have been told something meanwhile, or come back elsewhere.
        let key = self.flight_key(flight);
        let its = |key: &Key| self.flights.get(*key).filter(|flight| flight.reply == reply);
        let Some((key, flight)) = key.and_then(|key| Some((key, its(&key)?))) else { return };
        let gone = call::Event::Gone(flight.revision.era());
        self.withdraw_flight(io, key, gone, "cancelled by the client");
    }

    /// Remembers which flight an HTTP exchange of this core waits for; `false` if it waits no longer.
    pub(super) fn note_exchange(&mut self, reply: ReplyTo, flight: FlightId) -> bool {
        if let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get_mut(reply.edge)
            && http.exchange == reply.exchange
            && let Doing::Waiting(exchange)
            | Doing::Streaming(exchange)
            | Doing::Flowing(exchange, _) = &mut http.doing
        {
            exchange.flight = Some(flight);
            return true;
        }
        false
    }

    /// Refuses a call that brings a state to a server which never gave one.
    pub(super) fn refuse_state(&mut self, io: &mut Io, key: Key) {
        self.call_step(key, call::Event::Failed);
        let Some(flight) = self.land(io, key) else { return };
        let why = NOT_VALID;
        self.refuse_raw(io, flight.reply, &flight.id, Cause::MalformedParams, why);
    }

    /// Refuses a request of the new era whose message is no longer at hand.
    pub(super) fn refuse_raw(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        id: &[u8],
        cause: Cause,
        why: &str,
    ) {
        let mut out = Vec::new();
        encode::error(&mut out, Some(id), cause.code(Era::Modern), why, None);
        self.deliver(io, reply, &out, Ending::Answer(cause.http_status(Era::Modern)));
    }
}
