//! Clients of a ring in other languages: how are they built, and how are they asked to ask?

use std::path::{Path, PathBuf};
use std::process::Command;

use super::effort::Effort;
use super::peers::Peers;
use super::rounds::Condition;
use super::stage::{Entry, Stage};
use crate::bindings::{self, perform};

/// The environment with the official Python SDK.
pub(super) const PYTHON: &str = "python-mcp";

/// What runs them; empty where nobody wants it.
#[derive(Debug, Default)]
pub(super) struct Clients {
    c: PathBuf,
    /// The interpreter with its environment, and the script.
    python: Vec<String>,
}

impl Clients {
    /// Builds what the entries need, and leaves those out that this machine cannot have.
    ///
    /// # Errors
    /// When something of ours cannot be built.
    pub(super) fn ready(
        root: &Path,
        stage: &Stage,
        entries: &mut Vec<Entry>,
    ) -> Result<Self, String> {
        let mut clients = Self::default();
        let wants = |entries: &[Entry], peer| entries.iter().any(|entry| entry.peer == Some(peer));
        if wants(entries, "cc") {
            if Command::new("cc").arg("--version").output().is_ok() {
                clients.c = build_c(root, &stage.folder.join("ring_client"))?;
            } else {
                println!("C is left out: there is no cc");
                entries.retain(|entry| entry.peer != Some("cc"));
            }
        }
        if wants(entries, PYTHON) {
            if stage.peers.has(PYTHON) {
                clients.python = build_python(root, stage)?;
            } else {
                println!("Python is left out: {}", Peers::how(PYTHON));
                entries.retain(|entry| entry.peer != Some(PYTHON));
            }
        }
        Ok(clients)
    }

    /// The command of a client that asks `target` in this way.
    pub(super) fn command(
        &self,
        how: &str,
        condition: Condition,
        effort: Effort,
        target: &[String],
    ) -> Vec<String> {
        let Condition { connections, text_bytes } = condition;
        let times = [effort.warm_up, effort.duration].map(|time| time.as_millis().to_string());
        let asked = ["echo".to_owned(), connections.to_string()].into_iter();
        let asked = asked.chain(times).chain([text_bytes.to_string()]);
        if how == "c-ring" {
            let program = self.c.display().to_string();
            return [program].into_iter().chain(target.iter().cloned()).chain(asked).collect();
        }
        let script = self.python.iter().cloned().chain([how.to_owned()]);
        script.chain(asked).chain(target.iter().cloned()).collect()
    }
}

fn build_c(root: &Path, program: &Path) -> Result<PathBuf, String> {
    let library = bindings::c_library(root)?.join("libkernmantle.a");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O2", "-I"]).arg(root.join("bindings/c/include"));
    cc.arg(root.join("bench/peers/ring_client.c")).arg(library);
    perform(cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(program))?;
    Ok(program.to_owned())
}

fn build_python(root: &Path, stage: &Stage) -> Result<Vec<String>, String> {
    let wheels = bindings::wheels(root)?;
    let modules = stage.folder.join("python");
    let python = stage.peers.python(PYTHON, "python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]);
    perform(pip.arg(&modules).arg("--find-links").arg(wheels).arg("kernmantle"))?;
    let path = format!("PYTHONPATH={}", modules.display());
    let script = stage.peers.script("ring_client.py").display().to_string();
    Ok(vec!["env".to_owned(), path, python.display().to_string(), script])
}
