//! Streams of HTTP clients: a session's own, one that is resumed, and those of HTTP+SSE; and the end
//! of a session.
//!
//! Sources: 2025-11-25 basic/transports; HTTP+SSE is that of 2024-11-05. Invariant: a stream opens
//! only for a session that is known to exist, at the endpoint it was opened at.

use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::http::{Request, encode};
use kern_mcp::sse;
use kern_session::Token;
use kern_terms::Key;

use super::edge::{Doing, Edge, Exchange, Kind, Line};
use super::http_entry::{is_json, unknown_revision};
use super::words::{Forwarded, Mark, Post, ReplyTo};
use super::{Core, Io, deliver};

impl Core {
    pub(super) fn mcp_get(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        name: Option<&str>,
    ) {
        let Some((exchange, _)) = self.exchange_mut(key) else { return };
        if !exchange.accepts_stream {
            return self.deny(io, key, 406, "Accept must list text/event-stream");
        }
        if let Some(why) = unknown_revision(request) {
            return self.deny(io, key, 400, &why);
        }
        let Some((reply, token, endpoint)) = self.about(io, key, request, name) else { return };
        let Some(token) = token else {
            return self.deny(io, key, 404, "this session has ended: send initialize again");
        };
        if let Some((exchange, _)) = self.exchange_mut(key) {
            exchange.token = Some(token);
        }
        let last = request.headers.last_event_id.map(str::as_bytes);
        if token.core == self.id {
            self.attach(io, reply, token, endpoint.as_ref(), last);
        } else {
            let last = last.map(Bytes::copy_from_slice);
            io.post(token.core, Post::Attach { to: reply, token, endpoint, last });
        }
    }

    pub(super) fn mcp_delete(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        name: Option<&str>,
    ) {
        let Some((reply, token, endpoint)) = self.about(io, key, request, name) else { return };
        match token {
            Some(token) if token.core == self.id => {
                self.end_session(io, reply, token, endpoint.as_ref());
            }
            Some(token) => io.post(token.core, Post::End { reply, token, endpoint }),
            None => self.deny(io, key, 404, "this session has ended"),
        }
    }

    /// The session that a request without a body is about, if a core here could have it, and the
    /// endpoint it came to. Nothing where the request names no session, which is then answered.
    fn about(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        name: Option<&str>,
    ) -> Option<(ReplyTo, Option<Token>, Option<Arc<str>>)> {
        let (_, reply) = self.exchange_mut(key)?;
        let Some(text) = request.headers.mcp_session_id else {
            self.not_allowed(io, key, b"POST");
            return None;
        };
        let endpoint = name.and_then(|name| self.endpoint(name));
        // A name that nobody has is no endpoint of any session.
        let known = name.is_none() || endpoint.is_some();
        let token = Token::parse(text.as_bytes());
        let token = token.filter(|token| known && self.setup.cores.contains(&token.core));
        Some((reply, token, endpoint))
    }

    pub(super) fn sse_get(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        name: Option<&str>,
    ) {
        let endpoint = match name.map(|name| self.endpoint(name)) {
            Some(None) => return self.deny(io, key, 404, "there is no upstream of this name"),
            Some(known) => known,
            None => None,
        };
        let token = Token::new(self.id, io.random(), io.random());
        let limit = self.setup.plan.limits.message_bytes;
        let http10 = request.http10;
        let Some(Edge { stream, kind: Kind::Http(http), .. }) = self.edges.get_mut(key) else {
            return;
        };
        let line = Box::new(Line::new(limit, endpoint));
        http.doing = Doing::Channel { token, line, http10 };
        let path = format!("/messages?sessionId={token}");
        io.send_with(*stream, |out| {
            let mut event = Vec::new();
            sse::encode::event(&mut event, Some("endpoint"), None, &[path.as_bytes()]);
            if http10 {
                encode::sse_head_http10(out, &[]);
                out.extend_from_slice(&event);
            } else {
                encode::sse_head(out, &[], true);
                encode::chunk(out, &[&event]);
            }
        });
        self.channels.insert(token, key);
        self.opened_stream(io, key);
    }

    pub(super) fn sse_post(&mut self, io: &mut Io, key: Key, request: &Request<'_>, query: &str) {
        let Some((_, reply)) = self.exchange_mut(key) else { return };
        if !is_json(request) {
            return self.deny(io, key, 415, "Content-Type must be application/json");
        }
        let id = query.split('&').find_map(|pair| pair.strip_prefix("sessionId="));
        let token = id.and_then(|id| Token::parse(id.as_bytes()));
        match token.filter(|token| self.setup.cores.contains(&token.core)) {
            None => self.deny(io, key, 404, "this session has ended: open /sse again"),
            Some(token) if token.core == self.id => {
                self.channel_post(io, reply, token, request.body);
            }
            Some(token) => {
                let message = Bytes::copy_from_slice(request.body);
                let forwarded = Forwarded { reply, token, endpoint: None, message };
                io.post(token.core, Post::Forwarded(Box::new(forwarded)));
            }
        }
    }

    /// A stream that lives as long as its connection was opened: it gets comments.
    pub(super) fn opened_stream(&mut self, io: &mut Io, key: Key) {
        if let Some(edge) = self.edges.get_mut(key) {
            io.cancel(edge.timer);
            let token = super::timers::Timer::Edge(key).token();
            edge.timer = io.timer(super::edge::KEEP_ALIVE_EVERY, token);
        }
    }

    /// Turns a waiting GET into the stream of its session.
    pub(super) fn open_session_stream(
        &mut self,
        io: &mut Io,
        to: ReplyTo,
        token: Token,
        mark: Option<Mark>,
    ) {
        let Some(Edge { stream, kind: Kind::Http(http), .. }) = self.edges.get_mut(to.edge) else {
            return;
        };
        let Doing::Waiting(exchange) = http.doing else { return };
        if http.exchange != to.exchange {
            return;
        }
        let Exchange { http10, keep_alive, .. } = exchange;
        http.doing = Doing::SessionStream { token, http10, keep_alive };
        io.send_with(*stream, |out| {
            match exchange.http10 {
                true => encode::sse_head_http10(out, &[]),
                false => encode::sse_head(out, &[], exchange.keep_alive),
            }
            // Some clients wait for the first bytes before they trust the stream.
            match mark {
                Some(_) => deliver::write_prime(out, exchange.http10, mark, None),
                None => deliver::keep_alive(out, exchange.http10),
            }
        });
        self.opened_stream(io, to.edge);
    }
}
