//! `cargo xtask soak`: does a day of use leave anything behind?
//!
//! A day is compressed into minutes: sessions come and go over every transport, servers are killed,
//! the configuration changes, clients leave in mid-call or do not read. Invariants: every answer is
//! checked; when the load stops, descriptors, processes and sessions return to what they were;
//! memory does not grow with the number of sessions that were served.

mod people;
mod report;
mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use people::{Person, Tally};
use report::Sample;
use world::{Look, World};

use crate::build::{self, Profile};

/// Clients at work at the same time.
const PEOPLE: u64 = 6;
/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often an upstream is killed, and another replaced.
const KILL_EVERY: Duration = Duration::from_secs(7);
const RELOAD_EVERY: Duration = Duration::from_secs(11);
/// How long the traces of the load may take to go: connections and sessions time out after 10 s.
const REST: Duration = Duration::from_secs(45);
/// The pool for errands grows to its size when it is first busy.
const THREADS_MORE: usize = 4;

/// Uses the gateway as in a day, in a few minutes.
#[derive(clap::Args, Debug)]
pub(crate) struct SoakArgs {
    /// How long
    #[arg(long, value_name = "MINUTES", default_value_t = 3.0)]
    minutes: f64,
    /// What lies beneath the event loops
    #[arg(long, value_name = "DRIVER", default_values = ["uring", "portable"],
          value_parser = ["uring", "portable"])]
    driver: Vec<String>,
    /// The kern program; without it, it is built for release
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
    /// Build for debugging: slower, but bugs assert more
    #[arg(long, conflicts_with = "kern")]
    debug: bool,
}

/// Runs the load with each driver; prints a table and a verdict for each.
///
/// # Errors
/// When something cannot be started, an answer is wrong, or something is left behind.
pub(crate) fn run(root: &Path, args: &SoakArgs) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("soak reads /proc: it runs on Linux".to_owned());
    }
    let profile = if args.debug { Profile::Debug } else { Profile::Release };
    let kern = build::kern(root, args.kern.as_deref(), profile)?;
    let fixture = build::program(root, "kern-fixture", Profile::Debug)?;
    let length = Duration::try_from_secs_f64(args.minutes * 60.0)
        .map_err(|error| format!("--minutes: {error}"))?;
    let mut failed = Vec::new();
    for driver in &args.driver {
        let name = format!("soak-{driver}-{}", std::process::id());
        let home = root.join("target").join("soak").join(name);
        let world = World::start(&kern, &fixture, &home, driver)?;
        if let Err(why) = soak(world, driver, length) {
            println!("{driver}: FAILED\n{why}\n");
            failed.push(driver.as_str());
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("the soak failed with {}", failed.join(" and "))),
    }
}

fn soak(mut world: World, driver: &str, length: Duration) -> Result<(), String> {
    let tally = Tally::default();
    // The first look is after the greetings, when nothing is in hand.
    sleep(Duration::from_secs(2));
    let before = world.look()?;
    let mut samples = Vec::new();
    let wrong = load(&world, &tally, length, &mut samples);
    let after = settle(&world, &before);
    report::print(driver, length, &tally, &samples, (&before, &after));
    report::save(&world.samples_file(), &samples)?;
    let mut complaints = wrong?;
    complaints.extend(report::growth(&samples).err());
    complaints.extend(left_behind(&world, &before, &after));
    complaints.extend(world.end().err());
    match complaints.is_empty() {
        true => {
            println!("{driver}: nothing is left behind\n");
            Ok(())
        }
        false => Err(format!("{}\nlog:\n{}", complaints.join("\n"), world.log_tail())),
    }
}

/// Runs the clients and the harm for `length`; what clients complain of.
fn load(
    world: &World,
    tally: &Tally,
    length: Duration,
    samples: &mut Vec<Sample>,
) -> Result<Vec<String>, String> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let people: Vec<_> = (1..=PEOPLE)
            .map(|number| {
                let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                scope.spawn(move || Person { world, tally, seed }.live())
            })
            .collect();
        let (mut killed, mut reloaded) = (started, started);
        let mut outcome = Ok(());
        while started.elapsed() < length && !tally.over.load(Ordering::Relaxed) {
            sleep(LOOK_EVERY);
            outcome = harm(world, tally, &mut killed, &mut reloaded).and_then(|()| {
                let look = world.look()?;
                let sessions = tally.sessions.load(Ordering::Relaxed);
                samples.push(Sample { at: started.elapsed(), sessions, look });
                Ok(())
            });
            if outcome.is_err() {
                break;
            }
        }
        tally.over.store(true, Ordering::Relaxed);
        let complaints = people.into_iter().filter_map(|person| match person.join() {
            Ok(complaint) => complaint,
            Err(_) => Some("a client of the soak panicked".to_owned()),
        });
        let complaints = complaints.collect();
        outcome.map(|()| complaints)
    })
}

fn harm(
    world: &World,
    tally: &Tally,
    killed: &mut Instant,
    reloaded: &mut Instant,
) -> Result<(), String> {
    if killed.elapsed() > KILL_EVERY {
        *killed = Instant::now();
        tally.harm();
        tally.kills.fetch_add(world.kill_victims() as u64, Ordering::Relaxed);
    }
    if reloaded.elapsed() > RELOAD_EVERY {
        *reloaded = Instant::now();
        tally.harm();
        world.configure(tally.reloads.fetch_add(1, Ordering::Relaxed) + 1)?;
    }
    Ok(())
}

/// Waits until all is as it was before; the last look.
fn settle(world: &World, before: &Look) -> Look {
    let until = Instant::now() + REST;
    loop {
        let all_up = world.all_up();
        let look = world.look().unwrap_or_default();
        if (all_up && differences(before, &look).is_empty()) || Instant::now() > until {
            return look;
        }
        sleep(LOOK_EVERY);
    }
}

/// What is more than before, or simply other.
fn differences(before: &Look, after: &Look) -> Vec<String> {
    let mut all = Vec::new();
    let mut check = |what: &str, wrong: bool, before: u64, after: u64| {
        if wrong {
            all.push(format!("{what}: {before} before, {after} after"));
        }
    };
    let (fds, fds_after) = (before.descriptors, after.descriptors);
    check("descriptors", fds_after > fds, fds as u64, fds_after as u64);
    let (some, now) = (before.processes, after.processes);
    check("processes", some != now, some as u64, now as u64);
    let (some, now) = (before.threads, after.threads);
    check("threads", now > some + THREADS_MORE, some as u64, now as u64);
    for (what, some, now) in [
        ("sessions", before.sessions, after.sessions),
        ("requests", before.requests, after.requests),
        ("connections", before.connections, after.connections),
        ("listens", before.listens, after.listens),
        ("questions", before.asks, after.asks),
    ] {
        check(what, some != now, some, now);
    }
    all
}

fn left_behind(world: &World, before: &Look, after: &Look) -> Vec<String> {
    let mut complaints = differences(before, after);
    if !complaints.is_empty() {
        complaints.push(format!("descriptors:\n  {}", world.descriptor_kinds()));
        complaints.push(format!("processes:\n  {}", world.command_lines()));
    }
    complaints
}
