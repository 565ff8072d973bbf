//! From the command line and the files to one plan.
//!
//! Invariants: whole or not at all: a plan, or an error that leaves the one in use untouched; the
//! command line wins over `kern.toml`, which wins over the clients' files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::config::{Clients, Config, DiscoverPlan, parse_config, parse_listen};
use crate::consent::{Answer, ConsentRequest, ConsentStore};
use crate::discover::{DiscoverOptions, Discovery, FileState, discover};
use crate::error::{Error, Problem};
use crate::limits::CONFIG_BYTES_MAX;
use crate::plan::{Cores, Driver, Plan, SourceFile};
use crate::surroundings::{Os, ReadError, Surroundings, read_bounded};

/// An address given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Listen here.
    At(SocketAddr),
    /// Do not listen on TCP.
    Off,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        parse_listen(text).map(Self::At)
    }
}

/// What the command line says. `Default` is an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<Listen>,
    /// `--stdio`.
    pub stdio: bool,
    /// `--unix`.
    pub unix: Option<PathBuf>,
    /// `--ring`.
    pub ring: Option<PathBuf>,
    /// `--cores`.
    pub cores: Option<Cores>,
    /// `--driver`.
    pub driver: Option<Driver>,
    /// `--trust`, each a project's file or folder.
    pub trust: Vec<PathBuf>,
}

/// A plan and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What to do.
    pub plan: Plan,
    /// The `kern.toml` that was read.
    pub config: Option<PathBuf>,
    /// What the clients' files declare.
    pub discovery: Discovery,
    /// What is allowed but unwise, in `kern.toml`.
    pub warnings: Vec<Problem>,
    /// Why the answers about project files could not be kept, if so. They hold for this run.
    pub consent_unsaved: Option<Error>,
}

/// Where `kern.toml` is sought when the command line names none: the user's own settings folder.
/// A file in the current folder is not taken: it could be anybody's.
pub fn default_config_path(around: &Surroundings) -> Option<PathBuf> {
    let folder = match around.os {
        Os::Windows => around.app_config(),
        Os::Linux | Os::MacOs => around.xdg_config(),
    };
    Some(folder?.join("kern").join("kern.toml"))
}

/// Reads everything. For a reload, pass an `ask` that answers [`Answer::Later`].
///
/// # Errors
/// A `kern.toml` that was named cannot be read, or says what it may not: every problem in it.
/// Faults in the clients' files are no errors; they are in [`Loaded::discovery`].
pub fn load(
    around: &Surroundings,
    overrides: &Overrides,
    ask: &mut dyn FnMut(&ConsentRequest) -> Answer,
) -> Result<Loaded, Error> {
    let (path, config) = configuration(around, overrides.config.as_deref())?;
    let found = config.is_some();
    let config = config.unwrap_or_else(|| Config {
        discover: DiscoverPlan { clients: Clients::All, project: true, skip: Vec::new() },
        ..Config::default()
    });
    let mut plan = config.plan;
    apply(around, overrides, &mut plan);
    let trust: Vec<PathBuf> = overrides.trust.iter().map(|path| absolute(around, path)).collect();
    let options = DiscoverOptions {
        plan: &config.discover,
        listen: plan.serve.listen,
        configured: &plan.upstreams,
        limits: &plan.limits,
        trust: &trust,
    };
    let mut store = ConsentStore::open(around);
    let before = store.clone();
    let (discovery, upstreams) = discover(around, &options, &mut store, ask);
    let consent_unsaved = if store == before { None } else { store.save().err() };
    plan.upstreams.extend(upstreams);
    plan.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    plan.sources = sources(path.as_deref(), found, &config.discover, &discovery);
    Ok(Loaded {
        plan,
        config: path.filter(|_| found),
        discovery,
        warnings: config.warnings,
        consent_unsaved,
    })
}

