//! `bench proxy`: what does a gateway add in front of a fast server, and the gateways of others?
//!
//! The server behind all of them is a second `kern` with the builtin, on the load generator's
//! processor. Gateways that only speak to children get one of those as a child, in their own
//! process tree: its few µs a request are counted as theirs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::contextforge;
use super::effort::{LoadArgs, write};
use super::native::panels;
use super::report::{self, Figures};
use super::rounds::{self, Condition, Row};
use super::stage::{Entry, Launch, Servers, Stage, chosen, find};
use super::svg::Plot;

const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

const fn entry(
    name: &'static str,
    server: &'static str,
    (path, tool): (&'static str, &'static str),
    era: &'static str,
    direct: Option<&'static str>,
    peer: Option<&'static str>,
) -> Entry {
    Entry { name, server, path, tool, era, floor: None, direct, peer }
}

const MODERN: Option<&str> = Some("direct modern");
const SESSION: Option<&str> = Some("direct session");
const MCP: (&str, &str) = ("/mcp", "echo");

/// Who could take part.
#[rustfmt::skip]
const ENTRIES: [Entry; 14] = [
    entry("direct modern",           "upstream",       ("/mcp/echo", "echo"), "modern",    None,    None),
    entry("direct session",          "upstream",       ("/mcp/echo", "echo"), "session",   None,    None),
    entry("kern modern uring",       "kern-uring",     ("/mcp/up", "echo"),   "modern",    MODERN,  None),
    entry("kern modern portable",    "kern-portable",  ("/mcp/up", "echo"),   "modern",    MODERN,  None),
    entry("kern session uring",      "kern-uring",     ("/mcp/up", "echo"),   "session",   SESSION, None),
    entry("kern session portable",   "kern-portable",  ("/mcp/up", "echo"),   "session",   SESSION, None),
    entry("agentgateway session",    "agentgateway",   MCP,                   "session",   SESSION, Some("agentgateway")),
    entry("mcp-proxy (Rust) modern", "rust-mcp-proxy", ("/", "up_echo"),   "modern",    MODERN,  Some("rust-mcp-proxy")),
    entry("mcp-proxy (Rust) session", "rust-mcp-proxy", ("/", "up_echo"),  "session",   SESSION, Some("rust-mcp-proxy")),
    entry("supergateway session",    "supergateway",   MCP,                   "session",   SESSION, Some("node")),
    entry("mcp-proxy (PyPI) session", "mcp-proxy",     MCP,                   "session",   SESSION, Some("python-mcp-proxy")),
    entry("fastmcp modern",          "fastmcp",        MCP,                   "modern",    MODERN,  Some("python-fastmcp")),
    entry("fastmcp stateless",       "fastmcp",        MCP,                   "stateless", SESSION, Some("python-fastmcp")),
    entry("ContextForge stateless",  "contextforge",   ("/mcp/", "up-echo"),  "stateless", SESSION, Some("python-contextforge")),
];

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something of ours cannot be built or started, and at its first wrong answer.
pub(super) fn run(root: &Path, args: &LoadArgs) -> Result<(), String> {
    let effort = args.effort.effort();
    let mut entries = chosen(&ENTRIES, |name| args.effort.wants(name))?;
    let stage = Stage::ready(root, args.effort.kern.as_deref(), false)?;
    let servers = stage.start_all(&mut entries, plan)?;
    if let Ok(server) = find(&servers, "contextforge") {
        let upstream = find(&servers, "upstream")?;
        if let Err(why) = contextforge::register(&stage.peers, server, upstream.address) {
            println!("contextforge is left out: {why}\n{}", server.tail());
            entries.retain(|entry| entry.server != "contextforge");
        }
    }
    let conditions = args.conditions(&[1, 32], &[200]);
    let rows = rounds::run(&stage, &servers, &entries, &conditions, effort)?;
    drop(servers);
    report::print(&rows, effort);
    let figures = report::to_json(&stage.machine, &rows, effort);
    args.effort.keep(root, "proxy", &figures, &draw(&stage, &rows))
}

