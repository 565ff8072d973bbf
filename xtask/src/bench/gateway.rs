//! Who takes part in `bench gateway`, and what is asked of each.
//!
//! All servers run from the start to the end, idle while another is asked. A proxy's upstream
//! shares the load generator's processor, so that the gateway has one of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build::Programs;
use super::machine::Machine;
use super::server::Server;
use super::{report, rounds};

/// Measures tool calls over HTTP.
#[derive(clap::Args, Debug)]
pub(crate) struct GatewayArgs {
    /// Two rounds of one second, instead of five of three
    #[arg(long)]
    quick: bool,
    /// Rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Time counted in each round
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=600_000))]
    duration_ms: Option<u64>,
    /// Time before counting
    #[arg(long, value_name = "MS", default_value_t = 300)]
    warm_up_ms: u64,
    /// Connections; each has one request in flight
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<usize>,
    /// Bytes of the text to echo; the rest of a modern request's body has about 280
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    text_bytes: usize,
    /// Only those whose name contains one of these
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    /// The kern program; without it, it is built
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
    /// Write everything measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is measured against what.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Shown in the table.
    pub(super) name: &'static str,
    /// Which server is asked.
    pub(super) server: &'static str,
    /// At which path.
    pub(super) path: &'static str,
    /// How, in the load generator's words.
    pub(super) era: &'static str,
    /// What its rate is compared with.
    pub(super) floor: &'static str,
    /// For a proxy: its upstream, asked directly.
    pub(super) direct: Option<&'static str>,
}

impl Entry {
    const fn new(
        name: &'static str,
        server: &'static str,
        path: &'static str,
        era: &'static str,
        floor: &'static str,
        direct: Option<&'static str>,
    ) -> Self {
        Self { name, server, path, era, floor, direct }
    }
}

/// Who could take part.
#[rustfmt::skip]
const ENTRIES: [Entry; 15] = [
    Entry::new("floor uring",             "floor-uring",    "/",         "fixed",     "floor uring",    None),
    Entry::new("floor portable",          "floor-portable", "/",         "fixed",     "floor portable", None),
    Entry::new("kern modern uring",       "kern-uring",     "/mcp/echo", "modern",    "floor uring",    None),
    Entry::new("kern modern portable",    "kern-portable",  "/mcp/echo", "modern",    "floor portable", None),
    Entry::new("kern session uring",      "kern-uring",     "/mcp/echo", "session",   "floor uring",    None),
    Entry::new("kern session portable",   "kern-portable",  "/mcp/echo", "session",   "floor portable", None),
    Entry::new("rmcp modern",             "rmcp",           "/mcp",      "modern",    "floor portable", None),
    Entry::new("rmcp stateless",          "rmcp",           "/mcp",      "stateless", "floor portable", None),
    Entry::new("rmcp session (stream)",   "rmcp-stateful",  "/mcp",      "session",   "floor portable", None),
    Entry::new("direct modern",           "upstream",       "/mcp/echo", "modern",    "floor uring",    None),
    Entry::new("direct session",          "upstream",       "/mcp/echo", "session",   "floor uring",    None),
    Entry::new("proxy modern uring",      "proxy-uring",    "/mcp/up",   "modern",    "floor uring",    Some("direct modern")),
    Entry::new("proxy modern portable",   "proxy-portable", "/mcp/up",   "modern",    "floor portable", Some("direct modern")),
    Entry::new("proxy session uring",     "proxy-uring",    "/mcp/up",   "session",   "floor uring",    Some("direct session")),
    Entry::new("proxy session portable",  "proxy-portable", "/mcp/up",   "session",   "floor portable", Some("direct session")),
];

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) text_bytes: usize,
}

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something cannot be built or started, and at the first wrong answer.
pub(super) fn run(root: &Path, args: &GatewayArgs) -> Result<(), String> {
    let (rounds, duration_ms) = if args.quick { (2, 1000) } else { (5, 3000) };
    let effort = Effort {
        rounds: args.rounds.unwrap_or(rounds),
        duration: Duration::from_millis(args.duration_ms.unwrap_or(duration_ms)),
        warm_up: Duration::from_millis(args.warm_up_ms),
        text_bytes: args.text_bytes,
    };
    let mut entries = chosen(&args.only)?;
    let needs_rmcp = entries.iter().any(|entry| entry.server.starts_with("rmcp"));
    let programs = Programs::ready(root, args.kern.as_deref(), needs_rmcp)?;
    let machine = Machine::look(root);
    println!("{}", machine.describe());
    let folder = root.join("target").join("bench").join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;

    let stage = Stage { machine: &machine, programs: &programs, folder: &folder };
    if entries.iter().any(|entry| entry.server.ends_with("-uring"))
        && let Err(why) = stage.start("floor-uring", &[])
    {
        println!("io_uring is left out: {why}");
        entries.retain(|entry| !entry.server.ends_with("-uring"));
    }
    let servers = stage.start_all(&entries)?;
    let measured = rounds::run(&stage, &servers, &entries, &args.connections, effort)?;
    drop(servers);
    report::print(&measured, effort);
    if let Some(path) = &args.json {
        report::write(path, &machine, &measured, effort)?;
    }
    Ok(())
}

