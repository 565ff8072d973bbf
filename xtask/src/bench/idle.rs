//! What does an idle connection with a session cost, and whom does it slow down?
//!
//! Many are opened and then replaced one after the other, the eldest first, while 32 others ask.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::effort::Effort;
use super::rounds::generate;
use super::scale::serve;
use super::server::{Server, bound};
use super::stage::Stage;

/// How many are replaced in a second.
const CHURN: u64 = 500;
const CONFIG: &str = "[limits]\nconnections = 20000\nsessions = 20000\n\
                      [upstream.echo]\nbuiltin = \"echo\"\n";

/// How many files and sockets a process of ours may open.
pub(super) fn descriptors() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    soft.unwrap_or(1024)
}

/// Measures `count` of them.
///
/// # Errors
/// When one cannot be opened, and at the first wrong answer.
pub(super) fn run(stage: &Stage, effort: Effort, count: usize) -> Result<Value, String> {
    eprintln!("bench: {count} idle connections with a session each");
    let server = serve(stage, CONFIG, 1)?;
    let before = ask(stage, &server, effort)?;
    // Until whoever asks has warmed up, counted and gone.
    let time = effort.warm_up + effort.duration + Duration::from_secs(2);
    let core = stage.machine.cores.map(|(_, load)| load.to_string());
    let mut holder = bound(&stage.machine, core.as_deref(), &stage.load);
    holder.args(["--address", &server.address.to_string(), "--path", "/mcp/echo"]);
    holder.args(["--era", "session", "--hold", &count.to_string()]);
    holder.args(["--churn", &CHURN.to_string(), "--duration-ms", &time.as_millis().to_string()]);
    let failed = |error| format!("cannot run the load generator: {error}");
    let mut holder = holder
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    let mut said = BufReader::new(holder.stdout.take().expect("it was asked for"));
    let mut line = String::new();
    said.read_line(&mut line).map_err(failed)?;
    let asked = if line.contains("held") { ask(stage, &server, effort) } else { Ok(Value::Null) };
    line.clear();
    said.read_line(&mut line).map_err(failed)?;
    let ended = holder.wait().map_err(failed)?;
    let during = asked?;
    if !ended.success() {
        return Err(format!("the idle ones were not kept:\n{}", server.tail()));
    }
    let replaced: Value = serde_json::from_str(&line).unwrap_or_default();
    let kib = |value: &Value| value["rss_kib"].as_f64().unwrap_or(f64::NAN);
    let each = (kib(&during) - kib(&before)) / count as f64;
    println!(
        "\n{count} idle connections with a session each: {each:.1} KiB each; {} were replaced while 32 \
         others asked",
        replaced["replaced"]
    );
    for (name, value) in [("without them", &before), ("with them", &during)] {
        let us = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{name:>13}: p50 {:.0} µs, p99 {:.0}, p99.9 {:.0}, slowest {:.0}; {:.1} µs of CPU a request",
            us("p50_us"),
            us("p99_us"),
            us("p999_us"),
            us("max_us"),
            us("server_cpu_s") * 1e6 / us("requests"),
        );
    }
    Ok(json!({
        "count": count,
        "kib_each": each,
        "replaced": replaced["replaced"],
        "without": before,
        "with": during,
    }))
}

/// What 32 others see.
fn ask(stage: &Stage, server: &Server, effort: Effort) -> Result<Value, String> {
    let options = [
        ("--address", server.address.to_string()),
        ("--path", "/mcp/echo".to_owned()),
        ("--connections", "32".to_owned()),
        ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
        ("--duration-ms", effort.duration.as_millis().to_string()),
        ("--text-bytes", "200".to_owned()),
        ("--pid", server.pid().to_string()),
    ];
    generate(stage, &options, &[]).map_err(|why| format!("{why}\n{}", server.tail()))
}
