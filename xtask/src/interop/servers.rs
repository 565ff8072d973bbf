//! Which servers take part, what they are asked, and the little world they look at.
//!
//! Invariant: the answer to every step is the same whoever asks and however often, so that a direct
//! connection can be compared with any other.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Step;
use super::install::Place;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) command: Vec<String>,
    /// Variables it is started with.
    pub(super) env: Vec<(&'static str, String)>,
    pub(super) steps: Vec<Step>,
    /// What a direct connection answers to each step.
    pub(super) expected: Vec<Value>,
}

/// All servers; `everything` first.
pub(super) fn all(place: &Place) -> Result<Vec<Server>, String> {
    let world = place.folder.join("world");
    let text = |path: &Path| path.display().to_string();
    let (files, memory, repository) =
        (world.join("files"), world.join("memory.jsonl"), world.join("repository"));
    prepare(&files, &memory, &repository)?;
    let with = |mut command: Vec<String>, word: String| {
        command.push(word);
        command
    };
    let server = |name, command, steps: Vec<(&'static str, Value)>| {
        let mut all = vec![Step::new("tools/list", json!({}))];
        all.extend(steps.into_iter().map(|(method, params)| Step::new(method, params)));
        Server { name, command, env: Vec::new(), steps: all, expected: Vec::new() }
    };
    let mut servers = vec![
        server("everything", place.npm_server("server-everything"), everything()),
        server(
            "files",
            with(place.npm_server("server-filesystem"), text(&files)),
            vec![
                call("read_text_file", json!({ "path": text(&files.join("rope.txt")) })),
                call("list_directory", json!({ "path": text(&files) })),
                call("read_text_file", json!({ "path": text(&files.join("nothing.txt")) })),
            ],
        ),
        server(
            "git",
            place.python_server("mcp_server_git"),
            vec![
                call("git_status", json!({ "repo_path": text(&repository) })),
                call("git_log", json!({ "repo_path": text(&repository), "max_count": 1 })),
            ],
        ),
        server(
            "memory",
            place.npm_server("server-memory"),
            vec![call("read_graph", json!({})), call("search_nodes", json!({ "query": "sheath" }))],
        ),
        // Its only tool counts the calls of everybody.
        server("thinking", place.npm_server("server-sequential-thinking"), Vec::new()),
        server(
            "time",
            place.python_server("mcp_server_time"),
            vec![call(
                "convert_time",
                json!({ "source_timezone": "UTC", "time": "12:30", "target_timezone": "Asia/Tokyo" }),
            )],
        ),
    ];
    for server in &mut servers {
        if server.name == "memory" {
            server.env.push(("MEMORY_FILE_PATH", text(&memory)));
        }
    }
    Ok(servers)
}

fn everything() -> Vec<(&'static str, Value)> {
    vec![
        call("echo", json!({ "message": "grüße, 世界 \u{1f9f5} \"quoted\" \\ / \u{2028}" })),
        call("get-sum", json!({ "a": 2.5, "b": 40 })),
        call("get-structured-content", json!({ "location": "New York" })),
        call("get-tiny-image", json!({})),
        call("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        call("get-sum", json!({ "a": "no number", "b": 1 })),
        ("resources/read", json!({ "uri": "demo://resource/static/document/features.md" })),
        ("prompts/get", json!({ "name": "args-prompt", "arguments": { "city": "Zürich" } })),
    ]
}

fn call(tool: &str, arguments: Value) -> (&'static str, Value) {
    ("tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// A `kern.toml` with these servers.
pub(super) fn config(servers: &[Server]) -> String {
    let mut out = String::new();
    for server in servers {
        let (program, args) = server.command.split_first().expect("a command has a program");
        let env: Vec<_> =
            server.env.iter().map(|(name, value)| format!("{name} = {}", json!(value))).collect();
        out.push_str(&format!(
            "[upstream.{}]\ncommand = {}\nargs = {}\nenv = {{ {} }}\nstart_timeout = \"2m\"\n\n",
            server.name,
            json!(program),
            json!(args),
            env.join(", ")
        ));
    }
    out
}

/// Writes what the servers look at.
fn prepare(files: &Path, memory: &Path, repository: &Path) -> Result<(), String> {
    let made = fs::create_dir_all(files).and_then(|()| fs::create_dir_all(repository));
    made.map_err(|error| format!("cannot make {}: {error}", files.display()))?;
    super::write(&files.join("rope.txt"), "The kern bears the load,\r\nthe mantle protects it.\n")?;
    let entity = json!({ "type": "entity", "name": "mantle", "entityType": "part",
                         "observations": ["a woven sheath"] });
    super::write(memory, &format!("{entity}\n"))?;
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
