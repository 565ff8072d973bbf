//! Does every driver keep the rules of `driver`?
//!
//! One suite of cases, each run against a fresh driver; no descriptor may be left over. The simulated
//! driver takes the cases that need no real socket, child or thread; its own suite has the rest.
#![allow(clippy::unwrap_used)]

mod child;
#[cfg_attr(windows, path = "windows_children.rs")]
mod children;
mod rig;
mod streams;
#[cfg(unix)]
mod unix_sockets;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use kern_reactor::driver::sim::{Faults, SimDriver, World};
use kern_reactor::driver::{Choice, choose, probe_uring};

use rig::Rig;

type Case = (&'static str, fn(&mut Rig));

/// Descriptors and signals are the whole process's, so drivers take turns.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn check(choice: Choice) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What a process opens once and keeps.
    drop(Rig::new(choose(choice).unwrap()));
    let cases = [streams::CASES, children::CASES].concat();
    #[cfg(unix)]
    let cases = [cases, unix_sockets::CASES.to_vec()].concat();
    for (name, case) in cases {
        let before = open_descriptors();
        let started = Instant::now();
        println!("{choice:?}: {name}");
        let mut rig = Rig::new(choose(choice).unwrap());
        case(&mut rig);
        drop(rig);
        let patience = Instant::now() + Duration::from_secs(5);
        while open_descriptors() > before {
            assert!(Instant::now() < patience, "{name}: descriptors are left over");
            std::thread::sleep(Duration::from_millis(5));
        }
        println!("{choice:?}: {name}: {:?}", started.elapsed());
    }
}

#[test]
fn the_portable_driver_keeps_the_rules() {
    check(Choice::Portable);
}

#[test]
fn the_uring_driver_keeps_the_rules() {
    match probe_uring() {
        Ok(()) => check(Choice::Uring),
        Err(why) => println!("skipped, there is no io_uring here: {why}"),
    }
}

/// Cases whose other side is the real system.
const REAL_ONLY: [&str; 3] = [
    "a reset is reported as an error",
    "a closed listener accepts nothing",
    "a wake from another thread ends the sleep",
];

#[test]
fn the_simulated_driver_keeps_the_rules() {
    for (name, case) in streams::CASES.iter().filter(|(name, _)| !REAL_ONLY.contains(name)) {
        println!("Simulated: {name}");
        case(&mut Rig::new(Box::new(SimDriver::alone(&World::new(7, Faults::none())))));
    }
}
