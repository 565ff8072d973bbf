//! Runs a client's program: whole, or line by line.
//!
//! Invariant: a program that says nothing for too long is ended.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longest time without a word.
const SILENCE: Duration = Duration::from_secs(150);

/// Runs a program to its end and hands on each line it prints.
///
/// # Errors
/// When it cannot be started, falls silent or fails; what it said last is in the text.
pub(super) fn lines(
    mut command: Command,
    errors: &Path,
    mut line: impl FnMut(&str),
) -> Result<(), String> {
    let log = File::create(errors);
    let log = log.map_err(|error| format!("cannot write {}: {error}", errors.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    let output = child.stdout.take().ok_or("its stdout is not piped")?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let whole = BufReader::new(output).lines().map_while(Result::ok);
        // The other end is gone once the program is given up.
        let _ = whole.map(|line| tell.send(line)).take_while(Result::is_ok).count();
    });
    loop {
        use std::sync::mpsc::RecvTimeoutError;
        match told.recv_timeout(SILENCE) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                return Err(format!("it said nothing for {SILENCE:?}"));
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{status}: {}", last_words(errors))),
    }
}

/// Runs a program to its end; all that it prints.
pub(super) fn whole(command: Command, errors: &Path) -> Result<String, String> {
    let mut text = String::new();
    lines(command, errors, |line| {
        text.push_str(line);
        text.push('\n');
    })?;
    Ok(text)
}

fn end(child: &mut Child) {
    // Ended or not, it is gone after this.
    let _ = child.kill().and_then(|()| child.wait());
}

fn last_words(errors: &Path) -> String {
    let said = std::fs::read_to_string(errors).unwrap_or_default();
    let said: Vec<&str> = said.lines().rev().take(4).collect();
    said.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
