//! `cargo xtask conformance-client URL`: what the suite runs when it judges `kern` as a client.
//!
//! It puts `kern` in front of the suite's server and behaves as an agent towards `kern`: it lists
//! and uses all there is. So all that the suite's server sees comes from `kern`. Invariants: what
//! fails is said on stderr in lines that begin with [`AGENT`], which the report counts; `kern`
//! ends with this process.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::Agent;
use super::child::{self, Guarded};
use super::fill;
use super::results::AGENT;
use super::servers::{self, Era};

/// Set by us: the `kern` to use, where to put its configuration and log, and the agent's era.
pub(super) const KERN: &str = "KERN_CONFORMANCE_KERN";
pub(super) const OUT: &str = "KERN_CONFORMANCE_OUT";
pub(super) const ERA: &str = "KERN_CONFORMANCE_ERA";
/// Set by the suite: the scenario, and values it wants to see.
const SCENARIO: &str = "MCP_CONFORMANCE_SCENARIO";
const CONTEXT: &str = "MCP_CONFORMANCE_CONTEXT";

/// Scenarios whose server lists tools and lets nobody call them.
const LISTS_ONLY: [&str; 1] = ["json-schema-ref-no-deref"];

/// Longest time until `kern` answers.
const START: Duration = Duration::from_secs(20);

/// The client the suite judges; it is run by `conformance --client`.
#[derive(clap::Args, Debug)]
pub(crate) struct DriverArgs {
    /// The suite's server
    url: String,
}

/// Uses the suite's server through `kern`.
///
/// # Errors
/// When `kern` does not start, and when anything the agent wants fails.
pub(crate) fn run(args: &DriverArgs) -> Result<(), String> {
    let read = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (scenario, era) = (read(SCENARIO)?, read(ERA)?);
    if super::client::waits(&scenario) {
        return Err(format!("{scenario} needs authorization, which kern does not have yet"));
    }
    let era = if era == Era::Modern.name() { Era::Modern } else { Era::Legacy };
    let place = PathBuf::from(read(OUT)?).join(&scenario);
    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let context = std::env::var(CONTEXT).unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let outcome = start(&PathBuf::from(read(KERN)?), &args.url, &place).and_then(|(kern, url)| {
        let problems = use_all(&url, era, &context, LISTS_ONLY.contains(&scenario.as_str()))?;
        drop(kern);
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    });
    outcome.inspect_err(|why| why.lines().for_each(|line| eprintln!("{AGENT}{line}")))
}

fn start(
    binary: &std::path::Path,
    server: &str,
    place: &std::path::Path,
) -> Result<(Guarded, String), String> {
    let (config, log) = (place.join("kern.toml"), place.join("kern.log"));
    std::fs::write(&config, format!("[upstream.suite]\nurl = \"{server}\"\n"))
        .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
    let (mut kern, base) = servers::start(binary, &config, &["--cores", "1"], &log)?;
    let url = format!("{base}/mcp/suite");
    kern.wait_ready(&url, START).map_err(|error| format!("{error}\n{}", child::tail(&log)))?;
    Ok((kern, url))
}

/// Lists all there is, calls every tool, reads every resource and gets every prompt; what failed.
fn use_all(url: &str, era: Era, context: &Value, lists_only: bool) -> Result<Vec<String>, String> {
    let mut agent = Agent::connect(url, era)?;
    let mut requests = Vec::new();
    let tools = agent.list_tools()?;
    match context["toolCalls"].as_array() {
        _ if lists_only => {}
        Some(calls) => requests.extend(calls.iter().map(|call| ("tools/call", call.clone()))),
        None => requests.extend(tools.iter().map(|tool| {
            let arguments = fill::arguments(tool, &tools);
            ("tools/call", json!({ "name": tool["name"], "arguments": arguments }))
        })),
    }
    let lists = [("resources/list", "resources", "uri"), ("prompts/list", "prompts", "name")];
    for ((list, member, key), method) in lists.into_iter().zip(["resources/read", "prompts/get"]) {
        // A server without them may refuse the list.
        let result = agent.request(list, json!({})).unwrap_or_default();
        let entries = result[member].as_array().into_iter().flatten();
        requests.extend(entries.map(|entry| (method, json!({ key: entry[key] }))));
    }
    let results = requests.into_iter().map(|(method, params)| {
        let shown = format!("{method} {}", params.get("name").unwrap_or(&params["uri"]));
        agent.request(method, params).map_err(|why| format!("{shown}: {why}"))
    });
    Ok(results.filter_map(Result::err).collect())
}
