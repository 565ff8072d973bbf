//! How do simulated children start, misbehave and end?
//!
//! A child is an actor with a process id, a pair of pipes (its standard input and output, one
//! connection) and one more for standard error. Invariants: a child that was started is reported as
//! ended exactly once to the core that started it, if that still lives; the output of a child that
//! ended still arrives.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use kern_terms::Key;

use super::actor::{Actor, Link};
use super::network::{ActorId, ConnectionId, Owner};
use super::world::{Call, Due, State};
use crate::event::{ChildExit, Command, Signal};

/// A simulated process id.
pub(super) type Pid = u32;
/// What makes a program's actor.
pub(super) type Program = dyn Fn(&Command) -> Rc<RefCell<dyn Actor>>;

/// How a child misbehaves; drawn when it starts.
#[derive(Clone, Copy, Debug, Default)]
struct Vices {
    crash_at: Option<u64>,
    mute_at: Option<u64>,
    deaf: bool,
    garbage: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) core: usize,
    pub(super) child: Key,
    pub(super) actor: ActorId,
    pub(super) stdio: ConnectionId,
    pub(super) stderr: ConnectionId,
    pub(super) exit: Option<ChildExit>,
    vices: Vices,
    output_bytes: u64,
    at_line_start: bool,
}

impl Process {
    /// Whether it ignores what asks it to end.
    pub(super) fn is_deaf(&self) -> bool {
        self.vices.deaf
    }
}

/// Lines that are no messages, as real servers print them.
const GARBAGE: [&[u8]; 6] = [
    b"Server listening on stdio\n",
    b"\x1b[32mready\x1b[0m\n",
    b"\n",
    b"{\"level\":\"info\",\"msg\":\"hello\"}\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":\n",
    b"\xff\xfe\x00debug\n",
];

impl State {
    /// Starts a program for a core.
    pub(super) fn spawn(
        &mut self,
        core: usize,
        [child, pipes, errors]: [Key; 3],
        command: &Command,
    ) -> io::Result<Pid> {
        let Some(make) = self.programs.get(&command.program).cloned() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.misfortune.chance(self.faults.spawn_fails_ppm) {
            self.note("spawn fails", core as u64, 0);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let actor = self.enlist(make(command));
        let stdio = self.pipe(core, pipes, actor);
        let stderr = self.pipe(core, errors, actor);
        let pid = 1000 + self.next_id() as Pid;
        let vices = self.draw_vices();
        let process = Process {
            core,
            child,
            actor,
            stdio,
            stderr,
            exit: None,
            vices,
            output_bytes: 0,
            at_line_start: true,
        };
        self.processes.insert(pid, process);
        self.note("spawn", pid.into(), actor as u64);
        self.calls.push_back((actor, Call::Started));
        let link = Link { connection: stdio, side: 1 };
        self.calls.push_back((actor, Call::Opened { link }));
        Ok(pid)
    }

    fn draw_vices(&mut self) -> Vices {
        let (faults, rng) = (&self.faults, &mut self.misfortune);
        let mut at = |ppm| rng.chance(ppm).then(|| rng.size(1, 20_000));
        let (crash_at, mute_at) = (at(faults.crash_ppm), at(faults.mute_ppm));
        let (deaf, garbage) = (rng.chance(faults.deaf_ppm), rng.chance(faults.garbage_ppm));
        Vices { crash_at, mute_at, deaf, garbage }
    }

    pub(super) fn pid_of(&self, actor: ActorId) -> Option<Pid> {
        let mut living = self.processes.iter().filter(|(_, process)| process.exit.is_none());
        living.find(|(_, process)| process.actor == actor).map(|(pid, _)| *pid)
    }

    /// What a child writes, as far as its vices let it.
    pub(super) fn child_output(&mut self, pid: Pid, link: Link, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let rng = &mut self.misfortune;
        let mut output = Vec::with_capacity(bytes.len());
        if process.vices.garbage && process.at_line_start && rng.below(4) == 0 {
            output.extend_from_slice(rng.pick(&GARBAGE).expect("there is garbage"));
        }
        output.extend_from_slice(bytes);
        process.at_line_start = bytes.last().is_none_or(|last| *last == b'\n');
        let before = process.output_bytes;
        process.output_bytes += output.len() as u64;
        let limits = [process.vices.crash_at, process.vices.mute_at];
        if let Some(limit) = limits.into_iter().flatten().min() {
            output.truncate(limit.saturating_sub(before) as usize);
        }
        let crashes = process.vices.crash_at.is_some_and(|limit| process.output_bytes >= limit);
        self.write(link.connection, link.side, &output);
        if crashes {
            let at = self.now + 1_000;
            self.schedule(at, Due::Crash { pid });
        }
    }

    pub(super) fn child_error(&mut self, pid: Pid, bytes: &[u8]) {
        if let Some(process) = self.processes.get(&pid) {
            let stderr = process.stderr;
            self.write(stderr, 1, bytes);
        }
    }

    /// Ends a child: its actor, its ends of the pipes; its parent hears of it a little later, before
    /// or after the last of its output.
    pub(super) fn end_child(&mut self, pid: Pid, exit: ChildExit) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.exit.is_some() {
            return;
        }
        process.exit = Some(exit);
        let (actor, ends) = (process.actor, [process.stdio, process.stderr]);
        self.actors[actor] = None;
        self.note("end of child", pid.into(), exit.signal.or(exit.code).unwrap_or(0) as u64);
        for connection in ends {
            self.close(connection, 1);
        }
        let links: Vec<_> = self.links_of(actor);
        for link in links {
            self.close(link.connection, link.side);
        }
        let at = self.now + self.network.size(1_000, 2_000_000);
        self.schedule(at, Due::Exited { pid });
    }

    /// Every link an actor holds.
    fn links_of(&self, actor: ActorId) -> Vec<Link> {
        let ends = self.connections.iter().flat_map(|(id, connection)| {
            (0..2).map(move |side| (*id, side, connection.ends[side].owner))
        });
        ends.filter(|(_, _, owner)| *owner == Owner::Actor(actor))
            .map(|(connection, side, _)| Link { connection, side })
            .collect()
    }

    /// Sends a signal to a child.
    pub(super) fn signal_child(&mut self, pid: Pid, signal: Signal) -> io::Result<()> {
        if !self.processes.contains_key(&pid) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let at = self.now + self.network.size(500, 200_000);
        self.schedule(at, Due::Signal { pid, signal });
        Ok(())
    }
}

/// The number a signal has everywhere.
pub(super) const fn number(signal: Signal) -> i32 {
    match signal {
        Signal::Hangup => 1,
        Signal::Interrupt => 2,
        Signal::Kill => 9,
        Signal::Terminate => 15,
    }
}
