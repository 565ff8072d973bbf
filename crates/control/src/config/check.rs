//! Does the tree of a `kern.toml` make a plan?

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::Path;
use std::str::FromStr;

use super::nearest::nearest;
use super::reader::{Reader, Section};
use super::{Clients, Config, DiscoverPlan, upstream};
use crate::discover::ClientId;
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::limits::{self, Bound};
use crate::node::{Node, Value};
use crate::plan::{Cores, Driver, Limits, LogFormat, LogPlan, Plan, ServePlan};
use crate::secret::{Scope, Syntax, anchored};

const TOP: &[&str] = &["serve", "limits", "log", "discover", "upstream"];
const SERVE: &[&str] =
    &["listen", "unix", "ring", "cores", "driver", "allowed_hosts", "allowed_origins"];
const LOG: &[&str] = &["level", "format"];
const DISCOVER: &[&str] = &["clients", "project", "skip"];
const LIMITS: &[&str] = &[
    "message_bytes",
    "result_bytes",
    "body_bytes",
    "header_bytes",
    "connections",
    "sessions",
    "flights",
    "queue",
    "queue_bytes",
    "parked_bytes",
    "instances",
    "tools",
    "timeout",
    "total_timeout",
    "answer_timeout",
    "start_timeout",
    "idle_timeout",
    "session_idle_timeout",
    "private_idle_timeout",
    "grace",
];
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn check(
    root: &Node,
    text: &str,
    path: &Path,
    home: Option<&Path>,
) -> Result<Config, Vec<Problem>> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let scope = Scope { syntax: Syntax::Kern, folder, workspace: None, home };
    let mut reader = Reader::new(path, text);
    reader.only_known(Section { name: "", node: root }, TOP);
    let serve = section(&mut reader, root, "serve", SERVE)
        .map_or_else(ServePlan::default, |found| serve(&mut reader, found, &scope));
    let limits = section(&mut reader, root, "limits", LIMITS)
        .map_or_else(Limits::default, |found| limits_of(&mut reader, found));
    let log = section(&mut reader, root, "log", LOG)
        .map_or_else(LogPlan::default, |found| log(&mut reader, found));
    let discover = section(&mut reader, root, "discover", DISCOVER)
        .map_or_else(DiscoverPlan::default, |found| discover(&mut reader, found));
    let (upstreams, disabled) = upstream::upstreams(&mut reader, root, path, &scope, &limits);
    let (problems, warnings) = reader.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    let plan = Plan { serve, limits, log, upstreams, sources: Vec::new() };
    Ok(Config { plan, discover, disabled, warnings })
}

/// The table `name` of `root`, its keys checked against `known`.
fn section<'n>(
    reader: &mut Reader<'_>,
    root: &'n Node,
    name: &'static str,
    known: &[&str],
) -> Option<Section<'n>> {
    let node = root.get(name)?;
    if node.table().is_none() {
        let message = format!("`{name}` is a table, not {}", node.value.kind());
        reader.problem_with_help(&node.span, message, format!("write it as `[{name}]`"));
        return None;
    }
    let section = Section { name, node };
    reader.only_known(section, known);
    Some(section)
}

fn serve(reader: &mut Reader<'_>, section: Section<'_>, scope: &Scope<'_>) -> ServePlan {
    let mut plan = ServePlan::default();
    if let Some(node) = section.node.get("listen")
        && node.bool() == Some(false)
    {
        plan.listen = None;
    } else if let Some((text, span)) = reader.word(section, "listen") {
        match parse_listen(text) {
            Ok(listen) => plan.listen = Some(listen),
            Err(why) => {
                let help = "write an address and a port: \"127.0.0.1:7331\"; or false for none";
                reader.problem_with_help(&span, format!("`serve.listen` {why}"), help);
            }
        }
    }
    plan.unix = reader.word(section, "unix").map(|(text, _)| anchored(text, scope));
    plan.ring = reader.word(section, "ring").map(|(text, _)| anchored(text, scope));
    plan.cores = cores(reader, section);
    let drivers =
        [("auto", Driver::Auto), ("uring", Driver::Uring), ("portable", Driver::Portable)];
    plan.driver = reader.choice(section, "driver", &drivers).unwrap_or_default();
    plan.allowed_hosts = hosts(reader, section);
    plan.allowed_origins = origins(reader, section);
    let open = plan.listen.is_some_and(|listen| !listen.ip().is_loopback());
    if open && let Some(node) = section.node.get("listen") {
        reader.warn(
            &node.span,
            "every machine that reaches this address may call every tool".to_owned(),
            "listen on 127.0.0.1, or put something that asks who is calling in front".to_owned(),
        );
    }
    plan
}

