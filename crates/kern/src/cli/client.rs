//! Whom a client verb talks to: a running `kern`, one of its upstreams, or any server directly.
//!
//! There is one way for all of them: an event loop within this process, with the server as its only
//! upstream, so every transport and every revision that `kern serve` speaks works here too. What is
//! read here comes from the command line; the conversation is in `client_talk`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kern_control::{
    CommandPlan, Endpoint, Instances, Kind, Origin, ServePlan, Surroundings, Template, ToolFilter,
    Transport, UpstreamPlan, UrlPlan,
};

use super::client_talk::{Client, Failure};
use super::show::Ticker;
use super::status;

/// Name of the only upstream of the event loop in this process.
const NAME: &str = "server";
/// How often a running kern is asked whether its servers have started.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Flags that say whom to talk to, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TargetArgs {
    /// Address of a running kern. Default: $KERN_URL, else http://127.0.0.1:7331.
    #[arg(long, value_name = "URL", conflicts_with = "unix")]
    url: Option<String>,
    /// Unix socket of a running kern.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Socket at which a running kern hands out shared-memory rings (Linux). A ring serves all
    /// upstreams at once.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "unix"])]
    ring: Option<PathBuf>,
    /// Send this header with every HTTP request; may be given several times.
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Longest wait for an answer, and for a server to start, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Print the result as JSON, as the server wrote it.
    #[arg(long)]
    pub(super) json: bool,
    /// Start this server and talk to it.
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["url", "unix", "ring"])]
    command: Vec<String>,
}

/// Whom to talk to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    place: Place,
    /// The upstream of a running kern.
    pub(super) upstream: Option<String>,
    headers: Vec<(String, String)>,
    timeout_ms: u64,
}

#[derive(Clone, Debug)]
enum Place {
    /// A running kern, at this address without a path.
    Kern(String),
    /// A running kern, on a Unix socket.
    Unix(PathBuf),
    /// A running kern, through a ring that is handed out there.
    Ring(PathBuf),
    /// Any server behind a URL.
    Server(String),
    /// A server to be started.
    Command(Vec<String>),
}

impl TargetArgs {
    /// Whom to talk to; `first` is a word of the command line that may be an upstream's name or a
    /// URL.
    pub(super) fn target(
        &self,
        around: &Surroundings,
        first: Option<String>,
    ) -> Result<Target, Failure> {
        let headers = self.header.iter().map(|text| header(text)).collect::<Result<_, _>>()?;
        let (place, upstream) = match first {
            Some(url) if is_url(&url) => (Place::Server(checked(&url)?), None),
            _ if !self.command.is_empty() => (Place::Command(self.command.clone()), None),
            Some(word) if self.ring.is_some() => {
                return Err(Failure::usage(format!(
                    "`{word}` is one word too many: a ring serves all upstreams at once, and \
                     `kern ls --ring PATH` says what its tools are called"
                )));
            }
            upstream => (self.kern(around)?, upstream),
        };
        Ok(Target { place, upstream, headers, timeout_ms: self.timeout * 1_000 })
    }

    /// Whether the words name no upstream, because the target is told after `--`.
    pub(super) fn starts_a_server(&self) -> bool {
        !self.command.is_empty()
    }

    fn kern(&self, around: &Surroundings) -> Result<Place, Failure> {
        if let Some(path) = &self.ring {
            return Ok(Place::Ring(around.cwd.join(path)));
        }
        if let Some(path) = &self.unix {
            return Ok(Place::Unix(around.cwd.join(path)));
        }
        let url = match self.url.as_deref().or_else(|| around.variable("KERN_URL")) {
            Some(url) if url.contains("://") => checked(url)?,
            Some(address) => checked(&format!("http://{address}"))?,
            None => format!("http://{}", ServePlan::LISTEN_DEFAULT),
        };
        // A person may give the address that clients are given.
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/mcp").unwrap_or(base);
        Ok(Place::Kern(base.to_owned()))
    }
}

pub(super) fn is_url(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}

fn checked(url: &str) -> Result<String, Failure> {
    match Endpoint::parse(url) {
        Ok(_) => Ok(url.to_owned()),
        Err(error) => Err(Failure::usage(format!("{url}: {error}"))),
    }
}

fn header(text: &str) -> Result<(String, String), Failure> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(Failure::usage(format!("the header {text:?} is not written as \"NAME: VALUE\""))),
    }
}

impl Target {
    /// Opens the conversation.
    pub(super) fn open(&self, around: &Surroundings) -> Result<Client, Failure> {
        if let Place::Ring(path) = &self.place {
            return Client::ring(path, self.to_string(), self.timeout_ms);
        }
        self.wait_for_upstreams()?;
        self.look_first()?;
        let unix = match &self.place {
            Place::Unix(path) => Some(path.clone()),
            _ => None,
        };
        Client::start(around, self.plan(around), unix, self.to_string(), self.timeout_ms)
    }

