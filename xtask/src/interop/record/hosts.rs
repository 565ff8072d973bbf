//! The servers behind HTTP that are recorded.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::install::Place;
use crate::conformance::child::Guarded;
use crate::conformance::servers::free_port;

/// Longest time until a server listens.
const START: Duration = Duration::from_secs(60);

/// A server that listens.
pub(super) struct Host {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// The path of its endpoint.
    pub(super) path: &'static str,
    /// Whether it speaks 2026-07-28 too.
    pub(super) dual: bool,
    _child: Guarded,
}

impl Host {
    /// Starts all of them.
    pub(super) fn start_all(place: &Place, echo: &Path) -> Result<Vec<Self>, String> {
        let start = |name, path, dual, words: &[String]| {
            let port = free_port()?;
            let mut command = Command::new("env");
            command.arg(format!("PORT={port}"));
            command.args(words.iter().map(|word| word.replace("@PORT@", &port.to_string())));
            let log = place.folder.join(format!("{name}.log"));
            let child = Guarded::watch(&command, &log)?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let deadline = Instant::now() + START;
            while TcpStream::connect(address).is_err() {
                if Instant::now() >= deadline {
                    return Err(format!("{name} does not listen: see {}", log.display()));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(Self { name, address, path, dual, _child: child })
        };
        let everything =
            |word: &str| [place.npm_server("server-everything"), vec![word.to_owned()]];
        let script = place.folder.join("asker.py").display().to_string();
        let python = place.python("python-servers").display().to_string();
        let asker = [python, script, "@PORT@".to_owned()];
        let echo = [echo.display().to_string(), "127.0.0.1:@PORT@".to_owned()];
        let stateful = [&echo[..], &["--stateful".to_owned()]].concat();
        Ok(vec![
            start("everything", "/mcp", false, &everything("streamableHttp").concat())?,
            start("everything-sse", "/sse", false, &everything("sse").concat())?,
            start("asker", "/mcp", true, &asker)?,
            start("rmcp", "/mcp", true, &stateful)?,
            start("rmcp-json", "/mcp", true, &echo)?,
        ])
    }
}
