//! What people and programs do to a gateway in a day.
//!
//! Invariants: every answer is compared with what it must be; an error is fine only from an upstream
//! that is being killed or replaced, and only if it says so by name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::World;
use crate::wire::{Wire, shorten};

/// How long an upstream that was killed may refuse: the longest wait between two starts, and more.
const RECOVERY: Duration = Duration::from_secs(25);

/// Counts, and what went wrong.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) sessions: AtomicU64,
    pub(super) calls: AtomicU64,
    /// Errors of upstreams that were being killed.
    pub(super) excused: AtomicU64,
    pub(super) kills: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) over: AtomicBool,
    /// When something was last killed or replaced.
    pub(super) harmed: std::sync::Mutex<Option<Instant>>,
}

impl Tally {
    fn harmed_lately(&self) -> bool {
        let harmed = self.harmed.lock().ok().and_then(|harmed| *harmed);
        harmed.is_some_and(|at| at.elapsed() < RECOVERY)
    }

    /// Notes that harm was done now.
    pub(super) fn harm(&self) {
        if let Ok(mut harmed) = self.harmed.lock() {
            *harmed = Some(Instant::now());
        }
    }
}

/// One who uses the gateway.
pub(super) struct Person<'a> {
    pub(super) world: &'a World,
    pub(super) tally: &'a Tally,
    pub(super) seed: u64,
}

/// A conversation over HTTP.
struct Talk {
    wire: Wire,
    session: Option<String>,
    capabilities: Value,
    modern: bool,
    next_id: u64,
}

/// One thing that is done.
type Deed<P> = fn(&mut P) -> Result<(), String>;

