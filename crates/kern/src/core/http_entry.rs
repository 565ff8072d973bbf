//! From an HTTP request to a message of the protocol: paths, methods, headers, eras.
//!
//! Sources: 2025-11-25 basic/transports and 2026-07-28 basic/transports/streamable-http; HTTP+SSE is
//! that of 2024-11-05. Invariant: whatever is refused here was never seen by a room behind.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::envelope::ScanFault;
use kern_mcp::errors::Cause;
use kern_mcp::headers::{self, RequestHeaders};
use kern_mcp::http::{Method as Verb, Request, encode};
use kern_mcp::{Envelope, Method, scan};
use kern_session::{Token, credential_of};
use kern_terms::{Era, Key, Revision};

use super::edge::{Doing, Edge, Exchange, Kind};
use super::words::{Forwarded, Post, ReplyTo};
use super::{Core, Io, guard};
use crate::pipeline::{self, Inbound};

/// What a path leads to.
enum Place<'a> {
    /// Streamable HTTP, for all upstreams or one.
    Mcp(Option<&'a str>),
    /// The event stream of HTTP+SSE.
    Sse(Option<&'a str>),
    /// Where HTTP+SSE clients post.
    Messages(&'a str),
    /// The card of one upstream or all (SEP-2127).
    Card(Option<&'a str>),
    /// The catalog of all cards.
    Cards,
    Health,
    Status,
    Nowhere,
}

fn place(target: &str) -> Place<'_> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(name) = path.strip_prefix("/mcp/").filter(|name| !name.contains('/')) {
        return Place::Mcp(Some(name));
    }
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some("mcp"), name, None) => Place::Mcp(name),
        (Some("mcp"), Some(name), Some("server-card")) if parts.next().is_none() => {
            Place::Card(Some(name))
        }
        (Some(".well-known"), Some("ai-catalog.json"), None) => Place::Cards,
        (Some(".well-known"), Some("mcp"), Some("catalog.json")) => Place::Cards,
        (Some("sse"), name, None) => Place::Sse(name),
        (Some("messages"), None, None) => Place::Messages(query),
        (Some("healthz"), None, None) => Place::Health,
        (Some("status"), None, None) => Place::Status,
        _ => Place::Nowhere,
    }
}

impl Core {
    pub(super) fn http_request(&mut self, io: &mut Io, key: Key, request: &Request<'_>) {
        let Some(Edge { kind: Kind::Http(http), local, .. }) = self.edges.get_mut(key) else {
            return;
        };
        let local = *local;
        let headers = &request.headers;
        let silent = headers.accept.is_none();
        http.doing = Doing::Waiting(Exchange {
            keep_alive: request.keep_alive,
            http10: request.http10,
            head_only: request.method == Verb::Head,
            accepts_json: silent || headers.accepts("application/json"),
            accepts_stream: silent || headers.accepts("text/event-stream"),
            modern: false,
            token: None,
            credential: None,
            announce: None,
            flight: None,
            listen: None,
        });
        if let Err((status, why)) = self.guarded(request, local) {
            return self.deny(io, key, status, why);
        }
        match (place(request.target), request.method) {
            (Place::Nowhere, _) => {
                self.deny(
                    io,
                    key,
                    404,
                    "nothing here: MCP is at /mcp and /mcp/NAME, HTTP+SSE at /sse",
                );
            }
            (Place::Health, Verb::Get | Verb::Head) => self.respond(io, key, |out, keep_alive| {
                encode::response(out, 200, "text/plain", &[], keep_alive, &[b"ok\n"]);
            }),
            (Place::Status, Verb::Get | Verb::Head) => {
                let status = self.status(io);
                self.respond(io, key, |out, keep_alive| {
                    encode::response(out, 200, "application/json", &[], keep_alive, &[&status]);
                });
            }
            // An upstream of this name still has its sessions.
            (Place::Mcp(Some("server-card")), Verb::Get | Verb::Head)
                if request.headers.mcp_session_id.is_none() =>
            {
                self.card(io, key, request, None);
            }
            (Place::Card(name), Verb::Get | Verb::Head) => self.card(io, key, request, name),
            (Place::Cards, Verb::Get | Verb::Head) => self.card_catalog(io, key, request),
            (Place::Mcp(name), Verb::Post) => self.mcp_post(io, key, request, name),
            (Place::Mcp(name), Verb::Get) => self.mcp_get(io, key, request, name),
            (Place::Mcp(name), Verb::Delete) => self.mcp_delete(io, key, request, name),
            (Place::Sse(name), Verb::Get) => self.sse_get(io, key, request, name),
            (Place::Messages(query), Verb::Post) => self.sse_post(io, key, request, query),
            (place, _) => {
                let allow: &[u8] = match place {
                    Place::Mcp(_) => b"POST, GET, DELETE",
                    Place::Messages(_) => b"POST",
                    _ => b"GET",
                };
                self.not_allowed(io, key, allow);
            }
        }
    }

