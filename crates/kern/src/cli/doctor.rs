//! `kern doctor`: what this machine offers, and what to do about what is missing.

use std::process::ExitCode;

use kern_control::doctor::{DriverProbe, Examined, Status, examine};
use kern_control::{Answer, Surroundings, load};

use super::ServeArgs;

/// Flags of `kern doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(around: &Surroundings, args: &DoctorArgs) -> Result<ExitCode, String> {
    let loaded = load(around, &args.serve.overrides(), &mut |_| Answer::Later);
    let driver = DriverProbe { uring: kern_reactor::driver::probe_uring() };
    let report =
        examine(&Examined { surroundings: around, driver: &driver, loaded: loaded.as_ref() });
    match args.json {
        true => println!("{:#}", report.to_json()),
        false => print!("{}", report.render()),
    }
    Ok(match report.status() {
        Status::Fail => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}
