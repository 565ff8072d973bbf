//! `cargo xtask conformance`: what does the official suite say about us?
//!
//! Runs the frozen requirement sets of `@modelcontextprotocol/conformance`: against a URL, against
//! the fixture, against the fixture through `kern` in its own era and across the eras, and with
//! `kern` as the client. Invariants: a scenario counts only if at least one check passed and none
//! failed; every process this starts ends with it, whatever happens to it.

mod agent;
mod cannot;
pub(crate) mod child;
mod client;
mod crosswise;
mod demanded;
mod driver;
mod fill;
mod install;
mod report;
mod results;
pub(crate) mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::{self, Profile};
pub(crate) use driver::{DriverArgs, run as drive};
use install::{Leg, Suite};
use results::Run;
use servers::{Behind, Era};

/// Longest time one requirement set may take; a healthy run takes seconds.
const RUN: Duration = Duration::from_secs(300);

/// Runs the official conformance suite.
#[derive(clap::Args, Debug)]
pub(crate) struct ConformanceArgs {
    #[command(flatten)]
    what: What,
    /// The kern binary; without it, it is built
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
    /// Requirement sets to run
    #[arg(long, value_name = "REV", num_args = 1.., default_values = ["2025-11-25", "2026-07-28"])]
    requirements: Vec<String>,
    /// Fail also when any other scenario passes directly but not through kern
    #[arg(long, requires = "through_kern")]
    strict: bool,
}

/// What is judged; the fixture alone by default.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct What {
    /// Judge the server at this URL
    #[arg(long)]
    url: Option<String>,
    /// Judge the fixture (the default)
    #[arg(long)]
    fixture: bool,
    /// Judge the fixture directly, then through kern over HTTP and over a pipe, and compare
    #[arg(long)]
    through_kern: bool,
    /// Judge kern in front of a fixture that speaks only the other era
    #[arg(long)]
    crosswise: bool,
    /// Judge what kern sends to the suite's own servers
    #[arg(long)]
    client: bool,
}

/// What every way to run the suite needs.
struct Ground {
    root: PathBuf,
    suite: Suite,
    /// Where results go.
    out: PathBuf,
    /// The `kern` that was named on the command line.
    kern: Option<PathBuf>,
}

impl Ground {
    fn kern(&self) -> Result<PathBuf, String> {
        build::kern(&self.root, self.kern.as_deref(), Profile::Debug)
    }

    /// Runs one requirement set against a server.
    fn judge(&self, label: &'static str, url: &str, revision: &str) -> Result<Run, String> {
        eprintln!("conformance: {revision} against {url} ({label})");
        let results = self.out.join(format!("{label}-{revision}"));
        self.suite.run(&Leg::Server { url }, revision, &results, RUN)?;
        let scored = self.suite.scored(revision, "server")?;
        let demanded = demanded::of_servers(revision, label);
        Run::read(label, revision, &scored, &demanded, &results)
    }
}

/// Runs the suite and prints one table.
///
/// # Errors
/// When something cannot be installed, built or started, and when a scenario fails that must not.
pub(crate) fn run(args: ConformanceArgs) -> Result<(), String> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no workspace directory")?;
    let place = root.join("target").join("conformance");
    let suite = Suite::ready(&place)?;
    let out = place.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
    let ground = Ground { root: root.to_owned(), suite, out, kern: args.kern };
    let verdict = if args.what.crosswise {
        crosswise::run(&ground, &args.requirements)
    } else if args.what.client {
        client::run(&ground, &args.requirements)
    } else {
        same_era(&ground, &args.what, &args.requirements, args.strict)
    };
    println!("results: {}", ground.out.display());
    verdict
}

/// The server's scenarios against a URL or the fixture, and through `kern`.
fn same_era(
    ground: &Ground,
    what: &What,
    revisions: &[String],
    strict: bool,
) -> Result<(), String> {
    let mut runs = Vec::new();
    let mut judge = |label: &'static str, url: &str| -> Result<(), String> {
        for revision in revisions {
            runs.push(ground.judge(label, url, revision)?);
        }
        Ok(())
    };
    if let Some(url) = &what.url {
        judge("url", url)?;
    } else {
        let (_fixture, url) = servers::fixture(&ground.root, Era::Both)?;
        judge("direct", &url)?;
        if what.through_kern {
            let kern = ground.kern()?;
            let (_kern, url) = servers::kern(&kern, &Behind::Url(&url), &ground.out, "kern")?;
            judge("kern", &url)?;
            let program = servers::fixture_program(&ground.root)?;
            let behind = Behind::Pipe { program: &program, era: Era::Both };
            let (_kern, url) = servers::kern(&kern, &behind, &ground.out, "pipe")?;
            judge("pipe", &url)?;
        }
    }
    report::print(&runs);
    report::verdict(&runs, strict)
}
