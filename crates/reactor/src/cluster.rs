//! How are cores started, added, retired and waited for?
//!
//! Invariants: a core's driver and app are made on the core's own thread; every core of the first
//! set knows all others before any app starts; a thread that ends took its core out of the
//! directory.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kern_terms::CoreId;
use rustls::pki_types::CertificateDer;

use crate::driver::{self, Choice};
use crate::errands::Errands;
use crate::event::App;
use crate::lanes::{Directory, Envelope};
use crate::limits::CORES_MAX;
use crate::turn::Core;
use crate::watchdog;

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many cores to start with, 1 to [`CORES_MAX`].
    pub cores: usize,
    /// What lies below them.
    pub driver: Choice,
    /// Whether each thread stays on one processor.
    pub pin: bool,
    /// Whether the first core's app sees SIGHUP, SIGINT and SIGTERM instead of their ending the
    /// process.
    pub signals: bool,
    /// Certificates (DER) trusted for TLS besides the system's.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Default for Options {
    fn default() -> Self {
        let (driver, roots) = (Choice::Auto, Vec::new());
        Self { cores: 1, driver, pin: false, signals: false, roots }
    }
}

/// Starts the thread of one core; the thread waits for `go` after it told of itself.
type Spawn = dyn Fn(CoreId, bool) -> io::Result<Launch> + Send + Sync;

/// A core thread that is ready to go.
struct Launch {
    thread: JoinHandle<io::Result<()>>,
    ready: Receiver<io::Result<()>>,
    go: Sender<()>,
}

impl Launch {
    fn ready(&self) -> io::Result<()> {
        match self.ready.recv() {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("a core's thread panicked as it started")),
        }
    }
}

struct Shared<P> {
    directory: Arc<Directory<P>>,
    spawn: Box<Spawn>,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
    /// Held while cores are added, so that no number is given twice.
    adding: Mutex<()>,
}

/// A running cluster. Dropping it does not stop it; see [`Handle::stop`].
pub struct Cluster<P: Send + 'static> {
    shared: Arc<Shared<P>>,
}

/// A way to the cores from any thread.
pub struct Handle<P> {
    shared: Arc<Shared<P>>,
}

impl<P> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Send + 'static> Cluster<P> {
    /// Starts the cores; `make` makes each one's app on its own thread.
    ///
    /// # Errors
    /// If a thread or a driver cannot be made; no core runs then.
    pub fn start<A>(
        options: Options,
        make: impl Fn(CoreId) -> A + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        A: App<Post = P> + 'static,
    {
        if !(1..=CORES_MAX).contains(&options.cores) {
            let text = format!("{} cores: 1 to {CORES_MAX} are possible", options.cores);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        driver::raise_descriptor_limit();
        let directory = Directory::with_roots(Errands::threads(), options.roots.clone());
        let cores = options.cores;
        let spawn = spawner(Arc::clone(&directory), options, Arc::new(make));
        let shared = Arc::new(Shared {
            directory,
            spawn: Box::new(spawn),
            threads: Mutex::new(Vec::new()),
            adding: Mutex::new(()),
        });
        let launches: Vec<_> =
            (0..cores).map(|slot| shared.launch(slot)).collect::<io::Result<_>>()?;
        for launch in &launches {
            launch.ready()?;
        }
        for launch in launches {
            shared.go(launch);
        }
        watchdog::start(Arc::clone(&shared.directory))?;
        Ok(Self { shared })
    }

    /// A handle to it.
    pub fn handle(&self) -> Handle<P> {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Waits until all cores have ended, those added meanwhile included.
    ///
    /// # Errors
    /// If a core panicked or its driver could not go on.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            let thread = self.shared.threads.lock().expect("holders do not panic").pop();
            let Some(thread) = thread else { break };
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a core panicked")));
            result = result.and(ended);
        }
        driver::drain_stdio(STDIO_DRAIN);
        result
    }
}

