//! The table client × era × way × server, on the terminal and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::faults::{FAULTS, Fault};
use super::judge::{Cell, Outcome};
use super::rows::Row;
use super::servers::Server;

/// A row of one client, and how long it took.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: &'static str,
    pub(super) row: Row,
    pub(super) cells: Vec<Cell>,
    pub(super) took: Duration,
}

impl Line {
    /// What it says while the matrix runs.
    pub(super) fn progress(&self) -> String {
        let good = self.cells.iter().filter(|cell| !matches!(cell.outcome, Outcome::Differs(_)));
        let (client, era, way) = (self.client, self.row.era.word(), self.row.way.word());
        let mut text = format!(
            "{client}, {era}, {way}: {} of {} cells, {:.1} s",
            good.count(),
            self.cells.len(),
            self.took.as_secs_f64()
        );
        for cell in &self.cells {
            if let Outcome::Differs(why) = &cell.outcome {
                text.push_str(&format!("\n    {}: {why}", cell.column));
            }
        }
        text
    }

    fn revision(&self) -> &str {
        self.cells.first().map_or("-", |cell| cell.revision.as_str())
    }
}

fn columns(servers: &[Server]) -> Vec<&'static str> {
    let asks = servers.iter().filter_map(|server| server.asks.as_ref());
    servers.iter().map(|server| server.name).chain(asks.map(|asks| asks.column)).collect()
}

/// Prints the table, and below it what differs and whose fault it is.
pub(super) fn print(servers: &[Server], lines: &[Line]) {
    let columns = columns(servers);
    print!("{:<24} {:<7} {:<15} {:<11} {:>5}", "client", "era", "way", "revision", "s");
    columns.iter().for_each(|column| print!("  {column:<10}"));
    println!();
    for line in lines {
        let (client, era, way) = (line.client, line.row.era.word(), line.row.way.word());
        let seconds = line.took.as_secs_f64();
        print!("{client:<24} {era:<7} {way:<15} {:<11} {seconds:>5.1}", line.revision());
        for column in &columns {
            print!("  {:<10}", mark(line, column));
        }
        println!();
    }
    for line in lines {
        for cell in &line.cells {
            if let Outcome::Differs(why) = &cell.outcome {
                let (client, era, way) = (line.client, line.row.era.word(), line.row.way.word());
                println!("{client}, {era}, {way}, {}: {why}", cell.column);
            }
        }
    }
    for (number, fault) in FAULTS.iter().enumerate() {
        let letter = letter(number);
        println!("peer {letter}: {}; without kern: {}", fault.fault, fault.see);
    }
}

fn mark(line: &Line, column: &str) -> String {
    match line.cells.iter().find(|cell| cell.column == column).map(|cell| &cell.outcome) {
        Some(Outcome::Same) => "ok".to_owned(),
        Some(Outcome::Differs(_)) => "FAIL".to_owned(),
        Some(Outcome::Peer(fault, _)) => {
            let number = FAULTS.iter().position(|known| known == *fault).unwrap_or_default();
            format!("peer {}", letter(number))
        }
        None => "-".to_owned(),
    }
}

fn letter(number: usize) -> char {
    char::from(b'a' + u8::try_from(number.min(25)).expect("below 26"))
}

/// Known faults of clients that ran and no longer show, though they should each time.
pub(super) fn mended(lines: &[Line]) -> Vec<&'static Fault> {
    let seen = |fault: &Fault| {
        lines
            .iter()
            .flat_map(|line| &line.cells)
            .any(|cell| matches!(&cell.outcome, Outcome::Peer(known, _) if **known == *fault))
    };
    let ran = |fault: &Fault| lines.iter().any(|line| line.client.starts_with(fault.client));
    FAULTS.iter().filter(|fault| !fault.race && ran(fault) && !seen(fault)).collect()
}

/// The same as JSON.
pub(super) fn json(lines: &[Line], took: Duration) -> Value {
    let rows = lines.iter().map(|line| {
        let cells = line.cells.iter().map(|cell| {
            let (outcome, why, fault) = match &cell.outcome {
                Outcome::Same => ("ok", None, None),
                Outcome::Differs(why) => ("differs", Some(why), None),
                Outcome::Peer(fault, why) => ("peer", Some(why), Some(fault.fault)),
            };
            json!({ "server": cell.column, "steps": cell.steps, "outcome": outcome, "why": why,
                    "fault": fault })
        });
        json!({ "client": line.client, "era": line.row.era.word(), "way": line.row.way.word(),
                "revision": line.revision(), "took_ms": line.took.as_millis(),
                "cells": cells.collect::<Vec<_>>() })
    });
    json!({ "took_s": took.as_secs(), "rows": rows.collect::<Vec<_>>() })
}

/// Counts, and whether every answer was the server's own or its failure a peer's.
pub(super) fn verdict(lines: &[Line], took: Duration) -> Result<(), String> {
    let cells: Vec<&Cell> = lines.iter().flat_map(|line| &line.cells).collect();
    let count =
        |wanted: fn(&Outcome) -> bool| cells.iter().filter(|cell| wanted(&cell.outcome)).count();
    let (same, differs) = (
        count(|outcome| matches!(outcome, Outcome::Same)),
        count(|outcome| matches!(outcome, Outcome::Differs(_))),
    );
    let steps: usize = cells.iter().map(|cell| cell.steps).sum();
    println!(
        "{same} of {} cells the same, {} a peer's fault, {differs} differ; {steps} answers in {} rows, {} s",
        cells.len(),
        cells.len() - same - differs,
        lines.len(),
        took.as_secs()
    );
    match differs {
        0 if cells.is_empty() => Err("no row has all these words".to_owned()),
        0 => Ok(()),
        count => Err(format!("{count} cells differ from what the servers say themselves")),
    }
}
