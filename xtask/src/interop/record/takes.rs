//! Which conversations are recorded: each client with each server, over each transport and in each
//! era that both of them have.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::install::Place;
use super::super::plan::{About, Run};
use super::super::rows::{Client, Era, How, Way};
use super::super::servers::{Asks, Server};
use super::super::step::Step;
use super::event::{Event, Log};
use super::hosts::Host;
use super::proxy::Proxy;
use super::{emptied, pipe};

/// Servers over lines that speak 2026-07-28 too.
const DUAL: &[&str] = &["git", "time", "fetch", "asker"];
/// Texts that serializers write in different ways.
const TEXTS: &[&str] = &[
    "",
    "a",
    " \t\n\r ",
    "\u{0}\u{1}\u{1f}\u{7f}",
    "\"\\/",
    "</script><!-- & ' -->",
    "grüße, 世界",
    "\u{1f9f5}\u{200d}\u{1f9ff}",
    "\u{2028}\u{2029}\u{85}\u{feff}",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "{\"jsonrpc\":\"2.0\",\"id\":1}",
    "data: x\n\nevent: y\r\n\r\n",
    "%7B +\u{a0}= \\u0041 \\n",
    "e\u{301} \u{202e}abc\u{202c}",
];
/// Numbers that serializers write in different ways, as JSON.
const NUMBERS: &[&str] = &[
    "0",
    "-0.0",
    "0.1",
    "1e21",
    "1e-7",
    "1.5e300",
    "9007199254740993",
    "123456789.125",
    "-1",
    "0.30000000000000004",
];

/// A conversation to be had, and where it is written down.
pub(super) struct Take {
    pub(super) era: Era,
    pub(super) server: &'static str,
    pub(super) carry: &'static str,
    /// Whether the client answers what servers ask.
    pub(super) asked: bool,
    pub(super) steps: Vec<Step>,
    pub(super) connect: Value,
    seen: Seen,
}

enum Seen {
    Lines(PathBuf),
    Http(Log),
}

impl Take {
    /// As a client's script takes it.
    pub(super) fn run(&self) -> Run {
        let (connect, steps) = (self.connect.clone(), self.steps.clone());
        Run { about: About::Direct(0), connect, era: self.era, answers: self.asked, steps }
    }

    /// All that passed.
    pub(super) fn seen(&self) -> Vec<Event> {
        match &self.seen {
            Seen::Lines(log) => pipe::read(log),
            Seen::Http(log) => log.lock().expect("nobody panics while holding it").clone(),
        }
    }
}

/// The conversations of a client.
pub(super) fn takes(
    place: &Place,
    client: &Client,
    servers: &[Server],
    hosts: &[Host],
) -> Result<Vec<Take>, String> {
    let rows = client.rows(false);
    let dual = rows.iter().any(|row| row.era == Era::Modern);
    let sse = rows.iter().any(|row| row.way == Way::SseAll);
    let inspector = matches!(client.how, How::Inspector);
    let eras = |both: bool| match both && dual {
        true => vec![Era::Legacy, Era::Auto, Era::Modern],
        false => vec![Era::Legacy],
    };
    let mut wanted = Vec::new();
    for server in servers {
        for era in eras(DUAL.contains(&server.name)) {
            // Each request is a process: a few show how it writes them.
            if !(inspector && era == Era::Auto) {
                let extra = if inspector { Vec::new() } else { extra(server.name) };
                wanted.push((server.name, None, era, None, [server.steps.clone(), extra].concat()));
            }
            if let Some(asks) = server.asks.as_ref().filter(|_| !inspector) {
                wanted.push((server.name, None, era, Some(asks), asks.steps.clone()));
            }
        }
    }
    for host in hosts.iter().filter(|host| sse || host.path != "/sse") {
        let known = host.name.strip_suffix("-sse").unwrap_or(host.name);
        let server = servers.iter().find(|server| server.name == known);
        let steps = server.map_or_else(
            || vec![Step::new("tools/list", json!({}))],
            |server| server.steps.clone(),
        );
        for era in eras(host.dual) {
            if inspector && (era == Era::Auto || host.name != "asker") {
                continue;
            }
            let extra = if inspector { Vec::new() } else { extra(known) };
            wanted.push((host.name, Some(host), era, None, [steps.clone(), extra].concat()));
            let asks = server.and_then(|server| server.asks.as_ref()).filter(|_| !inspector);
            if let Some(asks) = asks {
                wanted.push((host.name, Some(host), era, Some(asks), asks.steps.clone()));
            }
        }
    }
    let take = |(name, host, era, asks, steps)| take(place, servers, name, host, era, asks, steps);
    wanted.into_iter().map(take).collect()
}

fn take(
    place: &Place,
    servers: &[Server],
    name: &'static str,
    host: Option<&Host>,
    era: Era,
    asks: Option<&Asks>,
    steps: Vec<Step>,
) -> Result<Take, String> {
    let asked = asks.is_some();
    let of = |carry, connect, seen| Take { era, server: name, carry, asked, steps, connect, seen };
    if let Some(host) = host {
        let proxy = Proxy::start(host.address)?;
        let url = format!("http://{}{}", proxy.address, host.path);
        let carry = if host.path == "/sse" { "sse" } else { "http" };
        let connect =
            if host.path == "/sse" { json!({ "sse": url }) } else { json!({ "http": url }) };
        return Ok(of(carry, connect, Seen::Http(proxy.log)));
    }
    let server = servers.iter().find(|server| server.name == name).ok_or("an unknown server")?;
    let log = place.folder.join(format!("{name}-{}-{asked}.lines", era.word()));
    let log = emptied(log)?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut connect = server.connect();
    let mut command = vec![json!(own), json!("record-pipe"), json!(log), json!("--")];
    command.extend(server.command.iter().map(|word| json!(word)));
    connect["stdio"] = json!(command);
    Ok(of("lines", connect, Seen::Lines(log)))
}

/// More requests than the matrix sends: what serializers write in different ways.
fn extra(server: &str) -> Vec<Step> {
    let text = |tool: &'static str, member: &'static str| {
        TEXTS.iter().map(move |text| Step::call(tool, json!({ member: text })))
    };
    match server {
        "everything" => {
            let numbers = NUMBERS.iter().map(|raw| {
                let number: Value = serde_json::from_str(raw).unwrap_or_default();
                Step::call("get-sum", json!({ "a": number, "b": 1 }))
            });
            text("echo", "message").chain(numbers).collect()
        }
        "asker" => text("plain", "knot").collect(),
        "rmcp" | "rmcp-json" => text("echo", "message").collect(),
        _ => Vec::new(),
    }
}
