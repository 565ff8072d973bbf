//! `cargo xtask ci`: everything a change must pass, and one summary.
//!
//! Invariants: every step runs even after an earlier one failed, hung or left something running; the
//! summary names each with its time; a step that is left out says so.

mod watch;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::{arrows, tidy};

/// Runs everything a change must pass.
#[derive(clap::Args, Debug)]
pub(crate) struct CiArgs {
    /// Also what takes long: ignored tests, many more random cases, fuzzing
    #[arg(long)]
    long: bool,
    /// Run only these steps
    #[arg(long, value_delimiter = ',')]
    only: Vec<Step>,
}

/// A step, in the order in which they run: the quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting
    Fmt,
    /// Style
    Tidy,
    /// Dependencies between rooms
    Arrows,
    /// Lints
    Clippy,
    /// Unit and integration tests
    Test,
    /// The official conformance suite, directly and through kern
    Conformance,
    /// The same with a server of the other era behind kern
    Crosswise,
    /// The suite's own servers behind kern
    Client,
    /// Instructions and allocations of a message: at most 3 % more than those accepted
    Cost,
    /// Rings from C, Python and the Rust SDK
    Bindings,
    /// Examples in documentation
    Doctest,
    /// The documentation itself
    Docs,
    /// Ignored tests and many more random cases (with --long)
    Long,
    /// Ten thousand seeds of the simulation (with --long)
    Sim,
    /// Fuzz targets, a minute each (with --long)
    Fuzz,
    /// Shared-memory rings under Miri (with --long)
    Rings,
}

/// Random cases of each property with --long.
const LONG_CASES: &str = "2048";

/// Longest time of a step, a cold build on two processors included; those of --long have a day.
const STEP_LIMIT: Duration = Duration::from_secs(15 * 60);
const LONG_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How a step ended.
enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(&'static str),
}

/// Runs the steps and prints the summary.
///
/// # Errors
/// When any step failed.
pub(crate) fn run(root: &Path, args: &CiArgs) -> Result<(), String> {
    let mut results = Vec::new();
    for &step in Step::value_variants() {
        let chosen = args.only.is_empty() || args.only.contains(&step);
        let long = matches!(step, Step::Long | Step::Sim | Step::Fuzz | Step::Rings);
        let limit = if long { LONG_LIMIT } else { STEP_LIMIT };
        if !chosen || (long && !args.long && args.only.is_empty()) {
            continue;
        }
        println!("\n──── {}", name(step));
        let start = Instant::now();
        let mark = watch::mark(&name(step));
        let watch = watch::Watch::over(mark.clone(), limit);
        let outcome = perform(root, step, &mark);
        let outcome = match (outcome, watch.end()) {
            (Outcome::Failed(why), Err(end)) => Outcome::Failed(format!("{end}; {why}")),
            (_, Err(end)) => Outcome::Failed(end),
            (outcome, Ok(())) => outcome,
        };
        results.push((step, outcome, start.elapsed()));
    }
    summarize(&results)
}

