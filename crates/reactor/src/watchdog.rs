//! Which core has been busy for too long, and with what?
//!
//! A core writes down, without locks, since when its turn runs and which operations it is in; a
//! thread looks at that now and then. Invariant: what the thread reads of the operations is either
//! all of one moment or discarded (a sequence lock with one writer).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use kern_terms::{CoreId, Instant};

use crate::driver::monotonic;
use crate::event::TURN_MAX;
use crate::lanes::{Directory, running};
use crate::limits::TRACKED_MAX;

/// What an operation is called. Made once for each name and never freed.
type Name = &'static str;

#[derive(Debug, Default)]
struct Operation {
    name: AtomicPtr<Name>,
    subject: AtomicU64,
}

/// What a core is doing, readable from other threads.
#[derive(Debug, Default)]
pub(crate) struct TurnCell {
    /// When the turn started, ns; 0 while the core sleeps.
    started_ns: AtomicU64,
    /// Odd while the operations change.
    sequence: AtomicU64,
    depth: AtomicUsize,
    operations: [Operation; TRACKED_MAX],
}

/// A turn that runs, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// When the turn started.
    pub(crate) started: Instant,
    /// Tracked operations, outermost first, with their subjects.
    pub(crate) operations: Vec<(&'static str, u64)>,
}

impl TurnCell {
    /// The turn starts.
    pub(crate) fn start(&self, now: Instant) {
        self.started_ns.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The turn ended.
    pub(crate) fn end(&self) {
        if self.depth.load(Ordering::Relaxed) > 0 {
            self.write(|| self.depth.store(0, Ordering::Relaxed));
        }
        self.started_ns.store(0, Ordering::Relaxed);
    }

    /// An operation starts.
    pub(crate) fn push(&self, name: &'static Name, subject: u64) {
        self.write(|| {
            let depth = self.depth.load(Ordering::Relaxed);
            if let Some(operation) = self.operations.get(depth) {
                operation.name.store(std::ptr::from_ref(name).cast_mut(), Ordering::Relaxed);
                operation.subject.store(subject, Ordering::Relaxed);
            }
            self.depth.store(depth + 1, Ordering::Relaxed);
        });
    }

    /// The innermost operation ended.
    pub(crate) fn pop(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        if depth > 0 {
            self.write(|| self.depth.store(depth - 1, Ordering::Relaxed));
        }
    }

    /// Only the core itself calls this.
    fn write(&self, change: impl FnOnce()) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // SYNC POINT with the second load in `operations`: who sees a changed operation sees the
        // odd number.
        fence(Ordering::Release);
        change();
        // SYNC POINT with the first load in `operations`: who sees the even number sees the change.
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The turn that runs now.
    pub(crate) fn running(&self) -> Option<Running> {
        let started = self.started_ns.load(Ordering::Relaxed);
        let running = (started != 0).then(|| Instant::from_nanos(started))?;
        Some(Running { started: running, operations: self.operations() })
    }

    /// The operations of one moment; empty where they change all the time.
    pub(crate) fn operations(&self) -> Vec<(&'static str, u64)> {
        for _ in 0..100 {
            let before = self.sequence.load(Ordering::Acquire);
            let depth = self.depth.load(Ordering::Relaxed).min(TRACKED_MAX);
            let read: Vec<_> = self.operations[..depth]
                .iter()
                .map(|o| (o.name.load(Ordering::Relaxed), o.subject.load(Ordering::Relaxed)))
                .collect();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.sequence.load(Ordering::Relaxed) {
                return read.into_iter().map(|(name, subject)| (name_at(name), subject)).collect();
            }
            std::hint::spin_loop();
        }
        Vec::new()
    }
}

#[allow(unsafe_code)]
fn name_at(name: *mut Name) -> &'static str {
    // SAFETY: the pointer was stored by `push` from a `&'static Name` (the sequence did not change
    // while it was read, so it is not the initial null of an unused place), and such a reference
    // stays valid for ever.
    unsafe { *name }
}

/// The one place in memory that holds `name`; `known` are those of this core.
pub(crate) fn intern(known: &mut Vec<&'static Name>, name: &'static str) -> &'static Name {
    let same =
        |known: &str| std::ptr::eq(known.as_ptr(), name.as_ptr()) && known.len() == name.len();
    if let Some(found) = known.iter().find(|known| same(known)) {
        return found;
    }
    // Freed never: there are as many as there are calls of `track` in the program's text.
    let made: &'static Name = Box::leak(Box::new(name));
    known.push(made);
    made
}

/// How often the watchdog looks: twice in the time a turn may take.
const INTERVAL: Duration = TURN_MAX.checked_div(2).expect("two is not zero");

/// Starts the watchdog of a cluster; it ends with the last core.
pub(crate) fn start<P: Send + 'static>(directory: Arc<Directory<P>>) -> io::Result<()> {
    std::thread::Builder::new().name("kern-watchdog".into()).spawn(move || {
        let mut reported = HashMap::new();
        loop {
            std::thread::sleep(INTERVAL);
            let lanes = directory.lanes();
            if running(&lanes).next().is_none() {
                return;
            }
            for lane in running(&lanes) {
                if let Some(turn) = overdue(&lane.turn, monotonic())
                    && reported.insert(lane.core, turn.started) != Some(turn.started)
                {
                    report(lane.core, &turn);
                }
            }
        }
    })?;
    Ok(())
}

/// The turn that runs, if it has been running for too long.
fn overdue(cell: &TurnCell, now: Instant) -> Option<Running> {
    cell.running().filter(|turn| now.since(turn.started) > TURN_MAX)
}

fn report(core: CoreId, turn: &Running) {
    let running = monotonic().since(turn.started);
    let doing = &turn.operations;
    tracing::warn!(core = %core, ?running, ?doing, "a turn takes long");
}
