//! Opening and ending the connections of a run, one after another.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::answer::Answer;
use crate::client::Client;
use crate::options::{Era, Options};
use crate::question::{self, Question};

/// Longest wait for an answer outside the counted time.
const WAIT: Duration = Duration::from_secs(30);

/// A connected client before its socket is made non-blocking.
struct Blocking {
    socket: TcpStream,
    answer: Answer,
}

impl Blocking {
    fn open(options: &Options) -> Result<Self, String> {
        let socket = TcpStream::connect_timeout(&options.address, WAIT)
            .and_then(|socket| {
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(WAIT))?;
                Ok(socket)
            })
            .map_err(|error| format!("cannot connect to {}: {error}", options.address))?;
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

    /// The session id in the last answer's head.
    fn session(&self) -> Option<String> {
        let head = String::from_utf8_lossy(self.answer.head());
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("mcp-session-id").then(|| value.trim().to_owned())
        })
    }
}

/// Connects all clients, with their sessions; the first has had one right answer when this returns.
/// (Not each: where answers take long, servers close the connections that wait for the others.)
///
/// # Errors
/// The first that failed.
pub(crate) fn connect(options: &Options) -> Result<Vec<Client>, String> {
    (0..options.connections).map(|at| connect_one(options, at == 0)).collect()
}

fn connect_one(options: &Options, ask: bool) -> Result<Client, String> {
    let mut blocking = Blocking::open(options)?;
    let mut session = None;
    if options.era == Era::Session {
        blocking.ask(question::initialize(options).as_bytes())?;
        session = blocking.session();
        if session.is_none() {
            return Err("the server opened no session".into());
        }
        let text = question::initialized(options, session.as_deref());
        blocking.ask(text.as_bytes())?;
    }
    let question = Question::call(options, session.as_deref());
    if ask {
        blocking.ask(question.bytes())?;
        blocking.answer.check(&question, options.era)?;
    }
    let failed = |error| format!("a socket cannot be made non-blocking: {error}");
    blocking.socket.set_nonblocking(true).map_err(failed)?;
    blocking.answer.clear();
    let stream = mio::net::TcpStream::from_std(blocking.socket);
    Ok(Client::new(stream, question, blocking.answer, session))
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
