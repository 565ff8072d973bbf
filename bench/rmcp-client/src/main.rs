//! Runs a plan with the official Rust SDK.
//!
//! The plan (a file, JSON) lists runs: where to connect, in which era, whether to answer what servers
//! ask, and the requests to send. Each run prints one line of JSON:
//! `{"id": ..., "revision": ..., "results": [...]}`, or `{"id": ..., "failed": ...}`.

mod answers;

use std::error::Error;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess, UnixSocketHttpClient};
use serde_json::{Value, json};

use answers::Answers;

/// Longest time a run may take.
const RUN: Duration = Duration::from_secs(150);
/// Seconds that a server of the client's own may take to start.
const START_S: u32 = 60;

type Client = RunningService<RoleClient, Answers>;
type Anything<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Anything<()> {
    let plan = std::env::args().nth(1).ok_or("usage: rmcp-client PLAN")?;
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(plan)?)?;
    for run in plan["runs"].as_array().ok_or("the plan has no runs")? {
        let mut line = match tokio::time::timeout(RUN, perform(run)).await {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => json!({ "failed": error.to_string() }),
            Err(_) => json!({ "failed": format!("it took longer than {RUN:?}") }),
        };
        line["id"] = run["id"].clone();
        println!("{line}");
    }
    Ok(())
}

async fn perform(run: &Value) -> Anything<Value> {
    let client = connect(run).await?;
    let mut results = Vec::new();
    for one in run["steps"].as_array().ok_or("the run has no steps")? {
        let method = one["method"].as_str().unwrap_or_default();
        client.service().forget_progress();
        let until = one["until"].as_str().unwrap_or_default();
        let mut result = match step(&client, method, one["params"].clone(), until).await {
            Ok(result) => result,
            Err(error) => json!({ "error": error.to_string() }),
        };
        if one["progress"] == true {
            result["progress"] = client.service().progress();
        }
        results.push(result);
    }
    let revision = client.peer_info().map(|info| info.protocol_version.to_string());
    client.cancel().await?;
    Ok(json!({ "revision": revision, "results": results }))
}

async fn connect(run: &Value) -> Anything<Client> {
    let modern = vec![ProtocolVersion::V_2026_07_28];
    let era = match run["era"].as_str() {
        Some("modern") => ClientLifecycleMode::Discover { preferred_versions: modern },
        Some("auto") => {
            ClientLifecycleMode::Auto { preferred_versions: modern, legacy_version: None }
        }
        _ => ClientLifecycleMode::Initialize,
    };
    let answers = Answers::new(run["answers"] == true);
    let to = &run["connect"];
    let text = |name: &str| to[name].as_str().unwrap_or_default().to_owned();
    if let Some(words) = to["stdio"].as_array() {
        let mut words = words.iter().filter_map(Value::as_str);
        let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some(variables) = to["env"].as_object() {
            command.envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap_or(""))));
        }
        return Ok(answers.serve_with_lifecycle(TokioChildProcess::new(command)?, era).await?);
    }
    let url = text("http");
    if to["unix"].is_string() {
        let http = UnixSocketHttpClient::new(&text("unix"), &url);
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        return Ok(answers.serve_with_lifecycle(transport, era).await?);
    }
    let transport = StreamableHttpClientTransport::from_uri(url);
    Ok(answers.serve_with_lifecycle(transport, era).await?)
}

/// Sends one request; lists are drained to their last page.
async fn step(client: &Client, method: &str, params: Value, until: &str) -> Anything<Value> {
    Ok(match method {
        "tools/list" => json!({ "tools": tools(client, until).await? }),
        "prompts/list" => json!({ "prompts": client.list_all_prompts().await? }),
        "resources/list" => json!({ "resources": client.list_all_resources().await? }),
        "resources/templates/list" => {
            json!({ "resourceTemplates": client.list_all_resource_templates().await? })
        }
        "tools/call" => json!(client.call_tool(serde_json::from_value(params)?).await?),
        "resources/read" => json!(client.read_resource(serde_json::from_value(params)?).await?),
        _ => json!(client.get_prompt(serde_json::from_value(params)?).await?),
    })
}

/// Lists until the tool is there: a server of the client's own may still be starting.
async fn tools(client: &Client, until: &str) -> Anything<Vec<rmcp::model::Tool>> {
    let mut found = Vec::new();
    for _ in 0..START_S {
        found = client.list_all_tools().await?;
        if found.iter().any(|tool| tool.name.ends_with(until)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(found)
}
