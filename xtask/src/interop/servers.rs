//! Which servers take part and what they are asked.
//!
//! Invariant: the answer to every step is the same whoever asks and however often, so that a direct
//! connection can be compared with any other.

use std::path::Path;

use serde_json::{Value, json};

use super::install::Place;
use super::page::Page;
use super::rows::Era;
use super::scene::Scene;
use super::step::Step;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) command: Vec<String>,
    /// Variables it is started with.
    pub(super) env: Vec<(&'static str, String)>,
    /// The lists it has, then what is called, read and filled in.
    pub(super) steps: Vec<Step>,
    /// What makes it ask its client.
    pub(super) asks: Option<Asks>,
    /// What a connection without any SDK answers to each of the steps.
    pub(super) expected: Vec<Value>,
}

/// What makes a server ask its client.
#[derive(Debug)]
pub(super) struct Asks {
    /// The column these cells are in.
    pub(super) column: &'static str,
    pub(super) steps: Vec<Step>,
    /// The eras of clients that it can ask through `kern`.
    pub(super) eras: &'static [Era],
}

impl Server {
    fn new(name: &'static str, command: Vec<String>, steps: Vec<Step>) -> Self {
        Self { name, command, env: Vec::new(), steps, asks: None, expected: Vec::new() }
    }

    /// Those that never ask anything are told to be shared: by itself, `kern` starts one of every old
    /// server for each old client that can be asked, which takes minutes here.
    fn instances(&self) -> &'static str {
        match self.name {
            "everything" | "files" | "asker" => "auto",
            _ => "shared",
        }
    }

    /// How a client starts it without kern.
    pub(super) fn connect(&self) -> Value {
        let env: serde_json::Map<String, Value> =
            self.env.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "stdio": self.command, "env": env })
    }
}

/// All servers; `everything` first.
pub(super) fn all(place: &Place, scene: &Scene, page: &Page) -> Result<Vec<Server>, String> {
    let with = |mut command: Vec<String>, words: &[&str]| {
        command.extend(words.iter().map(|word| (*word).to_owned()));
        command
    };
    let text = |path: &Path| path.display().to_string();
    let files = with(place.npm_server("server-filesystem"), &[&text(&scene.files)]);
    // It is no module that Python could run.
    let main = "from mcp_server_sqlite import main; main()";
    let python_v1 = vec![text(&place.python("python-v1"))];
    let sqlite = with(python_v1, &["-c", main, "--db-path", &text(&scene.database)]);
    let script = place.folder.join("asker.py");
    super::write(&script, include_str!("asker.py"))?;
    let asker = vec![text(&place.python("python-servers")), text(&script)];
    let python = |module| place.python_server(module);
    let mut servers = vec![
        Server::new("everything", place.npm_server("server-everything"), everything()),
        Server::new("files", files, filesystem(&scene.files)),
        Server::new("git", python("mcp_server_git"), git(&text(&scene.repository))),
        Server::new("memory", place.npm_server("server-memory"), memory()),
        Server::new("thinking", place.npm_server("server-sequential-thinking"), thinking()),
        Server::new("time", python("mcp_server_time"), time()),
        Server::new(
            "fetch",
            with(python("mcp_server_fetch"), &["--allow-private-ips"]),
            fetch(&page.url),
        ),
        Server::new("sqlite", sqlite, sqlite_steps()),
        Server::new("asker", asker, vec![Step::call("plain", json!({ "knot": "bowline" }))]),
    ];
    for server in &mut servers {
        match server.name {
            "everything" => server.asks = Some(asks()),
            "asker" => server.asks = Some(new_asks()),
            "memory" => server.env.push(("MEMORY_FILE_PATH", text(&scene.memory))),
            // The page is on this machine.
            "fetch" => server.env.push(("NO_PROXY", "127.0.0.1".to_owned())),
            _ => {}
        }
    }
    Ok(servers)
}

fn everything() -> Vec<Step> {
    vec![
        Step::call("echo", json!({ "message": "grüße, 世界 \u{1f9f5} \"quoted\" \\ / \u{2028}" })),
        Step::call("get-sum", json!({ "a": 2.5, "b": 40 })),
        Step::call("get-structured-content", json!({ "location": "New York" })),
        Step::call("get-tiny-image", json!({})),
        Step::call(
            "get-annotated-message",
            json!({ "messageType": "error", "includeImage": true }),
        ),
        Step::call("get-resource-links", json!({ "count": 2 })),
        Step::call("get-sum", json!({ "a": "no number", "b": 1 })),
        Step::call("trigger-long-running-operation", json!({ "duration": 0.3, "steps": 3 }))
            .with_progress(),
        Step::read("demo://resource/static/document/features.md"),
        Step::prompt("simple-prompt", json!({})),
        Step::prompt("args-prompt", json!({ "city": "Zürich" })),
        Step::prompt("args-prompt", json!({ "state": "no city" })),
    ]
}

