//! What exactly is started or called for an upstream, once its references are read?
//!
//! Invariants: values read here leave only inside [`Secret`]; what comes out can be handed to the
//! system as it is: no NUL in a command, no line break in a header.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::endpoint::Endpoint;
use crate::limits;
use crate::plan::{Builtin, CommandPlan, Kind, Transport, UpstreamPlan, UrlPlan};
use crate::program::find_program;
use crate::secret::{Secret, Template};
use crate::surroundings::{Os, Surroundings, read_bounded};

/// An upstream ready to be started or called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Start a child process.
    Command(CommandLaunch),
    /// Call an HTTP server.
    Remote(Remote),
    /// Use code within this process.
    Builtin(Builtin),
}

/// A child process ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLaunch {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// What the user wrote; the child's argument zero.
    pub argument_zero: String,
    /// The arguments after it.
    pub args: Vec<Secret>,
    /// The child's whole environment, sorted by name.
    pub env: Vec<(String, Secret)>,
    /// The child's working folder.
    pub cwd: PathBuf,
    /// It speaks through a shared-memory ring.
    pub ring: bool,
}

/// An HTTP server ready to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where.
    pub endpoint: Endpoint,
    /// Headers of every request; names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// Which of the two HTTP transports.
    pub transport: Transport,
}

/// One reason why an upstream cannot be used now. The user's to repair, not to be retried before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError {
    /// Which upstream.
    pub upstream: String,
    /// Which of its keys, as in `env.TOKEN`.
    pub key: String,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream `{}`, `{}`: {}; {}", self.upstream, self.key, self.cause, self.remedy)
    }
}

impl std::error::Error for ResolveError {}

impl UpstreamPlan {
    /// Reads every reference.
    ///
    /// # Errors
    /// All that is missing or unusable, not only the first.
    pub fn resolve(&self, surroundings: &Surroundings) -> Result<Launch, Vec<ResolveError>> {
        let mut resolving = Resolving { upstream: &self.name, surroundings, errors: Vec::new() };
        let launch = match &self.kind {
            Kind::Command(plan) => resolving.command(plan).map(Launch::Command),
            Kind::Url(plan) => resolving.remote(plan).map(Launch::Remote),
            Kind::Builtin(builtin) => Some(Launch::Builtin(*builtin)),
        };
        match launch {
            Some(launch) if resolving.errors.is_empty() => Ok(launch),
            _ => Err(resolving.errors),
        }
    }
}

struct Resolving<'a> {
    upstream: &'a str,
    surroundings: &'a Surroundings,
    errors: Vec<ResolveError>,
}

impl Resolving<'_> {
    fn fail(&mut self, key: &str, cause: impl fmt::Display, remedy: impl fmt::Display) {
        self.errors.push(ResolveError {
            upstream: self.upstream.to_owned(),
            key: key.to_owned(),
            cause: cause.to_string(),
            remedy: remedy.to_string(),
        });
    }

    fn text(&mut self, key: &str, template: &Template) -> Option<Secret> {
        let secret = template.resolve(self.surroundings);
        secret.map_err(|missing| self.fail(key, &missing, missing.remedy())).ok()
    }

    /// As `text`, for what goes to the system as a C string.
    fn word(&mut self, key: &str, template: &Template) -> Option<Secret> {
        let secret = self.text(key, template)?;
        if secret.expose().contains('\0') {
            self.fail(key, "its value holds a NUL byte", "remove it");
            return None;
        }
        Some(secret)
    }

    fn command(&mut self, plan: &CommandPlan) -> Option<CommandLaunch> {
        let program = self.word("command", &plan.program);
        let args: Vec<_> = plan
            .args
            .iter()
            .enumerate()
            .filter_map(|(index, arg)| self.word(&format!("args[{index}]"), arg))
            .collect();
        let env = self.environment(plan);
        let cwd = self.folder(plan)?;
        let program = program?.expose().to_owned();
        let path = env.get("PATH").or_else(|| env.get("Path")).map_or("", |path| path.expose());
        let suffixes = env.get("PATHEXT").map_or(".COM;.EXE;.BAT;.CMD", |text| text.expose());
        let os = self.surroundings.os;
        let expanded = match (program.strip_prefix("~/"), &self.surroundings.home) {
            (Some(rest), Some(home)) => home.join(rest).display().to_string(),
            _ => program.clone(),
        };
        let Some(found) = find_program(&expanded, path, &cwd, os, suffixes) else {
            self.fail("command", absent_program(&program, os), install_advice(&program));
            return None;
        };
        let env = env.into_iter().collect();
        Some(CommandLaunch {
            program: found,
            argument_zero: program,
            args,
            env,
            cwd,
            ring: plan.ring,
        })
    }

    /// The base environment, below the file of variables, below the variables themselves.
    fn environment(&mut self, plan: &CommandPlan) -> BTreeMap<String, Secret> {
        let mut env: BTreeMap<_, _> = self
            .surroundings
            .base_env()
            .map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned())))
            .collect();
        if let Some(path) = plan.env_file.as_ref().and_then(|path| self.word("env_file", path)) {
            match read_bounded(path.expose().as_ref(), limits::SECRET_FILE_BYTES_MAX) {
                Ok(text) => env.extend(variables_of_file(&text)),
                Err(why) => {
                    let cause = format!("{} cannot be read: {why}", path.expose());
                    self.fail("env_file", cause, "create the file or remove the key");
                }
            }
        }
        for (name, template) in &plan.env {
            if let Some(value) = self.word(&format!("env.{name}"), template) {
                env.insert(name.clone(), value);
            }
        }
        env
    }

    fn folder(&mut self, plan: &CommandPlan) -> Option<PathBuf> {
        let home = self.surroundings.home.as_ref();
        let fallback = home.unwrap_or(&self.surroundings.cwd).clone();
        let Some(template) = &plan.cwd else { return Some(fallback) };
        let text = self.word("cwd", template)?;
        let folder = match text.expose().strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                fallback.join(rest.trim_start_matches('/'))
            }
            _ => fallback.join(text.expose()),
        };
        if !folder.is_dir() {
            self.fail("cwd", format!("{} is no folder", folder.display()), "create it");
            return None;
        }
        Some(folder)
    }

    fn remote(&mut self, plan: &UrlPlan) -> Option<Remote> {
        let endpoint = self.text("url", &plan.url).and_then(|url| {
            let parsed = Endpoint::parse(url.expose());
            parsed.map_err(|error| self.fail("url", error, "correct the URL")).ok()
        });
        let mut headers = Vec::with_capacity(plan.headers.len());
        for (name, template) in &plan.headers {
            let key = format!("headers.{name}");
            let Some(value) = self.text(&key, template) else { continue };
            let value = value.expose().trim();
            if value.chars().any(|c| c.is_control() && c != '\t') {
                self.fail(&key, "its value holds a control character", "keep it on one line");
                continue;
            }
            headers.push((name.clone(), Secret::new(value.to_owned())));
        }
        Some(Remote { endpoint: endpoint?, headers, transport: plan.transport })
    }
}