fn name(step: Step) -> String {
    step.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn perform(root: &Path, step: Step, mark: &str) -> Outcome {
    let marked = [(watch::MARK, mark)];
    let cargo = |arguments: &[&str]| cargo(root, arguments, &marked);
    let outcome = match step {
        Step::Fmt => cargo(&["fmt", "--all", "--check"]),
        Step::Tidy => tidy::run(root, &tidy::TidyArgs::default()),
        Step::Arrows => arrows::run(root),
        Step::Clippy => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Step::Test if has_nextest() => {
            let arguments = ["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"];
            return run_tests(root, &arguments, &marked);
        }
        Step::Test => {
            // Not `--all-targets`: that would run the benchmarks too.
            let kinds = ["--lib", "--bins", "--tests", "--examples"];
            let arguments = [&["test", "--workspace", "--no-fail-fast"][..], &kinds].concat();
            return run_tests(root, &arguments, &marked);
        }
        Step::Conformance => cargo(&["xtask", "conformance", "--through-kern"]),
        Step::Crosswise => cargo(&["xtask", "conformance", "--crosswise"]),
        Step::Client => cargo(&["xtask", "conformance", "--client"]),
        Step::Cost => cargo(&["xtask", "bench", "cost"]),
        Step::Bindings => cargo(&["xtask", "bindings"]),
        Step::Doctest => return run_tests(root, &["test", "--workspace", "--doc"], &marked),
        Step::Docs => {
            let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items"];
            self::cargo(root, &arguments, &[marked[0], ("RUSTDOCFLAGS", "-D warnings")])
        }
        Step::Long => {
            let arguments = ["test", "--workspace", "--no-fail-fast", "--", "--include-ignored"];
            return run_tests(root, &arguments, &[marked[0], ("PROPTEST_CASES", LONG_CASES)]);
        }
        Step::Sim => cargo(&["xtask", "sim"]),
        Step::Fuzz => return fuzz(root),
        Step::Rings => {
            let miri = ["+nightly", "miri", "test", "-p", "kern-shm", "--lib"];
            self::cargo(root, &miri, &[marked[0], ("MIRIFLAGS", "-Zmiri-disable-isolation")])
        }
    };
    outcome.map_or_else(Outcome::Failed, |()| Outcome::Passed(String::new()))
}

/// Every target of `fuzz/`, a minute each.
fn fuzz(root: &Path) -> Outcome {
    if !root.join("fuzz").join("Cargo.toml").is_file() {
        return Outcome::Skipped("there is no fuzz/ yet");
    }
    let list = Command::new("cargo").args(["+nightly", "fuzz", "list"]).current_dir(root).output();
    let Ok(list) = list else { return Outcome::Failed("cannot run cargo".to_owned()) };
    if !list.status.success() {
        return Outcome::Failed("needs cargo-fuzz and a nightly toolchain".to_owned());
    }
    for target in String::from_utf8_lossy(&list.stdout).split_whitespace() {
        let arguments =
            ["+nightly", "fuzz", "run", target, "--", "-max_total_time=60", "-rss_limit_mb=2048"];
        let status = Command::new("cargo").args(arguments).current_dir(root).status();
        if !status.is_ok_and(|status| status.success()) {
            return Outcome::Failed(format!("{target}: see above and fuzz/artifacts/"));
        }
    }
    Outcome::Passed(String::new())
}

fn has_nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    let status = Command::new("cargo")
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root)
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {}", arguments.join(" "))) }
}

/// Runs tests and counts them while their output passes through.
fn run_tests(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let child = Command::new("cargo")
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("cannot run cargo: {error}")),
    };
    let stdout = child.stdout.take().expect("piped");
    let stderr = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || pass_on(stderr, std::io::stderr()));
    let mut counts = pass_on(stdout, std::io::stdout());
    counts.add(errors.join().expect("counting does not panic"));
    match child.wait() {
        Ok(status) if status.success() => Outcome::Passed(counts.to_string()),
        _ => Outcome::Failed(format!("{counts}: cargo {}", arguments.join(" "))),
    }
}

fn pass_on(from: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        counts.read(&line);
        // A closed terminal is no reason to stop counting.
        let _ = writeln!(to, "{line}");
    }
    counts
}

/// How many tests ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds what a summary line of `cargo test` or nextest says.
    fn read(&mut self, line: &str) {
        let line = line.trim();
        let nextest = line.starts_with("Summary [") && line.contains(" run: ");
        if !nextest && !line.starts_with("test result: ") {
            return;
        }
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" | "timed" => self.failed += count,
                "skipped" | "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn summarize(results: &[(Step, Outcome, Duration)]) -> Result<(), String> {
    println!("\n──── summary");
    let mut failed = 0;
    for (step, outcome, time) in results {
        let (word, detail) = match outcome {
            Outcome::Passed(detail) => ("ok", detail.as_str()),
            Outcome::Failed(message) => {
                failed += 1;
                ("FAILED", message.as_str())
            }
            Outcome::Skipped(why) => ("skipped", *why),
        };
        println!("{:<8} {word:<8} {:>6.1} s  {detail}", name(*step), time.as_secs_f64());
    }
    let total: Duration = results.iter().map(|(_, _, time)| *time).sum();
    println!(
        "{} of {} steps passed or skipped, {:.0} s",
        results.len() - failed,
        results.len(),
        total.as_secs_f64()
    );
    if failed == 0 { Ok(()) } else { Err(format!("{failed} steps failed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: u64, failed: u64, skipped: u64) {
        let mut counts = Counts::default();
        counts.read(line);
        assert_eq!(counts, Counts { passed, failed, skipped }, "{line}");
    }

    #[test]
    fn both_runners_are_counted() {
        check("     Summary [  28.752s] 5 tests run: 5 passed, 0 skipped", 5, 0, 0);
        check(
            "     Summary [   1.0s] 9 tests run: 5 passed (2 slow), 3 failed, 1 timed out, 4 skipped",
            5,
            4,
            4,
        );
        check(
            "test result: ok. 25 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out",
            25,
            0,
            2,
        );
        check("test a_test_passed ... ok", 0, 0, 0);
        check("3 failed", 0, 0, 0);
    }
}
