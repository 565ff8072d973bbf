//! Where does this run: which processors, kernel and compiler, and how busy are they?

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Load average from which the numbers are called into doubt.
const LOAD_MOST: f64 = 0.7;

/// The machine, and where on it things run.
#[derive(Debug)]
pub(super) struct Machine {
    /// The server's processor and the load generator's, if they can be told apart.
    pub(super) cores: Option<(usize, usize)>,
    /// Whether children can be tied to the life of this process by `setpriv`.
    pub(super) setpriv: bool,
    pub(super) cores_allowed: usize,
    processor: String,
    kernel: String,
    rustc: String,
    commit: String,
    load: Option<f64>,
}

impl Machine {
    /// Looks around.
    pub(super) fn look(root: &Path) -> Self {
        let allowed = allowed_cores();
        let pinned = allowed.len() >= 2 && runs("taskset");
        let ends = allowed.first().copied().zip(allowed.last().copied());
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
        let kernel = said("uname", &["-sr"], root).unwrap_or_else(|| std::env::consts::OS.into());
        let commit = said("git", &["describe", "--always", "--dirty"], root);
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            cores: ends.filter(|_| pinned),
            setpriv: runs("setpriv"),
            cores_allowed: allowed.len(),
            processor,
            kernel,
            rustc: said("rustc", &["-V"], root).unwrap_or_else(|| "rustc unknown".into()),
            commit: commit.unwrap_or_else(|| "unknown".into()),
            load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// Lines for people.
    pub(super) fn describe(&self) -> String {
        let place = match self.cores {
            Some((server, load)) => format!(
                "server on processor {server}, load generator (and a proxy's upstream) on {load}"
            ),
            None => "nothing is bound to a processor: expect noise".to_owned(),
        };
        let Self { cores_allowed, processor, kernel, rustc, commit, .. } = self;
        let busy = match self.load {
            Some(load) if load > LOAD_MOST => format!(
                "\nload average {load} before the start: others are at work, trust only ratios"
            ),
            _ => String::new(),
        };
        format!("{cores_allowed} × {processor}, {kernel}\n{rustc}, kern {commit}\n{place}{busy}")
    }

    /// The first processors that may be used, as a list.
    pub(super) fn first(&self, count: usize) -> String {
        let cores = allowed_cores().into_iter().take(count).map(|core| core.to_string());
        cores.collect::<Vec<_>>().join(",")
    }

    /// The same in short, for under a picture.
    pub(super) fn note(&self) -> String {
        let Self { cores_allowed, processor, kernel, commit, .. } = self;
        let shared = match self.load {
            Some(load) if load > LOAD_MOST => {
                "\nshared with others while measured: trust ratios and CPU time, not rates and latencies"
            }
            _ => "",
        };
        format!("{cores_allowed} × {processor}, {kernel}, kern {commit}{shared}")
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "cores": self.cores_allowed,
            "processor": self.processor,
            "kernel": self.kernel,
            "rustc": self.rustc,
            "commit": self.commit,
            "load_average": self.load,
            "server_core": self.cores.map(|cores| cores.0),
            "load_core": self.cores.map(|cores| cores.1),
        })
    }
}

/// The processors this process may use: all that the system says, or as many as it says.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let listed = line.map(|list| core_list(list.trim())).unwrap_or_default();
    match listed.is_empty() {
        true => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
        false => listed,
    }
}

/// Reads `0-3,8`.
fn core_list(text: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn said(program: &str, args: &[&str], root: &Path) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_processors_is_read() {
        for (text, cores) in [("0-3,8", vec![0, 1, 2, 3, 8]), ("5", vec![5]), ("", vec![])] {
            assert_eq!(core_list(text), cores, "{text}");
        }
    }
}
