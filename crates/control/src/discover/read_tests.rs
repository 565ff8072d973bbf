//! What each client's file means, by one fixture a client.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::ClientId;
use super::super::places::Scope;
use super::*;
use crate::show::describe;

fn place(shape: Shape, project: Option<&str>) -> Place {
    Place {
        client: ClientId::Project,
        scope: if project.is_some() { Scope::Project } else { Scope::User },
        shape,
        path: PathBuf::from("/home/u/dir/file"),
        project: project.map(PathBuf::from),
    }
}

/// Reads a fixture and compares each entry, one line each.
#[track_caller]
fn check(shape: Shape, project: Option<&str>, text: &str, expected: &[&str]) {
    let place = place(shape, project);
    let entries = read(&place, text, Some(Path::new("/home/u")), Path::new("/home/u/proj/sub"))
        .unwrap_or_else(|problem| panic!("{problem}"));
    let found: Vec<String> = entries.iter().map(show).collect();
    assert_eq!(found, expected);
}

fn show(entry: &Entry) -> String {
    let content = match &entry.content {
        Err(Unusable::Disabled) => "disabled".to_owned(),
        Err(Unusable::ClientOnly(why)) => format!("client only: {why}"),
        Err(Unusable::Invalid(why)) => format!("invalid: {why}"),
        Ok(content) => {
            let mut line = describe(&content.kind);
            match &content.kind {
                Kind::Url(plan) => line.push_str(&format!(" {:?}", plan.transport)),
                Kind::Command(plan) => {
                    let paths = [("cwd", &plan.cwd), ("envFile", &plan.env_file)];
                    for (name, path) in paths {
                        if let Some(path) = path {
                            line.push_str(&format!(" {name}={}", path.source_in_clear()));
                        }
                    }
                }
                Kind::Builtin(_) => {}
            }
            for ms in content.timeout_ms.iter().chain(&content.start_timeout_ms) {
                line.push_str(&format!(" {ms}ms"));
            }
            if content.tools != ToolFilter::default() {
                let include = content.tools.include.as_deref().unwrap_or_default();
                line.push_str(&format!(" +{include:?} -{:?}", content.tools.exclude));
            }
            line
        }
    };
    let local = if entry.local { " (local)" } else { "" };
    format!("{}:{}{local}: {content}", entry.line, entry.declared_as)
}

