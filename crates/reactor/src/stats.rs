//! What has a core been doing?
//!
//! Plain numbers, written and read by the core alone; a copy is sent to whoever wants to add them
//! up.

use std::time::Duration;

/// Upper bounds of a [`Histogram`]'s buckets are 1 µs, 2 µs, 4 µs … 2^22 µs (4 s); the last bucket
/// holds the rest.
pub const BUCKETS: usize = 24;

/// How often a duration fell between two powers of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Bucket `i` counts durations of less than 2^i µs (and not less than the bucket before).
    pub counts: [u64; BUCKETS],
    /// Sum of all durations, ns.
    pub sum_ns: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos / 1000;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(nanos);
    }

    /// Number of durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// An upper bound of the duration below which a share `q` (0…1) of all lie.
    pub fn quantile(&self, q: f64) -> Duration {
        let wanted = (self.count() as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_micros(1 << bucket);
            }
        }
        Duration::ZERO
    }
}

/// A core's counters since it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Turns longer than the watchdog's limit.
    pub long_turns: u64,
    /// Events handed to the app.
    pub events: u64,
    /// Most events in one turn.
    pub events_per_turn_max: u64,
    /// From waking to sleeping.
    pub turn_time: Histogram,
    /// From when the core wanted to wake (its next timer) to when it did.
    pub poll_delay: Histogram,
    /// Posts received.
    pub posts: u64,
    /// Most posts found waiting in the inbox.
    pub inbox_depth_max: usize,
    /// Posts kept back now because inboxes of others are full.
    pub posts_held: usize,
    /// Posts to cores that were gone.
    pub posts_lost: u64,
    /// Bytes received from streams.
    pub received_bytes: u64,
    /// Bytes handed to streams and sent.
    pub sent_bytes: u64,
    /// Connections accepted and kept.
    pub accepted: u64,
    /// Connections handed to other cores.
    pub handed_over: u64,
    /// Connections refused because the core was full.
    pub refused: u64,
    /// Streams open now.
    pub streams: usize,
    /// Timers set now.
    pub timers: usize,
    /// How loaded the core is, 0…1; see [`Io::load`](crate::Io::load).
    pub load: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_not_below_what_was_measured() {
        let mut histogram = Histogram::default();
        for micros in 0..1000 {
            histogram.record(Duration::from_micros(micros));
        }
        histogram.record(Duration::from_secs(3600));
        assert_eq!(histogram.count(), 1001);
        let median = histogram.quantile(0.5);
        assert!(median >= Duration::from_micros(500) && median <= Duration::from_micros(1024));
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }
}
