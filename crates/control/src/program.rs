//! Which file is run when a user writes a program's name?
//!
//! Invariant: only regular files that may be executed are found, in the order of `PATH`.

use std::path::{Path, PathBuf};

use crate::surroundings::Os;

/// Finds `program`: a path is taken from `folder`, a bare name is sought in the folders of `path`
/// (the value of `PATH`).
pub fn find_program(
    program: &str,
    path: &str,
    folder: &Path,
    os: Os,
    suffixes: &str,
) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    let separators: &[char] = if os == Os::Windows { &['/', '\\'] } else { &['/'] };
    if program.contains(separators) {
        return candidate(folder.join(program), os, suffixes);
    }
    let separator = if os == Os::Windows { ';' } else { ':' };
    path.split(separator)
        .filter(|entry| !entry.is_empty())
        .find_map(|entry| candidate(folder.join(entry).join(program), os, suffixes))
}

/// `path` itself, or on Windows with one of `suffixes` (the value of `PATHEXT`).
fn candidate(path: PathBuf, os: Os, suffixes: &str) -> Option<PathBuf> {
    if os == Os::Windows && path.extension().is_none() {
        return suffixes
            .split(';')
            .filter(|suffix| !suffix.is_empty())
            .map(|suffix| PathBuf::from(format!("{}{suffix}", path.display())))
            .find(|path| path.is_file());
    }
    is_executable(&path).then_some(path)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(unix), ignore = "needs files that only Unix has")]
    fn a_name_is_found_where_a_shell_would_find_it() {
        let find = |program: &str| {
            find_program(program, "/nope::/bin:/usr/bin", Path::new("/"), Os::Linux, "")
        };
        assert_eq!(find("sh"), Some("/bin/sh".into()));
        assert_eq!(find("bin/sh"), Some("/bin/sh".into()));
        for absent in ["", "no-such-program", "/etc/passwd", "/bin", "../nope"] {
            assert_eq!(find(absent), None, "{absent}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("npx.cmd"), "").expect("written");
        let path = folder.path().display().to_string();
        let found = find_program("npx", &path, Path::new("/"), Os::Windows, ".exe;.cmd");
        assert_eq!(found, Some(folder.path().join("npx.cmd")));
    }
}