fn cores(reader: &mut Reader<'_>, section: Section<'_>) -> Cores {
    match section.node.get("cores").map(|node| &node.value) {
        None => Cores::Auto,
        Some(Value::Text(text)) if text == "auto" => Cores::Auto,
        Some(Value::Int(_)) => reader
            .number(section, "cores", limits::CORES)
            .and_then(|count| NonZeroU8::new(u8::try_from(count).ok()?))
            .map_or(Cores::Auto, Cores::Exactly),
        Some(_) => {
            let node = section.node.get("cores").expect("it was just found");
            let help = format!("write \"auto\" or a number from 1 to {}", limits::CORES.max);
            reader.problem_with_help(&node.span, "`serve.cores` is no number of cores", help);
            Cores::Auto
        }
    }
}

/// Reads `address:port`, `localhost:port`, `:port` or a port alone.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse::<u16>().map_err(|_| format!("has no valid port: `{text}`"))?;
    match host {
        "" | "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        "*" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)),
        _ => Err(format!("is no address: `{text}`")),
    }
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let fits =
            text.parse::<NonZeroU8>().ok().filter(|n| u64::from(n.get()) <= limits::CORES.max);
        fits.map(Self::Exactly).ok_or_else(|| format!("write auto or 1 to {}", limits::CORES.max))
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "portable" => Ok(Self::Portable),
            _ => Err("write auto, uring or portable".to_owned()),
        }
    }
}

