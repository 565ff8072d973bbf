//! A server for each client: processes, led through their stdin and stdout.
//!
//! Invariant: a process ends with its client, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use mio::unix::pipe::{Receiver, Sender};

use crate::answer::Answer;
use crate::client::{Client, Wire};
use crate::options::{Era, Options};
use crate::question::{INITIALIZE, INITIALIZED, Question};

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) input: Sender,
    pub(crate) output: Receiver,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts all servers at once; each has given one right answer when this returns.
///
/// # Errors
/// The first that failed.
pub(crate) fn connect(options: &Options) -> Result<Vec<Client>, String> {
    let mut started = Vec::new();
    for _ in 0..options.connections {
        started.push(Started::spawn(options)?);
    }
    started.into_iter().map(|started| started.greet(options)).collect()
}

/// A server that nothing was read from.
struct Started {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    question: Question,
}

impl Started {
    /// Starts one, and writes the greeting and the first request.
    fn spawn(options: &Options) -> Result<Self, String> {
        let mut command = Command::new(&options.command[0]);
        command.args(&options.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error| format!("cannot start {}: {error}", options.command[0]);
        let mut child = command.stderr(Stdio::null()).spawn().map_err(failed)?;
        let mut input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let question = Question::call(options, None);
        if options.era == Era::Session {
            input.write_all(format!("{INITIALIZE}\n").as_bytes()).map_err(failed)?;
        }
        Ok(Self { child, input, output, question })
    }

    /// Waits for its answers.
    fn greet(mut self, options: &Options) -> Result<Client, String> {
        let failed = |error| format!("a server broke off: {error}");
        if options.era == Era::Session {
            self.answer()?;
            self.input.write_all(format!("{INITIALIZED}\n").as_bytes()).map_err(failed)?;
        }
        self.input.write_all(self.question.bytes()).map_err(failed)?;
        let answer = self.answer()?;
        answer.check(&self.question, options.era)?;
        let process = Process {
            child: self.child,
            input: Sender::from(self.input),
            output: Receiver::from(self.output.into_inner()),
        };
        process.input.set_nonblocking(true).map_err(failed)?;
        process.output.set_nonblocking(true).map_err(failed)?;
        Ok(Client::new(Wire::Process(process), self.question, Answer::lines(), None))
    }

    fn answer(&mut self) -> Result<Answer, String> {
        let mut answer = Answer::lines();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.output.read_until(b'\n', &mut line);
            if read.map_err(|error| format!("a server broke off: {error}"))? == 0 {
                return Err("a server ended".into());
            }
            if answer.push(&line)? {
                return Ok(answer);
            }
        }
    }
}
