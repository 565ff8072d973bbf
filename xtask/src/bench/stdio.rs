//! `bench stdio`: many clients on one child through a gateway, or a child for each?
//!
//! Everything is started anew for each row of each round, since starting is measured, too: from
//! the start of the first process to the first right answer to the last client.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::effort::{Effort, EffortArgs};
use super::report::{median, thousands};
use super::rounds::generate;
use super::server::bound;
use super::stage::{Launch, Stage};
use super::svg::{Bar, Marks, Panel, Plot, Whose};

/// Measures many clients of a server that speaks through its stdin and stdout.
#[derive(clap::Args, Debug)]
pub(crate) struct StdioArgs {
    #[command(flatten)]
    effort: EffortArgs,
    /// Clients; each has one request in flight [default: 1,8,32]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    clients: Vec<usize>,
}

/// A way to serve clients.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    /// Which server: a Python one, or a `kern` with the builtin.
    python: bool,
    /// The name of the gateway; without one, every client has a child of its own.
    gateway: Option<&'static str>,
    peers: &'static [&'static str],
}

#[rustfmt::skip]
const WAYS: [Way; 6] = [
    Way { name: "own child: kern echo",          python: false, gateway: None,                 peers: &[] },
    Way { name: "kern, one child: kern echo",    python: false, gateway: Some("kern"),         peers: &[] },
    Way { name: "own child: Python",             python: true,  gateway: None,                 peers: &["python-mcp"] },
    Way { name: "kern, one child: Python",       python: true,  gateway: Some("kern"),         peers: &["python-mcp"] },
    Way { name: "mcp-proxy (PyPI): Python",      python: true,  gateway: Some("mcp-proxy"),    peers: &["python-mcp", "python-mcp-proxy"] },
    Way { name: "supergateway: Python",          python: true,  gateway: Some("supergateway"), peers: &["python-mcp", "node"] },
];

/// One way with a number of clients.
struct Row {
    way: Way,
    clients: usize,
    rounds: Vec<Value>,
    failed: Option<String>,
}

impl Row {
    fn median(&self, name: &str) -> f64 {
        let values = self.rounds.iter().filter_map(|round| round[name].as_f64());
        median(values.collect())
    }

    fn rate(&self) -> f64 {
        let rate = |round: &Value| Some(round["requests"].as_f64()? / round["seconds"].as_f64()?);
        median(self.rounds.iter().filter_map(rate).collect())
    }

    fn cpu_us(&self) -> f64 {
        let cpu = |round: &Value| {
            Some(round["server_cpu_s"].as_f64()? * 1e6 / round["requests"].as_f64()?)
        };
        median(self.rounds.iter().filter_map(cpu).collect())
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.way.name,
            "clients": self.clients,
            "requests_per_s": self.rate(),
            "cpu_us_per_request": self.cpu_us(),
            "failed": self.failed,
            "rounds": self.rounds,
        })
    }
}

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something of ours cannot be built or started, and at its first wrong answer.
pub(super) fn run(root: &Path, args: &StdioArgs) -> Result<(), String> {
    let effort = args.effort.effort();
    let stage = Stage::ready(root, args.effort.kern.as_deref(), false)?;
    let ways = WAYS.iter().filter(|way| args.effort.wants(way.name)).filter(|way| {
        let missing = way.peers.iter().find(|peer| !stage.peers.has(peer));
        if let Some(peer) = missing {
            println!("{} is left out: {}", way.name, super::peers::Peers::how(peer));
        }
        missing.is_none()
    });
    let ways: Vec<Way> = ways.copied().collect();
    let clients = match (&args.clients[..], effort.quick) {
        ([], true) => vec![8],
        ([], false) => vec![1, 8, 32],
        (given, _) => given.to_vec(),
    };
    let row =
        |clients| move |way: &Way| Row { way: *way, clients, rounds: Vec::new(), failed: None };
    let mut rows: Vec<Row> = clients.iter().flat_map(|n| ways.iter().map(row(*n))).collect();
    for round in 0..effort.rounds {
        eprintln!("bench: round {} of {}", round + 1, effort.rounds);
        for row in rows.iter_mut().filter(|row| row.failed.is_none()) {
            match measure(&stage, row.way, row.clients, effort) {
                Ok(value) => row.rounds.push(value),
                Err(why) if matches!(row.way.gateway, None | Some("kern")) => return Err(why),
                Err(why) => row.failed = Some(why),
            }
        }
    }
    print(&rows);
    let listed: Vec<Value> = rows.iter().map(Row::to_json).collect();
    let figures = json!({ "machine": stage.machine.to_json(), "rows": listed });
    args.effort.keep(root, "stdio", &figures, &draw(&stage, &rows))
}

