//! Has a file that the plan depends on changed?
//!
//! Editors replace files instead of writing them, so folders are watched: for each file the nearest
//! folder that exists, and the one its symbolic link leads to. Invariants: one report for a burst of
//! changes; reports are at least [`SPACING`] apart; an event that might have been lost counts as a
//! change; dropping the watcher ends its thread.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::error::Error;
use crate::plan::SourceFile;

/// How long nothing must happen before a burst counts as over.
pub const QUIET: Duration = Duration::from_millis(100);
/// Least time between two reports: clients keep state in these files and write it often.
pub const SPACING: Duration = Duration::from_secs(1);
/// Longest wait for a burst to end.
const BURST_MAX: Duration = Duration::from_secs(2);
/// Events held while a report is being handled; 4096 × about 100 bytes.
const EVENTS_MAX: usize = 4096;

enum Message {
    Happened(Event),
    Watch(Vec<PathBuf>),
    Stop,
}

/// Watches files until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    sender: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches `sources` on a thread of its own, where `changed` is called with the paths that
    /// changed, sorted. What it returns is watched from then on; where those are other files, it is
    /// called once more, since they may have changed before they were watched.
    ///
    /// # Errors
    /// The system gives no watch or no thread.
    pub fn new(
        sources: &[SourceFile],
        changed: impl FnMut(Vec<PathBuf>) -> Option<Vec<SourceFile>> + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        let events = sender.clone();
        let overflow = Arc::clone(&lost);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Other));
            if let Err(TrySendError::Full(_)) = events.try_send(Message::Happened(event)) {
                overflow.store(true, Ordering::Relaxed);
            }
        })
        .map_err(|error| Error::Watch(error.to_string()))?;
        let mut watching = Watching {
            watcher,
            folders: BTreeSet::new(),
            files: Vec::new(),
            lost,
            changed: Box::new(changed),
        };
        watching.watch(paths(sources));
        let thread = std::thread::Builder::new()
            .name("kern-watch".to_owned())
            .spawn(move || watching.run(&receiver))
            .map_err(|error| Error::Watch(error.to_string()))?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Watches these files from now on, as after a reload.
    pub fn watch(&self, sources: &[SourceFile]) {
        // A thread that is gone has nothing to watch.
        drop(self.sender.send(Message::Watch(paths(sources))));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.sender.send(Message::Stop));
        // Dropped from within `changed`, the thread cannot wait for itself.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(other) {
            drop(thread.join());
        }
    }
}

fn paths(sources: &[SourceFile]) -> Vec<PathBuf> {
    sources.iter().map(|source| source.path.clone()).collect()
}

type Changed = dyn FnMut(Vec<PathBuf>) -> Option<Vec<SourceFile>> + Send;

/// A file to watch, and where its symbolic link leads.
struct Watched {
    path: PathBuf,
    target: Option<PathBuf>,
}

struct Watching {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    files: Vec<Watched>,
    lost: Arc<AtomicBool>,
    changed: Box<Changed>,
}

