//! What does the world outside look like: operating system, home, folder, environment?
//!
//! Invariant: the rest of this room asks here and never `std::env`, so that any machine can be
//! described in a test. `Debug` shows no variable's value.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// An operating system, as far as paths differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux and other systems with XDG folders.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// The world outside.
#[derive(Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// Which rules for paths hold.
    pub os: Os,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// The current folder, absolute.
    pub cwd: PathBuf,
    /// The environment; names and values that are no Unicode are left out.
    pub env: BTreeMap<String, String>,
    /// What `/` is, for system-wide files. Only tests differ.
    pub system_root: PathBuf,
}

/// Variables a child process gets without being asked, if they are set here. From the official
/// SDKs' lists, and what `npx`, `uvx` and TLS behind a company proxy need to work.
pub const BASE_VARIABLES: &[&str] = &[
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "ProgramData",
    "ProgramFiles",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
];

impl Surroundings {
    /// Reads the world of this process.
    ///
    /// # Errors
    /// The current folder is gone or may not be read.
    pub fn of_this_process() -> std::io::Result<Self> {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let os = match std::env::consts::OS {
            "macos" | "ios" => Os::MacOs,
            "windows" => Os::Windows,
            _ => Os::Linux,
        };
        let home = std::env::home_dir().filter(|path| path.is_absolute());
        Ok(Self { os, home, cwd: std::env::current_dir()?, env, system_root: PathBuf::from("/") })
    }

    /// The value of the environment variable `name`.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// As [`Surroundings::variable`], as an absolute path; anything else counts as unset.
    pub(crate) fn folder_variable(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.variable(name)?);
        let absolute = path.is_absolute() || self.os == Os::Windows && path.has_root();
        absolute.then_some(path)
    }

    /// `${XDG_CONFIG_HOME:-~/.config}`, whatever the system.
    pub(crate) fn xdg_config(&self) -> Option<PathBuf> {
        let fallback = || Some(self.home.as_deref()?.join(".config"));
        self.folder_variable("XDG_CONFIG_HOME").or_else(fallback)
    }

    /// Where applications keep a user's settings: `~/Library/Application Support`, `%APPDATA%`, or
    /// the XDG folder.
    pub(crate) fn app_config(&self) -> Option<PathBuf> {
        match self.os {
            Os::Linux => self.xdg_config(),
            Os::MacOs => Some(self.home.as_deref()?.join("Library/Application Support")),
            Os::Windows => {
                let fallback = || Some(self.home.as_deref()?.join("AppData/Roaming"));
                self.variable("APPDATA").map(PathBuf::from).or_else(fallback)
            }
        }
    }

    /// Where this program keeps what must survive: `$XDG_STATE_HOME/kern` and its like.
    pub fn state_folder(&self) -> Option<PathBuf> {
        match self.os {
            Os::Linux => {
                let fallback = || Some(self.home.as_deref()?.join(".local/state"));
                Some(self.folder_variable("XDG_STATE_HOME").or_else(fallback)?.join("kern"))
            }
            Os::MacOs | Os::Windows => Some(self.app_config()?.join("kern")),
        }
    }

    /// The variables of [`BASE_VARIABLES`] that are set.
    pub fn base_env(&self) -> impl Iterator<Item = (&str, &str)> {
        BASE_VARIABLES.iter().filter_map(|name| Some((*name, self.variable(name)?)))
    }

    /// A Linux machine of user `u`, with an empty environment.
    #[cfg(test)]
    pub(crate) fn fixture() -> Self {
        Self {
            os: Os::Linux,
            home: Some(PathBuf::from("/home/u")),
            cwd: PathBuf::from("/home/u/proj"),
            env: BTreeMap::new(),
            system_root: PathBuf::from("/"),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("os", &self.os)
            .field("home", &self.home)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// There is none.
    Absent,
    /// It is longer than the bound, bytes.
    TooLong(u64),
    /// It is no UTF-8.
    NotText,
    /// It is a folder, a pipe or a device.
    NotAFile,
    /// The system says so.
    Io(std::io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no such file"),
            Self::TooLong(max) => write!(f, "it is longer than {max} bytes"),
            Self::NotText => f.write_str("it is not UTF-8 text"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

/// Reads the regular file at `path`, at most `bytes_max` long. A byte order mark is dropped.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, ReadError> {
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => ReadError::Absent,
        _ => ReadError::Io(error),
    };
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLong(bytes_max));
    }
    let text = String::from_utf8(bytes).map_err(|_| ReadError::NotText)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
    fn state_lives_where_each_system_keeps_it() {
        let mut around = Surroundings::fixture();
        assert_eq!(around.state_folder(), Some("/home/u/.local/state/kern".into()));
        around = around.with_variable("XDG_STATE_HOME", "relative");
        assert_eq!(around.state_folder(), Some("/home/u/.local/state/kern".into()));
        around = around.with_variable("XDG_STATE_HOME", "/s");
        assert_eq!(around.state_folder(), Some("/s/kern".into()));
        around.os = Os::MacOs;
        assert_eq!(around.state_folder(), Some("/home/u/Library/Application Support/kern".into()));
        around = around.with_variable("APPDATA", "/roaming");
        around.os = Os::Windows;
        assert_eq!(around.state_folder(), Some("/roaming/kern".into()));
        around.home = None;
        around.env.clear();
        assert_eq!(around.state_folder(), None);
    }

    #[test]
    #[cfg_attr(not(unix), ignore = "needs files that only Unix has")]
    fn a_pipe_or_an_endless_device_in_place_of_a_file_is_refused() {
        assert!(matches!(read_bounded(Path::new("/dev/zero"), 10), Err(ReadError::NotAFile)));
        assert!(matches!(read_bounded(Path::new("/nope/x"), 10), Err(ReadError::Absent)));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "\u{feff}0123").expect("written");
        assert_eq!(read_bounded(&path, 7).expect("read"), "0123");
        assert!(matches!(read_bounded(&path, 6), Err(ReadError::TooLong(6))));
    }
}
