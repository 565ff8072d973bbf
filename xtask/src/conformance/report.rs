//! What the result files say, as one table and one verdict.
//!
//! Invariant: a scored scenario without results counts as failed, and so does one whose checks
//! were all skipped: silence is no success.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The checks of one scenario.
#[derive(Default)]
pub(super) struct Scenario {
    scored: bool,
    passed: usize,
    warned: usize,
    /// Identifier and message of each failed check.
    failed: Vec<String>,
}

impl Scenario {
    fn passes(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    fn checks(&self) -> usize {
        self.passed + self.failed.len()
    }
}

/// One requirement set against one server.
pub(super) struct Run {
    label: &'static str,
    revision: String,
    scenarios: BTreeMap<String, Scenario>,
}

impl Run {
    /// Reads the result files of one run.
    pub(super) fn read(
        label: &'static str,
        revision: &str,
        scored: &[String],
        results: &Path,
    ) -> Result<Run, String> {
        let failed = |error| format!("cannot read {}: {error}", results.display());
        let mut scenarios: BTreeMap<String, Scenario> = scored
            .iter()
            .map(|name| (name.clone(), Scenario { scored: true, ..Scenario::default() }))
            .collect();
        for entry in fs::read_dir(results).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let folder = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = scenario_name(folder) else { continue };
            let text = fs::read_to_string(path.join("checks.json")).unwrap_or_default();
            let checks: Value = serde_json::from_str(&text).unwrap_or_default();
            let scenario = scenarios.entry(name.to_owned()).or_default();
            for check in checks.as_array().into_iter().flatten() {
                scenario.count(check);
            }
        }
        Ok(Run { label, revision: revision.to_owned(), scenarios })
    }

    fn of(&self, scored: bool) -> impl Iterator<Item = (&String, &Scenario)> {
        self.scenarios.iter().filter(move |(_, scenario)| scenario.scored == scored)
    }

    /// Passed and all, of scenarios and of their checks.
    fn totals(&self, scored: bool) -> [usize; 4] {
        let mut totals = [0; 4];
        for (_, scenario) in self.of(scored) {
            totals[0] += usize::from(scenario.passes());
            totals[1] += 1;
            totals[2] += scenario.passed;
            totals[3] += scenario.checks();
        }
        totals
    }
}

impl Scenario {
    fn count(&mut self, check: &Value) {
        let text = |member: &str| check[member].as_str().unwrap_or_default();
        match text("status") {
            "SUCCESS" => self.passed += 1,
            "WARNING" => self.warned += 1,
            "FAILURE" => {
                let message: String = text("errorMessage").chars().take(160).collect();
                self.failed.push(format!("{}: {message}", text("id")));
            }
            _ => {}
        }
    }
}

/// The scenario a result folder belongs to: `server-NAME-2026-11-21T01-58-40-726Z`.
fn scenario_name(folder: &str) -> Option<&str> {
    let rest = folder.strip_prefix("server-")?;
    let end = rest.len().checked_sub("-2026-11-21T01-58-40-726Z".len())?;
    rest.get(..end).filter(|_| rest.ends_with('Z'))
}

/// Prints the table (the servers of one requirement set below each other), then every failure,
/// then where kern differs from the direct run.
pub(super) fn print(runs: &[Run]) {
    println!("requirements  server   scored   checks    unscored  checks    warnings");
    let mut rows: Vec<&Run> = runs.iter().collect();
    rows.sort_by(|one, other| one.revision.cmp(&other.revision));
    for run in &rows {
        let pair = |passed: usize, all: usize| format!("{passed}/{all}");
        let [scored, all_scored, checks, all_checks] = run.totals(true);
        let [extra, all_extra, extra_checks, all_extra_checks] = run.totals(false);
        let warned: usize = run.scenarios.values().map(|scenario| scenario.warned).sum();
        println!(
            "{:<12}  {:<7}  {:<7}  {:<8}  {:<8}  {:<8}  {warned}",
            run.revision,
            run.label,
            pair(scored, all_scored),
            pair(checks, all_checks),
            pair(extra, all_extra),
            pair(extra_checks, all_extra_checks),
        );
    }
    for run in &rows {
        print_failures(run);
    }
    for (direct, kern) in pairs(runs) {
        for (name, ours, theirs) in differences(direct, kern) {
            let show = |scenario: &Scenario| {
                format!("{} passed, {} failed", scenario.passed, scenario.failed.len())
            };
            let (revision, ours, after) = (&direct.revision, show(ours), show(theirs));
            println!("DIFFERS {revision} {name}: direct {ours}; kern {after}");
            // The failures of scored scenarios are in the list above.
            let untold = theirs.failed.iter().filter(|_| !theirs.scored);
            untold.for_each(|failure| println!("    {failure}"));
        }
    }
}

