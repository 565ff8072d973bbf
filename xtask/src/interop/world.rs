//! The `kern` that everything goes through.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::conformance::child::{self, Guarded};
use crate::conformance::servers::free_port;

use super::install::Place;
use super::rows::Way;
use super::servers::{self, Server};

/// Longest time until all servers behind `kern` are up.
const START: Duration = Duration::from_secs(120);

/// A `kern` in front of all servers.
pub(super) struct World {
    _kern: Guarded,
    binary: PathBuf,
    /// A configuration of the same servers behind this `kern`, and one of the first server alone.
    behind: PathBuf,
    first: PathBuf,
    first_name: &'static str,
    base: String,
    socket: PathBuf,
    pub(super) log: PathBuf,
}

impl World {
    pub(super) fn start(place: &Place, binary: &Path, servers: &[Server]) -> Result<Self, String> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let base = format!("http://{listen}");
        let config = place.folder.join("kern.toml");
        let (behind, first) = (place.folder.join("behind.toml"), place.folder.join("first.toml"));
        super::write(&config, &servers::config(servers))?;
        super::write(&behind, &servers::config_behind(servers, &base))?;
        super::write(&first, &servers::config(&servers[..1]))?;
        let log = place.folder.join("kern.log");
        // Not in the folder: the path of a socket must be short.
        let socket = std::env::temp_dir().join(format!("kern-interop-{}.sock", std::process::id()));
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&config).args(["--listen", &listen]);
        command.arg("--unix").arg(&socket);
        let mut kern = Guarded::watch(&command, &log)?;
        kern.wait_ready(&format!("{base}/mcp"), START)
            .map_err(|error| format!("{error}\n{}", child::tail(&log)))?;
        wait_for_all(binary, &base).map_err(|why| format!("{why}\n{}", child::tail(&log)))?;
        let binary = binary.to_owned();
        let first_name = servers[0].name;
        Ok(Self { _kern: kern, binary, behind, first, first_name, base, socket, log })
    }

    /// Where a client connects to reach the server alone, or all where the way has no such endpoint.
    pub(super) fn connect(&self, way: Way, server: Option<&str>) -> Value {
        let base = &self.base;
        match (way, server) {
            (Way::HttpOne, Some(server)) => json!({ "http": format!("{base}/mcp/{server}") }),
            (Way::SseOne, Some(server)) => json!({ "sse": format!("{base}/sse/{server}") }),
            (Way::HttpAll | Way::HttpOne, _) => json!({ "http": format!("{base}/mcp") }),
            (Way::SseAll | Way::SseOne, _) => json!({ "sse": format!("{base}/sse") }),
            (Way::Unix, _) => json!({ "unix": self.socket, "http": "http://localhost/mcp" }),
            (Way::Stdio, _) => json!({ "stdio": self.command(&self.behind) }),
        }
    }

    /// Where a client connects to be asked by a server, and whether names are the server's own
    /// there: over stdio, the first server is alone, a child of the client's own `kern`.
    pub(super) fn connect_asked(&self, way: Way, server: &str) -> (Value, bool) {
        match way {
            Way::Stdio if server == self.first_name => {
                (json!({ "stdio": self.command(&self.first) }), true)
            }
            way => (self.connect(way, Some(server)), way.one()),
        }
    }

    /// A `kern` of the client's own, over its stdin and stdout.
    fn command(&self, config: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut command = vec![text(&self.binary)];
        command.extend(["serve", "--stdio", "--listen", "off", "--config"].map(str::to_owned));
        command.push(text(config));
        command
    }
}

/// Waits until no server is starting; none may be down.
fn wait_for_all(kern: &Path, base: &str) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        let mut command = Command::new(kern);
        let output = command.args(["ls", "upstreams", "--json", "--url", base]).output();
        let output = output.map_err(|error| format!("cannot run kern ls: {error}"))?;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let upstreams = status["upstreams"].as_array().cloned().unwrap_or_default();
        if let Some(down) = upstreams.iter().find(|upstream| upstream["state"] == "down") {
            return Err(format!("{down}"));
        }
        if !upstreams.is_empty() && upstreams.iter().all(|upstream| upstream["state"] == "up") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("the servers behind kern do not start: {status}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