fn plan(
    stage: &Stage,
    name: &'static str,
    address: SocketAddr,
    servers: &Servers,
) -> Result<Launch, String> {
    let port = address.port().to_string();
    let peers = &stage.peers;
    if name == "upstream" {
        return Ok(Launch { behind: true, ..stage.kern(name, "uring", address, ECHO)? });
    }
    let url = format!("http://{}/mcp/echo", find(servers, "upstream")?.address);
    Ok(match name {
        "kern-uring" | "kern-portable" => {
            let driver = name.strip_prefix("kern-").unwrap_or(name);
            stage.kern(name, driver, address, &format!("[upstream.up]\nurl = \"{url}\"\n"))?
        }
        "agentgateway" => {
            let config = stage.folder.join("agentgateway.yaml");
            write(&config, &agentgateway(&port, &url))?;
            let program = peers.built(name, "agentgateway");
            Launch::new(program, ["-f".into(), config.into_os_string()])
        }
        "rust-mcp-proxy" => {
            let config = stage.folder.join("mcp-proxy.toml");
            write(&config, &mcp_proxy(&port, &url))?;
            let program = peers.built(name, "mcp-proxy");
            Launch::new(program, ["--config".into(), config.into_os_string()])
        }
        "supergateway" => supergateway(stage, address, &child(stage, name)?),
        "mcp-proxy" => mcp_proxy_of(stage, address, &child(stage, name)?),
        "fastmcp" => {
            let script = peers.script("echo_fastmcp.py").into_os_string();
            let words = [script, port.into(), "--proxy".into(), url.into()];
            Launch::new(peers.python("python-fastmcp", "python"), words)
        }
        _ => contextforge::launch(stage, name, &port)?,
    })
}

/// supergateway in front of a child for each session.
pub(super) fn supergateway(stage: &Stage, address: SocketAddr, child: &[String]) -> Launch {
    let script = stage.peers.modules().join("supergateway").join("dist").join("index.js");
    let (port, child) = (address.port().to_string(), child.join(" "));
    let words = ["--stdio", &child, "--outputTransport", "streamableHttp", "--stateful"];
    let words = words.into_iter().chain(["--logLevel", "none", "--port", &port]).map(Into::into);
    let words: Vec<OsString> = [script.into_os_string()].into_iter().chain(words).collect();
    Launch::new(stage.peers.node(), words)
}

/// mcp-proxy of PyPI in front of a child.
pub(super) fn mcp_proxy_of(stage: &Stage, address: SocketAddr, child: &[String]) -> Launch {
    let port = address.port().to_string();
    let words = ["--port", &port, "--log-level", "ERROR", "--"].map(str::to_owned);
    let words = words.into_iter().chain(child.iter().cloned());
    Launch::new(stage.peers.python("python-mcp-proxy", "mcp-proxy"), words)
}

/// The command of a `kern` with the builtin that serves who started it.
fn child(stage: &Stage, name: &str) -> Result<Vec<String>, String> {
    let config = stage.configure(name, ECHO)?.display().to_string();
    let program = stage.kern.display().to_string();
    let words = ["serve", "--stdio", "--listen", "off", "--cores", "1", "--config", &config];
    Ok([program].into_iter().chain(words.map(str::to_owned)).collect())
}

fn agentgateway(port: &str, url: &str) -> String {
    format!(
        "binds:\n- port: {port}\n  listeners:\n  - routes:\n    - backends:\n      - mcp:\n          \
         targets:\n          - name: up\n            mcp:\n              host: {url}\n"
    )
}

fn mcp_proxy(port: &str, url: &str) -> String {
    let backend = format!("[[backends]]\nname = \"up\"\ntransport = \"http\"\nurl = \"{url}\"\n");
    let listen = format!("[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n");
    let quiet = "[observability]\naudit = false\nlog_level = \"error\"\n";
    format!("[proxy]\nname = \"bench\"\nseparator = \"_\"\n{listen}{backend}{quiet}")
}

/// Rates, latencies and CPU time at 32 connections.
fn draw(stage: &Stage, rows: &[Row]) -> Plot {
    let figures: Vec<Figures> = rows
        .iter()
        .filter(|row| row.condition == Condition { connections: 32, text_bytes: 200 })
        .filter(|row| row.failed.is_none())
        .map(|row| Figures::of(row, rows))
        .collect();
    Plot {
        title: "Gateways in front of the same server: 200 B, 32 connections, one core".into(),
        note: stage.machine.note(),
        panels: panels(&figures, " (direct shares its processor with the load generator)"),
    }
}
