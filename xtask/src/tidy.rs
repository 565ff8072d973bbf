//! `cargo xtask tidy`: is the measurable part of the style kept?
//!
//! Invariants: only files that git knows or would add are read; every finding names a place, what is
//! wrong and the remedy; known exceedances stand in `xtask/tidy.ratchet`, which may only shrink.

mod ratchet;
mod rules;
mod scan;

use std::fs;
use std::path::Path;
use std::process::Command;

use ratchet::Ratchet;

/// Checks the measurable part of the style.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct TidyArgs {
    /// Write smaller numbers into the ratchet where the code got better
    #[arg(long)]
    shrink: bool,
}

/// Something the style does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// Which rule, as the ratchet spells it.
    rule: &'static str,
    /// The file, relative to the root, with `/`.
    path: String,
    /// Line from 1.
    line: usize,
    /// What the ratchet may tolerate: the item's name or empty.
    item: String,
    /// The size, or 1 for each occurrence.
    amount: usize,
    /// What is wrong and what to do.
    message: String,
}

/// Checks every file.
///
/// # Errors
/// When anything is found, and when the files cannot be listed.
pub(crate) fn run(root: &Path, args: &TidyArgs) -> Result<(), String> {
    let paths = files(root)?;
    let mut findings = Vec::new();
    let mut read = 0;
    for path in &paths {
        // Listed but deleted, a link to a directory, or not text: nothing to judge.
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        read += 1;
        rules::check(path, &text, &mut findings);
    }
    let ratchet = Ratchet::read(root)?;
    if args.shrink {
        let shrunk = ratchet.shrink(&findings);
        shrunk.write(root)?;
        println!("tidy: {} entries in the ratchet, {} before", shrunk.len(), ratchet.len());
        return report(read, shrunk.judge(&findings));
    }
    let mut wrong = ratchet.judge(&findings);
    wrong.extend(ratchet.compare_with_history(root));
    report(read, wrong)
}

fn report(read: usize, wrong: Vec<String>) -> Result<(), String> {
    for line in &wrong {
        println!("{line}");
    }
    if wrong.is_empty() {
        println!("tidy: {read} files are as they should be");
        return Ok(());
    }
    Err(format!("tidy: {} findings in {read} files", wrong.len()))
}

/// Every file that is in the repository or could be added to it, sorted.
fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let list = String::from_utf8_lossy(&output.stdout);
    let mut paths: Vec<String> =
        list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
