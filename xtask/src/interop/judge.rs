//! What a client's answers say: a verdict for every cell of the matrix.
//!
//! Invariant: every answer of a run is compared with what the same client got from the server
//! directly, and the lists of an endpoint of all servers hold nothing else.

use serde_json::{Value, json};

use super::compare;
use super::faults::{self, Fault};
use super::plan::{About, Run};
use super::rows::{Era, Row};
use super::servers::Server;
use super::step::{LISTS, Step};

/// How a cell ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Same,
    Differs(String),
    /// It differs because the client or the server is at fault.
    Peer(&'static Fault, String),
}

/// A cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) row: Row,
    /// The server's name, or that of the column of what it asks.
    pub(super) column: &'static str,
    pub(super) revision: String,
    /// Requests whose answers were compared.
    pub(super) steps: usize,
    pub(super) outcome: Outcome,
}

/// What a client got directly, server by server.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    client: &'static str,
    servers: &'a [Server],
    direct: Vec<Vec<Value>>,
    asked: Vec<Vec<Value>>,
    /// Why a direct connection gave nothing.
    pub(super) notes: Vec<String>,
}

impl<'a> Judge<'a> {
    /// Until the client's own direct answers are in, those without any SDK are the yardstick.
    pub(super) fn new(client: &'static str, servers: &'a [Server]) -> Self {
        let direct = servers.iter().map(|server| server.expected.clone()).collect();
        Self { client, servers, direct, asked: vec![Vec::new(); servers.len()], notes: Vec::new() }
    }

    /// Takes the answers of a run; its cells.
    pub(super) fn take(&mut self, run: &Run, line: &Value) -> Vec<Cell> {
        let results = line["results"].as_array().map_or(&[][..], Vec::as_slice);
        let failed = line["failed"].as_str();
        match run.about {
            About::Direct(index) | About::DirectAsks(index) => {
                if let Some(why) = failed {
                    self.notes.push(format!("{} directly: {why}", self.servers[index].name));
                } else if matches!(run.about, About::Direct(_)) {
                    self.direct[index] = results.to_vec();
                } else {
                    self.asked[index] = results.to_vec();
                }
                Vec::new()
            }
            About::All(row) => self.all(row, run, line, results),
            About::One(row, index) => {
                let server = &self.servers[index];
                let verdict = ready(row, line).and_then(|()| {
                    compare_all(row.era, &server.steps, &self.direct[index], results.iter())
                });
                vec![self.cell(row, server.name, line, server.steps.len(), verdict)]
            }
            About::Asks(row, index) => self.asks(row, index, run, line, results),
        }
    }

    /// The answers where a server asked.
    fn asks(
        &self,
        row: Row,
        index: usize,
        run: &Run,
        line: &Value,
        results: &[Value],
    ) -> Vec<Cell> {
        let server = &self.servers[index];
        let Some(asks) = &server.asks else { return Vec::new() };
        let expected = &self.asked[index];
        let prefixed = |step: &Step| step.params["name"].as_str().is_some_and(|n| n.contains("__"));
        let of_all = run.steps.iter().any(prefixed);
        let found = results.iter().zip(&run.steps).enumerate().map(|(at, (result, step))| {
            match expected.get(at).filter(|_| of_all && step.list().is_some()) {
                Some(expected) => own(result, step, server, expected),
                None => result.clone(),
            }
        });
        let found: Vec<Value> = found.collect();
        let verdict = ready(row, line)
            .and_then(|()| compare_all(row.era, &asks.steps, expected, found.iter()));
        vec![self.cell(row, asks.column, line, asks.steps.len(), verdict)]
    }

