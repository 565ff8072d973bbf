//! Where the suite is, in the one version we are judged by, with a Node that can run it.
//!
//! Invariant: the versions are pinned here. The suite needs Node 22 or newer (it uses
//! `fs.globSync`), which systems often lack; so Node comes from npm too.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The suite's package.
const PACKAGE: &str = "@modelcontextprotocol/conformance";
/// The suite's version; `latest` is older and does not know revision 2026-07-28.
const VERSION: &str = "0.2.0-alpha.12";
/// The Node package and its version range.
const NODE: &str = "node@22";

/// What is judged.
pub(super) enum Leg<'a> {
    /// The server at a URL.
    Server { url: &'a str },
    /// A client: a command of a shell, to which the suite adds the URL of its own server.
    Client { command: &'a str, environment: &'a [(&'static str, &'a OsStr)] },
}

/// The installed suite.
pub(super) struct Suite {
    node: PathBuf,
    package: PathBuf,
}

impl Suite {
    /// Finds the suite under `place`, and installs it from npm when it is missing.
    pub(super) fn ready(place: &Path) -> Result<Suite, String> {
        let modules = place.join("node_modules");
        let suite = Suite {
            node: modules.join("node").join("bin").join("node"),
            package: PACKAGE.split('/').fold(modules, |path, part| path.join(part)),
        };
        if !suite.is_there() {
            suite.install(place)?;
        }
        if suite.is_there() { Ok(suite) } else { Err(format!("npm left no {PACKAGE} {VERSION}")) }
    }

    fn is_there(&self) -> bool {
        let text = fs::read_to_string(self.package.join("package.json")).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        package["version"] == VERSION && self.node.exists()
    }

    fn install(&self, place: &Path) -> Result<(), String> {
        eprintln!("conformance: installing {PACKAGE}@{VERSION} and {NODE} from npm");
        let prepared = fs::create_dir_all(place)
            .and_then(|()| fs::write(place.join("package.json"), "{ \"private\": true }\n"));
        prepared.map_err(|error| format!("cannot prepare {}: {error}", place.display()))?;
        let status = Command::new("npm")
            .current_dir(place)
            .args(["install", "--no-audit", "--no-fund", NODE, &format!("{PACKAGE}@{VERSION}")])
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("cannot run npm (install Node.js first): {error}"))?;
        if status.success() { Ok(()) } else { Err("npm install failed".to_owned()) }
    }

    /// The scored scenarios of a requirement set, in its order: those of a "server" or a "client".
    pub(super) fn scored(&self, revision: &str, leg: &str) -> Result<Vec<String>, String> {
        let path = self.package.join("requirements").join(format!("{revision}.yaml"));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("no requirement set {revision}: {error}"))?;
        let scored = list(&text, leg);
        if scored.is_empty() {
            return Err(format!("{} names no {leg} scenario", path.display()));
        }
        Ok(scored)
    }

    /// Runs one requirement set; the results are files under `results`.
    pub(super) fn run(
        &self,
        leg: &Leg<'_>,
        revision: &str,
        results: &Path,
        limit: Duration,
    ) -> Result<(), String> {
        let failed = |error| format!("cannot run the suite: {error}");
        fs::create_dir_all(results).map_err(failed)?;
        let log = File::create(results.join("log.txt")).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.node);
        command.arg(self.package.join("dist").join("index.js"));
        match leg {
            Leg::Server { url } => command.args(["server", "--url", url]),
            Leg::Client { command: client, environment } => {
                command.args(["client", "--command", client]).envs(environment.iter().copied())
            }
        };
        command.args(["--requirements", revision, "-o"]).arg(results);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut suite = command.spawn().map_err(failed)?;
        let deadline = Instant::now() + limit;
        // The exit status repeats what the result files say in more detail.
        while suite.try_wait().map_err(failed)?.is_none() {
            if Instant::now() >= deadline {
                suite.kill().and_then(|()| suite.wait()).map_err(failed)?;
                eprintln!("conformance: the suite took longer than {limit:?} and was ended");
                break;
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// The entries of one top-level list in a requirement file.
fn list(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| line.strip_suffix(':') != Some(name)).skip(1);
    let body = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let entries = body.filter_map(|line| line.trim().strip_prefix("- "));
    entries.map(|entry| entry.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn only_the_scored_scenarios_of_one_leg_are_counted() {
        let text = "revision: x\nserver:\n  - a\n  # note\n\n  - b\nclient:\n  - c\nnot_scored:\n  \
                    - scenario: d\n";
        assert_eq!(list(text, "server"), ["a", "b"]);
        assert_eq!(list(text, "client"), ["c"]);
        assert!(list("client:\n  - c\n", "server").is_empty());
    }
}