#[test]
fn claude_desktop() {
    check(
        Shape::Plain,
        None,
        include_str!("../../fixtures/claude_desktop_config.json"),
        &[
            "3:filesystem: npx -y @modelcontextprotocol/server-filesystem /home/u/Desktop",
            "7:brave: docker run -i --rm -e BRAVE_API_KEY mcp/brave-search  [env: BRAVE_API_KEY]",
        ],
    );
}

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn claude_code() {
    check(
        Shape::ClaudeState,
        None,
        include_str!("../../fixtures/claude.json"),
        &[
            "9:here (local): /opt/here --root ${env:ROOT} cwd=/home/u/proj",
            "24:notion: https://mcp.notion.com/mcp Http",
            "25:events: https://example.com/sse  [headers: x-api-key] Sse",
            "26:off: disabled",
            "27:ide: client only: it is built into its client",
        ],
    );
    check(
        Shape::Braces,
        Some("/home/u/proj"),
        include_str!("../../fixtures/project.mcp.json"),
        &[
            "3:db: ./tools/db --url ${env:DATABASE_URL}  [env: LEVEL] cwd=/home/u/proj",
            "8:api: ${env:API_BASE}/mcp  [headers: authorization] Http",
            "13:dynamic: client only: a program of its client makes its headers",
        ],
    );
}

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn cursor_windsurf_cline_and_roo() {
    check(
        Shape::Editor,
        Some("/home/u/proj"),
        include_str!("../../fixtures/cursor.mcp.json"),
        &[
            "3:local: uvx tool --root /home/u/proj  [env: KEY] cwd=/home/u/proj \
             envFile=/home/u/proj/.env",
            "9:remote: https://mcp.example.com/mcp  [headers: authorization] Auto",
            "10:one-word: npx -y some-server cwd=/home/u/proj",
            "11:empty: invalid: it has neither a command nor a URL",
        ],
    );
    check(
        Shape::Editor,
        None,
        include_str!("../../fixtures/windsurf_mcp_config.json"),
        &[
            "3:figma: https://mcp.figma.com/mcp  [headers: authorization] Auto +[] -[\"b\"]",
            "8:git: disabled",
        ],
    );
    check(
        Shape::Editor,
        None,
        include_str!("../../fixtures/cline_mcp_settings.json"),
        &[
            "3:github.com/org/weather: node /srv/weather.js 30000ms",
            "9:stream: https://h.example/mcp Http",
            "10:off: disabled",
        ],
    );
    check(
        Shape::Editor,
        None,
        include_str!("../../fixtures/roo_mcp_settings.json"),
        &[
            "3:stream: https://h.example/mcp Http +[] -[\"drop\"]",
            "8:local: python3 s.py cwd=/srv",
            "13:wrong: invalid: its type `carrier-pigeon` is not known",
        ],
    );
}

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn vscode() {
    check(
        Shape::VsCode,
        Some("/home/u/proj"),
        include_str!("../../fixtures/vscode.mcp.json"),
        &[
            "10:files: npx -y server /home/u/proj/data  [env: TOKEN] cwd=/home/u/proj \
             envFile=/home/u/proj/.env",
            "17:asks: client only: `${input:key}` can only be filled in by the client it was \
             written for",
            "18:docs: https://learn.microsoft.com/api/mcp Auto",
            "19:old: http://localhost:9000/sse Sse",
        ],
    );
}

#[test]
fn copilot() {
    check(
        Shape::Braces,
        None,
        include_str!("../../fixtures/copilot-mcp-config.json"),
        &[
            "3:playwright: npx @playwright/mcp@latest",
            "9:few: https://h.example/mcp Http +[\"a\", \"b\"] -[]",
        ],
    );
}

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn gemini() {
    check(
        Shape::Gemini,
        None,
        include_str!("../../fixtures/gemini-settings.json"),
        &[
            "8:py: python -m my.server  [env: KEY] cwd=/home/u/server 15000ms +[\"safe\"] \
             -[\"unsafe\"]",
            "17:sse: http://localhost:8080/sse Sse",
            "18:stream: https://h.example/mcp  [headers: authorization] Http",
            "19:banned: disabled",
        ],
    );
}

#[test]
fn codex() {
    check(
        Shape::Codex,
        None,
        include_str!("../../fixtures/codex-config.toml"),
        &[
            "4:context7: npx -y @upstash/context7-mcp  [env: A, LOCAL_TOKEN] 45000ms 20000ms \
             +[\"search\"] -[\"slow\"]",
            "15:figma: https://mcp.figma.com/mcp  [headers: authorization, x-region, x-user] Auto",
            "21:off: disabled",
            "25:inline: invalid: `bearer_token` is refused there too; use `bearer_token_env_var`",
        ],
    );
}

#[test]
fn zed() {
    check(
        Shape::Zed,
        None,
        include_str!("../../fixtures/zed-settings.json"),
        &[
            "6:flat: some-command arg  [env: A]",
            "13:nested: /bin/tool --x",
            "16:remote: https://h.example/mcp  [headers: authorization] Auto",
            "20:extension: client only: it is an extension of its client",
        ],
    );
}

#[test]
fn goose() {
    check(
        Shape::Goose,
        None,
        include_str!("../../fixtures/goose-config.yaml"),
        &[
            "4:developer: client only: it is built into its client",
            "9:fetch: uvx mcp-server-fetch  [env: A, GITHUB_TOKEN] 300000ms",
            "20:remote: https://h.example/mcp  [headers: authorization] Http",
            "28:old: http://localhost:1/sse Sse",
            "32:off: disabled",
            "37:nested: npx -y @my/tool 120000ms",
        ],
    );
}