impl Person<'_> {
    /// What is done, how often (of 100), and its name.
    const DEEDS: [(&'static str, u64, Deed<Self>); 12] = [
        ("a session over HTTP", 30, Self::legacy_session),
        ("modern requests", 22, Self::modern_requests),
        ("a session over a Unix socket", 14, Self::unix_session),
        ("modern requests over a Unix socket", 8, Self::unix_http),
        ("a session that is left behind", 6, Self::left_session),
        ("a client that leaves in mid-call", 5, Self::leaves),
        ("a call that is cancelled", 4, Self::cancels),
        ("a client that listens", 4, Self::listens),
        ("an HTTP+SSE client", 3, Self::old_sse),
        ("a slow reader", 1, Self::reads_slowly),
        ("a client that never reads", 1, Self::never_reads),
        ("a server's own question", 2, Self::is_asked),
    ];

    /// Does one thing after another until it is over; what went wrong.
    pub(super) fn live(mut self) -> Option<String> {
        while !self.tally.over.load(Ordering::Relaxed) {
            let mut die = self.random(100);
            let chosen = Self::DEEDS.iter().find(|(_, often, _)| match die.checked_sub(*often) {
                Some(less) => {
                    die = less;
                    false
                }
                None => true,
            });
            let Some((name, _, deed)) = chosen else { continue };
            if let Err(why) = deed(&mut self) {
                self.tally.over.store(true, Ordering::Relaxed);
                return Some(format!("{name}: {why}"));
            }
        }
        None
    }

    /// A number below `most` (xorshift64*).
    fn random(&mut self, most: u64) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }

    fn talk(&self, modern: bool) -> Result<Talk, String> {
        let wire = Wire::tcp(self.world.address)?;
        let capabilities = json!({});
        Ok(Talk { wire, session: None, capabilities, modern, next_id: 1 })
    }

    fn greeted(&self, capabilities: Value) -> Result<Talk, String> {
        let mut talk = self.talk(false)?;
        talk.capabilities = capabilities.clone();
        talk.send("POST", "/mcp", &talk.request("initialize", greeting(&capabilities)))?;
        let (head, answer) = talk.wire.response(|_| Ok(()))?;
        expect(&answer["result"]["protocolVersion"], &json!("2025-11-25"), &answer)?;
        talk.session = head.get("mcp-session-id").map(str::to_owned);
        if talk.session.is_none() {
            return Err("initialize announced no session".to_owned());
        }
        talk.tell("/mcp", &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(talk)
    }

    /// A tool call of some upstream, and the check of its answer.
    fn some_call(&mut self) -> (Value, Expected) {
        let number = self.random(1_000_000);
        let (upstream, tool, arguments, text) = match self.random(10) {
            0..4 => {
                let text = format!("message {number}");
                ("echo", "echo", json!({ "message": text }), Some(text))
            }
            4..6 => ("web", "test_echo", json!({ "value": number }), None),
            6 => ("victim", "test_echo", json!({ "value": number }), None),
            7 => ("old", "test_echo", json!({ "value": number }), None),
            8 => {
                let text = "This is a simple text response for testing.".to_owned();
                ("extra", "test_simple_text", json!({}), Some(text))
            }
            _ => {
                let text = format!("slept {} ms", number % 20);
                ("echo", "sleep", json!({ "ms": number % 20 }), Some(text))
            }
        };
        let params = json!({ "name": format!("{upstream}__{tool}"), "arguments": arguments });
        (params, Expected { upstream, arguments, text })
    }

    fn check(&self, answer: &Value, expected: &Expected) -> Result<(), String> {
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(message) = answer["error"]["message"].as_str() {
            let may_fail = matches!(expected.upstream, "victim" | "extra");
            if may_fail && message.contains(expected.upstream) && self.tally.harmed_lately() {
                self.tally.excused.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        let result = &answer["result"];
        match &expected.text {
            Some(text) => expect(&result["content"][0]["text"], &json!(text), answer),
            None => expect(&result["structuredContent"], &expected.arguments, answer),
        }
    }

    fn calls(&mut self, talk: &mut Talk, most: u64) -> Result<(), String> {
        for _ in 0..=self.random(most) {
            let (params, expected) = self.some_call();
            let answer = talk.ask("/mcp", "tools/call", params)?;
            self.check(&answer, &expected)?;
        }
        Ok(())
    }

    fn legacy_session(&mut self) -> Result<(), String> {
        let mut talk = self.greeted(json!({}))?;
        self.calls(&mut talk, 6)?;
        if self.random(3) == 0 {
            check_lists(&talk.ask("/mcp", "tools/list", json!({}))?)?;
        }
        let mut stream = None;
        if self.random(3) == 0 {
            let mut other = self.talk(false)?;
            other.session.clone_from(&talk.session);
            other.send("GET", "/mcp", "")?;
            expect(&json!(other.wire.head()?.status), &json!(200), &Value::Null)?;
            stream = Some(other);
        }
        self.calls(&mut talk, 3)?;
        talk.send("DELETE", "/mcp", "")?;
        let head = talk.wire.head()?;
        talk.wire.body(&head)?;
        if let Some(mut stream) = stream {
            while stream.wire.event()?.is_some() {}
        }
        match head.status {
            200..300 => Ok(()),
            status => Err(format!("DELETE is answered with {status}")),
        }
    }

    fn left_session(&mut self) -> Result<(), String> {
        let mut talk = self.greeted(json!({}))?;
        self.calls(&mut talk, 2)
    }

    fn modern_requests(&mut self) -> Result<(), String> {
        let mut talk = self.talk(true)?;
        self.calls(&mut talk, 8)?;
        if self.random(3) == 0 {
            check_lists(&talk.ask("/mcp", "tools/list", json!({}))?)?;
            let answer = talk.ask("/mcp", "server/discover", json!({}))?;
            expect(&answer["result"]["supportedVersions"][0], &json!("2026-07-28"), &answer)?;
            let answer = talk.ask("/mcp/web", "prompts/list", json!({}))?;
            expect(&answer["result"]["prompts"].is_array().into(), &json!(true), &answer)?;
        }
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unix_session(&mut self) -> Result<(), String> {
        let mut wire = Wire::unix(&self.world.unix)?;
        wire.send_line(&rpc(1, "initialize", greeting(&json!({}))))?;
        let answer = wire.answer_to(1)?;
        expect(&answer["result"]["protocolVersion"], &json!("2025-11-25"), &answer)?;
        wire.send_line(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        let mut open = Vec::new();
        for id in 2..2 + self.random(8) {
            let (params, expected) = self.some_call();
            wire.send_line(&rpc(id, "tools/call", params))?;
            open.push((id, expected));
        }
        while !open.is_empty() {
            let message = wire.message()?;
            let at = open.iter().position(|(id, _)| message["id"] == *id);
            if let Some(at) = at.filter(|_| message.get("method").is_none()) {
                let (_, expected) = open.swap_remove(at);
                self.check(&message, &expected)?;
            }
        }
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unix_http(&mut self) -> Result<(), String> {
        let mut talk = self.talk(true)?;
        talk.wire = Wire::unix(&self.world.unix)?;
        self.calls(&mut talk, 4)?;
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn leaves(&mut self) -> Result<(), String> {
        let modern = self.random(2) == 0;
        let mut talk = if modern { self.talk(true)? } else { self.greeted(json!({}))? };
        let upstream =
            ["old__test_delay", "web__test_delay", "echo__sleep"][self.random(3) as usize];
        let params = json!({ "name": upstream, "arguments": { "ms": 400 } });
        talk.send("POST", "/mcp", &talk.request("tools/call", params))?;
        std::thread::sleep(Duration::from_millis(self.random(30)));
        Ok(())
    }

    fn cancels(&mut self) -> Result<(), String> {
        let mut wire = Wire::unix(&self.world.unix)?;
        wire.send_line(&rpc(1, "initialize", greeting(&json!({}))))?;
        wire.answer_to(1)?;
        let params = json!({ "name": "old__test_delay", "arguments": { "ms": 5000 } });
        wire.send_line(&rpc(2, "tools/call", params))?;
        std::thread::sleep(Duration::from_millis(self.random(20)));
        let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                                "params": { "requestId": 2 } });
        wire.send_line(&cancelled)?;
        wire.send_line(&rpc(3, "ping", json!({})))?;
        let mut next = wire.message()?;
        while next.get("method").is_some() {
            next = wire.message()?;
        }
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        expect(&next["id"], &json!(3), &next)
    }

    fn listens(&mut self) -> Result<(), String> {
        let mut talk = self.talk(true)?;
        let wanted = json!({ "notifications": { "toolsListChanged": true,
                                                "resourcesListChanged": true } });
        talk.send("POST", "/mcp", &talk.request("subscriptions/listen", wanted))?;
        expect(&json!(talk.wire.head()?.status), &json!(200), &Value::Null)?;
        let (_, first) = talk.wire.event()?.ok_or("a listen ended at once")?;
        if !first.contains("subscriptions/acknowledged") {
            return Err(format!("a listen began with {}", shorten(first.as_bytes())));
        }
        std::thread::sleep(Duration::from_millis(self.random(300)));
        Ok(())
    }

    fn old_sse(&mut self) -> Result<(), String> {
        let mut stream = Wire::tcp(self.world.address)?;
        stream
            .send(b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")?;
        expect(&json!(stream.head()?.status), &json!(200), &Value::Null)?;
        let (name, path) = stream.event()?.ok_or("no endpoint came")?;
        expect(&json!(name), &json!("endpoint"), &Value::Null)?;
        let mut talk = self.talk(false)?;
        let (params, expected) = self.some_call();
        let posts = [
            rpc(1, "initialize", greeting(&json!({}))),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            rpc(2, "tools/call", params),
        ];
        for message in &posts {
            talk.tell(&path, message)?;
        }
        let answer = loop {
            let (_, data) = stream.event()?.ok_or("the stream ended")?;
            let message: Value = serde_json::from_str(&data).map_err(|error| error.to_string())?;
            if message["id"] == 2 {
                break message;
            }
        };
        self.tally.sessions.fetch_add(1, Ordering::Relaxed);
        self.check(&answer, &expected)
    }

    fn reads_slowly(&mut self) -> Result<(), String> {
        let mut talk = self.talk(true)?;
        let bytes = 400_000;
        let params = json!({ "name": "web__test_large_text", "arguments": { "bytes": bytes } });
        talk.send("POST", "/mcp", &talk.request("tools/call", params))?;
        let body = talk.wire.body_slowly(8 << 10, Duration::from_millis(4))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
        let right = text.len() == bytes && text.starts_with("abcdefghijklmnopqrstuvwxyzabc");
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        if right { Ok(()) } else { Err(format!("a large text: {}", shorten(&body))) }
    }

    fn never_reads(&mut self) -> Result<(), String> {
        let mut talk = self.talk(true)?;
        let params = json!({ "name": "echo__blob", "arguments": { "bytes": 3_000_000 } });
        talk.send("POST", "/mcp", &talk.request("tools/call", params))?;
        std::thread::sleep(Duration::from_millis(50 + self.random(200)));
        Ok(())
    }

    fn is_asked(&mut self) -> Result<(), String> {
        let mut talk = self.greeted(json!({ "sampling": {} }))?;
        let mut answers = self.talk(false)?;
        answers.session.clone_from(&talk.session);
        let arguments = json!({ "prompt": "say" });
        let params = json!({ "name": "old__test_sampling", "arguments": arguments });
        talk.send("POST", "/mcp", &talk.request("tools/call", params))?;
        let (_, answer) = talk.wire.response(|message| {
            if message["method"] != "sampling/createMessage" {
                return Ok(());
            }
            let result = json!({ "role": "assistant", "model": "m",
                                 "content": { "type": "text", "text": "said" } });
            let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
            answers.tell("/mcp", &reply)
        })?;
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        expect(&answer["result"]["content"][0]["text"], &json!("LLM response: said"), &answer)?;
        talk.send("DELETE", "/mcp", "")?;
        talk.wire.head().map(drop)
    }
}

/// What a call must be answered with.
struct Expected {
    upstream: &'static str,
    arguments: Value,
    text: Option<String>,
}

fn expect(found: &Value, wanted: &Value, whole: &Value) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{wanted} expected in {}", shorten(whole.to_string().as_bytes()))),
    }
}

/// The tools of upstreams that nobody harms are always there.
fn check_lists(answer: &Value) -> Result<(), String> {
    let tools = answer["result"]["tools"].as_array().cloned().unwrap_or_default();
    for wanted in ["echo__echo", "web__test_echo", "old__test_echo"] {
        if !tools.iter().any(|tool| tool["name"] == wanted) {
            let all = tools.len();
            return Err(format!("{wanted} is not among the {all} tools listed"));
        }
    }
    Ok(())
}

fn rpc(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn greeting(capabilities: &Value) -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "soak", "version": "1" } })
}

