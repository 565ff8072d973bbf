//! Rounds: everybody is asked once, then everybody again, so that a slow minute of the machine
//! hits all alike.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::effort::Effort;
use super::server::{Server, bound};
use super::stage::{Entry, Servers, Stage, find};

/// Longest time until a server gives its first right answer.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

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

/// What is asked of everybody alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Each has one request in flight.
    pub(super) connections: usize,
    /// Bytes of the text to echo.
    pub(super) text_bytes: usize,
}

impl Condition {
    /// Every number of connections with every size.
    pub(super) fn all(connections: &[usize], text_bytes: &[usize]) -> Vec<Self> {
        let pair = |text_bytes: usize| {
            connections
                .iter()
                .map(move |connections| Self { connections: *connections, text_bytes })
        };
        text_bytes.iter().copied().flat_map(pair).collect()
    }
}

/// One entry under one condition.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) condition: Condition,
    /// One a round.
    pub(super) samples: Vec<Sample>,
    /// Why it is not measured any more.
    pub(super) failed: Option<String>,
}

/// Measures all entries under each condition.
///
/// # Errors
/// The first error about one of ours: a wrong answer, a lost connection. A peer's ends its row.
pub(super) fn run(
    stage: &Stage,
    servers: &Servers,
    entries: &[Entry],
    conditions: &[Condition],
    effort: Effort,
) -> Result<Vec<Row>, String> {
    let mut answering: Vec<Entry> = Vec::new();
    for entry in entries {
        match first_answer(stage, find(servers, entry.server)?, entry) {
            Ok(()) => answering.push(entry.clone()),
            Err(why) if entry.is_ours() => return Err(why),
            Err(why) => println!("{} is left out: {why}", entry.name),
        }
    }
    let mut rows = Vec::new();
    for condition in conditions.iter().copied() {
        let empty = |entry: &Entry| Row {
            entry: entry.clone(),
            condition,
            samples: Vec::new(),
            failed: None,
        };
        let mut table: Vec<Row> = answering.iter().map(empty).collect();
        for round in 0..effort.rounds {
            let Condition { connections, text_bytes } = condition;
            eprintln!(
                "bench: {connections} connections, {text_bytes} B, round {} of {}",
                round + 1,
                effort.rounds
            );
            for row in table.iter_mut().filter(|row| row.failed.is_none()) {
                let server = find(servers, row.entry.server)?;
                let times = (effort.warm_up, effort.duration);
                match load(stage, server, &row.entry, condition, times) {
                    Ok(raw) => row.samples.push(Sample { raw }),
                    Err(why) if row.entry.is_ours() => return Err(why),
                    Err(why) => row.failed = Some(why),
                }
            }
        }
        rows.extend(table);
    }
    Ok(rows)
}

/// Waits until the server answers right; a gateway has to get to know its upstream first.
fn first_answer(stage: &Stage, server: &Server, entry: &Entry) -> Result<(), String> {
    let until = Instant::now() + FIRST_ANSWER;
    let times = (Duration::ZERO, Duration::from_millis(1));
    let one = Condition { connections: 1, text_bytes: 64 };
    loop {
        match load(stage, server, entry, one, times) {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > until => return Err(why),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
}

/// Runs the load generator once.
///
/// # Errors
/// What it says is wrong, with the last words of the server.
pub(super) fn load(
    stage: &Stage,
    server: &Server,
    entry: &Entry,
    condition: Condition,
    (warm_up, duration): (Duration, Duration),
) -> Result<Value, String> {
    let mut options = vec![
        ("--address", server.address.to_string()),
        ("--path", entry.path.to_owned()),
        ("--tool", entry.tool.to_owned()),
        ("--era", entry.era.to_owned()),
        ("--connections", condition.connections.to_string()),
        ("--warm-up-ms", warm_up.as_millis().to_string()),
        ("--duration-ms", duration.as_millis().to_string()),
        ("--text-bytes", condition.text_bytes.to_string()),
        ("--pid", server.pid().to_string()),
    ];
    // What is asked directly shares the load generator's processor.
    if let Some((core, _)) = stage.machine.cores.filter(|_| !server.behind) {
        options.push(("--server-core", core.to_string()));
    }
    let said = generate(stage, &options, &[]);
    said.map_err(|why| format!("{}, {condition:?}: {why}\n{}", entry.name, server.tail()))
}

/// Runs the load generator with these options, and the command of a server for each client.
///
/// # Errors
/// What it says is wrong.
pub(super) fn generate(
    stage: &Stage,
    options: &[(&str, String)],
    server: &[String],
) -> Result<Value, String> {
    let core = stage.machine.cores.map(|(_, load)| load.to_string());
    let mut command = bound(&stage.machine, core.as_deref(), &stage.load);
    for (name, value) in options {
        command.arg(name).arg(value);
    }
    if !server.is_empty() {
        command.arg("--").args(server);
    }
    let failed = |error| format!("cannot start the load generator: {error}");
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(said.trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("the load generator: {error}"))
}
