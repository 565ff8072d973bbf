//! What does `kern.toml` say?
//!
//! Two steps: text becomes a tree that knows its places (`node`), the tree becomes a checked plan
//! (`check`, `upstream`). Invariant: either a plan, or every problem that was found; never half.

mod check;
mod name;
mod nearest;
mod reader;
mod upstream;

use std::path::Path;

pub(crate) use check::parse_listen;
pub(crate) use name::{distinct_name, fit_name};
pub use nearest::nearest;
pub(crate) use upstream::{command_words, is_header_name, is_managed_header};

use crate::discover::ClientId;
use crate::error::Problem;
use crate::limits::PROBLEMS_MAX;
use crate::node::parse_toml;
use crate::plan::{Origin, Plan};

/// The checked content of a `kern.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What it asks for; its upstreams only, and no sources.
    pub plan: Plan,
    /// Whose servers to take besides.
    pub discover: DiscoverPlan,
    /// Upstreams with `enabled = false`.
    pub disabled: Vec<Origin>,
    /// What is allowed but unwise.
    pub warnings: Vec<Problem>,
}

/// `[discover]`: whether the servers of the user's clients are upstreams too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoverPlan {
    /// Whose files are read.
    pub clients: Clients,
    /// Whether files of the current project count, given consent.
    pub project: bool,
    /// Names left out, as declared.
    pub skip: Vec<String>,
}

/// Whose files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// Nobody's. What a `kern.toml` means unless it says otherwise.
    #[default]
    None,
    /// Every known client's. What the absence of a `kern.toml` means.
    All,
    /// These clients'. Sorted.
    Only(Vec<ClientId>),
}

/// Reads the text of a `kern.toml` as if it lay in `/`. Total: any text gives a config or problems.
///
/// # Errors
/// Every problem found.
pub fn parse_plan(text: &str) -> Result<Config, Vec<Problem>> {
    parse_config(text, Path::new("/kern.toml"), None)
}

/// Reads the text of the `kern.toml` at `path`; relative paths in it start at its folder, `~/` at
/// `home`.
///
/// # Errors
/// Every problem found, in the order of the file.
pub fn parse_config(text: &str, path: &Path, home: Option<&Path>) -> Result<Config, Vec<Problem>> {
    let root = parse_toml(text).map_err(|errors| {
        let problem = |error: crate::node::SyntaxError| {
            Problem::new(path, text, error.span, format!("not valid TOML: {}", error.message))
        };
        let mut problems: Vec<_> = errors.into_iter().take(PROBLEMS_MAX).map(problem).collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    })?;
    check::check(&root, text, path, home)
}

#[cfg(test)]
mod tests;
