//! Whose is a log message on a connection that many clients share?
//!
//! Over stdio a server of the new era does not say which request a log message belongs to. But it
//! may send one only for a request that asked for it, and only before it answers that request
//! (2026-07-28 server/utilities/logging). So while all requests that asked and were not answered are
//! of one client, the message is that client's. Invariant: what might be another client's is
//! nobody's. A withdrawn request counts as long as its server runs: it may not know yet.

use kern_terms::{CoreId, FlightId, Key};

/// Requests kept; beyond, nothing can be told until the server is started anew.
const OPEN_MAX: usize = 1_024;

/// The requests of one connection that asked for log messages.
#[derive(Debug, Default)]
pub struct Audience {
    open: Vec<Open>,
    lost_count: bool,
}

#[derive(Debug)]
struct Open {
    flight: FlightId,
    /// The session it is of, on its core; a request without one is a client of its own.
    client: Option<(CoreId, Key)>,
    withdrawn: bool,
}

impl Audience {
    /// A request that asks for log messages goes to the server; `session` on the flight's core.
    pub fn sent(&mut self, flight: FlightId, session: Option<Key>) {
        if self.open.len() >= OPEN_MAX {
            self.lost_count = true;
            return;
        }
        let client = session.map(|session| (flight.core(), session));
        self.open.push(Open { flight, client, withdrawn: false });
    }

    /// The server answered a request.
    pub fn answered(&mut self, flight: FlightId) {
        self.open.retain(|open| open.flight != flight);
    }

    /// Nobody waits for an answer any more; messages may still come.
    pub fn withdrawn(&mut self, flight: FlightId) {
        if let Some(open) = self.open.iter_mut().find(|open| open.flight == flight) {
            open.withdrawn = true;
        }
    }

    /// The server is started anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A request of the client that a log message must be for.
    pub fn hears(&self) -> Option<FlightId> {
        let (first, rest) = self.open.split_first().filter(|_| !self.lost_count)?;
        let same = |other: &Open| other.client.is_some() && other.client == first.client;
        if !rest.iter().all(same) {
            return None;
        }
        let newest = self.open.iter().rev().find(|open| !open.withdrawn)?;
        Some(newest.flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(core: u8, slot: u32) -> FlightId {
        FlightId::new(CoreId(core), Key { slot, generation: 0 })
    }

    /// Flights by number; odd ones are of core 1. `+a1` is sent by session `a`, `+_1` by none,
    /// `-1` answered, `x1` withdrawn.
    fn check(history: &str, expected: Option<u32>) {
        let mut audience = Audience::default();
        let of = |number: &str| {
            let slot: u32 = number.parse().expect("a number");
            flight((slot % 2) as u8, slot)
        };
        for step in history.split_whitespace() {
            match step.split_at(1) {
                ("+", rest) => {
                    let (who, number) = rest.split_at(1);
                    let slot = u32::from(who.as_bytes()[0]);
                    let session = (who != "_").then_some(Key { slot, generation: 0 });
                    audience.sent(of(number), session);
                }
                ("-", number) => audience.answered(of(number)),
                (_, number) => audience.withdrawn(of(number)),
            }
        }
        assert_eq!(audience.hears().map(FlightId::slot), expected, "{history}");
    }

    #[test]
    fn what_might_be_anothers_is_nobodys() {
        check("", None);
        check("+a2", Some(2));
        check("+_2", Some(2));
        check("+a2 +a4", Some(4));
        check("+a2 +b4", None);
        check("+a2 +b4 -2", Some(4));
        // The same session key on another core is another session.
        check("+a2 +a3", None);
        check("+_2 +_4", None);
        check("+_2 +_4 -2", Some(4));
        check("+a2 x2", None);
        check("+a2 +a4 x4", Some(2));
        check("+a2 x2 +b4", None);
        check("+a2 x2 +b4 -2", Some(4));
        check("+a2 -2", None);
        let many: Vec<String> = (0..=OPEN_MAX).map(|at| format!("+a{}", at * 2)).collect();
        let answered: Vec<String> = (1..OPEN_MAX).map(|at| format!("-{}", at * 2)).collect();
        check(&format!("{} {}", many.join(" "), answered.join(" ")), None);
    }
}
