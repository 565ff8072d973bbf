//! What does a step do that takes too long, and what does it leave behind?
//!
//! Invariants: a step that is over its time is ended with all it started, after what runs was
//! printed; what still runs when a step has ended is a fault of that step, and is ended too: it
//! would hold the output of the whole run open. A process is known by the mark in its environment,
//! whoever its parent is by now; where there is no `/proc`, nothing is found and nothing is ended.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The variable that marks whatever a step starts.
pub(crate) const MARK: &str = "KERN_CI_STEP";

/// Time for what a step started to end after it, in steps of [`GLANCE`].
const GLANCES: u32 = 20;
const GLANCE: Duration = Duration::from_millis(250);

/// A step that is being watched.
pub(crate) struct Watch {
    mark: String,
    over: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

/// The mark of a step of this run.
pub(crate) fn mark(step: &str) -> String {
    format!("{}-{step}", std::process::id())
}

impl Watch {
    /// Watches a step that may take `limit`.
    pub(crate) fn over(mark: String, limit: Duration) -> Self {
        let (over, ended) = mpsc::channel::<()>();
        let watched = mark.clone();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            let marked = marked(&watched);
            println!("──── over its {} s; what runs:", limit.as_secs());
            show(&marked);
            end(&marked);
            true
        });
        Self { mark, over, thread }
    }

    /// Tells the watch that its step has ended, and says what is wrong with how it did.
    ///
    /// # Errors
    /// When the step was ended because of its time, or left processes behind.
    pub(crate) fn end(self) -> Result<(), String> {
        drop(self.over);
        if self.thread.join().expect("watching does not panic") {
            return Err("took too long and was ended".to_owned());
        }
        let mut left = marked(&self.mark);
        for _ in 0..GLANCES {
            if left.is_empty() {
                break;
            }
            std::thread::sleep(GLANCE);
            left = marked(&self.mark);
        }
        if left.is_empty() {
            return Ok(());
        }
        show(&left);
        end(&left);
        Err(format!("left {} processes behind", left.len()))
    }
}

/// The processes that carry `mark`. Those of other users cannot be read and are nobody's here.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
        })
        .collect()
}

fn show(processes: &[u32]) {
    for id in processes {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
        println!("{id:>8}  {}", words.join(" "));
    }
}

fn end(processes: &[u32]) {
    // Those that are gone already are no failure.
    let _ = Command::new("kill")
        .arg("-9")
        .args(processes.iter().map(u32::to_string))
        .stderr(std::process::Stdio::null())
        .status();
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A shell that leaves a grandchild behind; its mark is its own.
    fn leave(mark: &str, seconds: u32) {
        let status = Command::new("sh")
            .args(["-c", &format!("setsid sleep {seconds} &")])
            .env(MARK, mark)
            .status();
        assert!(status.expect("there is a shell").success());
    }

    #[test]
    fn a_step_that_leaves_nothing_passes_and_one_that_does_is_told_and_cleaned() {
        let quick = mark("quick");
        let watch = Watch::over(quick.clone(), Duration::from_secs(60));
        leave(&quick, 1);
        assert_eq!(watch.end(), Ok(()), "what ends by itself within seconds is nothing left");

        let leaky = mark("leaky");
        let watch = Watch::over(leaky.clone(), Duration::from_secs(60));
        leave(&leaky, 600);
        assert_eq!(watch.end(), Err("left 1 processes behind".to_owned()));
        std::thread::sleep(GLANCE);
        assert_eq!(marked(&leaky), Vec::<u32>::new());
    }

    #[test]
    fn a_step_that_hangs_is_ended() {
        let hung = mark("hung");
        let watch = Watch::over(hung.clone(), Duration::from_millis(300));
        let status = Command::new("sleep").arg("600").env(MARK, &hung).status();
        assert!(!status.expect("there is sleep").success());
        assert_eq!(watch.end(), Err("took too long and was ended".to_owned()));
    }
}