    /// The answers of all servers over one connection.
    fn all(&self, row: Row, run: &Run, line: &Value, results: &[Value]) -> Vec<Cell> {
        let (lists, mut calls) = results.split_at(results.len().min(LISTS.len()));
        let whole = ready(row, line).and_then(|()| self.nothing_else(lists));
        let mut cells = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            let expected = &self.direct[index];
            let mut found = Vec::new();
            for (step, expected) in server.steps.iter().zip(expected) {
                let at = LISTS.iter().position(|(method, ..)| *method == step.method);
                match at {
                    Some(at) => {
                        let list = lists.get(at).unwrap_or(&Value::Null);
                        found.push(own(list, step, server, expected));
                    }
                    None => {
                        let (first, rest) = calls.split_first().unwrap_or((&Value::Null, &[]));
                        found.push(first.clone());
                        calls = rest;
                    }
                }
            }
            let verdict = whole
                .clone()
                .and_then(|()| compare_all(row.era, &server.steps, expected, found.iter()));
            cells.push(self.cell(row, server.name, line, server.steps.len(), verdict));
        }
        debug_assert!(line["failed"].is_string() || run.steps.len() == results.len());
        cells
    }

    /// Whether each list of all holds as many items as those of the servers together.
    fn nothing_else(&self, lists: &[Value]) -> Result<(), String> {
        for ((method, member, _), list) in LISTS.iter().zip(lists) {
            let mut wanted = 0;
            for (server, expected) in self.servers.iter().zip(&self.direct) {
                let steps = server.steps.iter().zip(expected);
                let own = steps.filter(|(step, _)| step.method == *method);
                wanted += own.map(|(_, list)| length(&list[*member])).sum::<usize>();
            }
            let found = length(&list[*member]);
            if let Some(error) = list.get("error") {
                return Err(format!("{method}: {error}"));
            }
            if found != wanted {
                return Err(format!("{method} has {found} items instead of {wanted}"));
            }
        }
        Ok(())
    }

    pub(super) fn cell(
        &self,
        row: Row,
        column: &'static str,
        line: &Value,
        steps: usize,
        verdict: Result<(), String>,
    ) -> Cell {
        let outcome = match verdict {
            Ok(()) => Outcome::Same,
            Err(why) => match faults::of(self.client, row, column, &why) {
                Some(fault) => Outcome::Peer(fault, why),
                None => Outcome::Differs(why),
            },
        };
        let revision = line["revision"].as_str().unwrap_or("-").to_owned();
        Cell { row, column, revision, steps, outcome }
    }
}

/// Whether the run came to its end, in the revision that `kern` and the client must agree on.
fn ready(row: Row, line: &Value) -> Result<(), String> {
    if let Some(why) = line["failed"].as_str() {
        return Err(why.to_owned());
    }
    match line["revision"].as_str() {
        Some(revision) if revision == row.era.revision() => Ok(()),
        other => Err(format!("the agreed revision is {}", other.unwrap_or("none"))),
    }
}

fn compare_all<'v>(
    era: Era,
    steps: &[Step],
    expected: &[Value],
    mut found: impl Iterator<Item = &'v Value>,
) -> Result<(), String> {
    if expected.len() != steps.len() {
        return Err("there is no direct answer to compare with".to_owned());
    }
    for (step, expected) in steps.iter().zip(expected) {
        let found = found.next().unwrap_or(&Value::Null);
        compare::same(step, era, expected, found)
            .map_err(|why| format!("{}: {why}", step.label()))?;
    }
    Ok(())
}

/// The items of one server among those of all, under their own names.
fn own(all: &Value, step: &Step, server: &Server, expected: &Value) -> Value {
    let Some((member, key)) = step.list() else { return all.clone() };
    let prefix = format!("{}__", server.name);
    let items = all[member].as_array().cloned().unwrap_or_default();
    let known = expected[member].as_array().map_or(&[][..], Vec::as_slice);
    let own = items.into_iter().filter_map(|mut item| {
        let name = item[key].as_str()?.to_owned();
        if key == "name" {
            item[key] = json!(name.strip_prefix(&prefix)?);
            return Some(item);
        }
        known.iter().any(|known| known[key] == name.as_str()).then_some(item)
    });
    json!({ member: own.collect::<Vec<_>>() })
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// For a client that sends one request a process.
impl Judge<'_> {
    /// Takes what it got directly for one step.
    pub(super) fn expect(&mut self, index: usize, step: usize, answer: Value) {
        self.direct[index][step] = answer;
    }

    /// Compares one answer.
    pub(super) fn one(
        &self,
        row: Row,
        index: usize,
        step: usize,
        found: &Value,
    ) -> Result<(), String> {
        let server = &self.servers[index];
        let (step, expected) = (&server.steps[step], &self.direct[index][step]);
        let found = match step.list() {
            Some(_) if !row.way.one() => own(found, step, server, expected),
            _ => found.clone(),
        };
        compare::same(step, row.era, expected, &found)
            .map_err(|why| format!("{}: {why}", step.label()))
    }
}
