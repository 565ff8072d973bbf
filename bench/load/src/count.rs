//! What is counted in a run: requests with their latencies, and everybody's CPU time.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::Options;
use crate::proc;

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) window: Duration,
    pub(crate) latencies: Histogram,
    /// CPU time of the server within the window.
    pub(crate) server_cpu: Duration,
    /// CPU time of this process within the window.
    pub(crate) load_cpu: Duration,
    /// CPU time of anybody else on the server's processor within the window.
    pub(crate) others_cpu: Duration,
    /// The server's memory at the end.
    pub(crate) rss_kib: u64,
    /// How many processes the server has.
    pub(crate) processes: usize,
    pub(crate) request_bytes: usize,
    pub(crate) answer_bytes: usize,
}

/// The clocks of everybody at one moment.
pub(crate) struct Clocks {
    pub(crate) at: Instant,
    server: Duration,
    load: Duration,
    busy: Duration,
}

impl Clocks {
    pub(crate) fn read(options: &Options) -> Self {
        Self {
            server: proc::cpu_time(&options.servers()),
            load: proc::cpu_time(&[std::process::id()]),
            busy: options.server_core.map(proc::busy_time).unwrap_or_default(),
            at: Instant::now(),
        }
    }

    /// What happened between `start` and these clocks.
    pub(crate) fn counted(
        &self,
        start: &Self,
        options: &Options,
        latencies: Histogram,
        (request_bytes, answer_bytes): (usize, usize),
    ) -> Counted {
        let server_cpu = self.server.saturating_sub(start.server);
        let busy = self.busy.saturating_sub(start.busy);
        Counted {
            window: self.at - start.at,
            latencies,
            server_cpu,
            load_cpu: self.load.saturating_sub(start.load),
            others_cpu: busy.saturating_sub(server_cpu),
            rss_kib: proc::rss_kib(&options.servers()),
            processes: options.servers().len(),
            request_bytes,
            answer_bytes,
        }
    }
}