fn hosts(reader: &mut Reader<'_>, section: Section<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (text, span) in reader.words(section, "allowed_hosts").unwrap_or_default() {
        match Endpoint::parse(&format!("http://{text}")) {
            Ok(endpoint) if endpoint.path == "/" && !text.ends_with('/') => {
                hosts.push(endpoint.host);
            }
            _ => {
                let help = "write names as in \"kern.example.com\"; there are no wildcards";
                reader.problem_with_help(&span, format!("`{text}` is no host"), help);
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    hosts
}

fn origins(reader: &mut Reader<'_>, section: Section<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for (text, span) in reader.words(section, "allowed_origins").unwrap_or_default() {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let (scheme, host) = text.split_once("://").unwrap_or_default();
        if scheme.is_empty() || host.is_empty() || !host.bytes().all(fits) {
            let help = "write origins as in \"https://app.example.com\"; there are no wildcards";
            reader.problem_with_help(&span, format!("`{text}` is no origin"), help);
            continue;
        }
        origins.push(text.to_ascii_lowercase());
    }
    origins.sort();
    origins.dedup();
    origins
}

fn limits_of(reader: &mut Reader<'_>, section: Section<'_>) -> Limits {
    let mut plan = Limits::default();
    let sizes: [(&str, Bound, &mut usize); 6] = [
        ("message_bytes", limits::MESSAGE_BYTES, &mut plan.message_bytes),
        ("result_bytes", limits::RESULT_BYTES, &mut plan.result_bytes),
        ("body_bytes", limits::BODY_BYTES, &mut plan.body_bytes),
        ("header_bytes", limits::HEADER_BYTES, &mut plan.header_bytes),
        ("queue_bytes", limits::QUEUE_BYTES, &mut plan.queue_bytes),
        ("parked_bytes", limits::PARKED_BYTES, &mut plan.parked_bytes),
    ];
    for (key, bound, slot) in sizes {
        let found = reader.size(section, key, bound);
        *slot = found.map_or(*slot, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    let numbers: [(&str, Bound, &mut usize); 6] = [
        ("connections", limits::CONNECTIONS, &mut plan.connections),
        ("sessions", limits::SESSIONS, &mut plan.sessions),
        ("flights", limits::FLIGHTS, &mut plan.flights),
        ("queue", limits::QUEUE, &mut plan.queue),
        ("instances", limits::INSTANCES, &mut plan.instances),
        ("tools", limits::TOOLS, &mut plan.tools),
    ];
    for (key, bound, slot) in numbers {
        let found = reader.number(section, key, bound);
        *slot = found.map_or(*slot, |count| usize::try_from(count).unwrap_or(usize::MAX));
    }
    let times: [(&str, Bound, &mut u64); 8] = [
        ("timeout", limits::TIMEOUT_MS, &mut plan.timeout_ms),
        ("total_timeout", limits::TOTAL_TIMEOUT_MS, &mut plan.total_timeout_ms),
        ("answer_timeout", limits::ANSWER_TIMEOUT_MS, &mut plan.answer_timeout_ms),
        ("start_timeout", limits::START_TIMEOUT_MS, &mut plan.start_timeout_ms),
        ("idle_timeout", limits::IDLE_TIMEOUT_MS, &mut plan.idle_timeout_ms),
        (
            "session_idle_timeout",
            limits::SESSION_IDLE_TIMEOUT_MS,
            &mut plan.session_idle_timeout_ms,
        ),
        (
            "private_idle_timeout",
            limits::PRIVATE_IDLE_TIMEOUT_MS,
            &mut plan.private_idle_timeout_ms,
        ),
        ("grace", limits::GRACE_MS, &mut plan.grace_ms),
    ];
    for (key, bound, slot) in times {
        *slot = reader.duration(section, key, bound).unwrap_or(*slot);
    }
    plan
}

fn log(reader: &mut Reader<'_>, section: Section<'_>) -> LogPlan {
    let mut plan = LogPlan::default();
    if let Some((text, span)) = reader.word(section, "level") {
        match wrong_level(text) {
            None => plan.level = text.to_owned(),
            Some(wrong) => {
                let help = match nearest(wrong, LEVELS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("levels are: {}", LEVELS.join(", ")),
                };
                reader.problem_with_help(&span, format!("`{wrong}` is no log level"), help);
            }
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    plan.format = reader.choice(section, "format", &formats).unwrap_or_default();
    plan
}

/// The first part of a filter directive that is no level.
fn wrong_level(text: &str) -> Option<&str> {
    let level = |part: &'_ str| LEVELS.iter().any(|level| part.eq_ignore_ascii_case(level));
    text.split(',').find_map(|part| {
        let name = part.split_once('=').map_or(part, |(_, level)| level).trim();
        (!level(name)).then_some(name)
    })
}

fn discover(reader: &mut Reader<'_>, section: Section<'_>) -> DiscoverPlan {
    let clients = match section.node.get("clients").map(|node| &node.value) {
        None | Some(Value::Bool(false)) => Clients::None,
        Some(Value::Bool(true)) => Clients::All,
        Some(_) => Clients::Only(chosen_clients(reader, section)),
    };
    let skip = reader.words(section, "skip").unwrap_or_default();
    DiscoverPlan {
        clients,
        project: reader.boolean(section, "project").unwrap_or(false),
        skip: skip.into_iter().map(|(name, _)| name.to_owned()).collect(),
    }
}

fn chosen_clients(reader: &mut Reader<'_>, section: Section<'_>) -> Vec<ClientId> {
    let known = ClientId::ALL.map(ClientId::id);
    let mut chosen = Vec::new();
    for (text, span) in reader.words(section, "clients").unwrap_or_default() {
        if let Some(client) = ClientId::ALL.into_iter().find(|client| client.id() == text) {
            chosen.push(client);
            continue;
        }
        let help = match nearest(text, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("clients are: {}", known.join(", ")),
        };
        reader.problem_with_help(&span, format!("`{text}` is no known client"), help);
    }
    chosen.sort();
    chosen.dedup();
    chosen
}
