//! What can go wrong, and whose fault is it?
//!
//! `Fault` is always the peer's: its ring is given up, a new one may be asked for. `Gone` is the
//! end of a conversation; trying again means connecting again. `TimedOut` may simply be tried again.

use std::fmt;
use std::io;

/// What the peer did that no honest peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The memory is not laid out as `docs/shm-layout.md` says.
    Layout(&'static str),
    /// The memory can be changed in size: its seals are missing.
    Seals,
    /// An index is where it cannot be.
    Index,
    /// A record says of itself what cannot be.
    Record,
    /// A message is longer than what is accepted.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(what) => write!(f, "the ring's memory is wrong: {what}"),
            Self::Seals => f.write_str("the ring's memory is not sealed"),
            Self::Index => f.write_str("the peer's ring index is where it cannot be"),
            Self::Record => f.write_str("the peer's ring holds no valid record"),
            Self::TooLong => f.write_str("the peer's message is longer than allowed"),
        }
    }
}

/// Why a call on a ring failed.
#[derive(Debug)]
pub enum Error {
    /// The system refused something.
    Io(io::Error),
    /// The peer lied; see [`Fault`].
    Fault(Fault),
    /// The peer ended, or said that it sends no more.
    Gone,
    /// It did not happen in time.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Gone => f.write_str("the other side of the ring is gone"),
            Self::TimedOut => f.write_str("nothing came through the ring in time"),
        }
    }
}

impl std::error::Error for Fault {}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Fault(fault) => Some(fault),
            Self::Gone | Self::TimedOut => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Fault(fault) => Self::new(io::ErrorKind::InvalidData, fault),
            Error::Gone => io::ErrorKind::UnexpectedEof.into(),
            Error::TimedOut => io::ErrorKind::TimedOut.into(),
        }
    }
}
