//! What servers does one client's file declare?
//!
//! Invariants: reading is a function of the text; an entry that cannot be used is still listed,
//! with the reason; keys this program does not know are no fault, the files are not its own.

use std::path::{Path, PathBuf};

use super::places::{Place, Shape};
use crate::config::{command_words, is_header_name, is_managed_header};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::limits::{ITEMS_MAX, START_TIMEOUT_MS, TIMEOUT_MS};
use crate::node::{Key, Node, Value, parse_json, parse_toml, parse_yaml};
use crate::plan::{CommandPlan, Kind, ToolFilter, Transport, UrlPlan};
use crate::secret::{Scope as References, Syntax, Template, is_variable};

/// One server as a file declares it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) declared_as: String,
    /// Line of its name, from 1.
    pub(crate) line: usize,
    /// Declared for the current project in the user's own file.
    pub(crate) local: bool,
    pub(crate) content: Result<Content, Unusable>,
}

/// What a usable entry says.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) kind: Kind,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) start_timeout_ms: Option<u64>,
    pub(crate) tools: ToolFilter,
}

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Switched off where it is declared.
    Disabled,
    /// It needs something only its client has.
    ClientOnly(String),
    /// It makes no sense.
    Invalid(String),
}

/// Where values of a file are taken from.
struct Context<'a> {
    place: &'a Place,
    text: &'a str,
    home: Option<&'a Path>,
    /// Where relative things start: the project, or nothing for a user's file.
    folder: Option<PathBuf>,
}

/// Reads `text`, the content of `place`. Entries for other projects than that of `cwd` are left
/// out.
///
/// # Errors
/// The first syntax error, with its place.
pub(crate) fn read(
    place: &Place,
    text: &str,
    home: Option<&Path>,
    cwd: &Path,
) -> Result<Vec<Entry>, Box<Problem>> {
    let parsed = match place.shape {
        Shape::Codex => parse_toml(text),
        Shape::Goose => parse_yaml(text),
        _ => parse_json(text),
    };
    let root = parsed.map_err(|errors| {
        let error = errors.into_iter().next().expect("a failed parse names an error");
        Problem::new(&place.path, text, error.span, error.message)
    })?;
    let mut context = Context { place, text, home, folder: place.project.clone() };
    let mut entries = Vec::new();
    match place.shape {
        Shape::ClaudeState => claude_state(&mut context, &root, cwd, &mut entries),
        Shape::VsCode => servers(&context, root.get("servers"), &mut entries),
        Shape::Zed => servers(&context, root.get("context_servers"), &mut entries),
        Shape::Codex => servers(&context, root.get("mcp_servers"), &mut entries),
        Shape::Goose => servers(&context, root.get("extensions"), &mut entries),
        Shape::Gemini => {
            servers(&context, root.get("mcpServers"), &mut entries);
            gemini_lists(&root, &mut entries);
        }
        Shape::Braces | Shape::Plain | Shape::Editor => {
            servers(&context, root.get("mcpServers"), &mut entries);
            if place.shape == Shape::Braces && root.get("mcpServers").is_none() {
                servers(&context, root.get("servers"), &mut entries);
            }
        }
    }
    Ok(entries)
}

/// `~/.claude.json`: first what is declared for the current project, then what is for all.
fn claude_state(context: &mut Context<'_>, root: &Node, cwd: &Path, entries: &mut Vec<Entry>) {
    let mut disabled: Vec<&str> = Vec::new();
    for (key, project) in root.get("projects").and_then(Node::table).unwrap_or_default() {
        let folder = Path::new(&key.name);
        if !folder.is_absolute() || !cwd.starts_with(folder) {
            continue;
        }
        let names = project.get("disabledMcpServers").and_then(Node::list).unwrap_or_default();
        disabled.extend(names.iter().filter_map(Node::text));
        let first = entries.len();
        context.folder = Some(folder.to_owned());
        servers(context, project.get("mcpServers"), entries);
        entries[first..].iter_mut().for_each(|entry| entry.local = true);
    }
    context.folder = None;
    servers(context, root.get("mcpServers"), entries);
    disable(entries, |name| disabled.contains(&name));
}

