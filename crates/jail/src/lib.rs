//! The cage: a small program that starts a server, and leaves nothing behind when it ends.
//!
//! `kern` starts each stdio server through itself: `kern __keep --parent PID -- PROGRAM ARGS…`.
//! That process, the *keeper*, starts the program, inherits whatever it leaves behind, and ends
//! when the last of it has ended.
//!
//! Invariants:
//! - the server has the keeper's stdin, stdout and stderr and no other descriptor; the keeper
//!   holds none of them once the server runs, so a closed pipe is seen at once;
//! - the keeper outlives the server and, where there are subreapers (Linux), its descendants;
//! - it ends them when it is told to, when the server ends, and when `kern` is gone, in bounded
//!   time (see `limits`), and never waits busily;
//! - it is one thread, and never touches the network.
//!
//! On Windows a job takes the place of subreapers and groups: the system ends the server and its
//! descendants with the keeper, at once and without asking them first.
//!
//! What it does not do: a SIGKILL to the keeper itself ends the server (Linux), but processes
//! that left the keeper's process group live on. End a keeper with SIGTERM.
//!
//! Reading order: `order`, `course`, then `unix` or `windows`.
// Where nobody can be followed, much is left unused.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

mod course;
mod error;
mod limits;
mod order;

#[cfg(unix)]
#[path = "unix/mod.rs"]
mod platform;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod platform;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use order::Order;
pub use order::{SUBCOMMAND, arguments};

/// Starts a server and keeps it until it and all its descendants have ended.
///
/// `args` is what follows [`SUBCOMMAND`] on the command line. Call it first in `main`: it closes
/// every descriptor above 2, changes signal dispositions, and forks, so no other thread may run.
///
/// The exit code is the server's own; 128 + N where signal N ended it; 127 where the program was
/// not found and 126 where it may not be run (POSIX.1-2024, XCU 2.8.2), 125 where the keeper
/// itself failed, 2 for a wrong command line; the last four with one line on stderr.
pub fn keep(args: Vec<OsString>) -> ExitCode {
    match Order::parse(args).and_then(|order| platform::keep(&order)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // There is nobody else to tell that stderr is closed.
            let _ = writeln!(std::io::stderr(), "kern: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
