//! The portable driver's system calls where there is no Unix: every stream is a TCP socket.
//!
//! Pipes, stdio and the end of a child are pumped (see `pump`). Signals to children: whatever is
//! asked for, the child is ended; there are no process groups. Signals to this process come from
//! the console (see `console`). None of this limits serving over TCP.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

pub(super) use super::console::Signals;
use super::pump;
use crate::driver::{Address, Socket};
use crate::event::{ChildExit, Command, Listen, Local, Peer, Signal};
use crate::limits::LISTEN_BACKLOG;

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} is not offered on this system"))
}

fn no_unix_sockets() -> io::Error {
    let why = "Unix sockets are not available on this system";
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// A listening socket.
pub(super) struct Listener(mio::net::TcpListener);

impl Listener {
    pub(super) fn open(at: &Listen) -> io::Result<(Self, Local)> {
        let address = match at {
            Listen::Tcp { address, shared: false } => *address,
            Listen::Tcp { shared: true, .. } | Listen::Held(_) => {
                return Err(unsupported("listening on one address with several cores"));
            }
            Listen::Unix(_) | Listen::Ring(_) => return Err(no_unix_sockets()),
            Listen::Simulated(_) => return Err(unsupported("a simulated listener")),
        };
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        let local = Local::Tcp(listener.local_addr()?);
        Ok((Self(mio::net::TcpListener::from_std(listener)), local))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // Closing, which follows, does the same.
        let _ = registry.deregister(&mut self.0);
    }

    pub(super) fn accept(&self) -> io::Result<(Socket, Peer)> {
        let (stream, address) = self.0.accept()?;
        stream.set_nodelay(true)?;
        Ok((Socket::Tcp(stream.into()), Peer::Tcp(address)))
    }
}

/// A stream: always a socket.
pub(super) struct Wire(mio::net::TcpStream);

impl Wire {
    fn pumped(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self(mio::net::TcpStream::from_std(stream)))
    }

    pub(super) fn from_socket(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(stream) => Self::pumped(stream),
            Socket::Simulated(_) => Err(unsupported("a simulated socket")),
        }
    }

    pub(super) fn connect(to: &Address) -> io::Result<Self> {
        match to {
            Address::Tcp(address) => Ok(Self(mio::net::TcpStream::connect(*address)?)),
            Address::Unix(_) => Err(no_unix_sockets()),
            Address::Simulated(_) => Err(unsupported("a simulated address")),
        }
    }

    pub(super) fn stdio() -> io::Result<Self> {
        let (socket, writer) = pump::join(Some(io::stdin()), Some(io::stdout()))?;
        *WRITER.lock().expect("holders do not panic") = writer;
        Self::pumped(socket)
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.0);
    }

    pub(super) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            Ok(_) => self.0.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        bytes.resize(bytes.capacity(), 0);
        let result = self.0.read(bytes);
        bytes.truncate(*result.as_ref().unwrap_or(&0));
        result
    }

    /// The system tells of more only after a read that would have waited.
    pub(super) fn short_read_means_empty(&self) -> bool {
        false
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    pub(super) fn finish(&mut self, _registry: &Registry) {
        // Fails where the peer is gone, which reading reports.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// A running child, shared with the thread that waits for its end. Dropping it kills it.
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    id: u32,
    exit: mio::net::TcpStream,
}

/// A child just started.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) pipes: Wire,
    pub(super) errors: Wire,
}

/// How often the waiting thread looks whether a child has ended.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// Starts a child with a console of its own that is not shown: no window opens where this process
/// has no console, and Ctrl-C at this one's is not the child's.
pub(super) fn spawn(command: &Command) -> io::Result<Started> {
    let mut builder = std::process::Command::new(&command.program);
    builder.args(&command.args).env_clear();
    builder.envs(command.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &command.cwd {
        builder.current_dir(cwd);
    }
    builder.creation_flags(CREATE_NO_WINDOW);
    builder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = builder.spawn()?;
    let id = child.id();
    let (stdout, stdin, stderr) = (child.stdout.take(), child.stdin.take(), child.stderr.take());
    let child = Arc::new(Mutex::new(child));
    let watched = Arc::clone(&child);
    let exit = pump::when(move || {
        while let Ok(None) = watched.lock().expect("holders do not panic").try_wait() {
            std::thread::sleep(EXIT_POLL);
        }
    })?;
    exit.set_nonblocking(true)?;
    let process = Process { child, id, exit: mio::net::TcpStream::from_std(exit) };
    let (pipes, _) = pump::join(stdout, stdin)?;
    let (errors, _) = pump::join(stderr, None::<io::Sink>)?;
    Ok(Started { process, pipes: Wire::pumped(pipes)?, errors: Wire::pumped(errors)? })
}

impl Process {
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.exit, token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.exit);
    }

    pub(super) fn try_reap(&mut self) -> io::Result<Option<ChildExit>> {
        let status = self.child.lock().expect("holders do not panic").try_wait()?;
        Ok(status.map(|status| ChildExit { code: status.code(), signal: None }))
    }

    pub(super) fn signal(&self, _signal: Signal) -> io::Result<()> {
        self.child.lock().expect("holders do not panic").kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.signal(Signal::Kill);
    }
}

/// The thread that writes stdout.
static WRITER: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Waits until everything given to stdout was written, at most `most`.
pub(crate) fn drain_stdio(most: Duration) {
    let Some(thread) = WRITER.lock().expect("holders do not panic").take() else { return };
    let until = Instant::now() + most;
    while !thread.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}
