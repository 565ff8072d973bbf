//! A simulated client of Streamable HTTP, of either era.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kern_reactor::Listen;
use kern_reactor::driver::sim::{Actor, Context, Gone, Link};
use serde_json::Value;

use crate::brain::Brain;
use crate::http::{self, Events, Head, Item, Reader, Reads};
use crate::words;

mod streams;

const ACT: u64 = 0;
const BEGIN: u64 = 1;

/// What an exchange carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Carries {
    /// A request, by its id's text.
    Request(String),
    /// A notification or an answer: 202 comes back.
    Notice,
    /// The rest of the stream of a request.
    Rest(String),
    /// The session's own stream.
    Stream,
    /// The end of the session.
    Delete,
}

#[derive(Debug)]
struct Exchange {
    carries: Carries,
    /// What to send once connected.
    bytes: Vec<u8>,
    head: Head,
    body: Vec<u8>,
    events: Events,
    /// The session it was sent in.
    session: Option<String>,
}

#[derive(Debug)]
struct Connection {
    reader: Reader,
    open: bool,
    exchange: Option<Exchange>,
}

/// Speaks HTTP on any number of connections.
#[derive(Debug)]
pub struct HttpClient {
    pub brain: Brain,
    at: Listen,
    target: String,
    pub restless: bool,
    /// Whether it cuts, resumes, abandons and ends as a gateway must bear.
    pub wilful: bool,
    connections: BTreeMap<Link, Connection>,
    session: Option<String>,
    /// What it authorizes itself with.
    credential: Option<String>,
    handshake: Option<String>,
    /// Its session is not ready before `notifications/initialized` has arrived.
    initializing: bool,
    /// A request of a session that it ended: there must be none such.
    probe: Option<String>,
    /// How often the rest of a request's stream was asked for.
    tries: BTreeMap<String, u32>,
    /// The last event of its session's own stream.
    stream_last: Option<String>,
    ready: bool,
    leaving: bool,
    pub done: bool,
}

impl HttpClient {
    pub fn new(mut brain: Brain, at: Listen, target: &str) -> Self {
        // Those who don't say who they are can't be told apart.
        "nobody".clone_into(&mut brain.principal);
        Self {
            brain,
            at,
            target: target.to_owned(),
            restless: false,
            wilful: false,
            connections: BTreeMap::new(),
            session: None,
            credential: None,
            handshake: None,
            initializing: false,
            probe: None,
            tries: BTreeMap::new(),
            stream_last: None,
            ready: false,
            leaving: false,
            done: false,
        }
    }

    /// Lets it say who it is.
    pub fn authorize(&mut self) {
        let credential = format!("Bearer {}", self.brain.name);
        self.brain.principal.clone_from(&credential);
        self.credential = Some(credential);
    }

    fn schedule(&self, context: &mut Context<'_>, most_us: u64, token: u64) {
        let delay_us = context.rng(|rng| rng.size(1, most_us));
        context.after(Duration::from_micros(delay_us), token);
    }

