//! `bench native`: a tool answered inside, next to what is possible and to the SDKs.

use std::net::SocketAddr;
use std::path::Path;

use super::effort::LoadArgs;
use super::report::{self, Figures, thousands};
use super::rounds::{self, Condition, Row};
use super::stage::{Entry, Launch, Servers, Stage, chosen};
use super::svg::{Bar, Line, Marks, Panel, Plot, Span, Whose};

const fn entry(
    name: &'static str,
    server: &'static str,
    path: &'static str,
    era: &'static str,
    floor: &'static str,
    peer: Option<&'static str>,
) -> Entry {
    Entry { name, server, path, tool: "echo", era, floor: Some(floor), direct: None, peer }
}

/// Who could take part.
#[rustfmt::skip]
const ENTRIES: [Entry; 18] = [
    entry("floor uring",                "floor-uring",      "/",         "fixed",     "floor uring",    None),
    entry("floor portable",             "floor-portable",   "/",         "fixed",     "floor portable", None),
    entry("kern modern uring",          "kern-uring",       "/mcp/echo", "modern",    "floor uring",    None),
    entry("kern modern portable",       "kern-portable",    "/mcp/echo", "modern",    "floor portable", None),
    entry("kern session uring",         "kern-uring",       "/mcp/echo", "session",   "floor uring",    None),
    entry("kern session portable",      "kern-portable",    "/mcp/echo", "session",   "floor portable", None),
    entry("rmcp modern",                "rmcp",             "/mcp",      "modern",    "floor portable", None),
    entry("rmcp stateless",             "rmcp",             "/mcp",      "stateless", "floor portable", None),
    entry("rmcp session (stream)",      "rmcp-stateful",    "/mcp",      "session",   "floor portable", None),
    entry("TypeScript 2 modern",        "typescript-v2",    "/mcp",      "modern",    "floor portable", Some("node")),
    entry("TypeScript 2 stateless",     "typescript-v2",    "/mcp",      "stateless", "floor portable", Some("node")),
    entry("TypeScript 1 session",       "typescript-v1",    "/mcp",      "session",   "floor portable", Some("node")),
    entry("Python modern",              "python",           "/mcp",      "modern",    "floor portable", Some("python-mcp")),
    entry("Python stateless",           "python",           "/mcp",      "stateless", "floor portable", Some("python-mcp")),
    entry("Python session (stream)",    "python-sessions",  "/mcp",      "session",   "floor portable", Some("python-mcp")),
    entry("fastmcp modern",             "fastmcp",          "/mcp",      "modern",    "floor portable", Some("python-fastmcp")),
    entry("fastmcp stateless",          "fastmcp",          "/mcp",      "stateless", "floor portable", Some("python-fastmcp")),
    entry("fastmcp session (stream)",   "fastmcp-sessions", "/mcp",      "session",   "floor portable", Some("python-fastmcp")),
];

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something of ours cannot be built or started, and at its first wrong answer.
pub(super) fn run(root: &Path, args: &LoadArgs) -> Result<(), String> {
    let effort = args.effort.effort();
    let mut entries = chosen(&ENTRIES, |name| args.effort.wants(name))?;
    let rmcp = entries.iter().any(|entry| entry.server.starts_with("rmcp"));
    let stage = Stage::ready(root, args.effort.kern.as_deref(), rmcp)?;
    let servers = stage.start_all(&mut entries, plan)?;
    let (connections, text_bytes): (&[usize], &[usize]) = match effort.quick {
        true => (&[32], &[200]),
        false => (&[1, 32, 256], &[200, 4096, 65536]),
    };
    let conditions = args.conditions(connections, text_bytes);
    let rows = rounds::run(&stage, &servers, &entries, &conditions, effort)?;
    drop(servers);
    report::print(&rows, effort);
    let figures = report::to_json(&stage.machine, &rows, effort);
    args.effort.keep(root, "native", &figures, &draw(&stage, &rows))
}

