//! `kern call`: call one tool with arguments from the command line.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use kern_control::Surroundings;
use kern_mcp::json;
use serde_json::Value;

use super::call_args;
use super::client::{Target, TargetArgs, is_url};
use super::client_talk::Failure;
use super::show;

/// Longest arguments on stdin, bytes.
const STDIN_BYTES_MAX: u64 = 16 << 20;

/// Flags of `kern call`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kern call [UPSTREAM|URL] TOOL [KEY=VALUE]… [OPTIONS] [-- COMMAND…]")]
pub(super) struct CallArgs {
    /// Whose tool, which tool, and its arguments: `key=value`, `key:=JSON`, or `-` for a JSON
    /// object on stdin.
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
    /// All arguments as one JSON object; `-` reads it from stdin.
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    #[command(flatten)]
    to: TargetArgs,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kern call files read_text_file path=notes.txt
  kern call time get_current_time timezone=Europe/Rome
  kern call memory search_nodes --args '{\"query\":\"rope\"}'
  kern call files edit_file path=a.txt edits:='[{\"oldText\":\"a\",\"newText\":\"b\"}]'
  kern call https://example.com/mcp search query=rope --json
  kern call time__get_current_time timezone=Europe/Rome --ring /run/user/1000/kern.ring
  kern call echo message=hello -- npx -y @modelcontextprotocol/server-everything

Values are read as the tool's schema has them; a list is given as JSON, or key by key.
Exit status: 0 done, 1 the tool says it failed, 2 there is no result, 130 cancelled with Ctrl-C.";

pub(super) fn run(around: &Surroundings, args: &CallArgs) -> Result<ExitCode, Failure> {
    let (first, name, mut words) = split(&args.words, &args.to, "tool")?;
    let mut given = args.args.clone();
    if words.first().is_some_and(|word| word == "-") {
        words = &words[1..];
        given = Some("-".to_owned());
    }
    if given.as_deref() == Some("-") {
        given = Some(from_stdin()?);
    }
    let target = args.to.target(around, first)?;
    let mut client = target.open(around)?;
    let tools = client.list("tools/list", "tools")?;
    let tool = find(&tools, &name, "tool", &target)?;
    let arguments = call_args::for_tool(&tool, words, given.as_deref())
        .map_err(|why| Failure::usage(format!("{why}\n{}", usage(&name, &tool, &target))))?;
    let members = format!("\"name\":{},\"arguments\":{arguments}", Value::from(name));
    let result = client.ask("tools/call", &members)?;
    Ok(print(&result, args.to.json))
}

/// Whose, which, and what else: the first word is left out where the target is told otherwise, or
/// where the second is an argument already.
pub(super) fn split<'w>(
    words: &'w [String],
    to: &TargetArgs,
    what: &str,
) -> Result<(Option<String>, String, &'w [String]), Failure> {
    let missing = || Failure::usage(format!("which {what}? Say it after the server's name"));
    let mut first = None;
    let mut rest = words;
    let named = rest.first().is_some_and(|word| is_url(word))
        || (!to.starts_a_server() && rest.len() > 1 && !call_args::is_argument(&rest[1]));
    if named {
        first = rest.first().cloned();
        rest = &rest[1..];
    }
    let (name, rest) = rest.split_first().ok_or_else(missing)?;
    if call_args::is_argument(name) {
        return Err(missing());
    }
    Ok((first, name.clone(), rest))
}

/// The item called `name`, parsed.
pub(super) fn find(
    items: &[Vec<u8>],
    name: &str,
    what: &str,
    target: &Target,
) -> Result<Value, Failure> {
    let named = |item: &Vec<u8>| json::text_field(item, "name");
    if let Some(item) = items.iter().find(|item| named(item).as_deref() == Some(name)) {
        return serde_json::from_slice(item)
            .map_err(|error| Failure::other(format!("{what} {name} cannot be read: {error}")));
    }
    let known: Vec<String> = items.iter().filter_map(named).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let why = show::unknown(what, name, &known);
    let list = format!("kern ls {what}s {}", target.words());
    Err(Failure::usage(format!("{why}\n      `{}` lists them", list.trim_end())))
}

fn usage(name: &str, tool: &Value, target: &Target) -> String {
    let arguments = call_args::of_tool(tool);
    let mut text = match target.words() {
        words if words.starts_with("--") => {
            format!("\nusage: kern call {name} KEY=VALUE… {words}\n")
        }
        words if words.is_empty() => format!("\nusage: kern call {name} KEY=VALUE…\n"),
        words => format!("\nusage: kern call {words} {name} KEY=VALUE…\n"),
    };
    if arguments.is_empty() {
        text.push_str("  it takes no arguments\n");
    }
    for argument in arguments {
        text.push_str(&format!("  {}\n", show::one_line(&argument.to_string(), show::width())));
    }
    text.trim_end().to_owned()
}

fn from_stdin() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        eprintln!("reading the arguments, a JSON object, from stdin; end with Ctrl-D");
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(STDIN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("stdin cannot be read: {error}")))?;
    Ok(text)
}

/// Shows a tool's result: what it says to stdout, why it failed to stderr.
fn print(raw: &[u8], as_json: bool) -> ExitCode {
    let result: Value = serde_json::from_slice(raw).unwrap_or_default();
    let failed = result["isError"] == true;
    let code = match failed {
        true => ExitCode::from(show::TOOL_FAILED),
        false => ExitCode::SUCCESS,
    };
    if as_json {
        let printed = show::print_json(raw);
        return if failed { code } else { printed };
    }
    if result["resultType"] == "input_required" {
        eprintln!("kern: the tool asks for more input, which only a client with a user can give:");
        eprintln!("{:#}", result["inputRequests"]);
        return ExitCode::from(2);
    }
    let blocks = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = show::content(blocks);
    if blocks.is_empty() && !result["structuredContent"].is_null() {
        text = format!("{:#}\n", result["structuredContent"]);
    }
    if failed {
        eprint!("{}", show::for_output(&text));
        return code;
    }
    show::print(show::for_output(&text).as_bytes())
}
