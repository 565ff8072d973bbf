//! The MCP Inspector's command line: one request a process.

use std::process::Command;

use serde_json::Value;

use super::Step;
use super::client::{Connection, finish};
use super::install::Place;

/// Steps left out because each costs a process and shows nothing that others don't.
const ENOUGH: &[&str] = &["get-tiny-image", "get-annotated-message"];

/// Whether the step is taken: its command line wants arguments as words, and reports a tool's
/// failure by its exit status.
pub(super) fn can(step: &Step) -> bool {
    let words = |text: &str| !text.contains(['"', '\\', ',']);
    let members = step.params["arguments"].as_object();
    let plain = members
        .is_none_or(|members| members.values().all(|value| value.as_str().is_none_or(words)));
    let enough = step.params["name"].as_str().is_some_and(|name| ENOUGH.contains(&name));
    plain && !enough && step.params["arguments"]["a"] != "no number"
}

/// Sends one request; its result.
pub(super) fn ask(
    place: &Place,
    connection: &Connection,
    era: &str,
    step: &Step,
) -> Result<Value, String> {
    let mut command = Command::new(place.node());
    command.arg(place.modules().join(".bin").join("mcp-inspector")).arg("--cli");
    match connection {
        Connection::Http(url) => command.args(["--transport", "http", "--server-url", url]),
        Connection::Sse(url) => command.args(["--transport", "sse", "--server-url", url]),
        // As one word: it would take a command's own `--config` for itself.
        Connection::Stdio(words) => command.args(["sh", "-c", &quoted(words)]),
    };
    command.args(["--protocol-era", era, "--format", "json", "-q", "--method", step.method]);
    let text = |name: &str| step.params[name].as_str().unwrap_or_default().to_owned();
    let (name, arguments) = match step.method {
        "tools/call" => ("--tool-name", "--tool-arg"),
        "prompts/get" => ("--prompt-name", "--prompt-args"),
        "resources/read" => {
            command.args(["--uri", &text("uri")]);
            ("", "")
        }
        _ => ("", ""),
    };
    if !name.is_empty() {
        command.args([name, &text("name")]);
        let members = step.params["arguments"].as_object().into_iter().flatten();
        let words = members.map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}={text}"),
            None => format!("{key}={value}"),
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            command.arg(arguments).args(words);
        }
    }
    let printed = finish(place, command)?;
    let output: Value = serde_json::from_str(printed.trim())
        .map_err(|error| format!("it printed no JSON ({error}): {printed}"))?;
    Ok(output.get("result").cloned().unwrap_or(output))
}

/// The words as a shell reads them.
fn quoted(words: &[String]) -> String {
    let words = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    format!("exec {}", words.collect::<Vec<_>>().join(" "))
}
