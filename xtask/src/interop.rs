//! `cargo xtask interop`: do other people's clients get other people's servers' answers through us?
//!
//! A matrix: each client, in each era it speaks, over each way into `kern`, against each server; and
//! a column for what a server asks its client. Invariants: every answer is compared, member by
//! member, with what the same client gets from the server directly; versions are pinned; a failing
//! cell passes only as a peer's fault that can be seen without `kern`; whatever is started here ends
//! with it.

mod compare;
mod faults;
mod inspector;
mod install;
mod judge;
mod page;
mod plan;
mod process;
pub(crate) mod record;
mod report;
mod rows;
mod scene;
mod servers;
mod step;
mod talk;
mod world;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::build::{self, Profile};
use install::Place;
use judge::{Cell, Judge};
use report::Line;
use rows::{Client, How, Row};
use servers::Server;
use world::World;

/// Clients that run at the same time.
const WORKERS: usize = 2;

/// Runs other people's clients against other people's servers, through kern.
#[derive(clap::Args, Debug)]
pub(crate) struct InteropArgs {
    /// The kern binary; without it, it is built
    #[arg(long, value_name = "PATH")]
    kern: Option<PathBuf>,
    /// Only rows whose client, era and way contain all these words
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// A third of the rows: what shows the most in the least time, without rmcp
    #[arg(long)]
    quick: bool,
    /// Also write the table here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What every client is given.
struct Desk<'a> {
    place: &'a Place,
    servers: &'a [Server],
    world: &'a World,
}

/// Runs all clients and prints one table.
///
/// # Errors
/// When something cannot be installed, built or started, and when an answer differs.
pub(crate) fn run(root: &Path, args: &InteropArgs) -> Result<(), String> {
    let place = Place::ready(&root.join("target").join("interop"))?;
    let kern = build::kern(root, args.kern.as_deref(), Profile::Debug)?;
    let rmcp = match args.quick {
        true => None,
        // In a workspace of its own, since its dependencies are many.
        false => Some(build::program(&root.join("bench"), "rmcp-client", Profile::Debug)?),
    };
    let since = Instant::now();
    let (scene, page) = (scene::Scene::ready(&place.folder.join("world"))?, page::Page::serve()?);
    let mut servers = servers::all(&place, &scene, &page)?;
    eprintln!("interop: asking {} servers directly", servers.len());
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            servers.iter_mut().map(|server| scope.spawn(|| talk::ask(server))).collect();
        asked.into_iter().try_for_each(|one| one.join().map_err(|_| "a bug here".to_owned())?)
    })?;
    let world = World::start(&place, &kern, &servers)?;
    let desk = Desk { place: &place, servers: &servers, world: &world };
    let clients = rows::clients(&place, rmcp)?;
    let chosen: VecDeque<(Client, Vec<Row>)> = clients
        .into_iter()
        .map(|client| {
            let mut rows = client.rows(args.quick);
            rows.retain(|row| wanted(args.only.as_deref(), client.name, *row));
            (client, rows)
        })
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let lines = all(&desk, chosen);
    report::print(&servers, &lines);
    if let Some(path) = &args.json {
        write(path, &format!("{:#}\n", report::json(&lines, since.elapsed())))?;
    }
    if args.only.is_none() && !args.quick {
        for fault in report::mended(&lines) {
            println!("no longer seen, take it out of faults.rs: {}", fault.fault);
        }
    }
    println!("log: {}", world.log.display());
    report::verdict(&lines, since.elapsed())
}

fn wanted(only: Option<&str>, client: &str, row: Row) -> bool {
    let label = format!("{client} {} {}", row.era.word(), row.way.word());
    only.is_none_or(|only| only.split_whitespace().all(|word| label.contains(word)))
}

