//! `kern serve`: start, say where, follow the files, end in order.

use std::io::{BufReader, IsTerminal as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kern_control::watch::Watcher;
use kern_control::{
    Answer, ConsentRequest, Cores, Driver, Loaded, Overrides, Plan, Surroundings, ask, diff, load,
};
use kern_reactor::driver::Choice;
use kern_reactor::{Cluster, Handle, Held, Listen, Local, Options};
use kern_terms::CoreId;

use super::log;
use super::setup::Setups;
use crate::core::words::Post;
use crate::core::{Core, Start};

/// Longest wait for the cores to say where they listen.
const LISTEN_WAIT: Duration = Duration::from_secs(10);

pub(super) fn run(around: &Surroundings, overrides: &Overrides) -> Result<ExitCode, String> {
    let mut consent = |request: &ConsentRequest| answer(request, overrides.stdio);
    let loaded = load(around, overrides, &mut consent).map_err(|error| error.to_string())?;
    log::start(&loaded.plan.log)?;
    announce(&loaded);
    let mut plan = loaded.plan;
    let cores = core_count(&plan);
    let held = hold_port(&mut plan, cores)?;
    let sources = plan.sources.clone();
    let keeper = keeper();
    let ids: Vec<CoreId> = (0..cores).map(|core| CoreId(core as u8)).collect();
    let mut setups = Setups::default();
    let setup = Arc::new(setups.make(plan.clone(), around, ids.clone(), keeper.clone(), None));

    let (ready, listening) = channel();
    let (stdio_done, stdio_gone) = channel();
    let options = Options { cores, driver: driver(&plan), signals: true, ..Options::default() };
    let listens = listens(&plan, held);
    let expected: usize = ids.iter().map(|core| listens(*core).len()).sum();
    let serves_stdio = plan.serve.stdio;
    let start = move |core: CoreId| {
        Core::new(
            core,
            Start {
                setup: Arc::clone(&setup),
                listen: listens(core),
                stdio: serves_stdio,
                ready: ready.clone(),
                stdio_done: serves_stdio.then(|| stdio_done.clone()),
                pair: Arc::new(Mutex::new(None)),
            },
        )
    };
    let cluster = Cluster::start(options, start)
        .map_err(|error| format!("the event loops cannot be started: {error}"))?;
    let handle = cluster.handle();
    if let Err(why) = say_where(&listening, expected, &plan) {
        handle.stop();
        let _ = cluster.join();
        return Err(why);
    }
    if serves_stdio {
        end_with_stdin(handle.clone(), stdio_gone)?;
    }
    let reload = Reload {
        around: around.clone(),
        overrides: overrides.clone(),
        plan: plan.clone(),
        setups,
        ids,
        keeper,
        handle: handle.clone(),
    };
    let watcher = watch(reload, &sources);
    let ended = cluster.join();
    drop(watcher);
    ended.map_err(|error| error.to_string())?;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// This program, to be run again as the keeper of each child. Linux names the running file itself,
/// so a replaced binary does no harm.
pub(super) fn keeper() -> Option<std::path::PathBuf> {
    match cfg!(target_os = "linux") {
        true => Some("/proc/self/exe".into()),
        false => std::env::current_exe().ok(),
    }
}

/// Puts the question of consent where somebody can answer it.
fn answer(request: &ConsentRequest, stdio: bool) -> Answer {
    if stdio || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Answer::Later;
    }
    let mut input = BufReader::new(std::io::stdin());
    ask(request, &mut input, &mut std::io::stderr()).unwrap_or(Answer::Later)
}

fn announce(loaded: &Loaded) {
    match &loaded.config {
        Some(path) => tracing::info!(config = %path.display(), "configuration"),
        None => tracing::info!(
            servers = loaded.plan.upstreams.len(),
            "no kern.toml: using the servers of this machine's MCP clients"
        ),
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for path in loaded.discovery.awaiting_consent() {
        let path = path.display();
        tracing::warn!("not used until trusted: {path} (kern serve --trust {path})");
    }
    if let Some(error) = &loaded.consent_unsaved {
        tracing::warn!("your answers could not be kept: {error}");
    }
    if loaded.plan.upstreams.is_empty() {
        tracing::warn!("there are no upstreams: declare some in kern.toml, or see `kern discover`");
    }
}

fn core_count(plan: &Plan) -> usize {
    match plan.serve.cores {
        Cores::Exactly(count) => usize::from(count.get()),
        // One client on stdin and stdout can't keep two busy.
        Cores::Auto if plan.serve.listen.is_none() && plan.serve.unix.is_none() => 1,
        // Several cores can listen on one port only where the system has SO_REUSEPORT.
        Cores::Auto if !cfg!(unix) => 1,
        Cores::Auto => std::thread::available_parallelism().map_or(1, usize::from),
    }
    .clamp(1, kern_reactor::limits::CORES_MAX)
}

fn driver(plan: &Plan) -> Choice {
    match plan.serve.driver {
        Driver::Auto => Choice::Auto,
        Driver::Uring => Choice::Uring,
        Driver::Portable => Choice::Portable,
    }
}

/// Several cores share a port, which another process could then share too, and answer what was meant
/// for this one. So it is taken for this process alone first. Port 0 means any: chosen once.
fn hold_port(plan: &mut Plan, cores: usize) -> Result<Option<Held>, String> {
    let Some(address) = plan.serve.listen.filter(|_| cores > 1) else { return Ok(None) };
    let held = Held::take(address)
        .map_err(|error| cannot_listen(&format!("cannot listen on {address}: {error}")))?;
    plan.serve.listen = Some(held.address());
    Ok(Some(held))
}

/// Where each core listens: TCP on all of them, Unix sockets on the first.
fn listens(
    plan: &Plan,
    held: Option<Held>,
) -> impl Fn(CoreId) -> Vec<Listen> + Send + Sync + Clone + use<> {
    let (address, unix) = (plan.serve.listen, plan.serve.unix.clone());
    let ring = plan.serve.ring.clone();
    let shared = core_count(plan) > 1;
    move |core| {
        let first = core.0 == 0;
        let tcp = match held.clone().filter(|_| first) {
            Some(held) => Some(Listen::Held(held)),
            None => address.map(|address| Listen::Tcp { address, shared }),
        };
        let unix = unix.clone().filter(|_| first).map(Listen::Unix);
        let ring = ring.clone().filter(|_| first).map(Listen::Ring);
        tcp.into_iter().chain(unix).chain(ring).collect()
    }
}

fn cannot_listen(why: &str) -> String {
    match why.contains("in use") {
        true => format!("{why}; another kern may run there: choose --listen"),
        false => why.to_owned(),
    }
}

fn say_where(
    listening: &Receiver<Result<Local, String>>,
    expected: usize,
    plan: &Plan,
) -> Result<(), String> {
    let mut said = Vec::new();
    for _ in 0..expected {
        let local = listening
            .recv_timeout(LISTEN_WAIT)
            .map_err(|_| "the event loops do not say where they listen".to_owned())?
            .map_err(|why| cannot_listen(&why))?;
        if !said.contains(&local) {
            match &local {
                Local::Tcp(address) => {
                    tracing::info!("serving at http://{address}/mcp");
                    if !address.ip().is_loopback() {
                        tracing::warn!(
                            "{address} can be reached from other machines, and nobody is asked \
                             who they are"
                        );
                    }
                }
                Local::Unix(path) => tracing::info!("serving at {}", path.display()),
                Local::Ring(path) => tracing::info!("handing out rings at {}", path.display()),
                Local::Simulated(_) => {}
            }
            said.push(local);
        }
    }
    if plan.serve.stdio {
        tracing::info!("serving on stdin and stdout");
    } else if expected == 0 {
        return Err("nowhere to serve: give --listen, --unix, --ring or --stdio".into());
    }
    Ok(())
}

/// A process that serves one client ends with it.
fn end_with_stdin(handle: Handle<Post>, gone: Receiver<()>) -> Result<(), String> {
    let wait = move || {
        // Either it left, or the cores ended before it.
        if gone.recv().is_ok() {
            handle.stop();
        }
    };
    let thread = std::thread::Builder::new().name("kern-stdio".into());
    thread.spawn(wait).map(drop).map_err(|error| format!("no thread can be started: {error}"))
}

/// What a reload needs.
struct Reload {
    around: Surroundings,
    overrides: Overrides,
    plan: Plan,
    setups: Setups,
    ids: Vec<CoreId>,
    keeper: Option<std::path::PathBuf>,
    handle: Handle<Post>,
}

impl Reload {
    /// Reads the files again and brings the cores in line, whole or not at all.
    fn run(&mut self) -> Option<Vec<kern_control::SourceFile>> {
        let loaded = match load(&self.around, &self.overrides, &mut |_| Answer::Later) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("the changed configuration is not used:\n{error}");
                return None;
            }
        };
        let mut plan = loaded.plan;
        // What only a new start can change stays as it is.
        let fixed = |plan: &Plan| {
            let serve = &plan.serve;
            (serve.unix.clone(), serve.ring.clone(), serve.cores, serve.driver)
        };
        if fixed(&plan) != fixed(&self.plan) {
            tracing::warn!("unix, ring, cores and driver of [serve] change with the next start");
        }
        let mut serve = self.plan.serve.clone();
        serve.allowed_hosts = plan.serve.allowed_hosts.clone();
        serve.allowed_origins = plan.serve.allowed_origins.clone();
        plan.serve = serve;
        let changes = diff(&self.plan, &plan);
        let sources = plan.sources.clone();
        if plan.fingerprint() != self.plan.fingerprint() {
            tracing::info!(
                added = changes.added.len(),
                removed = changes.removed.len(),
                changed = changes.changed.len(),
                unchanged = changes.unchanged.len(),
                "configuration reloaded"
            );
            let (ids, keeper) = (self.ids.clone(), self.keeper.clone());
            let setup = Arc::new(self.setups.make(plan.clone(), &self.around, ids, keeper, None));
            self.handle.post_all(|| Post::Setup(Arc::clone(&setup)));
            self.plan = plan;
        }
        Some(sources)
    }
}

fn watch(reload: Reload, sources: &[kern_control::SourceFile]) -> Option<Watcher> {
    let reload = Arc::new(Mutex::new(reload));
    let at_start = Arc::clone(&reload);
    let run = |reload: &Mutex<Reload>| {
        reload.lock().unwrap_or_else(std::sync::PoisonError::into_inner).run()
    };
    match Watcher::new(sources, move |_| run(&reload)) {
        Ok(watcher) => {
            // The files may have changed between their being read and their being watched.
            if let Some(sources) = run(&at_start) {
                watcher.watch(&sources);
            }
            Some(watcher)
        }
        Err(error) => {
            tracing::warn!("{error}: changes need a restart");
            None
        }
    }
}
