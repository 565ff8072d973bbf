//! The rules, each from a file's text to findings.

use super::Finding;
use super::scan::{Source, line_of, words};

/// Most lines of a source file.
const FILE_LINES: usize = 500;
/// Most lines of a function.
const FUNCTION_LINES: usize = 70;
/// Most lines of the README.
const README_LINES: usize = 60;
/// How many lines above an `unsafe` its reason may stand.
const SAFETY_LINES: usize = 8;
/// The rooms in which `unsafe` may stand.
const UNSAFE_ROOMS: [&str; 4] = ["crates/reactor/", "crates/jail/", "crates/shm/", "bindings/c/"];
/// Marks of unfinished work. Spelled in two parts, or this file would break its own rule.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Macros of unfinished work.
const STUBS: [&str; 2] = [concat!("to", "do"), concat!("unimple", "mented")];
/// Paths that exist on one machine only.
const MACHINE_PATHS: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/."),
    concat!("/tm", "p/t/"),
    concat!("/tm", "p/bash_jobs"),
    concat!("/tm", "p/cargo-target"),
];
/// Names of people in examples; a home of any other name is somebody's machine.
const EXAMPLE_PEOPLE: [&str; 8] = ["alice", "bob", "me", "u", "user", "you", "someone", "nobody"];
/// The registries every machine can reach.
const LOCK_SOURCES: [(&str, &str); 2] = [
    ("source = \"registry+", "source = \"registry+https://github.com/rust-lang/crates.io-index\""),
    ("\"resolved\": \"http", "\"resolved\": \"https://registry.npmjs.org/"),
];

/// Judges one file.
pub(super) fn check(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut file = File { path, text, findings };
    file.lock_sources();
    if is_lock(path) || path.starts_with("LICENSE") {
        return;
    }
    file.machine_paths();
    file.marks();
    if path == "README.md" {
        file.length("readme-lines", README_LINES, "move detail to docs/");
    }
    let sized = [".rs", ".py", ".sh", ".ts", ".js"].iter().any(|end| path.ends_with(end));
    if sized {
        file.length("file-lines", FILE_LINES, "split it by verb");
    }
    if path.ends_with(".rs") {
        let source = Source::mask(text);
        file.module_docs();
        file.functions(&source);
        file.stubs(&source);
        file.unwraps(&source);
        file.unsafes(&source);
    }
}

fn is_lock(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("package-lock.json")
}

/// Whether the whole file is test code.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || ["/tests/", "/benches/", "/examples/"].iter().any(|part| path.contains(part))
}

