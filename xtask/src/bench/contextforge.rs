//! ContextForge as a peer: how it is started, and told of its upstream.
//!
//! Set up the way that makes it fastest without another server: SQLite, caches in memory, its
//! limiter and its sign-in for clients off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::peers::Peers;
use super::server::Server;
use super::stage::{Launch, Stage};

/// Signs its tokens; the database lives for one run.
const KEY: &str = "a key of at least thirty-two bytes, for one run";
/// Longest wait for its first answers.
const WAIT: Duration = Duration::from_secs(120);

/// How it is started.
pub(super) fn launch(stage: &Stage, name: &str, port: &str) -> Result<Launch, String> {
    let folder = stage.folder.join(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let database = format!("sqlite:///{}", folder.join("mcp.db").display());
    let program = stage.peers.python("python-contextforge", "mcpgateway");
    let mut launch = Launch::new(program, ["--host", "127.0.0.1", "--port", port]);
    for (name, value) in [
        ("DATABASE_URL", database.as_str()),
        ("CACHE_TYPE", "memory"),
        ("LOG_LEVEL", "ERROR"),
        ("JWT_SECRET_KEY", KEY),
        ("AUTH_ENCRYPTION_SECRET", KEY),
        ("MCP_REQUIRE_AUTH", "false"),
        ("RATE_LIMITING_ENABLED", "false"),
        ("SSRF_ALLOW_LOCALHOST", "true"),
        ("SSRF_ALLOW_PRIVATE_NETWORKS", "true"),
    ] {
        launch.environment.push((name, value.into()));
    }
    Ok(launch)
}

/// Tells it of its upstream.
///
/// # Errors
/// When it does not take it.
pub(super) fn register(peers: &Peers, server: &Server, upstream: SocketAddr) -> Result<(), String> {
    let mut python = Command::new(peers.python("python-contextforge", "python"));
    python.args(["-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com"]);
    // Without them it refuses to run.
    python.env("JWT_SECRET_KEY", KEY).env("AUTH_ENCRYPTION_SECRET", KEY);
    let token = python.args(["--admin", "--exp", "600", "--secret", KEY]).output();
    let token = token.map_err(|error| format!("no token: {error}"))?;
    let token = String::from_utf8_lossy(&token.stdout);
    let token = token.trim().lines().last().filter(|token| token.contains('.'));
    let token = token.ok_or("it makes no token")?;
    let body = format!(
        r#"{{"name":"up","url":"http://{upstream}/mcp/echo","transport":"STREAMABLEHTTP","visibility":"public"}}"#
    );
    let request = format!(
        "POST /gateways HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        server.address,
        body.len()
    );
    let until = Instant::now() + WAIT;
    loop {
        let said = ask(server.address, &request).unwrap_or_else(|error| error.to_string());
        if said.starts_with("HTTP/1.1 200") || said.starts_with("HTTP/1.1 201") {
            return Ok(());
        }
        if Instant::now() > until || said.starts_with("HTTP/1.1 4") {
            return Err(said);
        }
        sleep(Duration::from_millis(500));
    }
}

fn ask(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(WAIT))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
