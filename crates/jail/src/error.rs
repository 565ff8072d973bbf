//! Why did the keeper not keep a server, and with which code does it say so?
//!
//! Whose fault: `Usage` is `kern`'s, `ParentGone` nobody's, `Start` the configuration's (or the
//! machine's, where it is short of something), `System` the machine's. Trying again helps only
//! where the cause was removed.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{env, fmt, io};

use crate::limits::PATH_SHOWN_CHARS;

#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is not one that `kern` writes.
    Usage(&'static str),
    /// The process to keep the server for had ended before the server was started.
    ParentGone(i32),
    /// The program could not be executed.
    Start { program: OsString, cause: io::Error },
    /// The system refused something the keeper cannot do without.
    System { what: &'static str, cause: io::Error },
}

impl Error {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::ParentGone(_) | Self::System { .. } => 125,
            Self::Start { cause, .. } if may_not_run(cause) => 126,
            Self::Start { .. } => 127,
        }
    }
}

/// The program was found, and cannot be executed.
fn may_not_run(cause: &io::Error) -> bool {
    #[cfg(unix)]
    if cause.raw_os_error() == Some(libc::ENOEXEC) {
        return true;
    }
    cause.kind() == io::ErrorKind::PermissionDenied
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(fault) => {
                write!(out, "{}: {fault}; it is for kern's own use", crate::SUBCOMMAND)
            }
            Self::ParentGone(id) => write!(out, "process {id}, which asked for a server, is gone"),
            Self::Start { program, cause } => {
                write!(out, "cannot start {program:?}: {}", words(cause))?;
                hint(out, program, cause)
            }
            Self::System { what, cause } => write!(out, "cannot {what}: {}", words(cause)),
        }
    }
}

/// A cause in the system's words, without the number.
fn words(cause: &io::Error) -> String {
    let text = cause.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// Where the user may look first.
fn hint(out: &mut fmt::Formatter<'_>, program: &OsStr, cause: &io::Error) -> fmt::Result {
    let named_by_path = Path::new(program).components().count() > 1;
    let not_found = cause.kind() == io::ErrorKind::NotFound;
    if not_found && named_by_path && Path::new(program).exists() {
        return out.write_str(" (the file is there; is the interpreter in its first line?)");
    }
    if named_by_path || !(not_found || may_not_run(cause)) {
        return Ok(());
    }
    match env::var_os("PATH") {
        None => out.write_str(" (is it on PATH? PATH is not set)"),
        Some(path) => {
            let text = path.to_string_lossy();
            let shown: String = text.chars().take(PATH_SHOWN_CHARS).collect();
            let rest = if shown.len() < text.len() { "…" } else { "" };
            write!(out, " (is it on PATH? PATH={}{rest})", shown.escape_debug())
        }
    }
}
