//! Do a client and a server on the official Rust SDK talk through a ring?
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use kern_shm::{Client, Link, Options, Sizes};
use kernmantle_rmcp::Ring;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolRequestParams, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt as _, schemars, tool, tool_handler, tool_router};
use serde_json::json;

const SIZES: Sizes = Sizes { ring_bytes: 16 << 10, slab_bytes: 16 << 10, slabs: 2 };

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
struct Text {
    text: String,
}

#[derive(Clone)]
struct Double {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Double {
    #[tool(description = "Says it twice.")]
    fn double(&self, Parameters(Text { text }): Parameters<Text>) -> String {
        text.repeat(2)
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Double {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

fn host(socket: &UnixStream) -> Ring {
    let link = Link::host(socket, SIZES).unwrap();
    Ring::new(Client::from_link(link, Options::default())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_all_sizes_are_answered_at_once_and_both_sides_see_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ring");
    let listener = UnixListener::bind(&path).unwrap();
    let accepting = tokio::task::spawn_blocking(move || listener.accept().unwrap().0);
    let connecting = tokio::task::spawn_blocking(move || Client::connect(path).unwrap());
    let socket = accepting.await.unwrap();
    let double = Double { tool_router: Double::tool_router() };
    let serving = tokio::spawn(async move { double.serve(host(&socket)).await.unwrap() });
    let ring = Ring::new(connecting.await.unwrap()).unwrap();
    let client = ().serve(ring).await.unwrap();
    let server = serving.await.unwrap();

    let mut calls = tokio::task::JoinSet::new();
    for at in 0_usize..16 {
        let peer = client.peer().clone();
        calls.spawn(async move {
            let text = format!("{at} ").repeat(1 + at * 9_000);
            let arguments = json!({ "text": text }).as_object().cloned().unwrap();
            let params = CallToolRequestParams::new("double").with_arguments(arguments);
            let result = peer.call_tool(params).await.unwrap();
            let said = serde_json::to_value(&result).unwrap();
            assert!(said["content"][0]["text"] == text.repeat(2), "call {at}");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }

    client.cancel().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), server.waiting()).await.unwrap().unwrap();
}
