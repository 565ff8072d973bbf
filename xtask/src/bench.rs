//! `cargo xtask bench`: how fast is it, next to what it could be and to others?
//!
//! Invariants: whatever is compared ran in the same run, in turns; every answer was checked; a
//! number that may be wrong (a busy machine, a load generator at its limit) is marked as such.

mod baseline;
mod clients;
mod contextforge;
mod cost;
mod effort;
mod idle;
mod machine;
mod native;
mod peers;
mod proxy;
mod report;
mod ring;
mod rounds;
mod scale;
mod server;
mod stage;
mod stdio;
mod svg;

use std::path::Path;

use cost::CostArgs;

/// Measures.
#[derive(clap::Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// A tool answered inside, next to a floor and the official SDKs
    Native(effort::LoadArgs),
    /// Gateways in front of the same fast server
    Proxy(effort::LoadArgs),
    /// The two above at 32 connections, with short texts
    Gateway(effort::LoadArgs),
    /// Many clients on one child, next to a child for each
    Stdio(stdio::StdioArgs),
    /// One request's cost when there is more of everything; idle connections
    Scale(scale::ScaleArgs),
    /// A shared-memory ring, next to TCP, a Unix socket and stdio
    Ring(ring::RingArgs),
    /// Install others' servers and gateways, to be measured against
    Peers(peers::PeersArgs),
    /// Instructions and allocations of a message through kern, compared with those accepted
    Message(CostArgs),
    /// The same of looking for a session
    Session(CostArgs),
    /// The same of looking for a tool
    Route(CostArgs),
    /// The same of all three
    Cost(CostArgs),
}

/// Measures what is asked for.
///
/// # Errors
/// When something cannot be built or started, and at the first wrong answer.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<(), String> {
    match &args.what {
        What::Native(args) => native::run(root, args),
        What::Proxy(args) => proxy::run(root, args),
        What::Gateway(args) => {
            let args = args.or(&[32], &[200]);
            native::run(root, &args)?;
            proxy::run(root, &args)
        }
        What::Stdio(args) => stdio::run(root, args),
        What::Scale(args) => scale::run(root, args),
        What::Ring(args) => ring::run(root, args),
        What::Peers(args) => peers::run(root, args),
        What::Message(args) => cost::run(root, "message/", args),
        What::Session(args) => cost::run(root, "session/", args),
        What::Route(args) => cost::run(root, "route/", args),
        What::Cost(args) => cost::run(root, "", args),
    }
}
