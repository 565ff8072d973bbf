//! How do cores, errands and outside threads reach a core?
//!
//! Each core has a [`Lane`]: a bounded lock-free inbox and a way to wake it. A [`Directory`] lists
//! the lanes; its lock is taken only when a core comes or goes and by threads outside.
//!
//! Invariants: what one sender posts to one core arrives in order; a core that sleeps is woken once
//! for however many posts (see `sleeping`); a full inbox never makes a core wait, the rest stays on
//! the sender's side.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use kern_terms::{CoreId, Key};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::driver::{Address, Socket, Wake};
use crate::errands::Errands;
use crate::event::{Local, Peer};
use crate::limits::{CORES_MAX, INBOX_LEN};
use crate::watchdog::TurnCell;

/// What travels on a lane.
pub(crate) enum Envelope<P> {
    /// For the app.
    Post { from: Option<CoreId>, message: P },
    /// A connection this core shall keep, accepted by the listener at `local` of core `from`.
    Socket { from: CoreId, local: Local, socket: Socket, peer: Peer },
    /// The addresses of the name a stream of this core is to be connected to.
    Resolved { stream: Key, result: io::Result<Vec<Address>> },
    /// [`Event::Retire`](crate::Event::Retire).
    Retire,
    /// This core is the first now: signals are its to see.
    WatchSignals,
}

/// The way to one core.
pub(crate) struct Lane<P> {
    pub(crate) core: CoreId,
    inbox: ArrayQueue<Envelope<P>>,
    /// Set by the core before it looks at its inbox for the last time and goes to sleep. The sender
    /// that clears it wakes the core.
    sleeping: AtomicBool,
    /// The core has ended and takes nothing any more.
    gone: AtomicBool,
    waker: Arc<dyn Wake>,
    /// Accepted connections open here or on their way here.
    pub(crate) connections: AtomicUsize,
    pub(crate) turn: TurnCell,
}

impl<P> Lane<P> {
    /// The lane of a core whose driver is woken by `waker`.
    pub(crate) fn new(core: CoreId, waker: Arc<dyn Wake>) -> Self {
        Self {
            core,
            inbox: ArrayQueue::new(INBOX_LEN),
            sleeping: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            waker,
            connections: AtomicUsize::new(0),
            turn: TurnCell::default(),
        }
    }

    /// Puts one envelope in, without waking; gives it back where the inbox is full.
    pub(crate) fn push(&self, envelope: Envelope<P>) -> Result<(), Envelope<P>> {
        self.inbox.push(envelope)
    }

    /// Wakes the core if it sleeps or is about to. Call after pushing.
    pub(crate) fn wake(&self) {
        // SYNC POINT with `prepare_sleep`: either this sees `sleeping`, or the core, which looks
        // after its own fence, sees what was pushed before this one.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    /// Says that the core is about to sleep; false if it must not, because something came.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        // SYNC POINT with `wake`.
        fence(Ordering::SeqCst);
        self.inbox.is_empty()
    }

    /// Says that the core is awake.
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Takes the next envelope out.
    pub(crate) fn pop(&self) -> Option<Envelope<P>> {
        self.inbox.pop()
    }

    /// Envelopes in the inbox.
    pub(crate) fn depth(&self) -> usize {
        self.inbox.len()
    }

    /// Whether the core has ended.
    pub(crate) fn is_gone(&self) -> bool {
        // SYNC POINT with `leave`; what was pushed later than it is lost, like a post to nobody.
        self.gone.load(Ordering::Acquire)
    }

    /// Says that the core has ended.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Puts one envelope in from a thread that may wait for room. False if the core is gone.
    pub(crate) fn deliver(&self, mut envelope: Envelope<P>) -> bool {
        loop {
            if self.is_gone() {
                return false;
            }
            match self.push(envelope) {
                Ok(()) => break,
                Err(back) => envelope = back,
            }
            self.wake();
            std::thread::sleep(Duration::from_micros(100));
        }
        self.wake();
        true
    }
}

/// Lanes by core number.
pub(crate) type Lanes<P> = Arc<Vec<Option<Arc<Lane<P>>>>>;

/// The cores of one process (or of one simulated world), known to all of them.
pub struct Directory<P> {
    lanes: Mutex<Lanes<P>>,
    /// Counts changes of `lanes`.
    version: AtomicU64,
    pub(crate) errands: Errands,
    /// Roots trusted besides the system's.
    roots: Vec<CertificateDer<'static>>,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl<P> Directory<P> {
    /// No cores yet.
    pub fn new(errands: Errands) -> Arc<Self> {
        Self::with_roots(errands, Vec::new())
    }

    /// No cores yet; `roots` are trusted besides the system's.
    pub fn with_roots(errands: Errands, roots: Vec<CertificateDer<'static>>) -> Arc<Self> {
        let lanes = Mutex::new(Arc::new(Vec::new()));
        let (version, tls) = (AtomicU64::new(0), OnceLock::new());
        Arc::new(Self { lanes, version, errands, roots, tls })
    }

    /// What TLS streams share; reads files when first called.
    pub(crate) fn tls_config(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls.get_or_init(|| crate::tls::configure(&self.roots)).clone()
    }

    /// Whether [`Directory::tls_config`] answers at once.
    pub(crate) fn tls_is_ready(&self) -> bool {
        self.tls.get().is_some()
    }

    /// The lanes now.
    pub(crate) fn lanes(&self) -> Lanes<P> {
        Arc::clone(&self.lanes.lock().expect("holders do not panic"))
    }

    /// Changes when [`Directory::lanes`] does.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The lane of `core`, while it runs.
    pub(crate) fn lane(&self, core: CoreId) -> Option<Arc<Lane<P>>> {
        self.lanes().get(usize::from(core.0))?.clone()
    }

    /// The cores that run, in order.
    pub fn cores(&self) -> Vec<CoreId> {
        running(&self.lanes()).map(|lane| lane.core).collect()
    }

    /// Adds a core.
    ///
    /// # Panics
    /// If the number is taken or too large.
    pub(crate) fn enter(&self, lane: Arc<Lane<P>>) {
        let slot = usize::from(lane.core.0);
        assert!(slot < CORES_MAX, "{} is too many cores", slot + 1);
        self.change(|lanes| {
            if lanes.len() <= slot {
                lanes.resize(slot + 1, None);
            }
            assert!(lanes[slot].is_none(), "core {slot} exists");
            lanes[slot] = Some(lane);
        });
    }

    /// Takes a core out.
    pub(crate) fn leave(&self, core: CoreId) {
        self.change(|lanes| lanes[usize::from(core.0)] = None);
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Option<Arc<Lane<P>>>>)) {
        let mut lanes = self.lanes.lock().expect("holders do not panic");
        let mut changed = Vec::clone(&lanes);
        change(&mut changed);
        *lanes = Arc::new(changed);
        // SYNC POINT with `version`: who sees the new number takes the lock and sees the new list.
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// The lanes of cores that run.
pub(crate) fn running<P>(lanes: &Lanes<P>) -> impl Iterator<Item = &Arc<Lane<P>>> {
    lanes.iter().flatten()
}
