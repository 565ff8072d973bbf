//! `kern prompt`: fill in one prompt.

use std::process::ExitCode;

use kern_control::Surroundings;
use serde_json::Value;

use super::call;
use super::call_args;
use super::client::TargetArgs;
use super::client_talk::Failure;
use super::show;

/// Flags of `kern prompt`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kern prompt [UPSTREAM|URL] NAME [KEY=VALUE]… [OPTIONS] [-- COMMAND…]")]
pub(super) struct PromptArgs {
    /// Whose prompt, which prompt, and its arguments.
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    to: TargetArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kern prompt everything args-prompt city=Bergamo
  kern prompt fetch url=https://example.com -- uvx mcp-server-fetch
  kern prompt everything simple-prompt --json";

pub(super) fn run(around: &Surroundings, args: &PromptArgs) -> Result<ExitCode, Failure> {
    let (first, name, words) = call::split(&args.words, &args.to, "prompt")?;
    let target = args.to.target(around, first)?;
    let mut client = target.open(around)?;
    let prompts = client.list("prompts/list", "prompts")?;
    let prompt = call::find(&prompts, &name, "prompt", &target)?;
    let arguments = call_args::for_prompt(&prompt, words).map_err(Failure::Usage)?;
    let members = format!("\"name\":{},\"arguments\":{arguments}", Value::from(name));
    let result = client.ask("prompts/get", &members)?;
    if args.to.json {
        return Ok(show::print_json(&result));
    }
    let result: Value = serde_json::from_slice(&result).unwrap_or_default();
    let messages = result["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = String::new();
    for message in messages {
        let role = message["role"].as_str().unwrap_or("?");
        out.push_str(&format!(
            "{role}: {}",
            show::content(std::slice::from_ref(&message["content"]))
        ));
    }
    Ok(show::print(show::for_output(&out).as_bytes()))
}