/// The command of the server.
fn child(stage: &Stage, way: Way) -> Result<Vec<String>, String> {
    if way.python {
        let python = stage.peers.python("python-mcp", "python").display().to_string();
        let script = stage.peers.script("echo_python_sdk.py").display().to_string();
        return Ok(vec![python, script, "--stdio".to_owned()]);
    }
    let config = stage.configure("echo", "[upstream.echo]\nbuiltin = \"echo\"\n")?;
    let (program, config) = (stage.kern.display().to_string(), config.display().to_string());
    let words = ["serve", "--stdio", "--listen", "off", "--cores", "1", "--config", &config];
    Ok([program].into_iter().chain(words.map(str::to_owned)).collect())
}

fn measure(stage: &Stage, way: Way, clients: usize, effort: Effort) -> Result<Value, String> {
    let mut options = vec![
        ("--era", "session".to_owned()),
        ("--connections", clients.to_string()),
        ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
        ("--duration-ms", effort.duration.as_millis().to_string()),
        ("--text-bytes", "200".to_owned()),
    ];
    let named = |why: String| format!("{}, {clients} clients: {why}", way.name);
    let Some(gateway) = way.gateway else {
        let words = child(stage, way)?;
        let core = stage.machine.cores.map(|(server, _)| server.to_string());
        let bound = bound(&stage.machine, core.as_deref(), Path::new(&words[0]));
        let first = [bound.get_program()].into_iter().chain(bound.get_args());
        let first = first.map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = first.chain(words[1..].iter().cloned()).collect();
        return generate(stage, &options, &words).map_err(named);
    };
    let start = Instant::now();
    let words = child(stage, way)?;
    let server = stage
        .start_with(gateway, |address| plan(stage, gateway, address, &words))
        .map_err(named)?;
    let listening = start.elapsed().as_secs_f64();
    let path = if gateway == "kern" { "/mcp/up" } else { "/mcp" };
    options.push(("--address", server.address.to_string()));
    options.push(("--path", path.to_owned()));
    options.push(("--pid", server.pid().to_string()));
    let mut value =
        generate(stage, &options, &[]).map_err(|why| named(format!("{why}\n{}", server.tail())))?;
    value["start_s"] = json!(listening + value["start_s"].as_f64().unwrap_or(f64::NAN));
    Ok(value)
}

fn plan(
    stage: &Stage,
    name: &str,
    address: SocketAddr,
    child: &[String],
) -> Result<Launch, String> {
    match name {
        "kern" => {
            // An array of JSON strings is one of TOML strings, too.
            let config = format!(
                "[upstream.up]\ncommand = {}\nargs = {}\ninstances = \"shared\"\n",
                json!(child[0]),
                json!(child[1..])
            );
            stage.kern(name, "auto", address, &config)
        }
        "mcp-proxy" => Ok(super::proxy::mcp_proxy_of(stage, address, child)),
        _ => Ok(super::proxy::supergateway(stage, address, child)),
    }
}

fn print(rows: &[Row]) {
    println!(
        "\n{:<28} {:>7} {:>9} {:>9} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "", "clients", "processes", "memory", "start", "requests", "p50", "p99", "p99.9", "CPU"
    );
    println!(
        "{:<28} {:>7} {:>9} {:>9} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "", "", "", "MiB", "s", "/s", "µs", "µs", "µs", "µs/req"
    );
    for row in rows {
        if let Some(why) = &row.failed {
            println!("{:<28} failed: {}", row.way.name, why.lines().next().unwrap_or_default());
            continue;
        }
        println!(
            "{:<28} {:>7} {:>9.0} {:>9.1} {:>8.2} {:>9} {:>8.0} {:>8.0} {:>8.0} {:>8.1}",
            row.way.name,
            row.clients,
            row.median("processes"),
            row.median("rss_kib") / 1024.0,
            row.median("start_s"),
            thousands(row.rate()),
            row.median("p50_us"),
            row.median("p99_us"),
            row.median("p999_us"),
            row.cpu_us(),
        );
    }
}

/// Memory, start and rate with the most clients.
fn draw(stage: &Stage, rows: &[Row]) -> Plot {
    let most = rows.iter().map(|row| row.clients).max().unwrap_or(0);
    let shown: Vec<&Row> =
        rows.iter().filter(|row| row.clients == most && row.failed.is_none()).collect();
    let panel = |title: &str, value: &dyn Fn(&Row) -> f64, digits: usize| {
        let bar = |row: &&Row| {
            let value = value(row);
            let text = if digits == 0 { thousands(value) } else { format!("{value:.digits$}") };
            let whose = if row.way.gateway == Some("kern") { Whose::Ours } else { Whose::Others };
            Bar { name: row.way.name.into(), value, text, whose }
        };
        let marks = Marks::Bars(shown.iter().map(bar).collect());
        Panel { title: title.into(), marks }
    };
    Plot {
        title: format!("{most} clients of a server on stdio: a child each, or one for all"),
        note: stage.machine.note(),
        panels: vec![
            panel("processes: less is better", &|row| row.median("processes"), 0),
            panel("memory, MiB: less is better", &|row| row.median("rss_kib") / 1024.0, 0),
            panel(
                "seconds until all clients were answered once: less is better",
                &|row| row.median("start_s"),
                2,
            ),
            panel("requests/s: more is better", &Row::rate, 0),
        ],
    }
}
