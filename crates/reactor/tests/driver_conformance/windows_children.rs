//! Children where there is no shell: what `cmd` alone can show. Signals are not seen here.

use std::io;

use kern_reactor::{ChildExit, Command, Signal};

use crate::Case;
use crate::child::{Child, exit, output, start};
use crate::rig::Rig;

pub(crate) const CASES: &[Case] = &[
    ("a child gets its input and gives its output", echo),
    ("a child's exit code is reported", exit_code),
    ("stderr comes on a stream of its own", stderr),
    ("a child has the environment and folder it was given", surroundings),
    ("a program that is not there is an error", missing),
    ("a signal ends the child", signal),
    ("a driver that is dropped kills its children", dropped),
];

fn command(program: &str, args: &[&str]) -> Command {
    let known = |name: &str| Some((name.into(), std::env::var(name).ok()?));
    Command {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).into()).collect(),
        env: ["PATH", "SystemRoot"].into_iter().filter_map(known).collect(),
        cwd: None,
    }
}

fn script(rig: &mut Rig, words: &[&str]) -> Child {
    start(rig, &command("cmd.exe", &[&["/d", "/c"], words].concat()))
}

fn echo(rig: &mut Rig) {
    let child = start(rig, &command("cmd.exe", &["/d", "/q"]));
    for line in 0..20 {
        let wanted = format!("line {line}\r\n");
        rig.send(child.pipes, format!("@echo {wanted}").as_bytes());
        rig.until("answered", |rig| {
            String::from_utf8_lossy(&rig.side(child.pipes).received).contains(&wanted)
        });
    }
    rig.driver.finish(child.pipes);
    rig.until("ended", |rig| matches!(rig.side(child.pipes).ended, Some(Ok(()))));
    assert_eq!(exit(rig, &child), ChildExit { code: Some(0), signal: None });
}

fn exit_code(rig: &mut Rig) {
    let child = script(rig, &["exit", "7"]);
    assert_eq!(exit(rig, &child), ChildExit { code: Some(7), signal: None });
}

fn stderr(rig: &mut Rig) {
    let child = script(rig, &["echo", "out&", "echo", "err>&2"]);
    assert_eq!(output(rig, child.errors).trim(), "err");
    assert_eq!(output(rig, child.pipes).trim(), "out");
}

fn surroundings(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let mut command = command("cmd.exe", &["/d", "/c", "cd&", "echo", "%GIVEN%", "%USERNAME%"]);
    command.env.push(("GIVEN".into(), "yes".into()));
    command.cwd = Some(folder.path().to_owned());
    let child = start(rig, &command);
    let said = output(rig, child.pipes);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert!(lines[0].ends_with(name), "{said}");
    assert_eq!(lines[1], "yes %USERNAME%");
}

fn missing(rig: &mut Rig) {
    let (child, pipes, errors) = (rig.key(), rig.key(), rig.key());
    for program in ["no-such-program-anywhere", "C:\\no\\such\\path.exe"] {
        let command = command(program, &[]);
        let error = rig.driver.spawn(child, pipes, errors, &command).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{program}");
    }
}

fn signal(rig: &mut Rig) {
    // Waits for input that does not come.
    let child = start(rig, &command("cmd.exe", &["/d", "/q"]));
    rig.driver.signal(child.child, Signal::Terminate).unwrap();
    let ended = exit(rig, &child);
    assert_ne!(ended.code, Some(0));
    assert!(rig.driver.signal(child.child, Signal::Kill).is_err());
}

fn dropped(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let held = folder.path().join("held");
    std::fs::create_dir(&held).unwrap();
    let mut command = command("cmd.exe", &["/d", "/q"]);
    command.cwd = Some(held.clone());
    start(rig, &command);
    rig.driver = kern_reactor::driver::choose(kern_reactor::driver::Choice::Portable).unwrap();
    // A folder that a process stands in cannot be removed.
    rig.until("the child ended", |_| std::fs::remove_dir(&held).is_ok());
}
