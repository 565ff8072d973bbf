//! `kern discover`: what the clients on this machine declare, and what of it would be used.

use std::process::ExitCode;

use kern_control::{Answer, Surroundings, load};

use super::ServeArgs;

/// Flags of `kern discover`.
#[derive(Debug, clap::Args)]
pub(super) struct DiscoverArgs {
    /// A host whose server cards are shown instead.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(around: &Surroundings, args: &DiscoverArgs) -> Result<ExitCode, String> {
    if let Some(url) = &args.url {
        let offers = super::cards::find(url)?;
        match args.json {
            true => println!("{:#}", super::cards::to_json(&offers)),
            false => print!("{}", super::cards::render(&offers)),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = load(around, &args.serve.overrides(), &mut |_| Answer::Later)
        .map_err(|error| error.to_string())?;
    match args.json {
        true => println!("{:#}", loaded.discovery.to_json()),
        false => print!("{}", loaded.discovery.render(around.home.as_deref())),
    }
    Ok(ExitCode::SUCCESS)
}
