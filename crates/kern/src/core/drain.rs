//! Leaving in order: requests in hand are answered first, then servers end, then the core.
//!
//! Cores leave together: a server of one may be answering a request of another. Invariant: no
//! server is told to end before every core said that it waits for no answer, or time is up.

use std::time::Duration;

use super::edge::{Doing, Kind};
use super::timers::Timer;
use super::words::Post;
use super::{Core, Io};

/// How long a draining core waits for requests in hand.
const DRAIN_MOST: Duration = Duration::from_secs(10);

impl Core {
    /// Stops taking clients, and leaves once nothing is in hand.
    pub(super) fn retire(&mut self, io: &mut Io) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        tracing::debug!(core = self.id.0, "draining");
        for listener in std::mem::take(&mut self.listeners) {
            io.unlisten(listener);
        }
        for listen in self.listens.keys() {
            self.end_listen(io, listen);
        }
        self.end_parks(io, |_| true, "the gateway is shutting down");
        // Nobody waits for servers to start any more: they are answered with what there is.
        self.patient_due = true;
        io.timer(DRAIN_MOST, Timer::Drain.token());
    }

    /// Waits no longer for requests in hand.
    pub(super) fn drain_now(&mut self, io: &mut Io) {
        self.hurried = true;
        for flight in self.flights.keys() {
            self.fail_flight(io, flight, "the gateway is shutting down");
        }
    }

    /// Goes on with draining, as far as it can now.
    pub(super) fn drained(&mut self, io: &mut Io) {
        let waited_for = |edge: &super::edge::Edge| match &edge.kind {
            Kind::Http(http) => {
                matches!(http.doing, Doing::Waiting(_) | Doing::Streaming(_) | Doing::Flowing(..))
            }
            _ => false,
        };
        let busy = || self.edges.iter().any(|(_, edge)| waited_for(edge));
        if !self.flights.is_empty() || (!self.hurried && busy()) {
            return;
        }
        for edge in self.edges.keys() {
            self.close_edge(io, edge);
        }
        if !self.quiet.contains(&self.id) {
            let core = self.id;
            self.tell_all(io, || Post::Quiet(core));
        }
        if !self.hurried && !self.setup.cores.iter().all(|core| self.quiet.contains(core)) {
            return;
        }
        for key in self.hosted.keys() {
            self.stop_hosted(io, key);
        }
        if self.hosted.is_empty() {
            io.leave();
        }
    }
}
