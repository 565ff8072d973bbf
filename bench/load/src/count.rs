//! What is counted in a run: requests with their latencies, and everybody's CPU time.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::Options;
use crate::proc;

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) window: Duration,
    pub(crate) asked: Asked,
    /// CPU time of the server within the window.
    pub(crate) server_cpu: Duration,
    /// CPU time of whoever asks within the window.
    pub(crate) load_cpu: Duration,
    /// CPU time of anybody else on the server's processor within the window.
    pub(crate) others_cpu: Duration,
    /// The server's memory at the end.
    pub(crate) rss_kib: u64,
    /// How many processes the server has.
    pub(crate) processes: usize,
}

/// What was asked within the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    /// The 50th, 99th, 99.9th and 100th percentile.
    pub(crate) quantiles_us: [f64; 4],
    pub(crate) request_bytes: usize,
    pub(crate) answer_bytes: usize,
}

impl Asked {
    pub(crate) fn new(
        latencies: &Histogram,
        (request_bytes, answer_bytes): (usize, usize),
    ) -> Self {
        let us = |quantile: f64| latencies.quantile(quantile) as f64 / 1000.0;
        let quantiles_us = [0.5, 0.99, 0.999, 1.0].map(us);
        Self { requests: latencies.count(), quantiles_us, request_bytes, answer_bytes }
    }
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
        Self::of(&options.servers(), std::process::id(), options)
    }

    /// Those of these servers, and of the process that asks.
    pub(crate) fn of(servers: &[u32], load: u32, options: &Options) -> Self {
        Self {
            server: proc::cpu_time(servers),
            load: proc::cpu_time(&[load]),
            busy: options.server_core.map(proc::busy_time).unwrap_or_default(),
            at: Instant::now(),
        }
    }

    /// What happened between `start` and these clocks.
    pub(crate) fn counted(&self, start: &Self, servers: &[u32], asked: Asked) -> Counted {
        let server_cpu = self.server.saturating_sub(start.server);
        let busy = self.busy.saturating_sub(start.busy);
        Counted {
            window: self.at - start.at,
            asked,
            server_cpu,
            load_cpu: self.load.saturating_sub(start.load),
            others_cpu: busy.saturating_sub(server_cpu),
            rss_kib: proc::rss_kib(servers),
            processes: servers.len(),
        }
    }
}