/// The path that counts, and its content unless it is the default one and absent.
fn configuration(
    around: &Surroundings,
    named: Option<&Path>,
) -> Result<(Option<PathBuf>, Option<Config>), Error> {
    let path = match named {
        Some(path) => absolute(around, path),
        None => match default_config_path(around) {
            Some(path) => path,
            None => return Ok((None, None)),
        },
    };
    let text = match read_bounded(&path, CONFIG_BYTES_MAX) {
        Ok(text) => text,
        Err(ReadError::Absent) if named.is_none() => return Ok((Some(path), None)),
        Err(error) => return Err(Error::File { path, why: error.to_string() }),
    };
    let config = parse_config(&text, &path, around.home.as_deref()).map_err(Error::Problems)?;
    Ok((Some(path), Some(config)))
}

/// `path` seen from the current folder, with `.` and `..` resolved as text where it does not
/// exist, by the system where it does.
fn absolute(around: &Surroundings, path: &Path) -> PathBuf {
    let joined = around.cwd.join(path);
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            _ => clean.push(part),
        }
    }
    clean
}

fn apply(around: &Surroundings, overrides: &Overrides, plan: &mut Plan) {
    let serve = &mut plan.serve;
    serve.stdio = overrides.stdio;
    match overrides.listen {
        Some(Listen::At(address)) => serve.listen = Some(address),
        Some(Listen::Off) => serve.listen = None,
        // A client that starts kern for itself may be one of several: only the first could have
        // the port.
        None if overrides.stdio => serve.listen = None,
        None => {}
    }
    match &overrides.unix {
        Some(path) => serve.unix = Some(absolute(around, path)),
        None if overrides.stdio => serve.unix = None,
        None => {}
    }
    match &overrides.ring {
        Some(path) => serve.ring = Some(absolute(around, path)),
        None if overrides.stdio => serve.ring = None,
        None => {}
    }
    serve.cores = overrides.cores.unwrap_or(serve.cores);
    serve.driver = overrides.driver.unwrap_or(serve.driver);
}

