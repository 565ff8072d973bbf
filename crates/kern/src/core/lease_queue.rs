//! Which of the calls that wait for a server of their own gets one next?
//!
//! Clients take turns, so that one with many calls does not hold up the others; one that has its share
//! of the servers waits for its own. Invariant: what waits here is kept unsent, and its bytes count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kern_session::Principal;
use kern_terms::Key;
use kern_upstream::call::Call;

use super::flight::{Flight, Parked};
use super::queued::NO_ROOM;
use super::words::UpstreamId;
use super::{Core, Io};

/// What became of a call that needs an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leased {
    /// It has one, or is over.
    Done,
    /// There is no room for anybody's.
    NoRoom,
    /// Its client has its share.
    NoShare,
}

/// Calls that wait for an instance: clients, and those of each.
type Line = VecDeque<(Principal, VecDeque<Key>)>;

/// What waits for instances.
#[derive(Debug, Default)]
pub(super) struct Leases {
    queue: BTreeMap<UpstreamId, Line>,
    /// Upstreams with room for calls that wait, perhaps.
    due: BTreeSet<UpstreamId>,
}

fn count(line: &Line) -> usize {
    line.iter().map(|(_, keys)| keys.len()).sum()
}

impl Leases {
    /// There may be room at `id`.
    pub(super) fn due(&mut self, id: UpstreamId) {
        self.due.insert(id);
    }

    /// There may be room everywhere.
    pub(super) fn all_due(&mut self) {
        self.due.extend(self.queue.keys());
    }

    /// How many calls wait, those that were given up included.
    pub(super) fn len(&self) -> usize {
        self.queue.values().map(count).sum()
    }
}

impl Core {
    /// Sends a call to an instance of its own kind, or keeps it until there is room for one.
    pub(super) fn lease(&mut self, io: &mut Io, key: Key, call: &Call<'_>) {
        if self.try_lease(io, key, call) == Leased::Done {
            return;
        }
        let Some(flight) = self.flights.get(key) else { return };
        let Some(principal) = flight.talk.as_ref().map(|talk| talk.principal) else { return };
        let (upstream, most) = (flight.upstream, self.setup.plan.limits.queue);
        let Some(weight) = self.room_to_wait(call.message.len()) else {
            return self.fail_flight(io, key, NO_ROOM);
        };
        let line = self.leases.queue.entry(upstream).or_default();
        if count(line) >= most {
            // Calls that were given up stand in it until they come up.
            for (_, keys) in line.iter_mut() {
                keys.retain(|key| self.flights.get(*key).is_some_and(Flight::waits));
            }
            line.retain(|(_, keys)| !keys.is_empty());
        }
        if count(line) >= most {
            let why = "too many requests wait for a server of their own (limits.queue)";
            return self.fail_flight(io, key, why);
        }
        match line.iter_mut().find(|(whose, _)| *whose == principal) {
            Some((_, keys)) => keys.push_back(key),
            None => line.push_back((principal, [key].into())),
        }
        if let Some(flight) = self.flights.get_mut(key) {
            flight.parked = Some(Parked::waiting(call, weight));
        }
    }

    /// Room may have come for calls that wait for an instance.
    pub(super) fn serve_leases(&mut self, io: &mut Io) {
        while let Some(id) = self.leases.due.pop_first() {
            let mut sated = Line::new();
            while let Some((principal, mut keys)) =
                self.leases.queue.get_mut(&id).and_then(VecDeque::pop_front)
            {
                let leased = self.serve_one(io, &mut keys);
                let line = self.leases.queue.entry(id).or_default();
                match leased {
                    Leased::Done if keys.is_empty() => {}
                    Leased::Done => line.push_back((principal, keys)),
                    Leased::NoShare => sated.push_back((principal, keys)),
                    Leased::NoRoom => {
                        line.push_front((principal, keys));
                        break;
                    }
                }
            }
            let line = self.leases.queue.entry(id).or_default();
            line.extend(sated);
            if line.is_empty() {
                self.leases.queue.remove(&id);
            }
        }
    }

    /// What becomes of the first of a client's calls that is not over.
    fn serve_one(&mut self, io: &mut Io, keys: &mut VecDeque<Key>) -> Leased {
        while let Some(key) = keys.pop_front() {
            // It may be over, and its slot another's: only what waits here is kept unsent.
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let revision = flight.revision;
            let Some(kept) = flight.parked.take_if(|_| flight.exchange.is_none()) else { continue };
            let leased = self.try_lease(io, key, &kept.call(revision));
            if leased != Leased::Done {
                keys.push_front(key);
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.parked = Some(kept);
                }
            }
            return leased;
        }
        Leased::Done
    }
}