    pub(super) fn not_allowed(&mut self, io: &mut Io, key: Key, allow: &[u8]) {
        self.respond(io, key, |out, keep_alive| {
            encode::empty_response(out, 405, &[("allow", allow)], keep_alive);
        });
    }

    fn guarded(&self, request: &Request<'_>, local: bool) -> Result<(), (u16, &'static str)> {
        if local {
            return Ok(());
        }
        let serve = &self.setup.plan.serve;
        let public = serve.listen.is_some_and(|address| !address.ip().is_loopback());
        if let Some(origin) = request.headers.origin
            && !guard::origin_allowed(origin, &serve.allowed_origins)
        {
            return Err((403, "this Origin is not allowed: add it to serve.allowed_origins"));
        }
        match request.headers.host {
            Some(host) if guard::host_allowed(host, &serve.allowed_hosts, public) => Ok(()),
            None if request.http10 => Ok(()),
            _ => Err((403, "this Host is not allowed: add it to serve.allowed_hosts")),
        }
    }

    pub(super) fn exchange_mut(&mut self, key: Key) -> Option<(&mut Exchange, ReplyTo)> {
        let core = self.id;
        let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get_mut(key) else {
            return None;
        };
        let number = http.exchange;
        let Doing::Waiting(exchange) = &mut http.doing else { return None };
        let (json, streams) = (exchange.accepts_json, exchange.accepts_stream);
        let flows = !exchange.http10;
        Some((exchange, ReplyTo { json, streams, flows, ..ReplyTo::new(core, key, number) }))
    }

    fn mcp_post(&mut self, io: &mut Io, key: Key, request: &Request<'_>, name: Option<&str>) {
        let Some((exchange, reply)) = self.exchange_mut(key) else { return };
        if !exchange.accepts_json && !exchange.accepts_stream {
            let why = "Accept must list application/json and text/event-stream";
            return self.deny(io, key, 406, why);
        }
        if !is_json(request) {
            return self.deny(io, key, 415, "Content-Type must be application/json");
        }
        let endpoint = match name {
            None => None,
            Some(name) => match self.endpoint(name) {
                Some(name) => Some(name),
                None => return self.deny(io, key, 404, "there is no upstream of this name"),
            },
        };
        let message = request.body;
        let envelope = match scan(message, &self.scan_limits) {
            Ok(envelope) => envelope,
            Err(error) if error.fault == ScanFault::Batch => {
                return self.batch_post(io, reply, request, endpoint);
            }
            Err(error) => {
                let id = error.id.map(|span| span.of(message));
                let code = error.fault.code();
                return self.bad_request(io, key, id, code, &error.to_string());
            }
        };
        let by_header = request.headers.mcp_protocol_version;
        let header_modern = by_header
            .is_some_and(|text| Revision::parse(text).is_some_and(|it| it.era() == Era::Modern));
        if envelope.protocol_version.is_some() || header_modern {
            self.modern_post(io, reply, request, endpoint, message, envelope);
        } else {
            self.legacy_post(io, reply, request, endpoint, message, envelope);
        }
    }

    fn modern_post(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        request: &Request<'_>,
        endpoint: Option<Arc<str>>,
        message: &[u8],
        envelope: Envelope,
    ) {
        if let Some((exchange, _)) = self.exchange_mut(reply.edge) {
            exchange.modern = true;
            exchange.credential = credential(request, &envelope);
        }
        if envelope.kind != kern_mcp::Kind::Request {
            let notification = envelope.kind == kern_mcp::Kind::Notification;
            if notification {
                self.accepted_202(io, reply.edge);
            } else {
                self.deny(io, reply.edge, 400, "a client of this revision sends no responses");
            }
            return;
        }
        let checked = pipeline::check_modern(message, &envelope)
            .and_then(|()| check_headers(request, message, &envelope))
            .and_then(|()| pipeline::check_version(message, &envelope));
        let inbound = Inbound {
            reply,
            endpoint,
            message,
            envelope,
            revision: Revision::V2026_07_28,
            session: None,
        };
        let checked = checked.and_then(|()| match inbound.envelope.method {
            Method::ToolsCall => self.check_params(&inbound, |name| request.headers.get(name)),
            _ => Ok(()),
        });
        match checked {
            Ok(()) => pipeline::request(self, io, &inbound),
            Err(fault) => self.refuse_with(io, &inbound, fault),
        }
    }

