//! How long does a server, and what it leaves behind, have to end?
//!
//! Worst cases from cause to last breath: told to end 2 s, `kern` gone 1 s, server ended 0.5 s;
//! and for processes that cannot be killed (another user's, or stuck in the kernel) 2 s more.

use std::time::Duration;

/// What the server and its descendants get after the keeper was told to end.
pub(crate) const SERVER_GRACE: Duration = Duration::from_secs(2);

/// What descendants get after the server ended.
pub(crate) const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

/// What server and descendants get after `kern` died.
pub(crate) const PARENT_GONE_GRACE: Duration = Duration::from_secs(1);

/// How long SIGKILL is repeated before the keeper gives up.
pub(crate) const KILL_LIMIT: Duration = Duration::from_secs(2);

/// How often the processes are listed anew while killing: 100 times in `KILL_LIMIT`.
pub(crate) const KILL_INTERVAL: Duration = Duration::from_millis(20);

/// How often the parent's id is compared where the kernel cannot tell of its end.
pub(crate) const PARENT_POLL: Duration = Duration::from_secs(1);

/// How much of `PATH` an error line shows, in characters.
pub(crate) const PATH_SHOWN_CHARS: usize = 1024;

/// The most of a `/proc/PID/stat` that is read, in bytes: 52 numbers of at most 20 digits fit.
pub(crate) const STAT_BYTES: usize = 1536;
