//! The suite judges what `kern` sends to servers.
//!
//! The suite starts a server for each scenario and a client for it: [`super::driver`], an agent
//! with `kern` between. Each requirement set runs twice: with an agent of its own era and with one
//! of the other, so that what `kern` makes of a message of the other era is judged as well.

use std::ffi::OsStr;

use super::install::Leg;
use super::results::{Run, Standing};
use super::servers::Era;
use super::{Ground, RUN, demanded, driver, report};

/// Whether a scenario needs authorization, which is not there yet: it is run, but not judged.
pub(super) fn waits(scenario: &str) -> bool {
    scenario.starts_with("auth/")
}

/// Runs the client's scenarios of all requirement sets and prints one table.
pub(super) fn run(ground: &Ground, revisions: &[String]) -> Result<(), String> {
    let kern = ground.kern()?;
    let me = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let command = format!("'{}' conformance-client", me.display());
    let mut runs = Vec::new();
    for revision in revisions {
        for (label, era) in [("legacy", Era::Legacy), ("modern", Era::Modern)] {
            eprintln!("conformance: {revision}, kern between the suite and a {label} agent");
            let results = ground.out.join(format!("client-{label}-{revision}"));
            let place = results.join("kern");
            let environment: [(&str, &OsStr); 3] = [
                (driver::KERN, kern.as_os_str()),
                (driver::OUT, place.as_os_str()),
                (driver::ERA, OsStr::new(era.name())),
            ];
            let leg = Leg::Client { command: &command, environment: &environment };
            ground.suite.run(&leg, revision, &results, RUN)?;
            let scored = ground.suite.scored(revision, "client")?;
            let demanded = demanded::of_clients(revision);
            runs.push(Run::read(label, revision, &scored, demanded, &results)?);
        }
    }
    print(&runs);
    verdict(&runs)
}

fn print(runs: &[Run]) {
    println!("requirements  agent   scenario                             checks  warnings");
    for run in runs {
        for (name, scenario) in run.scenarios.iter().filter(|(name, _)| !waits(name)) {
            let all = scenario.passed + scenario.failed.len();
            let (passed, warned) = (scenario.passed, scenario.warned.len());
            let (revision, label) = (&run.revision, run.label);
            println!("{revision:<12}  {label:<6}  {name:<35}  {passed:>2}/{all:<2}   {warned}");
            report::print_checks(&scenario.failed);
            report::print_checks(&scenario.warned);
        }
        let waiting = run.of(Standing::Scored).filter(|(name, _)| waits(name)).count();
        let (revision, label) = (&run.revision, run.label);
        println!("{revision:<12}  {label:<6}  {waiting} scenarios wait for authorization");
    }
}

fn verdict(runs: &[Run]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for run in runs {
        let counting = run.of(Standing::Scored).chain(run.of(Standing::Demanded));
        let counting = counting.filter(|(name, _)| !waits(name));
        for (name, scenario) in counting {
            if !scenario.passes() {
                wrong.push(format!("{} with a {} agent: {name} fails", run.revision, run.label));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
