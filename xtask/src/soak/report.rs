//! The table of a soak, and whether memory grows.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::people::Tally;
use super::world::Look;

/// Most growth of memory that is not called a leak, KiB for each thousand sessions.
const GROWTH_MOST: f64 = 64.0;
/// Fewer samples of a quarter say nothing: sessions that were left behind pile up for 10 s.
const SAMPLES_LEAST: usize = 20;
/// Of more, every second or third is taken: the work grows with the square.
const SAMPLES_MOST: usize = 600;
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
    match growth_kib(samples) {
        Some(growth) => println!("memory, second half: {growth:+.1} KiB for each 1,000 sessions"),
        None => println!("memory: too few samples to tell whether it grows"),
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

/// Writes every sample: seconds, sessions and KiB, one sample a line.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(path: &Path, samples: &[Sample]) -> Result<(), String> {
    let line = |one: &Sample| {
        format!("{:.1}\t{}\t{}\n", one.at.as_secs_f64(), one.sessions, one.look.kern_kib)
    };
    let text: String = samples.iter().map(line).collect();
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// `Err` if memory grows with the number of sessions served.
pub(super) fn growth(samples: &[Sample]) -> Result<(), String> {
    match growth_kib(samples) {
        Some(growth) if growth > GROWTH_MOST => Err(format!(
            "memory grows by {growth:.1} KiB for each 1,000 sessions; {GROWTH_MOST} are allowed"
        )),
        _ => Ok(()),
    }
}

/// How fast memory grows in the second half, KiB for each thousand sessions: the least of the
/// slopes of the third quarter, of the fourth, and of both together. `None` with too few samples.
///
/// The first half is the warm-up. What is resident jumps by MiB when the allocator takes or gives
/// back a step, so a line of least squares follows the few jumps; the median of the slopes between
/// all pairs of samples (Theil and Sen) does not. A step that stays lifts the half it lies in, but
/// only one of the quarters or neither; a leak goes on, so it lifts all three.
fn growth_kib(samples: &[Sample]) -> Option<f64> {
    let half = &samples[samples.len() / 2..];
    let (third, fourth) = half.split_at(half.len() / 2);
    let slopes = [slope(half)?, slope(third)?, slope(fourth)?];
    Some(slopes.into_iter().fold(f64::INFINITY, f64::min))
}

/// The median of the slopes between all pairs, KiB for each thousand sessions.
fn slope(samples: &[Sample]) -> Option<f64> {
    if samples.len() < SAMPLES_LEAST {
        return None;
    }
    let step = samples.len().div_ceil(SAMPLES_MOST);
    let points: Vec<(f64, f64)> = samples
        .iter()
        .step_by(step)
        .map(|one| (one.sessions as f64 / 1000.0, one.look.kern_kib as f64))
        .collect();
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, first) in points.iter().enumerate() {
        let later = points[at + 1..].iter().filter(|then| then.0 > first.0);
        slopes.extend(later.map(|then| (then.1 - first.1) / (then.0 - first.0)));
    }
    let middle = slopes.len() / 2;
    (!slopes.is_empty()).then(|| *slopes.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions in each second, as a soak serves them.
    const RATE: u64 = 140;
    /// Resident at the start, KiB.
    const BASE: i64 = 28_000;
    const MIB: i64 = 1024;

    /// One sample a second; `extra` is what is resident above [`BASE`], KiB.
    fn samples(seconds: u64, extra: impl Fn(u64) -> i64) -> Vec<Sample> {
        let one = |at: u64| {
            let kern_kib = u64::try_from(BASE + extra(at)).expect("memory is never negative");
            let look = Look { kern_kib, ..Look::default() };
            Sample { at: Duration::from_secs(at), sessions: at * RATE, look }
        };
        (0..seconds).map(one).collect()
    }

    /// A leak of `bytes` a session, KiB.
    fn leak(at: u64, bytes: u64) -> i64 {
        (at * RATE * bytes / 1024) as i64
    }

    /// What the allocator does: a level of -2, 0 or +2 MiB that lasts for `lasts` seconds, and
    /// another little noise each second. Scattered (splitmix64), the same in each run.
    fn allocator(at: u64, lasts: u64, seed: u64) -> i64 {
        let scattered = |number: u64| {
            let mut mixed = number.wrapping_add(seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 27)) >> 33
        };
        let level = (scattered(at / lasts) % 3) as i64 - 1;
        level * 2 * MIB + (scattered(at + 1_000_000) % 200) as i64
    }

    fn check(name: &str, seconds: u64, grows: bool, extra: impl Fn(u64) -> i64) {
        let samples = samples(seconds, extra);
        let growth = growth_kib(&samples).expect("there are enough samples");
        assert_eq!(growth > GROWTH_MOST, grows, "{name}, {seconds} s: {growth:.1} KiB");
    }

    #[test]
    fn a_leak_buried_in_steps_of_the_allocator_is_found() {
        for seed in 0..20 {
            for (seconds, lasts) in [(300, 3), (600, 3), (600, 10)] {
                let name = format!("seed {seed}, steps of {lasts} s");
                // Four requests in a session.
                let small = |at| leak(at, 400) + allocator(at, lasts, seed);
                check(&format!("100 B a request, {name}"), seconds, true, small);
                let large = |at| leak(at, 5 << 10) + allocator(at, lasts, seed);
                check(&format!("5 KiB a session, {name}"), seconds, true, large);
            }
        }
    }

    #[test]
    fn memory_that_only_jumps_is_not_called_a_leak() {
        for seed in 0..20 {
            for (seconds, lasts) in [(300, 3), (600, 3), (600, 10)] {
                let name = format!("steps of {lasts} s, seed {seed}");
                check(&name, seconds, false, |at| allocator(at, lasts, seed));
            }
        }
        for tenth in 0..10 {
            let name = format!("a step that stays from {tenth}/10 on");
            check(&name, 300, false, |at| if at * 10 < 300 * tenth { 0 } else { 4 * MIB });
            let name = format!("one dip at {tenth}/10");
            check(&name, 300, false, |at| if at == 30 * tenth { -4 * MIB } else { 0 });
        }
    }

    #[test]
    fn warming_up_is_not_called_a_leak() {
        check("caches fill in the first half", 300, false, |at| at.min(149) as i64 * 100);
        check("it falls", 300, false, |at| 10 * MIB - at as i64 * 10);
    }

    #[test]
    fn a_little_growth_is_allowed_and_a_short_run_is_not_judged() {
        check("50 KiB for 1,000 sessions", 300, false, |at| leak(at, 51));
        check("100 KiB for 1,000 sessions", 300, true, |at| leak(at, 102));
        assert_eq!(growth_kib(&samples(30, |at| leak(at, 5 << 10))), None);
        assert_eq!(growth_kib(&[]), None);
        check("a whole day", 86_400, true, |at| leak(at, 400) + allocator(at, 10, 1));
    }
}
