//! How does the command line talk to a running `kern` over a shared-memory ring?
//!
//! Invariant: dropping it ends the ring, and `kern` cancels what was asked through it.

use std::path::Path;
use std::time::Duration;

use super::client_talk::{Failure, Heard};

/// One end of a ring.
#[cfg(target_os = "linux")]
pub(super) struct Ring(kern_shm::Client);

#[cfg(target_os = "linux")]
impl Ring {
    /// Connects to the socket that hands out rings at `path`.
    pub(super) fn connect(path: &Path) -> Result<Self, Failure> {
        kern_shm::Client::connect(path).map(Self).map_err(|error| {
            let path = path.display();
            Failure::other(format!(
                "no ring is handed out at {path}: {error}\n      start it with \
                 `kern serve --ring {path}`"
            ))
        })
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.0.send(message).map_err(|error| Failure::other(error.to_string()))
    }

    /// What comes next, waited for at most so long.
    pub(super) fn hear(&mut self, most: Duration) -> Result<Heard, Failure> {
        match self.0.recv(Some(most)) {
            Ok(message) => Ok(Heard::Message(message)),
            Err(kern_shm::Error::TimedOut) => Ok(Heard::Nothing),
            Err(kern_shm::Error::Gone) => Ok(Heard::Closed),
            Err(error) => Err(Failure::other(error.to_string())),
        }
    }
}

/// There are none on this system.
#[cfg(not(target_os = "linux"))]
pub(super) enum Ring {}

#[cfg(not(target_os = "linux"))]
impl Ring {
    pub(super) fn connect(_: &Path) -> Result<Self, Failure> {
        Err(Failure::usage("rings exist on Linux only"))
    }

    pub(super) fn send(&mut self, _: &[u8]) -> Result<(), Failure> {
        match *self {}
    }

    pub(super) fn hear(&mut self, _: Duration) -> Result<Heard, Failure> {
        match *self {}
    }
}
