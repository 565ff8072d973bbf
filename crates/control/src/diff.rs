//! What must be started, stopped or restarted to get from one plan to the next?
//!
//! Invariant: every upstream name of either plan is in exactly one list.

use crate::plan::Plan;

/// The change between two plans. All lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Upstreams only in the new plan.
    pub added: Vec<String>,
    /// Upstreams only in the old plan.
    pub removed: Vec<String>,
    /// Upstreams in both, with other settings.
    pub changed: Vec<String>,
    /// Upstreams in both, with the same settings.
    pub unchanged: Vec<String>,
    /// Whether `[serve]` differs; listeners and cores are fixed for a process's life, so this asks
    /// for a restart.
    pub serve_changed: bool,
    /// Whether `[limits]` differs.
    pub limits_changed: bool,
    /// Whether `[log]` differs.
    pub log_changed: bool,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && !(self.serve_changed || self.limits_changed || self.log_changed)
    }
}

/// Compares two plans. Which file declares an upstream is not a difference.
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    let mut diff = Diff {
        serve_changed: old.serve != new.serve,
        limits_changed: old.limits != new.limits,
        log_changed: old.log != new.log,
        ..Diff::default()
    };
    for upstream in &new.upstreams {
        let list = match old.upstream(&upstream.name) {
            None => &mut diff.added,
            Some(before) if before.same_settings(upstream) => &mut diff.unchanged,
            Some(_) => &mut diff.changed,
        };
        list.push(upstream.name.clone());
    }
    for upstream in &old.upstreams {
        if new.upstream(&upstream.name).is_none() {
            diff.removed.push(upstream.name.clone());
        }
    }
    diff
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::plan::{Builtin, Instances, Kind, Origin, ToolFilter, UpstreamPlan};

    fn echo(name: &str, timeout_ms: u64) -> UpstreamPlan {
        UpstreamPlan {
            name: name.to_owned(),
            origin: Origin::default(),
            kind: Kind::Builtin(Builtin::Echo),
            instances: Instances::Auto,
            timeout_ms,
            start_timeout_ms: 1_000,
            tools: ToolFilter::default(),
        }
    }

    #[test]
    fn a_reload_restarts_only_what_changed() {
        let old =
            Plan { upstreams: vec![echo("a", 1), echo("b", 1), echo("c", 1)], ..Plan::default() };
        let mut kept = echo("a", 1);
        kept.origin.path = PathBuf::from("/elsewhere");
        let new = Plan { upstreams: vec![kept, echo("b", 2), echo("d", 1)], ..Plan::default() };
        let found = diff(&old, &new);
        assert_eq!(found.unchanged, ["a"]);
        assert_eq!(found.changed, ["b"]);
        assert_eq!(found.removed, ["c"]);
        assert_eq!(found.added, ["d"]);
        assert!(!found.is_empty() && diff(&old, &old).is_empty());
        assert_eq!(old.upstreams[0].fingerprint(), new.upstreams[0].fingerprint());
        assert_ne!(old.upstreams[1].fingerprint(), new.upstreams[1].fingerprint());
    }
}
