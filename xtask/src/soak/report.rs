//! The table of a soak, and whether memory grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::people::Tally;
use super::world::Look;

/// Most growth of memory that is not called a leak, KiB for each thousand sessions.
const GROWTH_MOST: f64 = 64.0;
/// Fewer samples say nothing: sessions that were left behind pile up for 10 s first.
const SAMPLES_LEAST: usize = 20;
/// Lines of the table between the first and the last.
const LINES: usize = 12;

/// What was seen, and how much had been done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) sessions: u64,
    pub(super) look: Look,
}

pub(super) fn print(
    driver: &str,
    length: Duration,
    tally: &Tally,
    samples: &[Sample],
    (before, after): (&Look, &Look),
) {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "\n{driver}, {} s: {} sessions, {} calls, {} servers killed ({} calls told so), {} reloads",
        length.as_secs(),
        of(&tally.sessions),
        of(&tally.calls),
        of(&tally.kills),
        of(&tally.excused),
        of(&tally.reloads)
    );
    println!(
        "{:>8} {:>9} {:>9} {:>12} {:>5} {:>8} {:>10} {:>6} {:>9}",
        "when",
        "sessions",
        "kern KiB",
        "keepers KiB",
        "fds",
        "threads",
        "processes",
        "open",
        "requests"
    );
    line("before", 0, before);
    let step = samples.len().div_ceil(LINES).max(1);
    for sample in samples.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
        line(&format!("{} s", sample.at.as_secs()), sample.sessions, &sample.look);
    }
    line("after", of(&tally.sessions), after);
    match slope(second_half(samples)) {
        Some(slope) => println!("memory, second half: {slope:+.1} KiB for each 1,000 sessions"),
        None => println!("memory: too few samples for a slope"),
    }
}

fn line(when: &str, sessions: u64, look: &Look) {
    println!(
        "{when:>8} {sessions:>9} {:>9} {:>12} {:>5} {:>8} {:>10} {:>6} {:>9}",
        look.kern_kib,
        look.keepers_kib,
        look.descriptors,
        look.threads,
        look.processes,
        look.sessions,
        look.requests
    );
}

/// `Err` if memory grows with the number of sessions served.
pub(super) fn growth(samples: &[Sample]) -> Result<(), String> {
    match slope(second_half(samples)) {
        Some(slope) if slope > GROWTH_MOST => Err(format!(
            "memory grows by {slope:.1} KiB for each 1,000 sessions; {GROWTH_MOST} are allowed"
        )),
        _ => Ok(()),
    }
}

fn second_half(samples: &[Sample]) -> &[Sample] {
    &samples[samples.len() / 2..]
}

/// The slope of the line closest to the samples (least squares), KiB for each thousand sessions.
fn slope(samples: &[Sample]) -> Option<f64> {
    let count = samples.len() as f64;
    if samples.len() < SAMPLES_LEAST {
        return None;
    }
    let points = samples.iter().map(|one| (one.sessions as f64 / 1000.0, one.look.kern_kib as f64));
    let (sum_x, sum_y) = points.clone().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let both: f64 = points.clone().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let spread: f64 = points.map(|(x, _)| (x - mean_x).powi(2)).sum();
    (spread > 0.0).then(|| both / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_leak_is_found_and_steady_memory_is_not_called_one() {
        let samples = |kib_each: f64| -> Vec<Sample> {
            let one = |at: u64| {
                let kern_kib = 10_000 + (at as f64 * kib_each) as u64 + at % 3;
                let look = Look { kern_kib, ..Look::default() };
                Sample { at: Duration::from_secs(at), sessions: at * 100, look }
            };
            (0..60).map(one).collect()
        };
        assert!(growth(&samples(0.0)).is_ok());
        assert!(growth(&samples(5.0)).is_ok(), "50 KiB for 1,000 sessions are allowed");
        assert!(growth(&samples(10.0)).is_err(), "100 KiB for 1,000 sessions are too much");
    }
}
