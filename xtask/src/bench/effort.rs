//! How long and how often is measured, and what becomes of the figures?

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::rounds::Condition;
use super::svg::Plot;

/// What all measurements take.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct EffortArgs {
    /// A smoke run of about a minute: one short round, the middle sizes; draws no plot
    #[arg(long)]
    quick: bool,
    /// Rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Time counted in each round
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=600_000))]
    duration_ms: Option<u64>,
    /// Time before counting
    #[arg(long, value_name = "MS", default_value_t = 300)]
    warm_up_ms: u64,
    /// Only those whose name contains one of these
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(super) only: Vec<String>,
    /// The kern program; without it, it is built
    #[arg(long, value_name = "PATH")]
    pub(super) kern: Option<PathBuf>,
    /// Where everything measured is written; else target/bench/NAME.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the plot is written; else docs/bench, and nowhere with --quick or --only
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// What measurements over connections take.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(super) effort: EffortArgs,
    /// Connections, with one request in flight each [default: native 1,32,256; proxy 1,32;
    /// gateway 32]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    connections: Vec<usize>,
    /// Bytes of the text to echo; a body has about 280 more [default: native 200,4096,65536; proxy
    /// and gateway 200]
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    text_bytes: Vec<usize>,
}

impl LoadArgs {
    /// The same, with these where nothing was asked for.
    pub(super) fn or(&self, connections: &[usize], text_bytes: &[usize]) -> Self {
        let or = |given: &[usize], usual: &[usize]| match given {
            [] => usual.to_vec(),
            given => given.to_vec(),
        };
        Self {
            effort: self.effort.clone(),
            connections: or(&self.connections, connections),
            text_bytes: or(&self.text_bytes, text_bytes),
        }
    }

    /// What was asked for, or all of these.
    pub(super) fn conditions(&self, connections: &[usize], text_bytes: &[usize]) -> Vec<Condition> {
        let all = self.or(connections, text_bytes);
        Condition::all(&all.connections, &all.text_bytes)
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) quick: bool,
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
}

impl EffortArgs {
    pub(super) fn effort(&self) -> Effort {
        let (rounds, duration_ms) = if self.quick { (1, 500) } else { (3, 2000) };
        Effort {
            quick: self.quick,
            rounds: self.rounds.unwrap_or(rounds),
            duration: Duration::from_millis(self.duration_ms.unwrap_or(duration_ms)),
            warm_up: Duration::from_millis(self.warm_up_ms),
        }
    }

    /// Whether `name` is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Writes what was measured, and draws it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn keep(
        &self,
        root: &Path,
        name: &str,
        figures: &Value,
        plot: &Plot,
    ) -> Result<(), String> {
        let json = self
            .json
            .clone()
            .unwrap_or_else(|| root.join("target").join("bench").join(format!("{name}.json")));
        write(&json, &format!("{figures:#}\n"))?;
        println!("\nfigures: {}", json.display());
        let whole = !self.quick && self.only.is_empty();
        let usual = whole.then(|| root.join("docs").join("bench"));
        if let Some(folder) = self.plot.clone().or(usual) {
            let path = folder.join(format!("{name}.svg"));
            write(&path, &plot.render())?;
            println!("plot: {}", path.display());
        }
        Ok(())
    }
}

/// Writes a file, and makes its folder.
///
/// # Errors
/// Where and why it cannot.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