struct File<'a> {
    path: &'a str,
    text: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl File<'_> {
    fn find(
        &mut self,
        rule: &'static str,
        line: usize,
        item: &str,
        amount: usize,
        message: String,
    ) {
        let (path, item) = (self.path.to_owned(), item.to_owned());
        self.findings.push(Finding { rule, path, line, item, amount, message });
    }

    fn length(&mut self, rule: &'static str, limit: usize, remedy: &str) {
        let lines = self.text.lines().count();
        if lines > limit {
            self.find(rule, lines, "", lines, format!("{lines} lines, limit {limit}: {remedy}"));
        }
    }

    fn module_docs(&mut self) {
        if !self.text.starts_with("//!") {
            let message = "no `//!` at the top: say which question the file answers".to_owned();
            self.find("module-docs", 1, "", 1, message);
        }
    }

    fn functions(&mut self, source: &Source) {
        for function in source.functions() {
            let (name, lines) = (&function.name, function.lines);
            if lines > FUNCTION_LINES {
                let message =
                    format!("`{name}` has {lines} lines, limit {FUNCTION_LINES}: split it by step");
                self.find("function-lines", function.line, name, lines, message);
            }
        }
    }

    fn marks(&mut self) {
        for mark in MARKS {
            for at in words(self.text, mark) {
                let message = format!("{mark}: do it now, or write it down as an issue");
                self.find("unfinished", line_of(self.text, at), "", 1, message);
            }
        }
    }

    fn stubs(&mut self, source: &Source) {
        for stub in STUBS {
            for at in words(&source.code, stub) {
                if source.code[at + stub.len()..].starts_with('!') {
                    let message = format!("{stub}!: write it, or leave the caller out");
                    self.find("unfinished", line_of(self.text, at), "", 1, message);
                }
            }
        }
    }

    fn unwraps(&mut self, source: &Source) {
        if is_test(self.path) {
            return;
        }
        let tests = source.tests();
        for (at, _) in source.code.match_indices(".unwrap()") {
            if !tests.iter().any(|test| test.contains(&at)) {
                let message = "unwrap(): return the error, or expect(\"the invariant\")".to_owned();
                self.find("unwrap", line_of(self.text, at), "", 1, message);
            }
        }
    }

    fn unsafes(&mut self, source: &Source) {
        let comments: Vec<&str> = source.comments.lines().collect();
        // Tests may, with a reason: one that counts allocations has to.
        let allowed =
            is_test(self.path) || UNSAFE_ROOMS.iter().any(|room| self.path.starts_with(room));
        for at in words(&source.code, "unsafe") {
            let line = line_of(self.text, at);
            if !allowed {
                let rooms =
                    UNSAFE_ROOMS.map(|room| room.trim_matches('/').trim_start_matches("crates/"));
                let message = format!("unsafe may stand only in {}", rooms.join(", "));
                self.find("unsafe-room", line, "", 1, message);
            }
            let near = &comments[line.saturating_sub(1 + SAFETY_LINES)..line.min(comments.len())];
            let reasoned = near
                .iter()
                .any(|comment| comment.contains("SAFETY:") || comment.contains("# Safety"));
            if !reasoned {
                let message = "unsafe without `// SAFETY:` above it: say why it holds".to_owned();
                self.find("safety", line, "", 1, message);
            }
        }
    }

    fn machine_paths(&mut self) {
        for part in MACHINE_PATHS {
            for (at, _) in self.text.match_indices(part) {
                // Only where a path begins, not inside a longer one.
                let before = self.text[..at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && !"._~-*}".contains(c)) {
                    self.machine_path(at, part);
                }
            }
        }
        for home in ["/home/", "/Users/"] {
            for (at, _) in self.text.match_indices(home) {
                let name: String = self.text[at + home.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
                    .collect();
                let before = self.text[..at].chars().next_back();
                let begins = before.is_none_or(|c| !c.is_alphanumeric() && !"._~-*}/".contains(c));
                if begins && !name.is_empty() && !EXAMPLE_PEOPLE.contains(&name.as_str()) {
                    self.machine_path(at, &format!("{home}{name}"));
                }
            }
        }
    }

    fn machine_path(&mut self, at: usize, part: &str) {
        let message = format!("`{part}` exists on one machine only: use a relative path");
        self.find("machine-path", line_of(self.text, at), "", 1, message);
    }

    fn lock_sources(&mut self) {
        if !is_lock(self.path) {
            return;
        }
        for (number, line) in (1..).zip(self.text.lines()) {
            for (start, good) in LOCK_SOURCES {
                if line.trim_start().starts_with(start) && !line.trim_start().starts_with(good) {
                    let message =
                        "a registry that others cannot reach: lock against the public one";
                    self.find("lock-source", number, "", 1, message.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that `text` in a file at `path` breaks, with lines.
    fn check_text(path: &str, text: &str, expected: &[(&str, usize)]) {
        let mut findings = Vec::new();
        check(path, text, &mut findings);
        let found: Vec<_> = findings.iter().map(|one| (one.rule, one.line)).collect();
        assert_eq!(found, expected, "{path}: {text}");
    }

    #[test]
    fn each_rule_finds_its_fault_and_nothing_else() {
        let good = "//! Doc.\nfn f() { x.expect(\"unwrap()\"); }\n";
        check_text("crates/a/src/a.rs", good, &[]);
        check_text("crates/a/src/a.rs", "fn f() {}", &[("module-docs", 1)]);
        check_text("crates/a/src/a.rs", "//! D\nfn f() { x.unwrap() }", &[("unwrap", 2)]);
        check_text("crates/a/tests/a.rs", "//! D\nfn f() { x.unwrap() }", &[]);
        let inner = "//! D\n#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }";
        check_text("crates/a/src/a.rs", inner, &[]);
        let stub = format!("//! D\nfn f() {{ {}!() }}\n// {}: x", STUBS[0], MARKS[0]);
        check_text("crates/a/src/a.rs", &stub, &[("unfinished", 3), ("unfinished", 2)]);
        let long = format!("//! D\nfn f() {{{}}}", "\n".repeat(FUNCTION_LINES));
        check_text("crates/a/src/a.rs", &long, &[("function-lines", 2)]);
        let long = format!("//! D\n{}", "// x\n".repeat(FILE_LINES));
        check_text("crates/a/src/a.rs", &long, &[("file-lines", FILE_LINES + 1)]);
        check_text("docs/a.md", &long, &[]);
        check_text("README.md", &"x\n".repeat(61), &[("readme-lines", 61)]);
    }

    #[test]
    fn unsafe_needs_its_room_and_its_reason() {
        let bare = "//! D\nfn f() { unsafe { g() } }";
        check_text("crates/a/src/a.rs", bare, &[("unsafe-room", 2), ("safety", 2)]);
        check_text("crates/jail/src/a.rs", bare, &[("safety", 2)]);
        check_text("crates/a/tests/a.rs", bare, &[("safety", 2)]);
        let reasoned =
            "//! D\n// SAFETY: g has no conditions.\nunsafe { g() }\n#![allow(unsafe_code)]";
        check_text("crates/jail/src/a.rs", reasoned, &[]);
    }

    #[test]
    fn paths_of_one_machine_and_private_registries_are_found() {
        let own = MACHINE_PATHS[0];
        check_text("a.md", &format!("see {own}x"), &[("machine-path", 1)]);
        check_text("a.md", &format!("see a{own}x"), &[]);
        let somebody = format!("/home{}", "/somebodyelse/x");
        check_text("a.md", &somebody, &[("machine-path", 1)]);
        check_text("a.md", "/home/alice/x ~/home/x https://x.org/Users/y", &[]);
        let good = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        check_text("Cargo.lock", good, &[]);
        check_text("Cargo.lock", "source = \"registry+https://other\"", &[("lock-source", 1)]);
    }
}
