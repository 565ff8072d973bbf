//! Where the clients and servers are, in the versions pinned here.
//!
//! One npm folder, and a Python environment for each SDK version, since two cannot live in one.
//! A folder is complete once it holds the list of what was asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// From npm: a Node that all of them run on, clients, servers.
const NPM: &[&str] = &[
    "node@22",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
    // How the two above are led through a Unix socket.
    "undici@8.12.4",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
    "@modelcontextprotocol/server-sequential-thinking@2026.8.31",
];
/// From PyPI: an environment each.
const PYTHON: &[(&str, &[&str])] = &[
    // The server is older than version 2 of the SDK, and does not run with it.
    ("python-v1", &["mcp==1.30.0", "mcp-server-sqlite==2025.4.25"]),
    ("python-v2", &["mcp==2.3.0"]),
    ("python-fastmcp", &["fastmcp==4.0.11"]),
    (
        "python-servers",
        &[
            "mcp-server-git==2026.10.19",
            "mcp-server-time==2026.10.19",
            "mcp-server-fetch==2026.10.24",
        ],
    ),
];
/// Names the list of what a folder holds.
const COMPLETE: &str = "complete.txt";

/// The installed clients and servers.
#[derive(Debug)]
pub(super) struct Place {
    /// Holds everything, and what a run writes.
    pub(super) folder: PathBuf,
}

impl Place {
    /// Finds what is needed under `folder`, and installs what is missing.
    pub(super) fn ready(folder: &Path) -> Result<Self, String> {
        let place = Self { folder: folder.to_owned() };
        install(&place.folder.join("node"), NPM, npm)?;
        for (name, packages) in PYTHON {
            install(&place.folder.join(name), packages, pip)?;
        }
        Ok(place)
    }

    pub(super) fn node(&self) -> PathBuf {
        self.modules().join("node").join("bin").join("node")
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("node").join("node_modules")
    }

    pub(super) fn python(&self, environment: &str) -> PathBuf {
        self.folder.join(environment).join("bin").join("python")
    }

    /// The command of a server from npm.
    pub(super) fn npm_server(&self, name: &str) -> Vec<String> {
        let script = self.modules().join("@modelcontextprotocol").join(name);
        let script = script.join("dist").join("index.js");
        vec![self.node().display().to_string(), script.display().to_string()]
    }

    /// The command of a server from PyPI.
    pub(super) fn python_server(&self, module: &str) -> Vec<String> {
        let python = self.python("python-servers").display().to_string();
        vec![python, "-m".to_owned(), module.to_owned()]
    }
}

type Installer = fn(&Path, &[&str]) -> Result<Vec<Command>, String>;

fn install(folder: &Path, packages: &[&str], how: Installer) -> Result<(), String> {
    let list = packages.join("\n");
    let complete = folder.join(COMPLETE);
    if fs::read_to_string(&complete).is_ok_and(|known| known == list) {
        return Ok(());
    }
    eprintln!("interop: installing {} into {}", packages.join(", "), folder.display());
    for mut command in how(folder, packages)? {
        let name = command.get_program().display().to_string();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("{name} failed: {status}")),
            Err(error) => return Err(format!("cannot run {name} (install it first): {error}")),
        }
    }
    super::write(&complete, &list)
}

fn npm(folder: &Path, packages: &[&str]) -> Result<Vec<Command>, String> {
    let made = fs::create_dir_all(folder);
    made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    super::write(&folder.join("package.json"), "{ \"private\": true }\n")?;
    let mut npm = Command::new("npm");
    npm.current_dir(folder).args(["install", "--no-audit", "--no-fund"]).args(packages);
    Ok(vec![npm])
}

fn pip(folder: &Path, packages: &[&str]) -> Result<Vec<Command>, String> {
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(folder);
    let mut pip = Command::new(folder.join("bin").join("python"));
    pip.args(["-m", "pip", "install", "--quiet"]).args(packages);
    Ok(vec![make, pip])
}
