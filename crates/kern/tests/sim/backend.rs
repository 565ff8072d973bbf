//! What does a simulated MCP server know and do, whatever carries its messages?
//!
//! One brain for both eras; transports (`serve_lines`, `serve_http`) hand it messages and send what
//! comes out. It also polices its client, the gateway: whatever a conforming client must not do is a
//! violation in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use kern_reactor::driver::sim::Context;
use serde_json::{Value, json};

use crate::ledger;
use crate::words::{self, MODERN, meta_key, notification};

mod calls;

use calls::Running;
pub use calls::{REFUSED, UNABLE, UNANSWERED};

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
    /// Ids of requests that were answered.
    answered: Vec<Value>,
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
    /// It answers twice, under ids that nobody waits for, and after it was told not to.
    pub careless: bool,
    /// It dies in a call now and then.
    pub mortal: bool,
    /// It is about to die.
    pub dying: bool,
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
            careless: false,
            mortal: false,
            dying: false,
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

    /// A client of the old era that only lost its connection withdrew nothing.
    fn check_withdrawal(&self, place: Place, id: &str) {
        let mut its = self.running.values().filter(|it| it.place == place);
        let Some(running) = its.find(|it| words::id_text(&it.id) == *id) else { return };
        let books = self.ledger.borrow();
        if books.strict && books.left_running.contains(&running.payload) {
            let payload = running.payload.clone();
            drop(books);
            self.police(&format!("{payload} is withdrawn, whose client only went away"));
        }
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
                self.notified(context, place, method, message);
                Vec::new()
            }
            (_, Some(id)) => self.request(context, place, method, id, message),
        }
    }

    fn notified(&mut self, context: &mut Context<'_>, place: Place, method: &str, message: &Value) {
        match method {
            "notifications/initialized" => {
                self.conversations.entry(place).or_default().initialized = true;
            }
            "notifications/cancelled" => {
                let id = words::id_text(&message["params"]["requestId"]);
                self.check_withdrawal(place, &id);
                // "The response may arrive after": some work on and answer all the same.
                if !self.careless || context.rng(|rng| rng.below(2)) == 0 {
                    self.withdrawn(place, &id);
                } else {
                    *self.ledger.borrow_mut().saw.entry("answers too late").or_default() += 1;
                }
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
