//! `cargo xtask sim`: thousands of seeds of the whole gateway in a simulated world.
//!
//! The same test as every day's, optimized and with every assertion. A seed that fails is printed with
//! the command that replays it.

use std::path::Path;
use std::process::Command;

/// Runs seeds of the simulation.
#[derive(clap::Args, Debug)]
pub(crate) struct SimArgs {
    /// How many
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// Builds and runs the simulation.
///
/// # Errors
/// When a seed fails, or the test can't be built.
pub(crate) fn run(root: &Path, args: &SimArgs) -> Result<(), String> {
    let test = ["test", "--profile", "sim", "-p", "kern", "--test", "sim"];
    let filter = ["every_request", "--", "--nocapture"];
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(test)
        .args(filter)
        .env("KERN_SIM_SEED", args.first.to_string())
        .env("KERN_SIM_SEEDS", args.seeds.to_string())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err("some seeds failed".to_owned()),
    }
}
