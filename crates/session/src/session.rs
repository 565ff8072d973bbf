//! What is remembered of one client of the old era.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_mcp::era;
use kern_terms::{FlightId, Instant, Key, Revision};

use crate::{Replay, SmallBytes, Token, life};

/// Severity of a log message, RFC 5424 as used by `logging/setLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the eight names of RFC 5424")]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// The name as the protocol spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// Reads the name as the protocol spells it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }
}

/// One client of the old era, from `initialize` to the end.
#[derive(Debug)]
pub struct Session {
    /// Its unguessable name.
    pub token: Token,
    /// The agreed revision.
    pub revision: Revision,
    /// The endpoint it opened: an upstream's name, or `None` for all of them.
    pub endpoint: Option<Arc<str>>,
    /// `ClientCapabilities`, JSON.
    pub capabilities: Bytes,
    /// The same as a server of the modern era is told it.
    pub capabilities_modern: Bytes,
    /// `Implementation`, JSON.
    pub info: Bytes,
    /// Least severity of log messages it wants, once it said so.
    pub log_level: Option<Level>,
    /// Resources it subscribed to, as it names them.
    pub subscriptions: BTreeSet<String>,
    /// Requests of servers forwarded to it and not yet answered.
    pub asked: BTreeSet<Key>,
    /// Its event streams, from the first on: a client that is answered with plain JSON has none.
    pub replay: Option<Box<Replay>>,
    /// Its open requests: its JSON-RPC id, and the flight that carries it.
    calls: BTreeMap<SmallBytes, FlightId>,
    life: life::State,
    converses: bool,
}

impl Session {
    /// Subscriptions one session may hold.
    pub const SUBSCRIPTIONS_MAX: usize = 1_000;
    /// Forwarded server requests that may wait for one client.
    pub const ASKED_MAX: usize = 64;
    /// Requests one session may have open.
    pub const CALLS_MAX: usize = 1_024;

    /// A new session.
    pub fn new(
        token: Token,
        revision: Revision,
        endpoint: Option<Arc<str>>,
        capabilities: Bytes,
        info: Bytes,
        now: Instant,
    ) -> Self {
        Self {
            token,
            revision,
            endpoint,
            capabilities_modern: era::capabilities::legacy_to_modern(&capabilities).into(),
            converses: era::rounds::can_be_asked(&capabilities),
            capabilities,
            info,
            log_level: None,
            subscriptions: BTreeSet::new(),
            asked: BTreeSet::new(),
            replay: None,
            calls: BTreeMap::new(),
            life: life::State::Idle { since: now },
        }
    }

    /// Takes what happened to it; what has to be done.
    pub fn step(&mut self, now: Instant, event: life::Event) -> life::Effect {
        let (state, effect) = self.life.step(now, event);
        self.life = state;
        effect
    }

    /// Whether nothing was heard of it for so long, and nothing keeps it.
    pub fn is_silent(&self, now: Instant, most: Duration) -> bool {
        self.life.step(now, life::Event::Clock(most)).1 == life::Effect::Release
    }

    /// Its open requests: its JSON-RPC id, and the flight that carries it.
    pub fn calls(&self) -> &BTreeMap<SmallBytes, FlightId> {
        &self.calls
    }

    /// A request of it is on its way under this flight id; the one before, if the id is in use.
    pub fn begin_call(&mut self, now: Instant, id: &[u8], flight: FlightId) -> Option<FlightId> {
        let before = self.calls.insert(id.into(), flight);
        if before.is_none() {
            self.step(now, life::Event::CallBegan);
        }
        before
    }

    /// A request of it is over.
    pub fn end_call(&mut self, now: Instant, id: &[u8]) -> Option<FlightId> {
        let flight = self.calls.remove(id)?;
        self.step(now, life::Event::CallEnded);
        Some(flight)
    }

    /// Whether the client can be asked something in mid-call: it declared `sampling`,
    /// `elicitation` or `roots`. Such a client may not share a server process with others, since a
    /// request of an old server does not say which call caused it.
    pub fn converses(&self) -> bool {
        self.converses
    }

    /// Whether a log message of `level` should reach the client. Before `logging/setLevel` the
    /// server decides (2025-11-25 server/utilities/logging), so everything passes.
    pub fn wants_log(&self, level: Option<Level>) -> bool {
        match (self.log_level, level) {
            (Some(least), Some(level)) => level >= least,
            _ => true,
        }
    }
}
