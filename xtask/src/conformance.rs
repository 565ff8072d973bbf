//! `cargo xtask conformance`: what does the official suite say about us?
//!
//! Runs the frozen requirement sets of `@modelcontextprotocol/conformance` against a URL, against
//! the fixture, or against the fixture directly and through `kern`. Invariants: a scored scenario
//! counts only if at least one check passed and none failed; every process this starts ends with
//! it, whatever happens to it.

pub(crate) mod child;
mod install;
mod report;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use child::Guarded;
use install::Suite;
use report::Run;

/// Longest time one requirement set may take; a healthy run takes seconds.
const RUN: Duration = Duration::from_secs(300);
/// Longest time a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// Runs the official conformance suite.
#[derive(clap::Args, Debug)]
pub(crate) struct ConformanceArgs {
    /// Judge the server at this URL
    #[arg(long, conflicts_with_all = ["fixture", "through_kern"])]
    url: Option<String>,
    /// Judge the fixture (the default)
    #[arg(long, conflicts_with = "through_kern")]
    fixture: bool,
    /// Judge the fixture directly, then through kern, and compare
    #[arg(long)]
    through_kern: bool,
    /// The kern binary; without it, it is built
    #[arg(long, value_name = "PATH", requires = "through_kern")]
    kern: Option<PathBuf>,
    /// Requirement sets to run
    #[arg(long, value_name = "REV", num_args = 1.., default_values = ["2025-11-25", "2026-07-28"])]
    requirements: Vec<String>,
    /// Fail also when an unscored scenario passes directly but not through kern
    #[arg(long, requires = "through_kern")]
    strict: bool,
}

/// Runs the suite and prints one table.
///
/// # Errors
/// When something cannot be installed, built or started, and when a scored scenario fails.
pub(crate) fn run(args: ConformanceArgs) -> Result<(), String> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no workspace directory")?;
    let place = root.join("target").join("conformance");
    let suite = Suite::ready(&place)?;
    let out = place.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;

    let mut runs = Vec::new();
    if let Some(url) = &args.url {
        judge(&suite, "url", url, &args.requirements, &out, &mut runs)?;
    } else {
        let (_fixture, url) = start_fixture(root)?;
        judge(&suite, "direct", &url, &args.requirements, &out, &mut runs)?;
        if args.through_kern {
            let (_kern, url) = start_kern(root, args.kern, &url, &out)?;
            judge(&suite, "kern", &url, &args.requirements, &out, &mut runs)?;
        }
    }
    report::print(&runs);
    println!("results: {}", out.display());
    report::verdict(&runs, args.strict)
}

/// Runs every requirement set against one server.
fn judge(
    suite: &Suite,
    label: &'static str,
    url: &str,
    revisions: &[String],
    out: &Path,
    runs: &mut Vec<Run>,
) -> Result<(), String> {
    for revision in revisions {
        let scored = suite.scored(revision)?;
        let results = out.join(format!("{label}-{revision}"));
        eprintln!("conformance: {revision} against {url} ({label})");
        suite.run(url, revision, &results, RUN)?;
        runs.push(Run::read(label, revision, &scored, &results)?);
    }
    Ok(())
}

/// Builds and starts the fixture; also its URL.
fn start_fixture(root: &Path) -> Result<(Guarded, String), String> {
    let binary = build(root, "kern-fixture")?;
    let mut command = Command::new(binary);
    command.args(["--listen", "127.0.0.1:0", "--until-eof"]);
    let mut fixture = Guarded::start(command)?;
    let line = fixture.first_line()?;
    let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
    let url = url.ok_or_else(|| format!("the fixture said {line:?} instead of its address"))?;
    Ok((fixture, url))
}

/// Starts `kern` in front of the fixture; also the URL that shows the fixture's own names.
fn start_kern(
    root: &Path,
    binary: Option<PathBuf>,
    upstream: &str,
    out: &Path,
) -> Result<(Guarded, String), String> {
    let binary = match binary {
        Some(binary) => binary,
        None => build(root, "kern")?,
    };
    let config = out.join("kern.toml");
    fs::write(&config, format!("[upstream.fixture]\nurl = \"{upstream}\"\n"))
        .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let url = format!("http://{listen}/mcp/fixture");
    let mut command = Command::new(binary);
    command.arg("serve").arg("--config").arg(&config).args(["--listen", &listen]);
    let log = out.join("kern.log");
    let mut kern = Guarded::watch(&command, &log)?;
    kern.wait_ready(&url, START).map_err(|error| format!("{error}\n{}", child::tail(&log)))?;
    Ok((kern, url))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Builds a binary of this workspace and says where it is.
pub(crate) fn build(root: &Path, package: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--package", package]);
    command.arg("--message-format=json-render-diagnostics").stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build --package {package} failed"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut built = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == package).then_some(())?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    built.next_back().ok_or_else(|| format!("cargo built no binary for {package}"))
}
