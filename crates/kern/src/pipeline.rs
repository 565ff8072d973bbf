//! The order of the rooms, in one place.
//!
//! ```text
//! bytes ─► frame ─► message ─► session ─► route ─► upstream
//!   ▲                                                  │
//!   └──────────── encode for the client ◄──── reply ◄──┘
//! ```
//!
//! Framing happened where the bytes came in (`core/http_edge`, `core/channel`), the message was
//! scanned once. What follows is the way of a request from there to an answer or a flight.
//! Admission, cache and schedule take their places between session and upstream with the first
//! policy, lifetime and queue that need them.

use std::borrow::Cow;
use std::sync::Arc;

use kern_mcp::errors::{self, Cause};
use kern_mcp::{Envelope, Method, Span, json};
use kern_terms::{Era, Key, Revision};

use crate::core::words::ReplyTo;
use crate::core::{Core, Io};

/// A client's message, and who it is from.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// The endpoint: one upstream's name, or all of them.
    pub endpoint: Option<Arc<str>>,
    /// The message.
    pub message: &'a [u8],
    /// Its spans.
    pub envelope: Envelope,
    /// The revision the client speaks.
    pub revision: Revision,
    /// Its session, if it has one.
    pub session: Option<Key>,
}

impl Inbound<'_> {
    /// The client's JSON-RPC id, raw.
    pub fn id(&self) -> &[u8] {
        self.envelope.id.map(|span| span.of(self.message)).unwrap_or(b"null")
    }

    /// The text of a string member.
    pub fn text(&self, span: Option<Span>) -> Option<String> {
        self.str(span).map(Cow::into_owned)
    }

    /// The same, copied only if it holds an escape.
    pub fn str(&self, span: Option<Span>) -> Option<Cow<'_, str>> {
        span.and_then(|span| json::unescape(span.of(self.message)))
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Decides code and status.
    pub cause: Cause,
    /// For people.
    pub why: String,
    /// `error.data`, JSON.
    pub data: Option<Vec<u8>>,
}

impl Fault {
    /// A fault without data.
    pub fn new(cause: Cause, why: impl Into<String>) -> Self {
        Self { cause, why: why.into(), data: None }
    }
}

/// The way of a request.
pub fn request(core: &mut Core, io: &mut Io, inbound: &Inbound<'_>) {
    if core.id_in_use(inbound) {
        let why = "a request with this id is still open";
        return core.refuse(io, inbound, Cause::InvalidRequest, why);
    }
    let era = inbound.revision.era();
    match inbound.envelope.method {
        // Answered by what the gateway itself knows.
        Method::Initialize if era == Era::Legacy => core.initialize(io, inbound),
        Method::Ping if era == Era::Legacy => core.reply(io, inbound, b"{}"),
        Method::ServerDiscover if era == Era::Modern => core.discover(io, inbound),
        Method::LoggingSetLevel if era == Era::Legacy => core.set_level(io, inbound),
        Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::ResourcesTemplatesList => core.list(io, inbound),
        Method::SubscriptionsListen if era == Era::Modern => core.open_listen(io, inbound),
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe if era == Era::Legacy => {
            core.subscription(io, inbound);
        }
        // Answered by a server: route, then fly.
        Method::ToolsCall
        | Method::PromptsGet
        | Method::ResourcesRead
        | Method::CompletionComplete => to_server(core, io, inbound),
        Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate => {
            core.task_request(io, inbound);
        }
        Method::TasksList => core.task_list(io, inbound),
        // What no revision defines belongs to an extension: an endpoint of one upstream passes it.
        Method::Other => core.pass(io, inbound),
        _ => core.unknown_method(io, inbound),
    }
}

/// Route, then fly; unless it comes back to a call that waits for it, which was routed before.
fn to_server(core: &mut Core, io: &mut Io, inbound: &Inbound<'_>) {
    if core.comes_back(io, inbound) {
        return;
    }
    match core.route(io, inbound) {
        Routed::To(destination) => core.depart(io, inbound, destination),
        Routed::Wait => core.wait_for_servers(io, inbound),
        Routed::Nowhere(fault) => core.refuse_with(io, inbound, fault),
    }
}

/// The way of a notification of a client with a session.
pub fn notification(core: &mut Core, io: &mut Io, inbound: &Inbound<'_>) {
    match inbound.envelope.method {
        Method::Cancelled => core.client_cancelled(io, inbound),
        Method::RootsListChanged | Method::Progress | Method::TasksStatus => {
            core.pass_notification(io, inbound);
        }
        _ => {}
    }
}

/// The way of a client's answer to a server's request.
pub fn response(core: &mut Core, io: &mut Io, inbound: &Inbound<'_>) {
    core.client_answered(io, inbound);
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The upstream.
    pub upstream: crate::core::words::UpstreamId,
    /// The name its server knows, where it differs from the client's.
    pub name: Option<String>,
    /// The URI its server knows, where it differs.
    pub uri: Option<String>,
    /// How it crosses the eras, where it is about a task.
    pub leg: Option<Box<crate::core::words::Leg>>,
}

impl Destination {
    /// The server of a task, which has no other name there.
    pub fn task_of(upstream: crate::core::words::UpstreamId) -> Self {
        Self { upstream, name: None, uri: None, leg: None }
    }
}

/// What routing decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// One server answers it.
    To(Destination),
    /// The servers are still starting, and one of them may know it.
    Wait,
    /// Nobody does.
    Nowhere(Fault),
}

/// The newest revision, as nearly every modern request spells it.
const LATEST: &[u8] = b"\"2026-07-28\"";

/// What every modern request must carry (2026-07-28 basic/index, `_meta`).
pub fn check_modern(message: &[u8], envelope: &Envelope) -> Result<(), Fault> {
    let missing = |what: &str| {
        let why = format!("params._meta[\"io.modelcontextprotocol/{what}\"] is missing or wrong");
        Err(Fault::new(Cause::MalformedParams, why))
    };
    let version = envelope.protocol_version.map(|span| span.of(message));
    if !version.is_some_and(|raw| raw == LATEST || json::unescape(raw).is_some()) {
        return missing("protocolVersion");
    }
    if !envelope.client_capabilities.is_some_and(|span| json::is_object(message, span)) {
        return missing("clientCapabilities");
    }
    if envelope.client_info.is_some_and(|span| !json::is_object(message, span)) {
        return missing("clientInfo");
    }
    let level = envelope.log_level.map(|span| json::text(span.of(message)).unwrap_or_default());
    if level.is_some_and(|level| kern_session::Level::parse(&level).is_none()) {
        return missing("logLevel");
    }
    Ok(())
}

/// The revision a modern request names must be one spoken here.
pub fn check_version(message: &[u8], envelope: &Envelope) -> Result<(), Fault> {
    let span = envelope.protocol_version;
    if span.is_some_and(|span| span.of(message) == LATEST) {
        return Ok(());
    }
    let requested = span.and_then(|span| json::unescape(span.of(message))).unwrap_or_default();
    if Revision::parse(&requested).is_some_and(|revision| revision.era() == Era::Modern) {
        return Ok(());
    }
    let mut data = Vec::new();
    errors::unsupported_version_data(&mut data, &Revision::ALL, &requested);
    let cause = Cause::UnsupportedProtocolVersion;
    Err(Fault {
        cause,
        why: format!("unsupported protocol version {requested:?}"),
        data: Some(data),
    })
}
