//! Does an `[upstream.NAME]` table describe something that can be started or called?

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::name::{fit_name, is_name};
use super::reader::{Reader, Section, Word};
use crate::endpoint::Endpoint;
use crate::limits::{START_TIMEOUT_MS, TIMEOUT_MS, UPSTREAMS_MAX};
use crate::node::Node;
use crate::plan::{
    Builtin, CommandPlan, Instances, Kind, Limits, Origin, ToolFilter, Transport, UpstreamPlan,
    UrlPlan,
};
use crate::secret::{Scope, Template};

const COMMON: &[&str] =
    &["instances", "timeout", "start_timeout", "enabled", "include_tools", "exclude_tools"];
const COMMAND: &[&str] = &["command", "args", "env", "env_file", "cwd", "ring"];
const URL: &[&str] = &["url", "headers", "transport"];
const BUILTIN: &[&str] = &["builtin"];

/// Headers this program writes itself.
const MANAGED_HEADERS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn upstreams(
    reader: &mut Reader<'_>,
    root: &Node,
    path: &Path,
    scope: &Scope<'_>,
    limits: &Limits,
) -> (Vec<UpstreamPlan>, Vec<Origin>) {
    let mut enabled = Vec::new();
    let mut disabled = Vec::new();
    let Some(node) = root.get("upstream") else { return (enabled, disabled) };
    let Some(entries) = node.table() else {
        let message = format!("`upstream` is a table, not {}", node.value.kind());
        reader.problem_with_help(&node.span, message, "write `[upstream.NAME]`");
        return (enabled, disabled);
    };
    if entries.len() > UPSTREAMS_MAX {
        reader.problem(&node.span, format!("there are more than {UPSTREAMS_MAX} upstreams"));
        return (enabled, disabled);
    }
    for (key, node) in entries {
        let name = key.name.as_str();
        if !is_name(name) {
            let message = format!("`{name}` cannot name an upstream: it is a prefix of tool names");
            let help = format!("use letters, digits, `-` and `_`: `{}`", fit_name(name));
            reader.problem_with_help(&key.span, message, help);
        }
        let origin = Origin {
            client: "kern.toml".to_owned(),
            path: path.to_owned(),
            declared_as: name.to_owned(),
        };
        let dotted = format!("upstream.{name}");
        if node.table().is_none() {
            let message = format!("`{dotted}` is a table, not {}", node.value.kind());
            reader.problem_with_help(&node.span, message, format!("write `[{dotted}]`"));
            continue;
        }
        let section = Section { name: &dotted, node };
        let on = reader.boolean(section, "enabled").unwrap_or(true);
        if let Some(plan) = upstream(reader, section, key.span.clone(), origin, scope, limits) {
            if on { enabled.push(plan) } else { disabled.push(plan.origin) }
        }
    }
    enabled.sort_by(|a, b| a.name.cmp(&b.name));
    (enabled, disabled)
}

fn upstream(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    name_span: Range<usize>,
    origin: Origin,
    scope: &Scope<'_>,
    limits: &Limits,
) -> Option<UpstreamPlan> {
    let known: Vec<&str> = [COMMON, COMMAND, URL, BUILTIN].concat();
    reader.only_known(section, &known);
    let instances = [
        ("auto", Instances::Auto),
        ("shared", Instances::Shared),
        ("per-session", Instances::PerSession),
    ];
    let instances = reader.choice(section, "instances", &instances).unwrap_or_default();
    let timeout_ms = reader.duration(section, "timeout", TIMEOUT_MS).unwrap_or(limits.timeout_ms);
    let start_timeout_ms = reader
        .duration(section, "start_timeout", START_TIMEOUT_MS)
        .unwrap_or(limits.start_timeout_ms);
    let include = reader.words(section, "include_tools").map(sorted);
    let exclude = reader.words(section, "exclude_tools").map(sorted).unwrap_or_default();
    let kind = kind(reader, section, &name_span, scope)?;
    Some(UpstreamPlan {
        name: origin.declared_as.clone(),
        origin,
        kind,
        instances,
        timeout_ms,
        start_timeout_ms,
        tools: ToolFilter { include, exclude },
    })
}

