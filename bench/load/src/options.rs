//! What is asked of the generator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proc;

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
    /// Whether its descendants count.
    pub(crate) tree: bool,
    /// The path of a Unix socket to be asked over HTTP instead of the address.
    pub(crate) unix: Option<PathBuf>,
    /// The path of a socket that hands out a shared-memory ring.
    pub(crate) ring: Option<PathBuf>,
    /// Whether waits for a ring begin by spinning, always or never; else while it pays.
    pub(crate) spin: Option<bool>,
    /// Requests in flight through one ring or one server's stdin and stdout, 1 to 64; none where
    /// there are connections with one each.
    pub(crate) in_flight: usize,
    /// Sessions that are opened first and then left alone, 0 to 20,000.
    pub(crate) idle_sessions: usize,
    /// Connections with a session each that are opened, and replaced one after the other instead of
    /// being asked anything.
    pub(crate) hold: usize,
    /// How many of them are replaced in a second.
    pub(crate) churn: u64,
    /// Whether the command is that of a client in another language, and not of a server.
    pub(crate) client: bool,
    /// The command of a server to be led through its stdin and stdout, one for each connection;
    /// else one is asked over HTTP.
    pub(crate) command: Vec<String>,
    /// The processor the server is bound to: how busy others keep it is measured.
    pub(crate) server_core: Option<usize>,
}

impl Options {
    /// Reads `--name value` pairs, and a command after `--`.
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
            tree: true,
            unix: None,
            ring: None,
            spin: None,
            in_flight: 0,
            idle_sessions: 0,
            hold: 0,
            churn: 0,
            client: false,
            command: Vec::new(),
            server_core: None,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            if name == "--" {
                options.command = arguments.by_ref().collect();
                break;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            options.set(&name, &value).map_err(|()| format!("{name} cannot be {value:?}"))?;
        }
        let elsewhere = options.unix.is_some() || options.ring.is_some();
        if options.address.port() == 0 && options.command.is_empty() && !elsewhere {
            return Err("--address HOST:PORT or a command is missing".into());
        }
        Ok(options)
    }

    /// Whether requests are HTTP, and not bare messages.
    pub(crate) fn is_http(&self) -> bool {
        self.command.is_empty() && self.ring.is_none()
    }

    /// The server's processes at this moment.
    pub(crate) fn servers(&self) -> Vec<u32> {
        let own = std::process::id();
        match self.pid {
            _ if !self.command.is_empty() => {
                proc::tree(own).into_iter().filter(|pid| *pid != own).collect()
            }
            Some(pid) if self.tree => proc::tree(pid),
            Some(pid) => vec![pid],
            None => Vec::new(),
        }
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
            "--unix" => self.unix = Some(value.into()),
            "--ring" => self.ring = Some(value.into()),
            "--spin" => self.spin = Some(value.parse().map_err(drop)?),
            "--in-flight" => self.in_flight = size(1, 64)?,
            "--client" => self.client = value.parse().map_err(drop)?,
            "--tree" => self.tree = value.parse().map_err(drop)?,
            "--idle-sessions" => self.idle_sessions = size(0, 20_000)?,
            "--hold" => self.hold = size(1, 20_000)?,
            "--churn" => self.churn = number()?,
            "--server-core" => self.server_core = Some(size(0, 4095)?),
            _ => return Err(()),
        }
        Ok(())
    }
}
