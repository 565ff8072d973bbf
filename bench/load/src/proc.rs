//! What did a process use, and who else used its processor? From `/proc`.
//!
//! Where `/proc` says nothing (another system, a process that ended) the answer is zero.

use std::fs;
use std::time::Duration;

/// CPU time of all threads of a process. The kernel brings it up to date every few milliseconds.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split_ascii_whitespace().next().and_then(|first| first.parse().ok());
        nanos += first.unwrap_or(0_u64);
    }
    Duration::from_nanos(nanos)
}

/// Memory of a process that is in RAM, KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
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
