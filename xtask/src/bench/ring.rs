//! `bench ring`: a shared-memory ring to `kern`, next to its other doors.
//!
//! One `kern` with the builtin, one client, the same calls through each door: one in flight, and
//! sixteen. Over HTTP those are sixteen connections, through a ring or a pipe one channel carries
//! them all. Clients in C and in Python ask, too. What two processes reach through a bare ring is
//! measured by the example `ring_bench`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::clients::{Clients, PYTHON};
use super::effort::{Effort, EffortArgs};
use super::native::panels;
use super::report::{self, Figures};
use super::rounds::{Condition, Row, Sample, generate};
use super::server::{Server, bound};
use super::stage::{Entry, Stage};
use super::svg::Plot;

/// Measures the doors of one `kern`.
#[derive(clap::Args, Debug)]
pub(crate) struct RingArgs {
    #[command(flatten)]
    effort: EffortArgs,
}

const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";
const IN_FLIGHT: [usize; 2] = [1, 16];

const fn entry(name: &'static str, server: &'static str) -> Entry {
    let (path, tool, era) = ("/mcp/echo", "echo", "modern");
    Entry { name, server, path, tool, era, floor: None, direct: None, peer: None }
}

/// A client in Python.
const fn python(name: &'static str, how: &'static str) -> Entry {
    Entry { peer: Some(PYTHON), ..entry(name, how) }
}

/// The doors; clients in other languages.
const ENTRIES: [Entry; 12] = [
    entry("TCP, HTTP", "tcp"),
    entry("Unix socket, HTTP", "unix"),
    entry("stdio", "stdio"),
    entry("ring, never spins", "never"),
    entry("ring, spins if it pays", "auto"),
    entry("ring, always spins", "always"),
    Entry { peer: Some("cc"), ..entry("C, ring", "c-ring") },
    python(OURS, "plain-ring"),
    python("Python, stdio", "plain-stdio"),
    python("Python SDK, ring", "sdk-ring"),
    python(OFFICIAL, "sdk-stdio"),
    python("Python SDK alone", "sdk-nothing"),
];

/// Ours without an SDK, and the official one as it comes: what is compared.
const OURS: &str = "Python, ring";
const OFFICIAL: &str = "Python SDK, stdio";

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something cannot be built or started, and at the first wrong answer.
pub(super) fn run(root: &Path, args: &RingArgs) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("rings exist on Linux only".to_owned());
    }
    let effort = args.effort.effort();
    let stage = Stage::ready(root, args.effort.kern.as_deref(), false)?;
    let sockets = [stage.folder.join("kern.sock"), stage.folder.join("kern.ring")];
    let server = stage.start_with("ring", |address| {
        let mut launch = stage.kern("ring", "auto", address, ECHO)?;
        for (option, path) in ["--unix", "--ring"].into_iter().zip(&sockets) {
            launch.arguments.extend([option.into(), path.clone().into_os_string()]);
        }
        Ok(launch)
    })?;
    let wanted = ENTRIES.iter().filter(|entry| args.effort.wants(entry.name));
    let mut wanted: Vec<Entry> = wanted.cloned().collect();
    let clients = Clients::ready(root, &stage, &mut wanted)?;
    let mut rows = Vec::new();
    for connections in IN_FLIGHT {
        let condition = Condition { connections, text_bytes: 200 };
        rows.extend(wanted.iter().map(|entry| Row {
            entry: entry.clone(),
            condition,
            samples: Vec::new(),
            failed: None,
        }));
    }
    for round in 0..effort.rounds {
        eprintln!("bench: round {} of {}", round + 1, effort.rounds);
        for row in rows.iter_mut().filter(|row| row.failed.is_none()) {
            match measure(&stage, &server, &sockets, &clients, row, effort) {
                Ok(sample) => row.samples.push(sample),
                Err(why) if row.entry.is_ours() => return Err(why),
                Err(why) => row.failed = Some(why),
            }
        }
    }
    drop(server);
    println!("connections: over HTTP; requests in flight through the one channel of the others");
    report::print(&rows, effort);
    compare(&rows);
    let bare = bare(root)?;
    println!(
        "\ntwo processes and nothing else (cargo run --release -p kern-shm --example ring_bench):"
    );
    println!("{bare}");
    let mut figures = report::to_json(&stage.machine, &rows, effort);
    figures["bare"] = json!(bare);
    args.effort.keep(root, "ring", &figures, &draw(&stage, &rows))
}

