//! The portable driver's system calls on Unix: descriptors behind `mio`'s registry.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::driver::unix::process::{self, Process as Running};
use crate::driver::unix::signal::Signals as Watched;
use crate::driver::unix::socket::{self, SocketFile};
use crate::driver::unix::stdio;
use crate::driver::{Address, Socket};
use crate::event::{ChildExit, Command, Listen, Local, Peer, Signal};

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} exists only in the simulation"))
}

/// A listening socket.
pub(super) enum Listener {
    Tcp(mio::net::TcpListener),
    /// With the file, which is removed with it.
    Unix(mio::net::UnixListener, #[expect(dead_code, reason = "kept to be dropped")] SocketFile),
}

impl Listener {
    pub(super) fn open(at: &Listen) -> io::Result<(Self, Local)> {
        match at {
            Listen::Tcp { address, shared } => {
                let listener = socket::listen_tcp(*address, *shared)?;
                let local = Local::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(mio::net::TcpListener::from_std(listener)), local))
            }
            Listen::Held(held) => {
                let local = Local::Tcp(held.address());
                Ok((Self::Tcp(mio::net::TcpListener::from_std(held.listener()?)), local))
            }
            Listen::Unix(path) | Listen::Ring(path) => {
                let (listener, file) = socket::listen_unix(path)?;
                let listener = mio::net::UnixListener::from_std(listener);
                Ok((Self::Unix(listener, file), socket::local_unix(at, path)))
            }
            Listen::Simulated(_) => Err(unsupported("this listener")),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Self::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // Closing the descriptor, which follows, does the same.
        let _ = match self {
            Self::Tcp(listener) => registry.deregister(listener),
            Self::Unix(listener, _) => registry.deregister(listener),
        };
    }

    pub(super) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                // TCP_NODELAY comes with the listener's settings.
                let (stream, address) = listener.accept()?;
                Ok((Socket::Tcp(OwnedFd::from(stream).into()), Peer::Tcp(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(stream));
                let uid = socket::peer_uid(&stream);
                Ok((Socket::Unix(stream), Peer::Unix { uid }))
            }
        }
    }
}

/// Both directions of a stream: one descriptor (a socket) or two (pipes).
pub(super) struct Wire {
    read: Option<OwnedFd>,
    write: Write,
    is_terminal: bool,
}

enum Write {
    /// The reading descriptor is a socket and also writes.
    Same,
    Own(OwnedFd),
    None,
}

impl Wire {
    fn socket(fd: OwnedFd) -> Self {
        Self { read: Some(fd), write: Write::Same, is_terminal: false }
    }

    fn pipes(read: OwnedFd, write: Write) -> Self {
        let is_terminal = rustix::termios::isatty(&read);
        Self { read: Some(read), write, is_terminal }
    }

    pub(super) fn from_socket(socket: Socket) -> io::Result<Self> {
        let fd = match socket {
            Socket::Tcp(stream) => OwnedFd::from(stream),
            Socket::Unix(stream) => OwnedFd::from(stream),
            Socket::Simulated(_) => return Err(unsupported("this socket")),
        };
        crate::driver::unix::set_nonblocking(&fd)?;
        Ok(Self::socket(fd))
    }

    pub(super) fn connect(to: &Address) -> io::Result<Self> {
        match to {
            Address::Tcp(address) => Ok(Self::socket(socket::connect_tcp(*address)?.into())),
            Address::Unix(path) => Ok(Self::socket(socket::connect_unix(path)?.into())),
            Address::Simulated(_) => Err(unsupported("this address")),
        }
    }

    pub(super) fn stdio() -> io::Result<Self> {
        let ends = stdio::open()?;
        Ok(Self::pipes(ends.stdin, Write::Own(ends.stdout)))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let interest = if let Write::Same = self.write { both } else { Interest::READABLE };
        if let Some(fd) = &self.read {
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest)?;
        }
        if let Write::Own(fd) = &self.write {
            let result =
                registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::WRITABLE);
            if let Err(error) = result {
                self.deregister(registry);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Closing alone would leave the registration where a descriptor has a duplicate.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        let write = if let Write::Own(fd) = &self.write { Some(fd) } else { None };
        for fd in self.read.iter().chain(write) {
            let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }

    /// Whether the connection is made; an error if it failed.
    pub(super) fn connected(&self) -> io::Result<bool> {
        let fd = self.read.as_ref().expect("a socket that connects is open");
        rustix::net::sockopt::socket_error(fd)??;
        match rustix::net::getpeername(fd) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads into the spare capacity of `bytes`.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let fd = self.read.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match rustix::io::read(fd, rustix::buffer::spare_capacity(bytes)) {
            // What a terminal says when its other side is gone.
            Err(rustix::io::Errno::IO) if self.is_terminal => Ok(0),
            result => Ok(result?),
        }
    }

    pub(super) fn short_read_means_empty(&self) -> bool {
        !self.is_terminal
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = match &self.write {
            Write::Same => self.read.as_ref(),
            Write::Own(fd) => Some(fd),
            Write::None => None,
        };
        Ok(rustix::io::writev(fd.ok_or(io::ErrorKind::BrokenPipe)?, slices)?)
    }

    /// Ends the sending direction.
    pub(super) fn finish(&mut self, registry: &Registry) {
        match std::mem::replace(&mut self.write, Write::None) {
            Write::Same => {
                let fd = self.read.as_ref().expect("a socket is closed whole");
                // Fails where the peer is gone, which reading reports.
                let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
            }
            Write::Own(fd) => {
                let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
            }
            Write::None => {}
        }
    }
}

/// A running child.
pub(super) struct Process {
    running: Running,
    exit: OwnedFd,
}

/// A child just started.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) pipes: Wire,
    pub(super) errors: Wire,
}

pub(super) fn spawn(command: &Command) -> io::Result<Started> {
    let started = process::spawn(command)?;
    Ok(Started {
        process: Process { running: started.process, exit: started.exit },
        pipes: Wire::pipes(started.stdout, Write::Own(started.stdin)),
        errors: Wire::pipes(started.stderr, Write::None),
    })
}

/// Starts a child with a socket as its stdin; its stdout and stderr are one stream.
pub(super) fn spawn_on(command: &Command, stdin: Socket) -> io::Result<(Process, Wire)> {
    let Socket::Unix(stdin) = stdin else { return Err(unsupported("this socket")) };
    let started = process::spawn_on(command, stdin.into())?;
    let process = Process { running: started.process, exit: started.exit };
    Ok((process, Wire::pipes(started.output, Write::None)))
}

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.exit.as_raw_fd()), token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.exit.as_raw_fd()));
    }

    pub(super) fn try_reap(&mut self) -> io::Result<Option<ChildExit>> {
        self.running.try_reap()
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.running.signal(signal)
    }
}

/// The process's signals.
pub(super) struct Signals(Watched);

impl Signals {
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self(Watched::watch()?))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.0.fd().as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Signal> {
        self.0.take()
    }
}