/// Gemini's `mcp.allowed` and `mcp.excluded`.
fn gemini_lists(root: &Node, entries: &mut [Entry]) {
    let names = |key: &str| {
        let list = root.get("mcp")?.get(key)?.list()?;
        Some(list.iter().filter_map(Node::text).collect::<Vec<_>>())
    };
    let (allowed, excluded) = (names("allowed"), names("excluded").unwrap_or_default());
    disable(entries, |name| {
        excluded.contains(&name) || allowed.as_ref().is_some_and(|list| !list.contains(&name))
    });
}

fn disable(entries: &mut [Entry], off: impl Fn(&str) -> bool) {
    for entry in entries {
        if entry.content.is_ok() && off(&entry.declared_as) {
            entry.content = Err(Unusable::Disabled);
        }
    }
}

fn servers(context: &Context<'_>, servers: Option<&Node>, entries: &mut Vec<Entry>) {
    // Counted on from entry to entry: from the start each time would be quadratic.
    let (mut line, mut counted) = (1, 0);
    for (key, node) in servers.and_then(Node::table).unwrap_or_default() {
        if entries.len() >= crate::limits::DISCOVERED_MAX {
            return;
        }
        if key.span.start < counted {
            (line, counted) = (1, 0);
        }
        line += context.text[counted..key.span.start].matches('\n').count();
        counted = key.span.start;
        let declared_as = key.name.clone();
        entries.push(Entry { declared_as, line, local: false, content: context.entry(key, node) });
    }
}

fn invalid(message: impl Into<String>) -> Unusable {
    Unusable::Invalid(message.into())
}

