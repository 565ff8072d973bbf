//! The programs that take part, built for release.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) kern: PathBuf,
    pub(super) floor: PathBuf,
    pub(super) load: PathBuf,
    pub(super) rmcp: Option<PathBuf>,
}

impl Programs {
    /// Builds what is not given; the first time takes minutes.
    pub(super) fn ready(root: &Path, kern: Option<&Path>, rmcp: bool) -> Result<Self, String> {
        let kern = match kern {
            Some(kern) => kern.canonicalize().map_err(|e| format!("{}: {e}", kern.display()))?,
            None => build(root, "kern")?,
        };
        let bench = root.join("bench");
        let (floor, load) = (build(&bench, "floor")?, build(&bench, "load")?);
        let rmcp = rmcp.then(|| build(&bench, "rmcp-server")).transpose()?;
        Ok(Self { kern, floor, load, rmcp })
    }
}

fn build(workspace: &Path, package: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--release", "--package", package]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build --release --package {package} failed"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut built = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == package).then_some(())?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    built.next_back().ok_or_else(|| format!("cargo built no program for {package}"))
}
