//! Calls whose stream broke: the server is asked for the rest (2025-11-25 basic/transports,
//! "Resumability and Redelivery"; polling, SEP-1699).
//!
//! Invariants: only a stream that named a place (an event id) is asked for again, never the call
//! itself sent again; not before the server's `retry` is over; tries that bring nothing are
//! bounded, and the call's timeout runs on.

use std::time::Duration;

use kern_session::call::State;
use kern_terms::{Era, FlightId, Key, Revision};
use kern_upstream::http::Ended;

use super::http_calls::legacy_headers;
use super::http_link::Which;
use super::timers::Timer;
use super::words::{Ending, Health};
use super::{Core, Io};

/// Wait before a stream is asked for again where its server named none.
const RETRY: Duration = Duration::from_secs(1);
/// Least wait, whatever the server named: it must not be able to keep a core busy.
const RETRY_LEAST: Duration = Duration::from_millis(50);
/// Longest wait a server can ask for; the call's timeout is over long before.
const RETRY_MOST: Duration = Duration::from_secs(3_600);
/// Tries in a row that bring no event.
const TRIES_MAX: u32 = 4;

/// The place of a call in its stream.
#[derive(Debug)]
pub(super) struct Resume {
    /// The last event's id.
    last: String,
    retry: Duration,
    /// Tries since the last event.
    tries: u32,
    /// The exchange under way is a GET for the rest.
    asked: bool,
    /// No exchange is under way: a timer will ask.
    waits: bool,
}

impl Core {
    /// An event of a call's stream named a place, or a time to wait.
    pub(super) fn note_place(&mut self, tag: u64, id: Option<&str>, retry_ms: Option<u64>) {
        let Some(key) = FlightId::from_number(tag).and_then(|id| self.flight_key(id)) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(key) else { return };
        match id {
            // An empty id takes the place back (WHATWG HTML section 9.2.6).
            Some("") => flight.resume = None,
            Some(id) => {
                let known = flight.resume.get_or_insert_with(|| {
                    let (last, retry) = (String::new(), RETRY);
                    Box::new(Resume { last, retry, tries: 0, asked: false, waits: false })
                });
                id.clone_into(&mut known.last);
                known.tries = 0;
            }
            None => {}
        }
        if let (Some(ms), Some(known)) = (retry_ms, &mut flight.resume) {
            known.retry = Duration::from_millis(ms).clamp(RETRY_LEAST, RETRY_MOST);
        }
    }

    /// A call's stream ended without its answer. `true` if the rest will be asked for.
    pub(super) fn will_resume(&mut self, io: &mut Io, which: Which, key: Key, how: &Ended) -> bool {
        if self.revision_of(which).is_none_or(|revision| revision.era() != Era::Legacy) {
            return false;
        }
        // What has begun can't begin again elsewhere.
        if self.call_state(key) == State::Answering {
            return false;
        }
        let Some(flight) = self.flights.get_mut(key) else { return false };
        flight.flow = None;
        let Some(resume) = flight.resume.as_mut().filter(|resume| resume.tries < TRIES_MAX) else {
            return false;
        };
        let wait = (resume.retry * (1 << resume.tries)).min(RETRY_MOST);
        resume.waits = true;
        flight.exchange = None;
        let (reply, revision) = (flight.reply, flight.revision);
        io.timer(wait, Timer::Resume(key).token());
        // A server that closes in order wants to be polled; so may its client poll us.
        let polled = matches!(how, Ended::Complete { .. });
        if polled && revision >= Revision::V2025_11_25 && reply.session.is_some() {
            let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            self.deliver(io, reply, b"", Ending::Poll(retry_ms));
        }
        true
    }

    /// The time to ask for the rest of a call's stream.
    pub(super) fn resume_call(&mut self, io: &mut Io, key: Key) {
        let id = self.flight_id(key);
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Some(resume) = flight.resume.as_mut().filter(|resume| resume.waits) else { return };
        resume.waits = false;
        resume.asked = true;
        resume.tries += 1;
        let last = resume.last.clone();
        let session_id = flight.sent_in.clone();
        let which = flight.private.map_or(Which::Shared(flight.upstream), Which::Private);
        let revision = self.revision_of(which).unwrap_or(Revision::LEGACY_LATEST);
        let headers = legacy_headers(revision, session_id.as_deref());
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let exchange = self.with_link(io, which, &[], |link, wire, now, _| {
            link.get_stream(wire, now, None, &headers, Some(&last), id.number())
        });
        match (exchange, self.flights.get_mut(key)) {
            (Some(Ok(exchange)), Some(flight)) => flight.exchange = Some(exchange),
            (Some(Err(error)), _) => self.fail_flight(io, key, &error.to_string()),
            (None, _) => self.fail_flight(io, key, "the upstream was removed"),
            (_, None) => {}
        }
    }

    /// Whether what a call's exchange was refused was the rest of its stream.
    pub(super) fn asked_for_rest(&self, key: Key) -> bool {
        let resume = self.flights.get(key).and_then(|flight| flight.resume.as_ref());
        resume.is_some_and(|resume| resume.asked)
    }

    /// The revision agreed on with the server behind a link.
    pub(super) fn revision_of(&self, which: Which) -> Option<Revision> {
        match which {
            Which::Private(key) => Some(self.hosted.get(key)?.instance.revision()),
            Which::Shared(id) => {
                let upstream = self.upstreams.get(&id)?;
                match (&upstream.health, upstream.hosted.and_then(|key| self.hosted.get(key))) {
                    (Health::Up(up), _) => Some(up.revision),
                    (_, Some(hosted)) => Some(hosted.instance.revision()),
                    _ => None,
                }
            }
        }
    }
}
