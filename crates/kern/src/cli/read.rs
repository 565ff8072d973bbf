//! `kern read`: read one resource.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kern_control::Surroundings;
use serde_json::Value;

use super::client::TargetArgs;
use super::client_talk::Failure;
use super::show;

/// Flags of `kern read`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kern read [UPSTREAM|URL] URI [OPTIONS] [-- COMMAND…]")]
pub(super) struct ReadArgs {
    /// Whose resource, and its URI.
    #[arg(value_name = "WORD", required = true, num_args = 1..=2)]
    words: Vec<String>,
    #[command(flatten)]
    to: TargetArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kern read demo://resource/static/document/architecture.md
  kern read everything demo://resource/dynamic/blob/1 > blob.bin
  kern read https://example.com/mcp file:///readme --json";

pub(super) fn run(around: &Surroundings, args: &ReadArgs) -> Result<ExitCode, Failure> {
    let (first, uri) = match args.words.as_slice() {
        [first, uri] => (Some(first.clone()), uri),
        words => (None, &words[0]),
    };
    let target = args.to.target(around, first)?;
    let mut client = target.open(around)?;
    let result = client.ask("resources/read", &format!("\"uri\":{}", Value::from(uri.as_str())))?;
    if args.to.json {
        return Ok(show::print_json(&result));
    }
    let result: Value = serde_json::from_slice(&result).unwrap_or_default();
    let contents = result["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let terminal = std::io::stdout().is_terminal();
    let mut out = Vec::new();
    for content in contents {
        match (content["text"].as_str(), content["blob"].as_str()) {
            (Some(text), _) => {
                out.extend_from_slice(show::for_output(text).as_bytes());
                if terminal && !text.ends_with('\n') {
                    out.push(b'\n');
                }
            }
            (None, Some(blob)) if !terminal => {
                let bytes = STANDARD.decode(blob).map_err(|error| {
                    Failure::other(format!("the resource is no valid base64: {error}"))
                })?;
                out.extend_from_slice(&bytes);
            }
            _ => {
                let block = serde_json::json!({ "type": "resource", "resource": content });
                out.extend_from_slice(show::content(&[block]).as_bytes());
            }
        }
    }
    Ok(show::print(&out))
}
