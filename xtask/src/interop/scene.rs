//! The little world the servers look at: files, a repository, a graph, a place for a database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

/// Where everything is.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) files: PathBuf,
    pub(super) memory: PathBuf,
    pub(super) repository: PathBuf,
    pub(super) database: PathBuf,
}

impl Scene {
    /// Writes what is not there yet.
    pub(super) fn ready(folder: &Path) -> Result<Self, String> {
        let scene = Self {
            files: folder.join("files"),
            memory: folder.join("memory.jsonl"),
            repository: folder.join("repository"),
            database: folder.join("knots.db"),
        };
        let made =
            fs::create_dir_all(&scene.files).and_then(|()| fs::create_dir_all(&scene.repository));
        made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let text = "The kern bears the load,\r\nthe mantle protects it.\n";
        super::write(&scene.files.join("rope.txt"), text)?;
        let entity = json!({ "type": "entity", "name": "mantle", "entityType": "part",
                             "observations": ["a woven sheath"] });
        super::write(&scene.memory, &format!("{entity}\n"))?;
        commit(&scene.repository)?;
        Ok(scene)
    }
}

/// A repository of one commit, the same everywhere.
fn commit(repository: &Path) -> Result<(), String> {
    if repository.join(".git").exists() {
        return Ok(());
    }
    super::write(&repository.join("rope.txt"), "kern\n")?;
    for words in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "-m", "a rope"]] {
        let mut git = Command::new("git");
        git.current_dir(repository).args(["-c", "user.name=k", "-c", "user.email=k@example.com"]);
        for variable in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
            git.env(variable, "2026-01-01T00:00:00Z");
        }
        let status = git.args(words).stdin(Stdio::null()).status();
        if !status.map_err(|error| format!("cannot run git: {error}"))?.success() {
            return Err(format!("git {} failed", words[0]));
        }
    }
    Ok(())
}