/// How long the end of the process may wait for a slow reader of its output.
const STDIO_DRAIN: Duration = Duration::from_secs(2);

impl<P: Send + 'static> Handle<P> {
    /// Sends to a core. May wait where that core's inbox is full. False if the core is not there.
    pub fn post(&self, core: CoreId, message: P) -> bool {
        self.deliver(core, Envelope::Post { from: None, message })
    }

    /// Sends to every core.
    pub fn post_all(&self, mut message: impl FnMut() -> P) {
        for core in self.cores() {
            self.post(core, message());
        }
    }

    /// The cores that run.
    pub fn cores(&self) -> Vec<CoreId> {
        self.shared.directory.cores()
    }

    /// Asks a core to end. False if the core is not there.
    pub fn retire(&self, core: CoreId) -> bool {
        self.deliver(core, Envelope::Retire)
    }

    /// Asks all cores to end.
    pub fn stop(&self) {
        for core in self.cores() {
            self.retire(core);
        }
    }

    /// Starts one more core, with the lowest number free.
    ///
    /// # Errors
    /// If its thread or driver cannot be made, or there are [`CORES_MAX`] already.
    pub fn add_core(&self) -> io::Result<CoreId> {
        let _one_at_a_time = self.shared.adding.lock().expect("holders do not panic");
        let cores = self.cores();
        let free =
            (0..CORES_MAX).find(|slot| cores.iter().all(|core| usize::from(core.0) != *slot));
        let slot =
            free.ok_or_else(|| io::Error::other(format!("{CORES_MAX} cores run already")))?;
        let launch = self.shared.launch(slot)?;
        launch.ready()?;
        self.shared.go(launch);
        Ok(core_id(slot))
    }

    fn deliver(&self, core: CoreId, envelope: Envelope<P>) -> bool {
        self.shared.directory.lane(core).is_some_and(|lane| lane.deliver(envelope))
    }
}

fn core_id(slot: usize) -> CoreId {
    CoreId(u8::try_from(slot).expect("fewer than 128 cores"))
}

impl<P> Shared<P> {
    fn launch(&self, slot: usize) -> io::Result<Launch> {
        let first = self.directory.cores().is_empty() && slot == 0;
        (self.spawn)(core_id(slot), first)
    }

    fn go(&self, launch: Launch) {
        // Fails only where the thread is gone, which joining it tells.
        let _ = launch.go.send(());
        self.threads.lock().expect("holders do not panic").push(launch.thread);
    }
}

fn spawner<A>(
    directory: Arc<Directory<A::Post>>,
    options: Options,
    make: Arc<impl Fn(CoreId) -> A + Send + Sync + 'static>,
) -> impl Fn(CoreId, bool) -> io::Result<Launch> + Send + Sync
where
    A: App + 'static,
{
    move |id, first| {
        let (directory, make) = (Arc::clone(&directory), Arc::clone(&make));
        let (tell, ready) = channel();
        let (go, wait) = channel();
        let (choice, pin) = (options.driver, options.pin);
        let signals = options.signals && first;
        let thread =
            std::thread::Builder::new().name(format!("kern-core-{id}")).spawn(move || {
                let made = driver::choose(choice).and_then(|driver| {
                    if pin {
                        driver::pin_thread(id);
                    }
                    let mut core = Core::new(id, driver, directory, make(id));
                    if signals {
                        core.watch_signals()?;
                    }
                    Ok(core)
                });
                let (result, core) = match made {
                    Ok(core) => (Ok(()), Some(core)),
                    Err(error) => (Err(error), None),
                };
                // The starter gave up where either channel is closed.
                if tell.send(result).is_err() || wait.recv().is_err() {
                    return Ok(());
                }
                let result = core.map_or(Ok(()), |mut core| core.run());
                if let Err(error) = &result {
                    tracing::error!(core = %id, %error, "a core cannot go on");
                }
                result
            })?;
        Ok(Launch { thread, ready, go })
    }
}