    fn headers(&self, message: &Value) -> Vec<(String, String)> {
        let mut headers = vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Accept".to_owned(), "application/json, text/event-stream".to_owned()),
        ];
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        let method = message["method"].as_str().unwrap_or_default();
        if self.brain.is_modern() || (self.session.is_some() && self.brain.revision >= "2025-06-18")
        {
            add("MCP-Protocol-Version", self.brain.revision);
        }
        if self.brain.is_modern() {
            add("Mcp-Method", method);
            let params = &message["params"];
            match method {
                "tools/call" | "prompts/get" => {
                    add("Mcp-Name", params["name"].as_str().unwrap_or_default());
                }
                "resources/read" => add("Mcp-Name", params["uri"].as_str().unwrap_or_default()),
                _ => {}
            }
        } else if let Some(session) = &self.session {
            add("Mcp-Session-Id", session);
        }
        if let Some(credential) = &self.credential {
            add("Authorization", credential);
        }
        headers
    }

    fn post(&mut self, context: &mut Context<'_>, message: &Value) {
        let carries = match (message.get("method"), message.get("id")) {
            (Some(_), Some(id)) => Carries::Request(words::id_text(id)),
            _ => Carries::Notice,
        };
        let headers = self.headers(message);
        let body = message.to_string();
        let bytes = http::request("POST", &self.target, &headers, body.as_bytes());
        self.exchange(context, carries, bytes);
    }

    fn bare(
        &mut self,
        context: &mut Context<'_>,
        method: &str,
        carries: Carries,
        last: Option<&str>,
    ) {
        let mut headers = self.headers(&Value::Null);
        headers.extend(last.map(|last| ("Last-Event-ID".to_owned(), last.to_owned())));
        let bytes = http::request(method, &self.target, &headers, b"");
        self.exchange(context, carries, bytes);
    }

    fn exchange(&mut self, context: &mut Context<'_>, carries: Carries, bytes: Vec<u8>) {
        let exchange = Exchange {
            carries,
            bytes,
            head: Head::default(),
            body: Vec::new(),
            events: Events::default(),
            session: self.session.clone(),
        };
        let mut idle =
            self.connections.iter().filter(|(_, one)| one.open && one.exchange.is_none());
        let reused = idle.next().map(|(link, _)| *link);
        let link = match reused {
            Some(link) if context.rng(|rng| rng.below(4)) != 0 => link,
            _ => {
                let link = context.connect(&self.at);
                let reader = Reader::new(Reads::Responses);
                self.connections.insert(link, Connection { reader, open: false, exchange: None });
                link
            }
        };
        let connection = self.connections.get_mut(&link).expect("found or just made");
        if connection.open {
            context.send(link, &exchange.bytes);
        }
        connection.exchange = Some(exchange);
    }

    fn begin(&mut self, context: &mut Context<'_>) {
        if self.ready || self.handshake.is_some() || self.leaving {
            return;
        }
        if self.brain.is_modern() {
            self.ready = true;
            return;
        }
        self.session = None;
        self.stream_last = None;
        self.tries.clear();
        let message = self.brain.initialize(context);
        self.handshake = Some(words::id_text(&message["id"]));
        self.post(context, &message);
    }

    fn act(&mut self, context: &mut Context<'_>) {
        if self.done {
            return;
        }
        self.schedule(context, 40_000, ACT);
        if self.leaving {
            self.done = self.connections.values().all(|one| one.exchange.is_none());
            if self.done {
                self.close_all(context);
            }
            return;
        }
        if !self.ready {
            return;
        }
        let in_session = self.wilful && self.session.is_some();
        match context.rng(|rng| rng.below(60)) {
            0 if self.restless => {
                self.brain.walk_out();
                self.close_all(context);
                self.ready = false;
                return self.schedule(context, 100_000, BEGIN);
            }
            1 if self.restless && in_session => return self.end_session(context),
            2 | 3 if in_session => self.cut(context),
            4 if in_session => self.abandon(context),
            5 if in_session => self.toggle_stream(context),
            6..10 => {
                if let Some((key, message)) = self.brain.cancel_one(context) {
                    self.cancel(context, &key, &message);
                }
            }
            _ => {}
        }
        if let Some(message) = self.brain.next(context) {
            self.post(context, &message);
        } else if self.brain.only_listens() {
            self.leave(context);
        }
    }

    /// Closing the response is how the modern era withdraws; the old era says it.
    fn cancel(&mut self, context: &mut Context<'_>, key: &str, message: &Value) {
        if !self.brain.is_modern() {
            return self.post(context, message);
        }
        let of = Carries::Request(key.to_owned());
        let carried = |one: &Connection| one.exchange.as_ref().is_some_and(|it| it.carries == of);
        let found = self.connections.iter().find(|(_, one)| carried(one)).map(|(link, _)| *link);
        if let Some(link) = found {
            self.connections.remove(&link);
            context.close(link);
        }
    }

    fn leave(&mut self, context: &mut Context<'_>) {
        for (key, message) in self.brain.stop_listening() {
            self.cancel(context, &key, &message);
        }
        self.leaving = true;
        let streams: Vec<Link> = self
            .connections
            .iter()
            .filter(|(_, one)| {
                one.exchange.as_ref().is_some_and(|it| it.carries == Carries::Stream)
            })
            .map(|(link, _)| *link)
            .collect();
        for link in streams {
            self.connections.remove(&link);
            context.close(link);
        }
        if self.session.is_some() {
            self.brain.disown();
            self.bare(context, "DELETE", Carries::Delete, None);
        }
    }

    fn close_all(&mut self, context: &mut Context<'_>) {
        for (link, _) in std::mem::take(&mut self.connections) {
            context.close(link);
        }
        self.handshake = None;
        self.initializing = false;
        self.probe = None;
    }

    fn items(&mut self, context: &mut Context<'_>, link: Link, items: Vec<Item>) {
        let mut heard = VecDeque::new();
        for item in items {
            let Some(connection) = self.connections.get_mut(&link) else { return };
            let Some(exchange) = &mut connection.exchange else {
                return self.brain.violation("got a response to nothing");
            };
            match item {
                Item::Head(head) => exchange.head = head,
                Item::Body(bytes) if exchange.head.is_events() => {
                    heard.extend(exchange.events.feed(&bytes).into_iter().map(|it| it.data));
                }
                Item::Body(bytes) => exchange.body.extend_from_slice(&bytes),
                Item::End => {
                    self.hear(context, link, &mut heard);
                    self.ended(context, link);
                }
            }
        }
        self.hear(context, link, &mut heard);
    }

    fn hear(&mut self, context: &mut Context<'_>, link: Link, heard: &mut VecDeque<String>) {
        for text in heard.drain(..).filter(|text| !text.is_empty()) {
            self.message(context, link, text.as_bytes());
        }
    }

    fn message(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(bytes) else {
            let text = String::from_utf8_lossy(bytes).into_owned();
            return self.brain.violation(&format!("a message that is no JSON: {text:?}"));
        };
        let is_answer = message.get("method").is_none();
        let begins = is_answer && self.handshake == Some(words::id_text(&message["id"]));
        if begins {
            self.handshake = None;
            let head = self.connections.get(&link).and_then(|one| one.exchange.as_ref());
            self.session = head.and_then(|it| it.head.get("mcp-session-id")).map(str::to_owned);
        }
        for reply in self.brain.heard(context, &message) {
            self.post(context, &reply);
        }
        if begins && message.get("result").is_some() {
            // On another connection a call would overtake it.
            self.initializing = true;
            self.post(context, &self.brain.initialized());
        } else if begins {
            self.schedule(context, 1_000_000, BEGIN);
        }
    }
}

