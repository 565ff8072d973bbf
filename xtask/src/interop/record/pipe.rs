//! Stands between a client and the server it starts, and writes down the lines that pass.
//!
//! Invariant: a line is in the log before it is passed on, so the log's order is one that both sides
//! can have seen.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::event::{Event, Side, What};

/// Starts a server and passes on what it and our own stdin say.
#[derive(clap::Args, Debug)]
pub(crate) struct PipeArgs {
    /// Where the lines are written down
    log: PathBuf,
    /// The server
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the server until it ends.
///
/// # Errors
/// When it cannot be started, and when the log cannot be written.
pub(crate) fn pipe(args: &PipeArgs) -> Result<(), String> {
    let log = File::options().append(true).create(true).open(&args.log);
    let log = log.map_err(|error| format!("cannot write {}: {error}", args.log.display()))?;
    let log = Arc::new(Mutex::new(log));
    let (program, words) = args.command.split_first().expect("clap demands a command");
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let input = child.stdin.take().ok_or("no stdin")?;
    let output = child.stdout.take().ok_or("no stdout")?;
    let ours = Arc::clone(&log);
    // It ends with our stdin, or with this process.
    std::thread::spawn(move || pass(std::io::stdin(), input, "client", &ours));
    pass(output, std::io::stdout(), "server", &log);
    child.wait().map(|_| ()).map_err(|error| error.to_string())
}

/// Passes lines on until one of the two is gone.
fn pass(from: impl Read, mut to: impl Write, side: &str, log: &Mutex<File>) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let note = json!({ "from": side, "text": String::from_utf8_lossy(&line) });
        let written = writeln!(log.lock().expect("nobody panics while holding it"), "{note}");
        let passed = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        if written.and(passed).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// What a log says.
pub(super) fn read(log: &std::path::Path) -> Vec<Event> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let events = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let side = if line["from"] == "client" { Side::Client } else { Side::Server };
        let text = line["text"].as_str()?.trim_end_matches('\r').to_owned();
        Some(Event { stream: 0, what: What::Line(side, text) })
    });
    events.collect()
}
