//! How does a stream open, send and close?
//!
//! Invariant: closing hands over, in this order, the cancellation of what is in flight and the close
//! of the descriptors; operations already handed over keep the file open by themselves, and the
//! entry with their memory stays until the last of them completed.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use io_uring::opcode;
use io_uring::types::Fd;
use kern_terms::Key;
use rustix::net::Shutdown;
use socket2::{Domain, Protocol, SockAddr, Type};

use super::Uring;
use super::limits::SPARE_SENDS_MAX;
use super::ring::Done;
use super::send::{Outgoing, Progress, judge};
use super::stream::{End, Ends, Registration, Stream};
use super::token::{Op, Token};
use crate::driver::{Address, Batch, Completion};

impl Uring {
    /// Makes a stream of `ends` that starts receiving.
    pub(super) fn open(&mut self, name: Key, ends: Ends) -> Key {
        let entry = self.streams.bind(name, Stream::new(name, ends));
        self.register(entry);
        self.look_after(entry);
        entry
    }

    /// Starts to put the output into the ring's file table.
    fn register(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        let Some(end) = stream.ends.as_ref().and_then(|ends| ends.output()) else { return };
        let Some(slot) = self.files.take(end.fd.as_raw_fd()) else { return };
        stream.registration = Registration::Pending(slot);
        stream.operations += 1;
        let update = opcode::FilesUpdate::new(self.files.number(slot), 1).offset(slot as i32);
        // SAFETY: the number stands in the boxed slice of `files`, which lives as long as the ring,
        // and is not written while the slot is taken.
        unsafe { self.ring.push(update.build(), Token::new(Op::Register, entry)) };
    }

    /// A registration completed.
    pub(super) fn registered(&mut self, entry: Key, done: Done) {
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        stream.operations -= 1;
        let Registration::Pending(slot) = stream.registration else {
            unreachable!("registered once")
        };
        let in_use = stream.name.is_some() && stream.output().is_some();
        if done.result == 1 && in_use {
            stream.registration = Registration::Ready(slot);
            return;
        }
        stream.registration = Registration::None;
        if done.result == 1 {
            self.ring.unregister(slot);
        }
        self.files.give_back(slot);
        self.bury(entry);
    }

    /// Drops the output's place in the file table.
    fn unregister(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        if let Registration::Ready(slot) = stream.registration {
            stream.registration = Registration::None;
            self.ring.unregister(slot);
            self.files.give_back(slot);
        }
    }

