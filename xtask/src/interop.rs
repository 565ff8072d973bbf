//! `cargo xtask interop`: do other people's clients get other people's servers' answers through us?
//!
//! Each client lists tools, calls them, reads a resource and gets a prompt through `kern`, over each
//! transport and in each era it speaks. Invariants: what it got is compared, member by member, with
//! what a direct connection to the server gives; versions are pinned; whatever is started here ends
//! with it.

mod client;
mod compare;
mod inspector;
mod install;
mod report;
mod servers;
mod talk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::build::{self, Profile};
use crate::conformance::child::{self, Guarded};
use crate::conformance::servers::free_port;
use client::Connection;
use install::Place;
use servers::Server;

/// Longest time until all servers behind `kern` are up.
const START: Duration = Duration::from_secs(120);

/// Runs other people's clients against other people's servers, through kern.
#[derive(clap::Args, Debug)]
pub(crate) struct InteropArgs {
    /// The kern binary; without it, it is built
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
    /// Only clients whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs all clients and prints one table.
///
/// # Errors
/// When something cannot be installed, built or started, and when an answer differs.
pub(crate) fn run(root: &Path, args: &InteropArgs) -> Result<(), String> {
    let place = Place::ready(&root.join("target").join("interop"))?;
    let kern = build::kern(root, args.kern.as_deref(), Profile::Debug)?;
    let since = Instant::now();
    let mut servers = servers::all(&place)?;
    for server in &mut servers {
        eprintln!("interop: asking {} directly", server.name);
        server.expected = talk::ask(server)?;
    }
    let world = World::start(&place, &kern, &servers)?;
    let mut rows = Vec::new();
    for client in client::all(&place, &servers, &world)? {
        let wanted = args.only.as_ref().is_none_or(|only| client.name.contains(only.as_str()));
        if wanted {
            eprintln!("interop: {} ({}) over {}", client.name, client.era, client.transport);
            rows.push(client.run(&place, &servers));
        }
    }
    report::print(&servers, &rows);
    println!("took {} s; {}", since.elapsed().as_secs(), world.log.display());
    report::verdict(&rows)
}

/// A `kern` in front of all servers.
struct World {
    _kern: Guarded,
    binary: PathBuf,
    /// Its configuration, and one that holds the first server alone.
    config: PathBuf,
    config_one: PathBuf,
    base: String,
    log: PathBuf,
}

impl World {
    fn start(place: &Place, binary: &Path, servers: &[Server]) -> Result<Self, String> {
        let (config, config_one) = (place.folder.join("kern.toml"), place.folder.join("one.toml"));
        write(&config, &servers::config(servers))?;
        write(&config_one, &servers::config(&servers[..1]))?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let base = format!("http://{listen}");
        let log = place.folder.join("kern.log");
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&config).args(["--listen", &listen]);
        let mut kern = Guarded::watch(&command, &log)?;
        kern.wait_ready(&format!("{base}/mcp"), START)
            .map_err(|error| format!("{error}\n{}", child::tail(&log)))?;
        wait_for_all(binary, &base).map_err(|why| format!("{why}\n{}", child::tail(&log)))?;
        let binary = binary.to_owned();
        Ok(Self { _kern: kern, binary, config, config_one, base, log })
    }

    fn http(&self, path: &str) -> Connection {
        Connection::Http(format!("{}{path}", self.base))
    }

    fn sse(&self, path: &str) -> Connection {
        Connection::Sse(format!("{}{path}", self.base))
    }

    /// A `kern` of the client's own, over its stdin and stdout.
    fn stdio(&self, config: &Path) -> Connection {
        let text = |path: &Path| path.display().to_string();
        let words = ["serve", "--stdio", "--listen", "off", "--config"].map(str::to_owned);
        let mut command = vec![text(&self.binary)];
        command.extend(words);
        command.push(text(config));
        Connection::Stdio(command)
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

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A request to send: method and params, with the names a server itself uses.
#[derive(Clone, Debug)]
struct Step {
    method: &'static str,
    params: Value,
}

impl Step {
    fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }

    /// The same request where several servers share the endpoint.
    fn through(&self, server: &str) -> Value {
        let mut params = self.params.clone();
        if let Some(name) = params["name"].as_str() {
            params["name"] = json!(format!("{server}__{name}"));
        }
        json!({ "method": self.method, "params": params })
    }

    /// The same request at the server's own endpoint.
    fn plain(&self) -> Value {
        json!({ "method": self.method, "params": self.params })
    }
}
