//! Greeting clients: `initialize`, `server/discover`, `logging/setLevel`.
//!
//! An endpoint of one upstream shows that server's own capabilities, instructions and name; the
//! endpoint of all shows their union under the gateway's name.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::errors::Cause;
use kern_mcp::{era, json, tasks};
use kern_route::View;
use kern_session::{Level, Session, Token, life};
use kern_terms::{Era, Key, Revision};

use super::edge::{Doing, Edge, Kind};
use super::{Core, Io};
use crate::pipeline::{Fault, Inbound};

/// What the gateway says of itself.
pub(crate) const INFO: &str = concat!(
    r#"{"name":"kern","title":"Kernmantle","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);
/// What it offers whatever stands behind it: lists may change, and it tells.
const CAPABILITIES: &str = r#"{"logging":{},"completions":{},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"tools":{"listChanged":true}}"#;

/// What it can do with the tasks of 2025-11-25.
const TASKS: &str = r#"{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
/// What it makes of the tasks of a modern server for a client of 2025-11-25.
const TASKS_OF_NEW: &str = r#"{"cancel":{},"requests":{"tools":{"call":{}}}}"#;
/// Extensions whose requests find their server on the endpoint of all.
const ROUTED: [&str; 2] = [tasks::EXTENSION, "io.modelcontextprotocol/ui"];

/// Longest description of a client that is kept for its session, bytes: capabilities and name.
const CLIENT_BYTES_MAX: usize = 128 << 10;

impl Core {
    pub(crate) fn initialize(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(view) = self.greeting_view(io, inbound) else { return };
        let params = inbound.envelope.params.map(|span| span.of(inbound.message)).unwrap_or(b"{}");
        let Some(asked) = json::text_field(params, "protocolVersion") else {
            let why = "params.protocolVersion is missing";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        // An unknown version gets the newest handshake revision; the client may disconnect
        // (2025-11-25 basic/lifecycle).
        let revision = Revision::parse(&asked)
            .filter(|revision| revision.era() == Era::Legacy)
            .unwrap_or(Revision::LEGACY_LATEST);
        let object = |name| match json::field(params, name) {
            Some(raw) if raw.starts_with(b"{") => Bytes::copy_from_slice(raw),
            _ => Bytes::from_static(b"{}"),
        };
        if inbound.session.is_some()
            || self.line_of(inbound.reply).is_some_and(|line| line.session.is_some())
        {
            let why = "this connection has a session already";
            return self.refuse(io, inbound, Cause::InvalidRequest, why);
        }
        let token = Token::new(self.id, io.random(), io.random());
        let (capabilities, info) = (object("capabilities"), object("clientInfo"));
        if capabilities.len() + info.len() > CLIENT_BYTES_MAX {
            let why = "params.capabilities and params.clientInfo are too long";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        }
        let endpoint = inbound.endpoint.clone();
        let session = Session::new(token, revision, endpoint, capabilities, info, self.now);
        let Ok(key) = self.sessions.open(session) else {
            let why = "too many sessions are open: try again later";
            return self.refuse(io, inbound, Cause::Internal, why);
        };
        self.bind_session(inbound.reply.edge, key, token);
        let mut result =
            format!("{{\"protocolVersion\":\"{revision}\",\"capabilities\":").into_bytes();
        self.write_identity(&mut result, inbound, view.as_deref(), "serverInfo");
        result.push(b'}');
        self.reply(io, inbound, &result);
    }

    /// Ties the new session to the connection, or announces it in the answer's head.
    fn bind_session(&mut self, edge: Key, session: Key, token: Token) {
        if let Some(line) = self.line_mut(edge) {
            line.session = Some(session);
            let reply = self.channel_reply(edge);
            self.streams.insert(session, reply);
            self.session_step(session, life::Event::StreamOpened);
        } else if let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get_mut(edge)
            && let Doing::Waiting(exchange) = &mut http.doing
        {
            exchange.announce = Some(token);
        }
    }

    pub(crate) fn discover(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(view) = self.greeting_view(io, inbound) else { return };
        let versions: Vec<_> =
            Revision::ALL.iter().rev().map(|revision| format!("\"{revision}\"")).collect();
        let mut result =
            format!("{{\"supportedVersions\":[{}],\"capabilities\":", versions.join(","))
                .into_bytes();
        self.write_identity(&mut result, inbound, view.as_deref(), "");
        result.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"}");
        self.reply(io, inbound, &result);
    }

    /// What the endpoint shows. For an endpoint of one upstream that is still starting the request
    /// is kept for later, and `None` returned.
    fn greeting_view(&mut self, io: &mut Io, inbound: &Inbound<'_>) -> Option<Option<Arc<View>>> {
        let Some(endpoint) = &inbound.endpoint else { return Some(None) };
        if let Some(view) = self.catalog.one(endpoint) {
            return Some(Some(Arc::clone(view)));
        }
        if self.is_starting(endpoint) && self.be_patient(io, inbound) {
            return None;
        }
        let why = self.why_down(endpoint);
        self.refuse_with(io, inbound, Fault::new(Cause::Internal, why));
        None
    }

    /// Appends capabilities, the server's name under `info` (none if empty) and instructions.
    fn write_identity(
        &self,
        out: &mut Vec<u8>,
        inbound: &Inbound<'_>,
        view: Option<&View>,
        info: &str,
    ) {
        let lists = view.and_then(|view| view.upstreams().next());
        match view {
            Some(view) => self.write_capabilities(out, view.capabilities(), inbound.revision),
            None => self.write_all_capabilities(out, inbound.revision),
        }
        if !info.is_empty() {
            out.extend_from_slice(format!(",\"{info}\":").as_bytes());
            match lists.map(|lists| &lists.server_info).filter(|info| info.starts_with(b"{")) {
                Some(info) => out.extend_from_slice(info),
                None => out.extend_from_slice(INFO.as_bytes()),
            }
        }
        let instructions = match view {
            Some(view) => view.instructions().map(str::to_owned),
            None => self.catalog.all().instructions().map(str::to_owned),
        };
        if let Some(instructions) = instructions {
            out.extend_from_slice(b",\"instructions\":");
            json::quote_into(out, &instructions);
        }
    }

    /// What the endpoint of all offers: what the gateway can itself, and of tasks and extensions what
    /// one of the servers has. While they start, what they may have.
    fn write_all_capabilities(&self, out: &mut Vec<u8>, revision: Revision) {
        let known = self.catalog.all().capabilities();
        out.extend_from_slice(&CAPABILITIES.as_bytes()[..CAPABILITIES.len() - 1]);
        let any = tasks::is_offered(known) || tasks::is_declared(known) || !self.settled;
        if revision == Revision::V2025_11_25 && any {
            out.extend_from_slice(b",\"tasks\":");
            out.extend_from_slice(TASKS.as_bytes());
        }
        let mut first = true;
        for extension in ROUTED.into_iter().filter(|_| revision.era() == Era::Modern) {
            let extensions = json::field(known, "extensions").unwrap_or(b"{}");
            let old = extension == tasks::EXTENSION && (!self.settled || tasks::is_offered(known));
            let starting = old.then_some(&b"{}"[..]);
            let Some(settings) = json::field(extensions, extension).or(starting) else { continue };
            out.extend_from_slice(if first { b",\"extensions\":{" } else { b"," });
            first = false;
            json::quote_into(out, extension);
            out.push(b':');
            out.extend_from_slice(settings);
        }
        out.extend_from_slice(if first { b"}" } else { b"}}" });
    }

    /// An upstream's capabilities as the gateway serves them: lists may change on the way, even
    /// where the server's own don't.
    fn write_capabilities(&self, out: &mut Vec<u8>, own: &[u8], revision: Revision) {
        let modern = revision.era() == Era::Modern;
        let added;
        let own = match modern && tasks::is_offered(own) {
            true => {
                added = era::capabilities::with_tasks(own);
                &added[..]
            }
            false => own,
        };
        out.push(b'{');
        let mut first = true;
        if revision == Revision::V2025_11_25 && tasks::is_declared(own) {
            out.extend_from_slice(format!("\"tasks\":{TASKS_OF_NEW}").as_bytes());
            first = false;
        }
        for (key, value) in json::members(own, kern_mcp::Span::all(own)) {
            let (key, value) = (key.of(own), value.of(own));
            // Tasks of 2025-11-25 are of one revision only.
            let twice = !first && tasks::is_declared(own);
            if key == b"\"tasks\"" && (twice || revision != Revision::V2025_11_25) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(key);
            out.push(b':');
            let listed = matches!(key, b"\"tools\"" | b"\"prompts\"" | b"\"resources\"");
            if !listed || !value.starts_with(b"{") {
                out.extend_from_slice(value);
                continue;
            }
            let all = kern_mcp::Span::all(value);
            let mut splice = kern_mcp::Splice::new(value);
            match json::get(value, all, "listChanged") {
                Some(own) => splice.replace(own, &b"true"[..]),
                None => splice.insert_member(all, &b"\"listChanged\":true"[..]),
            }
            splice.write_into(out);
        }
        out.push(b'}');
    }

    pub(crate) fn set_level(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let level = inbound.text(inbound.envelope.level).and_then(|name| Level::parse(&name));
        let Some(level) = level else {
            let why = "params.level must be one of debug, info, notice, warning, error, critical, \
                       alert, emergency";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        let Some(key) = inbound.session else { return self.reply(io, inbound, b"{}") };
        if let Some(session) = self.sessions.get_mut(key) {
            session.log_level = Some(level);
        }
        self.reply(io, inbound, b"{}");
        self.level_to_servers(io, key, inbound);
    }
}
