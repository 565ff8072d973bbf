//! Opening and ending the connections of a run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::answer::Answer;
use crate::client::{Client, Wire};
use crate::options::{Era, Options};
use crate::pipes;
use crate::question::{self, Question};

/// Longest wait for an answer outside the counted time.
const WAIT: Duration = Duration::from_secs(30);

/// Connections that are opened at the same time.
const PARALLEL: usize = 32;

/// A connected client before its socket is made non-blocking.
struct Blocking {
    socket: Socket,
    answer: Answer,
}

/// A socket of either kind.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn wait_at_most(&self, time: Duration) -> std::io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(time)),
            Self::Unix(socket) => socket.set_read_timeout(Some(time)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.write_all(bytes),
            Self::Unix(socket) => socket.write_all(bytes),
        }
    }
}

impl Blocking {
    fn open(options: &Options) -> Result<Self, String> {
        let failed = |error| format!("cannot connect: {error}");
        let socket = match &options.unix {
            Some(path) => UnixStream::connect(path).map(Socket::Unix),
            None => TcpStream::connect_timeout(&options.address, WAIT).and_then(|socket| {
                socket.set_nodelay(true)?;
                // Closed with a reset: thousands of ports are not kept from the next run.
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
                Ok(Socket::Tcp(socket))
            }),
        };
        let socket = socket.map_err(failed)?;
        socket.wait_at_most(WAIT).map_err(failed)?;
        Ok(Self { socket, answer: Answer::default() })
    }

    fn ask(&mut self, request: &[u8]) -> Result<(), String> {
        let failed = |error| format!("the connection broke: {error}");
        self.answer.clear();
        self.socket.write_all(request).map_err(failed)?;
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer).map_err(failed)? {
                0 => return Err("the server closed a connection".into()),
                count if self.answer.push(&buffer[..count])? => return Ok(()),
                _ => {}
            }
        }
    }

    /// Opens a session; its id.
    fn greet(&mut self, options: &Options) -> Result<String, String> {
        self.ask(question::initialize(options).as_bytes())?;
        let session = self.session().ok_or("the server opened no session")?;
        self.ask(question::initialized(options, Some(&session)).as_bytes())?;
        Ok(session)
    }

    /// The session id in the last answer's head.
    fn session(&self) -> Option<String> {
        let head = String::from_utf8_lossy(self.answer.head());
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("mcp-session-id").then(|| value.trim().to_owned())
        })
    }
}

/// An open session.
pub(crate) struct Held {
    blocking: Blocking,
    session: String,
}

impl Held {
    /// Connects and greets.
    ///
    /// # Errors
    /// When the server opens no session.
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        let mut blocking = Blocking::open(options)?;
        let session = blocking.greet(options)?;
        Ok(Self { blocking, session })
    }

    /// Ends the session, and the connection.
    ///
    /// # Errors
    /// When the server does not end it.
    pub(crate) fn close(mut self, options: &Options) -> Result<(), String> {
        self.blocking.ask(question::delete(options, &self.session).as_bytes())
    }
}

/// Opens sessions that nothing else is asked in, all through one connection.
///
/// # Errors
/// The first that the server does not open.
pub(crate) fn idle_sessions(options: &Options) -> Result<(), String> {
    if options.idle_sessions == 0 {
        return Ok(());
    }
    let mut blocking = Blocking::open(options)?;
    (0..options.idle_sessions).try_for_each(|_| blocking.greet(options).map(drop))
}

/// Connects all clients, with their sessions; the first has had one right answer when this returns.
/// (Not each: where answers take long, servers close the connections that wait for the others.)
///
/// # Errors
/// The first that failed.
pub(crate) fn connect(options: &Options) -> Result<Vec<Client>, String> {
    if !options.command.is_empty() {
        return pipes::connect(options);
    }
    let first = connect_one(options, true)?;
    // Some at a time: a server that takes long for each would close those that wait for the others.
    let workers = PARALLEL.min(options.connections - 1);
    let share = |worker: usize| {
        let own = (1..options.connections).skip(worker).step_by(workers);
        own.map(|_| connect_one(options, false)).collect::<Result<Vec<Client>, String>>()
    };
    let mut clients = vec![first];
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || share(worker))).collect();
        for thread in threads {
            clients.extend(thread.join().expect("connecting does not panic")?);
        }
        Ok::<(), String>(())
    })?;
    for client in clients.iter_mut().filter(|client| client.is_closed()) {
        client.rewire(nonblocking(Blocking::open(options)?.socket)?);
    }
    Ok(clients)
}

fn connect_one(options: &Options, ask: bool) -> Result<Client, String> {
    let mut blocking = Blocking::open(options)?;
    let session = match options.era {
        Era::Session => Some(blocking.greet(options)?),
        Era::Modern | Era::Stateless | Era::Fixed => None,
    };
    let question = Question::call(options, session.as_deref());
    if ask {
        blocking.ask(question.bytes())?;
        blocking.answer.check(&question, options.era)?;
    }
    blocking.answer.clear();
    let wire = nonblocking(blocking.socket)?;
    Ok(Client::new(wire, question, blocking.answer, session))
}

fn nonblocking(socket: Socket) -> Result<Wire, String> {
    let failed = |error| format!("a socket cannot be made non-blocking: {error}");
    match socket {
        Socket::Tcp(socket) => {
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(Wire::Socket(mio::net::TcpStream::from_std(socket)))
        }
        Socket::Unix(socket) => {
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(Wire::Unix(mio::net::UnixStream::from_std(socket)))
        }
    }
}

/// Ends the sessions.
///
/// # Errors
/// A server that does not end one.
pub(crate) fn goodbye(options: &Options, clients: Vec<Client>) -> Result<(), String> {
    let sessions = clients.iter().filter_map(Client::session).map(str::to_owned).collect();
    drop(clients);
    let sessions: Vec<String> = sessions;
    if sessions.is_empty() {
        return Ok(());
    }
    let mut blocking = Blocking::open(options)?;
    sessions
        .iter()
        .try_for_each(|session| blocking.ask(question::delete(options, session).as_bytes()))
}
