//! What does a simulated MCP server know and do, whatever carries its messages?
//!
//! One brain for both eras; transports (`serve_lines`, `serve_http`) hand it messages and send what
//! comes out. It also polices its client, the gateway: whatever a conforming client must not do is a
//! violation in the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kern_reactor::driver::sim::Context;
use serde_json::{Value, json};

use crate::catalog::TOOLS;
use crate::ledger;
use crate::words::{self, MODERN, meta_key, notification, text_of};

/// A conversation: a session, or a connection that is one.
pub type Place = u64;

/// Something to send.
#[derive(Clone, Debug)]
pub struct Out {
    pub place: Place,
    /// The request (its id's JSON text) on whose stream it belongs; `None`: the conversation's own.
    pub of: Option<String>,
    /// Nothing more follows for that request.
    pub last: bool,
    pub message: Value,
}

/// A request in the works.
#[derive(Clone, Debug)]
struct Running {
    place: Place,
    id: Value,
    tool: String,
    payload: String,
    progress: Option<Value>,
    steps_left: u64,
    step: u64,
    logs: bool,
    /// The client was asked.
    asked: bool,
    /// The text of the client's answer, once it was asked and answered.
    heard: Option<String>,
}

#[derive(Debug, Default)]
pub struct Conversation {
    initialized: bool,
    /// The client said in its `initialize` that it can be asked.
    elicits: bool,
    seen: BTreeSet<String>,
    pub subscribed: BTreeSet<String>,
    /// Open `subscriptions/listen` by id, with the URIs each wants.
    listens: BTreeMap<String, (Value, BTreeSet<String>)>,
    /// Answers awaited from the client: id to the running request's token.
    asked: BTreeMap<String, u64>,
}

/// A simulated MCP server.
#[derive(Debug)]
pub struct Backend {
    pub name: String,
    /// A legacy revision, or [`MODERN`].
    pub revision: &'static str,
    /// Never says anything to a method it does not know before `initialize`, as some old servers.
    pub silent_to_probes: bool,
    /// Its sessions end when they like.
    pub forgetful: bool,
    /// Items of one page of a list.
    pub page: usize,
    pub ledger: ledger::Shared,
    pub conversations: BTreeMap<Place, Conversation>,
    running: BTreeMap<u64, Running>,
    next_token: u64,
}

impl Backend {
    pub fn new(name: &str, revision: &'static str, page: usize, ledger: &ledger::Shared) -> Self {
        Self {
            name: name.to_owned(),
            revision,
            silent_to_probes: false,
            forgetful: false,
            page,
            ledger: ledger.clone(),
            conversations: BTreeMap::new(),
            running: BTreeMap::new(),
            next_token: 0,
        }
    }

    pub fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    pub fn police(&self, text: &str) {
        self.ledger.borrow_mut().violation(format!("{}: {text}", self.name));
    }

    /// Shows what is heard, where `KERN_SIM_TALK` names this server.
    fn show(&self, context: &Context<'_>, place: Place, message: &Value) {
        if std::env::var("KERN_SIM_TALK").is_ok_and(|name| name == self.name) {
            let ms = context.now().as_nanos() as f64 / 1e6;
            let text: String = message.to_string().chars().take(300).collect();
            println!("{ms:>14.6} {} hears at {place} {text}", self.name);
        }
    }

    /// A conversation ended: whatever ran for it is withdrawn.
    pub fn left(&mut self, place: Place) {
        self.conversations.remove(&place);
        self.running.retain(|_, running| running.place != place);
    }

    /// The stream of one request ended before its answer.
    pub fn withdrawn(&mut self, place: Place, id: &str) {
        self.running
            .retain(|_, running| running.place != place || words::id_text(&running.id) != id);
        if let Some(conversation) = self.conversations.get_mut(&place) {
            conversation.listens.remove(id);
        }
    }

    pub fn message(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        message: &Value,
    ) -> Vec<Out> {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        self.show(context, place, message);
        match (method, message.get("id")) {
            ("", Some(id)) => self.client_answered(context, place, id, message),
            ("", None) => {
                self.police("a message with neither id nor method");
                Vec::new()
            }
            (_, None) => {
                self.notified(place, method, message);
                Vec::new()
            }
            (_, Some(id)) => self.request(context, place, method, id, message),
        }
    }

    fn notified(&mut self, place: Place, method: &str, message: &Value) {
        match method {
            "notifications/initialized" => {
                self.conversations.entry(place).or_default().initialized = true;
            }
            "notifications/cancelled" => {
                self.withdrawn(place, &words::id_text(&message["params"]["requestId"]));
            }
            _ => {}
        }
    }

