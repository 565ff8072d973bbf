//! Children, their pipes, and signals.

use std::io;
use std::time::Duration;

use kern_reactor::{ChildExit, Command, Signal};

use crate::Case;
use crate::child::{Child, exit, output, start};
use crate::rig::{Rig, pattern};

pub(crate) const CASES: &[Case] = &[
    ("a child gets its input and gives its output", echo),
    ("a child's exit code is reported", exit_code),
    ("the signal that ended a child is reported", exit_signal),
    ("stderr comes on a stream of its own", stderr),
    ("a child has the environment and folder it was given", surroundings),
    ("a program that is not there is an error", missing),
    ("a signal reaches the whole group", group),
    ("a group does not outlive its leader", orphans),
    ("a child that closed its stdin may still write", deaf),
    ("a driver that is dropped kills its children", dropped),
    ("the process's signals are seen", signals),
];

fn command(program: &str, args: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap();
    Command {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).into()).collect(),
        env: vec![("PATH".into(), path)],
        cwd: None,
    }
}

fn shell(rig: &mut Rig, script: &str) -> Child {
    start(rig, &command("sh", &["-c", script]))
}

fn runs(pid: &str) -> bool {
    let ps = std::process::Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output();
    let state = String::from_utf8(ps.unwrap().stdout).unwrap();
    // What is dead but not reaped by its new parent does not run.
    !state.trim().is_empty() && !state.trim_start().starts_with(['Z', 'X'])
}

fn echo(rig: &mut Rig) {
    let child = start(rig, &command("cat", &[]));
    let bytes = pattern(1 << 20, 1);
    rig.send(child.pipes, &bytes);
    rig.expect(child.pipes, &bytes);
    rig.until("sent", |rig| rig.side(child.pipes).sent == 1);
    rig.driver.finish(child.pipes);
    rig.until("ended", |rig| matches!(rig.side(child.pipes).ended, Some(Ok(()))));
    assert_eq!(exit(rig, &child), ChildExit { code: Some(0), signal: None });
    assert!(rig.driver.signal(child.child, Signal::Terminate).is_err());
}

fn exit_code(rig: &mut Rig) {
    let child = shell(rig, "exit 7");
    assert_eq!(exit(rig, &child), ChildExit { code: Some(7), signal: None });
}

fn exit_signal(rig: &mut Rig) {
    let child = shell(rig, "kill -TERM $$");
    assert_eq!(exit(rig, &child), ChildExit { code: None, signal: Some(15) });
}

fn stderr(rig: &mut Rig) {
    let child = shell(rig, "echo out; echo err >&2");
    assert_eq!(output(rig, child.errors), "err\n");
    assert_eq!(output(rig, child.pipes), "out\n");
}

fn surroundings(rig: &mut Rig) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut command = command("sh", &["-c", "pwd; echo $GIVEN; echo ${HOME-none}"]);
    command.env.push(("GIVEN".into(), "yes".into()));
    command.cwd = Some(folder.clone());
    let child = start(rig, &command);
    assert_eq!(output(rig, child.pipes), format!("{}\nyes\nnone\n", folder.display()));
}

fn missing(rig: &mut Rig) {
    let (child, pipes, errors) = (rig.key(), rig.key(), rig.key());
    for program in ["no-such-program-anywhere", "/no/such/path"] {
        let command = command(program, &[]);
        let error = rig.driver.spawn(child, pipes, errors, &command).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{program}");
    }
}

fn group(rig: &mut Rig) {
    let child = shell(rig, "sleep 1000 & echo $!; wait");
    rig.until("its pid", |rig| rig.side(child.pipes).received.ends_with(b"\n"));
    let grandchild = String::from_utf8(rig.side(child.pipes).received.clone()).unwrap();
    assert!(runs(&grandchild));
    rig.driver.signal(child.child, Signal::Kill).unwrap();
    assert_eq!(exit(rig, &child), ChildExit { code: None, signal: Some(9) });
    rig.until("the grandchild ended", |_| !runs(&grandchild));
}

fn orphans(rig: &mut Rig) {
    let child = shell(rig, "sleep 1000 & echo $!");
    let grandchild = output(rig, child.pipes);
    assert_eq!(exit(rig, &child), ChildExit { code: Some(0), signal: None });
    rig.until("the grandchild ended", |_| !runs(&grandchild));
}

fn deaf(rig: &mut Rig) {
    let child = shell(rig, "exec 0<&-; echo closed; sleep 0.2; echo bye");
    rig.until("closed", |rig| rig.side(child.pipes).received.starts_with(b"closed\n"));
    rig.send(child.pipes, b"anybody there?");
    rig.until("sent", |rig| rig.side(child.pipes).sent == 1);
    let error = rig.side(child.pipes).send_error.take().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(output(rig, child.pipes), "closed\nbye\n");
}

fn dropped(rig: &mut Rig) {
    let child = shell(rig, "echo $$; exec sleep 1000");
    rig.until("its pid", |rig| rig.side(child.pipes).received.ends_with(b"\n"));
    let pid = String::from_utf8(rig.side(child.pipes).received.clone()).unwrap();
    let name = rig.driver.name();
    let choice = match name {
        "portable" => kern_reactor::driver::Choice::Portable,
        _ => kern_reactor::driver::Choice::Uring,
    };
    rig.driver = kern_reactor::driver::choose(choice).unwrap();
    rig.until("the child ended", |_| !runs(&pid));
}

fn signals(rig: &mut Rig) {
    rig.driver.watch_signals().unwrap();
    let all = [
        (rustix::process::Signal::HUP, Signal::Hangup),
        (rustix::process::Signal::INT, Signal::Interrupt),
        (rustix::process::Signal::TERM, Signal::Terminate),
    ];
    for (number, signal) in all {
        rustix::process::kill_process(rustix::process::getpid(), number).unwrap();
        rig.until("signalled", |rig| rig.signals.contains(&signal));
    }
    rig.wait(Duration::ZERO);
    assert_eq!(rig.signals.len(), 3);
}
