//! Rings between two processes that do not trust each other.
//!
//! A *host* (the gateway) makes two memories and hands them to a *guest* (a client, or a server it
//! started) over a Unix socket: in each, one side writes and the other only reads. Messages travel
//! as records in a ring, big ones in slabs beside it. The layout is written down in
//! `docs/shm-layout.md`, for peers in other languages.
//!
//! Invariants:
//! - nothing the peer wrote is believed: each number is read once, into memory of our own, and
//!   checked there; payload is copied before anybody looks into it;
//! - what we wrote is never read back: our own indices live in private memory;
//! - no call here can be made to wait by the peer, except those that say that they wait;
//! - a lie is a [`Fault`], and costs the liar its ring and nobody else anything.
//!
//! # A client
//!
//! ```no_run
//! use std::time::Duration;
//! let mut client = kern_shm::Client::connect("/run/user/1000/kern.ring")?;
//! client.send(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)?;
//! let answer = client.recv(Some(Duration::from_secs(5)))?;
//! # Ok::<(), kern_shm::Error>(())
//! ```
//!
//! A server started with `ring = true` gets its ring by [`Client::from_env`]. One message is one
//! JSON-RPC message; there is no newline. [`Client::push`] and [`Client::flush`] send several with
//! one wake; [`Client::try_recv`], [`Client::arm`] and [`Client::as_fd`](std::os::fd::AsFd) are for
//! event loops: receive until there is nothing, arm, and wait until the descriptor is readable.
//!
//! Reading order: [`layout`], `words` and `pace` (the protocol), `memory`, `link` with `outbox` and
//! `inbox`, `handover`, `wait`, `client`.
#![cfg(target_os = "linux")]

pub mod layout;
pub mod limits;

mod client;
mod error;
mod handover;
mod inbox;
mod link;
mod memory;
mod outbox;
mod pace;
mod wait;
mod words;

#[cfg(test)]
mod link_tests;
// Not for Miri: it brings its own threads.
#[cfg(all(test, not(miri)))]
mod pace_tests;

pub use client::{Client, Options};
pub use error::{Error, Fault};
pub use layout::Sizes;
pub use link::{Link, Put, Take};
pub use wait::{Spin, WakeBy};

/// The environment variable that names the descriptor of a server's ring socket.
pub const ENV_FD: &str = "KERN_RING_FD";
