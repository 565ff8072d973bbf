//! Does an entry lead back to this program?
//!
//! A client that uses `kern` has an entry for it; taking that entry for a tool server would make
//! the program its own client, without end.

use std::net::SocketAddr;

use crate::endpoint::{Endpoint, is_loopback_host};
use crate::plan::Kind;

/// Programs that run the program named in their arguments.
const WRAPPERS: &[&str] = &[
    "bash",
    "bun",
    "bunx",
    "cargo",
    "cmd",
    "deno",
    "docker",
    "env",
    "fish",
    "mise",
    "nice",
    "node",
    "npm",
    "npx",
    "pipx",
    "pnpm",
    "podman",
    "powershell",
    "pwsh",
    "sh",
    "sudo",
    "uv",
    "uvx",
    "wsl",
    "yarn",
    "zsh",
];
/// What this program is called, as a file or as a package.
const OWN_NAMES: &[&str] = &["kern", "kernmantle"];

/// Whether `kind` starts this program or calls one of its addresses.
pub(crate) fn leads_back(kind: &Kind, listen: Option<SocketAddr>) -> bool {
    match kind {
        Kind::Builtin(_) => false,
        Kind::Url(plan) => is_own_url(&plan.url.source_in_clear(), listen),
        Kind::Command(plan) => {
            let program = plan.program.source_in_clear();
            let name = base_name(&program);
            if OWN_NAMES.contains(&name.as_str()) {
                return true;
            }
            let wrapper = WRAPPERS.contains(&name.as_str()) || name.starts_with("python");
            plan.args.iter().map(|arg| arg.source_in_clear()).any(|arg| {
                let own_word = arg
                    .split_whitespace()
                    .any(|word| OWN_NAMES.contains(&base_name(word).as_str()));
                wrapper && own_word || is_own_url(&arg, listen)
            })
        }
    }
}

/// The last part of a path or of a package's name, without version or suffix, in lower case.
fn base_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or(text).to_ascii_lowercase();
    // `kern@1.2`, `kern:latest`, `kern==1.2`: a version is no part of the name.
    let end = last.find(['@', ':', '=']).filter(|at| *at > 0).unwrap_or(last.len());
    let name = &last[..end];
    let suffix = [".exe", ".cmd", ".bat"].into_iter().find_map(|end| name.strip_suffix(end));
    suffix.unwrap_or(name).to_owned()
}

fn is_own_url(text: &str, listen: Option<SocketAddr>) -> bool {
    let (Some(listen), Ok(endpoint)) = (listen, Endpoint::parse(text)) else { return false };
    if endpoint.port != listen.port() || endpoint.tls {
        return false;
    }
    let host = endpoint.host.as_str();
    let same_address = host.parse().is_ok_and(|address: std::net::IpAddr| address == listen.ip());
    let local = is_loopback_host(host) || host == "0.0.0.0" || host == "::";
    same_address || local && (listen.ip().is_loopback() || listen.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CommandPlan, Transport, UrlPlan};
    use crate::secret::Template;

    fn command(words: &str) -> Kind {
        let mut words = words.split(' ').map(Template::literal);
        Kind::Command(CommandPlan {
            program: words.next().expect("a program"),
            args: words.collect(),
            env: Vec::new(),
            env_file: None,
            cwd: None,
            ring: false,
        })
    }

    #[test]
    fn an_entry_for_this_program_is_never_taken_for_a_server() {
        let listen = "127.0.0.1:7331".parse().ok();
        for words in [
            "kern serve --stdio",
            "/opt/bin/kern",
            "C:\\Programs\\Kern.EXE serve",
            "npx -y kernmantle@latest",
            "npx -y @org/kern",
            "uvx kern==0.1",
            "sh -c /usr/bin/kern",
            "npx -y mcp-remote http://localhost:7331/mcp",
            "docker run -i example.com/kern:latest",
        ] {
            assert!(leads_back(&command(words), listen), "{words}");
        }
        let tricky = Kind::Command(CommandPlan {
            program: Template::literal("bash"),
            args: vec![Template::literal("-lc"), Template::literal("exec kern serve --stdio")],
            env: Vec::new(),
            env_file: None,
            cwd: None,
            ring: false,
        });
        assert!(leads_back(&tricky, listen));
        for words in [
            "npx -y server-kernel",
            "kernel",
            "grep kern",
            "uvx mcp-server --name kerning",
            "npx -y mcp-remote http://localhost:7332/mcp",
        ] {
            assert!(!leads_back(&command(words), listen), "{words}");
        }
        for (url, expected) in [
            ("http://127.0.0.1:7331/mcp", true),
            ("http://LOCALHOST:7331/", true),
            ("http://[::1]:7331/mcp", true),
            ("http://127.0.0.1:8000/mcp", false),
            ("https://example.com:7331/mcp", false),
            ("http://192.168.0.9:7331/mcp", false),
        ] {
            let plan = UrlPlan {
                url: Template::literal(url),
                headers: Vec::new(),
                transport: Transport::Auto,
            };
            assert_eq!(leads_back(&Kind::Url(plan), listen), expected, "{url}");
        }
    }
}
