//! When is a stream receiving, and what becomes of what it receives?
//!
//! Invariants: one receiving operation a stream; it runs exactly while the core wants data, the end
//! was not seen and a buffer is there, up to the cancellation under way. Data that arrives while the
//! core wants none is copied out of its buffer and held, in order, until it wants some again.

use std::os::fd::AsRawFd;

use kern_terms::Key;

use super::Uring;
use super::ring::Done;
use super::stream::Kind;
use super::token::{Op, Token};
use crate::driver::Completion;
use crate::event::Chunk;

impl Uring {
    /// Has `entry` looked after before the next sleep.
    pub(super) fn look_after(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        if !stream.listed {
            stream.listed = true;
            self.listed.push(entry);
        }
    }

    /// Brings what the kernel does in line with what the core wants.
    pub(super) fn settle(&mut self) {
        self.buffers.replenish();
        let mut listed = std::mem::take(&mut self.listed);
        for entry in listed.drain(..) {
            let Some(stream) = self.streams.get(entry) else { continue };
            stream.listed = false;
            if stream.wanted {
                self.ready.append(&mut stream.held);
                self.arm(entry);
            } else if let (Some(op), false) = (stream.receiving, stream.cancelling) {
                stream.cancelling = true;
                self.ring.cancel(Token::new(op, entry));
            }
        }
        self.listed = listed;
        for _ in 0..self.buffers.available() {
            let Some(entry) = self.starved.pop_front() else { break };
            let Some(stream) = self.streams.get(entry) else { continue };
            stream.starved = false;
            self.arm(entry);
        }
    }

    /// Starts receiving where that is wanted and not under way.
    fn arm(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        let idle = stream.receiving.is_none() && !stream.ended && !stream.starved;
        if stream.name.is_none() || !stream.wanted || !idle || stream.connecting.is_some() {
            return;
        }
        let Some(end) = stream.ends.as_ref().and_then(|ends| ends.input()) else { return };
        stream.receiving = Some(Op::Receive);
        stream.operations += 1;
        let (fd, token) = (end.fd.as_raw_fd(), Token::new(Op::Receive, entry));
        match end.kind {
            Kind::Socket => self.ring.receive(fd, token),
            Kind::Pipe if self.reads_many => self.ring.read_many(fd, token),
            Kind::Pipe | Kind::Terminal => self.ring.read(fd, self.buffers.buffer_bytes(), token),
        }
    }

    /// A receive completed.
    pub(super) fn received(&mut self, entry: Key, done: Done, out: &mut Vec<Completion>) {
        let len = usize::try_from(done.result).unwrap_or(0);
        let chunk = done.buffer.map(|id| self.buffers.take(id, len));
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        if !done.more {
            stream.operations -= 1;
            stream.receiving = None;
            stream.cancelling = false;
        }
        let Some(name) = stream.name else { return self.bury(entry) };
        let completion = match done.value() {
            Ok(0) => {
                stream.ended = true;
                Some(Completion::ReadEnded { stream: name, result: Ok(()) })
            }
            Ok(_) => {
                let chunk = chunk.expect("data comes in a buffer");
                if stream.wanted {
                    Some(Completion::Received { stream: name, chunk })
                } else {
                    let chunk = Chunk::from_vec(chunk.to_vec());
                    Some(Completion::Received { stream: name, chunk })
                }
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ECANCELED | libc::EINTR) => None,
                Some(libc::ENOBUFS) => {
                    stream.starved = true;
                    self.starved.push_back(entry);
                    None
                }
                Some(libc::EAGAIN) => return self.await_readable(entry),
                // What a terminal says when its other side is gone.
                Some(libc::EIO) if stream.reads_terminal() => {
                    stream.ended = true;
                    Some(Completion::ReadEnded { stream: name, result: Ok(()) })
                }
                _ => {
                    stream.ended = true;
                    Some(Completion::ReadEnded { stream: name, result: Err(error) })
                }
            },
        };
        if let Some(completion) = completion {
            if stream.wanted { out.push(completion) } else { stream.held.push(completion) }
        }
        if !done.more && stream.wanted {
            self.look_after(entry);
        }
    }

    /// The file is non-blocking in a way that ends reads early: waits, then reads.
    fn await_readable(&mut self, entry: Key) {
        let stream = self.streams.get(entry).expect("the caller has just seen it");
        let Some(end) = stream.ends.as_ref().and_then(|ends| ends.input()) else { return };
        stream.receiving = Some(Op::Readable);
        stream.operations += 1;
        let token = Token::new(Op::Readable, entry);
        self.ring.poll(end.fd.as_raw_fd(), libc::POLLIN, false, token);
    }

    /// There is something to read, or the wait was cancelled.
    pub(super) fn readable(&mut self, entry: Key) {
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        stream.operations -= 1;
        stream.receiving = None;
        stream.cancelling = false;
        if stream.name.is_none() {
            return self.bury(entry);
        }
        self.look_after(entry);
    }
}
