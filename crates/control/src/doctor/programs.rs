//! Which of the programs that servers are started with are here, and in which version?
//!
//! Invariant: a program that does not answer within [`ANSWER_TIMEOUT`] is ended with all it started.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::program::find_program;
use crate::show::printable;
use crate::surroundings::{Os, Surroundings};

/// How long a program may take to tell its version.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest version shown, characters.
const VERSION_MAX: usize = 60;

/// What is known of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Here, and this is what it says of itself.
    Version(String),
    /// Here, but it does not say.
    Mute(String),
    /// Not on `PATH`.
    Absent,
}

/// Asks all of `names` at once, in the order given.
pub(super) fn versions(names: &[&str], around: &Surroundings) -> Vec<Found> {
    thread::scope(|scope| {
        let asking: Vec<_> =
            names.iter().map(|name| scope.spawn(move || version(name, around))).collect();
        let lost = || Found::Mute("it could not be asked".to_owned());
        asking.into_iter().map(|asked| asked.join().unwrap_or_else(|_| lost())).collect()
    })
}

fn version(name: &str, around: &Surroundings) -> Found {
    let Some(program) = on_path(name, around) else { return Found::Absent };
    match answer(&program, around) {
        Ok(text) => Found::Version(text),
        Err(why) => Found::Mute(format!("{}: {why}", program.display())),
    }
}

/// Where `name` is on `PATH`.
pub(super) fn on_path(name: &str, around: &Surroundings) -> Option<PathBuf> {
    let path = around.variable("PATH").or_else(|| around.variable("Path"))?;
    let suffixes = around.variable("PATHEXT").unwrap_or(".COM;.EXE;.BAT;.CMD");
    let suffixes = if around.os == Os::Windows { suffixes } else { "" };
    find_program(name, path, Path::new("/"), around.os, suffixes)
}

fn answer(program: &Path, around: &Surroundings) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .env_clear()
        .envs(around.base_env())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while !has_ended(&mut child).map_err(|error| error.to_string())? {
        if Instant::now() >= deadline {
            end(&mut child).map_err(|error| error.to_string())?;
            return Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    // What it left behind could hold the pipe open for ever.
    let status = end(&mut child).map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("`--version` failed: {status}"));
    }
    first_line(&mut child).map_err(|error| error.to_string())
}

/// The first line the ended child wrote.
fn first_line(child: &mut Child) -> io::Result<String> {
    let Some(output) = child.stdout.take() else { return Ok(String::new()) };
    let mut text = Vec::new();
    output.take(4096).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(printable(text.lines().next().unwrap_or_default().trim())
        .chars()
        .take(VERSION_MAX)
        .collect())
}

/// Whether the child has ended. It is not reaped yet, so its number still names its group.
#[cfg(unix)]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(id) = group(child) else { return Ok(true) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(id), options)?.is_some())
}

#[cfg(not(unix))]
fn has_ended(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Ends what is left of the child's group and reaps the child.
#[cfg(unix)]
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(id) = group(child) {
        // Nobody left to end is what is wanted.
        let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
    }
    child.wait()
}

#[cfg(not(unix))]
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // Refused for one that has ended, which is what is wanted.
    drop(child.kill());
    child.wait()
}

/// The child's process group, which it leads.
#[cfg(unix)]
fn group(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_that_hangs_or_lies_does_not_hold_up_the_doctor() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, script) in [
            ("good", "echo v1.2.3; echo more"),
            ("hangs", "sleep 60"),
            ("leaves", "sleep 60 & echo 1"),
            ("fails", "exit 3"),
            ("paints", "printf '\\033[2Jx'"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        }
        let path = format!("{}:/bin:/usr/bin", folder.path().display());
        let around = Surroundings::fixture().with_variable("PATH", &path);
        let start = Instant::now();
        let names = ["good", "hangs", "leaves", "fails", "paints", "absent-program"];
        let found = versions(&names, &around);
        assert!(start.elapsed() < ANSWER_TIMEOUT * 3);
        assert_eq!(found[0], Found::Version("v1.2.3".into()));
        assert!(matches!(&found[1], Found::Mute(why) if why.ends_with("no answer within 3 s")));
        assert_eq!(found[2], Found::Version("1".into()));
        assert!(matches!(&found[3], Found::Mute(_)));
        assert_eq!(found[4], Found::Version("\\u{1b}[2Jx".into()));
        assert_eq!(found[5], Found::Absent);
    }
}
