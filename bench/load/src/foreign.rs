//! A client in another language does the asking; here its and the server's clocks are read.
//!
//! The client is a program that asks and checks answers as we do. It writes a line `counting` when its
//! warm-up is over and at the end one with six numbers: requests, the time they took in µs, and the
//! 50th, 99th, 99.9th and 100th percentile of theirs; then it waits for the end of its stdin, so that it
//! and a server it has started can be looked at.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::count::{Asked, Clocks, Counted};
use crate::options::Options;
use crate::proc;

/// Lets the client ask.
///
/// # Errors
/// When it fails, or says something else.
pub(crate) fn drive(options: &Options) -> Result<Counted, String> {
    let failed = |error: std::io::Error| format!("no client: {error}");
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Ended(command.spawn().map_err(failed)?);
    let pid = child.0.id();
    let mut lines = BufReader::new(child.0.stdout.take().expect("it was asked for")).lines();
    let mut next = |what: &str| match lines.next() {
        Some(Ok(line)) => Ok(line),
        _ => Err(format!("the client said nothing {what}")),
    };
    if next("before it counts")? != "counting" {
        return Err("the client does not say when it counts".into());
    }
    // A server that the client has started is below it.
    let servers = || match options.pid {
        Some(pid) => proc::tree(pid),
        None => proc::tree(pid).into_iter().filter(|below| *below != pid).collect(),
    };
    let start = Clocks::of(&servers(), pid, options);
    let line = next("at its end")?;
    let end = Clocks::of(&servers(), pid, options);
    let numbers: Option<Vec<f64>> =
        line.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    let Some([requests, took_us, quantiles_us @ ..]) =
        numbers.and_then(|numbers| <[f64; 6]>::try_from(numbers).ok())
    else {
        return Err(format!("the client said {line:?}"));
    };
    let asked =
        Asked { requests: requests as u64, quantiles_us, request_bytes: 0, answer_bytes: 0 };
    let counted = end.counted(&start, &servers(), asked);
    // Without what the client did to find its percentiles.
    Ok(Counted { window: Duration::from_secs_f64(took_us.max(1.0) / 1e6), ..counted })
}

/// Ends with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
