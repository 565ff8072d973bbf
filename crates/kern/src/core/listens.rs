//! `subscriptions/listen`: streams on which clients of the new era hear of changes.
//!
//! Where such a stream is, is in [`kern_session::listen`]. Invariants: the acknowledgement is its first
//! message; every message of it carries the listen request's id; what it wants is wanted exactly as
//! long as it is open.

use std::collections::BTreeSet;
use std::sync::Arc;

use kern_mcp::errors::Cause;
use kern_mcp::{Method, json};
use kern_session::listen;
use kern_terms::Key;

use super::edge::{Doing, Edge, Kind};
use super::interest::{LIST_MEMBERS, URI_BYTES_MAX};
use super::task_listens::Watched;
use super::words::{Ending, ReplyTo};
use super::{Core, Io};
use crate::pipeline::Inbound;

/// Listen streams of one core.
const LISTENS_MAX: usize = 10_000;
/// Listen streams of one conversation.
const LISTENS_OF_LINE_MAX: usize = 256;
/// Resources one listen stream may name.
const RESOURCES_MAX: usize = 1_000;

/// A `subscriptions/listen` of a client.
#[derive(Debug)]
pub(super) struct Listen {
    pub(super) reply: ReplyTo,
    state: listen::State,
    /// The client's JSON-RPC id, raw.
    pub(super) id: Box<[u8]>,
    pub(super) endpoint: Option<Arc<str>>,
    /// Tools, prompts, resources.
    pub(super) lists: [bool; 3],
    pub(super) resources: BTreeSet<String>,
    pub(super) tasks: Watched,
}

impl Listen {
    /// The params of the acknowledgement, without the closing brace.
    fn agreed(&self, names_tasks: bool) -> Vec<u8> {
        let mut params = b"{\"notifications\":{".to_vec();
        let mut first = true;
        for ((member, _), wanted) in LIST_MEMBERS.iter().zip(self.lists) {
            if wanted {
                params.extend_from_slice(if first { b"" } else { b"," });
                params.extend_from_slice(format!("\"{member}\":true").as_bytes());
                first = false;
            }
        }
        if !self.resources.is_empty() {
            params.extend_from_slice(if first { b"" } else { b"," });
            params.extend_from_slice(b"\"resourceSubscriptions\":[");
            for (at, uri) in self.resources.iter().enumerate() {
                params.extend_from_slice(if at == 0 { b"" } else { b"," });
                json::quote_into(&mut params, uri);
            }
            params.push(b']');
        }
        if names_tasks {
            params.extend_from_slice(if params.ends_with(b"{") { b"" } else { b"," });
            params.extend_from_slice(b"\"taskIds\":[");
            for (at, id) in self.tasks.values().enumerate() {
                params.extend_from_slice(if at == 0 { b"" } else { b"," });
                json::quote_into(&mut params, id);
            }
            params.push(b']');
        }
        params.push(b'}');
        params
    }
}

