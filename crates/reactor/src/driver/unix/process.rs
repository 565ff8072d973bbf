//! How is a child started, watched and ended?
//!
//! Invariants: a child leads a process group of its own; its group is signalled only while the
//! leader is not reaped, so the number cannot have passed to someone else; whatever is left of the
//! group is killed before the leader is reaped.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal as Number, WaitId, WaitIdOptions};

use super::set_nonblocking;
use crate::event::{ChildExit, Command, Signal};

/// A running child. Dropping it kills its group and reaps it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    reaped: bool,
}

/// The parent's ends of a child's pipes, and what tells of its end.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Becomes readable when the child has ended.
    pub(crate) exit: OwnedFd,
}

/// A child with a socket as its stdin.
#[derive(Debug)]
pub(crate) struct StartedOn {
    pub(crate) process: Process,
    /// Its stdout and stderr.
    pub(crate) output: OwnedFd,
    /// Becomes readable when the child has ended.
    pub(crate) exit: OwnedFd,
}

/// How `command` is started, in a group of its own.
fn prepare(command: &Command) -> std::process::Command {
    let mut builder = std::process::Command::new(find(command));
    builder.args(&command.args).env_clear();
    builder.envs(command.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &command.cwd {
        builder.current_dir(cwd);
    }
    builder.process_group(0);
    builder
}

/// Starts `command`.
pub(crate) fn spawn(command: &Command) -> io::Result<Started> {
    let mut builder = prepare(command);
    builder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = builder.spawn()?;
    let stdin = OwnedFd::from(child.stdin.take().expect("stdin is piped"));
    let stdout = OwnedFd::from(child.stdout.take().expect("stdout is piped"));
    let stderr = OwnedFd::from(child.stderr.take().expect("stderr is piped"));
    let process = Process { child, reaped: false };
    for fd in [&stdin, &stdout, &stderr] {
        set_nonblocking(fd)?;
    }
    let exit = watch_exit(process.pid())?;
    Ok(Started { process, stdin, stdout, stderr, exit })
}

/// Starts `command` with `stdin`; what it writes comes out of one pipe.
pub(crate) fn spawn_on(command: &Command, stdin: OwnedFd) -> io::Result<StartedOn> {
    let (output, writer) = io::pipe()?;
    let mut builder = prepare(command);
    builder.stdin(stdin).stdout(writer.try_clone()?).stderr(writer);
    let child = builder.spawn()?;
    let process = Process { child, reaped: false };
    let output = OwnedFd::from(output);
    set_nonblocking(&output)?;
    let exit = watch_exit(process.pid())?;
    Ok(StartedOn { process, output, exit })
}

impl Process {
    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Signals the whole group.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.reaped {
            return Err(io::ErrorKind::NotFound.into());
        }
        let number = match signal {
            Signal::Hangup => Number::HUP,
            Signal::Interrupt => Number::INT,
            Signal::Terminate => Number::TERM,
            Signal::Kill => Number::KILL,
        };
        Ok(rustix::process::kill_process_group(self.pid(), number)?)
    }

    /// Reaps the child if it ended, after killing what is left of its group.
    pub(crate) fn try_reap(&mut self) -> io::Result<Option<ChildExit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if rustix::process::waitid(WaitId::Pid(self.pid()), options)?.is_none() {
            return Ok(None);
        }
        // Fails only where nobody is left.
        let _ = self.signal(Signal::Kill);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(Some(ChildExit { code: status.code(), signal: status.signal() }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.signal(Signal::Kill);
            // Killed, so this does not wait for long.
            let _ = self.child.wait();
        }
    }
}

/// Where the program lies: as given if it names a path, else the first match on the child's own
/// `PATH`, or on ours where it has none.
fn find(command: &Command) -> PathBuf {
    let program = Path::new(&command.program);
    if command.program.contains('/') {
        return program.to_path_buf();
    }
    let own = command.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = match own {
        Some((_, value)) => Some(value.into()),
        None => std::env::var_os("PATH"),
    };
    path.iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(program))
        .find(|file| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        })
        .unwrap_or_else(|| program.to_path_buf())
}

/// A descriptor that becomes readable when `pid` ends.
fn watch_exit(pid: Pid) -> io::Result<OwnedFd> {
    match open_pidfd(pid) {
        Some(fd) => Ok(fd),
        None => watch_exit_by_thread(pid),
    }
}

#[cfg(target_os = "linux")]
fn open_pidfd(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_pidfd(_pid: Pid) -> Option<OwnedFd> {
    None
}

/// A thread waits (without reaping) and closes a pipe when the child ended.
fn watch_exit_by_thread(pid: Pid) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(reader.as_fd())?;
    std::thread::Builder::new().name("kern-child".into()).spawn(move || {
        let _ended_when_dropped = writer;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options)
        {
        }
    })?;
    Ok(reader.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_child_that_ended_is_noticed_where_there_are_no_pidfds() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let watch = watch_exit_by_thread(Pid::from_child(&child)).unwrap();
        rustix::fs::fcntl_setfl(&watch, rustix::fs::OFlags::empty()).unwrap();
        let mut rest = Vec::new();
        std::fs::File::from(watch).read_to_end(&mut rest).unwrap();
        assert!(child.try_wait().unwrap().is_some_and(|status| status.success()));
    }
}