/// What to watch: `kern.toml`, and the clients' files where they count.
fn sources(
    config: Option<&Path>,
    found: bool,
    plan: &DiscoverPlan,
    discovery: &Discovery,
) -> Vec<SourceFile> {
    let own = config.map(|path| SourceFile { path: path.to_owned(), present: found });
    let counts = |client| match &plan.clients {
        Clients::All => true,
        Clients::None => false,
        Clients::Only(clients) => clients.contains(&client),
    };
    let theirs = discovery.files.iter().filter(|file| counts(file.client)).map(|file| {
        let present = file.state != FileState::Absent;
        SourceFile { path: file.path.clone(), present }
    });
    let mut sources: Vec<_> = own.into_iter().chain(theirs).collect();
    sources.sort();
    sources.dedup();
    sources
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::plan::ServePlan;

    fn world() -> (tempfile::TempDir, Surroundings) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        let cwd = home.join("proj");
        fs::create_dir_all(&cwd).expect("created");
        let around = Surroundings {
            home: Some(home),
            cwd,
            system_root: folder.path().to_owned(),
            ..Surroundings::fixture()
        };
        (folder, around)
    }

    fn write(around: &Surroundings, path: &str, text: &str) {
        let path = around.cwd.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn names(loaded: &Loaded) -> Vec<&str> {
        loaded.plan.upstreams.iter().map(|upstream| upstream.name.as_str()).collect()
    }

    fn later(_: &ConsentRequest) -> Answer {
        Answer::Later
    }

    #[test]
    fn without_configuration_the_users_own_servers_are_used() {
        let (_folder, around) = world();
        let empty = load(&around, &Overrides::default(), &mut later).expect("loads");
        assert_eq!((empty.plan.serve.clone(), names(&empty).len()), (ServePlan::default(), 0));
        assert!(empty.plan.sources.iter().all(|source| !source.present));
        write(&around, "../.cursor/mcp.json", r#"{"mcpServers":{"a":{"command":"a"}}}"#);
        write(&around, ".mcp.json", r#"{"mcpServers":{"p":{"command":"p"}}}"#);
        let loaded = load(&around, &Overrides::default(), &mut later).expect("loads");
        assert_eq!(names(&loaded), ["a"]);
        let trusting =
            Overrides { trust: vec![PathBuf::from("../proj/.mcp.json")], ..Overrides::default() };
        let loaded = load(&around, &trusting, &mut later).expect("loads");
        assert_eq!((names(&loaded), loaded.consent_unsaved.clone()), (vec!["a", "p"], None));
        let loaded = load(&around, &Overrides::default(), &mut later).expect("loads");
        assert_eq!(names(&loaded), ["a", "p"]);
    }

    #[test]
    fn a_configuration_counts_alone_unless_it_says_otherwise() {
        let (_folder, around) = world();
        write(&around, "../.cursor/mcp.json", r#"{"mcpServers":{"a":{"command":"a"}}}"#);
        write(&around, "kern.toml", "[upstream.mine]\nbuiltin = \"echo\"\n");
        let none = load(&around, &Overrides::default(), &mut later).expect("loads");
        assert_eq!(names(&none), ["a"], "a file of the current folder is not taken unasked");
        let named = Overrides { config: Some(PathBuf::from("kern.toml")), ..Overrides::default() };
        let loaded = load(&around, &named, &mut later).expect("loads");
        assert_eq!(names(&loaded), ["mine"]);
        assert_eq!(loaded.config, Some(around.cwd.join("kern.toml")));
        assert_eq!(loaded.plan.sources.len(), 1);
        let text = "[upstream.mine]\nbuiltin = \"echo\"\n[discover]\nclients = true\n";
        write(&around, "../.config/kern/kern.toml", text);
        let loaded = load(&around, &Overrides::default(), &mut later).expect("loads");
        assert_eq!(names(&loaded), ["a", "mine"]);
    }

    #[test]
    fn a_configuration_that_was_named_must_be_there_and_right() {
        let (_folder, around) = world();
        let named = Overrides { config: Some(PathBuf::from("no.toml")), ..Overrides::default() };
        let error = load(&around, &named, &mut later).expect_err("absent");
        assert!(error.to_string().ends_with("no.toml: there is no such file"), "{error}");
        write(&around, "no.toml", "[serv]\n[logs]\n");
        let Err(Error::Problems(problems)) = load(&around, &named, &mut later) else {
            panic!("problems")
        };
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn the_command_line_wins() {
        let (_folder, around) = world();
        let text = "[serve]\nlisten = \"127.0.0.1:1\"\nunix = \"s\"\ncores = 2\ndriver = \"uring\"";
        write(&around, "k.toml", text);
        let config = Some(PathBuf::from("k.toml"));
        let serve = |overrides: Overrides| {
            let overrides = Overrides { config: config.clone(), ..overrides };
            load(&around, &overrides, &mut later).expect("loads").plan.serve
        };
        assert_eq!(serve(Overrides::default()).listen, "127.0.0.1:1".parse().ok());
        let stdio = serve(Overrides { stdio: true, ..Overrides::default() });
        assert_eq!((stdio.listen, stdio.unix, stdio.stdio), (None, None, true));
        let all = serve(Overrides {
            listen: ":9".parse().ok(),
            stdio: true,
            unix: Some(PathBuf::from("x/../u")),
            cores: "auto".parse().ok(),
            driver: "portable".parse().ok(),
            ..Overrides::default()
        });
        assert_eq!((all.listen, all.cores), ("127.0.0.1:9".parse().ok(), Cores::Auto));
        assert_eq!((all.unix, all.driver), (Some(around.cwd.join("u")), Driver::Portable));
        assert_eq!(
            serve(Overrides { listen: Some(Listen::Off), ..Overrides::default() }).listen,
            None
        );
    }
}
