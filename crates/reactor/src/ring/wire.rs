//! Lines in and out of a ring of `kern-shm`.
//!
//! Invariant: nothing here waits.

use std::io;
use std::os::unix::net::UnixStream;

use kern_shm::{Error, Fault, Link, Put, Take, limits};

use crate::driver::Socket;

/// A ring and its framing.
pub(super) struct Wire {
    link: Link,
}

/// Both ends of a socket for a ring.
pub(super) fn pair() -> io::Result<(Socket, Socket)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((Socket::Unix(ours), Socket::Unix(theirs)))
}

impl Wire {
    /// Makes a ring for whoever is at the other end of `socket`.
    pub(super) fn host(socket: &Socket) -> io::Result<Self> {
        let Socket::Unix(socket) = socket else { return Err(io::ErrorKind::Unsupported.into()) };
        Ok(Self { link: Link::host(socket, limits::SIZES)? })
    }

    /// Puts lines, each as one message; how many bytes that was.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if !line.is_empty() {
                match self.link.put(line).map_err(lied)? {
                    Put::Whole => {}
                    Put::Part(put) => return Ok(done + put),
                }
            }
            done += line.len() + usize::from(end.is_some());
        }
        Ok(done)
    }

    /// Appends messages as lines until `most` bytes are there; true if there may be more.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, most: usize) -> io::Result<bool> {
        while out.len() < most {
            let before = out.len();
            let take = self.link.take(out).map_err(lied)?;
            for byte in &mut out[before..] {
                if matches!(*byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
            match take {
                Take::Nothing => return Ok(false),
                Take::Part => {}
                Take::Whole => out.push(b'\n'),
            }
        }
        Ok(true)
    }

    /// Whether the peer said that it sends no more and all it sent was taken.
    pub(super) fn is_over(&mut self) -> io::Result<bool> {
        self.link.is_over().map_err(lied)
    }

    /// Tells the peer what was put and taken.
    pub(super) fn tell(&mut self) {
        self.link.tell();
    }

    /// Tells the peer that we send no more.
    pub(super) fn finish(&mut self) {
        self.link.finish();
        self.link.tell();
    }

    /// Says that we sleep until the socket is readable; false if there is something to do.
    pub(super) fn sleep(&mut self, data: bool, room: bool) -> bool {
        self.link.arm(data, room)
    }
}

fn lied(fault: Fault) -> io::Error {
    Error::Fault(fault).into()
}
