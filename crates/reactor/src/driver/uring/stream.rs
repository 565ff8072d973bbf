//! What is a stream to the ring?
//!
//! One or two descriptors, at most one receiving and one sending operation on them, and what the
//! core wants next.
//!
//! Invariants: `operations` counts the completions still to come for the entry; a closed entry
//! (without a name) is removed when it falls to zero, and nothing is reported for it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use kern_terms::Key;
use rustix::fs::FileType;
use socket2::SockAddr;

use super::ring::File;
use super::send::Outgoing;
use super::token::Op;
use crate::driver::Completion;

/// How a descriptor is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Received from (multishot) and sent to.
    Socket,
    /// Read (multishot where the kernel can) and written.
    Pipe,
    /// Read piece by piece and written.
    Terminal,
}

/// A descriptor and its kind.
#[derive(Debug)]
pub(super) struct End {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
}

impl End {
    /// Asks the system what `fd` is.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let mode = rustix::fs::fstat(&fd)?.st_mode;
        let kind = match FileType::from_raw_mode(mode) {
            FileType::Socket => Kind::Socket,
            FileType::Fifo => Kind::Pipe,
            _ => Kind::Terminal,
        };
        Ok(Self { fd, kind })
    }
}

/// The descriptors of a stream.
#[derive(Debug)]
pub(super) enum Ends {
    /// One for both directions.
    Both(End),
    /// One a direction, where there is one.
    Apart { input: Option<End>, output: Option<End> },
}

impl Ends {
    /// Where data comes from.
    pub(super) fn input(&self) -> Option<&End> {
        match self {
            Ends::Both(end) => Some(end),
            Ends::Apart { input, .. } => input.as_ref(),
        }
    }

    /// Where data goes to.
    pub(super) fn output(&self) -> Option<&End> {
        match self {
            Ends::Both(end) => Some(end),
            Ends::Apart { output, .. } => output.as_ref(),
        }
    }

    /// All descriptors.
    pub(super) fn into_fds(self) -> impl Iterator<Item = OwnedFd> {
        let (first, second) = match self {
            Ends::Both(end) => (Some(end), None),
            Ends::Apart { input, output } => (input, output),
        };
        first.into_iter().chain(second).map(|end| end.fd)
    }
}

/// Whether the ring's file table holds the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// No: the table is full, or it was taken out.
    None,
    /// On its way into this slot.
    Pending(u32),
    /// In this slot.
    Ready(u32),
}

/// A stream, open or waiting for its last completions.
pub(super) struct Stream {
    /// The core's key; none once it is closed.
    pub(super) name: Option<Key>,
    /// None once closed.
    pub(super) ends: Option<Ends>,
    pub(super) registration: Registration,
    /// Completions to come.
    pub(super) operations: u8,

    /// Where it connects to, while it does. The kernel reads it.
    pub(super) connecting: Option<Box<SockAddr>>,

    /// The core wants data.
    pub(super) wanted: bool,
    /// The receiving operation in flight.
    pub(super) receiving: Option<Op>,
    /// It was told to end.
    pub(super) cancelling: bool,
    /// Waits for a buffer.
    pub(super) starved: bool,
    /// The end was seen.
    pub(super) ended: bool,
    /// In the list of streams to look after.
    pub(super) listed: bool,
    /// What came while the core wanted none. At most what one round of the kernel delivers.
    pub(super) held: Vec<Completion>,

    /// The batch in flight. The kernel reads it.
    pub(super) outgoing: Option<Box<Outgoing>>,
    /// The sending operation in flight.
    pub(super) sending: Option<Op>,
}

impl Stream {
    /// An open stream that has nothing in flight.
    pub(super) fn new(name: Key, ends: Ends) -> Self {
        Self {
            name: Some(name),
            ends: Some(ends),
            registration: Registration::None,
            operations: 0,
            connecting: None,
            wanted: true,
            receiving: None,
            cancelling: false,
            starved: false,
            ended: false,
            listed: false,
            held: Vec::new(),
            outgoing: None,
            sending: None,
        }
    }

    /// Whether input comes from a terminal.
    pub(super) fn reads_terminal(&self) -> bool {
        let input = self.ends.as_ref().and_then(Ends::input);
        input.is_some_and(|end| end.kind == Kind::Terminal)
    }

    /// The file to send to, and whether it is a socket.
    pub(super) fn output(&self) -> Option<(File, bool)> {
        let end = self.ends.as_ref()?.output()?;
        let file = match self.registration {
            Registration::Ready(slot) => File::Registered(slot),
            _ => File::Plain(end.fd.as_raw_fd()),
        };
        Some((file, end.kind == Kind::Socket))
    }
}
