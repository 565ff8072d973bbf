//! The results of one or more runs, as one table and one verdict.

use super::results::{Check, Run, Scenario, Standing};

/// Prints the table (the servers of one requirement set below each other), then every failure,
/// then where kern differs from the direct run.
pub(super) fn print(runs: &[Run]) {
    let mut rows: Vec<&Run> = runs.iter().collect();
    rows.sort_by(|one, other| one.revision.cmp(&other.revision));
    print_table(&rows);
    for run in &rows {
        print_failures(run);
    }
    for (direct, kern) in pairs(runs) {
        for (name, ours, theirs) in differences(direct, kern) {
            let show = |scenario: &Scenario| {
                format!("{} passed, {} failed", scenario.passed, scenario.failed.len())
            };
            let (revision, ours, after) = (&direct.revision, show(ours), show(theirs));
            println!("DIFFERS {revision} {name}: direct {ours}; {} {after}", kern.label);
            // The failures of the others are in the list above.
            if theirs.standing == Standing::Extra {
                print_checks(&theirs.failed);
            }
        }
    }
}

/// One line for each run.
pub(super) fn print_table(rows: &[&Run]) {
    println!(
        "requirements  judged        scored   checks    demanded  checks    others   warnings"
    );
    for run in rows {
        let pair = |passed: usize, all: usize| format!("{passed}/{all}");
        let [scored, all_scored, checks, all_checks] = run.totals(Standing::Scored);
        let [ours, all_ours, our_checks, all_our_checks] = run.totals(Standing::Demanded);
        let [extra, all_extra, ..] = run.totals(Standing::Extra);
        let warned: usize = run.scenarios.values().map(|scenario| scenario.warned.len()).sum();
        println!(
            "{:<12}  {:<12}  {:<7}  {:<8}  {:<8}  {:<8}  {:<7}  {warned}",
            run.revision,
            run.label,
            pair(scored, all_scored),
            pair(checks, all_checks),
            pair(ours, all_ours),
            pair(our_checks, all_our_checks),
            pair(extra, all_extra),
        );
    }
}

/// What a scenario's checks had to say.
pub(super) fn print_checks(checks: &[Check]) {
    for Check { id, message } in checks {
        println!("    {id}: {message}");
    }
}

/// Every failed check of the scenarios that count, and the names of the others that failed.
fn print_failures(run: &Run) {
    let (revision, label) = (&run.revision, run.label);
    for (name, scenario) in missed(run) {
        println!("FAILED {revision} {label} {name}");
        if scenario.failed.is_empty() {
            println!("    no check passed");
        }
        print_checks(&scenario.failed);
    }
    let others = run.of(Standing::Extra).filter(|(_, scenario)| !scenario.passes());
    let names: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        println!("not passed, not demanded: {revision} {label}: {}", names.join(", "));
    }
}

/// The scored and the demanded scenarios that did not pass.
fn missed(run: &Run) -> impl Iterator<Item = (&String, &Scenario)> {
    let counting = run.of(Standing::Scored).chain(run.of(Standing::Demanded));
    counting.filter(|(_, scenario)| !scenario.passes())
}

/// The runs of the same requirement set, directly and through kern.
fn pairs(runs: &[Run]) -> impl Iterator<Item = (&Run, &Run)> {
    let direct = runs.iter().filter(|run| run.label == "direct");
    direct.flat_map(move |run| {
        let same = |other: &&Run| other.label != run.label && other.revision == run.revision;
        runs.iter().filter(same).map(move |other| (run, other))
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

/// Fails unless all that counts passed; when strict, also if kern loses any other scenario.
pub(super) fn verdict(runs: &[Run], strict: bool) -> Result<(), String> {
    let missing: usize = runs.iter().map(|run| missed(run).count()).sum();
    let lost: usize = pairs(runs)
        .flat_map(|(direct, kern)| differences(direct, kern))
        .filter(|(_, ours, theirs)| ours.passes() && !theirs.passes())
        .count();
    if missing > 0 {
        return Err(format!("{missing} scenario(s) failed that must pass"));
    }
    if strict && lost > 0 {
        return Err(format!("{lost} scenario(s) pass directly but not through kern"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn run(label: &'static str, standing: Standing, passed: usize) -> Run {
        let scenario = Scenario { standing, passed, ..Scenario::default() };
        let scenarios = BTreeMap::from([("a".to_owned(), scenario)]);
        Run { label, revision: "r".to_owned(), scenarios }
    }

    #[test]
    fn what_counts_must_pass_and_kern_must_lose_nothing() {
        let cases = [
            (Standing::Scored, 1, 1, true, true),
            (Standing::Scored, 1, 0, false, false),
            (Standing::Demanded, 1, 0, false, false),
            (Standing::Extra, 1, 0, true, false),
            (Standing::Extra, 0, 0, true, true),
        ];
        for (standing, direct, kern, lenient, strict) in cases {
            let runs = [run("direct", standing, direct), run("kern", standing, kern)];
            assert_eq!(verdict(&runs, false).is_ok(), lenient, "{standing:?}");
            assert_eq!(verdict(&runs, true).is_ok(), strict, "{standing:?}");
        }
    }
}