fn plan(
    stage: &Stage,
    name: &'static str,
    address: SocketAddr,
    _: &Servers,
) -> Result<Launch, String> {
    let port = address.port().to_string();
    let at = address.to_string();
    let driver = if name.ends_with("-portable") { "portable" } else { "uring" };
    Ok(match name {
        "floor-uring" | "floor-portable" => Launch::new(&stage.floor, [driver, &at]),
        "rmcp" => Launch::new(&stage.rmcp, [&at]),
        "rmcp-stateful" => Launch::new(&stage.rmcp, ["--stateful", &at]),
        "typescript-v1" | "typescript-v2" => {
            let script = name.replace("typescript-", "echo_typescript_") + ".mjs";
            let script = stage.peers.node_script(&script)?;
            Launch::new(stage.peers.node(), [script.into_os_string(), port.into()])
        }
        "python" | "python-sessions" | "fastmcp" | "fastmcp-sessions" => {
            let (environment, script) = match name.starts_with("python") {
                true => ("python-mcp", "echo_python_sdk.py"),
                false => ("python-fastmcp", "echo_fastmcp.py"),
            };
            let script = stage.peers.script(script).into_os_string();
            let python = stage.peers.python(environment, "python");
            let mut launch = Launch::new(python, [script, port.into()]);
            if name.ends_with("-sessions") {
                launch.arguments.push("--sessions".into());
            }
            launch
        }
        _ => stage.kern(name, driver, address, "[upstream.echo]\nbuiltin = \"echo\"\n")?,
    })
}

/// Rates and latencies under the condition in the middle.
fn draw(stage: &Stage, rows: &[Row]) -> Plot {
    let middle = |row: &&Row| row.condition == Condition { connections: 32, text_bytes: 200 };
    let figures: Vec<Figures> = rows
        .iter()
        .filter(middle)
        .filter(|row| row.failed.is_none())
        .map(|row| Figures::of(row, rows))
        .collect();
    Plot {
        title: "A tool answered inside: 200 B, 32 connections, one core".into(),
        note: stage.machine.note(),
        panels: panels(&figures, "").into_iter().chain(by_size(rows)).collect(),
    }
}

/// CPU time over the size of the text, of those on io_uring and of the fastest other.
fn by_size(rows: &[Row]) -> Option<Panel> {
    let line = |name: &str| {
        let own = rows.iter().filter(|row| row.entry.name == name && row.failed.is_none());
        let own = own.filter(|row| row.condition.connections == 32);
        let point = |row: &Row| (row.condition.text_bytes as f64, Figures::of(row, rows).cpu_us);
        Line { name: name.into(), points: own.map(point).collect() }
    };
    let names = ["kern modern uring", "kern session uring", "rmcp modern", "floor uring"];
    let lines: Vec<Line> =
        names.into_iter().map(line).filter(|line| line.points.len() > 1).collect();
    let title = "server's CPU µs a request, by size (the floor's answer does not grow)".into();
    let over = "bytes of text, there and back (powers of ten)".into();
    (!lines.is_empty()).then_some(Panel { title, marks: Marks::Lines { over, lines } })
}

/// A panel of rates, one of latencies, one of CPU time.
pub(super) fn panels(figures: &[Figures], than: &str) -> Vec<Panel> {
    let rate = |row: &Figures| {
        let text = thousands(row.rate);
        Bar { name: row.name.into(), value: row.rate, text, whose: whose(row.name) }
    };
    let span = |row: &Figures, values: [f64; 3], text: String| Span {
        name: row.name.into(),
        values,
        text,
        whose: whose(row.name),
    };
    let latency = |row: &Figures| {
        span(row, [row.p50, row.p99, row.p999], format!("{} µs", thousands(row.p50)))
    };
    let cpu = |row: &Figures| {
        let text =
            if row.cpu_us < 100.0 { format!("{:.1}", row.cpu_us) } else { thousands(row.cpu_us) };
        span(row, [row.cpu_us; 3], text)
    };
    vec![
        Panel {
            title: format!("requests/s{than}: more is better"),
            marks: Marks::Bars(figures.iter().map(rate).collect()),
        },
        Panel {
            title: "µs until the answer: p50, p99, p99.9 (powers of ten; less is better)".into(),
            marks: Marks::Spans(figures.iter().map(latency).collect()),
        },
        Panel {
            title: "server's CPU µs a request, user and system (powers of ten; less is better)"
                .into(),
            marks: Marks::Spans(figures.iter().map(cpu).collect()),
        },
    ]
}

fn whose(name: &str) -> Whose {
    match name.split(' ').next() {
        Some("kern" | "ring,") => Whose::Ours,
        _ if name.ends_with(", ring") => Whose::Ours,
        Some("floor" | "direct") => Whose::Floor,
        _ => Whose::Others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_measured_brings_what_it_is_compared_with() {
        let names = |only: &str| -> Vec<&str> {
            let entries = chosen(&ENTRIES, |name| name.contains(only)).expect("a known name");
            entries.iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names("kern modern uring"), ["floor uring", "kern modern uring"]);
        assert_eq!(names("floor uring"), ["floor uring"]);
        assert!(chosen(&ENTRIES, |name| name == "nobody").is_err());
    }
}