impl Watching {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut reported: Option<Instant> = None;
        loop {
            let mut paths = BTreeSet::new();
            match receiver.recv() {
                Ok(Message::Happened(event)) => self.collect(&event, &mut paths),
                Ok(Message::Watch(files)) => self.watch(files),
                Ok(Message::Stop) | Err(_) => return,
            }
            if paths.is_empty() && !self.lost.swap(false, Ordering::Relaxed) {
                continue;
            }
            let start = Instant::now();
            let earliest = reported.map_or(start, |at| at + SPACING);
            if !self.burst(receiver, start, earliest, &mut paths) {
                return;
            }
            // A folder may have come into being nearer to the file.
            self.watch(self.files.iter().map(|file| file.path.clone()).collect());
            if self.lost.swap(false, Ordering::Relaxed) {
                paths.extend(self.files.iter().map(|file| file.path.clone()));
            }
            self.report(paths.into_iter().collect());
            reported = Some(Instant::now());
        }
    }

    fn report(&mut self, changed: Vec<PathBuf>) {
        let Some(sources) = (self.changed)(changed) else { return };
        let files = paths(&sources);
        if files.iter().eq(self.files.iter().map(|file| &file.path)) {
            return;
        }
        self.watch(files.clone());
        if let Some(sources) = (self.changed)(files) {
            self.watch(paths(&sources));
        }
    }

    /// Collects what follows until it is quiet and `earliest` has come; false when told to stop.
    fn burst(
        &mut self,
        receiver: &Receiver<Message>,
        start: Instant,
        earliest: Instant,
        paths: &mut BTreeSet<PathBuf>,
    ) -> bool {
        let mut last = start;
        loop {
            let now = Instant::now();
            let end = (last + QUIET).min(start + BURST_MAX).max(earliest);
            if now >= end {
                return true;
            }
            match receiver.recv_timeout(end - now) {
                Ok(Message::Happened(event)) => {
                    let before = paths.len();
                    self.collect(&event, paths);
                    if paths.len() > before || self.touches(&event) {
                        last = Instant::now();
                    }
                }
                Ok(Message::Watch(files)) => self.watch(files),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn touches(&self, event: &Event) -> bool {
        let mut paths = BTreeSet::new();
        self.collect(event, &mut paths);
        !paths.is_empty()
    }

    /// Adds the watched files that `event` is about: the file itself, or a folder on the way to it.
    fn collect(&self, event: &Event, paths: &mut BTreeSet<PathBuf>) {
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if matches!(event.kind, EventKind::Access(_)) && event.kind != written {
            return;
        }
        let unclear = event.need_rescan() || event.paths.is_empty();
        for file in &self.files {
            let about = |path: &PathBuf| {
                file.path.starts_with(path)
                    || file.target.as_ref().is_some_and(|target| target.starts_with(path))
            };
            // A folder that is merely written to says nothing; its coming and going does.
            let exact = |path: &PathBuf| *path == file.path || Some(path) == file.target.as_ref();
            let moved = matches!(event.kind, EventKind::Create(_) | EventKind::Remove(_))
                || matches!(event.kind, EventKind::Modify(notify::event::ModifyKind::Name(_)));
            let hit = event.paths.iter().any(|path| exact(path) || moved && about(path));
            if unclear || hit {
                paths.insert(file.path.clone());
            }
        }
    }

    /// Makes `files` the watched ones. A folder that cannot be watched is left out: the others
    /// still are.
    fn watch(&mut self, files: Vec<PathBuf>) {
        let target = |path: &Path| std::fs::canonicalize(path).ok();
        self.files = files
            .into_iter()
            .map(|path| Watched { target: target(&path).filter(|real| *real != path), path })
            .collect();
        let wanted: BTreeSet<PathBuf> = self
            .files
            .iter()
            .flat_map(|file| [Some(&file.path), file.target.as_ref()])
            .flatten()
            .filter_map(|path| nearest_folder(path))
            .collect();
        for folder in self.folders.difference(&wanted) {
            drop(self.watcher.unwatch(folder));
        }
        // Again also where it was watched before: a folder that was replaced is another one.
        self.folders = wanted
            .into_iter()
            .filter(|folder| match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "folder is not watched");
                    false
                }
            })
            .collect();
    }
}

/// The nearest existing folder above `path`.
fn nearest_folder(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn start(paths: &[&Path]) -> (Watcher, Receiver<Vec<PathBuf>>) {
        let (sender, receiver) = channel();
        let source = |path: &&Path| SourceFile { path: path.to_path_buf(), present: path.exists() };
        let sources: Vec<_> = paths.iter().map(source).collect();
        let watcher = Watcher::new(&sources, move |paths| {
            drop(sender.send(paths));
            None
        });
        (watcher.expect("watches"), receiver)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_file_that_an_editor_replaces_is_reported_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("there");
        let (file, other, draft) = (root.join("a"), root.join("b"), root.join("a.tmp"));
        fs::write(&file, "1").expect("written");
        let (watcher, changes) = start(&[&file]);
        fs::write(&other, "1").expect("written");
        for text in ["2", "3", "4"] {
            fs::write(&draft, text).expect("written");
            fs::rename(&draft, &file).expect("renamed");
        }
        assert_eq!(changes.recv_timeout(LONG).expect("reported"), std::slice::from_ref(&file));
        fs::read(&file).expect("read");
        assert!(changes.recv_timeout(SPACING * 2).is_err(), "reading is no change");
        fs::remove_file(&file).expect("removed");
        assert_eq!(changes.recv_timeout(LONG).expect("reported"), [file]);
        drop(watcher);
        assert!(changes.recv().is_err(), "the thread has ended");
    }

    #[test]
    fn a_file_in_a_folder_that_comes_later_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("there");
        let file = root.join("x/y/kern.toml");
        let (_watcher, changes) = start(&[&file]);
        fs::create_dir_all(root.join("x/y")).expect("created");
        assert_eq!(changes.recv_timeout(LONG).expect("reported"), std::slice::from_ref(&file));
        fs::write(&file, "1").expect("written");
        assert_eq!(changes.recv_timeout(LONG).expect("reported"), [file]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_behind_a_link_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("there");
        let (target, link) = (root.join("dotfiles/a"), root.join("home/a"));
        fs::create_dir_all(root.join("dotfiles")).expect("created");
        fs::create_dir_all(root.join("home")).expect("created");
        fs::write(&target, "1").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        let (watcher, changes) = start(&[]);
        watcher.watch(&[SourceFile { path: link.clone(), present: true }]);
        std::thread::sleep(QUIET * 2);
        fs::write(&target, "2").expect("written");
        assert_eq!(changes.recv_timeout(LONG).expect("reported"), [link]);
    }
}
