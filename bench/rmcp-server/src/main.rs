//! One echo tool on the official Rust SDK, set up the way that makes it fastest.
//!
//! The tool's router is made once and cloned for each request; one thread; no Nagle. With
//! `--stateful` old clients get sessions and event streams, without it every answer is JSON.
//! Clients of 2026-07-28 are served without a session either way.
//!
//! It prints `listening on http://…` once it listens, and runs until it is killed.

use std::sync::Arc;

use axum::serve::ListenerExt as _;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};

/// What the tool takes.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct EchoArguments {
    /// What to say back.
    message: String,
}

#[derive(Clone)]
struct Echo {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Echo {
    #[tool(description = "Answers with the message it was given.")]
    fn echo(&self, Parameters(arguments): Parameters<EchoArguments>) -> String {
        arguments.message
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

async fn serve(address: &str, stateful: bool) -> std::io::Result<()> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(stateful)
        .with_json_response(!stateful);
    let echo = Echo { tool_router: Echo::tool_router() };
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(echo.clone()), sessions, config);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Where it cannot be set, answers are slower and still right.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stateful = arguments.iter().any(|argument| argument == "--stateful");
    let address = arguments.iter().find(|argument| !argument.starts_with("--"));
    let address = address.map_or("127.0.0.1:0", String::as_str);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(address, stateful))
}
