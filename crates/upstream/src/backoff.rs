//! How long to wait before starting a failed instance again.
//!
//! Invariant: each wait lies between half and the whole of a bound that doubles up to
//! [`limits::RESTART_MOST`](crate::limits::RESTART_MOST).

use std::time::Duration;

use kern_terms::Instant;

use crate::limits::{RESTART_LEAST, RESTART_MOST, STABLE_AFTER};

/// Doubling, capped, jittered waits.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    /// The instance works.
    pub fn up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The instance failed: how long to wait. `random` spreads instances that fail together.
    pub fn failed(&mut self, now: Instant, random: u64) -> Duration {
        if self.up_since.take().is_some_and(|since| now.since(since) >= STABLE_AFTER) {
            self.failures = 0;
        }
        let bound = RESTART_LEAST.saturating_mul(1 << self.failures.min(16)).min(RESTART_MOST);
        self.failures = self.failures.saturating_add(1);
        let half = bound / 2;
        half + half.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_is_slowed_but_never_given_up() {
        let mut backoff = Backoff::default();
        let mut now = Instant::ZERO;
        let waits: Vec<_> = (0..40)
            .map(|_| {
                now = now + Duration::from_secs(1);
                backoff.up(now);
                backoff.failed(now, u64::MAX)
            })
            .collect();
        assert!(waits[0] <= RESTART_LEAST && waits[0] >= RESTART_LEAST / 2);
        assert!(waits[39] <= RESTART_MOST && waits[39] >= RESTART_MOST / 2);
        backoff.up(now);
        let healed = backoff.failed(now + STABLE_AFTER, 0);
        assert_eq!(healed, RESTART_LEAST / 2, "a long healthy run clears the past");
    }
}
