//! `bench scale`: does a request cost the same, however many of everything there are?
//!
//! Each point has a `kern` of its own, on one core but where cores are what grows. What is printed
//! is the CPU time of a request, and its slope: by how much it changes when there are ten times as
//! many.

use std::path::Path;

use serde_json::{Value, json};

use super::effort::{Effort, EffortArgs};
use super::idle;
use super::report::{median, thousands};
use super::rounds::generate;
use super::server::Server;
use super::stage::Stage;
use super::svg::{Line, Marks, Panel, Plot};

/// Measures what growth costs.
#[derive(clap::Args, Debug)]
pub(crate) struct ScaleArgs {
    #[command(flatten)]
    effort: EffortArgs,
    /// How many of everything [default: 10,100,1000,10000]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    counts: Vec<usize>,
}

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Connections,
    Sessions,
    Upstreams,
    Tools,
    Cores,
}

const GROWTHS: [Growth; 5] =
    [Growth::Connections, Growth::Sessions, Growth::Upstreams, Growth::Tools, Growth::Cores];

/// Open at once, whatever there is more of.
const ACTIVE: usize = 10;
/// More than there can be of anything here.
const LIMITS: &str = "[limits]\nconnections = 20000\nsessions = 20000\n";

impl Growth {
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Sessions => "sessions",
            Self::Upstreams => "upstreams",
            Self::Tools => "tools",
            Self::Cores => "cores",
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::Connections => "connections, each with a request in flight",
            Self::Sessions => "idle sessions beside 10 that ask",
            Self::Upstreams => "upstreams on one endpoint, 10 clients of one of them",
            Self::Tools => "tools of a child, 10 clients of the last",
            Self::Cores => "cores, 32 connections",
        }
    }

    /// The configuration with so many, and the path and the name of the tool.
    fn setting(self, stage: &Stage, count: usize) -> (String, &'static str, String) {
        let echo = "[upstream.echo]\nbuiltin = \"echo\"\n";
        match self {
            Self::Connections | Self::Sessions | Self::Cores => {
                (format!("{LIMITS}{echo}"), "/mcp/echo", "echo".to_owned())
            }
            Self::Upstreams => {
                let one = |at| format!("[upstream.e{at}]\nbuiltin = \"echo\"\n");
                let all: String = (0..count).map(one).collect();
                (format!("{LIMITS}{all}"), "/mcp", format!("e{}__echo", count / 2))
            }
            Self::Tools => {
                let script = stage.peers.script("many_tools.py").display().to_string();
                let words = json!([script, count.to_string()]);
                let text = format!("[upstream.up]\ncommand = \"python3\"\nargs = {words}\n");
                (text, "/mcp/up", "echo".to_owned())
            }
        }
    }
}

/// So many of something.
struct Point {
    growth: Growth,
    count: usize,
    rounds: Vec<Value>,
}

impl Point {
    fn over(&self, value: impl Fn(&Value) -> Option<f64>) -> f64 {
        median(self.rounds.iter().filter_map(value).collect())
    }

    fn cpu_us(&self) -> f64 {
        let one = |round: &Value| {
            Some(round["server_cpu_s"].as_f64()? * 1e6 / round["requests"].as_f64()?)
        };
        self.over(one)
    }

    fn rate(&self) -> f64 {
        self.over(|round| Some(round["requests"].as_f64()? / round["seconds"].as_f64()?))
    }

    fn to_json(&self) -> Value {
        json!({
            "growth": self.growth.name(),
            "count": self.count,
            "cpu_us_per_request": self.cpu_us(),
            "requests_per_s": self.rate(),
            "rounds": self.rounds,
        })
    }
}

/// Builds, starts, measures, reports.
///
/// # Errors
/// When something cannot be built or started, and at the first wrong answer.
pub(super) fn run(root: &Path, args: &ScaleArgs) -> Result<(), String> {
    let effort = args.effort.effort();
    let stage = Stage::ready(root, args.effort.kern.as_deref(), false)?;
    let most = idle::descriptors().saturating_sub(500);
    let counts: Vec<usize> = match (&args.counts[..], effort.quick) {
        ([], true) => vec![10, 1000],
        ([], false) => vec![10, 100, 1000, 10_000],
        (given, _) => given.to_vec(),
    };
    if counts.iter().any(|count| *count > most) {
        println!("at most {most} connections: the limit of descriptors (`ulimit -n`) is near");
    }
    let mut points = Vec::new();
    for growth in GROWTHS.into_iter().filter(|growth| args.effort.wants(growth.name())) {
        let cores: Vec<usize> = [1, 2, 4, 8, 16, 32, 64].into();
        let counts = if growth == Growth::Cores { &cores } else { &counts };
        for count in counts.iter().copied() {
            let fits = match growth {
                Growth::Cores => count <= stage.machine.cores_allowed,
                Growth::Connections => count <= most,
                _ => true,
            };
            if fits {
                points.push(Point { growth, count, rounds: Vec::new() });
            }
        }
    }
    for round in 0..effort.rounds {
        eprintln!("bench: round {} of {}", round + 1, effort.rounds);
        for point in &mut points {
            point.rounds.push(measure(&stage, point.growth, point.count, effort)?);
        }
    }
    print(&points);
    let idle = match args.effort.wants("idle") {
        true => Some(idle::run(&stage, effort, most.min(10_000))?),
        false => None,
    };
    let listed: Vec<Value> = points.iter().map(Point::to_json).collect();
    let figures = json!({ "machine": stage.machine.to_json(), "points": listed, "idle": idle });
    args.effort.keep(root, "scale", &figures, &draw(&stage, &points))
}

