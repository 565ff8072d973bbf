//! How do posts and errands leave a core?
//!
//! Invariant: everything for one core goes through one queue, so its order is kept, also when the
//! inbox over there is full.

use std::collections::VecDeque;

use kern_terms::CoreId;

use crate::io::Io;
use crate::lanes::Envelope;
use crate::limits::OVERFLOW_REPORTED_LEN;

impl<P: Send + 'static> Io<P> {
    pub(crate) fn post_envelope(&mut self, core: CoreId, envelope: Envelope<P>) {
        if core == self.core {
            return self.own.push_back(envelope);
        }
        let slot = usize::from(core.0);
        if self.outgoing.len() <= slot {
            self.outgoing.resize_with(slot + 1, VecDeque::new);
        }
        if self.outgoing[slot].is_empty() {
            self.outgoing_cores.push(core);
        }
        self.outgoing[slot].push_back(envelope);
    }

    /// Puts outgoing posts into inboxes, with one wake for each core.
    pub(crate) fn flush_posts(&mut self) {
        let mut cores = std::mem::take(&mut self.outgoing_cores);
        cores.retain(|core| {
            let slot = usize::from(core.0);
            let queue = &mut self.outgoing[slot];
            let lane = self.lanes.get(slot).and_then(Option::as_ref);
            let Some(lane) = lane.filter(|lane| !lane.is_gone()) else {
                tracing::warn!(core = %core, posts = queue.len(), "posts to a core that is gone");
                self.stats.posts_lost += queue.len() as u64;
                queue.clear();
                return false;
            };
            while let Some(envelope) = queue.pop_front() {
                if let Err(envelope) = lane.push(envelope) {
                    queue.push_front(envelope);
                    break;
                }
            }
            lane.wake();
            if queue.len() > OVERFLOW_REPORTED_LEN && queue.len().is_power_of_two() {
                tracing::warn!(core = %core, posts = queue.len(), "posts pile up for a slow core");
            }
            !queue.is_empty()
        });
        self.outgoing_cores = cores;
    }

    /// Runs `work` off the core; its envelope comes back here.
    pub(crate) fn errand_for(&mut self, work: impl FnOnce() -> Envelope<P> + Send + 'static) {
        let lane = std::sync::Arc::clone(&self.lane);
        self.directory.errands.run(move || {
            lane.deliver(work());
        });
    }

    /// Takes note of cores that came or went.
    pub(crate) fn refresh_lanes(&mut self) {
        let version = self.directory.version();
        if version != self.lanes_version {
            self.lanes = self.directory.lanes();
            self.lanes_version = version;
        }
    }
}
