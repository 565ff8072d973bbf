//! `bench message|session|route|cost`: what does a message cost, in instructions and allocations?
//!
//! The workload is `crates/kern/benches/path`: fixed, on one thread. Instructions are those of user
//! space, counted by callgrind; allocations are counted by the workload itself. Neither depends on how
//! fast or busy the machine is, so both are compared with the committed `bench/cost.txt`, and what
//! grew by more than [`GROWTH_MOST`] fails.
//!
//! Invariant: what cannot be compared (no valgrind, another compiler or processor) is said, never
//! passed over in silence.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::baseline::{Baseline, Cost};
use crate::build;

/// Growth of a figure that fails, as a share.
pub(super) const GROWTH_MOST: f64 = 0.03;
/// The committed figures.
const BASELINE: &str = "bench/cost.txt";

/// Counts instructions and allocations a message.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct CostArgs {
    /// Write the figures as those to compare with from now on
    #[arg(long)]
    accept: bool,
    /// Only cases whose name contains one of these
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    /// Keep callgrind's profiles in this folder, one a case, for callgrind_annotate
    #[arg(long, value_name = "FOLDER")]
    profiles: Option<PathBuf>,
}

/// Measures the cases of `group` (all of them for `""`) and compares them.
///
/// # Errors
/// When the workload cannot be built or run, and when a figure grew too much.
pub(crate) fn run(root: &Path, group: &str, args: &CostArgs) -> Result<(), String> {
    let workload = build::benchmark(root, "kern", "path")?;
    let known = Baseline::read(&root.join(BASELINE))?;
    let platform = platform(root)?;
    let why = reason_not_to_count(&known, &platform, args.accept);
    if let Some(why) = &why {
        println!("instructions are not compared: {why}");
    }
    if let Some(folder) = &args.profiles {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let chosen = |name: &str| {
        name.starts_with(group)
            && (args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str())))
    };
    let cases: Vec<Case> = cases(&workload)?.into_iter().filter(|it| chosen(&it.name)).collect();
    if cases.is_empty() {
        return Err("there is no such case".into());
    }
    let task =
        Task { workload: &workload, counts: why.is_none(), profiles: args.profiles.as_deref() };
    let costs = task.all(&cases)?;
    if args.accept {
        return known.accept(&root.join(BASELINE), &platform, &costs);
    }
    known.compare(&costs)
}

/// The compiler and the processor: other ones have other counts.
fn platform(root: &Path) -> Result<String, String> {
    let said = Command::new("rustc").arg("-V").current_dir(root).output();
    let said = said.map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let version = text.split(' ').nth(1).unwrap_or("unknown");
    Ok(format!("rustc {version}, {} {}", std::env::consts::ARCH, std::env::consts::OS))
}

/// Why instructions are not counted, if they are not.
fn reason_not_to_count(known: &Baseline, platform: &str, accept: bool) -> Option<String> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Some("there is no valgrind (apt-get install valgrind)".into());
    }
    (!accept && known.platform != platform)
        .then(|| format!("{BASELINE} is of {}, this is {platform}", known.platform))
}

/// A case and how many messages it counts.
struct Case {
    name: String,
    messages: f64,
}

fn cases(workload: &Path) -> Result<Vec<Case>, String> {
    let text = output(Command::new(workload))?.0;
    let case = |line: &str| {
        let (name, messages) = line.split_once(' ')?;
        Some(Case { name: name.to_owned(), messages: messages.parse().ok()? })
    };
    Ok(text.lines().filter_map(case).collect())
}

/// Stdout and stderr of a command that must succeed.
fn output(mut command: Command) -> Result<(String, String), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok((text(&output.stdout), text(&output.stderr))),
        false => Err(format!("{command:?} failed:\n{}", text(&output.stderr))),
    }
}

/// What is to be measured, and how.
struct Task<'a> {
    workload: &'a Path,
    counts: bool,
    profiles: Option<&'a Path>,
}

impl Task<'_> {
    /// Two at a time: a count does not mind company.
    fn all(&self, cases: &[Case]) -> Result<Vec<Cost>, String> {
        let next = Mutex::new(cases.iter().enumerate());
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some((at, case)) = next.lock().ok().and_then(|mut it| it.next()) {
                        let cost = self.one(case);
                        if let Ok(mut done) = done.lock() {
                            done.push((at, cost));
                        }
                    }
                });
            }
        });
        let mut done = done.into_inner().map_err(|_| "a measurement panicked")?;
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, cost)| cost).collect()
    }

    fn one(&self, case: &Case) -> Result<Cost, String> {
        let mut plain = Command::new(self.workload);
        plain.arg(&case.name);
        let (said, _) = output(plain)?;
        let allocations = number(&said, "allocations ")
            .ok_or_else(|| format!("{}: no count of allocations", case.name))?;
        let instructions = match self.counts {
            true => Some(self.instructions(case)? / case.messages),
            false => None,
        };
        let (name, allocations) = (case.name.clone(), allocations / case.messages);
        Ok(Cost { name, instructions, allocations })
    }

    fn instructions(&self, case: &Case) -> Result<f64, String> {
        let mut counted = Command::new("valgrind");
        let file = match self.profiles {
            Some(folder) => folder.join(case.name.replace('/', "-")),
            None => "/dev/null".into(),
        };
        counted
            .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=path::measured*"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .args([self.workload.as_os_str(), case.name.as_ref()]);
        let (_, said) = output(counted)?;
        let collected = said.lines().find_map(|line| number(line, "Collected : "));
        collected
            .filter(|count| *count > 0.0)
            .ok_or_else(|| format!("{}: callgrind collected nothing:\n{said}", case.name))
    }
}

/// The number after `label`.
fn number(text: &str, label: &str) -> Option<f64> {
    text.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}