impl Actor for HttpClient {
    fn started(&mut self, context: &mut Context<'_>) {
        for token in [BEGIN, ACT] {
            let delay = self.brain.opening(context);
            context.after(delay, token);
        }
    }

    fn opened(&mut self, context: &mut Context<'_>, link: Link) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        connection.open = true;
        if let Some(exchange) = &connection.exchange {
            context.send(link, &exchange.bytes);
        }
    }

    fn received(&mut self, context: &mut Context<'_>, link: Link, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&link) else { return };
        match connection.reader.feed(bytes) {
            Ok(items) => self.items(context, link, items),
            Err(why) => {
                self.brain.violation(&format!("a response cannot be read: {why}"));
                self.broken(context, link);
                context.close(link);
            }
        }
    }

    fn timer(&mut self, context: &mut Context<'_>, token: u64) {
        match token {
            ACT => self.act(context),
            _ => self.begin(context),
        }
    }

    fn finished(&mut self, context: &mut Context<'_>, link: Link) {
        if let Some(connection) = self.connections.get_mut(&link)
            && let Ok(items) = connection.reader.end()
        {
            self.items(context, link, items);
        }
        self.broken(context, link);
        context.close(link);
    }

    fn gone(&mut self, context: &mut Context<'_>, link: Link, _: Gone) {
        self.broken(context, link);
    }
}
