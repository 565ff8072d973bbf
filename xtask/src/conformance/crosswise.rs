//! The suite judges `kern` in front of a server that speaks only the other era.
//!
//! What cannot hold is in the table of [`super::cannot`], check by check. Invariant: any other
//! failure fails the run, and so does an entry of the table that passes.

use super::cannot::{self, Cannot};
use super::results::{Run, Standing};
use super::servers::{self, Behind, Era};
use super::{Ground, report};

/// Runs all requirement sets and prints one table.
pub(super) fn run(ground: &Ground, revisions: &[String]) -> Result<(), String> {
    let kern = ground.kern()?;
    let program = servers::fixture_program(&ground.root)?;
    let mut runs = Vec::new();
    for revision in revisions {
        let (label, label_pipe, era) = match Era::of(revision) {
            Era::Legacy => ("modern", "modern, pipe", Era::Modern),
            _ => ("legacy", "legacy, pipe", Era::Legacy),
        };
        let (_fixture, server) = servers::fixture(&ground.root, era)?;
        let behind = Behind::Url(&server);
        let (_kern, url) = servers::kern(&kern, &behind, &ground.out, label)?;
        runs.push(ground.judge(label, &url, revision)?);
        let behind = Behind::Pipe { program: &program, era };
        let (_kern, url) = servers::kern(&kern, &behind, &ground.out, label_pipe)?;
        runs.push(ground.judge(label_pipe, &url, revision)?);
    }
    println!("judged: kern in front of a server that speaks only this era\n");
    report::print_table(&runs.iter().collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for (page, sentence) in cannot::sentences() {
        println!("{page}: {sentence}");
    }
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
        let (revision, label) = (&run.revision, run.label);
        println!("{revision}  {label:<12}  {word}  {:>2}/{all:<2}  {name}", scenario.passed);
        for check in &scenario.failed {
            match table.iter().find(|entry| entry.covers(name, &check.id)) {
                Some(entry) => println!("    {}: {}", check.id, entry.page),
                None => println!("    {}: UNEXPECTED: {}", check.id, check.message),
            }
        }
        report::print_checks(&scenario.warned);
    }
}

/// Failures the table does not have, and entries of the table that do not fail.
fn surprises(run: &Run, table: &[&Cannot]) -> Vec<String> {
    let mut wrong = Vec::new();
    let place = format!("{} ({})", run.revision, run.label);
    for (name, scenario) in &run.scenarios {
        for check in &scenario.failed {
            if !table.iter().any(|entry| entry.covers(name, &check.id)) {
                wrong.push(format!("{place} {name}: {} fails", check.id));
            }
        }
        if scenario.standing != Standing::Extra && !scenario.checked() {
            wrong.push(format!("{place} {name}: no check passed"));
        }
    }
    for entry in table {
        let scenario = run.scenarios.get(entry.scenario);
        let fails = scenario.is_some_and(|scenario| {
            scenario.failed.iter().any(|check| entry.covers(entry.scenario, &check.id))
        });
        if !fails {
            let Cannot { scenario, check, .. } = entry;
            wrong.push(format!("{place} {scenario}: {check} passes unexpectedly"));
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
