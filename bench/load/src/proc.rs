//! What did a process and its children use, and who else used its processor? From `/proc`.
//!
//! Where `/proc` says nothing (another system, a process that ended) the answer is zero.

use std::fs;
use std::time::Duration;

/// CPU time, user and system, of some processes. The kernel brings it up to date every few
/// milliseconds.
pub(crate) fn cpu_time(pids: &[u32]) -> Duration {
    let mut nanos = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
            nanos += first.unwrap_or(0_u64);
        }
    }
    Duration::from_nanos(nanos)
}

/// Memory of some processes that is in RAM, KiB; what they share is divided among those that share
/// it.
pub(crate) fn rss_kib(pids: &[u32]) -> u64 {
    let one = |pid: &u32| {
        let whole = field(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
        whole.or_else(|| field(&format!("/proc/{pid}/status"), "VmRSS:")).unwrap_or(0)
    };
    pids.iter().map(one).sum()
}

/// The number after `name` at the start of a line.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// A process and all its descendants.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied() {
        at += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(
                children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    pids
}

/// How long a processor was busy since the system started, whatever with: in steps of 10 ms.
pub(crate) fn busy_time(core: usize) -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let line = text.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap_or_default();
    let fields: Vec<u64> =
        line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are counted in user already.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().map(|at| fields.get(*at).copied().unwrap_or(0)).sum();
    Duration::from_millis(busy * 10)
}