impl Talk {
    fn request(&self, method: &str, params: Value) -> String {
        let mut params = params;
        if self.modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        rpc(self.next_id, method, params).to_string()
    }

    fn send(&mut self, verb: &str, path: &str, body: &str) -> Result<(), String> {
        let mut head = format!("{verb} {path} HTTP/1.1\r\nHost: localhost\r\n");
        head.push_str(match verb {
            "GET" => "Accept: text/event-stream\r\n",
            _ => "Accept: application/json, text/event-stream\r\n",
        });
        if self.modern {
            let message: Value = serde_json::from_str(body).unwrap_or_default();
            let method = message["method"].as_str().unwrap_or_default();
            head.push_str(&format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n"));
            if let Some(name) = message["params"]["name"].as_str() {
                head.push_str(&format!("Mcp-Name: {name}\r\n"));
            }
        }
        if let Some(session) = &self.session {
            head.push_str(&format!(
                "MCP-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: {session}\r\n"
            ));
        }
        if verb == "POST" {
            let length = body.len();
            head.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            ));
        }
        self.wire.send(format!("{head}\r\n{body}").as_bytes())
    }

    /// Sends a notification or an answer.
    fn tell(&mut self, path: &str, message: &Value) -> Result<(), String> {
        self.send("POST", path, &message.to_string())?;
        let head = self.wire.head()?;
        self.wire.body(&head)?;
        expect(&json!(head.status), &json!(202), message)
    }

    fn ask(&mut self, path: &str, method: &str, params: Value) -> Result<Value, String> {
        let body = self.request(method, params);
        self.send("POST", path, &body)?;
        let (_, answer) = self.wire.response(|_| Ok(()))?;
        let id = self.next_id;
        self.next_id += 1;
        expect(&answer["id"], &json!(id), &answer)?;
        Ok(answer)
    }
}
