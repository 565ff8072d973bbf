//! Where is a program of ours, built a moment ago?

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// With or without optimizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As tests are built.
    Debug,
    /// As users get it; the first time takes minutes.
    Release,
    /// Optimized crate by crate, for counts.
    Cost,
}

impl Profile {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Debug => &[],
            Self::Release => &["--release"],
            Self::Cost => &["--profile", "cost"],
        }
    }
}

/// Builds a program of a workspace and says where it is.
///
/// # Errors
/// When cargo cannot be run, when the build fails (cargo has said why), and when the package has
/// no program of its own name.
pub(crate) fn program(
    workspace: &Path,
    package: &str,
    profile: Profile,
) -> Result<PathBuf, String> {
    build(workspace, package, &[], profile)
}

/// Builds a benchmark of a package, to be counted, and says where it is.
///
/// # Errors
/// As [`program`].
pub(crate) fn benchmark(workspace: &Path, package: &str, name: &str) -> Result<PathBuf, String> {
    build(workspace, package, &["--bench", name], Profile::Cost)
}

/// Builds the program of a package, or the target that `target` chooses.
fn build(
    workspace: &Path,
    package: &str,
    target: &[&str],
    profile: Profile,
) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--package", package]).args(target);
    command.args(profile.arguments());
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build --package {package} failed"));
    }
    let name = target.last().unwrap_or(&package);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut built = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == *name).then_some(())?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    built.next_back().ok_or_else(|| format!("cargo built no {name} for {package}"))
}

/// The given `kern`, or the one of this workspace, built now.
///
/// # Errors
/// When the given one is not there, and as [`program`].
pub(crate) fn kern(root: &Path, given: Option<&Path>, profile: Profile) -> Result<PathBuf, String> {
    match given {
        Some(path) => path.canonicalize().map_err(|error| format!("{}: {error}", path.display())),
        None => program(root, "kern", profile),
    }
}