fn measure(
    stage: &Stage,
    server: &Server,
    [unix, ring]: &[std::path::PathBuf; 2],
    clients: &Clients,
    row: &Row,
    effort: Effort,
) -> Result<Sample, String> {
    let in_flight = row.condition.connections.to_string();
    let mut options = vec![
        ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
        ("--duration-ms", effort.duration.as_millis().to_string()),
        ("--text-bytes", row.condition.text_bytes.to_string()),
        ("--path", row.entry.path.to_owned()),
    ];
    let mut command = Vec::new();
    let of_its_own = matches!(row.entry.server, "stdio" | "plain-stdio" | "sdk-stdio");
    if !of_its_own {
        options.push(("--pid", server.pid().to_string()));
        options.push(("--address", server.address.to_string()));
        let core = stage.machine.cores.map(|(server, _)| server.to_string());
        options.extend(core.map(|core| ("--server-core", core)));
    }
    match row.entry.server {
        "tcp" => options.push(("--connections", in_flight)),
        "unix" => {
            options.extend([("--connections", in_flight), ("--unix", unix.display().to_string())])
        }
        "stdio" => {
            options.push(("--in-flight", in_flight));
            command = child(stage)?;
        }
        how if how.contains('-') => {
            options.push(("--client", "true".to_owned()));
            let target = if of_its_own { child(stage)? } else { vec![ring.display().to_string()] };
            command = clients.command(how, row.condition, effort, &target);
        }
        spin => {
            options.extend([("--in-flight", in_flight), ("--ring", ring.display().to_string())]);
            if spin != "auto" {
                options.push(("--spin", (spin == "always").to_string()));
            }
        }
    }
    let said = generate(stage, &options, &command);
    let raw = said.map_err(|why| format!("{}: {why}\n{}", row.entry.name, server.tail()))?;
    Ok(Sample { raw })
}

/// The command of a `kern` that serves who started it, on the server's processor.
fn child(stage: &Stage) -> Result<Vec<String>, String> {
    let config = stage.configure("echo", ECHO)?.display().to_string();
    let core = stage.machine.cores.map(|(server, _)| server.to_string());
    let mut child = bound(&stage.machine, core.as_deref(), &stage.kern);
    child.args(["serve", "--stdio", "--listen", "off", "--cores", "1", "--config", &config]);
    let words = [child.get_program()].into_iter().chain(child.get_args());
    Ok(words.map(|word| word.to_string_lossy().into_owned()).collect())
}

/// What the ring gives to a Python program, in the same rounds.
fn compare(rows: &[Row]) {
    for row in rows.iter().filter(|row| row.entry.name == OURS && row.failed.is_none()) {
        let than = |name: &str| {
            let same = |other: &&Row| other.entry.name == name && other.condition == row.condition;
            let other = rows.iter().find(same).filter(|other| other.failed.is_none())?;
            let pairs = row.samples.iter().zip(&other.samples);
            Some(report::median(pairs.map(|(a, b)| a.rate() / b.rate()).collect()))
        };
        println!("\n{OURS}, {} in flight:", row.condition.connections);
        for name in [OFFICIAL, "Python SDK, ring", "Python SDK alone", "Python, stdio"] {
            if let Some(ratio) = than(name) {
                println!("{ratio:>8.1} × the rate of {name}");
            }
        }
    }
}

/// What a bare ring reaches, as its own program prints it.
fn bare(root: &Path) -> Result<String, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["run", "--release", "--quiet", "--package", "kern-shm"]);
    let output = cargo.args(["--example", "ring_bench"]).output();
    let output = output.map_err(|error| format!("cannot run cargo: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
    }
}

/// Rates, latencies and CPU time with one in flight, and the rates with sixteen.
fn draw(stage: &Stage, rows: &[Row]) -> Plot {
    let with = |in_flight: usize| -> Vec<Figures> {
        // Who answers by itself has no server whose time could be shown.
        let asks = |row: &&Row| row.failed.is_none() && row.entry.server != "sdk-nothing";
        let own = rows.iter().filter(asks);
        let own = own.filter(|row| row.condition.connections == in_flight);
        own.map(|row| Figures::of(row, rows)).collect()
    };
    let many = panels(&with(16), ", 16 in flight").into_iter().take(1);
    Plot {
        title: "Doors of one kern: a call of 200 B, one in flight, one core".into(),
        note: stage.machine.note(),
        panels: panels(&with(1), "").into_iter().chain(many).collect(),
    }
}
