//! What lives in the world outside the cores: clients, servers, children?
//!
//! An actor is a state machine that is called when something reaches it and acts through its
//! [`Context`]. Invariants: calls never nest; what an actor does takes effect after latency, never
//! within the call; an actor that ended is never called again.

use std::time::Duration;

use kern_terms::Instant;

use super::network::{ActorId, ConnectionId, Fin, Owner, Side};
use super::process::Pid;
use super::rng::Rng;
use super::world::{Call, Due, World, listen_name};
use crate::event::{ChildExit, Listen, Signal};

/// An actor's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub(super) connection: ConnectionId,
    pub(super) side: Side,
}

/// Why a link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nobody listens there, or the connection was refused.
    Refused,
    /// The connection was reset.
    Reset,
}

/// A peer or a child.
pub trait Actor: 'static {
    /// Called once, before anything else.
    fn started(&mut self, _context: &mut Context<'_>) {}

    /// A link is usable: accepted, connected, or a child's standard input and output.
    fn opened(&mut self, _context: &mut Context<'_>, _link: Link) {}

    /// Bytes came.
    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]);

    /// The other end will send no more. A child whose input ended exits; others close.
    fn finished(&mut self, context: &mut Context<'_>, link: Link) {
        if context.pid().is_some() {
            context.exit(0);
        } else {
            context.close(link);
        }
    }

    /// The link is gone, and not because this actor closed it.
    fn gone(&mut self, _context: &mut Context<'_>, _link: Link, _why: Gone) {}

    /// A time asked for with [`Context::after`] has come.
    fn timer(&mut self, _context: &mut Context<'_>, _token: u64) {}

    /// A signal reached this child. SIGKILL is never seen.
    fn signalled(&mut self, context: &mut Context<'_>, signal: Signal) {
        context.die_of(signal);
    }

    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn called(&mut self, context: &mut Context<'_>, call: Call) {
        match call {
            Call::Started => self.started(context),
            Call::Opened { link } => self.opened(context, link),
            Call::Received { link, bytes } => self.received(context, link, &bytes),
            Call::Finished { link } => self.finished(context, link),
            Call::Gone { link, why } => self.gone(context, link, why),
            Call::Timer { token } => self.timer(context, token),
            Call::Signal(signal) => self.signalled(context, signal),
        }
    }
}

/// What an actor can do.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) world: &'a World,
    pub(super) me: ActorId,
}

impl Context<'_> {
    /// The time.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Chance, from the actors' share of the seed.
    pub fn rng<T>(&mut self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.world.state.borrow_mut().whims)
    }

    /// Puts a line of its own into the world's history.
    pub fn note(&mut self, what: &'static str, detail: u64) {
        self.world.state.borrow_mut().note(what, self.me as u64, detail);
    }

    /// Connects; `opened` or `gone` follows.
    pub fn connect(&mut self, to: &Listen) -> Link {
        let owner = Owner::Actor(self.me);
        let connection = self.world.state.borrow_mut().connect(owner, &listen_name(to));
        Link { connection, side: 0 }
    }

    /// Writes; nothing happens on a link that is gone.
    pub fn send(&mut self, link: Link, bytes: &[u8]) {
        if !self.holds(link) {
            return;
        }
        let mut state = self.world.state.borrow_mut();
        match state.pid_of(self.me) {
            Some(pid) => state.child_output(pid, link, bytes),
            None => state.write(link.connection, link.side, bytes),
        }
    }

    /// Bytes written that the window has not taken yet.
    pub fn queued_bytes(&self, link: Link) -> usize {
        let state = self.world.state.borrow();
        let connection = state.connections.get(&link.connection);
        connection.map_or(0, |connection| connection.flows[link.side].backlog.len())
    }

    /// Ends the writing direction after what was written.
    pub fn finish(&mut self, link: Link) {
        if self.holds(link) {
            self.world.state.borrow_mut().finish(link.connection, link.side);
        }
    }

    /// Closes the link; what was written still goes out. No call follows.
    pub fn close(&mut self, link: Link) {
        if self.holds(link) {
            self.world.state.borrow_mut().close(link.connection, link.side);
        }
    }

    /// Breaks the link: the other end gets a reset.
    pub fn reset(&mut self, link: Link) {
        if self.holds(link) {
            let mut state = self.world.state.borrow_mut();
            state.tear(link.connection);
            state.close(link.connection, link.side);
        }
    }

    /// Stops or resumes reading; an unread link fills its window and holds the other end up.
    pub fn receive(&mut self, link: Link, on: bool) {
        if !self.holds(link) {
            return;
        }
        let mut state = self.world.state.borrow_mut();
        if let Some(connection) = state.connections.get_mut(&link.connection) {
            connection.ends[link.side].receiving = on;
        }
        if on {
            let now = state.now;
            state.schedule(now, Due::Resume { connection: link.connection, side: link.side });
        }
    }

    /// Calls `timer` with `token` after `delay`. It cannot be taken back: ignore it then.
    pub fn after(&mut self, delay: Duration, token: u64) {
        let mut state = self.world.state.borrow_mut();
        let at = state.now.saturating_add(delay.as_nanos() as u64);
        state.schedule(at, Due::Timer { actor: self.me, token });
    }

    /// This actor's process id, if it is a child.
    pub fn pid(&self) -> Option<u32> {
        self.world.state.borrow().pid_of(self.me)
    }

    /// Writes to standard error.
    pub fn stderr(&mut self, bytes: &[u8]) {
        let mut state = self.world.state.borrow_mut();
        let Some(pid) = state.pid_of(self.me) else { return };
        state.child_error(pid, bytes);
    }

    /// Ends this child.
    pub fn exit(&mut self, code: i32) {
        self.end(ChildExit { code: Some(code), signal: None });
    }

    /// Ends this child as the signal does by default.
    pub fn die_of(&mut self, signal: Signal) {
        self.end(ChildExit { code: None, signal: Some(super::process::number(signal)) });
    }

    fn end(&mut self, exit: ChildExit) {
        let mut state = self.world.state.borrow_mut();
        let pid: Option<Pid> = state.pid_of(self.me);
        if let Some(pid) = pid {
            state.end_child(pid, exit);
        }
    }

    /// Whether the link is this actor's and its writing direction may still be used or closed.
    fn holds(&self, link: Link) -> bool {
        let state = self.world.state.borrow();
        state
            .connections
            .get(&link.connection)
            .is_some_and(|connection| connection.ends[link.side].owner == Owner::Actor(self.me))
    }

    /// Whether everything written, the end included, has reached the other side.
    pub fn is_flushed(&self, link: Link) -> bool {
        let state = self.world.state.borrow();
        state.connections.get(&link.connection).is_none_or(|connection| {
            let flow = &connection.flows[link.side];
            flow.outstanding == 0 && flow.backlog.is_empty() && flow.fin != Fin::Wanted
        })
    }
}
