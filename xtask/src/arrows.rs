//! `cargo xtask arrows`: do the rooms depend on each other as the design says?
//!
//! The design is the table under `## Arrows` in ARCHITECTURE.md; the truth is `cargo metadata`.
//! Invariants: a dependency that the table lacks fails, and so does one that only the table has;
//! development dependencies are not arrows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Longest chain of rooms, each depending on the next.
const DEPTH_MAX: usize = 5;
const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Arrows";

/// Which rooms each room depends on.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Compares the table with the workspace.
///
/// # Errors
/// When they differ, when the chain is too long, and when either cannot be read.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let path = root.join(DOCUMENT);
    let text = std::fs::read_to_string(path).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let designed = parse_table(&text)?;
    let real = read_workspace(root)?;
    let mut wrong = differences(&designed, &real);
    match longest(&real) {
        Some(chain) => {
            println!("arrows: {} rooms, depth {}: {}", real.len(), chain.len(), chain.join(" → "));
            if chain.len() > DEPTH_MAX {
                wrong.push(format!("depth {} is above {DEPTH_MAX}: merge or move", chain.len()));
            }
        }
        None => wrong.push("the rooms depend on each other in a circle".to_owned()),
    }
    for line in &wrong {
        println!("{DOCUMENT}: {line}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("arrows: {} differences", wrong.len())) }
}

/// Reads the table: the first column names a room, the second the rooms it depends on.
fn parse_table(text: &str) -> Result<Edges, String> {
    let section = text
        .split_once(&format!("{HEADING}\n"))
        .map(|(_, after)| after.split("\n## ").next().unwrap_or(after))
        .ok_or_else(|| format!("{DOCUMENT} has no heading `{HEADING}`"))?;
    let mut edges = Edges::new();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [room, others, ..] = cells[..] else {
            return Err(format!("{DOCUMENT}: a row without two columns: {row}"));
        };
        let room = names(room).next().ok_or_else(|| format!("{DOCUMENT}: no room in {row}"))?;
        if edges.insert(room.clone(), names(others).collect()).is_some() {
            return Err(format!("{DOCUMENT}: `{room}` has two rows"));
        }
    }
    if edges.is_empty() {
        return Err(format!("{DOCUMENT}: no table under `{HEADING}`"));
    }
    Ok(edges)
}

/// The names in a cell: words of letters, digits, `-` and `_`; a dash alone is none.
fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(str::to_owned)
}

/// The rooms are the workspace's packages, named by their folders.
fn read_workspace(root: &Path) -> Result<Edges, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("metadata: {error}"))?;
    edges_of(&metadata).ok_or_else(|| "cargo metadata looks unlike itself".to_owned())
}

fn edges_of(metadata: &Value) -> Option<Edges> {
    let packages = metadata["packages"].as_array()?;
    let mut rooms = BTreeMap::new();
    for package in packages {
        let manifest = Path::new(package["manifest_path"].as_str()?);
        let room = manifest.parent()?.file_name()?.to_str()?;
        rooms.insert(package["name"].as_str()?, room.to_owned());
    }
    let mut edges = Edges::new();
    for package in packages {
        let needed = package["dependencies"].as_array()?.iter().filter(|one| one["kind"] != "dev");
        let internal = needed.filter_map(|one| rooms.get(one["name"].as_str()?).cloned()).collect();
        edges.insert(rooms[package["name"].as_str()?].clone(), internal);
    }
    Some(edges)
}

fn differences(designed: &Edges, real: &Edges) -> Vec<String> {
    let none = BTreeSet::new();
    let mut wrong = Vec::new();
    for room in designed.keys().chain(real.keys()).collect::<BTreeSet<_>>() {
        match (designed.contains_key(room), real.contains_key(room)) {
            (true, false) => {
                wrong.push(format!("`{room}` is in the table but not in the workspace"))
            }
            (false, true) => {
                wrong.push(format!("`{room}` is in the workspace but not in the table"))
            }
            _ => {}
        }
        let plan = designed.get(room).unwrap_or(&none);
        let fact = real.get(room).unwrap_or(&none);
        for other in fact.difference(plan) {
            wrong.push(format!(
                "`{room}` depends on `{other}`, which the table does not allow: remove it from {room}'s Cargo.toml, or change the design"
            ));
        }
        for other in plan.difference(fact) {
            wrong.push(format!(
                "the table says `{room}` depends on `{other}`; it does not: remove it"
            ));
        }
    }
    wrong
}

/// The longest chain; `None` where the edges have a circle.
fn longest(edges: &Edges) -> Option<Vec<String>> {
    let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // Each round settles every room whose dependencies are settled.
    while known.len() < edges.len() {
        let before = known.len();
        for (room, others) in edges {
            let settled = others.iter().all(|other| known.contains_key(other.as_str()));
            if settled && !known.contains_key(room.as_str()) {
                let below = others.iter().map(|other| &known[other.as_str()]);
                let deepest = below.max_by_key(|chain| chain.len()).cloned().unwrap_or_default();
                known.insert(room, std::iter::once(room.clone()).chain(deepest).collect());
            }
        }
        if known.len() == before {
            return None;
        }
    }
    Some(known.into_values().max_by_key(Vec::len).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Edges {
        let rows = text.split(';').filter(|row| !row.is_empty());
        rows.map(|row| {
            let (room, others) = row.split_once(':').expect("room: others");
            (room.to_owned(), names(others).collect())
        })
        .collect()
    }

    #[test]
    fn the_table_is_read_and_nothing_around_it() {
        let text = "# A\n\n| x | y |\n|---|---|\n| no | no |\n\n## Arrows\n\nWords.\n\n| room | may depend on |\n|---|---|\n| `a` | `b`, `c` |\n| `b` | — |\n| `c` | |\n\n## More\n\n| d | e |\n";
        assert_eq!(parse_table(text), Ok(edges("a:b,c;b:;c:")));
        assert!(parse_table("# A").is_err());
        assert!(parse_table("## Arrows\n\nWords.\n").is_err());
    }

    #[test]
    fn a_missing_and_an_extra_arrow_are_both_found() {
        let designed = edges("a:b;b:;gone:");
        assert_eq!(differences(&designed, &designed), [""; 0]);
        assert_eq!(differences(&designed, &edges("a:;b:a;new:")).len(), 4);
    }

    #[test]
    fn the_longest_chain_is_found_and_circles_are_noticed() {
        let chain = longest(&edges("a:b,d;b:c;c:;d:")).expect("no circle");
        assert_eq!(chain, ["a", "b", "c"]);
        assert_eq!(longest(&edges("a:b;b:a")), None);
    }
}
