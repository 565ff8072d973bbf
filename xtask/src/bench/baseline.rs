//! What did a message cost when the figures were last accepted, and what grew since?
//!
//! A text file, a line a case, so that a change to it can be read in a review. Invariant: a case
//! that is not in the file fails the comparison, so that none goes unwatched.

use std::fmt::Write as _;
use std::path::Path;

use super::cost::GROWTH_MOST;

/// What one message of a case costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cost {
    pub(super) name: String,
    /// Of user space; `None` where they were not counted.
    pub(super) instructions: Option<f64>,
    pub(super) allocations: f64,
}

/// The accepted figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Baseline {
    /// Of which compiler and processor the instructions are.
    pub(super) platform: String,
    costs: Vec<Cost>,
}

const PLATFORM: &str = "# platform: ";
const HEAD: &str = "\
# What one message costs: instructions of user space, and allocations.
# Compared by `cargo xtask ci` and `cargo xtask bench cost`; more than 3 % above fails.
# A change that is worth its cost writes them anew: `cargo xtask bench cost --accept`.
";
/// Allocations that may come and go from run to run: a table that grows once in a thousand messages.
const ALLOCATIONS_SLACK: f64 = 0.005;

impl Baseline {
    /// Reads the file; an absent one is empty.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut baseline = Self::default();
        for line in text.lines() {
            if let Some(platform) = line.strip_prefix(PLATFORM) {
                platform.clone_into(&mut baseline.platform);
            }
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let cost = || {
                let [name, instructions, allocations] = words[..] else { return None };
                let instructions = match instructions {
                    "-" => None,
                    number => Some(number.parse().ok()?),
                };
                Some(Cost {
                    name: name.into(),
                    instructions,
                    allocations: allocations.parse().ok()?,
                })
            };
            baseline.costs.push(cost().ok_or_else(|| format!("not a line of figures: {line}"))?);
        }
        Ok(baseline)
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}{PLATFORM}{}\n", self.platform);
        for cost in &self.costs {
            let count = cost.instructions.map_or("-".to_owned(), |count| format!("{count:.0}"));
            writeln!(text, "{:<32} {count:>10} {:>8.2}", cost.name, cost.allocations)
                .expect("a string takes everything");
        }
        text
    }

    /// Takes `costs` as the figures to compare with; cases not measured keep theirs.
    pub(super) fn accept(
        mut self,
        path: &Path,
        platform: &str,
        costs: &[Cost],
    ) -> Result<(), String> {
        platform.clone_into(&mut self.platform);
        for cost in costs {
            match self.costs.iter_mut().find(|known| known.name == cost.name) {
                Some(known) => *known = cost.clone(),
                None => self.costs.push(cost.clone()),
            }
        }
        let text = self.text();
        print!("{text}");
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Prints figures and changes.
    ///
    /// # Errors
    /// Names what grew too much.
    pub(super) fn compare(&self, costs: &[Cost]) -> Result<(), String> {
        println!("{:<32} {:>12} {:>8} {:>12} {:>8}", "case", "instructions", "", "allocations", "");
        let mut grown = Vec::new();
        for cost in costs {
            let Some(known) = self.costs.iter().find(|known| known.name == cost.name) else {
                grown.push(format!("{}: has no accepted figure yet", cost.name));
                continue;
            };
            let change = cost.instructions.zip(known.instructions);
            let change = change.map(|(now, then)| (now, then, now / then - 1.0));
            let (count, percent) = change.map_or(("-".into(), String::new()), |(now, _, by)| {
                (format!("{now:.0}"), format!("{:+.1} %", by * 100.0))
            });
            println!(
                "{:<32} {count:>12} {percent:>8} {:>12.2} {:>8.2}",
                cost.name,
                cost.allocations,
                cost.allocations - known.allocations
            );
            if let Some((now, then, by)) = change.filter(|(_, _, by)| *by > GROWTH_MOST) {
                let by = by * 100.0;
                grown.push(format!(
                    "{}: {now:.0} instructions a message, {then:.0} before: {by:+.1} %",
                    cost.name
                ));
            }
            let most = known.allocations * (1.0 + GROWTH_MOST) + ALLOCATIONS_SLACK;
            if cost.allocations > most {
                grown.push(format!(
                    "{}: {:.2} allocations a message, {:.2} before",
                    cost.name, cost.allocations, known.allocations
                ));
            }
        }
        if grown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "a message costs more than before:\n  {}\nwhere from: `cargo xtask bench cost --profiles \
             FOLDER --only CASE`, then callgrind_annotate; if it is worth it: `cargo xtask bench cost \
             --accept`, and say why in the commit",
            grown.join("\n  ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(name: &str, instructions: Option<f64>, allocations: f64) -> Cost {
        Cost { name: name.into(), instructions, allocations }
    }

    #[test]
    fn growth_beyond_the_limit_is_named_and_nothing_else() {
        let known = Baseline {
            platform: "rustc 1, x".into(),
            costs: vec![cost("a", Some(1000.0), 0.0), cost("b", None, 4.0)],
        };
        assert_eq!(Baseline::parse(&known.text()), Ok(known.clone()));
        let check = |costs: &[Cost], named: &[&str]| {
            let said = known.compare(costs).err().unwrap_or_default();
            assert_eq!(said.is_empty(), named.is_empty(), "{said}");
            assert!(named.iter().all(|name| said.contains(name)), "{said}");
        };
        check(&[cost("a", Some(1029.0), 0.0), cost("b", Some(7.0), 4.1)], &[]);
        check(&[cost("a", None, 0.004), cost("b", None, 1.0)], &[]);
        check(&[cost("a", Some(1031.0), 0.0)], &["a: 1031 instructions", "+3.1 %"]);
        check(&[cost("a", Some(900.0), 0.01)], &["a: 0.01 allocations"]);
        check(&[cost("c", Some(1.0), 0.0)], &["c: has no accepted figure"]);
    }
}
