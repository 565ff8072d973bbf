//! What an app can do: the handle of its core.

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use kern_terms::{CoreId, Instant, Key};

use crate::event::{Command, Listen, Local, Signal, Target, Watermarks};

/// The core's handle, given to the app with every event. Not `Send`.
pub struct Io<P> {
    _post: PhantomData<(P, *const ())>,
}

/// A child just started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Names the child in [`Event::Exited`](crate::Event::Exited) and [`Io::signal`].
    pub child: Key,
    /// Its stdin and stdout.
    pub pipes: Key,
    /// Its stderr.
    pub errors: Key,
    /// Its process id.
    pub pid: u32,
}

#[allow(unused_variables, clippy::todo)]
impl<P: Send + 'static> Io<P> {
    /// This core.
    pub fn core(&self) -> CoreId {
        todo!()
    }
    /// The cores that run now, in order; the first is the one that sees signals.
    pub fn cores(&self) -> Vec<CoreId> {
        todo!()
    }
    /// The time, read once a turn.
    pub fn now(&self) -> Instant {
        todo!()
    }
    /// 64 random bits fit for session ids.
    pub fn random(&mut self) -> u64 {
        todo!()
    }
    /// The driver's name.
    pub fn driver(&self) -> &'static str {
        todo!()
    }

    /// Starts accepting connections on this core.
    pub fn listen(&mut self, at: &Listen) -> io::Result<(Key, Local)> {
        todo!()
    }
    /// Stops accepting.
    pub fn unlisten(&mut self, listener: Key) {
        todo!()
    }
    /// Starts connecting; [`Event::Connected`](crate::Event::Connected) or `Closed` follows.
    pub fn connect(&mut self, to: Target) -> Key {
        todo!()
    }
    /// The process's standard input and output as a stream.
    pub fn stdio(&mut self) -> io::Result<Key> {
        todo!()
    }
    /// One end of a socket pair made elsewhere in this process.
    pub fn adopt(&mut self, socket: crate::driver::Socket) -> io::Result<Key> {
        todo!()
    }
    /// Starts a child.
    pub fn spawn(&mut self, command: &Command) -> io::Result<Child> {
        todo!()
    }
    /// Signals a child's process group.
    pub fn signal(&mut self, child: Key, signal: Signal) -> io::Result<()> {
        todo!()
    }

    /// Queues bytes; they leave at the end of the turn, in one system call with all others queued
    /// for the stream. Nothing happens for a stream that is gone.
    pub fn send(&mut self, stream: Key, bytes: &[u8]) {
        todo!()
    }
    /// Queues by writing straight into the stream's send buffer: no intermediate copy.
    pub fn send_with(&mut self, stream: Key, write: impl FnOnce(&mut Vec<u8>)) {
        todo!()
    }
    /// Queues bytes shared with others, without copying when they are large.
    pub fn send_shared(&mut self, stream: Key, bytes: Bytes) {
        todo!()
    }
    /// Bytes queued and not yet sent.
    pub fn queued_bytes(&self, stream: Key) -> usize {
        todo!()
    }
    /// Whether the queue is above its high watermark: stop producing until `Drained`.
    pub fn is_full(&self, stream: Key) -> bool {
        todo!()
    }
    /// Sets a stream's watermarks.
    pub fn set_watermarks(&mut self, stream: Key, watermarks: Watermarks) {
        todo!()
    }
    /// Stops (`false`) or resumes receiving.
    pub fn receive(&mut self, stream: Key, on: bool) {
        todo!()
    }
    /// Ends the sending direction once everything queued has left.
    pub fn finish(&mut self, stream: Key) {
        todo!()
    }
    /// Closes once everything queued has left, or after `linger` at the latest. No event follows.
    pub fn close(&mut self, stream: Key, linger: Duration) {
        todo!()
    }
    /// Closes now. No event follows.
    pub fn abort(&mut self, stream: Key) {
        todo!()
    }

    /// Fires once after `after`.
    pub fn timer(&mut self, after: Duration, token: u64) -> Key {
        todo!()
    }
    /// Fires after `least`…`most`, the nearer to `least` the more loaded the core is.
    pub fn scaled_timer(&mut self, least: Duration, most: Duration, token: u64) -> Key {
        todo!()
    }
    /// Forgets a timer; harmless if it fired.
    pub fn cancel(&mut self, timer: Key) {
        todo!()
    }
    /// Calls back before this turn ends.
    pub fn this_turn(&mut self, token: u64) {
        todo!()
    }
    /// Calls back in the next turn, which starts without sleeping.
    pub fn next_turn(&mut self, token: u64) {
        todo!()
    }

    /// Sends to another core (or this one). Order is kept between two cores.
    pub fn post(&mut self, core: CoreId, message: P) {
        todo!()
    }
    /// Runs `work` off the core; what it returns comes back as a post.
    pub fn errand(&mut self, work: impl FnOnce() -> P + Send + 'static) {
        todo!()
    }

    /// Names what this core is doing until the turn ends or [`Io::untrack`]; shown by the
    /// watchdog. Nested.
    pub fn track(&mut self, operation: &'static str, subject: u64) {
        todo!()
    }
    /// Ends the innermost tracked operation.
    pub fn untrack(&mut self) {
        todo!()
    }
    /// Ends this core after the turn (answer to [`Event::Retire`](crate::Event::Retire)).
    pub fn leave(&mut self) {
        todo!()
    }
}
