//! Known exceedances: what is tolerated today and may only get better.
//!
//! A line is `rule path[::item] amount`. Invariants: an amount above the line's fails; an amount below
//! it fails too, with the command that writes the smaller number, so that no ground is lost again; no
//! rule's sum may be larger than in the commit before.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::Finding;

const PATH: &str = "xtask/tidy.ratchet";
const HEAD: &str =
    "# Known exceedances: rule, place, amount. May only shrink: `cargo xtask tidy --shrink`.\n";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ratchet {
    /// (rule, place) to amount.
    known: BTreeMap<(String, String), usize>,
}

impl Ratchet {
    /// The ratchet of the working tree; empty where there is none.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(root.join(PATH)) {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut known = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [rule, place, amount] = fields[..] else {
                return Err(format!("{PATH}:{number}: expected `rule place amount`"));
            };
            let amount =
                amount.parse().map_err(|_| format!("{PATH}:{number}: `{amount}` is no number"))?;
            known.insert((rule.to_owned(), place.to_owned()), amount);
        }
        Ok(Self { known })
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), String> {
        let mut text = HEAD.to_owned();
        for ((rule, place), amount) in &self.known {
            text.push_str(&format!("{rule} {place} {amount}\n"));
        }
        std::fs::write(root.join(PATH), text)
            .map_err(|error| format!("cannot write {PATH}: {error}"))
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The same places with today's amounts, where those are smaller.
    pub(super) fn shrink(&self, findings: &[Finding]) -> Self {
        let found = sums(findings);
        let smaller = |(place, &amount): (&(String, String), &usize)| {
            found.get(place).map(|&now| (place.clone(), now.min(amount)))
        };
        Self { known: self.known.iter().filter_map(smaller).collect() }
    }

    /// What is wrong, one line each: findings that are not tolerated, and tolerance that is not used.
    pub(super) fn judge(&self, findings: &[Finding]) -> Vec<String> {
        let found = sums(findings);
        let mut wrong = Vec::new();
        for finding in findings {
            let known = self.known.get(&place(finding)).copied().unwrap_or(0);
            if found[&place(finding)] > known {
                let Finding { rule, path, line, message, .. } = finding;
                wrong.push(format!("{path}:{line}: {message} [{rule}]"));
            }
        }
        for (place, &amount) in &self.known {
            let now = found.get(place).copied().unwrap_or(0);
            if now < amount {
                let (rule, place) = place;
                wrong.push(format!(
                    "{PATH}:1: {rule} {place} is {now} now, not {amount}: run cargo xtask tidy --shrink"
                ));
            }
        }
        wrong
    }

    /// Rules tolerated more than in the last commit, or in the one before it. Silent without history.
    pub(super) fn compare_with_history(&self, root: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        for commit in ["HEAD", "HEAD^"] {
            let Some(before) = committed(root, commit) else { continue };
            wrong.extend(self.grown(&before).into_iter().map(|(rule, was, now)| {
                format!("{PATH}:1: tolerates {rule} {now}, {was} in {commit}: it may only shrink")
            }));
        }
        wrong
    }

    fn grown(&self, before: &Self) -> Vec<(String, usize, usize)> {
        let by_rule = |ratchet: &Self| {
            let mut sums: BTreeMap<String, usize> = BTreeMap::new();
            for ((rule, _), amount) in &ratchet.known {
                *sums.entry(rule.clone()).or_default() += amount;
            }
            sums
        };
        let before = by_rule(before);
        by_rule(self)
            .into_iter()
            .map(|(rule, now)| (before.get(&rule).copied().unwrap_or(0), rule, now))
            .filter(|(was, _, now)| now > was)
            .map(|(was, rule, now)| (rule, was, now))
            .collect()
    }
}

fn committed(root: &Path, commit: &str) -> Option<Ratchet> {
    let output = Command::new("git")
        .args(["show", &format!("{commit}:{PATH}")])
        .current_dir(root)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| Ratchet::parse(&String::from_utf8_lossy(&output.stdout)).ok())?
}

fn place(finding: &Finding) -> (String, String) {
    let place = match finding.item.as_str() {
        "" => finding.path.clone(),
        item => format!("{}::{item}", finding.path),
    };
    (finding.rule.to_owned(), place)
}

fn sums(findings: &[Finding]) -> BTreeMap<(String, String), usize> {
    let mut sums = BTreeMap::new();
    for finding in findings {
        *sums.entry(place(finding)).or_default() += finding.amount;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, amount: usize) -> Finding {
        let (path, item) = (path.to_owned(), String::new());
        Finding { rule: "file-lines", path, line: 1, item, amount, message: "long".to_owned() }
    }

    #[test]
    fn the_ratchet_tolerates_what_it_knows_and_only_shrinks() {
        let ratchet =
            Ratchet::parse("# x\nfile-lines a.rs 600\nfile-lines b.rs 510\n").expect("valid");
        let today = [finding("a.rs", 600), finding("b.rs", 510)];
        assert_eq!(ratchet.judge(&today), [""; 0]);
        assert_eq!(ratchet.judge(&[finding("a.rs", 601), finding("b.rs", 510)]).len(), 1);
        assert_eq!(ratchet.judge(&[finding("a.rs", 600)]).len(), 1, "b.rs got better");
        assert_eq!(Ratchet::default().judge(&today).len(), 2);
        let shrunk = ratchet.shrink(&[finding("a.rs", 550), finding("c.rs", 900)]);
        assert_eq!(shrunk, Ratchet::parse("file-lines a.rs 550").expect("valid"));
        assert!(shrunk.grown(&ratchet).is_empty());
        assert_eq!(ratchet.grown(&shrunk), [("file-lines".to_owned(), 550, 1110)]);
        assert!(Ratchet::parse("file-lines a.rs").is_err());
        assert!(Ratchet::parse("file-lines a.rs many").is_err());
    }
}
