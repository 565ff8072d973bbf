//! Connections with a session each that nothing is asked of, some of them replaced all the time.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::setup::Held;

/// Opens them, prints a line, and replaces them for the given time, from the eldest on.
///
/// # Errors
/// The first that the server does not open or end.
pub(crate) fn hold(options: &Options) -> Result<String, String> {
    let mut held = Vec::with_capacity(options.hold);
    for _ in 0..options.hold {
        held.push(Held::open(options)?);
    }
    println!("{{\"held\":{}}}", held.len());
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let start = Instant::now();
    let mut replaced = 0_u64;
    while start.elapsed() < options.duration {
        let due = start.elapsed().as_millis() as u64 * options.churn / 1000;
        if replaced >= due {
            sleep(Duration::from_millis(1));
            continue;
        }
        let place = &mut held[(replaced % options.hold as u64) as usize];
        std::mem::replace(place, Held::open(options)?).close(options)?;
        replaced += 1;
    }
    Ok(format!("{{\"replaced\":{replaced}}}"))
}