impl Context<'_> {
    fn entry(&self, key: &Key, node: &Node) -> Result<Content, Unusable> {
        if node.table().is_none() {
            let kind = node.value.kind();
            return Err(invalid(format!("`{}` is a table, not {kind}", key.name)));
        }
        let off = node.get("disabled").and_then(Node::bool) == Some(true)
            || node.get("enabled").and_then(Node::bool) == Some(false);
        if off {
            return Err(Unusable::Disabled);
        }
        // Some versions of Goose nest what describes the server.
        let nested = node.get("config").filter(|_| self.place.shape == Shape::Goose);
        let node = nested.filter(|config| config.get("type").is_some()).unwrap_or(node);
        Ok(Content {
            kind: self.kind(node)?,
            timeout_ms: self.timeout(node),
            start_timeout_ms: milliseconds(node.get("startup_timeout_sec"), 1_000)
                .or_else(|| milliseconds(node.get("startup_timeout_ms"), 1))
                .map(|ms| ms.clamp(START_TIMEOUT_MS.min, START_TIMEOUT_MS.max)),
            tools: tools(node),
        })
    }

    fn kind(&self, node: &Node) -> Result<Kind, Unusable> {
        let transport = self.transport(node)?;
        if let Some(command) = node.get_any(&["command", "cmd"]) {
            return self.command(node, command).map(Kind::Command);
        }
        let url = node.get_any(&["url", "httpUrl", "serverUrl", "uri"]);
        match url {
            Some(url) => self.url(node, url, transport).map(Kind::Url),
            None if node.get("source").is_some() || node.get("settings").is_some() => {
                Err(Unusable::ClientOnly("it is an extension of its client".to_owned()))
            }
            None => Err(invalid("it has neither a command nor a URL")),
        }
    }

    /// Which transport `type` and the spelling of the URL's key mean.
    fn transport(&self, node: &Node) -> Result<Transport, Unusable> {
        let named = node.get_any(&["type", "transport", "transportType"]).and_then(Node::text);
        match named.map(str::to_ascii_lowercase).as_deref() {
            // VS Code falls back to SSE by itself.
            Some("http") if self.place.shape == Shape::VsCode => Ok(Transport::Auto),
            Some("http" | "streamable-http" | "streamable_http" | "streamablehttp") => {
                Ok(Transport::Http)
            }
            Some("sse") => Ok(Transport::Sse),
            None if node.get("httpUrl").is_some() => Ok(Transport::Http),
            None if self.place.shape == Shape::Gemini && node.get("url").is_some() => {
                Ok(Transport::Sse)
            }
            None | Some("stdio" | "local" | "custom" | "") => Ok(Transport::Auto),
            Some("builtin" | "platform" | "frontend" | "inline_python" | "sdk") => {
                Err(Unusable::ClientOnly("it is built into its client".to_owned()))
            }
            Some(other) => Err(invalid(format!("its type `{other}` is not known"))),
        }
    }

    fn command(&self, node: &Node, command: &Node) -> Result<CommandPlan, Unusable> {
        // Zed has written a table here.
        let inner = if command.table().is_some() { command } else { node };
        let program = match command.table() {
            Some(_) => command.get("path").and_then(Node::text),
            None => command.text(),
        };
        let program = program.ok_or_else(|| invalid("its command is no text"))?;
        let mut args = self.list(inner, "args")?;
        let words = command_words(program, args.is_empty());
        let program = match words.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => {
                for word in rest {
                    args.push(self.template(word)?);
                }
                *first
            }
            _ => program,
        };
        if program.trim().is_empty() {
            return Err(invalid("its command is empty"));
        }
        let mut env = self.pairs(inner, &["env", "envs"])?;
        // Values that Goose and Codex take from the environment by name.
        for key in ["env_keys", "env_vars"] {
            for name in node.get(key).and_then(Node::list).unwrap_or_default() {
                let name = name.text().or_else(|| name.get("name").and_then(Node::text));
                let name = name.filter(|name| is_variable(name));
                let fresh = name.filter(|name| env.iter().all(|(taken, _)| taken != name));
                env.extend(fresh.map(|name| (name.to_owned(), Template::variable("", name))));
            }
        }
        env.sort_by(|a, b| a.0.cmp(&b.0));
        let env_file = node.get_any(&["envFile"]).and_then(Node::text);
        let cwd = node.get_any(&["cwd"]).and_then(Node::text);
        let folder = || self.folder.as_ref().map(|path| path.display().to_string());
        Ok(CommandPlan {
            program: self.template(program)?,
            args,
            env,
            env_file: env_file.map(|path| self.path(path)).transpose()?,
            ring: false,
            cwd: match cwd {
                Some(path) => Some(self.path(path)?),
                None => folder().map(Template::literal),
            },
        })
    }

    fn url(&self, node: &Node, url: &Node, transport: Transport) -> Result<UrlPlan, Unusable> {
        let text = url.text().ok_or_else(|| invalid("its URL is no text"))?;
        let url = self.template(text.trim())?;
        if let Some(Err(error)) = url.as_literal().map(Endpoint::parse) {
            return Err(invalid(error.to_string()));
        }
        if node.get("headersHelper").is_some() {
            return Err(Unusable::ClientOnly("a program of its client makes its headers".into()));
        }
        if node.get("bearer_token").is_some() {
            return Err(invalid("`bearer_token` is refused there too; use `bearer_token_env_var`"));
        }
        let mut headers = self.pairs(node, &["headers", "http_headers"])?;
        for (name, variable) in self.words(node, "env_http_headers") {
            headers.push((name.to_owned(), variable_template("", variable)?));
        }
        if let Some(variable) = node.get("bearer_token_env_var").and_then(Node::text) {
            headers.push(("authorization".to_owned(), variable_template("Bearer ", variable)?));
        }
        for (name, _) in &mut headers {
            if !is_header_name(name) {
                return Err(invalid(format!("`{name}` is no name of a header")));
            }
            *name = name.to_ascii_lowercase();
        }
        headers.retain(|(name, _)| !is_managed_header(name));
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        headers.dedup_by(|a, b| a.0 == b.0);
        Ok(UrlPlan { url, headers, transport })
    }

    fn template(&self, text: &str) -> Result<Template, Unusable> {
        if text.contains('\0') || text.len() > crate::limits::TEXT_BYTES_MAX {
            return Err(invalid("a value is too long or holds a NUL byte"));
        }
        let syntax = match self.place.shape {
            Shape::Editor | Shape::VsCode => Syntax::Editor,
            Shape::Braces | Shape::ClaudeState | Shape::Goose => Syntax::Braces,
            Shape::Gemini => Syntax::Dollar,
            Shape::Plain | Shape::Codex | Shape::Zed => Syntax::None,
        };
        let folder = self.place.path.parent().unwrap_or(Path::new("/"));
        let workspace = self.folder.as_deref();
        let scope = References { syntax, folder, workspace, home: self.home };
        Template::parse(text, &scope).map_err(|error| Unusable::ClientOnly(error.to_string()))
    }

    /// A path: relative ones start at the project, or at the home folder.
    fn path(&self, text: &str) -> Result<Template, Unusable> {
        let template = self.template(text)?;
        let base = self.folder.as_deref().or(self.home);
        Ok(match (template.as_literal(), base) {
            (Some(path), Some(base)) if !path.starts_with('~') => {
                let path: PathBuf = base.join(path).components().collect();
                Template::literal(path.display().to_string())
            }
            _ => template,
        })
    }

    fn list(&self, node: &Node, key: &str) -> Result<Vec<Template>, Unusable> {
        let Some(list) = node.get(key) else { return Ok(Vec::new()) };
        let elements = match &list.value {
            Value::Null => &[],
            Value::List(elements) => elements.as_slice(),
            _ => return Err(invalid(format!("its `{key}` is no list"))),
        };
        if elements.len() > ITEMS_MAX {
            return Err(invalid(format!("its `{key}` has more than {ITEMS_MAX} entries")));
        }
        elements
            .iter()
            .map(|element| match scalar(&element.value) {
                Some(text) => self.template(&text),
                None => Err(invalid(format!("its `{key}` holds {}", element.value.kind()))),
            })
            .collect()
    }

    /// The entries of the first of `keys` that is a table.
    fn pairs(&self, node: &Node, keys: &[&str]) -> Result<Vec<(String, Template)>, Unusable> {
        let entries = node.get_any(keys).and_then(Node::table).unwrap_or_default();
        if entries.len() > ITEMS_MAX {
            return Err(invalid(format!("its `{}` has more than {ITEMS_MAX} entries", keys[0])));
        }
        let mut pairs: Vec<(String, Template)> = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            // `null` unsets a variable in VS Code; not setting it comes nearest.
            let Some(text) = scalar(&node.value) else { continue };
            if key.name.is_empty() || key.name.contains(['=', '\0', '\n', '\r']) {
                return Err(invalid(format!("its `{}` holds a wrong name", keys[0])));
            }
            pairs.retain(|(name, _)| *name != key.name);
            pairs.push((key.name.clone(), self.template(&text)?));
        }
        Ok(pairs)
    }

    fn words<'n>(&self, node: &'n Node, key: &str) -> Vec<(&'n str, &'n str)> {
        let entries = node.get(key).and_then(Node::table).unwrap_or_default();
        entries.iter().filter_map(|(key, node)| Some((key.name.as_str(), node.text()?))).collect()
    }

    /// The longest wait for an answer, in each client's unit.
    fn timeout(&self, node: &Node) -> Option<u64> {
        let ms = match self.place.shape {
            Shape::Codex => milliseconds(node.get("tool_timeout_sec"), 1_000),
            Shape::Goose | Shape::Editor => milliseconds(node.get("timeout"), 1_000),
            _ => milliseconds(node.get("timeout"), 1),
        };
        ms.map(|ms| ms.clamp(TIMEOUT_MS.min, TIMEOUT_MS.max))
    }
}

fn variable_template(prefix: &str, name: &str) -> Result<Template, Unusable> {
    if !is_variable(name) {
        return Err(invalid(format!("`{name}` is no name of an environment variable")));
    }
    Ok(Template::variable(prefix, name))
}

/// Text, or a number or truth value as a shell would have it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn milliseconds(node: Option<&Node>, unit_ms: u64) -> Option<u64> {
    match node?.value {
        Value::Int(number) => u64::try_from(number).ok()?.checked_mul(unit_ms),
        _ => None,
    }
    .filter(|ms| *ms > 0)
}

/// Which tools the user lets through there.
fn tools(node: &Node) -> ToolFilter {
    let names = |keys: &[&str]| {
        let list = node.get_any(keys)?.list()?;
        let mut names: Vec<String> =
            list.iter().filter_map(Node::text).map(str::to_owned).take(ITEMS_MAX).collect();
        names.sort();
        names.dedup();
        Some(names)
    };
    let include = names(&["includeTools", "enabled_tools", "tools", "available_tools"]);
    ToolFilter {
        include: include.filter(|list| !list.is_empty() && !list.iter().any(|name| name == "*")),
        exclude: names(&["excludeTools", "disabled_tools", "disabledTools"]).unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
