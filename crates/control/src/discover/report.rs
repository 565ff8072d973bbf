//! How is a discovery shown?
//!
//! Invariant: what is shown comes from fields that are safe to print, or goes through `printable`.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::{Discovery, FileState, Finding, Reason, Scope, Verdict};
use crate::consent::Consent;
use crate::show::printable;
use crate::table::table;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadsBack => f.write_str("it is kern itself"),
            Self::Disabled => f.write_str("disabled in its file"),
            Self::ClientOnly(why) | Self::Invalid(why) => f.write_str(why),
            Self::SameAs(name) => write!(f, "the same server as `{name}`"),
            Self::Shadowed(name) => write!(f, "the name `{name}` is declared nearer"),
            Self::NeedsConsent(Consent::Changed) => {
                f.write_str("its file changed since you agreed; needs consent")
            }
            Self::NeedsConsent(Consent::Refused) => f.write_str("you refused its file"),
            Self::NeedsConsent(_) => f.write_str("came with the project; needs consent"),
            Self::LeftOut => f.write_str("left out by kern.toml"),
            Self::TooMany => f.write_str("there are too many servers"),
        }
    }
}

impl Scope {
    /// One word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

impl Reason {
    /// A word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LeadsBack => "leads-back",
            Self::Disabled => "disabled",
            Self::ClientOnly(_) => "client-only",
            Self::Invalid(_) => "invalid",
            Self::SameAs(_) => "same",
            Self::Shadowed(_) => "shadowed",
            Self::NeedsConsent(_) => "needs-consent",
            Self::LeftOut => "left-out",
            Self::TooMany => "too-many",
        }
    }
}

impl Discovery {
    /// For eyes: one line an entry, then files that could not be read, then what to do.
    pub fn render(&self, home: Option<&Path>) -> String {
        let mut rows = Vec::new();
        let head = ["NAME", "USED", "FROM", "WHAT, OR WHY NOT"];
        rows.push(head.map(str::to_owned).to_vec());
        for finding in &self.findings {
            let place = short(&finding.path, home);
            let from = format!("{} ({place}:{})", finding.client, finding.line);
            let (name, used, what) = match &finding.verdict {
                Verdict::Used { name } => (name, "yes", finding.what.clone()),
                Verdict::Skipped(reason) => (&finding.declared_as, "no", reason.to_string()),
            };
            rows.push(vec![printable(name), used.to_owned(), from, printable(&what)]);
        }
        let mut text = String::new();
        if self.findings.is_empty() {
            text.push_str("No MCP servers are declared in any known client's files.\n");
        } else {
            text.push_str(&table(&rows));
        }
        for file in &self.files {
            if let FileState::Unreadable(why) = &file.state {
                let path = short(&file.path, home);
                text.push_str(&format!("\n{}: {path} cannot be read: {why}\n", file.client));
            }
        }
        for path in self.awaiting_consent() {
            let path = printable(&path.display().to_string());
            text.push_str(&format!("\nTo use what {path} declares: kern serve --trust {path}\n"));
        }
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .filter(|file| file.state != FileState::Absent)
            .map(|file| {
                let error = match &file.state {
                    FileState::Unreadable(why) => Some(why),
                    FileState::Absent | FileState::Read => None,
                };
                json!({
                    "client": file.client.id(),
                    "scope": file.scope.word(),
                    "path": file.path.display().to_string(),
                    "error": error,
                })
            })
            .collect();
        let servers: Vec<Value> = self.findings.iter().map(finding_json).collect();
        json!({ "files": files, "servers": servers })
    }
}

fn finding_json(finding: &Finding) -> Value {
    let (name, reason, detail) = match &finding.verdict {
        Verdict::Used { name } => (Some(name), None, None),
        Verdict::Skipped(reason) => (None, Some(reason.code()), Some(reason.to_string())),
    };
    json!({
        "declaredAs": finding.declared_as,
        "client": finding.client.id(),
        "scope": finding.scope.word(),
        "path": finding.path.display().to_string(),
        "line": finding.line,
        "what": finding.what,
        "used": name.is_some(),
        "name": name,
        "reason": reason,
        "detail": detail,
    })
}

/// `path` with the home folder written `~`, safe to print.
pub(crate) fn short(path: &Path, home: Option<&Path>) -> String {
    let shown = match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    };
    printable(&shown)
}
