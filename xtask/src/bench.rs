//! `cargo xtask bench`: how fast is it, next to what it could be and to others?
//!
//! Invariants: whatever is compared ran in the same run, in turns; every answer was checked; a
//! number that may be wrong (a busy machine, a load generator at its limit) is marked as such.

mod build;
mod gateway;
mod machine;
mod report;
mod rounds;
mod server;

use std::path::Path;

/// Measures.
#[derive(clap::Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Tool calls over HTTP: kern alone and as a proxy, next to a floor and the official Rust SDK
    Gateway(gateway::GatewayArgs),
}

/// Measures what is asked for.
///
/// # Errors
/// When something cannot be built or started, and at the first wrong answer.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<(), String> {
    match &args.what {
        What::Gateway(args) => gateway::run(root, args),
    }
}
