//! Several requests in flight through one channel: a shared-memory ring, or a server's stdin and
//! stdout.
//!
//! Invariants: answers may come in any order, each finds its question by its id; whatever has come
//! is answered with new requests before the next wake.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use kern_shm::{Client, Spin};

use crate::answer::Answer;
use crate::count::{Asked, Clocks, Counted};
use crate::histogram::Histogram;
use crate::options::Options;
use crate::question::Question;

/// Without any answer for so long the server is dead.
const SILENCE: Duration = Duration::from_secs(30);

enum Channel {
    Ring(Box<Client>),
    Pipes { child: Child, input: ChildStdin, output: BufReader<ChildStdout>, out: Vec<u8> },
}

impl Channel {
    fn open(options: &Options) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("no channel: {error}");
        if let Some(path) = &options.ring {
            let socket = std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
            let spin = match options.spin {
                Some(true) => Spin::Always,
                Some(false) => Spin::Never,
                None => Spin::Auto,
            };
            let ring = kern_shm::Options { spin, ..kern_shm::Options::default() };
            let client = Client::from_socket(socket, ring);
            return client.map(|client| Self::Ring(Box::new(client))).map_err(|e| e.to_string());
        }
        let mut command = Command::new(&options.command[0]);
        command.args(&options.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().map_err(failed)?;
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        Ok(Self::Pipes { child, input, output, out: Vec::new() })
    }

    /// Takes a message; it may be sent later, with others.
    fn push(&mut self, message: &[u8]) -> Result<(), String> {
        match self {
            Self::Ring(client) => client.push(message).map_err(|error| error.to_string()),
            Self::Pipes { out, .. } => {
                out.extend_from_slice(message);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        match self {
            Self::Ring(client) => client.flush(),
            Self::Pipes { input, out, .. } => {
                input.write_all(out).map_err(|error| format!("the channel broke: {error}"))?;
                out.clear();
            }
        }
        Ok(())
    }

    /// Waits for a message. Whether there was one; without `wait` only one that has come counts.
    fn take(&mut self, message: &mut Vec<u8>, wait: bool) -> Result<bool, String> {
        message.clear();
        match self {
            Self::Ring(client) if wait => {
                *message = client.recv(Some(SILENCE)).map_err(|error| error.to_string())?;
                Ok(true)
            }
            Self::Ring(client) => client.try_recv_into(message).map_err(|error| error.to_string()),
            Self::Pipes { output, .. } => {
                if !wait && !output.buffer().contains(&b'\n') {
                    return Ok(false);
                }
                let read = output.read_until(b'\n', message);
                match read.map_err(|error| format!("the channel broke: {error}"))? {
                    0 => Err("the server ended".into()),
                    _ => Ok(true),
                }
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Self::Pipes { child, .. } = self {
            // It may have ended by itself; either way it is gone after this.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The number of the id in a message.
fn id(message: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(message, b"\"id\":")? + 5;
    let digits = message[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number: u64, byte| number.wrapping_mul(10) + u64::from(byte - b'0')))
}

/// Warms up, then counts.
///
/// # Errors
/// The first wrong answer, a broken channel, or silence.
pub(crate) fn drive(options: &Options) -> Result<Counted, String> {
    let mut channel = Channel::open(options)?;
    let question = |place| (Question::call(options, None).at(place), Instant::now());
    let mut flights: Vec<(Question, Instant)> = (0..options.in_flight).map(question).collect();
    for (question, sent) in &mut flights {
        question.advance();
        *sent = Instant::now();
        channel.push(question.bytes())?;
    }
    channel.flush()?;
    let (mut answer, mut message) = (Answer::lines(), Vec::new());
    let mut latencies = Histogram::new();
    let mut sizes = (0, 0);
    let mut start: Option<Clocks> = None;
    let mut until = Instant::now() + options.warm_up;
    loop {
        let mut wait = true;
        let mut now = Instant::now();
        while channel.take(&mut message, wait)? {
            wait = false;
            let place = id(&message).and_then(Question::place);
            let Some((question, sent)) = place.and_then(|place| flights.get_mut(place)) else {
                continue;
            };
            answer.clear();
            answer.take_line(&message);
            answer.check(question, options.era)?;
            sizes = (question.bytes().len(), message.len());
            now = Instant::now();
            if start.is_some() {
                latencies.add((now - *sent).as_nanos() as u64);
            }
            question.advance();
            *sent = now;
            channel.push(question.bytes())?;
        }
        channel.flush()?;
        if now < until {
            continue;
        }
        let clocks = Clocks::read(options);
        match start.take() {
            None => {
                until = clocks.at + options.duration;
                start = Some(clocks);
            }
            Some(start) => {
                return Ok(clocks.counted(
                    &start,
                    &options.servers(),
                    Asked::new(&latencies, sizes),
                ));
            }
        }
    }
}
