//! What the result files of one run say.
//!
//! Invariant: a scored or demanded scenario without results counts as failed, and so does one
//! whose checks were all skipped: silence is no success.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Begins the lines by which our agent says what failed on its side.
pub(super) const AGENT: &str = "agent: ";
/// The check under which such a line is counted.
const AGENT_CHECK: &str = "agent";

/// What failing means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// The suite scores it.
    Scored,
    /// The suite does not, but we do.
    Demanded,
    /// Runs along.
    #[default]
    Extra,
}

/// A check that did not pass.
pub(super) struct Check {
    pub(super) id: String,
    pub(super) message: String,
}

/// The checks of one scenario.
#[derive(Default)]
pub(super) struct Scenario {
    pub(super) standing: Standing,
    pub(super) passed: usize,
    pub(super) warned: Vec<Check>,
    pub(super) failed: Vec<Check>,
}

impl Scenario {
    pub(super) fn passes(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    /// Whether it had something to say at all.
    pub(super) fn checked(&self) -> bool {
        self.passed > 0 || !self.failed.is_empty()
    }

    fn count(&mut self, check: &Value) {
        let text = |member: &str| check[member].as_str().unwrap_or_default();
        let shown = || Check {
            id: text("id").to_owned(),
            message: text("errorMessage").chars().take(160).collect(),
        };
        match text("status") {
            "SUCCESS" => self.passed += 1,
            "WARNING" => self.warned.push(shown()),
            "FAILURE" => self.failed.push(shown()),
            _ => {}
        }
    }

    /// Counts what our agent said failed on its side.
    fn hear(&mut self, errors: &str) {
        let lines = errors.lines().filter_map(|line| line.strip_prefix(AGENT));
        let check = |line: &str| Check { id: AGENT_CHECK.to_owned(), message: line.to_owned() };
        self.failed.extend(lines.map(check));
    }
}

/// One requirement set against one server or client.
pub(super) struct Run {
    pub(super) label: &'static str,
    pub(super) revision: String,
    pub(super) scenarios: BTreeMap<String, Scenario>,
}

impl Run {
    /// Reads the result files of one run.
    pub(super) fn read(
        label: &'static str,
        revision: &str,
        scored: &[String],
        demanded: &[&str],
        results: &Path,
    ) -> Result<Run, String> {
        let mut run = Run::expecting(label, revision, scored, demanded);
        for folder in folders(results)? {
            let relative = folder.strip_prefix(results).unwrap_or(&folder);
            let Some(name) = relative.to_str().and_then(scenario_name) else { continue };
            let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
            let checks: Value = serde_json::from_str(&read("checks.json")).unwrap_or_default();
            let scenario = run.scenarios.entry(name.to_owned()).or_default();
            for check in checks.as_array().into_iter().flatten() {
                scenario.count(check);
            }
            scenario.hear(&read("stderr.txt"));
        }
        Ok(run)
    }

    fn expecting(label: &'static str, revision: &str, scored: &[String], demanded: &[&str]) -> Run {
        let mut scenarios = BTreeMap::new();
        let scored = scored.iter().map(|name| (name.as_str(), Standing::Scored));
        let demanded = demanded.iter().map(|name| (*name, Standing::Demanded));
        for (name, standing) in scored.chain(demanded) {
            scenarios.insert(name.to_owned(), Scenario { standing, ..Scenario::default() });
        }
        Run { label, revision: revision.to_owned(), scenarios }
    }

    pub(super) fn of(&self, standing: Standing) -> impl Iterator<Item = (&String, &Scenario)> {
        self.scenarios.iter().filter(move |(_, scenario)| scenario.standing == standing)
    }

    /// Passed and all, of scenarios and of their checks.
    pub(super) fn totals(&self, standing: Standing) -> [usize; 4] {
        let mut totals = [0; 4];
        for (_, scenario) in self.of(standing) {
            totals[0] += usize::from(scenario.passes());
            totals[1] += 1;
            totals[2] += scenario.passed;
            totals[3] += scenario.passed + scenario.failed.len();
        }
        totals
    }
}

/// The folders below `results`, and those one level deeper (`auth/…`).
fn folders(results: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let failed = |error| format!("cannot read {}: {error}", results.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(results).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Ok(inner) = fs::read_dir(&path) {
            found.extend(inner.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
            found.push(path);
        }
    }
    Ok(found)
}

/// The scenario a result folder belongs to: `NAME-2026-11-21T01-58-40-726Z`, with `server-` before
/// it where a server is judged.
fn scenario_name(folder: &str) -> Option<&str> {
    let end = folder.len().checked_sub("-2026-11-21T01-58-40-726Z".len())?;
    let name = folder.get(..end).filter(|_| folder.ends_with('Z'))?;
    // A scenario's own name may begin like that, but not where clients are judged.
    let name = name.strip_prefix("server-").unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_folder_name_gives_its_scenario_and_other_files_are_ignored() {
        let cases = [
            ("server-caching-2026-11-21T01-58-40-726Z", Some("caching")),
            ("server-tools-call-image-2026-11-21T01-58-40-726Z", Some("tools-call-image")),
            ("server-server-initialize-2026-11-21T01-58-40-726Z", Some("server-initialize")),
            ("tools_call-2026-11-21T01-58-40-726Z", Some("tools_call")),
            ("auth/basic-cimd-2026-11-21T01-58-40-726Z", Some("auth/basic-cimd")),
            ("log.txt", None),
            ("server-", None),
        ];
        for (folder, name) in cases {
            assert_eq!(scenario_name(folder), name, "{folder}");
        }
    }

    #[test]
    fn silence_warnings_and_skips_are_no_success() {
        let cases = [
            (json!([{ "status": "SUCCESS" }, { "status": "WARNING" }]), "", true),
            (json!([{ "status": "SUCCESS" }, { "status": "FAILURE" }]), "", false),
            (json!([{ "status": "SUCCESS" }]), "agent: no answer\n", false),
            (json!([{ "status": "SUCCESS" }]), "a word of the program\n", true),
            (json!([{ "status": "WARNING" }]), "", false),
            (json!([{ "status": "SKIPPED" }]), "", false),
            (json!([]), "", false),
        ];
        for (checks, errors, passes) in cases {
            let mut scenario = Scenario::default();
            checks.as_array().into_iter().flatten().for_each(|check| scenario.count(check));
            scenario.hear(errors);
            assert_eq!(scenario.passes(), passes, "{checks} {errors}");
        }
    }

    #[test]
    fn a_scenario_that_never_ran_is_missed() {
        let run = Run::expecting("kern", "r", &["a".to_owned()], &["b"]);
        assert_eq!(run.totals(Standing::Scored), [0, 1, 0, 0]);
        assert_eq!(run.totals(Standing::Demanded), [0, 1, 0, 0]);
    }
}
