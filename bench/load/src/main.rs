//! How fast does a server answer tool calls, and is every answer right?
//!
//! One thread, some connections, one request in flight on each. After a warm-up it counts for a
//! while, then prints one JSON object. The first wrong answer, lost connection or refused request
//! ends the run with status 1: numbers of a server that errs are worth nothing.
//!
//! Measured closed-loop: the next request leaves when the answer to the last has come, so that a
//! stalled server also stalls the load (latencies are those of clients that wait).

mod answer;
mod channel;
mod client;
mod count;
mod foreign;
mod histogram;
mod hold;
mod options;
mod pipes;
mod proc;
mod question;
mod setup;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use count::Counted;
use options::Options;

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| run(&options));
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<String, String> {
    if options.hold > 0 {
        return hold::hold(options);
    }
    if options.client {
        return foreign::drive(options).map(|counted| line(&counted, Duration::ZERO));
    }
    if options.in_flight > 0 {
        return channel::drive(options).map(|counted| line(&counted, Duration::ZERO));
    }
    setup::idle_sessions(options)?;
    let start = Instant::now();
    let mut clients = setup::connect(options)?;
    let start = start.elapsed();
    let counted = client::drive(options, &mut clients);
    let ended = setup::goodbye(options, clients);
    let counted = counted?;
    ended?;
    Ok(line(&counted, start))
}

/// The JSON object.
fn line(counted: &Counted, start: Duration) -> String {
    let seconds = counted.window.as_secs_f64();
    let [p50, p99, p999, max] = counted.asked.quantiles_us;
    format!(
        concat!(
            "{{\"requests\":{},\"seconds\":{:.6},\"p50_us\":{:.2},\"p99_us\":{:.2},",
            "\"p999_us\":{:.2},\"max_us\":{:.2},\"server_cpu_s\":{:.6},\"load_cpu_s\":{:.6},",
            "\"others_cpu_s\":{:.6},\"rss_kib\":{},\"answer_bytes\":{},\"request_bytes\":{},",
            "\"processes\":{},\"start_s\":{:.6}}}"
        ),
        counted.asked.requests,
        seconds,
        p50,
        p99,
        p999,
        max,
        counted.server_cpu.as_secs_f64(),
        counted.load_cpu.as_secs_f64(),
        counted.others_cpu.as_secs_f64(),
        counted.rss_kib,
        counted.asked.answer_bytes,
        counted.asked.request_bytes,
        counted.processes,
        start.as_secs_f64(),
    )
}
