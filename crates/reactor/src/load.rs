//! How loaded is a core?
//!
//! Two shares, the larger of which counts: open streams of what a core may hold, and time spent in
//! turns. Below half, nothing is scarce and the load is 0; it is 1 when a share is whole.

use std::time::Duration;

use kern_terms::Instant;

use crate::limits::STREAMS_MAX;

/// How fast the busy share follows: what happened this long ago counts 1/e.
const MEMORY: Duration = Duration::from_secs(1);

/// The busy share of a core, averaged over its recent past.
#[derive(Debug)]
pub(crate) struct Load {
    /// 0…1.
    busy: f64,
    until: Instant,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self { busy: 0.0, until: now }
    }

    /// Takes in a turn that was slept for until `start` and ended at `end`.
    pub(crate) fn turn(&mut self, start: Instant, end: Instant) {
        let passed = end.since(self.until);
        let share = if passed.is_zero() {
            return;
        } else {
            end.since(start).as_secs_f64() / passed.as_secs_f64()
        };
        let weight = 1.0 - (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.busy += (share.min(1.0) - self.busy) * weight;
        self.until = end;
    }

    /// 0…1.
    pub(crate) fn level(&self, streams: usize) -> f64 {
        let full = streams as f64 / STREAMS_MAX as f64;
        ((full.max(self.busy) - 0.5) * 2.0).clamp(0.0, 1.0)
    }
}

/// When a timer between `least` and `most` is due at this load.
pub(crate) fn scaled(least: Duration, most: Duration, load: f64) -> Duration {
    least + (most - least).mul_f64(1.0 - load)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_never_sleeps_is_loaded_and_an_idle_one_recovers() {
        let mut now = Instant::ZERO;
        let mut load = Load::new(now);
        for _ in 0..5000 {
            let end = now + Duration::from_millis(1);
            load.turn(now, end);
            now = end;
        }
        assert!(load.level(0) > 0.95, "{}", load.level(0));
        for _ in 0..5 {
            now = now + Duration::from_secs(1);
            load.turn(now, now);
        }
        assert_eq!(load.level(0), 0.0);
        assert_eq!(load.level(STREAMS_MAX / 2), 0.0);
        assert_eq!(load.level(STREAMS_MAX), 1.0);
    }

    #[test]
    fn load_shortens_a_scaled_timer_to_its_least() {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(11));
        for (load, want) in [(0.0, 11), (0.5, 6), (1.0, 1)] {
            assert_eq!(scaled(least, most, load), Duration::from_secs(want));
        }
    }
}
