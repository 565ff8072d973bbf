//! Where log lines go: stderr, since stdout may be a client.

use kern_control::{LogFormat, LogPlan};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging. `KERN_LOG` wins over the configuration.
///
/// # Errors
/// The filter cannot be read.
pub(super) fn start(plan: &LogPlan) -> Result<(), String> {
    let wanted = std::env::var("KERN_LOG").unwrap_or_else(|_| plan.level.clone());
    let filter = EnvFilter::try_new(&wanted)
        .map_err(|error| format!("the log level {wanted:?} cannot be read: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match plan.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}
