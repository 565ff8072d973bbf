//! How is a server kept, from before it starts until the last of its descendants is reaped?
//!
//! Invariants: signals are handled only inside `Signals::wait`, so between two waits nothing is
//! reaped and a child's id stays its own; the loop ends only when there is no child left, or
//! when killing was given up.

mod descendants;
mod parent;
mod server;
mod signals;

use std::io;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::course::{Action, Course, Event};
use crate::error::Error;
use crate::order::Order;

use descendants::Descendants;
use parent::Parent;
use signals::Signals;

/// Keeps the server of `order`. Returns the code to exit with.
pub(crate) fn keep(order: &Order) -> Result<u8, Error> {
    server::close_inherited();
    // `kern` may have started us as /proc/self/exe, and lists of processes would say "exe".
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"kern-keep");
    let signals = Signals::hold().map_err(|cause| Error::System { what: "hold signals", cause })?;
    // Fails only for the leader of a session, which leads its group already.
    let _ = rustix::process::setpgid(None, None);
    let descendants = if order.by_group { None } else { Descendants::adopt() };
    let parent = Parent::watch(order.parent).ok_or(Error::ParentGone(order.parent))?;
    let server = server::start(order)?;
    let mut keeper =
        Keeper { signals, parent, descendants, server, code: None, course: Course::new() };
    Ok(keeper.run())
}

struct Keeper {
    signals: Signals,
    parent: Parent,
    /// All who stem from the server, where the system lets us inherit them.
    descendants: Option<Descendants>,
    server: Pid,
    /// The server's end as an exit code.
    code: Option<u8>,
    course: Course,
}

impl Keeper {
    fn run(&mut self) -> u8 {
        let (mut parent_gone, mut server_ended) = (false, false);
        loop {
            let someone_left = self.reap();
            if self.signals.take_told_to_end() {
                self.step(Event::ToldToEnd);
            }
            if !parent_gone && self.parent.is_gone() {
                parent_gone = true;
                self.step(Event::ParentGone);
            }
            if !someone_left {
                return self.leave(parent_gone);
            }
            if !server_ended && self.code.is_some() {
                server_ended = true;
                self.step(Event::ServerEnded);
            }
            if self.step(Event::Tick) == Action::GiveUp {
                self.signal_group(Signal::KILL);
            }
            let now = Instant::now();
            let watch = if parent_gone { None } else { Some(&self.parent) };
            let wake_at = [self.course.wake_at(now), watch.and_then(|it| it.check_at(now))];
            self.signals.wait(watch.and_then(Parent::fd), wake_at.into_iter().flatten().min());
        }
    }

    /// Reaps all who ended. False if there is no child any more.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((id, status))) if id == self.server => self.code = Some(exit_code(status)),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn step(&mut self, event: Event) -> Action {
        let action = self.course.on(event, Instant::now());
        match action {
            Action::Wait | Action::GiveUp => {}
            Action::Terminate { but_group } => self.signal(Signal::TERM, but_group),
            Action::Kill => self.signal(Signal::KILL, false),
        }
        action
    }

    fn signal(&self, signal: Signal, but_group: bool) {
        match &self.descendants {
            // A list that cannot be read now is read again at the next turn.
            Some(descendants) => drop::<io::Result<()>>(descendants.signal(signal, but_group)),
            None if !but_group => self.signal_group(signal),
            None => {}
        }
    }

    /// Signals the keeper's own group. SIGTERM is held back here; SIGKILL ends the keeper too.
    fn signal_group(&self, signal: Signal) {
        // The keeper is in its group, so somebody is there.
        let _ = rustix::process::kill_current_process_group(signal);
    }

    /// The last act, with no child left. Who left the server without being inherited may still
    /// be in the group: `kern` kills that when it reaps the keeper, so only without it must we.
    fn leave(&self, parent_gone: bool) -> u8 {
        if self.descendants.is_none() && parent_gone {
            self.signal_group(Signal::KILL);
        }
        self.code.unwrap_or(KILLED)
    }
}

/// 128 + SIGKILL.
const KILLED: u8 = 137;

/// A status in the shell's words: the code, or 128 + the signal.
fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => unreachable!("only ends are waited for"),
    };
    // Codes have eight bits, and signals end at 64.
    u8::try_from(code).unwrap_or(u8::MAX)
}
