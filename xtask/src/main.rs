//! `cargo xtask`: what the project asks of itself.
//!
//! One subcommand a question; each says what is wrong and what to do, and exits with 1 if anything is.

mod arrows;
mod bench;
mod bindings;
mod build;
mod ci;
mod conformance;
mod interop;
mod sim;
mod soak;
mod tidy;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks, conformance runs and benchmarks", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything a change must pass
    Ci(ci::CiArgs),
    /// Check style: sizes, module docs, banned words, unsafe
    Tidy(tidy::TidyArgs),
    /// Compare the rooms' dependencies with the table in ARCHITECTURE.md
    Arrows,
    /// Run the official conformance suite
    Conformance(conformance::ConformanceArgs),
    #[command(hide = true)]
    ConformanceClient(conformance::DriverArgs),
    /// Run other people's clients against other people's servers, through kern
    Interop(interop::InteropArgs),
    /// Record what other people's clients and servers say to each other, without kern
    Record(interop::record::RecordArgs),
    #[command(hide = true)]
    RecordPipe(interop::record::PipeArgs),
    /// Measure
    Bench(bench::BenchArgs),
    /// Test rings from C, Python and the Rust SDK
    Bindings(bindings::BindingsArgs),
    /// Run thousands of seeds of the whole gateway in a simulated world
    Sim(sim::SimArgs),
    /// Use kern as in a day, in minutes, and see what is left behind
    Soak(soak::SoakArgs),
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let outcome = match Cli::parse().command {
        Command::Ci(args) => ci::run(root, &args),
        Command::Tidy(args) => tidy::run(root, &args),
        Command::Arrows => arrows::run(root),
        Command::Conformance(args) => conformance::run(args),
        Command::ConformanceClient(args) => conformance::drive(&args),
        Command::Interop(args) => interop::run(root, &args),
        Command::Record(args) => interop::record::run(root, &args),
        Command::RecordPipe(args) => interop::record::pipe(&args),
        Command::Bench(args) => bench::run(root, &args),
        Command::Bindings(args) => bindings::run(root, &args),
        Command::Sim(args) => sim::run(root, &args),
        Command::Soak(args) => soak::run(root, &args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
