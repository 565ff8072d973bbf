//! The servers the suite judges: the fixture, and `kern` in front of one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::child::{self, Guarded};
use crate::build::{self, Profile};

/// Longest time a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// Which revisions the fixture speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Up to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
    /// All of them.
    Both,
}

impl Era {
    /// The value of the fixture's `--era`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
            Self::Both => "both",
        }
    }

    /// The era of a revision.
    pub(super) fn of(revision: &str) -> Self {
        if revision < "2026" { Self::Legacy } else { Self::Modern }
    }
}

/// Builds and starts the fixture; also its URL.
pub(super) fn fixture(root: &Path, era: Era) -> Result<(Guarded, String), String> {
    let mut command = Command::new(fixture_program(root)?);
    command.args(["--listen", "127.0.0.1:0", "--until-eof", "--era", era.name()]);
    let mut fixture = Guarded::start(command)?;
    let line = fixture.first_line()?;
    let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
    let url = url.ok_or_else(|| format!("the fixture said {line:?} instead of its address"))?;
    Ok((fixture, url))
}

/// A server behind `kern`.
pub(super) enum Behind<'a> {
    /// Over Streamable HTTP.
    Url(&'a str),
    /// The fixture, over a child's stdin and stdout.
    Pipe { program: &'a Path, era: Era },
}

impl Behind<'_> {
    fn configuration(&self) -> String {
        match self {
            Self::Url(url) => format!("[upstream.fixture]\nurl = \"{url}\"\n"),
            Self::Pipe { program, era } => {
                let (program, era) = (program.display(), era.name());
                format!(
                    "[upstream.fixture]\ncommand = '{program}'\n\
                     args = [\"--stdio\", \"--era\", \"{era}\"]\n"
                )
            }
        }
    }
}

/// The fixture, built.
pub(super) fn fixture_program(root: &Path) -> Result<PathBuf, String> {
    build::program(root, "kern-fixture", Profile::Debug)
}

/// Starts `kern` in front of one server; also the URL that shows the server's own names. `out`
/// keeps its configuration and its log, under `name`.
pub(super) fn kern(
    binary: &Path,
    server: &Behind<'_>,
    out: &Path,
    name: &str,
) -> Result<(Guarded, String), String> {
    let config = out.join(format!("{name}.toml"));
    fs::write(&config, server.configuration())
        .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
    let log = out.join(format!("{name}.log"));
    let (mut kern, base) = start(binary, &config, &[], &log)?;
    let url = format!("{base}/mcp/fixture");
    kern.wait_ready(&url, START).map_err(|error| format!("{error}\n{}", child::tail(&log)))?;
    Ok((kern, url))
}

/// Starts `kern serve` on a free port; also where it serves: `http://ADDRESS`.
///
/// # Errors
/// When it cannot be started, and when it says no address within half a minute.
pub(crate) fn start(
    binary: &Path,
    config: &Path,
    options: &[&str],
    log: &Path,
) -> Result<(Guarded, String), String> {
    let mut command = Command::new(binary);
    command.arg("serve").arg("--config").arg(config).args(["--listen", "127.0.0.1:0"]);
    command.args(options);
    let mut kern = Guarded::watch(&command, log)?;
    let deadline = Instant::now() + START;
    loop {
        let told = fs::read_to_string(log).unwrap_or_default();
        let address =
            told.split_once("serving at http://").and_then(|(_, it)| it.split_once("/mcp"));
        if let Some((address, _)) = address {
            return Ok((kern, format!("http://{address}")));
        }
        if kern.ended() || Instant::now() >= deadline {
            return Err(format!("kern says no address\n{}", child::tail(log)));
        }
        sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
