//! The MCP Inspector's command line: one request a process, so a chosen few of them.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Desk;
use super::judge::{Cell, Judge};
use super::process;
use super::rows::{Era, Row};
use super::step::Step;

/// The steps it takes: all lists and a call for each server, and what only `everything` has.
fn takes(step: &Step, calls: usize) -> bool {
    // Its exit status says that a tool failed; what it would print is not the result.
    let fails = step.params["arguments"]["a"] == "no number"
        || step.params["arguments"]["state"] != Value::Null;
    match step.method {
        "tools/call" => calls == 0 && step.counter.is_none() && !fails,
        _ => !fails,
    }
}

/// Goes through the rows; hands on each cell when it is done.
pub(super) fn run(desk: &Desk<'_>, rows: &[Row], mut done: impl FnMut(Cell, Duration)) {
    let judge = Judge::new("Inspector 2.12.0", desk.servers);
    for &row in rows {
        // Of the servers' own endpoints `everything` is enough.
        let servers = if row.way.one() { &desk.servers[..1] } else { desk.servers };
        for (index, server) in servers.iter().enumerate() {
            let since = Instant::now();
            let connect = desk.world.connect(row.way, Some(server.name));
            let (mut taken, mut calls) = (0, 0);
            let mut verdict = Ok(());
            for (at, step) in server.steps.iter().enumerate() {
                // It names capabilities, so old servers show it more tools than others see.
                let more = server.name == "everything" && step.method == "tools/list";
                let list_of_all = !row.way.one()
                    && index > 0
                    && step.list().is_some()
                    && step.method != "tools/list";
                if !takes(step, calls) || (more && row.era == Era::Legacy) || list_of_all {
                    continue;
                }
                calls += usize::from(step.method == "tools/call");
                taken += 1;
                let asked = if row.way.one() { step.clone() } else { step.through(server.name) };
                verdict = verdict.and_then(|()| {
                    let found = ask(desk, &connect, row.era, &asked)?;
                    judge.one(row, index, at, &found)
                });
            }
            let line = serde_json::json!({ "revision": "not told" });
            done(judge.cell(row, server.name, &line, taken, verdict), since.elapsed());
        }
    }
}

/// Sends one request; its result.
fn ask(desk: &Desk<'_>, connect: &Value, era: Era, step: &Step) -> Result<Value, String> {
    let mut command = Command::new(desk.place.node());
    command.arg(desk.place.modules().join(".bin").join("mcp-inspector")).arg("--cli");
    command.env("MCP_CATALOG_PATH", desk.place.folder.join("catalog.json"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match connect["http"].as_str() {
        Some(url) => command.args(["--transport", "http", "--server-url", url]),
        None => command.args(["--transport", "sse", "--server-url", &text(&connect["sse"])]),
    };
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
            let members = step.params["arguments"].as_object().into_iter().flatten();
            let words: Vec<String> =
                members.map(|(key, value)| format!("{key}={}", text(value))).collect();
            if !words.is_empty() {
                command.arg("--prompt-args").args(words);
            }
        }
        "resources/read" => {
            command.args(["--uri", &text(&step.params["uri"])]);
        }
        _ => {}
    }
    let printed = process::whole(command, &desk.place.folder.join("inspector.err"))?;
    let output: Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("it printed no JSON ({error}): {printed}"))?;
    Ok(output.get("result").cloned().unwrap_or(output))
}
