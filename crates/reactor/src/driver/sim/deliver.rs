//! What happens when a planned thing comes due?
//!
//! Invariant: an event for a connection, an actor or a child that is no more is ignored, never an
//! error: everything travels, and what it was meant for may be gone on arrival.

use std::io::ErrorKind;

use super::actor::{Gone, Link};
use super::driver::Ready;
use super::network::{ActorId, ConnectionId, Fin, Kind, Owner, Side};
use super::process::{Pid, number};
use super::world::{Call, Due, Listener, State};
use crate::driver::{Completion, Socket};
use crate::event::{ChildExit, Signal};

impl State {
    pub(super) fn deliver(&mut self, due: Due) {
        match due {
            Due::Syn { connection, to } => self.knock(connection, &to),
            Due::Outcome { connection, made } => self.connect_ended(connection, made),
            Due::Arrive { connection, from, bytes } => self.arrive(connection, from, bytes),
            Due::Fin { connection, from } => self.fin_arrived(connection, from),
            Due::Reset { connection, to } => self.reset_arrived(connection, to),
            Due::Resume { connection, side } => self.read_by_actor(connection, side),
            Due::Timer { actor, token } => {
                self.note("timer", actor as u64, token);
                self.call(actor, Call::Timer { token });
            }
            Due::Signal { pid, signal } => self.signal_arrived(pid, signal),
            Due::Crash { pid } => self.end_child(pid, ChildExit { code: None, signal: Some(11) }),
            Due::Exited { pid } => self.reap(pid),
            Due::Work { .. } => unreachable!("errands run outside the state"),
        }
    }

    pub(super) fn call(&mut self, actor: ActorId, call: Call) {
        self.calls.push_back((actor, call));
    }

    /// A connection reaches the place it wants to.
    fn knock(&mut self, id: ConnectionId, to: &str) {
        let refused = self.misfortune.chance(self.faults.refused_ppm);
        let accepting = self.listeners.get(to).map(Vec::as_slice).unwrap_or_default();
        let listener = self.network.pick(accepting).copied().filter(|_| !refused);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[1].owner = match listener {
            None => Owner::Closed,
            Some(Listener::Actor(actor)) => Owner::Actor(actor),
            Some(Listener::Core { core, listener }) => Owner::Pending { core, listener },
        };
        connection.established = listener.is_some();
        let back_at = self.now + connection.latency_ns;
        connection.flows[1].last_at = back_at;
        let peer = connection.peer.clone();
        self.note("knock", id, listener.is_some().into());
        self.schedule(back_at, Due::Outcome { connection: id, made: listener.is_some() });
        match listener {
            Some(Listener::Actor(actor)) => {
                self.call(actor, Call::Opened { link: Link { connection: id, side: 1 } });
            }
            Some(Listener::Core { core, listener }) => {
                let socket = Socket::Simulated(id);
                self.done(core, Completion::Accepted { listener, socket, peer });
            }
            None => {}
        }
        self.doom(id);
        self.pump(id, 0);
        self.forget_if_over(id);
    }

    fn connect_ended(&mut self, id: ConnectionId, made: bool) {
        let Some(connection) = self.connections.get(&id) else { return };
        let owner = connection.ends[0].owner;
        self.note("connected", id, made.into());
        match (owner, made) {
            (Owner::Core { core, stream }, true) => {
                self.done(core, Completion::Connected { stream, result: Ok(()) });
            }
            (Owner::Core { core, stream }, false) => {
                self.cores[core].let_go(stream);
                self.close(id, 0);
                let result = Err(ErrorKind::ConnectionRefused.into());
                self.done(core, Completion::Connected { stream, result });
            }
            (Owner::Actor(actor), true) => {
                self.call(actor, Call::Opened { link: Link { connection: id, side: 0 } });
            }
            (Owner::Actor(actor), false) => {
                self.close(id, 0);
                let link = Link { connection: id, side: 0 };
                self.call(actor, Call::Gone { link, why: Gone::Refused });
            }
            (Owner::Closed | Owner::Nobody | Owner::Pending { .. }, _) => {}
        }
    }

