//! Who stems from the server, however often it forked and whatever group or session it joined?
//!
//! As a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`) the keeper becomes the parent of every
//! descendant whose parent ends; so no child left means no descendant left.
//!
//! Invariants: nobody else is signalled. A child's id is its own until we reap it, and we do not
//! while signalling. Any other descendant is signalled through a process descriptor, after its
//! entry read the same with the descriptor open as before.

use std::io;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{self, Pid, PidfdFlags, Signal};

use crate::limits::STAT_BYTES;

/// What the keeper inherits.
#[derive(Debug)]
pub(crate) struct Descendants {
    own: Entry,
}

impl Descendants {
    /// Becomes the parent of orphans. `None` where that is refused or `/proc` is missing.
    pub(crate) fn adopt() -> Option<Self> {
        let id = process::getpid();
        let own = Entry::read(id.as_raw_pid())?;
        process::set_child_subreaper(Some(id)).ok()?;
        Some(Self { own })
    }

    /// Signals all who are listed now, parents first, `but_group`: only those outside our group.
    pub(crate) fn signal(&self, signal: Signal, but_group: bool) -> io::Result<()> {
        for entry in descendants(self.own.id, list()?) {
            if but_group && entry.group == self.own.group {
                continue;
            }
            // It may have ended, or become another user's: the next list tells.
            let _ = self.signal_one(&entry, signal);
        }
        Ok(())
    }

    fn signal_one(&self, entry: &Entry, signal: Signal) -> rustix::io::Result<()> {
        let Some(id) = Pid::from_raw(entry.id) else { return Ok(()) };
        if entry.parent != self.own.id {
            let descriptor: OwnedFd = process::pidfd_open(id, PidfdFlags::empty())?;
            if Entry::read(entry.id).as_ref() == Some(entry) {
                process::pidfd_send_signal(&descriptor, signal)?;
            }
            return Ok(());
        }
        // A session that a descendant made has none but descendants in it, and its groups
        // cannot be outrun by forking.
        if signal == Signal::KILL
            && entry.session != self.own.session
            && let Some(group) = Pid::from_raw(entry.group)
        {
            process::kill_process_group(group, signal)?;
        }
        process::kill_process(id, signal)
    }
}

/// A process as `/proc/PID/stat` (proc_pid_stat(5)) shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id: i32,
    parent: i32,
    group: i32,
    session: i32,
    /// In ticks after the boot: with the id, it tells a process from its successor.
    started: u64,
}

impl Entry {
    fn read(id: i32) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(CWD, format!("/proc/{id}/stat"), flags, Mode::empty()).ok()?;
        let mut text = [0; STAT_BYTES];
        let length = rustix::io::read(&file, &mut text).ok()?;
        Self::parse(id, &text[..length])
    }

    /// The second field is the program's name in parentheses and may hold any byte.
    fn parse(id: i32, text: &[u8]) -> Option<Self> {
        let name_end = text.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace().skip(1);
        let mut next = || fields.next()?.parse().ok();
        let (parent, group, session) = (next()?, next()?, next()?);
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { id, parent, group, session, started })
    }
}

/// All processes. Those that end meanwhile may be missing.
fn list() -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir("/proc")? {
        let name = file?.file_name();
        let id = name.to_str().and_then(|name| name.parse().ok());
        entries.extend(id.and_then(Entry::read));
    }
    Ok(entries)
}

/// Those of `all` who stem from `root`, parents first.
fn descendants(root: i32, mut all: Vec<Entry>) -> Vec<Entry> {
    all.retain(|entry| entry.id != root);
    all.sort_by_key(|entry| entry.id);
    all.dedup_by_key(|entry| entry.id);
    all.sort_by_key(|entry| entry.parent);
    let mut found: Vec<Entry> = Vec::new();
    let mut next = 0;
    let mut parent = root;
    loop {
        let from = all.partition_point(|entry| entry.parent < parent);
        found.extend(all[from..].iter().take_while(|entry| entry.parent == parent));
        // Each is found once, under its one parent, so this ends.
        let Some(entry) = found.get(next) else { return found };
        parent = entry.id;
        next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "0 -1 4194560 99 0 0 0 1 2 3 4 20 0 1 0 5555 10000 300";

    #[test]
    fn a_program_cannot_lie_about_its_parent_with_its_name() {
        let check = |head: &str, expected| {
            let text = format!("{head} {REST}");
            let parsed = Entry::parse(9, text.as_bytes());
            assert_eq!(parsed.map(|it| (it.parent, it.group, it.session)), expected, "{head}");
            assert!(parsed.is_none_or(|it| it.started == 5555));
        };
        check("9 (cat) S 1 2 3", Some((1, 2, 3)));
        check("9 (a) S 7 7 7 () S 1 2 3", Some((1, 2, 3)));
        check("9 (a\n) b) R 4 5 6", Some((4, 5, 6)));
        check("9 cat S 1 2 3", None);
        check("9 (cat) S x 2 3", None);
        assert_eq!(Entry::parse(9, b"9 (cat) S 1 2 3"), None);
        assert_eq!(Entry::parse(9, b""), None);
    }

    #[test]
    fn own_entry_is_true() {
        let own = Entry::read(process::getpid().as_raw_pid()).unwrap();
        assert_eq!(Pid::from_raw(own.parent), process::getppid());
        assert_eq!(Pid::from_raw(own.group), Some(process::getpgrp()));
    }

    #[test]
    fn strangers_are_never_taken_for_descendants() {
        let entry = |(id, parent)| Entry { id, parent, group: 1, session: 1, started: 1 };
        let check = |all: &[(i32, i32)], expected: &[i32]| {
            let found = descendants(10, all.iter().copied().map(entry).collect());
            assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), expected, "{all:?}");
        };
        check(&[], &[]);
        check(&[(1, 0), (10, 1), (11, 1)], &[]);
        check(&[(13, 12), (12, 11), (11, 10), (10, 1), (20, 1), (21, 20)], &[11, 12, 13]);
        check(&[(11, 10), (12, 10), (13, 11), (14, 12), (15, 13)], &[11, 12, 13, 14, 15]);
        // What a list read while ids are reused may look like.
        check(&[(11, 12), (12, 11), (10, 11), (30, 30)], &[]);
        check(&[(11, 10), (11, 12), (12, 11)], &[11, 12]);
    }
}