/// An old server asks in mid-call. Its tools for that are there only for clients that can be asked.
fn asks() -> Asks {
    let steps = vec![
        Step::new("tools/list", json!({})).until("trigger-sampling-request"),
        Step::call("trigger-elicitation-request", json!({})),
        Step::call("trigger-sampling-request", json!({ "prompt": "which bend?", "maxTokens": 9 })),
        Step::call("get-roots-list", json!({})),
    ];
    Asks { column: "asks/old", steps, eras: &[Era::Legacy, Era::Auto, Era::Modern] }
}

/// A new server answers that it needs input.
fn new_asks() -> Asks {
    let tools = ["ask_name", "ask_model", "ask_roots", "ask_at_once", "ask_twice"];
    let steps = tools.iter().map(|tool| Step::call(tool, json!({}))).collect();
    Asks { column: "asks/new", steps, eras: &[Era::Legacy, Era::Auto, Era::Modern] }
}

fn filesystem(files: &Path) -> Vec<Step> {
    let path = |name: &str| files.join(name).display().to_string();
    let edit = json!([{ "oldText": "bears", "newText": "carries" }]);
    vec![
        Step::call("read_text_file", json!({ "path": path("rope.txt") })),
        Step::call(
            "read_multiple_files",
            json!({ "paths": [path("rope.txt"), path("nothing.txt")] }),
        ),
        Step::call("list_directory", json!({ "path": files })),
        Step::call("search_files", json!({ "path": files, "pattern": "*.txt" })),
        Step::call("edit_file", json!({ "path": path("rope.txt"), "edits": edit, "dryRun": true })),
        Step::call("write_file", json!({ "path": path("written.txt"), "content": "a bight\n" })),
        Step::call("read_text_file", json!({ "path": path("nothing.txt") })),
    ]
}

fn git(repository: &str) -> Vec<Step> {
    vec![
        Step::call("git_status", json!({ "repo_path": repository })),
        Step::call("git_log", json!({ "repo_path": repository, "max_count": 1 })),
        Step::call("git_show", json!({ "repo_path": repository, "revision": "HEAD" })),
        Step::call("git_show", json!({ "repo_path": repository, "revision": "no-such-knot" })),
    ]
}

fn memory() -> Vec<Step> {
    vec![
        Step::call("read_graph", json!({})),
        Step::call("search_nodes", json!({ "query": "sheath" })),
        Step::call("open_nodes", json!({ "names": ["mantle", "nothing"] })),
    ]
}

fn thinking() -> Vec<Step> {
    let thought = json!({ "thought": "tie in", "thoughtNumber": 1, "totalThoughts": 1,
                          "nextThoughtNeeded": false });
    // It counts the thoughts of everybody.
    vec![Step::call("sequentialthinking", thought).counting("thoughtHistoryLength")]
}

fn time() -> Vec<Step> {
    let convert =
        |to: &str| json!({ "source_timezone": "UTC", "time": "12:30", "target_timezone": to });
    vec![
        Step::call("convert_time", convert("Asia/Tokyo")),
        Step::call("convert_time", convert("Nowhere/Nothing")),
    ]
}

fn fetch(url: &str) -> Vec<Step> {
    vec![
        Step::call("fetch", json!({ "url": url, "max_length": 500 })),
        Step::call("fetch", json!({ "url": url, "raw": true })),
        Step::prompt("fetch", json!({ "url": url })),
    ]
}

fn sqlite_steps() -> Vec<Step> {
    let query = |query: &str| json!({ "query": query });
    vec![
        Step::call(
            "create_table",
            query("CREATE TABLE IF NOT EXISTS knots (name TEXT PRIMARY KEY, turns INTEGER)"),
        ),
        Step::call("write_query", query("INSERT OR REPLACE INTO knots VALUES ('bowline', 1)")),
        Step::call("read_query", query("SELECT * FROM knots")),
        Step::call("describe_table", json!({ "table_name": "knots" })),
        Step::call("read_query", query("SELECT * FROM no_such_table")),
        Step::read("memo://insights"),
        Step::prompt("mcp-demo", json!({ "topic": "ropes" })),
    ]
}

/// A `kern.toml` with these servers.
pub(super) fn config(servers: &[Server]) -> String {
    // Not every client says that it goes, and what was started for it should not pile up.
    let mut out = "[limits]\nsession_idle_timeout = \"1m\"\n\n".to_owned();
    for server in servers {
        let (program, args) = server.command.split_first().expect("a command has a program");
        let env: Vec<_> =
            server.env.iter().map(|(name, value)| format!("{name} = {}", json!(value))).collect();
        out.push_str(&format!(
            "[upstream.{}]\ncommand = {}\nargs = {}\nenv = {{ {} }}\ninstances = \"{}\"\n\
             start_timeout = \"2m\"\n\n",
            server.name,
            json!(program),
            json!(args),
            env.join(", "),
            server.instances(),
        ));
    }
    out
}

/// A `kern.toml` with the same servers behind the `kern` at `base`.
pub(super) fn config_behind(servers: &[Server], base: &str) -> String {
    let entry =
        |server: &Server| format!("[upstream.{0}]\nurl = \"{base}/mcp/{0}\"\n\n", server.name);
    servers.iter().map(entry).collect()
}
