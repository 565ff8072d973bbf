//! Clients of both eras over HTTP. Each request has a connection of its own, so it may come to any
//! core.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Conn, Head, Response, bare, post};
use super::{Kern, PATIENCE};

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    path: String,
    pub session: Option<String>,
    /// The capabilities it declares.
    capabilities: Value,
    modern: bool,
    next_id: u64,
    pub greeting: Value,
}

/// A request whose answer is still to come.
pub struct Pending {
    pub conn: Conn,
    head_read: bool,
    /// The answer was one JSON text.
    single: Option<Value>,
}

impl Client {
    /// A client of 2025-11-25 with a session.
    #[track_caller]
    pub fn legacy(kern: &Kern, path: &str, capabilities: Value) -> Client {
        Client::legacy_of(kern, path, capabilities, "2025-11-25")
    }

    #[track_caller]
    pub fn legacy_of(kern: &Kern, path: &str, capabilities: Value, revision: &str) -> Client {
        let mut client = Client {
            address: kern.address(),
            path: path.to_owned(),
            session: None,
            capabilities: capabilities.clone(),
            modern: false,
            next_id: 1,
            greeting: Value::Null,
        };
        let params = json!({
            "protocolVersion": revision,
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" }
        });
        let body = client.body("initialize", params, 0);
        let response = client.post(&body, &[]);
        assert_eq!(response.status(), 200, "{response:?}");
        client.greeting = response.json()["result"].clone();
        client.session = response.head.get("mcp-session-id").map(str::to_owned);
        assert!(client.session.is_some(), "{response:?}");
        client.notify("notifications/initialized", json!({}));
        client
    }

    /// A client of 2026-07-28.
    pub fn modern(kern: &Kern, path: &str) -> Client {
        Client {
            address: kern.address(),
            path: path.to_owned(),
            session: None,
            capabilities: json!({}),
            modern: true,
            next_id: 1,
            greeting: Value::Null,
        }
    }

    /// The same client, declaring these capabilities.
    pub fn able(mut self, capabilities: Value) -> Client {
        self.capabilities = capabilities;
        self
    }

    /// The body of a request.
    pub fn body(&self, method: &str, params: Value, id: impl Into<Value>) -> String {
        let mut params = params;
        if self.modern {
            let meta = [
                ("io.modelcontextprotocol/protocolVersion", json!("2026-07-28")),
                ("io.modelcontextprotocol/clientCapabilities", self.capabilities.clone()),
            ];
            for (key, value) in meta {
                params["_meta"][key] = value;
            }
        }
        let id: Value = id.into();
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
    }

