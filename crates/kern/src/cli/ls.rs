//! `kern ls`: what a running `kern`, one of its upstreams or any server offers.

use std::process::ExitCode;

use kern_control::Surroundings;
use serde_json::Value;

use super::call_args;
use super::client::{Target, TargetArgs};
use super::client_talk::{Client, Failure};
use super::show;

/// Flags of `kern ls`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "kern ls [tools|prompts|resources|upstreams] [UPSTREAM|URL] [OPTIONS] [-- COMMAND…]"
)]
pub(super) struct LsArgs {
    /// What to list (default: tools), and of whom (default: everything a running kern serves).
    #[arg(value_name = "WORD", num_args = 0..=2)]
    words: Vec<String>,
    /// Whole descriptions, and what a tool wants.
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    to: TargetArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kern ls                             tools of a running kern
  kern ls upstreams                   its servers, and how they fare
  kern ls tools files --long          one server's tools, with their arguments
  kern ls prompts https://example.com/mcp
  kern ls -- npx -y @modelcontextprotocol/server-everything
  kern ls --json | jq -r '.tools[].name'";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Tools,
    Prompts,
    Resources,
    Upstreams,
}

const KINDS: [(&str, What); 4] = [
    ("tools", What::Tools),
    ("prompts", What::Prompts),
    ("resources", What::Resources),
    ("upstreams", What::Upstreams),
];

pub(super) fn run(around: &Surroundings, args: &LsArgs) -> Result<ExitCode, Failure> {
    let mut words = args.words.iter();
    let mut first = words.next();
    let mut what = What::Tools;
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| first.is_some_and(|word| word == name)) {
        what = *kind;
        first = words.next();
    }
    if let Some(extra) = words.next() {
        let kinds = KINDS.map(|(name, _)| name);
        let first = first.map_or("", String::as_str);
        return Err(Failure::usage(match first == extra {
            true => format!("`{extra}` is one word too many"),
            false => show::unknown("list", first, &kinds),
        }));
    }
    let target = args.to.target(around, first.cloned())?;
    match what {
        What::Upstreams => upstreams(&target, args.to.json),
        What::Tools => list(&target, around, args, &["tools/list"]),
        What::Prompts => list(&target, around, args, &["prompts/list"]),
        What::Resources => {
            list(&target, around, args, &["resources/list", "resources/templates/list"])
        }
    }
}

/// The member of a list's result that holds its items.
fn member(method: &str) -> &'static str {
    match method {
        "tools/list" => "tools",
        "prompts/list" => "prompts",
        "resources/list" => "resources",
        _ => "resourceTemplates",
    }
}

fn list(
    target: &Target,
    around: &Surroundings,
    args: &LsArgs,
    methods: &[&str],
) -> Result<ExitCode, Failure> {
    let mut client = target.open(around)?;
    let mut lists = Vec::new();
    for method in methods {
        lists.push((member(method), items(&mut client, method)?));
    }
    if args.to.json {
        let members = lists.iter().map(|(member, items)| {
            let items: Vec<_> = items.iter().map(|item| String::from_utf8_lossy(item)).collect();
            format!("\"{member}\":[{}]", items.join(","))
        });
        let members: Vec<_> = members.collect();
        return Ok(show::print_json(format!("{{{}}}", members.join(",")).as_bytes()));
    }
    let items: Vec<Value> = lists
        .iter()
        .flat_map(|(_, items)| items)
        .filter_map(|raw| serde_json::from_slice(raw).ok())
        .collect();
    if items.is_empty() {
        eprintln!("{target} offers no {}", lists[0].0);
    }
    say_who_is_missing(target);
    let text = match args.long {
        true => items.iter().map(long).collect::<Vec<_>>().join("\n"),
        false => show::table(&items.iter().map(short).collect::<Vec<_>>()),
    };
    Ok(show::print(text.as_bytes()))
}

/// A list of everything is shorter while servers start or are down: that must not go unnoticed.
fn say_who_is_missing(target: &Target) {
    let status = if target.upstream.is_none() { target.status().ok().flatten() } else { None };
    for upstream in status.iter().flat_map(|status| &status.upstreams) {
        match (upstream.state.as_str(), &upstream.why) {
            ("starting", _) => eprintln!("kern: upstream `{}` is still starting", upstream.name),
            ("down", Some(why)) => eprintln!("kern: upstream `{}` is down: {why}", upstream.name),
            _ => {}
        }
    }
}

/// A server that knows nothing of a kind of list offers nothing of it.
fn items(client: &mut Client, method: &str) -> Result<Vec<Vec<u8>>, Failure> {
    match client.list(method, member(method)) {
        Err(Failure::Refused { code: kern_mcp::errors::METHOD_NOT_FOUND, .. }) => Ok(Vec::new()),
        other => other,
    }
}

/// What a person calls the item by.
fn name(item: &Value) -> String {
    let named = |member: &str| item[member].as_str();
    let name = named("uri").or(named("uriTemplate")).or(named("name"));
    name.unwrap_or_default().to_owned()
}

fn description(item: &Value) -> &str {
    let named = |member: &str| item[member].as_str().filter(|text| !text.trim().is_empty());
    let by_uri = item["uri"].is_string() || item["uriTemplate"].is_string();
    let name = if by_uri { named("name") } else { None };
    named("description").or(named("title")).or(name).unwrap_or_default()
}

fn short(item: &Value) -> Vec<String> {
    vec![name(item), description(item).to_owned()]
}

fn long(item: &Value) -> String {
    let width = show::width().unwrap_or(usize::MAX).min(120);
    let mut out = format!("{}\n", show::for_output(&name(item)));
    out.push_str(&show::wrapped(description(item), 4, width));
    let arguments = match item["arguments"].as_array() {
        Some(arguments) => call_args::of_prompt(arguments),
        None => call_args::of_tool(item),
    };
    for argument in arguments {
        out.push_str(&show::wrapped(&argument.to_string(), 6, width));
    }
    out
}

fn upstreams(target: &Target, json: bool) -> Result<ExitCode, Failure> {
    let Some(status) = target.status()? else {
        return Err(Failure::other(format!("{target} does not tell of upstreams: is it a kern?")));
    };
    if json {
        return Ok(show::print_json(status.raw.as_bytes()));
    }
    let mut rows = vec![
        ["UPSTREAM", "STATE", "TOOLS", "PROMPTS", "RESOURCES", "REVISION"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for upstream in &status.upstreams {
        let [tools, prompts, resources] = upstream.counts.map(|count| count.to_string());
        let last = upstream.why.as_ref().or(upstream.revision.as_ref()).cloned();
        let (name, state) = (upstream.name.clone(), upstream.state.clone());
        rows.push(vec![name, state, tools, prompts, resources, last.unwrap_or_default()]);
    }
    let text = format!("{}\n\n{}", status.title, show::table(&rows));
    Ok(show::print(text.as_bytes()))
}
