//! How does the ring see children and signals?
//!
//! A child's end is a poll on its pidfd, then one `waitid`: it is rare, needs no memory of ours in
//! the kernel, and works on every kernel the ring works on. Signals arrive through the handler that
//! all Unix drivers share: a signalfd would need them blocked in every thread of the process,
//! including those started before.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kern_terms::Key;

use super::Uring;
use super::ring::Done;
use super::stream::{End, Ends};
use super::token::{Op, Token};
use crate::driver::unix::process::{self, Process};
use crate::driver::unix::signal::Signals;
use crate::driver::{Completion, Socket};
use crate::event::{ChildExit, Command, Signal};

/// A running child.
pub(super) struct Running {
    name: Key,
    process: Process,
    /// Readable when it ended.
    exit: OwnedFd,
}

impl Uring {
    /// Starts a child.
    pub(super) fn start_child(
        &mut self,
        name: Key,
        pipes: Key,
        errors: Key,
        command: &Command,
    ) -> io::Result<u32> {
        let started = process::spawn(command)?;
        let output = Some(End::new(started.stdin)?);
        let input = Some(End::new(started.stdout)?);
        let stderr = Some(End::new(started.stderr)?);
        let id = started.process.id();
        self.open(pipes, Ends::Apart { input, output });
        self.open(errors, Ends::Apart { input: stderr, output: None });
        self.keep_child(Running { name, process: started.process, exit: started.exit });
        Ok(id)
    }

    /// Starts a child with a socket as its stdin; its stdout and stderr are one stream.
    pub(super) fn start_child_on(
        &mut self,
        name: Key,
        errors: Key,
        stdin: Socket,
        command: &Command,
    ) -> io::Result<u32> {
        let Socket::Unix(stdin) = stdin else { return Err(io::ErrorKind::Unsupported.into()) };
        let started = process::spawn_on(command, stdin.into())?;
        let output = Some(End::new(started.output)?);
        let id = started.process.id();
        self.open(errors, Ends::Apart { input: output, output: None });
        self.keep_child(Running { name, process: started.process, exit: started.exit });
        Ok(id)
    }

    fn keep_child(&mut self, running: Running) {
        let entry = self.children.bind(running.name, running);
        self.watch_child(entry);
    }

    fn watch_child(&mut self, entry: Key) {
        let running = self.children.get(entry).expect("removed only when it ended");
        let token = Token::new(Op::Exit, entry);
        self.ring.poll(running.exit.as_raw_fd(), libc::POLLIN, false, token);
    }

    /// A child seems to have ended.
    pub(super) fn exited(&mut self, entry: Key, out: &mut Vec<Completion>) {
        let running = self.children.get(entry).expect("removed only when it ended");
        let exit = match running.process.try_reap() {
            Ok(None) => return self.watch_child(entry),
            Ok(Some(exit)) => exit,
            // Somebody else reaped it: it ended, nobody knows how.
            Err(_) => ChildExit { code: None, signal: None },
        };
        let name = running.name;
        self.children.unbind(name);
        self.children.remove(entry);
        out.push(Completion::Exited { child: name, exit });
    }

    /// Signals a child's group.
    pub(super) fn signal_child(&mut self, name: Key, signal: Signal) -> io::Result<()> {
        let entry = self.children.find(name);
        match entry.and_then(|entry| self.children.get(entry)) {
            Some(running) => running.process.signal(signal),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Takes the process's signals over.
    pub(super) fn start_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Signals::watch()?);
            self.poll_signals();
        }
        Ok(())
    }

    fn poll_signals(&mut self) {
        let Some(signals) = &self.signals else { return };
        let fd = signals.fd().as_fd().as_raw_fd();
        self.ring.poll(fd, libc::POLLIN, true, Token::own(Op::Signals));
    }

    /// Signals came.
    pub(super) fn signalled(&mut self, done: Done, out: &mut Vec<Completion>) {
        if let Some(signals) = &mut self.signals {
            out.extend(signals.take().map(Completion::Signal));
        }
        if !done.more {
            self.poll_signals();
        }
    }
}
