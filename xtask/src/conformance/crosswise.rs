//! The suite judges `kern` in front of a server that speaks only the other era.
//!
//! What cannot hold is in the table of [`super::cannot`], check by check. Invariant: any other
//! failure fails the run, and so does an entry of the table that passes.

use std::fs;

use super::cannot::{self, Cannot};
use super::results::{Run, Standing};
use super::servers::{self, Era};
use super::{Ground, report};

/// Runs all requirement sets and prints one table.
pub(super) fn run(ground: &Ground, revisions: &[String]) -> Result<(), String> {
    let kern = ground.kern()?;
    let mut runs = Vec::new();
    for revision in revisions {
        let (label, era) = match Era::of(revision) {
            Era::Legacy => ("modern", Era::Modern),
            _ => ("legacy", Era::Legacy),
        };
        let (_fixture, server) = servers::fixture(&ground.root, era)?;
        let out = ground.out.join(format!("behind-{label}"));
        fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
        let (_kern, url) = servers::kern(&kern, &server, &out)?;
        runs.push(ground.judge(label, &url, revision)?);
    }
    println!("judged: kern in front of a server that speaks only this era\n");
    report::print_table(&runs.iter().collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for run in &runs {
        print(run);
        wrong.extend(surprises(run, &cannot::of_servers(&run.revision)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Every scenario with its checks, and why those that fail do.
fn print(run: &Run) {
    let table = cannot::of_servers(&run.revision);
    for (name, scenario) in &run.scenarios {
        let all = scenario.passed + scenario.failed.len();
        let word = match scenario.passes() {
            true => "pass",
            false if all == 0 => "none",
            false => "FAIL",
        };
        println!("{}  {word}  {:>2}/{all:<2}  {name}", run.revision, scenario.passed);
        for check in &scenario.failed {
            let entry = table.iter().find(|entry| entry.covers(name, &check.id));
            let why = entry.map_or(check.message.as_str(), |entry| entry.sentence);
            let page = entry.map_or("UNEXPECTED", |entry| entry.page);
            println!("    {}: {page}: {why}", check.id);
        }
        report::print_checks(&scenario.warned);
    }
}

/// Failures the table does not have, and entries of the table that do not fail.
fn surprises(run: &Run, table: &[&Cannot]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, scenario) in &run.scenarios {
        for check in &scenario.failed {
            if !table.iter().any(|entry| entry.covers(name, &check.id)) {
                wrong.push(format!("{} {name}: {} fails", run.revision, check.id));
            }
        }
        if scenario.standing != Standing::Extra && !scenario.checked() {
            wrong.push(format!("{} {name}: no check passed", run.revision));
        }
    }
    for entry in table {
        let scenario = run.scenarios.get(entry.scenario);
        let fails = scenario.is_some_and(|scenario| {
            scenario.failed.iter().any(|check| entry.covers(entry.scenario, &check.id))
        });
        if !fails && entry.may_pass() {
            println!("{} {}: {} passes now", run.revision, entry.scenario, entry.check);
        } else if !fails {
            let Cannot { scenario, check, .. } = entry;
            wrong.push(format!("{} {scenario}: {check} passes unexpectedly", run.revision));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::results::{Check, Scenario};
    use super::*;

    const ENTRY: Cannot =
        Cannot { revision: "r", scenario: "a", check: "c", page: "a page", sentence: "No." };

    #[test]
    fn only_what_the_table_says_may_fail_and_it_must() {
        let cases =
            [(&["c"][..], true), (&["c", "d"][..], false), (&["d"][..], false), (&[][..], false)];
        for (failed, fine) in cases {
            let check = |id: &&str| Check { id: (*id).to_owned(), message: String::new() };
            let scenario = Scenario {
                passed: 1,
                failed: failed.iter().map(check).collect(),
                ..Scenario::default()
            };
            let scenarios = BTreeMap::from([("a".to_owned(), scenario)]);
            let run = Run { label: "kern", revision: "r".to_owned(), scenarios };
            assert_eq!(surprises(&run, &[&ENTRY]).is_empty(), fine, "{failed:?}");
        }
    }
}