fn measure(stage: &Stage, growth: Growth, count: usize, effort: Effort) -> Result<Value, String> {
    let named = |why: String| format!("{count} {}: {why}", growth.says());
    let (config, path, tool) = growth.setting(stage, count);
    let cores = if growth == Growth::Cores { count } else { 1 };
    let server = serve(stage, &config, cores).map_err(named)?;
    let connections = match growth {
        Growth::Connections => count,
        Growth::Cores => 32,
        _ => ACTIVE,
    };
    let mut options = vec![
        ("--address", server.address.to_string()),
        ("--path", path.to_owned()),
        ("--tool", tool),
        ("--connections", connections.to_string()),
        ("--warm-up-ms", effort.warm_up.as_millis().to_string()),
        ("--duration-ms", effort.duration.as_millis().to_string()),
        ("--text-bytes", "200".to_owned()),
        ("--pid", server.pid().to_string()),
        ("--tree", "false".to_owned()),
    ];
    if growth == Growth::Sessions {
        options.push(("--era", "session".to_owned()));
        options.push(("--idle-sessions", count.to_string()));
    }
    generate(stage, &options, &[]).map_err(|why| named(format!("{why}\n{}", server.tail())))
}

/// A `kern` with this configuration.
///
/// # Errors
/// When it does not start.
pub(super) fn serve(stage: &Stage, config: &str, cores: usize) -> Result<Server, String> {
    stage.start_with("scale", |address| {
        let mut launch = stage.kern("scale", "auto", address, config)?;
        if cores > 1 {
            let count = launch.arguments.iter().position(|word| word == "--cores");
            launch.arguments[count.expect("it was written") + 1] = cores.to_string().into();
            launch.cores = Some(stage.machine.first(cores));
        }
        Ok(launch)
    })
}

fn print(points: &[Point]) {
    for growth in GROWTHS {
        let own: Vec<&Point> = points.iter().filter(|point| point.growth == growth).collect();
        if own.is_empty() {
            continue;
        }
        println!("\n{}", growth.says());
        println!(
            "{:>9} {:>11} {:>9} {:>8} {:>8} {:>8} {:>8}",
            "", "CPU µs/req", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "MiB"
        );
        for point in &own {
            let get = |name: &'static str| point.over(move |round| round[name].as_f64());
            println!(
                "{:>9} {:>11.1} {:>9} {:>8.0} {:>8.0} {:>8.0} {:>8.1}",
                thousands(point.count as f64),
                point.cpu_us(),
                thousands(point.rate()),
                get("p50_us"),
                get("p99_us"),
                get("p999_us"),
                get("rss_kib") / 1024.0,
            );
        }
        if own.len() > 1 && growth != Growth::Cores {
            let pairs = own.iter().map(|point| (point.count as f64, point.cpu_us())).collect();
            println!("slope: {:+.1} % of CPU time for ten times as many", slope(pairs) * 100.0);
        }
    }
}

/// By what share of their mean do values change when `x` grows tenfold? A line through all of them.
fn slope(pairs: Vec<(f64, f64)>) -> f64 {
    let count = pairs.len() as f64;
    let points = || pairs.iter().map(|(x, y)| (x.log10(), *y));
    let (mean_x, mean_y) =
        points().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let up: f64 = points().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let across: f64 = points().map(|(x, _)| (x - mean_x).powi(2)).sum();
    up / across / mean_y
}

fn draw(stage: &Stage, points: &[Point]) -> Plot {
    let line = |growth: &Growth| {
        let own = points.iter().filter(|point| point.growth == *growth);
        let at = |point: &Point| (point.count as f64, point.cpu_us());
        Line { name: growth.name().into(), points: own.map(at).collect() }
    };
    let lines = GROWTHS[..4].iter().map(line).filter(|line| !line.points.is_empty()).collect();
    let over = "how many there are (powers of ten)".into();
    Plot {
        title: "What a request costs when there is more of everything".into(),
        note: stage.machine.note(),
        panels: vec![Panel {
            title: "kern's CPU µs a request, one core: flat is better".into(),
            marks: Marks::Lines { over, lines },
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_the_change_for_ten_times_as_many() {
        for (pairs, expected) in [
            (vec![(10.0, 8.0), (100.0, 8.0), (1000.0, 8.0)], 0.0),
            (vec![(10.0, 9.0), (100.0, 10.0), (1000.0, 11.0)], 0.1),
        ] {
            assert!((slope(pairs) - expected).abs() < 1e-9);
        }
    }
}