    fn legacy_post(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        request: &Request<'_>,
        endpoint: Option<Arc<str>>,
        message: &[u8],
        envelope: Envelope,
    ) {
        let key = reply.edge;
        if envelope.method != Method::Initialize
            && let Some(why) = unknown_revision(request)
        {
            let id = envelope.id.map(|span| span.of(message));
            let code = Cause::InvalidRequest.code(Era::Legacy);
            return self.bad_request(io, key, id, code, &why);
        }
        if envelope.method == Method::Initialize {
            let revision = Revision::LEGACY_LATEST;
            let inbound = Inbound { reply, endpoint, message, envelope, revision, session: None };
            return pipeline::request(self, io, &inbound);
        }
        self.bring_to_session(io, reply, request, endpoint, message, Some(envelope));
    }

    /// An array of messages: only a session of 2025-03-26 may send one.
    fn batch_post(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        request: &Request<'_>,
        endpoint: Option<Arc<str>>,
    ) {
        if let Some(why) = unknown_revision(request) {
            return self.deny(io, reply.edge, 400, &why);
        }
        if request.headers.mcp_session_id.is_none() {
            return self.deny(io, reply.edge, 400, super::batches::NO_SESSION);
        }
        self.bring_to_session(io, reply, request, endpoint, request.body, None);
    }

    /// Brings a message to the core of the session it names.
    fn bring_to_session(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        request: &Request<'_>,
        endpoint: Option<Arc<str>>,
        message: &[u8],
        envelope: Option<Envelope>,
    ) {
        let key = reply.edge;
        let Some(text) = request.headers.mcp_session_id else {
            let why = "Mcp-Session-Id is missing: send initialize first, or speak 2026-07-28";
            return self.deny(io, key, 400, why);
        };
        let Some(token) = Token::parse(text.as_bytes()) else {
            return self.deny(io, key, 404, "this session has ended: send initialize again");
        };
        if let Some((exchange, _)) = self.exchange_mut(key) {
            exchange.token = Some(token);
        }
        let forwarded = |message| Forwarded { reply, token, endpoint: endpoint.clone(), message };
        if token.core == self.id {
            self.session_message(io, reply, token, endpoint, message, envelope);
        } else if self.setup.cores.contains(&token.core) {
            let message = Bytes::copy_from_slice(message);
            io.post(token.core, Post::Forwarded(Box::new(forwarded(message))));
        } else {
            self.deny(io, key, 404, "this session has ended: send initialize again");
        }
    }

    /// Answers a message that cannot be taken: an error of JSON-RPC, with 400.
    fn bad_request(&mut self, io: &mut Io, key: Key, id: Option<&[u8]>, code: i64, why: &str) {
        let mut body = Vec::new();
        kern_mcp::encode::error(&mut body, id, code, why, None);
        self.respond(io, key, |out, keep_alive| {
            encode::json_response(out, 400, &[], keep_alive, &[&body]);
        });
    }

    pub(super) fn accepted_202(&mut self, io: &mut Io, key: Key) {
        self.respond(io, key, |out, keep_alive| {
            encode::empty_response(out, 202, &[], keep_alive);
        });
    }

    /// The shared name of a configured upstream.
    pub(super) fn endpoint(&self, name: &str) -> Option<Arc<str>> {
        self.names.get_key_value(name).map(|(name, _)| Arc::clone(name))
    }
}

/// Why the revision that a request names is none.
pub(super) fn unknown_revision(request: &Request<'_>) -> Option<String> {
    let text = request.headers.mcp_protocol_version?;
    if Revision::parse(text).is_some() {
        return None;
    }
    let known: Vec<_> = Revision::ALL.iter().map(|revision| revision.as_str()).collect();
    Some(format!("MCP-Protocol-Version {text:?} is not one of {}", known.join(", ")))
}

/// Who sends a request that may be parked, or comes back to one that is.
fn credential(request: &Request<'_>, envelope: &Envelope) -> Option<[u8; 32]> {
    // `{}` declares nothing.
    let declares = envelope.client_capabilities.is_some_and(|span| span.len() > 2);
    let authorization = request.headers.authorization?.as_bytes();
    (declares || envelope.request_state.is_some()).then(|| credential_of(authorization))
}

pub(super) fn is_json(request: &Request<'_>) -> bool {
    request.headers.content_type.is_some_and(|text| {
        if text == "application/json" {
            return true;
        }
        let kind = text.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

/// The headers of the modern era must be there and say what the body says.
fn check_headers(
    request: &Request<'_>,
    message: &[u8],
    envelope: &Envelope,
) -> Result<(), pipeline::Fault> {
    let headers = RequestHeaders {
        protocol_version: request.headers.mcp_protocol_version.map(str::as_bytes),
        method: request.headers.mcp_method,
        name: request.headers.mcp_name,
    };
    headers::check(&headers, envelope, message)
        .map_err(|fault| pipeline::Fault::new(Cause::HeaderMismatch, fault.to_string()))
}