/// The entries whose names contain one of `only`, with what they are compared to.
fn chosen(only: &[String]) -> Result<Vec<Entry>, String> {
    let asked = |entry: &&Entry| {
        only.is_empty() || only.iter().any(|part| entry.name.contains(part.as_str()))
    };
    let wanted: Vec<&Entry> = ENTRIES.iter().filter(asked).collect();
    if wanted.is_empty() {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        return Err(format!("nothing of that name: there are {}", names.join(", ")));
    }
    let needed = |name: &str| {
        wanted
            .iter()
            .any(|entry| entry.name == name || entry.floor == name || entry.direct == Some(name))
    };
    Ok(ENTRIES.iter().filter(|entry| needed(entry.name)).cloned().collect())
}

/// A server and its name.
pub(super) type Servers = Vec<(&'static str, Server)>;

/// What is needed to start a server.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) machine: &'a Machine,
    pub(super) programs: &'a Programs,
    folder: &'a Path,
}

impl Stage<'_> {
    fn start_all(&self, entries: &[Entry]) -> Result<Servers, String> {
        let mut names: Vec<&'static str> = entries.iter().map(|entry| entry.server).collect();
        // Proxies come last in the table, after what they stand before.
        names.dedup();
        let mut servers = Servers::new();
        for name in names {
            if servers.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let server = self.start(name, &servers).map_err(|why| format!("{name}: {why}"))?;
            servers.push((name, server));
        }
        Ok(servers)
    }

    fn start(&self, name: &'static str, servers: &[(&str, Server)]) -> Result<Server, String> {
        let (server_core, load_core) = self.machine.cores.unzip();
        let log = self.folder.join(format!("{name}.log"));
        let (program, core) = match name {
            "floor-uring" | "floor-portable" => (&self.programs.floor, server_core),
            "rmcp" | "rmcp-stateful" => {
                (self.programs.rmcp.as_ref().ok_or("rmcp was not built")?, server_core)
            }
            "upstream" => (&self.programs.kern, load_core),
            _ => (&self.programs.kern, server_core),
        };
        let driver = if name.ends_with("-portable") { "portable" } else { "uring" };
        let config = match program == &self.programs.kern {
            true => self.configure(name, servers)?,
            false => PathBuf::new(),
        };
        let arguments = |address: std::net::SocketAddr| -> Vec<String> {
            let address = address.to_string();
            let config = config.display().to_string();
            match name {
                "floor-uring" | "floor-portable" => vec![driver.into(), address],
                "rmcp" => vec![address],
                "rmcp-stateful" => vec!["--stateful".into(), address],
                _ => ["serve", "--cores", "1", "--driver", driver, "--config", &config, "--listen"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([address])
                    .collect(),
            }
        };
        Server::start(self.machine, core, program, arguments, log)
    }

    /// Writes a configuration for a `kern`: a proxy has the upstream, others answer themselves.
    fn configure(&self, name: &str, servers: &[(&str, Server)]) -> Result<PathBuf, String> {
        let text = if name.starts_with("proxy-") {
            let upstream = servers.iter().find(|(known, _)| *known == "upstream");
            let (_, upstream) = upstream.ok_or("its upstream does not run")?;
            format!("[upstream.up]\nurl = \"http://{}/mcp/echo\"\n", upstream.address)
        } else {
            "[upstream.echo]\nbuiltin = \"echo\"\n".to_owned()
        };
        // In a folder of its own: kern watches it, and the logs next to it would wake it.
        let folder = self.folder.join(name);
        let path = folder.join("kern.toml");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_measured_brings_what_it_is_compared_with() {
        let names = |only: &str| -> Vec<&str> {
            let entries = chosen(&[only.to_owned()]).expect("a known name");
            entries.iter().map(|entry| entry.name).collect()
        };
        assert_eq!(
            names("proxy modern uring"),
            ["floor uring", "direct modern", "proxy modern uring"]
        );
        assert_eq!(names("floor uring"), ["floor uring"]);
        assert!(chosen(&["nobody".to_owned()]).is_err());
    }
}
