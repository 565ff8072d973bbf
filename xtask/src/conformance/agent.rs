//! An agent as `kern` sees it: a client over HTTP, of either era, that does what it is asked.
//!
//! It answers elicitation with the defaults of the form, sampling with one sentence and roots with
//! one folder. Invariants: it shares no code with `kern`; an answer it cannot use is an error that
//! says so.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::fill;
use super::servers::Era;
use crate::wire::{Head, Wire};

/// Times an agent brings input for one request.
const ROUNDS_MAX: usize = 8;
/// Times an agent asks for the rest of an answer.
const POLLS_MAX: usize = 8;
const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

/// A client and, in the legacy era, its session.
pub(super) struct Agent {
    address: SocketAddr,
    path: String,
    era: Era,
    session: Option<String>,
    last_id: u64,
    /// What the last `tools/list` said.
    tools: Vec<Value>,
}

impl Agent {
    /// A client of the endpoint at `url`, which has said hello.
    pub(super) fn connect(url: &str, era: Era) -> Result<Agent, String> {
        let parts = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
        let (address, path) = parts.ok_or_else(|| format!("{url} is no http URL"))?;
        let address = address.parse().map_err(|_| format!("{address} is no address"))?;
        let path = format!("/{path}");
        let mut agent = Agent { address, path, era, session: None, last_id: 0, tools: Vec::new() };
        if era == Era::Modern {
            agent.request("server/discover", json!({}))?;
            return Ok(agent);
        }
        agent.request(
            "initialize",
            json!({ "protocolVersion": LEGACY, "capabilities": capabilities(),
                    "clientInfo": { "name": "conformance-agent", "version": "1.0.0" } }),
        )?;
        let hello = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        agent.post(&hello, &agent.headers(&hello))?;
        Ok(agent)
    }

    /// Lists the tools and remembers them.
    pub(super) fn list_tools(&mut self) -> Result<Vec<Value>, String> {
        let result = self.request("tools/list", json!({}))?;
        self.tools = result["tools"].as_array().cloned().ok_or("tools/list gave no list")?;
        Ok(self.tools.clone())
    }

    /// The result of a request, after as many rounds of input as it takes.
    pub(super) fn request(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let mut params = params;
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo":
                    { "name": "conformance-agent", "version": "1.0.0" },
                "io.modelcontextprotocol/clientCapabilities": capabilities(),
            });
        }
        for _ in 0..ROUNDS_MAX {
            let result = self.exchange(method, &params)?;
            if self.era != Era::Modern || result["resultType"] != "input_required" {
                return Ok(result);
            }
            let wanted = result["inputRequests"].as_object().cloned().unwrap_or_default();
            let answers: Map<String, Value> = wanted
                .iter()
                .map(|(key, wanted)| Ok((key.clone(), fill::answer(wanted)?)))
                .collect::<Result<_, String>>()?;
            params["inputResponses"] = Value::Object(answers);
            match result.get("requestState") {
                Some(state) => params["requestState"] = state.clone(),
                None => drop(params.as_object_mut().and_then(|map| map.remove("requestState"))),
            }
        }
        Err(format!("{method} wants input again and again"))
    }

    /// One request and its result; what the server asks in between is answered.
    fn exchange(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let (head, answer) = self.post(&message, &self.headers(&message))?;
        if method == "initialize" {
            self.session = head.get("mcp-session-id").map(str::to_owned);
        }
        if let Some(error) = answer.get("error") {
            return Err(format!("{method} failed: {error}"));
        }
        let result = answer.get("result").filter(|_| answer["id"] == id);
        result.cloned().ok_or_else(|| format!("{method} got {} and {answer}", head.status))
    }

    /// Sends a message on a connection of its own and waits for the answer.
    fn post(&self, message: &Value, headers: &str) -> Result<(Head, Value), String> {
        let mut wire = Wire::tcp(self.address)?;
        let (path, address, body) = (&self.path, self.address, message.to_string());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        wire.send(format!("{head}{body}").as_bytes())?;
        let mut answer = wire.response(|between| self.answer(between));
        // A server may close a stream before its answer, and be asked for the rest.
        for _ in 0..POLLS_MAX {
            let Some((place, wait)) = wire.place().filter(|_| answer.is_err()) else { break };
            std::thread::sleep(wait);
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
                 {headers}Last-Event-ID: {place}\r\n\r\n"
            );
            wire = Wire::tcp(self.address)?;
            wire.send(head.as_bytes())?;
            answer = wire.response(|between| self.answer(between));
        }
        answer
    }

    /// Answers a server's request; notifications pass by.
    fn answer(&self, asked: &Value) -> Result<(), String> {
        let Some(id) = asked.get("id") else { return Ok(()) };
        let result = fill::answer(asked)?;
        let message = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let (head, _) = self.post(&message, &self.headers(&message))?;
        if head.status == 202 { Ok(()) } else { Err(format!("an answer got {}", head.status)) }
    }

    /// The headers a message needs besides those of every HTTP request.
    fn headers(&self, message: &Value) -> String {
        if self.era != Era::Modern {
            let Some(session) = &self.session else { return String::new() };
            return format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {LEGACY}\r\n");
        }
        let method = message["method"].as_str().unwrap_or_default();
        let mut headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n");
        let params = &message["params"];
        let name = if method == "resources/read" { &params["uri"] } else { &params["name"] };
        if let Some(value) = fill::header(name) {
            headers += &format!("Mcp-Name: {value}\r\n");
        }
        let tool = self.tools.iter().find(|tool| tool["name"] == *name);
        for (argument, schema) in properties(tool.unwrap_or(&Value::Null)) {
            let value = fill::header(&params["arguments"][argument]);
            if let (Some(header), Some(value)) = (schema["x-mcp-header"].as_str(), value) {
                headers += &format!("Mcp-Param-{header}: {value}\r\n");
            }
        }
        headers
    }
}

/// What the agent says it can do.
fn capabilities() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

/// The properties a tool takes.
pub(super) fn properties(tool: &Value) -> impl Iterator<Item = (&String, &Value)> {
    tool["inputSchema"]["properties"].as_object().into_iter().flatten()
}