/// Every failed check of the scored scenarios, and the names of the unscored that failed.
fn print_failures(run: &Run) {
    let (revision, label) = (&run.revision, run.label);
    for (name, scenario) in run.of(true).filter(|(_, scenario)| !scenario.passes()) {
        println!("FAILED {revision} {label} {name}");
        if scenario.failed.is_empty() {
            println!("    no check passed");
        }
        scenario.failed.iter().for_each(|failure| println!("    {failure}"));
    }
    let unscored = run.of(false).filter(|(_, scenario)| !scenario.passes());
    let names: Vec<&str> = unscored.map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        println!("not passed, not scored: {revision} {label}: {}", names.join(", "));
    }
}

/// The runs of the same requirement set, directly and through kern.
fn pairs(runs: &[Run]) -> impl Iterator<Item = (&Run, &Run)> {
    let direct = runs.iter().filter(|run| run.label == "direct");
    direct.filter_map(|run| {
        let same = |other: &&Run| other.label == "kern" && other.revision == run.revision;
        Some((run, runs.iter().find(same)?))
    })
}

/// Scenarios with another number of passed or failed checks.
fn differences<'a>(
    direct: &'a Run,
    kern: &'a Run,
) -> impl Iterator<Item = (&'a String, &'a Scenario, &'a Scenario)> {
    direct.scenarios.iter().filter_map(|(name, ours)| {
        let theirs = kern.scenarios.get(name)?;
        let same = ours.passed == theirs.passed && ours.failed.len() == theirs.failed.len();
        (!same).then_some((name, ours, theirs))
    })
}

/// Fails unless every scored scenario passed; when strict, also if kern loses an unscored one.
pub(super) fn verdict(runs: &[Run], strict: bool) -> Result<(), String> {
    let missing: usize =
        runs.iter().flat_map(|run| run.of(true)).filter(|(_, scenario)| !scenario.passes()).count();
    let lost: usize = pairs(runs)
        .flat_map(|(direct, kern)| differences(direct, kern))
        .filter(|(_, ours, theirs)| ours.passes() && !theirs.passes())
        .count();
    if missing > 0 {
        return Err(format!("{missing} scored scenario(s) failed"));
    }
    if strict && lost > 0 {
        return Err(format!("{lost} scenario(s) pass directly but not through kern"));
    }
    Ok(())
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
            ("log.txt", None),
            ("server-", None),
        ];
        for (folder, name) in cases {
            assert_eq!(scenario_name(folder), name, "{folder}");
        }
    }

    #[test]
    fn silence_warnings_and_skips_are_not_success_for_a_release() {
        let cases = [
            (json!([{ "status": "SUCCESS" }, { "status": "WARNING" }]), true),
            (json!([{ "status": "SUCCESS" }, { "status": "FAILURE" }]), false),
            (json!([{ "status": "WARNING" }]), false),
            (json!([{ "status": "SKIPPED" }]), false),
            (json!([]), false),
        ];
        for (checks, passes) in cases {
            let mut scenario = Scenario { scored: true, ..Scenario::default() };
            checks.as_array().into_iter().flatten().for_each(|check| scenario.count(check));
            assert_eq!(scenario.passes(), passes, "{checks}");
            let scenarios = BTreeMap::from([("a".to_owned(), scenario)]);
            let run = Run { label: "direct", revision: "r".to_owned(), scenarios };
            assert_eq!(verdict(&[run], false).is_ok(), passes);
        }
    }
}
