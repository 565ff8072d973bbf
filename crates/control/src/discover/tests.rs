//! What is used, what is not, and why, over several clients' files at once.

use std::fs;
use std::path::Path;

use super::*;

struct World {
    folder: tempfile::TempDir,
    around: Surroundings,
    plan: DiscoverPlan,
    configured: Vec<UpstreamPlan>,
    trust: Vec<PathBuf>,
    answer: Answer,
    asked: Vec<ConsentRequest>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        let cwd = home.join("proj");
        fs::create_dir_all(cwd.join(".git")).expect("created");
        let around = Surroundings {
            home: Some(home),
            cwd,
            system_root: folder.path().to_owned(),
            ..Surroundings::fixture()
        };
        let plan = DiscoverPlan { clients: Clients::All, project: true, skip: Vec::new() };
        let (configured, trust, asked) = Default::default();
        Self { folder, around, plan, configured, trust, answer: Answer::Later, asked }
    }

    fn home(&self) -> &Path {
        self.around.home.as_deref().expect("a home")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn run(&mut self) -> (Discovery, Vec<UpstreamPlan>) {
        let limits = Limits::default();
        let options = DiscoverOptions {
            plan: &self.plan,
            listen: "127.0.0.1:7331".parse().ok(),
            configured: &self.configured,
            limits: &limits,
            trust: &self.trust,
        };
        let mut store = ConsentStore::open(&self.around);
        let (answer, asked) = (self.answer, &mut self.asked);
        let found = discover(&self.around, &options, &mut store, &mut |request| {
            asked.push(request.clone());
            answer
        });
        store.save().expect("saved");
        found
    }

    /// Compares verdicts, one `client name: verdict` each.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) -> Vec<UpstreamPlan> {
        let (discovery, upstreams) = self.run();
        let found: Vec<String> = discovery
            .findings
            .iter()
            .map(|finding| {
                let verdict = match &finding.verdict {
                    Verdict::Used { name } => format!("as {name}"),
                    Verdict::Skipped(reason) => reason.to_string(),
                };
                format!("{} {}: {verdict}", finding.client.id(), finding.declared_as)
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(discovery.used(), upstreams.len());
        upstreams
    }
}

#[test]
fn a_users_own_servers_are_used_once_each_under_distinct_names() {
    let mut world = World::new();
    world.write(
        ".claude.json",
        r#"{"mcpServers":{"github":{"command":"gh-mcp"},"kern":{"command":"kern"},"fs":{"command":"fs"}}}"#,
    );
    world.write(
        ".cursor/mcp.json",
        r#"{"mcpServers":{"github":{"url":"https://gh.example/mcp"},"files":{"command":"fs"},
           "kern":{"url":"http://localhost:7331/mcp"},"bad":{},"off":{"command":"x","disabled":true}}}"#,
    );
    world.write(".config/Code/User/mcp.json", r#"{"servers":{"a b":{"command":"${input:x}"}}}"#);
    let upstreams = world.check(&[
        "claude-code github: as github",
        "claude-code kern: it is kern itself",
        "claude-code fs: as fs",
        "cursor github: as github-cursor",
        "cursor files: the same server as `fs`",
        "cursor kern: it is kern itself",
        "cursor bad: it has neither a command nor a URL",
        "cursor off: disabled in its file",
        "vscode a b: `${input:x}` can only be filled in by the client it was written for",
    ]);
    let names: Vec<_> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    assert_eq!(names, ["fs", "github", "github-cursor"]);
    assert!(world.asked.is_empty());
}

