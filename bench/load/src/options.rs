//! What is asked of the generator.

use std::net::SocketAddr;
use std::time::Duration;

/// How requests look and what their answers are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2026-07-28: every request stands for itself.
    Modern,
    /// 2025-11-25: one session a connection.
    Session,
    /// 2025-11-25 against a server that keeps no sessions.
    Stateless,
    /// Modern requests to a server that answers all of them alike: only the status is checked.
    Fixed,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path of its endpoint.
    pub(crate) path: String,
    /// The name of the echoing tool, as the server calls it.
    pub(crate) tool: String,
    /// What to speak.
    pub(crate) era: Era,
    /// Connections, 1 to 10,000.
    pub(crate) connections: usize,
    /// Time before counting starts.
    pub(crate) warm_up: Duration,
    /// Time counted.
    pub(crate) duration: Duration,
    /// Length of the text to echo, bytes, 16 to 1,048,576.
    pub(crate) text_bytes: usize,
    /// The server's process: CPU time and memory of it and its descendants are read.
    pub(crate) pid: Option<u32>,
    /// The processor the server is bound to: how busy others keep it is measured.
    pub(crate) server_core: Option<usize>,
}

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: "/mcp".into(),
            tool: "echo".into(),
            era: Era::Modern,
            connections: 1,
            warm_up: Duration::from_millis(200),
            duration: Duration::from_secs(1),
            text_bytes: 64,
            pid: None,
            server_core: None,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            options.set(&name, &value).map_err(|()| format!("{name} cannot be {value:?}"))?;
        }
        if options.address.port() == 0 {
            return Err("--address HOST:PORT is missing".into());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ()> {
        let number = || value.parse::<u64>().map_err(drop);
        let size = |least: usize, most: usize| {
            value.parse::<usize>().ok().filter(|size| (least..=most).contains(size)).ok_or(())
        };
        match name {
            "--address" => self.address = value.parse().map_err(drop)?,
            "--path" if value.starts_with('/') => self.path = value.to_owned(),
            "--tool" if !value.contains(['"', '\\']) => self.tool = value.to_owned(),
            "--era" => {
                self.era = match value {
                    "modern" => Era::Modern,
                    "session" => Era::Session,
                    "stateless" => Era::Stateless,
                    "fixed" => Era::Fixed,
                    _ => return Err(()),
                }
            }
            "--connections" => self.connections = size(1, 10_000)?,
            "--warm-up-ms" => self.warm_up = Duration::from_millis(number()?),
            "--duration-ms" => self.duration = Duration::from_millis(number()?),
            "--text-bytes" => self.text_bytes = size(16, 1 << 20)?,
            "--pid" => self.pid = Some(value.parse().map_err(drop)?),
            "--server-core" => self.server_core = Some(size(0, 4095)?),
            _ => return Err(()),
        }
        Ok(())
    }
}
