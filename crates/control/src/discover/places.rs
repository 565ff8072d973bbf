//! Where does each client keep its list of servers, on each operating system?
//!
//! Sources: the clients' own documentation, checked 2026-11. Invariants: a path is listed once;
//! the order is the order of precedence; files of a project are sought from the current folder up
//! to the root of its repository and never in the home folder, whose files are the user's.

use std::path::{Path, PathBuf};

use super::ClientId;
use crate::limits::{ANCESTORS_MAX, PROFILES_MAX};
use crate::surroundings::{Os, Surroundings};

/// Who wrote a file, and so whether its commands may be run unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Came with a project: consent is needed.
    Project,
    /// The user's own.
    User,
    /// The administrator's.
    System,
}

/// How a file spells its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `mcpServers`, `${NAME}`: Claude Code, Copilot, generic project files.
    Braces,
    /// `mcpServers`, also per project: `~/.claude.json`.
    ClaudeState,
    /// `mcpServers`, nothing expanded: Claude Desktop.
    Plain,
    /// `mcpServers`, `${env:NAME}`: Cursor, Windsurf, Cline, Roo.
    Editor,
    /// `servers` and `inputs`: VS Code.
    VsCode,
    /// `mcpServers` and `mcp`, `$NAME`: Gemini.
    Gemini,
    /// TOML, `mcp_servers`: Codex.
    Codex,
    /// `context_servers`: Zed.
    Zed,
    /// YAML, `extensions`: Goose.
    Goose,
}

impl Shape {
    /// Every shape.
    pub(crate) const ALL: [Self; 9] = [
        Self::Braces,
        Self::ClaudeState,
        Self::Plain,
        Self::Editor,
        Self::VsCode,
        Self::Gemini,
        Self::Codex,
        Self::Zed,
        Self::Goose,
    ];
}

/// A file that may list servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) client: ClientId,
    pub(crate) scope: Scope,
    pub(crate) shape: Shape,
    pub(crate) path: PathBuf,
    /// The project's folder, for files of a project.
    pub(crate) project: Option<PathBuf>,
}

/// Builds of VS Code, by the name of their settings folder.
const VSCODE_BUILDS: &[&str] = &["Code", "Code - Insiders", "VSCodium"];
/// Editors that Cline and Roo run in.
const EXTENSION_HOSTS: &[&str] = &["Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf"];

/// Files of a project, relative to its folder.
const PROJECT_FILES: &[(ClientId, Shape, &str)] = &[
    (ClientId::ClaudeCode, Shape::Braces, ".mcp.json"),
    (ClientId::Cursor, Shape::Editor, ".cursor/mcp.json"),
    (ClientId::VsCode, Shape::VsCode, ".vscode/mcp.json"),
    (ClientId::Copilot, Shape::Braces, ".github/mcp.json"),
    (ClientId::Gemini, Shape::Gemini, ".gemini/settings.json"),
    (ClientId::Codex, Shape::Codex, ".codex/config.toml"),
    (ClientId::Zed, Shape::Zed, ".zed/settings.json"),
    (ClientId::Roo, Shape::Editor, ".roo/mcp.json"),
    (ClientId::Project, Shape::Braces, "mcp.json"),
];

/// Every place, in order of precedence.
pub(crate) fn places(around: &Surroundings) -> Vec<Place> {
    let mut places = Vec::new();
    user_places(around, &mut places);
    system_places(around, &mut places);
    let own: Vec<PathBuf> = places.iter().map(|place| place.path.clone()).collect();
    for folder in project_folders(around) {
        for (client, shape, file) in PROJECT_FILES {
            let path = folder.join(file);
            if !own.contains(&path) {
                let project = Some(folder.clone());
                let scope = Scope::Project;
                places.push(Place { client: *client, scope, shape: *shape, path, project });
            }
        }
    }
    // Stable, so that nearer folders stay before farther ones.
    places.sort_by_key(|place| (place.client, place.scope));
    places
}

