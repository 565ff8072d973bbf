//! Which core keeps a new connection?
//!
//! The kernel spreads connections over cores by a hash, blind to how many each has. A core that is
//! clearly fuller than the least loaded one (see [`BALANCE_SLACK`]) hands the socket over before any
//! byte was read. Invariants: a socket is handed over once at most; a core that does not listen on
//! that address sends it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kern_terms::{CoreId, Key};

use crate::driver::Socket;
use crate::event::{Event, Local, Peer};
use crate::io::Io;
use crate::lanes::{Envelope, Lane, running};
use crate::limits::{BALANCE_SLACK, STREAMS_MAX};

impl<P: Send + 'static> Io<P> {
    /// A listener accepted a connection.
    pub(crate) fn accepted(&mut self, listener: Key, socket: Socket, peer: Peer) {
        let Some(entry) = self.listeners.get(listener) else { return };
        if entry.shared
            && let Some(other) = self.emptier_core()
        {
            // Counted there at once, so that a burst does not all go to one core.
            other.connections.fetch_add(1, Ordering::Relaxed);
            self.stats.handed_over += 1;
            let local = entry.local.clone();
            let from = self.core;
            let envelope = Envelope::Socket { from, local, socket, peer };
            return self.post_envelope(other.core, envelope);
        }
        self.lane.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(event) = self.keep(listener, socket, peer) {
            self.emit(event);
        }
    }

    fn emptier_core(&self) -> Option<Arc<Lane<P>>> {
        let own = self.lane.connections.load(Ordering::Relaxed);
        if own < BALANCE_SLACK {
            return None;
        }
        let least = running(&self.lanes)
            .filter(|lane| lane.core != self.core && !lane.is_gone())
            .min_by_key(|lane| lane.connections.load(Ordering::Relaxed))?;
        let others = least.connections.load(Ordering::Relaxed);
        (own >= others + others / 4 + BALANCE_SLACK).then(|| Arc::clone(least))
    }

    /// Another core hands a connection over (counted already), or back.
    pub(crate) fn take_over(
        &mut self,
        from: CoreId,
        local: Local,
        socket: Socket,
        peer: Peer,
    ) -> Option<Event<P>> {
        let found = self.listeners.iter().find(|(_, listener)| listener.local == local);
        match found.map(|(key, _)| key) {
            Some(listener) => self.keep(listener, socket, peer),
            None => {
                self.lane.connections.fetch_sub(1, Ordering::Relaxed);
                let back = self.lanes.get(usize::from(from.0)).and_then(Option::as_ref);
                if let Some(lane) = back.filter(|lane| lane.core != self.core) {
                    lane.connections.fetch_add(1, Ordering::Relaxed);
                    // `from` names its receiver, so that it ends there whatever happens.
                    self.post_envelope(from, Envelope::Socket { from, local, socket, peer });
                }
                None
            }
        }
    }

    /// Makes the socket, which is counted already, a stream of this core.
    fn keep(&mut self, listener: Key, socket: Socket, peer: Peer) -> Option<Event<P>> {
        if self.streams.len() >= STREAMS_MAX {
            self.stats.refused += 1;
            self.lane.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(core = %self.core, "full; a connection was refused");
            return None;
        }
        let local = self.listeners.get(listener).map(|listener| &listener.local);
        let (kept, peer) = match (local, peer) {
            (Some(Local::Ring(_)), Peer::Unix { uid }) => {
                (self.open_ring(socket), Peer::Ring { uid })
            }
            (_, peer) => (self.adopt(socket), peer),
        };
        let key = match kept {
            Ok(key) => key,
            Err(error) => {
                tracing::warn!(core = %self.core, %error, "a connection could not be kept");
                self.lane.connections.fetch_sub(1, Ordering::Relaxed);
                return None;
            }
        };
        if let Some(stream) = self.streams.get_mut(key) {
            stream.accepted = true;
        }
        self.stats.accepted += 1;
        Some(Event::Accepted { listener, stream: key, peer })
    }

    /// The core ends: whatever arrived too late goes to others or is lost and counted.
    pub(crate) fn hand_in(&mut self) {
        self.lane.leave();
        self.directory.leave(self.core);
        self.refresh_lanes();
        let next = running(&self.lanes).next().map(|lane| lane.core);
        if let Some(next) = next.filter(|_| self.watches_signals) {
            self.post_envelope(next, Envelope::WatchSignals);
        }
        let lane = Arc::clone(&self.lane);
        while let Some(envelope) = lane.pop() {
            match (envelope, next) {
                (Envelope::Socket { from, local, socket, peer }, Some(next)) => {
                    let from = if from == self.core { next } else { from };
                    self.post_envelope(next, Envelope::Socket { from, local, socket, peer });
                }
                (Envelope::Post { .. }, _) => self.stats.posts_lost += 1,
                _ => {}
            }
        }
        self.flush_posts();
    }
}
