//! Which programs keep lists of MCP servers?

use std::fmt;

/// A program with a list of MCP servers. The order is the order of precedence: where two clients
/// declare different servers under one name, the earlier keeps the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientId {
    /// Claude Code: `~/.claude.json`, `.mcp.json`.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Cursor.
    Cursor,
    /// Visual Studio Code and its builds.
    VsCode,
    /// GitHub Copilot's own files.
    Copilot,
    /// Windsurf.
    Windsurf,
    /// Gemini CLI.
    Gemini,
    /// Codex.
    Codex,
    /// Zed.
    Zed,
    /// Goose.
    Goose,
    /// Cline, an extension of VS Code.
    Cline,
    /// Roo Code, an extension of VS Code.
    Roo,
    /// A project's `mcp.json`, which belongs to no client.
    Project,
}

impl ClientId {
    /// Every client, in order of precedence.
    pub const ALL: [Self; 13] = [
        Self::ClaudeCode,
        Self::ClaudeDesktop,
        Self::Cursor,
        Self::VsCode,
        Self::Copilot,
        Self::Windsurf,
        Self::Gemini,
        Self::Codex,
        Self::Zed,
        Self::Goose,
        Self::Cline,
        Self::Roo,
        Self::Project,
    ];

    /// The word for it in `kern.toml`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Copilot => "copilot",
            Self::Windsurf => "windsurf",
            Self::Gemini => "gemini",
            Self::Codex => "codex",
            Self::Zed => "zed",
            Self::Goose => "goose",
            Self::Cline => "cline",
            Self::Roo => "roo",
            Self::Project => "project",
        }
    }

    /// What a person calls it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Copilot => "Copilot",
            Self::Windsurf => "Windsurf",
            Self::Gemini => "Gemini CLI",
            Self::Codex => "Codex",
            Self::Zed => "Zed",
            Self::Goose => "Goose",
            Self::Cline => "Cline",
            Self::Roo => "Roo Code",
            Self::Project => "Project",
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}
