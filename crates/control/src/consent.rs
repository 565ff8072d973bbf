//! May the commands in a project's files be run?
//!
//! A project's files are somebody else's commands. Consent is remembered by absolute path and
//! content, so a changed file asks again. Invariants: the absence, damage or another version of
//! the state file means "not consented"; it is replaced as a whole, readable by its owner alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::Error;
use crate::limits::CONSENT_FILE_BYTES_MAX;
use crate::show::printable;
use crate::surroundings::{Surroundings, read_bounded};

/// Most commands shown before the question.
const COMMANDS_SHOWN_MAX: usize = 40;
/// Version of the state file.
const VERSION: u64 = 1;

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Its commands may be run.
    Granted,
    /// Nobody was asked.
    Unknown,
    /// It was another file when somebody agreed.
    Changed,
    /// Somebody said no.
    Refused,
}

/// A question to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRequest {
    /// The project's file.
    pub path: PathBuf,
    /// Whether an earlier content had been agreed to.
    pub changed: bool,
    /// What it would start or call, one line each, safe to print.
    pub commands: Vec<String>,
}

/// The user's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, and remember it for this content.
    Yes,
    /// No, and remember it for this content.
    No,
    /// Not now: ask again next time.
    Later,
}

/// A fingerprint of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentHash(String);

impl ContentHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex()))
    }
}

/// The remembered answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentStore {
    path: Option<PathBuf>,
    /// The content that was answered for, and whether the answer was yes.
    answers: BTreeMap<PathBuf, (String, bool)>,
}

impl ConsentStore {
    /// Reads the store of this user. Without a state folder nothing is remembered.
    pub fn open(surroundings: &Surroundings) -> Self {
        let path = surroundings.state_folder().map(|folder| folder.join("consent.json"));
        let answers = path.as_deref().map(read_answers).unwrap_or_default();
        Self { path, answers }
    }

    /// What is known about the file at `path` with this content.
    pub(crate) fn state(&self, path: &Path, hash: &ContentHash) -> Consent {
        match self.answers.get(&real_path(path)) {
            None => Consent::Unknown,
            Some((known, true)) if *known == hash.0 => Consent::Granted,
            Some((known, false)) if *known == hash.0 => Consent::Refused,
            Some((_, true)) => Consent::Changed,
            Some((_, false)) => Consent::Unknown,
        }
    }

    /// Takes note of an answer; [`ConsentStore::save`] makes it last.
    pub(crate) fn note(&mut self, path: &Path, hash: &ContentHash, answer: Answer) {
        if answer != Answer::Later {
            self.answers.insert(real_path(path), (hash.0.clone(), answer == Answer::Yes));
        }
    }

    /// Number of files that were agreed to.
    pub fn granted(&self) -> usize {
        self.answers.values().filter(|(_, yes)| *yes).count()
    }

    /// Where it is kept.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Writes the store, keeping answers that others wrote meanwhile.
    ///
    /// # Errors
    /// The folder or the file cannot be written, or there is no home folder.
    pub fn save(&mut self) -> Result<(), Error> {
        let path = self.path.clone().ok_or(Error::NoHome)?;
        let mut answers = read_answers(&path);
        answers.append(&mut self.answers);
        self.answers = answers;
        let entry = |(path, (hash, yes)): (&PathBuf, &(String, bool))| {
            let answer = serde_json::json!({ "content": hash, "trusted": yes });
            Some((path.to_str()?.to_owned(), answer))
        };
        let files: Map<String, Value> = self.answers.iter().filter_map(entry).collect();
        let state = serde_json::json!({ "version": VERSION, "files": files });
        let text = serde_json::to_string_pretty(&state).expect("a map of text serialises");
        replace_file(&path, text.as_bytes())
            .map_err(|error| Error::File { path, why: error.to_string() })
    }
}

