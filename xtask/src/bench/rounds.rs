//! Rounds: everybody is asked once, then everybody again, so that a slow minute of the machine
//! hits all alike.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::gateway::{Effort, Entry, Servers, Stage};
use super::server::{Server, bound};

/// Longest time until a server gives its first right answer.
const FIRST_ANSWER: Duration = Duration::from_secs(20);

/// What one entry did in one round.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// As the load generator said it.
    pub(super) raw: Value,
}

impl Sample {
    /// A number the load generator gave.
    pub(super) fn get(&self, name: &str) -> f64 {
        self.raw[name].as_f64().unwrap_or(f64::NAN)
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.get("requests") / self.get("seconds")
    }

    /// CPU time of the server, µs a request.
    pub(super) fn cpu_us(&self) -> f64 {
        self.get("server_cpu_s") * 1e6 / self.get("requests")
    }

    /// The share (0 to 1) of the counted time that `name`, a CPU time in seconds, takes.
    pub(super) fn share(&self, name: &str) -> f64 {
        self.get(name) / self.get("seconds")
    }
}

/// One entry at one number of connections.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) connections: usize,
    /// One a round.
    pub(super) samples: Vec<Sample>,
}

/// Measures all entries with each number of connections.
///
/// # Errors
/// The first error of the load generator: a wrong answer, a lost connection.
pub(super) fn run(
    stage: &Stage<'_>,
    servers: &Servers,
    entries: &[Entry],
    connections: &[usize],
    effort: Effort,
) -> Result<Vec<Row>, String> {
    for entry in entries {
        first_answer(stage, server(servers, entry)?, entry, effort)?;
    }
    let mut rows = Vec::new();
    for connections in connections.iter().copied() {
        let empty = |entry: &Entry| Row { entry: entry.clone(), connections, samples: Vec::new() };
        let mut table: Vec<Row> = entries.iter().map(empty).collect();
        for round in 0..effort.rounds {
            eprintln!("bench: {connections} connections, round {} of {}", round + 1, effort.rounds);
            for row in &mut table {
                let server = server(servers, &row.entry)?;
                let times = (effort.warm_up, effort.duration);
                let raw = load(stage, server, &row.entry, connections, times, effort)?;
                row.samples.push(Sample { raw });
            }
        }
        rows.extend(table);
    }
    Ok(rows)
}

fn server<'a>(servers: &'a Servers, entry: &Entry) -> Result<&'a Server, String> {
    let found = servers.iter().find(|(name, _)| *name == entry.server);
    found.map(|(_, server)| server).ok_or_else(|| format!("{} does not run", entry.server))
}

/// Waits until the server answers right; a gateway has to get to know its upstream first.
fn first_answer(
    stage: &Stage<'_>,
    server: &Server,
    entry: &Entry,
    effort: Effort,
) -> Result<(), String> {
    let until = Instant::now() + FIRST_ANSWER;
    let times = (Duration::ZERO, Duration::from_millis(1));
    loop {
        match load(stage, server, entry, 1, times, effort) {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > until => return Err(why),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

fn load(
    stage: &Stage<'_>,
    server: &Server,
    entry: &Entry,
    connections: usize,
    (warm_up, duration): (Duration, Duration),
    effort: Effort,
) -> Result<Value, String> {
    let (server_core, load_core) = stage.machine.cores.unzip();
    let mut command = bound(stage.machine, load_core, &stage.programs.load);
    let mut option = |name: &str, value: String| {
        command.arg(name).arg(value);
    };
    option("--address", server.address.to_string());
    option("--path", entry.path.to_owned());
    option("--era", entry.era.to_owned());
    option("--connections", connections.to_string());
    option("--warm-up-ms", warm_up.as_millis().to_string());
    option("--duration-ms", duration.as_millis().to_string());
    option("--text-bytes", effort.text_bytes.to_string());
    option("--pid", server.pid().to_string());
    // What is asked directly shares the load generator's processor.
    if let Some(core) = server_core.filter(|_| entry.server != "upstream") {
        option("--server-core", core.to_string());
    }
    let failed = |error| format!("cannot start the load generator: {error}");
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let (name, tail) = (entry.name, server.tail());
        return Err(format!("{name}, {connections} connections: {}\n{tail}", said.trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("the load generator: {error}"))
}