    /// The headers a request of `body` has besides the usual ones.
    pub fn headers(&self, body: &str) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        if self.modern {
            let message: Value = serde_json::from_str(body).unwrap();
            add("MCP-Protocol-Version", "2026-07-28");
            add("Mcp-Method", message["method"].as_str().unwrap_or_default());
            let params = &message["params"];
            let named = ["name", "uri", "taskId"].iter().find_map(|name| params[name].as_str());
            if let Some(name) = named {
                add("Mcp-Name", name);
            }
        } else if let Some(session) = &self.session {
            add("MCP-Protocol-Version", "2025-11-25");
            add("Mcp-Session-Id", session);
        }
        headers
    }

    fn raw(&self, body: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let own = self.headers(body);
        let mut all: Vec<(&str, &str)> =
            own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.extend_from_slice(more);
        post(&self.path, &all, body)
    }

    /// Posts a body as it is, and reads the whole response.
    #[track_caller]
    pub fn post(&self, body: &str, more: &[(&str, &str)]) -> Response {
        let mut conn = Conn::tcp(self.address);
        assert!(conn.send(self.raw(body, more)));
        conn.response()
    }

    /// Sends a request and leaves its answer for later.
    #[track_caller]
    pub fn begin(&mut self, method: &str, params: Value) -> Pending {
        let id = self.next_id;
        self.next_id += 1;
        self.begin_as(method, params, id)
    }

    #[track_caller]
    pub fn begin_as(&self, method: &str, params: Value, id: impl Into<Value>) -> Pending {
        let body = self.body(method, params, id);
        let mut conn = Conn::tcp(self.address);
        assert!(conn.send(self.raw(&body, &[])));
        Pending { conn, head_read: false, single: None }
    }

    /// Sends a body as it is; its answer is left to the caller.
    #[track_caller]
    pub fn begin_raw(&self, body: &str) -> Conn {
        let mut conn = Conn::tcp(self.address);
        assert!(conn.send(self.raw(body, &[])));
        conn
    }

    /// The same client at another endpoint.
    pub fn at(mut self, path: &str) -> Client {
        self.path = path.to_owned();
        self
    }

    /// The whole JSON-RPC answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.begin(method, params).answer()
    }

    /// The result of a tool.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(answer["result"].is_object(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// The text a tool answers with.
    #[track_caller]
    pub fn text(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        let text = result["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text: {result}")).to_owned()
    }

    /// The message of the error a tool call must end with.
    #[track_caller]
    pub fn error(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        let message = answer["error"]["message"].as_str();
        message.unwrap_or_else(|| panic!("{tool} succeeded: {answer}")).to_owned()
    }

    /// The names of the tools listed.
    #[track_caller]
    pub fn tools(&mut self) -> Vec<String> {
        let answer = self.request("tools/list", json!({}));
        let Some(tools) = answer["result"]["tools"].as_array() else { return Vec::new() };
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn notify(&self, method: &str, params: Value) {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string();
        let response = self.post(&body, &[]);
        assert_eq!(response.status(), 202, "{method}: {response:?}");
    }

    /// Answers a request of the server.
    #[track_caller]
    pub fn answer(&self, id: &Value, result: Value) {
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        let response = self.post(&body, &[]);
        assert_eq!(response.status(), 202, "{response:?}");
    }

    /// Opens the session's own stream.
    #[track_caller]
    pub fn stream(&self) -> Pending {
        let (conn, head) = self.get(&self.path, None);
        assert_eq!(head.status, 200, "{head:?}");
        Pending { conn, head_read: true, single: None }
    }

    /// Asks for a stream of the session at `path`, from an event on.
    #[track_caller]
    pub fn get(&self, path: &str, last: Option<&str>) -> (Conn, Head) {
        let mut conn = Conn::tcp(self.address);
        let session = self.session.clone().unwrap();
        let mut headers = vec![("Accept", "text/event-stream"), ("Mcp-Session-Id", &*session)];
        headers.extend(last.map(|id| ("Last-Event-ID", id)));
        conn.send(bare("GET", path, &headers));
        let head = conn.head(PATIENCE).unwrap();
        (conn, head)
    }

    /// Ends the session; the status.
    #[track_caller]
    pub fn end(&self) -> u16 {
        let mut conn = Conn::tcp(self.address);
        let session = self.session.clone().unwrap();
        conn.send(bare("DELETE", &self.path, &[("Mcp-Session-Id", &session)]));
        conn.response().status()
    }
}

impl Pending {
    /// The next message; `None` when `limit` is over or no more will come.
    pub fn next(&mut self, limit: Duration) -> Option<Value> {
        let started = Instant::now();
        if !self.head_read {
            let head = self.conn.head(limit)?;
            self.head_read = true;
            if head.get("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
                let body = self.conn.body(&head, limit)?;
                self.single = Some(serde_json::from_slice(&body).unwrap());
            }
        }
        if self.single.is_some() {
            return self.single.take();
        }
        loop {
            let event = self.conn.event(limit.saturating_sub(started.elapsed()))?;
            // Some events only say from where a stream can be resumed.
            if !event.data.is_empty() {
                return Some(serde_json::from_str(&event.data).unwrap());
            }
        }
    }

    /// The messages until the answer, and the answer last.
    #[track_caller]
    pub fn all(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let next = self.next(PATIENCE);
            let next = next.unwrap_or_else(|| panic!("no answer came; before: {all:?}"));
            let done = next.get("method").is_none();
            all.push(next);
            if done {
                return all;
            }
        }
    }

    /// The answer; what comes before it is dropped.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        self.all().pop().unwrap()
    }

    /// Waits for a message of `method`; others are dropped.
    #[track_caller]
    pub fn wait_for(&mut self, method: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.next(left) {
                Some(message) if message["method"] == method => return message,
                Some(_) => {}
                None => break,
            }
        }
        panic!("no {method} came")
    }
}
