//! How are connections accepted?
//!
//! One multishot accept a listener. It yields ordinary descriptors, not slots of the ring's table:
//! the peer's address has to be asked from a descriptor, and the connection may be handed to another
//! core, whose ring has a table of its own. Streams are put into the table when they are adopted.
//!
//! Invariant: a descriptor the kernel accepted is reported or closed, also after `unlisten`.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use kern_terms::{Instant, Key};
use rustix::net::Shutdown;

use super::Uring;
use super::ring::Done;
use super::token::{Op, Token};
use crate::driver::unix::socket::{self, SocketFile};
use crate::driver::{Completion, Socket, monotonic};
use crate::event::{Listen, Local, Peer};
use crate::limits::ACCEPT_PAUSE;

/// A listener, open or waiting for its last completion.
pub(super) struct Listener {
    /// The core's key; none once it is closed.
    name: Option<Key>,
    fd: OwnedFd,
    /// A Unix socket's file; its presence says which kind of socket this is.
    file: Option<SocketFile>,
    accepting: bool,
}

impl Uring {
    /// Starts accepting.
    pub(super) fn start_listening(&mut self, name: Key, at: &Listen) -> io::Result<Local> {
        let (fd, file, local) = match at {
            Listen::Tcp { address, shared } => {
                let listener = socket::listen_tcp(*address, *shared)?;
                // Accepted connections inherit it.
                socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
                let local = Local::Tcp(listener.local_addr()?);
                (OwnedFd::from(listener), None, local)
            }
            Listen::Held(held) => {
                let local = Local::Tcp(held.address());
                (OwnedFd::from(held.listener()?), None, local)
            }
            Listen::Unix(path) | Listen::Ring(path) => {
                let (listener, file) = socket::listen_unix(path)?;
                (OwnedFd::from(listener), Some(file), socket::local_unix(at, path))
            }
            Listen::Simulated(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let listener = Listener { name: Some(name), fd, file, accepting: false };
        let entry = self.listeners.bind(name, listener);
        self.accept(entry);
        Ok(local)
    }

    fn accept(&mut self, entry: Key) {
        let Some(listener) = self.listeners.get(entry) else { return };
        if listener.name.is_some() && !listener.accepting {
            listener.accepting = true;
            self.ring.accept(listener.fd.as_fd(), Token::new(Op::Accept, entry));
        }
    }

    /// An accept completed.
    pub(super) fn accepted(&mut self, entry: Key, done: Done, out: &mut Vec<Completion>) {
        let socket = done.value().map(|number| {
            // SAFETY: the kernel has just installed the descriptor for this completion, which is
            // reaped once; nobody else knows the number.
            unsafe { OwnedFd::from_raw_fd(number as i32) }
        });
        let listener = self.listeners.get(entry).expect("an entry lives as long as its operations");
        listener.accepting = done.more;
        let Some(name) = listener.name else {
            if !done.more {
                self.listeners.remove(entry);
            }
            return;
        };
        let is_unix = listener.file.is_some();
        match socket {
            // Without an address the peer is gone already.
            Ok(fd) => out.extend(introduce(name, fd, is_unix)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    tracing::warn!(%error, "accepting pauses");
                    self.paused.push((monotonic() + ACCEPT_PAUSE, entry));
                    return;
                }
                // The peer gave up, or the kernel ended the multishot: go on.
                _ => tracing::debug!(%error, "accept"),
            },
        }
        if !done.more {
            self.accept(entry);
        }
    }

    /// Goes on accepting where the pause is over. Returns when the next one ends.
    pub(super) fn resume_accepting(&mut self) -> Option<Instant> {
        if self.paused.is_empty() {
            return None;
        }
        let now = monotonic();
        let (over, still): (Vec<_>, Vec<_>) =
            self.paused.drain(..).partition(|(until, _)| *until <= now);
        self.paused = still;
        for (_, entry) in over {
            self.accept(entry);
        }
        self.paused.iter().map(|(until, _)| *until).min()
    }

    /// Stops accepting.
    pub(super) fn shut_listener(&mut self, entry: Key) {
        let Some(listener) = self.listeners.get(entry) else { return };
        listener.name = None;
        listener.file = None;
        // Connections are refused from here on, although the accept in flight holds the file.
        let _ = rustix::net::shutdown(&listener.fd, Shutdown::Both);
        if listener.accepting {
            self.ring.cancel(Token::new(Op::Accept, entry));
        } else {
            self.listeners.remove(entry);
        }
    }
}

/// The report of an accepted connection.
fn introduce(listener: Key, fd: OwnedFd, is_unix: bool) -> Option<Completion> {
    let (socket, peer) = if is_unix {
        let peer = Peer::Unix { uid: socket::peer_uid(&fd) };
        (Socket::Unix(UnixStream::from(fd)), peer)
    } else {
        let stream = TcpStream::from(fd);
        let peer = Peer::Tcp(stream.peer_addr().ok()?);
        (Socket::Tcp(stream), peer)
    };
    Some(Completion::Accepted { listener, socket, peer })
}
