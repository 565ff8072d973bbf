//! The MCP Inspector's command line: one request a process, so a chosen few of them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Desk;
use super::install::Place;
use super::judge::{Cell, Judge};
use super::process;
use super::rows::{Era, Row};
use super::servers::Server;
use super::step::Step;

/// Goes through the rows; hands on each cell when it is done.
pub(super) fn run(
    desk: &Desk<'_>,
    name: &'static str,
    rows: &[Row],
    mut done: impl FnMut(Cell, Duration),
) {
    let mut judge = Judge::new(name, desk.servers);
    // It can be asked, so that this server shows it more tools than a connection without any SDK.
    let first = &desk.servers[0];
    let asked = ask(desk.place, &first.connect(), Era::Legacy, &first.steps[0]);
    for &row in rows {
        let tools = asked.as_ref().unwrap_or(&first.expected[0]);
        judge.expect(0, 0, tools.clone());
        for (index, server) in desk.servers.iter().enumerate() {
            let since = Instant::now();
            let connect = desk.world.connect(row.way, Some(server.name));
            let chosen = chosen(row, index, server);
            let verdict = chosen.iter().try_for_each(|&at| {
                let step = &server.steps[at];
                let asked = if row.way.one() { step.clone() } else { step.through(server.name) };
                let found = ask(desk.place, &connect, row.era, &asked)?;
                judge.one(row, index, at, &found)
            });
            // What revision was agreed, it does not tell.
            let line = Value::Null;
            done(judge.cell(row, server.name, &line, chosen.len(), verdict), since.elapsed());
        }
    }
}

/// The steps it takes, since each costs a process: a call of every server; the tools of one; where
/// servers have endpoints of their own, one of each kind of `everything`.
fn chosen(row: Row, index: usize, server: &Server) -> Vec<usize> {
    let mut kinds: Vec<&str> = Vec::new();
    let steps = server.steps.iter().enumerate().filter(|(_, step)| {
        let wanted = match (row.way.one(), index) {
            (true, 0) => true,
            (_, 1) => matches!(step.method, "tools/call" | "tools/list"),
            _ => step.method == "tools/call",
        };
        let new = wanted && !kinds.contains(&step.method);
        kinds.extend(new.then_some(step.method));
        new
    });
    steps.map(|(at, _)| at).collect()
}

/// Sends one request; its result.
pub(super) fn ask(place: &Place, connect: &Value, era: Era, step: &Step) -> Result<Value, String> {
    let mut command = Command::new(place.node());
    command.arg(place.modules().join(".bin").join("mcp-inspector")).arg("--cli");
    command.env("MCP_CATALOG_PATH", place.folder.join("catalog.json"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(url) = connect["http"].as_str() {
        command.args(["--transport", "http", "--server-url", url]);
    } else if let Some(url) = connect["sse"].as_str() {
        command.args(["--transport", "sse", "--server-url", url]);
    } else {
        // As one word: it would take a command's own `--config` for itself.
        command.args(["sh", "-c", &quoted(&connect["stdio"])]);
    }
    command.args(["--protocol-era", era.word(), "--format", "json", "-q"]);
    command.args(["--method", step.method]);
    let name = text(&step.params["name"]);
    match step.method {
        "tools/call" => {
            let arguments = step.params["arguments"].to_string();
            command.args(["--tool-name", &name, "--tool-args-json", &arguments]);
        }
        "prompts/get" => {
            command.args(["--prompt-name", &name]);
        }
        "resources/read" => {
            command.args(["--uri", &text(&step.params["uri"])]);
        }
        _ => {}
    }
    let printed = process::whole(command, &place.folder.join("inspector.err"))?;
    let output: Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("it printed no JSON ({error}): {printed}"))?;
    Ok(output.get("result").cloned().unwrap_or(output))
}

/// A command as a shell reads it.
fn quoted(words: &Value) -> String {
    let words = words.as_array().into_iter().flatten().filter_map(Value::as_str);
    let words = words.map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    format!("exec {}", words.collect::<Vec<_>>().join(" "))
}
