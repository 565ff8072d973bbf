//! What a client is asked to do, connection by connection.
//!
//! Invariant: the direct connections come first, so that every later answer can be judged at once.

use serde_json::{Value, json};

use super::rows::{Era, Row};
use super::servers::Server;
use super::step::{LISTS, Step};
use super::world::World;

/// One connection and what is sent over it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) about: About,
    pub(super) connect: Value,
    pub(super) era: Era,
    /// Whether the client answers what servers ask.
    pub(super) answers: bool,
    pub(super) steps: Vec<Step>,
}

/// What the answers are good for.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// The yardstick of a server (its index).
    Direct(usize),
    /// The yardstick of what makes a server ask its client.
    DirectAsks(usize),
    /// A row's answers of all servers.
    All(Row),
    /// A row's answers of one server.
    One(Row, usize),
    /// A row's answers where a server asks its client.
    Asks(Row, usize),
}

/// Everything one client does.
pub(super) fn runs(rows: &[Row], servers: &[Server], world: &World) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut add = |about, connect, era, answers, steps| {
        runs.push(Run { about, connect, era, answers, steps });
    };
    for (index, server) in servers.iter().enumerate() {
        let (connect, era) = (server.connect(), Era::Legacy);
        add(About::Direct(index), connect.clone(), era, false, server.steps.clone());
        if let Some(asks) = &server.asks {
            add(About::DirectAsks(index), connect, era, true, asks.steps.clone());
        }
    }
    for &row in rows {
        if !row.way.one() {
            let connect = world.connect(row.way, None);
            add(About::All(row), connect, row.era, false, all_steps(servers));
        }
        for (index, server) in servers.iter().enumerate() {
            if row.way.one() {
                let connect = world.connect(row.way, Some(server.name));
                add(About::One(row, index), connect, row.era, false, server.steps.clone());
            }
            let Some(asks) = server.asks.as_ref().filter(|asks| asks.eras.contains(&row.era))
            else {
                continue;
            };
            let (connect, own_names) = world.connect_asked(row.way, server.name);
            let steps = asks.steps.iter().map(|step| match own_names || step.list().is_some() {
                true => step.clone(),
                false => step.through(server.name),
            });
            add(About::Asks(row, index), connect, row.era, true, steps.collect());
        }
    }
    runs
}

/// One list of each kind holds the items of all; the rest server by server.
fn all_steps(servers: &[Server]) -> Vec<Step> {
    let mut steps: Vec<Step> =
        LISTS.iter().map(|(method, ..)| Step::new(method, json!({}))).collect();
    for server in servers {
        let calls = server.steps.iter().filter(|step| step.list().is_none());
        steps.extend(calls.map(|step| step.through(server.name)));
    }
    steps
}

/// The plan as the clients' scripts read it; a run's id is its place.
pub(super) fn json(runs: &[Run]) -> Value {
    let runs = runs.iter().enumerate().map(|(id, run)| {
        let steps: Vec<Value> = run.steps.iter().map(Step::json).collect();
        json!({ "id": id, "connect": run.connect, "era": run.era.word(), "answers": run.answers,
                "steps": steps })
    });
    json!({ "runs": runs.collect::<Vec<_>>() })
}
