//! How long did requests take, to about one percent?
//!
//! Buckets are linear within a power of two: 64 each, so that a value is known to 1/64.

/// Bits of a value kept within its power of two.
const BITS: u32 = 6;
const LINEAR: u64 = 1 << BITS;
/// Values from 2^40 ns (18 minutes) on share the last bucket.
const BUCKETS: usize = (40 - BITS as usize + 1) << BITS;

/// Counts of nanosecond values.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0 }
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, nanos: u64) {
        self.counts[bucket(nanos).min(BUCKETS - 1)] += 1;
        self.count += 1;
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The value below or at which the share `quantile` (0 to 1) lies: the middle of its bucket.
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(at);
            }
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < LINEAR {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() - BITS;
    let within = (nanos >> exponent) - LINEAR;
    ((u64::from(exponent) + 1) * LINEAR + within) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < LINEAR {
        return bucket;
    }
    let (exponent, within) = (bucket / LINEAR - 1, bucket % LINEAR);
    ((LINEAR + within) << exponent) + ((1 << exponent) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_to_a_sixty_fourth() {
        let mut last = 0;
        for power in 0..40 {
            for value in [1_u64 << power, (1 << power) + (1 << power) / 3, (2 << power) - 1] {
                let at = bucket(value);
                assert!(at >= last, "{value}");
                last = at;
                assert!(middle(at).abs_diff(value) <= value / 64 + 1, "{value}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for value in 1..=1000 {
            histogram.add(value * 1000);
        }
        for (quantile, value) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            assert!(histogram.quantile(quantile).abs_diff(value) < value / 50, "{quantile}");
        }
    }
}