    fn request(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        method: &str,
        id: &Value,
        message: &Value,
    ) -> Vec<Out> {
        let modern = self.is_modern();
        let conversation = self.conversations.entry(place).or_default();
        // What changes nothing may be sent again when its connection broke (RFC 9110, 9.2.2).
        let safe = method != "tools/call" && !self.ledger.borrow().strict;
        if !conversation.seen.insert(words::id_text(id)) && !safe {
            self.police(&format!("the id {id} is used again ({method})"));
        }
        let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
        if modern && let Some(fault) = self.lacks_meta(id, &params) {
            return self.reply(place, id, fault);
        }
        let before_start = !self.conversations[&place].initialized && !modern;
        let early = before_start && !matches!(method, "initialize" | "ping" | "server/discover");
        if early {
            // Many servers refuse it. Where nothing fails, it means that a request was sent before
            // `initialized` was known to have arrived.
            if self.ledger.borrow().strict {
                self.police(&format!("{method} overtook notifications/initialized"));
            }
            return self.reply(place, id, words::error(id, -32600, "not initialized"));
        }
        if method == "initialize" {
            let elicits = params["capabilities"]["elicitation"].is_object();
            self.conversations.entry(place).or_default().elicits = elicits;
        }
        match (method, modern) {
            ("tools/call", _) => self.start_call(context, place, id, &params),
            ("subscriptions/listen", true) => self.listen(place, id, &params),
            ("server/discover", false) if self.silent_to_probes => Vec::new(),
            _ => {
                let answer = self.at_once(place, method, id, &params);
                self.reply(place, id, answer)
            }
        }
    }

    /// The error for a modern request that does not carry what it must.
    fn lacks_meta(&self, id: &Value, params: &Value) -> Option<Value> {
        let meta = &params["_meta"];
        let version = meta[meta_key("protocolVersion")].as_str();
        if version == Some(MODERN) && meta[meta_key("clientCapabilities")].is_object() {
            return None;
        }
        if version.is_some_and(|version| version != MODERN) {
            let mut fault = words::error(id, -32022, "unsupported protocol version");
            fault["error"]["data"] = json!({"supported": [MODERN], "requested": version});
            return Some(fault);
        }
        Some(words::error(id, -32602, "params._meta lacks what every request carries"))
    }

    fn reply(&self, place: Place, id: &Value, message: Value) -> Vec<Out> {
        vec![Out { place, of: Some(words::id_text(id)), last: true, message }]
    }

    fn start_call(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        id: &Value,
        params: &Value,
    ) -> Vec<Out> {
        let tool = params["name"].as_str().unwrap_or_default().to_owned();
        if !TOOLS.contains(&tool.as_str()) {
            self.police(&format!("asked to call {tool:?}, which it never listed"));
            return self.reply(place, id, words::error(id, -32602, "unknown tool"));
        }
        let payload = params["arguments"]["payload"].as_str().unwrap_or_default().to_owned();
        let meta = &params["_meta"];
        let mut running = Running {
            place,
            id: id.clone(),
            tool: tool.clone(),
            payload,
            progress: meta.get("progressToken").cloned(),
            steps_left: context.rng(|rng| rng.below(4)),
            step: 0,
            logs: !self.is_modern() || meta.get(meta_key("logLevel")).is_some(),
            asked: false,
            heard: None,
        };
        let elicits = match self.is_modern() {
            true => meta[meta_key("clientCapabilities")]["elicitation"].is_object(),
            false => self.conversations[&place].elicits,
        };
        if !elicits {
            running.heard = Some(UNABLE.to_owned());
        } else if tool == "input" {
            let Some(text) = params["inputResponses"]["q"]["content"]["answer"].as_str() else {
                return self.reply(place, id, self.input_required(id, &running));
            };
            let state = format!("{}:{}", self.name, running.payload);
            if params["requestState"] != json!(state) {
                self.police(&format!("the request state came back as {}", params["requestState"]));
            }
            running.heard = Some(text.to_owned());
        }
        self.next_token += 1;
        self.running.insert(self.next_token, running);
        self.wait(context, self.next_token, &tool);
        Vec::new()
    }

    fn wait(&self, context: &mut Context<'_>, token: u64, tool: &str) {
        let most_us = if tool == "slow" { 3_000_000 } else { 20_000 };
        let delay_us = context.rng(|rng| rng.size(1, most_us));
        context.after(Duration::from_micros(delay_us), token);
    }

    fn input_required(&self, id: &Value, running: &Running) -> Value {
        let state = format!("{}:{}", self.name, running.payload);
        words::result(
            id,
            json!({
                "resultType": "input_required", "requestState": state,
                "inputRequests": {"q": {
                    "method": "elicitation/create", "params": question(&running.payload),
                }},
            }),
        )
    }