#[test]
fn a_file_with_an_error_says_where() {
    let place = place(Shape::Braces, None);
    let problem = read(&place, "{\n  \"mcpServers\": {\n", None, Path::new("/")).expect_err("bad");
    assert!(problem.line >= 1 && !problem.message.is_empty(), "{problem}");
    for text in ["", "null", "[]", "{\"mcpServers\": 3}", "{\"mcpServers\": {\"a\": 1}}"] {
        let entries = read(&place, text, None, Path::new("/")).expect("readable");
        assert!(entries.iter().all(|entry| entry.content.is_err()), "{text}");
    }
}

/// The fenced blocks of a page: the heading above each, its language and its text.
fn blocks(page: &str) -> Vec<(&str, &str, &str)> {
    let mut heading = "";
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        heading = line.strip_prefix("## ").unwrap_or(heading);
        if let Some(language) = line.strip_prefix("```") {
            let (text, after) = rest.split_once("\n```").expect("a closed block");
            blocks.push((heading, language, text));
            rest = after.split_once('\n').map_or("", |(_, after)| after);
        }
    }
    blocks
}

#[test]
fn what_the_documentation_tells_users_to_write_is_understood() {
    let page = include_str!("../../../../docs/clients.md");
    let blocks = blocks(page);
    assert!(blocks.len() >= 20);
    for (heading, _, text) in blocks {
        let shape = match heading {
            "Claude Code" | "Copilot" => Shape::Braces,
            "Claude Desktop" => Shape::Plain,
            "Cursor" | "Windsurf" | "Cline" | "Roo Code" => Shape::Editor,
            "VS Code" => Shape::VsCode,
            "Gemini CLI" => Shape::Gemini,
            "Codex" => Shape::Codex,
            "Zed" => Shape::Zed,
            "Goose" => Shape::Goose,
            _ => panic!("{heading}"),
        };
        let entries = read(&place(shape, None), text, None, Path::new("/")).expect("readable");
        assert_eq!(entries.len(), 1, "{heading}");
        let content = entries[0].content.as_ref().expect("usable");
        let listen = "127.0.0.1:7331".parse().ok();
        assert!(super::super::mirror::leads_back(&content.kind, listen), "{heading}: {text}");
        if let Kind::Url(plan) = &content.kind {
            assert_ne!(plan.transport, Transport::Sse, "{heading}");
        }
    }
    let page = include_str!("../../../../docs/configuration.md");
    for (_, language, text) in self::blocks(page) {
        assert_eq!(language, "toml");
        let config = crate::config::parse_plan(text).expect("valid");
        assert!(config.warnings.is_empty());
    }
    for client in ClientId::ALL {
        assert!(page.contains(&format!("| `{}` |", client.id())), "{client}");
    }
}

const FIXTURES: [&str; 4] = [
    include_str!("../../fixtures/vscode.mcp.json"),
    include_str!("../../fixtures/codex-config.toml"),
    include_str!("../../fixtures/goose-config.yaml"),
    include_str!("../../fixtures/claude.json"),
];

proptest! {
    #[test]
    fn no_damaged_file_of_a_client_breaks_the_reader(
        which in 0..FIXTURES.len(), at in 0_usize..800, length in 0_usize..40,
        insert in "[\\[\\]{}\"':,#$a1\n -]{0,6}"
    ) {
        let mut text = FIXTURES[which].to_owned();
        let (start, end) = (at.min(text.len()), (at + length).min(text.len()));
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            text.replace_range(start..end, &insert);
        }
        for shape in Shape::ALL {
            if let Ok(entries) = read(&place(shape, Some("/p")), &text, None, Path::new("/p")) {
                for entry in &entries {
                    drop(show(entry));
                }
            }
        }
    }
}
