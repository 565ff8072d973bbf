//! A simulated server of Streamable HTTP, of either era.
//!
//! Whether an answer comes as JSON or as an event stream, whether a session has a stream of its own,
//! whether a connection outlives its answer: all that is drawn from the seed, for real servers differ
//! in all of it.

use std::collections::{BTreeMap, VecDeque};

use kern_reactor::driver::sim::{Actor, Context, Gone, Link};
use serde_json::Value;

use crate::backend::{Backend, Out, Place};
use crate::http::{self, Head, Item, Reader, Reads};
use crate::words::{self, MODERN};

#[derive(Debug)]
struct Connection {
    reader: Reader,
    head: Head,
    body: Vec<u8>,
    waiting: VecDeque<(Head, Vec<u8>)>,
    /// What is being answered on it.
    stream: Option<Stream>,
    ended: bool,
}

#[derive(Debug)]
struct Stream {
    place: Place,
    /// The request it answers; `None` for a session's own stream.
    of: Option<String>,
    /// The head of an event stream was sent.
    started: bool,
    /// Sent with the head: a session that begins here.
    session: Option<String>,
    /// The connection closes after it.
    closes: bool,
}

/// Streamable HTTP at `/mcp`.
#[derive(Debug)]
pub struct HttpServer {
    pub backend: Backend,
    /// How often it forgets a session, per request, ppm.
    pub forgets_ppm: u32,
    connections: BTreeMap<Link, Connection>,
    sessions: BTreeMap<String, Place>,
    next_place: Place,
}

impl HttpServer {
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            forgets_ppm: 0,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_place: 0,
        }
    }

    fn next_place(&mut self) -> Place {
        self.next_place += 1;
        self.next_place
    }

    fn take_items(&mut self, context: &mut Context<'_>, link: Link, items: Vec<Item>) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        for item in items {
            match item {
                Item::Head(head) => connection.head = head,
                Item::Body(bytes) => connection.body.extend_from_slice(&bytes),
                Item::End => {
                    let head = std::mem::take(&mut connection.head);
                    let body = std::mem::take(&mut connection.body);
                    connection.waiting.push_back((head, body));
                }
            }
        }
        self.work_off(context, link);
    }

    fn work_off(&mut self, context: &mut Context<'_>, link: Link) {
        while let Some(connection) = self.connections.get_mut(&link)
            && connection.stream.is_none()
        {
            let Some((head, body)) = connection.waiting.pop_front() else {
                if connection.ended {
                    self.connections.remove(&link);
                    context.close(link);
                }
                return;
            };
            self.handle(context, link, &head, &body);
        }
    }

    fn handle(&mut self, context: &mut Context<'_>, link: Link, head: &Head, body: &[u8]) {
        if head.target != "/mcp" {
            return self.answer(context, link, 404, b"");
        }
        match head.method.as_str() {
            "POST" => self.post(context, link, head, body),
            "GET" if !self.backend.is_modern() => self.open_stream(context, link, head),
            "DELETE" if !self.backend.is_modern() => {
                let session = head.get("mcp-session-id").and_then(|id| self.sessions.remove(id));
                if let Some(place) = session {
                    self.backend.left(place);
                    self.end_streams(context, place, None);
                }
                self.answer(context, link, if session.is_some() { 200 } else { 404 }, b"");
            }
            _ => self.answer(context, link, 405, b""),
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, link: Link, status: u16, body: &[u8]) {
        let headers: &[_] = match body {
            b"" => &[],
            _ => &[("Content-Type", "application/json")],
        };
        context.send(link, &http::response(status, headers, body));
    }

    fn post(&mut self, context: &mut Context<'_>, link: Link, head: &Head, body: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(body) else {
            self.backend.police("a POST whose body is no JSON");
            return self.answer(context, link, 400, b"");
        };
        let accept = head.get("accept").unwrap_or_default();
        if !accept.contains("application/json") || !accept.contains("text/event-stream") {
            self.backend.police(&format!("Accept is {accept:?}"));
        }
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let (place, session) = if self.backend.is_modern() {
            self.check_headers(head, &message);
            (self.next_place(), None)
        } else if method == "initialize" {
            let place = self.next_place();
            let session = format!("session-{}-{place}", self.backend.name);
            self.sessions.insert(session.clone(), place);
            (place, Some(session))
        } else {
            match self.known_session(context, head) {
                Ok(place) => (place, None),
                Err(status) => return self.answer(context, link, status, b""),
            }
        };
        let id = message.get("id").filter(|_| !method.is_empty()).map(words::id_text);
        if id.is_some()
            && let Some(connection) = self.connections.get_mut(&link)
        {
            let closes = context.rng(|rng| rng.below(8)) == 0;
            connection.stream = Some(Stream { place, of: id, started: false, session, closes });
        } else {
            self.answer(context, link, 202, b"");
        }
        let outs = self.backend.message(context, place, &message);
        self.send(context, outs);
        if std::mem::take(&mut self.backend.dying) {
            self.leave(link);
            return context.reset(link);
        }
        if method == "notifications/cancelled" {
            let withdrawn = words::id_text(&message["params"]["requestId"]);
            self.end_streams(context, place, Some(&withdrawn));
        }
    }

    /// Ends the response to what was withdrawn: one request, or a whole session.
    fn end_streams(&mut self, context: &mut Context<'_>, place: Place, of: Option<&str>) {
        let meant = |stream: &Stream| {
            stream.place == place && of.is_none_or(|of| stream.of.as_deref() == Some(of))
        };
        let all = self.connections.iter();
        let links: Vec<Link> = all
            .filter(|(_, connection)| connection.stream.as_ref().is_some_and(meant))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            let Some(connection) = self.connections.get_mut(&link) else { continue };
            let started = connection.stream.take().is_some_and(|stream| stream.started);
            if !started {
                context.send(link, &http::events_head(&[]));
            }
            context.send(link, http::LAST_CHUNK);
            self.work_off(context, link);
        }
    }

    fn known_session(&mut self, context: &mut Context<'_>, head: &Head) -> Result<Place, u16> {
        let Some(id) = head.get("mcp-session-id") else { return Err(400) };
        if context.rng(|rng| rng.chance(self.forgets_ppm))
            && let Some(place) = self.sessions.remove(id)
        {
            context.note("server forgets", place);
            self.backend.left(place);
            self.end_streams(context, place, None);
        }
        let place = self.sessions.get(id).copied().ok_or(404_u16)?;
        let version = head.get("mcp-protocol-version");
        if self.backend.revision >= "2025-06-18" && version != Some(self.backend.revision) {
            self.backend.police(&format!("the version header is {version:?}"));
        }
        Ok(place)
    }

    /// What 2026-07-28 wants mirrored in headers (basic/transports/streamable-http).
    fn check_headers(&mut self, head: &Head, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        let params = &message["params"];
        let name = match method {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            _ => None,
        };
        let wanted = [
            ("mcp-protocol-version", Some(MODERN)),
            ("mcp-method", Some(method)),
            ("mcp-name", name),
        ];
        for (header, value) in wanted {
            if method != "initialize" && value.is_some() && head.get(header) != value {
                let got = head.get(header);
                self.backend.police(&format!("{header} is {got:?} where {value:?} is due"));
            }
        }
    }

    fn open_stream(&mut self, context: &mut Context<'_>, link: Link, head: &Head) {
        let place = match self.known_session(context, head) {
            Ok(place) if place % 3 != 0 => place,
            Ok(_) => return self.answer(context, link, 405, b""),
            Err(status) => return self.answer(context, link, status, b""),
        };
        context.send(link, &http::events_head(&[]));
        if let Some(connection) = self.connections.get_mut(&link) {
            let (started, closes) = (true, true);
            connection.stream = Some(Stream { place, of: None, started, session: None, closes });
        }
    }

    fn send(&mut self, context: &mut Context<'_>, outs: Vec<Out>) {
        for out in outs {
            let wanted = |connection: &Connection| {
                let stream = connection.stream.as_ref();
                stream.is_some_and(|stream| stream.place == out.place && stream.of == out.of)
            };
            let found = self.connections.iter().find(|(_, connection)| wanted(connection));
            if let Some((link, _)) = found {
                let link = *link;
                self.send_on(context, link, &out);
            }
        }
    }

    fn send_on(&mut self, context: &mut Context<'_>, link: Link, out: &Out) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        let Some(stream) = &mut connection.stream else { return };
        let text = out.message.to_string();
        let mut extra: Vec<_> =
            stream.session.iter().map(|id| ("Mcp-Session-Id", id.as_str())).collect();
        if stream.closes {
            extra.push(("Connection", "close"));
        }
        let closes = stream.closes;
        // Only a response of its own has the status that an error of the modern era asks for.
        let has_status = self.backend.is_modern() && out.message.get("error").is_some();
        let drawn = context.rng(|rng| rng.below(2)) == 0;
        let as_json = !stream.started && out.last && (drawn || has_status);
        if as_json {
            let mut headers = vec![("Content-Type", "application/json")];
            headers.extend(extra);
            let status = status_of(&out.message, self.backend.is_modern());
            context.send(link, &http::response(status, &headers, text.as_bytes()));
        } else {
            if !std::mem::replace(&mut stream.started, true) {
                context.send(link, &http::events_head(&extra));
            }
            context.send(link, &http::event_chunk(&text));
            if out.last {
                context.send(link, http::LAST_CHUNK);
            }
        }
        if out.last {
            connection.stream = None;
            if closes {
                self.connections.remove(&link);
                context.close(link);
            } else {
                self.work_off(context, link);
            }
        }
    }

    fn leave(&mut self, link: Link) {
        let stream = self.connections.remove(&link).and_then(|connection| connection.stream);
        if let Some(stream) = stream
            && self.backend.is_modern()
        {
            self.backend.left(stream.place);
        }
    }
}

