//! What a measurement stands on: the machine, the programs, and the servers under test.
//!
//! All servers run from the start to the end, idle while another is asked. A proxy's upstream
//! shares the load generator's processor, so that the gateway has one of its own.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::effort::write;
use super::machine::Machine;
use super::peers::Peers;
use super::server::Server;
use crate::build::{self, Profile};

/// What is measured against what.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Shown in the table.
    pub(super) name: &'static str,
    /// Which server is asked.
    pub(super) server: &'static str,
    /// At which path.
    pub(super) path: &'static str,
    /// The name it gives the tool `echo`.
    pub(super) tool: &'static str,
    /// How, in the load generator's words.
    pub(super) era: &'static str,
    /// What its rate is compared with.
    pub(super) floor: Option<&'static str>,
    /// For a proxy: its upstream, asked directly.
    pub(super) direct: Option<&'static str>,
    /// Somebody else's program that it needs, by its name in the table of peers. Its failure ends
    /// its own row only.
    pub(super) peer: Option<&'static str>,
}

impl Entry {
    /// Whether it is ours; a failure of ours ends the run.
    pub(super) fn is_ours(&self) -> bool {
        self.peer.is_none()
    }
}

/// A server and its name.
pub(super) type Servers = Vec<(&'static str, Server)>;

/// How a server is started.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// Whether it stands behind another: then it shares the load generator's processor.
    pub(super) behind: bool,
    /// Processors other than the one for servers.
    pub(super) cores: Option<String>,
}

impl Launch {
    pub(super) fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self {
            program: program.into(),
            arguments,
            environment: Vec::new(),
            behind: false,
            cores: None,
        }
    }
}

/// Says how the server of a name is started at an address, with those that run already.
pub(super) type Plan = fn(&Stage, &'static str, SocketAddr, &Servers) -> Result<Launch, String>;

/// What is needed to start a server.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) machine: Machine,
    pub(super) peers: Peers,
    pub(super) kern: PathBuf,
    pub(super) floor: PathBuf,
    pub(super) load: PathBuf,
    /// The official Rust SDK's server, where it is needed.
    pub(super) rmcp: PathBuf,
    pub(super) folder: PathBuf,
}

impl Stage {
    /// Builds what is needed; the first time takes minutes.
    ///
    /// # Errors
    /// When something cannot be built.
    pub(super) fn ready(root: &Path, kern: Option<&Path>, rmcp: bool) -> Result<Self, String> {
        let kern = build::kern(root, kern, Profile::Release)?;
        let bench = root.join("bench");
        let build = |package| build::program(&bench, package, Profile::Release);
        let (floor, load) = (build("floor")?, build("load")?);
        let rmcp = if rmcp { build("rmcp-server")? } else { PathBuf::new() };
        let machine = Machine::look(root);
        println!("{}", machine.describe());
        let folder = root.join("target").join("bench").join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { machine, peers: Peers::look(root), kern, floor, load, rmcp, folder })
    }

    /// Starts the servers of all entries, in their order. An entry of ours that cannot be started
    /// is an error; one of a peer is left out, and so is what needs io_uring where there is none.
    pub(super) fn start_all(
        &self,
        entries: &mut Vec<Entry>,
        plan: Plan,
    ) -> Result<Servers, String> {
        let mut servers = Servers::new();
        let mut missing: Vec<&'static str> = Vec::new();
        for entry in entries.iter() {
            let known = servers.iter().any(|(known, _)| *known == entry.server);
            if known || missing.contains(&entry.server) {
                continue;
            }
            if let Some(peer) = entry.peer.filter(|peer| !self.peers.has(peer)) {
                println!("{} is left out: {}", entry.server, Peers::how(peer));
                missing.push(entry.server);
                continue;
            }
            match self.start(entry.server, &servers, plan) {
                Ok(server) => servers.push((entry.server, server)),
                Err(why) if entry.is_ours() && !entry.server.ends_with("-uring") => {
                    return Err(format!("{}: {why}", entry.server));
                }
                Err(why) => {
                    println!("{} is left out: {why}", entry.server);
                    missing.push(entry.server);
                }
            }
        }
        entries.retain(|entry| !missing.contains(&entry.server));
        Ok(servers)
    }

    /// Starts one server.
    ///
    /// # Errors
    /// When it ends or does not listen in time.
    pub(super) fn start(
        &self,
        name: &'static str,
        servers: &Servers,
        plan: Plan,
    ) -> Result<Server, String> {
        self.start_with(name, |address| plan(self, name, address, servers))
    }

    /// Starts a server as `plan` says for its address.
    ///
    /// # Errors
    /// When it ends or does not listen in time.
    pub(super) fn start_with(
        &self,
        name: &str,
        plan: impl FnOnce(SocketAddr) -> Result<Launch, String>,
    ) -> Result<Server, String> {
        let address = super::server::free_address()?;
        let launch = plan(address)?;
        let (server_core, load_core) = self.machine.cores.unzip();
        let core = if launch.behind { load_core } else { server_core };
        let core = launch.cores.clone().or(core.map(|core| core.to_string()));
        let log = self.folder.join(format!("{name}.log"));
        Server::start(&self.machine, core.as_deref(), &launch, address, log)
    }

    /// A `kern serve` on one core with this configuration.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub(super) fn kern(
        &self,
        name: &str,
        driver: &str,
        address: SocketAddr,
        config: &str,
    ) -> Result<Launch, String> {
        let path = self.configure(name, config)?.display().to_string();
        let address = address.to_string();
        let words = ["serve", "--cores", "1", "--driver", driver, "--config", &path];
        Ok(Launch::new(&self.kern, words.into_iter().chain(["--listen", &address])))
    }

    /// Writes a configuration for a `kern`, in a folder of its own: kern watches it, and the logs
    /// next to it would wake it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn configure(&self, name: &str, config: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name).join("kern.toml");
        write(&path, config)?;
        Ok(path)
    }
}

/// The server of that name.
///
/// # Errors
/// When it does not run.
pub(super) fn find<'a>(servers: &'a Servers, name: &str) -> Result<&'a Server, String> {
    let found = servers.iter().find(|(known, _)| *known == name);
    found.map(|(_, server)| server).ok_or_else(|| format!("{name} does not run"))
}

/// The entries that are wanted, with what they are compared to.
///
/// # Errors
/// When none is.
pub(super) fn chosen(
    entries: &[Entry],
    wants: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>, String> {
    let wanted: Vec<&Entry> = entries.iter().filter(|entry| wants(entry.name)).collect();
    if wanted.is_empty() {
        let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
        return Err(format!("nothing of that name: there are {}", names.join(", ")));
    }
    let needed = |name: &str| {
        wanted.iter().any(|entry| {
            entry.name == name || entry.floor == Some(name) || entry.direct == Some(name)
        })
    };
    Ok(entries.iter().filter(|entry| needed(entry.name)).cloned().collect())
}
