//! Does a server on Windows end when it should, with all it started?
//!
//! A server that waits holds its stdout, so the end of that pipe is the end of all who had it.
#![cfg(windows)]
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Waits for input.
const WAITER: &[&str] = &["cmd.exe", "/d", "/q"];

fn start(program: &str, words: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn keep_for(parent: u32, server: &[&str]) -> Child {
    let parent = parent.to_string();
    let own = [kern_jail::SUBCOMMAND, "--parent", &parent, "--"];
    start(env!("CARGO_BIN_EXE_kern-jail-test"), &[&own, server].concat())
}

fn keep(server: &[&str]) -> Child {
    keep_for(std::process::id(), server)
}

/// How the keeper ended, once everybody who had its stdout is gone; and its stderr.
fn end(mut keeper: Child) -> (ExitStatus, String) {
    let mut stdout = keeper.stdout.take().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        tell.send(()).unwrap();
    });
    told.recv_timeout(PATIENCE).expect("stdout is held");
    let mut text = String::new();
    keeper.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (keeper.wait().unwrap(), text)
}

#[test]
fn a_servers_code_is_passed_on_and_a_failed_start_is_told() {
    for (server, code, said) in [
        (&["cmd.exe", "/d", "/c", "exit 0"][..], 0, ""),
        (&["cmd.exe", "/d", "/c", "exit 7"], 7, ""),
        (&["cmd.exe", "/d", "/c", "exit 512"], 255, ""),
        (&["no-such-program"], 127, "no-such-program"),
    ] {
        let (status, text) = end(keep(server));
        assert_eq!(status.code(), Some(code), "{server:?}: {text}");
        assert!(text.contains(said) && text.is_empty() == said.is_empty(), "{server:?}: {text}");
    }
}

#[test]
fn a_server_ends_with_its_keeper() {
    let mut keeper = keep(WAITER);
    std::thread::sleep(Duration::from_millis(500));
    assert!(keeper.try_wait().unwrap().is_none());
    keeper.kill().unwrap();
    let held_open = keeper.stdin.take();
    end(keeper);
    drop(held_open);
}

#[test]
fn a_server_ends_with_the_process_it_is_kept_for() {
    let mut parent = start(WAITER[0], &WAITER[1..]);
    let mut keeper = keep_for(parent.id(), WAITER);
    std::thread::sleep(Duration::from_millis(500));
    assert!(keeper.try_wait().unwrap().is_none());
    let held_open = keeper.stdin.take();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let (status, text) = end(keeper);
    assert_eq!(status.code(), Some(125), "{text}");
    drop(held_open);
}

#[test]
fn what_a_server_leaves_behind_ends_with_it() {
    let mut keeper = keep(&["cmd.exe", "/d", "/c", "start /b cmd.exe /d /q & exit 3"]);
    let held_open = keeper.stdin.take();
    let (status, text) = end(keeper);
    drop(held_open);
    assert_eq!(status.code(), Some(3), "{text}");
}
