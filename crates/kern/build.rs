//! Tells the program how it was built.

use std::process::Command;

fn main() {
    let revision = output("git", &["describe", "--always", "--dirty", "--exclude", "*"]);
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!("cargo:rustc-env=KERN_BUILD_REVISION={revision}");
    println!("cargo:rustc-env=KERN_BUILD_RUSTC={}", output(&rustc, &["--version"]));
    for (name, from) in [("KERN_BUILD_PROFILE", "PROFILE"), ("KERN_BUILD_TARGET", "TARGET")] {
        println!("cargo:rustc-env={name}={}", std::env::var(from).unwrap_or_default());
    }
    // A new commit changes HEAD's log, which lies elsewhere for a worktree; outside a checkout there
    // is none, and nothing to watch.
    let log = output("git", &["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]);
    if std::path::Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}
