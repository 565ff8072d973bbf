//! Who does the work that would make a core wait?
//!
//! A few threads shared by all cores, started when first needed; in the simulation, whoever moves
//! it, when the seed says so. Invariant: an errand that panics costs its own answer, not the thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};

use crate::limits::{ERRAND_THREADS, ERRANDS_REPORTED_LEN};

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Where errands are run.
pub enum Errands {
    /// On threads.
    Threads(ErrandThreads),
    /// By the simulation, which takes them from here.
    Queued(Mutex<Vec<Job>>),
}

impl Errands {
    /// The rule: threads.
    pub fn threads() -> Self {
        Self::Threads(ErrandThreads::default())
    }

    /// For a simulation: see [`Runner::errands_of`](crate::driver::sim::Runner::errands_of).
    pub fn queued() -> Self {
        Self::Queued(Mutex::default())
    }

    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match self {
            Self::Threads(threads) => threads.run(job),
            Self::Queued(queue) => {
                queue.lock().expect("holders do not panic").push(Box::new(job));
            }
        }
    }

    /// The errands nobody has taken yet.
    pub(crate) fn take(&self) -> Vec<Job> {
        match self {
            Self::Threads(_) => Vec::new(),
            Self::Queued(queue) => {
                std::mem::take(&mut *queue.lock().expect("holders do not panic"))
            }
        }
    }
}

/// A few threads that take jobs from one queue. They end when this is dropped and the queue is
/// empty.
#[derive(Default)]
pub struct ErrandThreads {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl ErrandThreads {
    /// Queues a job.
    fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock().expect("holders do not panic");
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() == ERRANDS_REPORTED_LEN {
            tracing::warn!(waiting = state.jobs.len(), "errands pile up");
        }
        if state.idle < state.jobs.len() && state.threads < ERRAND_THREADS {
            let shared = Arc::clone(&self.shared);
            let started =
                std::thread::Builder::new().name("kern-errand".into()).spawn(move || shared.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(error) => tracing::error!(%error, "an errand thread could not be started"),
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for ErrandThreads {
    fn drop(&mut self) {
        self.shared.state.lock().expect("holders do not panic").closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("an errand panicked; nobody gets its answer");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock().expect("holders do not panic");
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).expect("holders do not panic");
            state.idle -= 1;
        }
    }
}