/// Runs the clients, a few at a time, and says what each row gave.
fn all(desk: &Desk<'_>, clients: VecDeque<(Client, Vec<Row>)>) -> Vec<Line> {
    let total: usize = clients.iter().map(|(_, rows)| rows.len()).sum();
    let order: Vec<&'static str> = clients.iter().map(|(client, _)| client.name).collect();
    let queue = Mutex::new(clients);
    let (tell, told) = channel();
    let mut lines: Vec<Line> = std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (tell, queue) = (tell.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().expect("nobody panics while holding it").pop_front();
                while let Some((client, rows)) = next() {
                    one(desk, &client, &rows, &tell);
                }
            });
        }
        drop(tell);
        let mut lines: Vec<Line> = Vec::new();
        while let Ok(line) = told.recv() {
            lines.push(line);
            let line = &lines[lines.len() - 1];
            eprintln!("interop: [{}/{total}] {}", lines.len(), line.progress());
        }
        lines
    });
    let place = |line: &Line| order.iter().position(|name| *name == line.client);
    lines.sort_by_key(place);
    lines
}

/// Runs one client through its rows.
fn one(desk: &Desk<'_>, client: &Client, rows: &[Row], tell: &Sender<Line>) {
    let mut open = OpenRow { client: client.name, cells: Vec::new(), took: Duration::ZERO, tell };
    match &client.how {
        How::Inspector => {
            inspector::run(desk, client.name, rows, |cell, took| open.add(vec![cell], took));
        }
        How::Plan(program, script) => {
            let runs = plan::runs(rows, desk.servers, desk.world);
            let mut judge = Judge::new(client.name, desk.servers);
            let mut done = 0;
            let mut last = Instant::now();
            let mut take = |line: &Value, judge: &mut Judge<'_>| {
                if let Some(run) = runs.get(done) {
                    open.add(judge.take(run, line), last.elapsed());
                }
                last = Instant::now();
                done += 1;
            };
            let call = (program.as_path(), script.as_deref());
            let outcome = follow(desk.place, client.name, call, &runs, |line| {
                take(line, &mut judge);
            });
            let why = outcome.err().unwrap_or_else(|| "it left this out".to_owned());
            let rest = serde_json::json!({ "failed": why });
            for _ in 0..runs.len() {
                take(&rest, &mut judge);
            }
            for note in &judge.notes {
                eprintln!("interop: {}, {note}", client.name);
            }
        }
    }
    open.close();
}

/// Gives a client its plan and hands on each line of its answers.
fn follow(
    place: &Place,
    client: &str,
    (program, script): (&Path, Option<&Path>),
    runs: &[plan::Run],
    mut take: impl FnMut(&Value),
) -> Result<(), String> {
    let name = client.replace(' ', "-");
    let file = place.folder.join(format!("{name}.plan.json"));
    write(&file, &plan::json(runs).to_string())?;
    let mut command = Command::new(program);
    command.args(script).arg(&file);
    process::lines(command, &place.folder.join(format!("{name}.err")), |line| {
        // Servers and libraries may print too.
        if let Ok(line @ Value::Object(_)) = serde_json::from_str(line) {
            take(&line);
        }
    })
}

/// The cells of a row, until the next one begins.
struct OpenRow<'a> {
    client: &'static str,
    cells: Vec<Cell>,
    took: Duration,
    tell: &'a Sender<Line>,
}

impl OpenRow<'_> {
    fn add(&mut self, cells: Vec<Cell>, took: Duration) {
        let Some(first) = cells.first() else { return };
        if self.cells.first().is_some_and(|open| open.row != first.row) {
            self.close();
        }
        self.cells.extend(cells);
        self.took += took;
    }

    fn close(&mut self) {
        let Some(row) = self.cells.first().map(|cell| cell.row) else { return };
        let cells = std::mem::take(&mut self.cells);
        let took = std::mem::take(&mut self.took);
        // The one who listens outlives the clients.
        let _ = self.tell.send(Line { client: self.client, row, cells, took });
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