#[test]
fn a_projects_commands_wait_for_consent_and_a_change_asks_again() {
    let mut world = World::new();
    world.write(
        "proj/.mcp.json",
        r#"{"mcpServers":{"db":{"command":"db","args":["--token","s3cret"]}}}"#,
    );
    world.check(&["claude-code db: came with the project; needs consent"]);
    assert_eq!(world.asked.len(), 1);
    assert_eq!(world.asked[0].commands, ["db --token ***"]);
    world.answer = Answer::Yes;
    world.check(&["claude-code db: as db"]);
    // Remembered: nobody is asked.
    world.answer = Answer::No;
    world.check(&["claude-code db: as db"]);
    world.write("proj/.mcp.json", r#"{"mcpServers":{"db":{"command":"evil"}}}"#);
    world.answer = Answer::Later;
    world.check(&["claude-code db: its file changed since you agreed; needs consent"]);
    assert!(world.asked.last().is_some_and(|request| request.changed));
    world.answer = Answer::No;
    world.check(&["claude-code db: you refused its file"]);
    let asked = world.asked.len();
    world.check(&["claude-code db: you refused its file"]);
    assert_eq!(world.asked.len(), asked);
    world.trust = vec![world.around.cwd.clone()];
    world.check(&["claude-code db: as db"]);
    world.trust.clear();
    world.check(&["claude-code db: as db"]);
}

#[test]
fn a_nearer_declaration_of_one_client_wins_and_only_when_it_may_be_used() {
    let mut world = World::new();
    world.write(".cursor/mcp.json", r#"{"mcpServers":{"db":{"command":"mine"}}}"#);
    world.write("proj/.cursor/mcp.json", r#"{"mcpServers":{"db":{"command":"theirs"}}}"#);
    world.check(&["cursor db: came with the project; needs consent", "cursor db: as db"]);
    world.answer = Answer::Yes;
    let upstreams =
        world.check(&["cursor db: as db", "cursor db: the name `db` is declared nearer"]);
    assert_eq!(crate::show::describe(&upstreams[0].kind), "theirs");
}

#[test]
fn kern_toml_comes_first_and_leaves_out_what_it_names() {
    let mut world = World::new();
    world.write(
        ".claude.json",
        r#"{"mcpServers":{"db":{"command":"other"},"same":{"command":"mine"},"no":{"command":"n"}}}"#,
    );
    world.write("proj/mcp.json", r#"{"mcpServers":{"p":{"command":"p"}}}"#);
    let config = crate::config::parse_plan("[upstream.db]\ncommand = \"mine\"").expect("valid");
    world.configured = config.plan.upstreams;
    world.plan.skip = vec!["no".to_owned()];
    world.plan.project = false;
    world.check(&[
        "claude-code db: the name `db` is declared nearer",
        "claude-code same: the same server as `db`",
        "claude-code no: left out by kern.toml",
        "project p: left out by kern.toml",
    ]);
    assert!(world.asked.is_empty(), "nobody is asked about files that do not count");
    world.plan.clients = Clients::Only(vec![ClientId::Zed]);
    let (discovery, upstreams) = world.run();
    assert!(upstreams.is_empty() && discovery.findings.len() == 4);
}

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn a_broken_file_costs_only_its_own_entries() {
    let mut world = World::new();
    world.write(".cursor/mcp.json", "{\"mcpServers\": {");
    world.write(".codex/config.toml", "[mcp_servers.a]\ncommand = \"a\"\n");
    world.check(&["codex a: as a"]);
    let (discovery, _) = world.run();
    let text = discovery.render(world.around.home.as_deref());
    assert!(text.contains("Cursor: ~/.cursor/mcp.json cannot be read: line "), "{text}");
    assert!(text.contains("Codex (~/.codex/config.toml:1)"), "{text}");
}

#[test]
fn no_report_shows_a_value() {
    let mut world = World::new();
    world.write(
        ".claude.json",
        r#"{"mcpServers":{"a":{"command":"x","env":{"KEY":"s3cret"}},
           "b":{"type":"http","url":"https://h/?k=s3cret","headers":{"Authorization":"s3cret"}}}}"#,
    );
    world.write("proj/.mcp.json", r#"{"mcpServers":{"c\u001b[2J":{"command":"\u001b[31mx"}}}"#);
    let (discovery, upstreams) = world.run();
    let home = world.folder.path().join("home");
    let shown = [
        discovery.render(Some(&home)),
        discovery.to_json().to_string(),
        format!("{discovery:?}"),
        format!("{upstreams:?}"),
    ];
    for text in shown {
        assert!(text.contains("KEY") && !text.contains("s3cret"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
    let json = discovery.to_json();
    assert_eq!(json["servers"][0]["declaredAs"], "c\u{1b}[2J");
    assert_eq!(json["servers"][0]["reason"], "needs-consent");
    assert_eq!(json["servers"][1]["used"], true);
}