    pub fn timer(&mut self, context: &mut Context<'_>, token: u64) -> Vec<Out> {
        let Some(mut running) = self.running.remove(&token) else { return Vec::new() };
        let of = Some(words::id_text(&running.id));
        let place = running.place;
        let mut out = Vec::new();
        let mut push = |last, message| out.push(Out { place, of: of.clone(), last, message });
        if running.steps_left > 0 {
            running.steps_left -= 1;
            running.step += 1;
            if let Some(progress) = &running.progress {
                let params = json!({"progressToken": progress, "progress": running.step});
                push(false, notification("notifications/progress", params));
            }
            if running.logs {
                let params = json!({"level": "error", "data": {"payload": running.payload}});
                push(false, notification("notifications/message", params));
            }
            let tool = running.tool.clone();
            self.running.insert(token, running);
            self.wait(context, token, &tool);
            return out;
        }
        if running.tool == "ask" && running.heard.is_none() && running.asked {
            running.heard = Some(UNABLE.to_owned());
        } else if running.tool == "ask" && running.heard.is_none() {
            running.asked = true;
            context.after(ANSWER_MOST, token);
            let question_id = format!("ask-{token}");
            let request = words::request(
                &json!(question_id),
                "elicitation/create",
                question(&running.payload),
            );
            push(false, request);
            let asked = &mut self.conversations.entry(place).or_default().asked;
            asked.insert(json!(question_id).to_string(), token);
            self.running.insert(token, running);
            return out;
        }
        push(true, self.finished(&running));
        if running.tool == "touch" {
            out.extend(self.touched());
        }
        out
    }

    fn finished(&self, running: &Running) -> Value {
        let mut text = text_of(&self.name, &running.tool, &running.payload);
        match running.tool.as_str() {
            "error" => return words::error(&running.id, -32603, &text),
            "big" => text.push_str(&"x".repeat(30 << 10)),
            "ask" | "input" => {
                text.push('|');
                text.push_str(running.heard.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        let content = json!([{"type": "text", "text": text}]);
        let mut result = json!({"content": content});
        if running.tool == "fail" {
            result["isError"] = json!(true);
        }
        self.result(&running.id, result)
    }

    fn client_answered(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        id: &Value,
        message: &Value,
    ) -> Vec<Out> {
        if self.is_modern() {
            self.police("got a response, which the modern era does not have");
            return Vec::new();
        }
        let conversation = self.conversations.entry(place).or_default();
        let Some(token) = conversation.asked.remove(&id.to_string()) else {
            // The question may have come from a session that was forgotten while it travelled.
            if !self.forgetful {
                self.police(&format!("got an answer to {id}, which it never asked"));
            }
            return Vec::new();
        };
        if let Some(running) = self.running.get_mut(&token) {
            let answer = &message["result"]["content"]["answer"];
            let heard = answer.as_str().map_or_else(|| message.to_string(), str::to_owned);
            running.heard = Some(heard);
            context.after(Duration::from_micros(10), token);
        }
        Vec::new()
    }

    fn listen(&mut self, place: Place, id: &Value, params: &Value) -> Vec<Out> {
        let wanted = params["notifications"]["resourceSubscriptions"].as_array();
        let uris = wanted.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let key = words::id_text(id);
        let conversation = self.conversations.entry(place).or_default();
        conversation.listens.insert(key.clone(), (id.clone(), uris.collect()));
        let meta = json!({meta_key("subscriptionId"): id});
        let params = json!({"notifications": params["notifications"], "_meta": meta});
        let message = notification("notifications/subscriptions/acknowledged", params);
        vec![Out { place, of: Some(key), last: false, message }]
    }

    /// Resource 1 changed: tells whoever wants to know, and no one else.
    fn touched(&self) -> Vec<Out> {
        let uri = format!("sim://{}/r1", self.name);
        let mut out = Vec::new();
        for (place, conversation) in &self.conversations {
            if conversation.subscribed.contains(&uri) {
                let message = notification("notifications/resources/updated", json!({"uri": uri}));
                out.push(Out { place: *place, of: None, last: false, message });
            }
            for (key, (id, uris)) in &conversation.listens {
                if uris.contains(&uri) {
                    let meta = json!({meta_key("subscriptionId"): id});
                    let params = json!({"uri": uri, "_meta": meta});
                    let message = notification("notifications/resources/updated", params);
                    out.push(Out { place: *place, of: Some(key.clone()), last: false, message });
                }
            }
        }
        out
    }
}

/// How long a server waits for its client's answer.
const ANSWER_MOST: Duration = Duration::from_secs(30);

/// What a server says instead of asking a client that cannot be asked.
pub const UNABLE: &str = "unable";

/// What a server asks its user.
fn question(payload: &str) -> Value {
    let answer = json!({"type": "string"});
    json!({
        "message": payload,
        "requestedSchema": {"type": "object", "properties": {"answer": answer}},
    })
}
