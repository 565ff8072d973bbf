//! Starts the real program in a world of its own and speaks with it: what all end-to-end tests
//! share.
//!
//! Invariants: every test has its own folder, which is also the home of `kern` and of all it
//! starts, so its processes can be found by their environment; what a test starts is killed when
//! it ends.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

pub mod client;
pub mod http;
pub mod lines;
pub mod process;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What lies beneath the event loops.
pub type Driver = &'static str;

/// Runs a test once with each driver, at the same time.
pub fn both(test: impl Fn(Driver) + Sync) {
    std::thread::scope(|scope| {
        let runs = ["portable", "uring"].filter(usable).map(|driver| {
            let test = &test;
            let thread = std::thread::Builder::new().name(format!("{}-{driver}", name()));
            (driver, thread.spawn_scoped(scope, move || test(driver)).unwrap())
        });
        for (driver, run) in runs {
            assert!(run.join().is_ok(), "failed with the driver {driver}");
        }
    });
}

trait Filter {
    type Item;
    fn filter(self, keep: impl Fn(&Self::Item) -> bool) -> Vec<Self::Item>;
    fn map<R>(self, make: impl FnMut(Self::Item) -> R) -> Vec<R>;
}

impl<const N: usize> Filter for [Driver; N] {
    type Item = Driver;
    fn filter(self, keep: impl Fn(&Driver) -> bool) -> Vec<Driver> {
        self.into_iter().filter(keep).collect()
    }
    fn map<R>(self, make: impl FnMut(Driver) -> R) -> Vec<R> {
        self.into_iter().map(make).collect()
    }
}
