//! What becomes of a session's own processes while nobody is there to use them?
//!
//! Many clients leave without a word, and their sessions end much later. Their processes need not
//! wait for that: those of a session without connection, call and question are put to rest after
//! `limits.private_idle_timeout`, and started anew when the session speaks to them again. A server
//! that made a task in it, which may be asked for later, is left alone.
//!
//! Invariant: a server at rest keeps its place, its lists and its subscriptions, so that its session
//! sees no difference but what the process itself remembered.

use std::time::Duration;

use kern_terms::Key;
use kern_upstream::instance::Phase;

use super::hosted::{Hosted, Wire};
use super::{Core, Io};

impl Core {
    pub(super) fn sweep_private(&mut self, io: &mut Io) {
        let usable = |hosted: &Hosted| {
            let pipe = matches!(hosted.wire, Wire::Pipe(_));
            pipe && hosted.instance.phase() == Phase::Ready && !hosted.stopping && !hosted.keeps
        };
        let unused = self.hosted.iter().filter(|(_, hosted)| {
            usable(hosted) && hosted.session.is_some_and(|session| self.is_away_long(session))
        });
        for key in unused.map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(hosted) = self.hosted.get_mut(key) {
                hosted.resting = true;
                tracing::debug!(
                    upstream = &*hosted.spec.name,
                    "put to rest: its session is silent"
                );
            }
            self.drive(io, key, |instance, fx| instance.stop(fx));
        }
    }

    fn is_away_long(&self, key: Key) -> bool {
        let most = Duration::from_millis(self.setup.plan.limits.private_idle_timeout_ms);
        let away = self
            .sessions
            .get(key)
            .is_some_and(|session| session.asked.is_empty() && session.is_silent(self.now, most));
        away && self.patient.iter().all(|patient| patient.session != Some(key))
    }

    /// Starts a server that is at rest: its session speaks to it.
    pub(super) fn wake_private(&mut self, io: &mut Io, key: Key) {
        if let Some(hosted) = self.hosted.get_mut(key)
            && std::mem::take(&mut hosted.resting)
        {
            self.start_hosted(io, key);
        }
    }
}

impl Hosted {
    /// It is, or is about to be, a process.
    pub(super) fn is_process(&self) -> bool {
        !self.resting || matches!(self.wire, Wire::Pipe(_))
    }
}
