//! One event loop per core.
//!
//! A [`Cluster`] runs one thread per core; each turns completions, timers and posts into the closed
//! set of [`Event`]s and hands them to its [`App`], which acts through [`Io`].
//!
//! Invariants: an app is only ever called on its own core; a stream never changes core once it
//! was handed to an app; nothing an app closes is destroyed before the turn ends.
//!
//! Reading order: [`event`], [`io`], `turn`, `stream` with `send`, `close`, `dial`, `tls`, `ring` and `accept`,
//! then `lanes`, `cluster`, `timer`, `watchdog`, and [`driver`].

pub mod driver;
pub mod event;
pub mod io;
pub mod limits;
pub mod stats;

mod accept;
mod close;
mod cluster;
mod dial;
mod errands;
mod lanes;
mod load;
mod post;
mod ring;
mod send;
mod stream;
mod timer;
mod tls;
mod turn;
mod watchdog;

pub use cluster::{Cluster, Handle, Options};
pub use errands::{ErrandThreads, Errands};
pub use event::{
    App, ChildExit, Chunk, Closed, Command, Event, Held, Listen, Local, Peer, Recycle, Signal,
    Target, Watermarks,
};
pub use io::{Child, Io};
pub use lanes::Directory;
pub use stats::{Histogram, Stats};
pub use tls::configure as tls_config;
pub use turn::Core;
