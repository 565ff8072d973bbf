//! The `kern` program: one process between AI agents and all their MCP tool servers.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Children are started through this very program; nothing else may run before that is known.
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|verb| verb == kern_jail::SUBCOMMAND) {
        return kern_jail::keep(args.collect());
    }
    kern::cli::run()
}