impl Core {
    pub(crate) fn open_listen(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(filter) = inbound
            .envelope
            .notifications
            .map(|span| span.of(inbound.message))
            .filter(|raw| raw.starts_with(b"{"))
        else {
            let why = "params.notifications must be an object";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        let lists = LIST_MEMBERS.map(|(member, _)| json::field(filter, member) == Some(b"true"));
        let named = json::field(filter, "resourceSubscriptions").unwrap_or(b"[]");
        let resources: BTreeSet<String> = json::items(named).filter_map(json::text).collect();
        if resources.iter().any(|uri| uri.len() > URI_BYTES_MAX) {
            let why = "a URI in params.notifications.resourceSubscriptions is too long";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        }
        let tasks = match self.watched(inbound, filter) {
            Ok(tasks) => tasks,
            Err(fault) => return self.refuse_with(io, inbound, fault),
        };
        let names_tasks = json::field(filter, "taskIds").is_some();
        let ids: usize = tasks.iter().map(|((_, own), shown)| own.len() + shown.len()).sum();
        let bytes = ids + resources.iter().map(String::len).sum::<usize>();
        let of_line = self.line_of(inbound.reply).map_or(0, |line| line.listens.len());
        let full = self.listens.len() >= LISTENS_MAX
            || of_line >= LISTENS_OF_LINE_MAX
            || !self.wants.have_room(bytes);
        if resources.len() > RESOURCES_MAX || full || self.draining {
            let why = "too many subscriptions are open: close some first";
            return self.refuse(io, inbound, Cause::Internal, why);
        }
        if let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get(inbound.reply.edge)
            && matches!(&http.doing, Doing::Waiting(exchange) if !exchange.accepts_stream)
        {
            let why = "Accept must list text/event-stream: the answer is a stream";
            return self.refuse(io, inbound, Cause::InvalidRequest, why);
        }
        let listen = Listen {
            reply: inbound.reply,
            state: listen::State::Opening,
            id: inbound.id().into(),
            endpoint: inbound.endpoint.clone(),
            lists,
            resources,
            tasks: tasks.clone(),
        };
        for uri in listen.resources.clone() {
            self.gain_interest(io, listen.endpoint.as_ref(), &uri);
        }
        let params = listen.agreed(names_tasks);
        let key = self.listens.insert(listen);
        self.bind_listen(inbound.reply.edge, key);
        if self.listen_step(key, listen::Event::Agreed) == listen::Effect::Acknowledge {
            self.write_listen(io, key, Method::SubscriptionsAcknowledged, &params);
        }
        self.watch_tasks(io, key, &tasks, true);
    }

    fn bind_listen(&mut self, edge: Key, listen: Key) {
        if let Some(line) = self.line_mut(edge) {
            line.listens.push(listen);
        } else if let Some(Edge { kind: Kind::Http(http), .. }) = self.edges.get_mut(edge)
            && let Doing::Waiting(exchange) = &mut http.doing
        {
            exchange.listen = Some(listen);
        }
    }

    /// Takes what happened to a listen stream; what has to be done.
    pub(super) fn listen_step(&mut self, key: Key, event: listen::Event) -> listen::Effect {
        let Some(listen) = self.listens.get_mut(key) else {
            return listen::State::Over.step(event).1;
        };
        let (state, effect) = listen.state.step(event);
        listen.state = state;
        effect
    }

    /// Tells a client what changed.
    pub(super) fn tell_listen(&mut self, io: &mut Io, key: Key, method: Method, params: &[u8]) {
        if self.listen_step(key, listen::Event::Changed) == listen::Effect::Tell {
            self.write_listen(io, key, method, params);
        }
    }

    /// Writes a notification on a listen stream; `params` lacks its closing brace.
    fn write_listen(&mut self, io: &mut Io, key: Key, method: Method, params: &[u8]) {
        let Some(listen) = self.listens.get(key) else { return };
        let mut message =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\",\"params\":", method.as_str())
                .into_bytes();
        message.extend_from_slice(params);
        message.extend_from_slice(if params.len() > 1 { b"," } else { b"" });
        message.extend_from_slice(b"\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":");
        message.extend_from_slice(&listen.id);
        message.extend_from_slice(b"}}}");
        let reply = listen.reply;
        self.deliver(io, reply, &message, Ending::More);
    }

    /// Ends a listen stream in order: with its result.
    pub(super) fn end_listen(&mut self, io: &mut Io, key: Key) {
        if self.listen_step(key, listen::Event::Ended) != listen::Effect::Finish {
            return;
        }
        let Some(listen) = self.release_listen(io, key) else { return };
        let mut message = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        message.extend_from_slice(&listen.id);
        message.extend_from_slice(
            b",\"result\":{\"resultType\":\"complete\",\
              \"_meta\":{\"io.modelcontextprotocol/subscriptionId\":",
        );
        message.extend_from_slice(&listen.id);
        message.extend_from_slice(b"}}}");
        self.deliver(io, listen.reply, &message, Ending::Answer(200));
    }

    /// Forgets a listen stream, whose client is gone or no longer wants it.
    pub(super) fn drop_listen(&mut self, io: &mut Io, key: Key) {
        if self.listen_step(key, listen::Event::Withdrawn) == listen::Effect::Release {
            self.release_listen(io, key);
        }
    }

    fn release_listen(&mut self, io: &mut Io, key: Key) -> Option<Listen> {
        let listen = self.listens.remove(key)?;
        self.watch_tasks(io, key, &listen.tasks, false);
        for uri in &listen.resources {
            self.lose_interest(io, listen.endpoint.as_ref(), uri);
        }
        if let Some(line) = self.line_mut(listen.reply.edge) {
            line.listens.retain(|other| *other != key);
        }
        Some(listen)
    }
}