fn user_places(around: &Surroundings, places: &mut Vec<Place>) {
    let mut add = |client, shape, path: Option<PathBuf>| {
        let Some(path) = path else { return };
        places.push(Place { client, scope: Scope::User, shape, path, project: None });
    };
    let home = |path: &str| around.home.as_deref().map(|home| home.join(path));
    let app = around.app_config();
    let in_app = |path: &str| app.as_deref().map(|app| app.join(path));
    add(ClientId::ClaudeCode, Shape::ClaudeState, claude_state(around));
    add(ClientId::ClaudeDesktop, Shape::Plain, in_app("Claude/claude_desktop_config.json"));
    add(ClientId::Cursor, Shape::Editor, home(".cursor/mcp.json"));
    for build in VSCODE_BUILDS {
        let Some(user) = in_app(&format!("{build}/User")) else { continue };
        add(ClientId::VsCode, Shape::VsCode, Some(user.join("mcp.json")));
        for profile in profiles(&user) {
            add(ClientId::VsCode, Shape::VsCode, Some(profile.join("mcp.json")));
        }
    }
    let copilot = around.folder_variable("COPILOT_HOME").or_else(|| home(".copilot"));
    add(ClientId::Copilot, Shape::Braces, copilot.map(|folder| folder.join("mcp-config.json")));
    add(ClientId::Windsurf, Shape::Editor, home(".codeium/windsurf/mcp_config.json"));
    add(ClientId::Gemini, Shape::Gemini, home(".gemini/settings.json"));
    let codex = around.folder_variable("CODEX_HOME").or_else(|| home(".codex"));
    add(ClientId::Codex, Shape::Codex, codex.map(|folder| folder.join("config.toml")));
    let zed = match around.os {
        Os::Windows => in_app("Zed/settings.json"),
        Os::Linux | Os::MacOs => around.xdg_config().map(|xdg| xdg.join("zed/settings.json")),
    };
    add(ClientId::Zed, Shape::Zed, zed);
    let goose = match around.os {
        Os::Windows => in_app("Block/goose/config/config.yaml"),
        Os::Linux | Os::MacOs => around.xdg_config().map(|xdg| xdg.join("goose/config.yaml")),
    };
    add(ClientId::Goose, Shape::Goose, goose);
    for (client, file) in [
        (ClientId::Cline, "saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
        (ClientId::Roo, "rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
    ] {
        for host in EXTENSION_HOSTS {
            add(client, Shape::Editor, in_app(&format!("{host}/User/globalStorage/{file}")));
        }
    }
}

/// `~/.claude.json`, or within `$CLAUDE_CONFIG_DIR`.
fn claude_state(around: &Surroundings) -> Option<PathBuf> {
    let folder = around.folder_variable("CLAUDE_CONFIG_DIR");
    Some(folder.or_else(|| around.home.clone())?.join(".claude.json"))
}

fn system_places(around: &Surroundings, places: &mut Vec<Place>) {
    let root = &around.system_root;
    let gemini = around.folder_variable("GEMINI_CLI_SYSTEM_SETTINGS_PATH").unwrap_or_else(|| {
        match around.os {
            Os::Linux => root.join("etc/gemini-cli/settings.json"),
            Os::MacOs => root.join("Library/Application Support/GeminiCli/settings.json"),
            Os::Windows => {
                let data = around.variable("ProgramData").unwrap_or("C:\\ProgramData");
                PathBuf::from(data).join("gemini-cli/settings.json")
            }
        }
    });
    places.push(Place {
        client: ClientId::Gemini,
        scope: Scope::System,
        shape: Shape::Gemini,
        path: gemini,
        project: None,
    });
}

/// The folders of VS Code's profiles, sorted.
fn profiles(user: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(user.join("profiles")) else { return Vec::new() };
    let folders = entries.take(PROFILES_MAX).filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The current folder and, within a repository, those above it up to its root; nearest first.
fn project_folders(around: &Surroundings) -> Vec<PathBuf> {
    let is_home = |folder: &Path| around.home.as_deref() == Some(folder);
    let mut folders = Vec::new();
    for folder in around.cwd.ancestors().take(ANCESTORS_MAX) {
        if is_home(folder) {
            break;
        }
        folders.push(folder.to_owned());
        if folder.join(".git").exists() {
            return folders;
        }
    }
    // No repository: what lies above may be anybody's.
    folders.truncate(1);
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(around: &Surroundings, expected: &[(&str, &str)]) {
        let places = places(around);
        for (id, path) in expected {
            let found = places
                .iter()
                .any(|place| place.client.id() == *id && place.path == Path::new(path));
            assert!(found, "{id} {path} is not among {places:#?}");
        }
    }

    #[test]
    fn every_client_is_found_on_linux() {
        check(
            &Surroundings::fixture(),
            &[
                ("claude-desktop", "/home/u/.config/Claude/claude_desktop_config.json"),
                ("claude-code", "/home/u/.claude.json"),
                ("claude-code", "/home/u/proj/.mcp.json"),
                ("cursor", "/home/u/.cursor/mcp.json"),
                ("cursor", "/home/u/proj/.cursor/mcp.json"),
                ("vscode", "/home/u/.config/Code/User/mcp.json"),
                ("vscode", "/home/u/.config/VSCodium/User/mcp.json"),
                ("vscode", "/home/u/proj/.vscode/mcp.json"),
                ("copilot", "/home/u/.copilot/mcp-config.json"),
                ("windsurf", "/home/u/.codeium/windsurf/mcp_config.json"),
                ("gemini", "/home/u/.gemini/settings.json"),
                ("gemini", "/etc/gemini-cli/settings.json"),
                ("gemini", "/home/u/proj/.gemini/settings.json"),
                ("codex", "/home/u/.codex/config.toml"),
                ("zed", "/home/u/.config/zed/settings.json"),
                ("goose", "/home/u/.config/goose/config.yaml"),
                (
                    "cline",
                    "/home/u/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/\
                     cline_mcp_settings.json",
                ),
                (
                    "roo",
                    "/home/u/.config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/\
                     mcp_settings.json",
                ),
                ("project", "/home/u/proj/mcp.json"),
            ],
        );
    }

    #[test]
    fn every_client_is_found_on_macos() {
        let around = Surroundings { os: Os::MacOs, ..Surroundings::fixture() };
        let app = "/home/u/Library/Application Support";
        check(
            &around,
            &[
                ("claude-desktop", &format!("{app}/Claude/claude_desktop_config.json")),
                ("vscode", &format!("{app}/Code/User/mcp.json")),
                ("gemini", "/Library/Application Support/GeminiCli/settings.json"),
                ("zed", "/home/u/.config/zed/settings.json"),
                ("goose", "/home/u/.config/goose/config.yaml"),
            ],
        );
    }

    #[test]
    fn every_client_is_found_on_windows() {
        let around = Surroundings { os: Os::Windows, ..Surroundings::fixture() }
            .with_variable("APPDATA", "/roam")
            .with_variable("ProgramData", "/data");
        check(
            &around,
            &[
                ("claude-desktop", "/roam/Claude/claude_desktop_config.json"),
                ("claude-code", "/home/u/.claude.json"),
                ("vscode", "/roam/Code/User/mcp.json"),
                ("gemini", "/data/gemini-cli/settings.json"),
                ("zed", "/roam/Zed/settings.json"),
                ("goose", "/roam/Block/goose/config/config.yaml"),
            ],
        );
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
    fn a_clients_own_variable_moves_its_files() {
        let around = Surroundings::fixture()
            .with_variable("CODEX_HOME", "/c")
            .with_variable("COPILOT_HOME", "/p")
            .with_variable("XDG_CONFIG_HOME", "/x")
            .with_variable("CLAUDE_CONFIG_DIR", "/cl")
            .with_variable("GEMINI_CLI_SYSTEM_SETTINGS_PATH", "/g.json");
        check(
            &around,
            &[
                ("codex", "/c/config.toml"),
                ("copilot", "/p/mcp-config.json"),
                ("zed", "/x/zed/settings.json"),
                ("claude-code", "/cl/.claude.json"),
                ("gemini", "/g.json"),
            ],
        );
    }

    #[test]
    fn a_project_reaches_up_to_its_repository_and_no_further() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("outer/repo");
        let cwd = root.join("a/b");
        std::fs::create_dir_all(&cwd).expect("created");
        let mut around = Surroundings { cwd: cwd.clone(), ..Surroundings::fixture() };
        assert_eq!(project_folders(&around), [cwd.as_path()]);
        std::fs::create_dir(root.join(".git")).expect("created");
        assert_eq!(project_folders(&around), [cwd.clone(), root.join("a"), root.clone()]);
        around.home = Some(root.clone());
        assert_eq!(project_folders(&around), [cwd.as_path()]);
        around.cwd = root;
        assert!(project_folders(&around).is_empty());
    }

    #[test]
    fn a_profile_of_vscode_is_a_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = folder.path().join("Code/User/profiles/-3f2a");
        std::fs::create_dir_all(&profile).expect("created");
        let config = folder.path().display().to_string();
        let around = Surroundings::fixture().with_variable("XDG_CONFIG_HOME", &config);
        check(&around, &[("vscode", &profile.join("mcp.json").display().to_string())]);
    }
}
