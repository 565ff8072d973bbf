//! Where log lines go: stderr, since stdout may be a client.
//!
//! Invariant: a stderr that is closed or that nobody reads costs lines and nothing else. A thread
//! writes; it is handed the lines through a bounded queue, and those that don't fit are counted.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use kern_control::{LogFormat, LogPlan};
use tracing_subscriber::EnvFilter;

/// Lines that may wait; a line holds at most some 9 KiB (a server's stderr), so 18 MiB.
const WAITING_LINES_MAX: usize = 2_048;
/// Longest wait for the last lines when the process ends.
const FLUSH_MOST: Duration = Duration::from_millis(500);

static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Starts logging. `KERN_LOG` wins over the configuration.
///
/// # Errors
/// The filter cannot be read, or no thread can be started.
pub(super) fn start(plan: &LogPlan) -> Result<(), String> {
    let wanted = std::env::var("KERN_LOG").unwrap_or_else(|_| plan.level.clone());
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| format!("the log level {wanted:?} cannot be read: {error}"))?;
    let (to, from) = sync_channel(WAITING_LINES_MAX);
    let thread = std::thread::Builder::new().name("kern-log".into());
    let started = thread.spawn(move || write_all(&from));
    started.map_err(|error| format!("logging cannot be started: {error}"))?;
    // A second start fails below.
    let _ = QUEUE.set(to);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match plan.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// Lets the lines logged so far out, for at most [`FLUSH_MOST`]. To be called before the end.
pub(super) fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let (done, wait) = sync_channel(1);
    if queue.try_send(Entry::Flush(done)).is_ok() {
        // Whoever reads no log gets none.
        let _ = wait.recv_timeout(FLUSH_MOST);
    }
}

fn write_all(from: &Receiver<Entry>) {
    let mut stderr = std::io::stderr();
    for entry in from {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(stderr, "kern: {dropped} log lines were dropped: stderr was not read");
        }
        match entry {
            // There is nobody to tell that stderr is closed.
            Entry::Line(line) => drop(stderr.write_all(&line)),
            Entry::Flush(done) => drop(done.send(())),
        }
    }
}

/// Takes one whole line at each write.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let queue = QUEUE.get().ok_or(io::ErrorKind::NotConnected)?;
        if queue.try_send(Entry::Line(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