fn absent_program(program: &str, os: Os) -> String {
    if program.contains('/') || os == Os::Windows && program.contains('\\') {
        format!("{program} is no file that may be executed")
    } else {
        format!("there is no program `{program}` on PATH")
    }
}

/// How one gets the programs that MCP servers are usually started with.
fn install_advice(program: &str) -> &'static str {
    match program {
        "npx" | "npm" | "node" => "install Node.js (https://nodejs.org)",
        "uvx" | "uv" => "install uv (https://docs.astral.sh/uv)",
        "python" | "python3" => "install Python 3",
        "docker" => "install Docker",
        "bunx" | "bun" => "install Bun (https://bun.sh)",
        "deno" => "install Deno (https://deno.com)",
        _ => "install it or write its whole path",
    }
}

/// Reads `NAME=value` lines: comments with `#`, an optional `export`, optional quotes.
fn variables_of_file(text: &str) -> Vec<(String, Secret)> {
    let line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let quoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
        let value = quoted.unwrap_or(value);
        let usable = crate::secret::is_variable(name) && !value.contains('\0');
        usable.then(|| (name.to_owned(), Secret::new(value.to_owned())))
    };
    text.lines().filter_map(line).take(limits::ITEMS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Instances, Origin, ToolFilter};

    fn upstream(kind: Kind) -> UpstreamPlan {
        UpstreamPlan {
            name: "gh".to_owned(),
            origin: Origin::default(),
            kind,
            instances: Instances::Auto,
            timeout_ms: 1,
            start_timeout_ms: 1,
            tools: ToolFilter::default(),
        }
    }

    fn around() -> Surroundings {
        Surroundings { home: Some("/".into()), ..Surroundings::fixture() }
            .with_variable("PATH", "/bin:/usr/bin")
            .with_variable("HIDDEN", "not for children")
            .with_variable("TOKEN", "s3cret")
            .with_variable("BROKEN", "a\r\nX-Evil: 1")
    }

    fn command(program: &str, env: &[(&str, Template)]) -> CommandPlan {
        CommandPlan {
            program: Template::literal(program),
            args: vec![Template::literal("-c")],
            env: env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            env_file: None,
            cwd: None,
            ring: false,
        }
    }

    #[test]
    fn a_child_gets_its_variables_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".env");
        std::fs::write(&file, "# c\nexport A='one two'\nTOKEN=lost\nbad line\n9=x\n").expect("ok");
        let mut plan = command("sh", &[("TOKEN", Template::variable("", "TOKEN"))]);
        plan.env_file = Some(Template::literal(file.display().to_string()));
        let launch = upstream(Kind::Command(plan)).resolve(&around()).expect("resolves");
        assert!(!format!("{launch:?}").contains("s3cret"));
        let Launch::Command(launch) = launch else { panic!("a command") };
        let env: Vec<_> =
            launch.env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(env, [("A", "one two"), ("PATH", "/bin:/usr/bin"), ("TOKEN", "s3cret")]);
        assert_eq!((launch.program, launch.cwd), ("/bin/sh".into(), "/".into()));
    }

    #[test]
    fn what_is_missing_is_named_with_a_remedy() {
        let mut plan = command("npx-none", &[("A", Template::variable("", "NOPE"))]);
        plan.cwd = Some(Template::literal("/nope"));
        let show = |kind: Kind| -> Vec<String> {
            let errors = upstream(kind).resolve(&around()).expect_err("unusable");
            errors.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            show(Kind::Command(plan)),
            [
                "upstream `gh`, `env.A`: the environment variable NOPE is not set; \
                 export NOPE=… before starting kern",
                "upstream `gh`, `cwd`: /nope is no folder; create it",
            ]
        );
        assert_eq!(
            show(Kind::Command(command("uvx-none", &[]))),
            ["upstream `gh`, `command`: there is no program `uvx-none` on PATH; \
              install it or write its whole path"]
        );
        let plan = UrlPlan {
            url: Template::variable("http", "TOKEN"),
            headers: vec![("x".to_owned(), Template::variable("", "BROKEN"))],
            transport: Transport::Auto,
        };
        assert_eq!(
            show(Kind::Url(plan)),
            [
                "upstream `gh`, `url`: a URL starts with `http://` or `https://`; correct the URL",
                "upstream `gh`, `headers.x`: its value holds a control character; \
                 keep it on one line",
            ]
        );
    }
}