    /// What a running kern says of itself; `None` for other servers.
    ///
    /// # Errors
    /// Nothing listens there.
    pub(super) fn status(&self) -> Result<Option<status::Status>, Failure> {
        match &self.place {
            Place::Kern(base) => status::fetch_http(base),
            Place::Unix(path) => status::fetch_unix(path),
            Place::Ring(_) | Place::Server(_) | Place::Command(_) => Ok(None),
        }
    }

    /// A running kern may have started a moment ago: its servers get their time, or a list would be
    /// shorter than it is a moment later.
    fn wait_for_upstreams(&self) -> Result<(), Failure> {
        let since = Instant::now();
        let mut ticker = Ticker::default();
        while let Some(status) = self.status()? {
            let starting: Vec<&str> = status
                .upstreams
                .iter()
                .filter(|upstream| upstream.state == "starting")
                .map(|upstream| upstream.name.as_str())
                .filter(|name| self.upstream.as_deref().is_none_or(|wanted| wanted == *name))
                .collect();
            if starting.is_empty() || since.elapsed() >= Duration::from_millis(self.timeout_ms) {
                break;
            }
            ticker.wait(&starting.join(", "), since.elapsed());
            std::thread::sleep(LOOK_EVERY);
        }
        ticker.clear();
        Ok(())
    }

    /// Says at once what would otherwise be found out by waiting: that nothing listens, that there
    /// is no such upstream, that it is down.
    fn look_first(&self) -> Result<(), Failure> {
        let Some(status) = self.status()? else { return Ok(()) };
        let Some(name) = &self.upstream else { return Ok(()) };
        match status.upstreams.iter().find(|upstream| upstream.name == *name) {
            Some(upstream) if upstream.state == "down" => {
                let why = upstream.why.as_deref().unwrap_or("no reason is known");
                Err(Failure::other(format!("upstream `{name}` is down: {why}")))
            }
            Some(_) => Ok(()),
            None => {
                let known: Vec<&str> = status.upstreams.iter().map(|it| it.name.as_str()).collect();
                Err(Failure::usage(super::show::unknown("upstream", name, &known)))
            }
        }
    }

    fn plan(&self, around: &Surroundings) -> UpstreamPlan {
        let path = match &self.upstream {
            Some(name) => format!("/mcp/{name}"),
            None => "/mcp".to_owned(),
        };
        let kind = match &self.place {
            Place::Kern(base) => self.url(format!("{base}{path}")),
            // The host only fills the `Host` header.
            Place::Unix(_) | Place::Ring(_) => self.url(format!("http://localhost{path}")),
            Place::Server(url) => self.url(url.clone()),
            Place::Command(words) => command(words, around),
        };
        UpstreamPlan {
            name: NAME.to_owned(),
            origin: Origin::default(),
            kind,
            instances: Instances::Shared,
            timeout_ms: self.timeout_ms,
            start_timeout_ms: self.timeout_ms,
            tools: ToolFilter::default(),
        }
    }

    fn url(&self, url: String) -> Kind {
        let headers = self.headers.iter();
        Kind::Url(UrlPlan {
            url: Template::literal(url),
            headers: headers
                .map(|(name, value)| (name.clone(), Template::literal(value)))
                .collect(),
            transport: Transport::Auto,
        })
    }

    /// The words with which a person reaches the same target in another verb.
    pub(super) fn words(&self) -> String {
        match (&self.place, &self.upstream) {
            (_, Some(upstream)) => upstream.clone(),
            (Place::Server(url), None) => url.clone(),
            (Place::Command(words), None) => format!("-- {}", words.join(" ")),
            (Place::Ring(path), None) => format!("--ring {}", path.display()),
            (Place::Kern(_) | Place::Unix(_), None) => String::new(),
        }
    }
}

/// A server started from a shell sees what the shell's commands see.
fn command(words: &[String], around: &Surroundings) -> Kind {
    let env = around.env.iter();
    Kind::Command(CommandPlan {
        program: Template::literal(words.first().map_or("", String::as_str)),
        args: words.iter().skip(1).map(Template::literal).collect(),
        env: env.map(|(name, value)| (name.clone(), Template::literal(value))).collect(),
        env_file: None,
        cwd: Some(Template::literal(around.cwd.display().to_string())),
        ring: false,
    })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(upstream) = &self.upstream {
            return write!(f, "upstream `{upstream}`");
        }
        match &self.place {
            Place::Kern(url) | Place::Server(url) => f.write_str(url),
            Place::Unix(path) | Place::Ring(path) => write!(f, "{}", path.display()),
            Place::Command(words) => write!(f, "`{}`", words.join(" ")),
        }
    }
}