/// One name for a file however it is reached.
fn real_path(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn read_answers(path: &Path) -> BTreeMap<PathBuf, (String, bool)> {
    let parse = || {
        let text = read_bounded(path, CONSENT_FILE_BYTES_MAX).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        (state.get("version")?.as_u64()? == VERSION).then_some(())?;
        let files = state.get("files")?.as_object()?.iter();
        let entry = |(path, answer): (&String, &Value)| {
            let content = answer.get("content")?.as_str()?.to_owned();
            Some((PathBuf::from(path), (content, answer.get("trusted")?.as_bool()?)))
        };
        Some(files.filter_map(entry).collect())
    };
    parse().unwrap_or_default()
}

/// Puts `bytes` in place of `path` in one step; only the owner may read it.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".consent.{}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || {
        // Left behind by a process of the same number that was killed.
        let _ = fs::remove_file(&draft);
        let mut file = options.open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

impl ConsentRequest {
    /// The question as it is put on a terminal, without the final line.
    pub fn text(&self) -> String {
        let path = printable(&self.path.display().to_string());
        let mut text = if self.changed {
            format!("{path} has changed since you agreed to it.\nIt would now run or call:\n")
        } else {
            format!("{path} came with this project and would run or call:\n")
        };
        for command in self.commands.iter().take(COMMANDS_SHOWN_MAX) {
            let _ = writeln!(text, "    {command}");
        }
        let more = self.commands.len().saturating_sub(COMMANDS_SHOWN_MAX);
        if more > 0 {
            let _ = writeln!(text, "    … and {more} more");
        }
        text
    }
}

/// Puts `request` to whoever sits at the terminal. The end of input and anything unclear after
/// three tries mean [`Answer::Later`].
///
/// # Errors
/// The terminal cannot be read or written.
pub fn ask(
    request: &ConsentRequest,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Answer> {
    const LINE_BYTES_MAX: u64 = 1024;
    write!(output, "{}", request.text())?;
    for _ in 0..3 {
        write!(output, "Trust it? [y]es, [n]o, [l]ater: ")?;
        output.flush()?;
        let mut line = String::new();
        if io::Read::take(&mut *input, LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            break;
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(Answer::Yes),
            "n" | "no" => return Ok(Answer::No),
            "l" | "later" | "" => return Ok(Answer::Later),
            _ => {}
        }
    }
    Ok(Answer::Later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(folder: &Path) -> Surroundings {
        let state = folder.display().to_string();
        Surroundings::fixture().with_variable("XDG_STATE_HOME", &state)
    }

    #[test]
    fn consent_lasts_for_one_content_of_one_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let around = around(folder.path());
        let file = folder.path().join(".mcp.json");
        let (old, new) = (ContentHash::of("old"), ContentHash::of("new"));
        let mut store = ConsentStore::open(&around);
        assert_eq!(store.state(&file, &old), Consent::Unknown);
        store.note(&file, &old, Answer::Later);
        assert_eq!(store.state(&file, &old), Consent::Unknown);
        store.note(&file, &old, Answer::Yes);
        store.save().expect("saved");
        let mut other = ConsentStore::open(&around);
        assert_eq!(other.state(&file, &old), Consent::Granted);
        assert_eq!(other.state(&file, &new), Consent::Changed);
        assert_eq!(other.state(&folder.path().join("b"), &old), Consent::Unknown);
        other.note(Path::new("/b"), &new, Answer::No);
        other.save().expect("saved");
        store.save().expect("saved over another's answer");
        let store = ConsentStore::open(&around);
        assert_eq!(store.state(Path::new("/b"), &new), Consent::Refused);
        assert_eq!(store.granted(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_what_the_user_trusts_and_no_draft_is_left() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = ConsentStore::open(&around(folder.path()));
        store.note(Path::new("/a"), &ContentHash::of(""), Answer::Yes);
        store.save().expect("saved");
        let path = store.path().expect("a path");
        let mode = fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("read").count(), 1);
    }

    #[test]
    fn a_damaged_store_trusts_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kern/consent.json");
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        for text in
            ["", "{", "[]", r#"{"version":2,"files":{"/a":{"content":"x","trusted":true}}}"#]
        {
            fs::write(&path, text).expect("written");
            assert_eq!(ConsentStore::open(&around(folder.path())).granted(), 0, "{text}");
        }
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        let request = ConsentRequest {
            path: PathBuf::from("/p/\u{1b}[2J.mcp.json"),
            changed: false,
            commands: vec!["npx x".to_owned()],
        };
        for (typed, expected) in [
            ("y\n", Answer::Yes),
            ("YES\n", Answer::Yes),
            ("n\n", Answer::No),
            ("\n", Answer::Later),
            ("", Answer::Later),
            ("x\ny\n", Answer::Yes),
            ("x\nx\nx\ny\n", Answer::Later),
        ] {
            let mut shown = Vec::new();
            let answer = ask(&request, &mut typed.as_bytes(), &mut shown).expect("in memory");
            assert_eq!(answer, expected, "{typed:?}");
            let shown = String::from_utf8(shown).expect("text");
            assert!(shown.contains("    npx x\n") && !shown.contains('\u{1b}'));
        }
    }
}
