//! Where are the programs of others, and in which versions are they measured?
//!
//! Invariants: all versions are in the one table here; what is installed lies under `target/bench`
//! and is kept between runs; a folder is complete once it holds the list of what was asked for, so
//! that another version is installed anew. A measurement installs nothing: it leaves out what is
//! missing and says how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::effort::write;

/// How a peer is got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Packages from npm, in the folder all npm peers share.
    Npm,
    /// Packages from PyPI, in an environment of their own.
    Pypi,
    /// A package from crates.io, with its features.
    Crate { features: &'static [&'static str] },
    /// A package of a public repository, built at a tag. Takes about an hour.
    Git { url: &'static str, tag: &'static str, package: &'static str },
}

/// Somebody to be measured against.
#[derive(Clone, Copy, Debug)]
struct Peer {
    name: &'static str,
    from: Source,
    packages: &'static [&'static str],
}

/// Everybody, and the only place where versions are written.
const PEERS: [Peer; 7] = [
    Peer {
        name: "node",
        from: Source::Npm,
        packages: &[
            "node@22.23.3",
            "@modelcontextprotocol/sdk@1.32.2",
            "@modelcontextprotocol/server@2.4.0",
            "@modelcontextprotocol/node@2.1.2",
            "supergateway@4.0.0",
        ],
    },
    Peer { name: "python-mcp", from: Source::Pypi, packages: &["mcp==2.3.0"] },
    Peer { name: "python-fastmcp", from: Source::Pypi, packages: &["fastmcp==4.0.11"] },
    Peer { name: "python-mcp-proxy", from: Source::Pypi, packages: &["mcp-proxy==0.13.0"] },
    Peer {
        name: "python-contextforge",
        from: Source::Pypi,
        packages: &["mcp-contextforge-gateway==1.0.7.post20260921"],
    },
    Peer {
        name: "rust-mcp-proxy",
        // Without what only slows it down here: traces, metrics, sign-in, API description.
        from: Source::Crate { features: &["protocol-2026-07-28"] },
        packages: &["mcp-proxy@0.6.0"],
    },
    Peer {
        name: "agentgateway",
        from: Source::Git {
            url: "https://github.com/agentgateway/agentgateway",
            tag: "v1.2.0",
            package: "agentgateway-app",
        },
        packages: &["agentgateway@1.2.0"],
    },
];

/// Names the list of what a folder holds.
const COMPLETE: &str = "complete.txt";

/// Installs others' servers and gateways to measure against.
#[derive(clap::Args, Debug)]
pub(crate) struct PeersArgs {
    /// Which; without any, all but those that build for an hour
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only say what there is
    #[arg(long)]
    list: bool,
}

/// The installed peers.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    folder: PathBuf,
    root: PathBuf,
}

/// Installs what is asked for and missing.
///
/// # Errors
/// An unknown name, or what an installer could not do.
pub(super) fn run(root: &Path, args: &PeersArgs) -> Result<(), String> {
    let peers = Peers::look(root);
    if let Some(unknown) = args.names.iter().find(|name| PEERS.iter().all(|p| p.name != **name)) {
        let names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        return Err(format!("no peer is called {unknown}: there are {}", names.join(", ")));
    }
    for peer in &PEERS {
        let named = args.names.iter().any(|name| name == peer.name);
        let quick = args.names.is_empty() && !matches!(peer.from, Source::Git { .. });
        if !args.list && (named || quick) && !peers.has(peer.name) {
            println!("installing {} into {}", peer.packages.join(", "), peers.folder.display());
            peers.install(peer)?;
        }
        let state = if peers.has(peer.name) { "installed" } else { "missing" };
        println!("{:<20} {state:<10} {}", peer.name, peer.packages.join(", "));
    }
    Ok(())
}

impl Peers {
    /// Those under `root`.
    pub(super) fn look(root: &Path) -> Self {
        Self { folder: root.join("target").join("bench"), root: root.to_owned() }
    }

    /// Whether a peer is there in the version of the table.
    pub(super) fn has(&self, name: &str) -> bool {
        let peer = PEERS.iter().find(|peer| peer.name == name).expect("a name in the table");
        let list = fs::read_to_string(self.folder.join(name).join(COMPLETE));
        list.is_ok_and(|list| list == peer.packages.join("\n"))
    }

    /// How a missing one is got.
    pub(super) fn how(name: &str) -> String {
        format!("`cargo xtask bench peers {name}` installs it")
    }

    pub(super) fn node(&self) -> PathBuf {
        self.modules().join("node").join("bin").join("node")
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("node").join("node_modules")
    }

    /// A program of a Python environment.
    pub(super) fn python(&self, environment: &str, program: &str) -> PathBuf {
        self.folder.join(environment).join("bin").join(program)
    }

    /// A program that was built.
    pub(super) fn built(&self, name: &str, program: &str) -> PathBuf {
        self.folder.join(name).join("bin").join(program)
    }

    /// A script for Python, of this project.
    pub(super) fn script(&self, name: &str) -> PathBuf {
        self.root.join("bench").join("peers").join(name)
    }

    /// A script for Node, of this project: where it finds what it imports.
    ///
    /// # Errors
    /// When it cannot be copied there.
    pub(super) fn node_script(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join("node").join(name);
        fs::copy(self.script(name), &path)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }

    fn install(&self, peer: &Peer) -> Result<(), String> {
        let folder = self.folder.join(peer.name);
        match peer.from {
            Source::Npm => {
                write(&folder.join("package.json"), "{ \"private\": true }\n")?;
                let mut npm = Command::new("npm");
                npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund"]);
                finish(npm.args(peer.packages))?;
            }
            Source::Pypi => {
                finish(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
                let mut pip = Command::new(folder.join("bin").join("python"));
                finish(pip.args(["-m", "pip", "install", "--quiet"]).args(peer.packages))?;
            }
            Source::Crate { features } => {
                let mut cargo = cargo();
                cargo.args(["install", "--locked", "--no-default-features", "--root"]).arg(&folder);
                cargo.args(["--features", &features.join(",")]).args(peer.packages);
                finish(&mut cargo)?;
            }
            Source::Git { url, tag, package } => {
                let mut cargo = cargo();
                // Its release profile optimizes the whole program at once, for hours here.
                cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("RUSTUP_TOOLCHAIN", "stable");
                cargo.args(["install", "--locked", "--git", url, "--tag", tag, "--root"]);
                finish(cargo.arg(&folder).arg(package))?;
            }
        }
        write(&folder.join(COMPLETE), &peer.packages.join("\n"))
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn finish(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("cannot run {name} (install it first): {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_has_an_exact_version() {
        for peer in &PEERS {
            for package in peer.packages {
                let exact = package.rsplit(['@', '=']).next().unwrap_or_default();
                assert!(exact.matches('.').count() >= 2, "{package}");
            }
        }
    }
}
