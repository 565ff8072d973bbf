//! A client, how it connects, and how its answers compare.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::install::Place;
use super::report::Row;
use super::servers::Server;
use super::{World, compare, inspector};

/// Longest time one client may take for all it is asked.
const RUN: Duration = Duration::from_secs(120);

/// The scripts that drive the SDKs: name of the file, its text.
const SCRIPTS: &[(&str, &str)] = &[
    ("python_v1.py", include_str!("clients/python_v1.py")),
    ("python_v2.py", include_str!("clients/python_v2.py")),
    ("typescript_v1.mjs", include_str!("clients/typescript_v1.mjs")),
    ("typescript_v2.mjs", include_str!("clients/typescript_v2.mjs")),
];

/// Where a client connects.
#[derive(Clone, Debug)]
pub(super) enum Connection {
    Http(String),
    Sse(String),
    Stdio(Vec<String>),
}

impl Connection {
    fn json(&self) -> Value {
        match self {
            Self::Http(url) => json!({ "http": url }),
            Self::Sse(url) => json!({ "sse": url }),
            Self::Stdio(command) => json!({ "stdio": command }),
        }
    }
}

/// One client over one transport.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) era: &'static str,
    pub(super) transport: &'static str,
    /// The revision that must be agreed, if the client tells.
    revision: Option<&'static str>,
    connection: Connection,
    /// The endpoint of the first server alone.
    one: bool,
    how: How,
}

#[derive(Debug)]
enum How {
    /// A program and the script it runs.
    Script(PathBuf, PathBuf),
    /// The Inspector; with it the tools it sees when it connects to the server directly.
    Inspector(Option<Value>),
}

/// Every client over every transport it speaks.
pub(super) fn all(place: &Place, servers: &[Server], world: &World) -> Result<Vec<Run>, String> {
    for (name, text) in SCRIPTS {
        // Node looks for packages beside the script.
        super::write(&place.folder.join("node").join(name), text)?;
    }
    let one = format!("/mcp/{}", servers[0].name);
    let sse_one = format!("/sse/{}", servers[0].name);
    let mut runs = Vec::new();
    for (name, program, script, dual) in [
        ("Python mcp 1.30.0", place.python("python-v1"), "python_v1.py", false),
        ("Python mcp 2.3.0", place.python("python-v2"), "python_v2.py", true),
        ("TypeScript sdk 1.32.2", place.node(), "typescript_v1.mjs", false),
        ("TypeScript client 2.4.0", place.node(), "typescript_v2.mjs", true),
    ] {
        let script = place.folder.join("node").join(script);
        let mut add = |era, transport, connection, one| {
            let (name, how) = (name.to_owned(), How::Script(program.clone(), script.clone()));
            let revision = Some(if era == "legacy" { "2025-11-25" } else { "2026-07-28" });
            runs.push(Run { name, era, transport, revision, connection, one, how });
        };
        add("legacy", "http /mcp", world.http("/mcp"), false);
        add("legacy", "http /mcp/NAME", world.http(&one), true);
        add("legacy", "stdio", world.stdio(&world.config), false);
        if dual {
            add("modern", "http /mcp", world.http("/mcp"), false);
            add("auto", "http /mcp/NAME", world.http(&one), true);
            add("modern", "stdio", world.stdio(&world.config), false);
        } else {
            add("legacy", "sse", world.sse("/sse"), false);
        }
    }
    let direct = inspector::ask(
        place,
        &Connection::Stdio(servers[0].command.clone()),
        "legacy",
        &servers[0].steps[0],
    )?;
    let mut add = |era, transport, connection| {
        let how = How::Inspector((era == "legacy").then(|| direct.clone()));
        let name = "Inspector 2.12.0".to_owned();
        runs.push(Run { name, era, transport, revision: None, connection, one: true, how });
    };
    add("legacy", "http /mcp/NAME", world.http(&one));
    add("modern", "http /mcp/NAME", world.http(&one));
    add("legacy", "sse", world.sse(&sse_one));
    add("legacy", "stdio", world.stdio(&world.config_one));
    Ok(runs)
}

impl Run {
    /// Runs it; what went wrong is in the row.
    pub(super) fn run(&self, place: &Place, servers: &[Server]) -> Row {
        let servers = if self.one { &servers[..1] } else { servers };
        let row = Row::new(&self.name, self.era, self.transport);
        match &self.how {
            How::Script(..) => self.run_script(place, servers, row),
            How::Inspector(tools) => self.run_inspector(place, &servers[0], tools.as_ref(), row),
        }
    }

