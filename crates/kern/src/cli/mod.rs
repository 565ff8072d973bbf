//! What a person types: the verbs of `kern` and their flags.

mod call;
mod call_args;
mod cards;
mod client;
mod client_ring;
mod client_talk;
mod discover;
mod doctor;
mod fetch;
mod log;
mod ls;
mod prompt;
mod read;
mod serve;
mod setup;
mod show;
mod status;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kern_control::{Cores, Driver, Listen, Overrides, Surroundings};

/// Version, revision and how it was built.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nrevision: ",
    env!("KERN_BUILD_REVISION"),
    "\nbuilt:    ",
    env!("KERN_BUILD_PROFILE"),
    ", ",
    env!("KERN_BUILD_TARGET"),
    ", ",
    env!("KERN_BUILD_RUSTC"),
    "\nspeaks:   MCP 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28"
);

/// One process between AI agents and all their MCP tool servers.
#[derive(Debug, Parser)]
#[command(name = "kern", version, long_version = LONG_VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve all upstreams behind one endpoint.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// List the MCP servers that the clients on this machine declare, or that a host offers.
    #[command(after_help = DISCOVER_EXAMPLES)]
    Discover(discover::DiscoverArgs),
    /// List tools, prompts, resources or upstreams.
    #[command(after_help = ls::EXAMPLES)]
    Ls(ls::LsArgs),
    /// Call a tool.
    #[command(after_help = call::EXAMPLES)]
    Call(call::CallArgs),
    /// Read a resource.
    #[command(after_help = read::EXAMPLES)]
    Read(read::ReadArgs),
    /// Fill in a prompt.
    #[command(after_help = prompt::EXAMPLES)]
    Prompt(prompt::PromptArgs),
    /// Say what this machine offers, and what to do about what is missing.
    Doctor(doctor::DoctorArgs),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  kern serve                          serve what this machine's MCP clients declare
  kern serve --config kern.toml       serve what a file declares
  kern serve --stdio --listen off     be one MCP server on stdin and stdout
  kern serve --trust .mcp.json        also run what this project's file declares

Clients connect to http://127.0.0.1:7331/mcp (all upstreams), /mcp/NAME (one of them, its names
untouched) or /sse (HTTP+SSE).";

const DISCOVER_EXAMPLES: &str = "\
Examples:
  kern discover
  kern discover https://example.com     the server cards of a host
  kern discover --json | jq '.servers[].name'";

/// Flags of `kern serve`, which other verbs share where they ask what would be served.
#[derive(Clone, Debug, Default, clap::Args)]
struct ServeArgs {
    /// The configuration; the user's own kern.toml, or the clients' files, without it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for HTTP, or `off`. Default: 127.0.0.1:7331.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// Serve one client on stdin and stdout.
    #[arg(long)]
    stdio: bool,
    /// Also serve on a Unix socket: HTTP, or one JSON message a line.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Also hand out shared-memory rings at a Unix socket (Linux).
    #[arg(long, value_name = "PATH")]
    ring: Option<PathBuf>,
    /// Number of event loops. Default: one for each processor.
    #[arg(long, value_name = "N")]
    cores: Option<std::num::NonZeroU8>,
    /// What lies beneath the event loops.
    #[arg(long, value_enum, value_name = "DRIVER")]
    driver: Option<DriverArg>,
    /// A project's file or folder whose commands may be run.
    #[arg(long, value_name = "PATH")]
    trust: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DriverArg {
    /// io_uring where it works, else portable.
    Auto,
    /// io_uring.
    Uring,
    /// epoll, kqueue or IOCP.
    Portable,
}

impl ServeArgs {
    fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            listen: self.listen,
            stdio: self.stdio,
            unix: self.unix.clone(),
            ring: self.ring.clone(),
            cores: self.cores.map(Cores::Exactly),
            driver: self.driver.map(|driver| match driver {
                DriverArg::Auto => Driver::Auto,
                DriverArg::Uring => Driver::Uring,
                DriverArg::Portable => Driver::Portable,
            }),
            trust: self.trust.clone(),
        }
    }
}

/// Runs what was typed.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let around = match Surroundings::of_this_process() {
        Ok(around) => around,
        Err(error) => return fail(&format!("the current folder cannot be used: {error}")),
    };
    let done = match cli.verb {
        Verb::Serve(args) => serve::run(&around, &args.overrides()),
        Verb::Discover(args) => discover::run(&around, &args),
        Verb::Doctor(args) => doctor::run(&around, &args),
        Verb::Ls(args) => client_verb(ls::run(&around, &args)),
        Verb::Call(args) => client_verb(call::run(&around, &args)),
        Verb::Read(args) => client_verb(read::run(&around, &args)),
        Verb::Prompt(args) => client_verb(prompt::run(&around, &args)),
    };
    log::flush();
    match done {
        Ok(code) => code,
        Err(why) => fail(&why),
    }
}

/// Client verbs tell failures apart by their exit status.
fn client_verb(done: Result<ExitCode, client_talk::Failure>) -> Result<ExitCode, String> {
    Ok(done.unwrap_or_else(|failure| show::failure(&failure)))
}

fn fail(why: &str) -> ExitCode {
    // There is nobody to tell that stderr is closed.
    let _ = writeln!(std::io::stderr(), "kern: {why}");
    ExitCode::FAILURE
}