    /// Starts connecting.
    pub(super) fn dial(&mut self, name: Key, to: &Address) -> io::Result<()> {
        let (socket, address) = match to {
            Address::Tcp(address) => {
                let domain = Domain::for_address(*address);
                let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
                socket.set_tcp_nodelay(true)?;
                (socket, SockAddr::from(*address))
            }
            Address::Unix(path) => unix_socket(path)?,
            Address::Simulated(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let end = End::new(OwnedFd::from(socket))?;
        let fd = end.fd.as_raw_fd();
        let entry = self.open(name, Ends::Both(end));
        let stream = self.streams.get(entry).expect("just opened");
        stream.operations += 1;
        let address = stream.connecting.insert(Box::new(address));
        let connect = opcode::Connect::new(Fd(fd), address.as_ptr().cast(), address.len());
        // SAFETY: the boxed address stays in the entry, untouched, until the connect completed.
        unsafe { self.ring.push(connect.build(), Token::new(Op::Connect, entry)) };
        Ok(())
    }

    /// A connect completed.
    pub(super) fn connected(&mut self, entry: Key, done: Done, out: &mut Vec<Completion>) {
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        stream.operations -= 1;
        stream.connecting = None;
        let Some(name) = stream.name else { return self.bury(entry) };
        match done.value() {
            Ok(_) => {
                out.push(Completion::Connected { stream: name, result: Ok(()) });
                if stream.outgoing.is_some() {
                    self.push_send(entry, false);
                }
                self.look_after(entry);
            }
            Err(error) => {
                out.push(Completion::Connected { stream: name, result: Err(error) });
                self.streams.unbind(name);
                self.shut(entry);
            }
        }
    }

    /// Takes a batch over, or gives it back.
    pub(super) fn hand_over(
        &mut self,
        name: Key,
        batch: Batch,
        prompt: bool,
    ) -> Option<(Batch, io::Result<()>)> {
        let entry = self.streams.find(name);
        let Some(stream) = entry.and_then(|entry| self.streams.get(entry)) else {
            return Some((batch, Err(io::ErrorKind::NotConnected.into())));
        };
        if stream.output().is_none() {
            return Some((batch, Err(io::ErrorKind::BrokenPipe.into())));
        }
        if batch.pieces.iter().all(|piece| piece.as_slice().is_empty()) {
            return Some((batch, Ok(())));
        }
        assert!(stream.outgoing.is_none(), "one batch a stream at a time");
        let mut outgoing = self.spare.pop().unwrap_or_else(Outgoing::new);
        outgoing.load(batch);
        stream.outgoing = Some(outgoing);
        if stream.connecting.is_none() {
            self.push_send(entry.expect("found above"), !prompt);
        }
        None
    }

    /// Hands over what is left of the batch; `now` where its end need not be told.
    fn push_send(&mut self, entry: Key, now: bool) {
        let stream = self.streams.get(entry).expect("the caller has just seen it");
        let (file, socket) = stream.output().expect("sends need an output");
        let outgoing = stream.outgoing.as_mut().expect("sends need a batch");
        // A pipe may tell later than it is asked that it took nothing.
        let now = now && socket;
        let operation = outgoing.operation(file, socket, now);
        let op = if now { Op::SendNow } else { Op::Send };
        stream.sending = Some(op);
        stream.operations += 1;
        // SAFETY: the operation points into the boxed record and the batch it owns; both stay in the
        // entry, untouched, until the send completed or `conclude` found the ring to be through.
        unsafe {
            match now {
                true => self.ring.push_now(operation, Token::new(op, entry)),
                false => self.ring.push(operation, Token::new(op, entry)),
            }
        }
        if now {
            self.unsaid.push(entry);
        }
    }

    /// Sends that complete only if not all left: once the ring is through, the rest have ended well.
    pub(super) fn conclude(&mut self, out: &mut Vec<Completion>) {
        self.inconclusive = !self.unsaid.is_empty() && !self.ring.is_through();
        if self.inconclusive {
            return;
        }
        let mut unsaid = std::mem::take(&mut self.unsaid);
        for entry in unsaid.drain(..) {
            let Some(stream) = self.streams.get(entry) else { continue };
            // Others have completed.
            if stream.sending == Some(Op::SendNow) {
                stream.sending = None;
                stream.operations -= 1;
                match stream.name {
                    Some(name) => self.batch_ended(entry, name, Ok(()), out),
                    None => self.bury(entry),
                }
            }
        }
        self.unsaid = unsaid;
    }

    /// A send completed.
    pub(super) fn sent(&mut self, entry: Key, done: Done, out: &mut Vec<Completion>) {
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        stream.operations -= 1;
        stream.sending = None;
        let Some(name) = stream.name else { return self.bury(entry) };
        let outgoing = stream.outgoing.as_mut().expect("kept until the send completed");
        let result = match judge(outgoing, done.value()) {
            Progress::Ended(result) => result,
            Progress::More => return self.push_send(entry, false),
            Progress::Full => return self.await_writable(entry),
        };
        self.batch_ended(entry, name, result, out);
    }

    fn batch_ended(
        &mut self,
        entry: Key,
        name: Key,
        result: io::Result<()>,
        out: &mut Vec<Completion>,
    ) {
        let stream = self.streams.get(entry).expect("the caller has just seen it");
        let mut outgoing = stream.outgoing.take().expect("kept until the send completed");
        let batch = outgoing.unload();
        out.push(Completion::Sent { stream: name, batch, result });
        self.keep(outgoing);
    }

    /// The file is non-blocking in a way that ends writes early: waits, then writes.
    fn await_writable(&mut self, entry: Key) {
        let stream = self.streams.get(entry).expect("the caller has just seen it");
        let end = stream.ends.as_ref().and_then(|ends| ends.output());
        let fd = end.expect("sends need an output").fd.as_raw_fd();
        stream.sending = Some(Op::Writable);
        stream.operations += 1;
        self.ring.poll(fd, libc::POLLOUT, false, Token::new(Op::Writable, entry));
    }

    /// The file takes something again, or the wait was cancelled.
    pub(super) fn writable(&mut self, entry: Key) {
        let stream = self.streams.get(entry).expect("an entry lives as long as its operations");
        stream.operations -= 1;
        stream.sending = None;
        if stream.name.is_none() {
            return self.bury(entry);
        }
        self.push_send(entry, false);
    }

    fn keep(&mut self, outgoing: Box<Outgoing>) {
        if self.spare.len() < SPARE_SENDS_MAX {
            self.spare.push(outgoing);
        }
    }

    /// Ends the sending direction.
    pub(super) fn end_output(&mut self, name: Key) {
        let Some(entry) = self.streams.find(name) else { return };
        let stream = self.streams.get(entry).expect("bound");
        match stream.ends.as_mut() {
            Some(Ends::Both(end)) => {
                // A peer that is gone already has seen the end.
                let _ = rustix::net::shutdown(&end.fd, Shutdown::Write);
            }
            Some(Ends::Apart { output, .. }) => {
                if let Some(end) = output.take() {
                    self.ring.close(end.fd);
                    self.unregister(entry);
                }
            }
            None => {}
        }
    }

    /// Ends an entry that has no name in the registry any more.
    pub(super) fn shut(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        stream.name = None;
        stream.held.clear();
        let receiving = if stream.cancelling { None } else { stream.receiving };
        let connecting = stream.connecting.as_ref().map(|_| Op::Connect);
        let sending = stream.sending.filter(|op| *op != Op::SendNow);
        for op in [receiving, sending, connecting].into_iter().flatten() {
            self.ring.cancel(Token::new(op, entry));
        }
        for fd in stream.ends.take().into_iter().flat_map(Ends::into_fds) {
            self.ring.close(fd);
        }
        self.unregister(entry);
        self.bury(entry);
    }

    /// Removes a closed entry once nothing of it is in flight.
    pub(super) fn bury(&mut self, entry: Key) {
        let Some(stream) = self.streams.get(entry) else { return };
        if stream.name.is_some() || stream.operations > 0 {
            return;
        }
        let stream = self.streams.remove(entry).expect("seen above");
        if let Some(mut outgoing) = stream.outgoing {
            drop(outgoing.unload());
            self.keep(outgoing);
        }
    }
}

fn unix_socket(path: &Path) -> io::Result<(socket2::Socket, SockAddr)> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    Ok((socket, SockAddr::unix(path)?))
}