fn status_of(message: &Value, modern: bool) -> u16 {
    match message["error"]["code"].as_i64() {
        Some(-32601) if modern => 404,
        Some(-32602 | -32020 | -32021 | -32022) if modern => 400,
        _ => 200,
    }
}

impl Actor for HttpServer {
    fn opened(&mut self, _: &mut Context<'_>, link: Link) {
        let connection = Connection {
            reader: Reader::new(Reads::Requests),
            head: Head::default(),
            body: Vec::new(),
            waiting: VecDeque::new(),
            stream: None,
            ended: false,
        };
        self.connections.insert(link, connection);
    }

    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        match connection.reader.feed(bytes) {
            Ok(items) => self.take_items(context, link, items),
            Err(why) => self.backend.police(&format!("a request cannot be read: {why}")),
        }
    }

    fn timer(&mut self, context: &mut Context<'_>, token: u64) {
        let outs = self.backend.timer(context, token);
        self.send(context, outs);
    }

    /// A client that ended its direction may still wait for its answer in the old era; a modern one
    /// is taken to have withdrawn.
    fn finished(&mut self, context: &mut Context<'_>, link: Link) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        connection.ended = true;
        let own_stream = connection.stream.as_ref().is_some_and(|stream| stream.of.is_none());
        let idle = connection.stream.is_none() && connection.waiting.is_empty();
        if idle || own_stream || self.backend.is_modern() {
            self.leave(link);
            context.close(link);
        }
    }

    fn gone(&mut self, _: &mut Context<'_>, link: Link, _: Gone) {
        self.leave(link);
    }
}