fn sorted(words: Vec<Word<'_>>) -> Vec<String> {
    let mut names: Vec<String> = words.into_iter().map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Which of the three kinds it is; keys of the other two are problems.
fn kind(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    name_span: &Range<usize>,
    scope: &Scope<'_>,
) -> Option<Kind> {
    let kinds = [("command", COMMAND), ("url", URL), ("builtin", BUILTIN)];
    let named = kinds.iter().filter(|(key, _)| section.node.get(key).is_some());
    let mut named = named.collect::<Vec<_>>();
    // In the order of the file, so that the problem is marked at the later key.
    named.sort_by_key(|(key, _)| section.node.get(key).map(|node| node.span.start));
    let Some((chosen, own)) = named.first() else {
        let message = format!("`{}` says neither `command` nor `url` nor `builtin`", section.name);
        let help = "add `command = \"…\"` to start a server, or `url = \"https://…\"` to call one";
        reader.problem_with_help(name_span, message, help);
        return None;
    };
    for (key, _) in section.node.table().unwrap_or_default() {
        let name = key.name.as_str();
        let foreign = [COMMAND, URL, BUILTIN].concat().contains(&name) && !own.contains(&name);
        if foreign && kinds.iter().any(|(kind, _)| *kind == name) {
            let message = format!("`{}` has both `{chosen}` and `{name}`", section.name);
            reader.problem_with_help(&key.span, message, "keep one of them");
        } else if foreign {
            let message = format!("`{}` has no meaning beside `{chosen}`", section.dotted(name));
            reader.problem(&key.span, message);
        }
    }
    match *chosen {
        "command" => command(reader, section, scope).map(Kind::Command),
        "url" => url(reader, section, scope).map(Kind::Url),
        _ => reader.choice(section, "builtin", &[("echo", Builtin::Echo)]).map(Kind::Builtin),
    }
}

fn template(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    key: &str,
    word: Word<'_>,
    scope: &Scope<'_>,
) -> Option<Template> {
    let parsed = Template::parse(word.0, scope);
    parsed
        .map_err(|error| reader.problem(&word.1, format!("`{}`: {error}", section.dotted(key))))
        .ok()
}

fn command(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    scope: &Scope<'_>,
) -> Option<CommandPlan> {
    let word = reader.word(section, "command");
    let args = reader.words(section, "args").unwrap_or_default();
    let env = reader.pairs(section, "env");
    let env_file = reader.word(section, "env_file");
    let cwd = reader.word(section, "cwd");
    let ring = reader.boolean(section, "ring").unwrap_or(false);
    if let Some((text, span)) = &word {
        if text.trim().is_empty() {
            reader.problem(span, format!("`{}` is empty", section.dotted("command")));
        } else if command_words(text, args.is_empty()).len() > 1 {
            let words = command_words(text, true);
            let list: Vec<String> = words[1..].iter().map(|word| format!("\"{word}\"")).collect();
            let help = format!("command = \"{}\", args = [{}]", words[0], list.join(", "));
            let message = format!("`{}` holds arguments", section.dotted("command"));
            reader.problem_with_help(span, message, help);
        }
    }
    let program = word.and_then(|word| template(reader, section, "command", word, scope));
    let args = args
        .into_iter()
        .enumerate()
        .filter_map(|(at, word)| template(reader, section, &format!("args[{at}]"), word, scope))
        .collect();
    let mut variables = BTreeMap::new();
    for ((name, name_span), word) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            reader.problem(&name_span, format!("`{name}` is no name of an environment variable"));
            continue;
        }
        let key = format!("env.{name}");
        if let Some(value) = template(reader, section, &key, word, scope) {
            warn_in_clear(reader, section, &key, &name_span, &value);
            variables.insert(name.to_owned(), value);
        }
    }
    let anchor = |template: Template| match template.as_literal() {
        Some(text) => Template::literal(crate::secret::anchored(text, scope).display().to_string()),
        None => template,
    };
    let env_file =
        env_file.and_then(|word| template(reader, section, "env_file", word, scope)).map(anchor);
    let cwd = cwd.and_then(|word| template(reader, section, "cwd", word, scope)).map(anchor);
    let env = variables.into_iter().collect();
    Some(CommandPlan { program: program?, args, env, env_file, cwd, ring })
}

/// The words of a command that somebody wrote as one, when that is what it looks like: it is no
/// path and has no arguments elsewhere.
pub(crate) fn command_words(text: &str, no_args: bool) -> Vec<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = words.first().is_some_and(|first| !first.contains(['/', '\\', '$']));
    let quoted = text.contains(['"', '\'', '`', '\\']);
    if no_args && plain && !quoted { words } else { vec![text] }
}

fn url(reader: &mut Reader<'_>, section: Section<'_>, scope: &Scope<'_>) -> Option<UrlPlan> {
    let word = reader.word(section, "url");
    let pairs = reader.pairs(section, "headers");
    let transports =
        [("auto", Transport::Auto), ("http", Transport::Http), ("sse", Transport::Sse)];
    let transport = reader.choice(section, "transport", &transports).unwrap_or_default();
    let url = word.and_then(|(text, span)| {
        let url = template(reader, section, "url", (text, span.clone()), scope)?;
        if let Some(Err(error)) = url.as_literal().map(Endpoint::parse) {
            reader.problem(&span, format!("`{}`: {error}", section.dotted("url")));
            return None;
        }
        Some(url)
    });
    let mut headers = BTreeMap::new();
    for ((name, name_span), word) in pairs {
        let lower = name.to_ascii_lowercase();
        if !is_header_name(name) {
            reader.problem(&name_span, format!("`{name}` is no name of a header"));
        } else if is_managed_header(&lower) {
            reader.problem(&name_span, format!("kern writes the header `{name}` itself"));
        } else if let Some(value) =
            template(reader, section, &format!("headers.{name}"), word, scope)
        {
            warn_in_clear(reader, section, &format!("headers.{name}"), &name_span, &value);
            if headers.insert(lower, value).is_some() {
                reader.problem(&name_span, format!("the header `{name}` is set twice"));
            }
        }
    }
    Some(UrlPlan { url: url?, headers: headers.into_iter().collect(), transport })
}

/// Whether `name` is a token of RFC 9110, section 5.6.2.
pub(crate) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 256 && name.bytes().all(token)
}

/// Whether this program writes the header `name` (lower case) itself.
pub(crate) fn is_managed_header(name: &str) -> bool {
    MANAGED_HEADERS.contains(&name)
}

fn warn_in_clear(
    reader: &mut Reader<'_>,
    section: Section<'_>,
    key: &str,
    span: &Range<usize>,
    value: &Template,
) {
    let lower = key.to_ascii_lowercase();
    let telling = ["token", "secret", "password", "authorization", "api_key", "apikey", "api-key"];
    let clear = value.as_literal().is_some_and(|text| text.len() > 3);
    if clear && telling.iter().any(|part| lower.contains(part)) {
        let message = format!("`{}` seems to hold a secret in clear", section.dotted(key));
        let help = "write \"${env:NAME}\" or \"${file:PATH}\" instead".to_owned();
        reader.warn(span, message, help);
    }
}