    fn arrive(&mut self, id: ConnectionId, from: Side, bytes: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = &connection.ends[1 - from];
        if end.broken {
            return;
        }
        if end.owner == Owner::Closed {
            connection.flows[from].outstanding -= bytes.len();
            return match connection.kind {
                Kind::Socket => self.tear(id),
                Kind::Pipe => self.fail_batch(id, from, ErrorKind::BrokenPipe),
            };
        }
        connection.flows[from].arrived.push(&bytes);
        self.note("arrive", id << 1 | from as u64, bytes.len() as u64);
        self.announce(id, 1 - from);
    }

    fn fin_arrived(&mut self, id: ConnectionId, from: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.flows[from].fin = Fin::Arrived;
        self.note("fin", id << 1 | from as u64, 0);
        self.announce(id, 1 - from);
    }

    fn reset_arrived(&mut self, id: ConnectionId, to: Side) {
        let drops_unread = self.misfortune.below(2) == 0;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[to].broken = true;
        if drops_unread {
            connection.flows[1 - to].arrived.clear();
        }
        let owner = connection.ends[to].owner;
        self.note("reset", id << 1 | to as u64, drops_unread.into());
        self.fail_batch(id, to, ErrorKind::ConnectionReset);
        if let Owner::Actor(actor) = owner {
            self.close(id, to);
            let link = Link { connection: id, side: to };
            self.call(actor, Call::Gone { link, why: Gone::Reset });
        } else {
            self.announce(id, to);
        }
    }

    /// Tells the holder of an end that there is something to read.
    pub(super) fn announce(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.ends[side].owner {
            Owner::Actor(_) => self.read_by_actor(id, side),
            Owner::Core { core, .. } => {
                let end = &mut connection.ends[side];
                if end.receiving && !end.ended && !std::mem::replace(&mut end.listed, true) {
                    self.cores[core].ready.push_back(Ready::Readable { connection: id, side });
                }
            }
            Owner::Pending { .. } | Owner::Nobody | Owner::Closed => {}
        }
    }

    fn read_by_actor(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Owner::Actor(actor) = connection.ends[side].owner else { return };
        if !connection.ends[side].receiving {
            return;
        }
        let link = Link { connection: id, side };
        let flow = &mut connection.flows[1 - side];
        let bytes = flow.arrived.take(flow.arrived.len());
        flow.outstanding -= bytes.len();
        let fin = flow.fin == Fin::Arrived;
        let ends = fin && !std::mem::replace(&mut connection.ends[side].ended, fin);
        let deaf = self.pid_of(actor).is_some_and(|pid| self.processes[&pid].is_deaf());
        if !bytes.is_empty() {
            self.trace.mix(&bytes);
            self.note("received", id << 1 | side as u64, bytes.len() as u64);
            self.call(actor, Call::Received { link, bytes });
            self.pump(id, 1 - side);
        }
        if ends && !deaf {
            self.call(actor, Call::Finished { link });
        }
    }

    fn signal_arrived(&mut self, pid: Pid, signal: Signal) {
        let Some(process) = self.processes.get(&pid) else { return };
        let (actor, deaf) = (process.actor, process.is_deaf());
        self.note("signal", pid.into(), number(signal) as u64);
        match signal {
            Signal::Kill => {
                self.end_child(pid, ChildExit { code: None, signal: Some(number(signal)) });
            }
            _ if deaf => {}
            _ => self.call(actor, Call::Signal(signal)),
        }
    }

    /// Reports the end of a child to its parent.
    fn reap(&mut self, pid: Pid) {
        let Some(process) = self.processes.remove(&pid) else { return };
        self.note("reap", pid.into(), 0);
        let exit = process.exit.expect("only what ended is reaped");
        let children = &mut self.cores[process.core].children;
        if children.get(&process.child.to_bits()) == Some(&pid) {
            children.remove(&process.child.to_bits());
        }
        self.done(process.core, Completion::Exited { child: process.child, exit });
    }

    /// The program under test is signalled.
    pub(super) fn signal_cores(&mut self, signal: Signal) {
        self.note("signal us", number(signal) as u64, 0);
        if let Some(core) = self.cores.iter().position(|core| core.alive && core.watches_signals) {
            self.done(core, Completion::Signal(signal));
        }
    }
}
