//! The loop: read an answer, check it, send the next request.
//!
//! Invariants: one request in flight a connection; a latency runs from before the request is
//! written to after the answer is read whole; only answers that come within the counted time are
//! counted. Nothing is allocated in the loop.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token};

use crate::answer::Answer;
use crate::count::{Asked, Clocks, Counted};
use crate::histogram::Histogram;
use crate::options::Options;
use crate::pipes::Process;
use crate::question::Question;

/// Without any answer for so long the server is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes of text below which a request always fits the socket's empty buffer.
const SMALL: usize = 8 << 10;

/// How a server is reached.
#[derive(Debug)]
pub(crate) enum Wire {
    Socket(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
    /// A process that is ended with it.
    Process(Process),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    question: Question,
    answer: Answer,
    session: Option<String>,
    /// Bytes of the request that the socket has not taken yet.
    unsent: usize,
    sent: Instant,
}

impl Wire {
    fn register(&mut self, at: &Registry, token: Token, wanted: Interest) -> std::io::Result<()> {
        match self {
            Self::Socket(socket) => at.register(socket, token, wanted),
            Self::Unix(socket) => at.register(socket, token, wanted),
            Self::Process(process) => {
                at.register(&mut process.output, token, Interest::READABLE)?;
                match wanted.is_writable() {
                    true => at.register(&mut process.input, token, Interest::WRITABLE),
                    false => Ok(()),
                }
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
            Self::Process(process) => process.output.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
            Self::Process(process) => process.input.write(bytes),
        }
    }
}

impl Client {
    pub(crate) fn new(
        wire: Wire,
        question: Question,
        answer: Answer,
        session: Option<String>,
    ) -> Self {
        Self { wire, question, answer, session, unsent: 0, sent: Instant::now() }
    }

    /// Its session's id.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Whether the server has closed the connection meanwhile: some do after seconds.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.wire {
            Wire::Socket(socket) => match socket.peek(&mut [0]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            },
            Wire::Unix(_) | Wire::Process(_) => false,
        }
    }

    /// Goes on over another connection.
    pub(crate) fn rewire(&mut self, wire: Wire) {
        self.wire = wire;
    }

    /// Sends the next request, which `now` is the time of.
    fn send(&mut self, now: Instant) -> Result<(), String> {
        self.question.advance();
        self.answer.clear();
        self.sent = now;
        self.unsent = self.question.bytes().len();
        self.flush()
    }

    /// Sends what the socket takes of the request; the rest follows when it has room.
    fn flush(&mut self) -> Result<(), String> {
        while self.unsent > 0 {
            let bytes = self.question.bytes();
            match self.wire.write(&bytes[bytes.len() - self.unsent..]) {
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("a request cannot be sent: {error}")),
            }
        }
        Ok(())
    }

    /// Reads what came; whether the answer is whole and right.
    fn receive(&mut self, buffer: &mut [u8], options: &Options) -> Result<bool, String> {
        loop {
            match self.wire.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => {
                    if self.answer.push(&buffer[..count])? {
                        self.answer.check(&self.question, options.era)?;
                        return Ok(true);
                    }
                    // A short read has emptied the socket: the next bytes wake us again.
                    if count < buffer.len() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
    }
}

/// Warms up, then counts.
///
/// # Errors
/// The first wrong answer, lost connection, or silence.
pub(crate) fn drive(options: &Options, clients: &mut [Client]) -> Result<Counted, String> {
    let failed = |error| format!("cannot wait for sockets: {error}");
    let mut poll = Poll::new().map_err(failed)?;
    let mut events = Events::with_capacity(1024);
    for (at, client) in clients.iter_mut().enumerate() {
        let wanted = match options.text_bytes {
            ..SMALL => Interest::READABLE,
            _ => Interest::READABLE | Interest::WRITABLE,
        };
        client.wire.register(poll.registry(), Token(at), wanted).map_err(failed)?;
    }
    for client in clients.iter_mut() {
        client.send(Instant::now())?;
    }
    let mut buffer = vec![0; 64 << 10];
    let mut latencies = Histogram::new();
    let mut answer_bytes = 0;
    let mut start: Option<Clocks> = None;
    let mut until = Instant::now() + options.warm_up;
    loop {
        poll.poll(&mut events, Some(SILENCE)).map_err(failed)?;
        if events.is_empty() {
            return Err(format!("no answer for {} s", SILENCE.as_secs()));
        }
        let mut now = Instant::now();
        for event in &events {
            let client = &mut clients[event.token().0];
            if client.unsent > 0 {
                client.flush()?;
                continue;
            }
            if !client.receive(&mut buffer, options)? {
                continue;
            }
            now = Instant::now();
            answer_bytes = client.answer.len();
            if start.is_some() {
                latencies.add((now - client.sent).as_nanos() as u64);
            }
            client.send(now)?;
        }
        if now < until {
            continue;
        }
        let clocks = Clocks::read(options);
        let Some(start) = start.take() else {
            until = clocks.at + options.duration;
            start = Some(clocks);
            continue;
        };
        let request_bytes = clients.first().map_or(0, |client| client.question.bytes().len());
        let asked = Asked::new(&latencies, (request_bytes, answer_bytes));
        return Ok(clocks.counted(&start, &options.servers(), asked));
    }
}