    fn run_script(&self, place: &Place, servers: &[Server], mut row: Row) -> Row {
        let mut steps = Vec::new();
        for server in servers {
            // One list holds the tools of all.
            let calls = server.steps.iter().skip(1);
            steps.extend(calls.map(|step| match self.one {
                true => step.plain(),
                false => step.through(server.name),
            }));
        }
        steps.insert(0, json!({ "method": "tools/list", "params": {} }));
        let plan = json!({ "connect": self.connection.json(), "era": self.era, "steps": steps });
        let output = match self.output(place, &plan) {
            Ok(output) => output,
            Err(why) => return row.failed(servers, &why),
        };
        let revision = output["revision"].as_str().unwrap_or("none");
        row.revision = revision.to_owned();
        if self.revision.is_some_and(|wanted| wanted != revision) {
            return row.failed(servers, &format!("the agreed revision is {revision}"));
        }
        let results = output["results"].as_array().cloned().unwrap_or_default();
        let mut results = results.iter();
        let tools = results.next().unwrap_or(&Value::Null);
        row.tools = tools["tools"].as_array().map_or(0, Vec::len);
        let expected: usize = servers
            .iter()
            .filter_map(|server| server.expected[0]["tools"].as_array())
            .map(Vec::len)
            .sum();
        let counted = match row.tools == expected {
            true => Ok(()),
            false => Err(format!("{} tools instead of {expected}", row.tools)),
        };
        for server in servers {
            let mut differs = counted.clone();
            let seen = if self.one { tools.clone() } else { own_tools(tools, server.name) };
            differs = differs.and(compare::same("tools/list", &server.expected[0], &seen));
            for (step, expected) in server.steps.iter().zip(&server.expected).skip(1) {
                let found = results.next().unwrap_or(&Value::Null);
                let same = compare::same(step.method, expected, found);
                differs = differs.and(same.map_err(|why| format!("{} {why}", step.plain())));
            }
            row.judge(server.name, differs);
        }
        row
    }

    fn output(&self, place: &Place, plan: &Value) -> Result<Value, String> {
        let How::Script(program, script) = &self.how else { return Err("no script".to_owned()) };
        let file = place.folder.join("plan.json");
        super::write(&file, &plan.to_string())?;
        let mut command = Command::new(program);
        command.arg(script).arg(&file);
        last_json(&finish(place, command)?)
    }

    fn run_inspector(
        &self,
        place: &Place,
        server: &Server,
        tools: Option<&Value>,
        mut row: Row,
    ) -> Row {
        let mut differs = Ok(());
        for (step, expected) in server.steps.iter().zip(&server.expected) {
            // Its command line has no way to write every argument.
            if !inspector::can(step) {
                continue;
            }
            let expected = tools.filter(|_| step.method == "tools/list").unwrap_or(expected);
            let found = inspector::ask(place, &self.connection, self.era, step);
            let same = found.and_then(|found| {
                row.tools = row.tools.max(found["tools"].as_array().map_or(0, Vec::len));
                compare::same(step.method, expected, &found)
            });
            differs = differs.and(same.map_err(|why| format!("{} {why}", step.plain())));
        }
        row.judge(server.name, differs);
        row
    }
}

/// The tools of one server among all, under their own names.
fn own_tools(all: &Value, server: &str) -> Value {
    let prefix = format!("{server}__");
    let tools = all["tools"].as_array().cloned().unwrap_or_default();
    let own = tools.into_iter().filter_map(|mut tool| {
        let name = tool["name"].as_str()?.strip_prefix(&prefix)?.to_owned();
        tool["name"] = json!(name);
        Some(tool)
    });
    json!({ "tools": own.collect::<Vec<_>>() })
}

/// What a client printed last.
fn last_json(text: &str) -> Result<Value, String> {
    let line = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("it printed no JSON ({error}): {line}"))
}

/// Runs a client to its end; its stdout.
pub(super) fn finish(place: &Place, mut command: Command) -> Result<String, String> {
    let (out, errors) = (place.folder.join("client.out"), place.folder.join("client.err"));
    let create = |path| File::create(path).map_err(|error| format!("cannot write: {error}"));
    command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&errors)?);
    command.env("MCP_CATALOG_PATH", place.folder.join("catalog.json"));
    let mut child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    let deadline = Instant::now() + RUN;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // Ended or not, it is gone after this.
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("it took longer than {RUN:?}"));
            }
        }
    };
    let text = std::fs::read_to_string(&out).unwrap_or_default();
    match status.success() {
        true => Ok(text),
        false => {
            let said = std::fs::read_to_string(&errors).unwrap_or_default();
            let said: Vec<&str> = said.lines().rev().take(4).collect();
            Err(format!("{status}: {}", said.into_iter().rev().collect::<Vec<_>>().join(" | ")))
        }
    }
}
