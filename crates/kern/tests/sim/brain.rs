//! What does a simulated client want, and is what it hears meant for it?
//!
//! One brain for both eras; transports (`ask_lines`, `ask_http`) carry its messages. It learns names
//! from lists, asks at random, answers what it is asked, and books everything in the ledger.
//! Payloads are unique, so an answer or a notification of somebody else is recognised.

use std::collections::{BTreeMap, BTreeSet};

use kern_reactor::driver::sim::{Context, Rng};
use serde_json::{Value, json};

use crate::backend::UNABLE;
use crate::ledger::{self, Answer, Expect};
use crate::words::{self, MODERN, meta_key, notification};

/// An open request.
#[derive(Clone, Debug)]
struct Open {
    method: String,
    /// What to send again, with answers, when input is asked for.
    params: Value,
    expect: Expect,
    what: String,
    progress: Option<(Value, u64)>,
}

/// Something listed, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    server: String,
    thing: String,
}

/// A client.
#[derive(Debug)]
pub struct Brain {
    pub name: String,
    pub revision: &'static str,
    /// How many more requests it will make of its own will.
    pub budget: usize,
    /// Servers whose tools must be in a complete list.
    pub servers: BTreeSet<String>,
    ledger: ledger::Shared,
    next_id: u64,
    open: BTreeMap<String, Open>,
    listed: BTreeMap<&'static str, Vec<Listed>>,
    gathering: BTreeMap<&'static str, Vec<Listed>>,
    subscribed: BTreeSet<String>,
    ever_subscribed: BTreeSet<String>,
    ever_listened: BTreeSet<String>,
    /// Requests that stay open by their nature (`subscriptions/listen`), acknowledged or not.
    listens: BTreeMap<String, bool>,
    pub updates: usize,
}

const LISTS: [(&str, &str); 3] =
    [("tools/list", "tools"), ("resources/list", "resources"), ("prompts/list", "prompts")];

impl Brain {
    pub fn new(name: &str, revision: &'static str, budget: usize, ledger: &ledger::Shared) -> Self {
        Self {
            name: name.to_owned(),
            revision,
            budget,
            servers: BTreeSet::new(),
            ledger: ledger.clone(),
            next_id: 0,
            open: BTreeMap::new(),
            listed: BTreeMap::new(),
            gathering: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            ever_subscribed: BTreeSet::new(),
            ever_listened: BTreeSet::new(),
            listens: BTreeMap::new(),
            updates: 0,
        }
    }

    pub fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    pub fn violation(&self, text: &str) {
        self.ledger.borrow_mut().violation(format!("{}: {text}", self.name));
    }

    /// Shows what is said, where `KERN_SIM_TALK` names this client.
    fn show(&self, context: &Context<'_>, what: &str, message: &Value) {
        if std::env::var("KERN_SIM_TALK").is_ok_and(|name| name == self.name) {
            let ms = context.now().as_nanos() as f64 / 1e6;
            let text: String = message.to_string().chars().take(300).collect();
            println!("{ms:>14.6} {} {what} {text}", self.name);
        }
    }

    fn new_id(&mut self, rng: &mut Rng) -> Value {
        self.next_id += 1;
        // Ids of other clients are the same on purpose.
        if rng.below(3) == 0 { json!(format!("r{}", self.next_id)) } else { json!(self.next_id) }
    }

    /// A request, booked.
    pub fn ask(
        &mut self,
        context: &mut Context<'_>,
        method: &str,
        mut params: Value,
        expect: Expect,
    ) -> Value {
        let id = context.rng(|rng| self.new_id(rng));
        let what = match params["name"].as_str() {
            Some(name) => format!("{method} {name}"),
            None => method.to_owned(),
        };
        let mut progress = None;
        if self.is_modern() {
            params["_meta"] = json!({
                meta_key("protocolVersion"): MODERN,
                meta_key("clientInfo"): {"name": self.name, "version": "1"},
                meta_key("clientCapabilities"): {"elicitation": {"form": {}}},
            });
            if context.rng(|rng| rng.below(2)) == 0 {
                params["_meta"][meta_key("logLevel")] = json!("debug");
            }
        }
        if method == "tools/call" && context.rng(|rng| rng.below(2)) == 0 {
            // Tokens of other clients are the same on purpose.
            let token = json!(self.next_id);
            params["_meta"]["progressToken"] = token.clone();
            progress = Some((token, 0));
        }
        let message = words::request(&id, method, params.clone());
        self.show(context, "asks", &message);
        let now_ms = context.now().as_nanos() / 1_000_000;
        let key = words::id_text(&id);
        let shown = what.split(['_', '.', '/', ' ']).next_back().unwrap_or_default();
        let short = if what.starts_with("tools/call") { shown } else { method };
        self.ledger.borrow_mut().asked(&self.name, &key, short, expect.clone(), now_ms);
        self.open.insert(key, Open { method: method.to_owned(), params, expect, what, progress });
        message
    }

    /// The message that opens an old conversation.
    pub fn initialize(&mut self, context: &mut Context<'_>) -> Value {
        let able = self.revision >= "2025-06-18";
        let capabilities = if able { json!({"elicitation": {}}) } else { json!({}) };
        let params = json!({
            "protocolVersion": self.revision, "capabilities": capabilities,
            "clientInfo": {"name": self.name, "version": "1"},
        });
        self.ask(context, "initialize", params, Expect::Result)
    }

    pub fn initialized(&self) -> Value {
        notification("notifications/initialized", json!({}))
    }

    /// What to ask next: a list not seen yet, else anything. `None` when the budget is spent.
    pub fn next(&mut self, context: &mut Context<'_>) -> Option<Value> {
        self.budget = self.budget.checked_sub(1)?;
        let missing = LISTS.iter().find(|(_, member)| {
            !self.listed.contains_key(member) && !self.gathering.contains_key(member)
        });
        if let Some((method, member)) = missing {
            self.gathering.insert(member, Vec::new());
            return Some(self.ask(context, method, json!({}), Expect::Result));
        }
        let dice = context.rng(|rng| rng.below(20));
        let asked = match dice {
            0 => self.list_again(context),
            1 if !self.is_modern() => Some(self.ask(context, "ping", json!({}), Expect::Result)),
            2..=4 => self.read(context),
            5 | 6 => self.get_prompt(context),
            7 => self.subscribe(context),
            _ => self.call(context),
        };
        // Where something is not known, any request that always works will do.
        asked.or_else(|| self.list_again(context))
    }

    fn list_again(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let at = context.rng(|rng| rng.below(LISTS.len() as u64)) as usize;
        let (method, member) = LISTS[at];
        if self.gathering.contains_key(member) {
            return None;
        }
        self.gathering.insert(member, Vec::new());
        Some(self.ask(context, method, json!({}), Expect::Result))
    }

    fn pick(&self, context: &mut Context<'_>, member: &str) -> Option<Listed> {
        context.rng(|rng| rng.pick(self.listed.get(member)?).cloned())
    }

    fn payload(&self) -> String {
        format!("{}#{}", self.name, self.next_id + 1)
    }

    fn call(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let tool = self.pick(context, "tools")?;
        let payload = self.payload();
        let text = words::text_of(&tool.server, &tool.thing, &payload);
        let expect = match tool.thing.as_str() {
            "fail" => Expect::ToolError(text),
            "error" => Expect::Error(text),
            "input" if self.is_modern() => Expect::Text(format!("{text}|{payload}!")),
            // Whether a server may ask a client of another era, or of many, is the gateway's to say.
            "ask" | "input" => {
                Expect::Either(format!("{text}|{payload}!"), format!("{text}|{UNABLE}"))
            }
            "big" => Expect::Text(format!("{text}{}", "x".repeat(30 << 10))),
            _ => Expect::Text(text),
        };
        let params = json!({"name": tool.name, "arguments": {"payload": payload}});
        Some(self.ask(context, "tools/call", params, expect))
    }

    fn read(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let resource = self.pick(context, "resources")?;
        let text = words::text_of(&resource.server, "read", &resource.thing);
        let params = json!({"uri": resource.name});
        Some(self.ask(context, "resources/read", params, Expect::Text(text)))
    }

    fn get_prompt(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let prompt = self.pick(context, "prompts")?;
        let payload = self.payload();
        let text = words::text_of(&prompt.server, &prompt.thing, &payload);
        let params = json!({"name": prompt.name, "arguments": {"topic": payload}});
        Some(self.ask(context, "prompts/get", params, Expect::Text(text)))
    }

    fn subscribe(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let resource = self.pick(context, "resources")?;
        if self.is_modern() {
            if self.listens.len() >= 2 {
                return None;
            }
            self.ever_subscribed.insert(resource.name.clone());
            let filter =
                json!({"resourceSubscriptions": [resource.name], "toolsListChanged": true});
            let params = json!({"notifications": filter});
            let message = self.ask(context, "subscriptions/listen", params, Expect::Result);
            self.ever_listened.insert(words::id_text(&message["id"]));
            self.listens.insert(words::id_text(&message["id"]), false);
            return Some(message);
        }
        let params = json!({"uri": resource.name});
        if self.subscribed.remove(&resource.name) {
            return Some(self.ask(context, "resources/unsubscribe", params, Expect::Result));
        }
        self.ever_subscribed.insert(resource.name.clone());
        self.subscribed.insert(resource.name);
        Some(self.ask(context, "resources/subscribe", params, Expect::Result))
    }

    /// Withdraws one open request, if there is one that may be withdrawn: its id's text, and the
    /// notification that says so.
    pub fn cancel_one(&mut self, context: &mut Context<'_>) -> Option<(String, Value)> {
        let calls =
            |(key, open): (&String, &Open)| (open.method != "initialize").then(|| key.clone());
        let keys: Vec<String> = self.open.iter().filter_map(calls).collect();
        let key = context.rng(|rng| rng.pick(&keys).cloned())?;
        self.show(context, "withdraws", &json!(key));
        Some((key.clone(), self.withdraw(&key)))
    }

    /// Withdraws everything without a word, as a client that walks out does.
    pub fn walk_out(&mut self) {
        let keys: Vec<String> = self.open.keys().cloned().collect();
        for key in keys {
            self.withdraw(&key);
        }
        self.subscribed.clear();
    }

    pub fn withdraw(&mut self, key: &str) -> Value {
        self.forget(key);
        self.ledger.borrow_mut().cancelled(&self.name, key);
        let id: Value = serde_json::from_str(key).expect("an id's text");
        notification(
            "notifications/cancelled",
            json!({"requestId": id, "reason": "changed my mind"}),
        )
    }

    /// Withdraws what would stay open for ever.
    pub fn stop_listening(&mut self) -> Vec<(String, Value)> {
        let keys: Vec<String> = self.listens.keys().cloned().collect();
        keys.into_iter().map(|key| (key.clone(), self.withdraw(&key))).collect()
    }

    /// Whether all that is open are streams that stay open.
    pub fn only_listens(&self) -> bool {
        self.open.keys().all(|key| self.listens.contains_key(key))
    }

    fn forget(&mut self, key: &str) -> Option<Open> {
        self.listens.remove(key);
        let open = self.open.remove(key)?;
        if let Some((_, member)) = LISTS.iter().find(|(method, _)| open.method == *method) {
            self.gathering.remove(member);
        }
        Some(open)
    }

    /// The connection under a request broke.
    pub fn lose(&mut self, key: &str) {
        if self.forget(key).is_some() {
            self.ledger.borrow_mut().lost(&self.name, key);
        }
    }

    /// The whole conversation broke.
    pub fn lose_all(&mut self) {
        let keys: Vec<String> = self.open.keys().cloned().collect();
        for key in keys {
            self.lose(&key);
        }
        self.subscribed.clear();
    }

    /// A message came. What comes back is to be sent: an answer to a question, or a request again,
    /// with the input it lacked.
    pub fn heard(&mut self, context: &mut Context<'_>, message: &Value) -> Option<Value> {
        self.show(context, "hears", message);
        let method = message.get("method").and_then(Value::as_str);
        match (method, message.get("id")) {
            (Some(method), Some(id)) => Some(self.asked(method, id, message)),
            (Some(method), None) => {
                self.notified(method, &message["params"]);
                None
            }
            (None, Some(id)) if !id.is_null() => {
                self.answered(context, &words::id_text(id), message)
            }
            _ => {
                self.violation(&format!("got {message}"));
                None
            }
        }
    }

    fn asked(&mut self, method: &str, id: &Value, message: &Value) -> Value {
        if self.is_modern() {
            self.violation(&format!(
                "got the request {method}, which the modern era does not have"
            ));
        }
        match method {
            "elicitation/create" => words::result(id, self.input(&message["params"])),
            "ping" => words::result(id, json!({})),
            _ => words::error(id, -32601, "method not found"),
        }
    }

    /// The answer to a question; only this client's own may reach it.
    fn input(&self, params: &Value) -> Value {
        let payload = params["message"].as_str().unwrap_or_default();
        self.check_own("question", payload);
        json!({"action": "accept", "content": {"answer": format!("{payload}!")}})
    }

    fn check_own(&self, what: &str, payload: &str) {
        if payload.split('#').next() != Some(&self.name) {
            self.violation(&format!("a {what} about {payload:?} is not for it"));
        }
    }

    fn notified(&mut self, method: &str, params: &Value) {
        match method {
            "notifications/progress" => self.progressed(params),
            "notifications/message" => {
                self.check_own("log", params["data"]["payload"].as_str().unwrap_or_default());
            }
            "notifications/resources/updated" => self.updated(params),
            "notifications/subscriptions/acknowledged" => {
                let id = words::id_text(&params["_meta"][meta_key("subscriptionId")]);
                match self.listens.get_mut(&id) {
                    Some(acknowledged) if !*acknowledged => *acknowledged = true,
                    Some(_) => self.violation(&format!("{id} is acknowledged twice")),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn updated(&mut self, params: &Value) {
        let uri = params["uri"].as_str().unwrap_or_default();
        self.updates += 1;
        // Whether it still wants it may have crossed the update; that it once did is certain.
        if !self.ever_subscribed.contains(uri) {
            self.violation(&format!("an update of {uri}, which it never asked for"));
        }
        let id = words::id_text(&params["_meta"][meta_key("subscriptionId")]);
        if self.is_modern() && !self.ever_listened.contains(&id) {
            self.violation(&format!("an update of {uri} on {id}, which is no listen of its own"));
        }
    }

    fn progressed(&mut self, params: &Value) {
        let token = &params["progressToken"];
        let step = params["progress"].as_u64().unwrap_or(0);
        let wanted = self
            .open
            .values_mut()
            .find_map(|open| open.progress.as_mut().filter(|(known, _)| known == token));
        match wanted {
            Some((_, last)) if step > *last => *last = step,
            Some((_, last)) => {
                let text = format!("progress of {token} goes from {last} to {step}");
                self.violation(&text);
            }
            // The request may have been withdrawn; a token never used is somebody else's.
            None if token.as_u64().is_some_and(|token| token <= self.next_id) => {}
            None => self.violation(&format!("progress for {token}, which it never used")),
        }
    }

    fn answered(&mut self, context: &mut Context<'_>, key: &str, message: &Value) -> Option<Value> {
        self.listens.remove(key);
        let open = self.open.remove(key);
        let result = &message["result"];
        if let Some(open) = &open
            && result["resultType"] == "input_required"
        {
            let open = open.clone();
            return Some(self.retry(context, key, open, result));
        }
        if self.is_modern() && message.get("result").is_some() && result["resultType"] != "complete"
        {
            self.violation(&format!("the result for {key} is of type {}", result["resultType"]));
        }
        let answer = match message.get("error") {
            Some(error) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(Answer { text: text_in(result), is_error: result["isError"] == true }),
        };
        self.ledger.borrow_mut().answered(&self.name, key, answer);
        let open = open?;
        let read = &result["contents"][0]["uri"];
        if open.method == "resources/read" && !read.is_null() && *read != open.params["uri"] {
            self.violation(&format!("read {}, got the contents of {read}", open.params["uri"]));
        }
        self.gather(context, &open, result)
    }

    /// Asks again with the input; the first request counts as answered.
    fn retry(&mut self, context: &mut Context<'_>, key: &str, open: Open, result: &Value) -> Value {
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.cancelled(&self.name, key);
            ledger.answered(&self.name, key, Err("input required".into()));
        }
        if !self.is_modern() || !open.what.contains("input") {
            self.violation(&format!("{} wants input: {result}", open.what));
        }
        let mut params = open.params;
        let mut responses = json!({});
        for (name, request) in result["inputRequests"].as_object().into_iter().flatten() {
            responses[name] = self.input(&request["params"]);
        }
        params["inputResponses"] = responses;
        if let Some(state) = result.get("requestState") {
            params["requestState"] = state.clone();
        }
        self.ask(context, &open.method, params, open.expect)
    }

    /// Collects the pages of a list; asks for the next.
    fn gather(&mut self, context: &mut Context<'_>, open: &Open, result: &Value) -> Option<Value> {
        let (method, member) = *LISTS.iter().find(|(method, _)| *method == open.method)?;
        let Some(items) = result[member].as_array() else {
            self.gathering.remove(member);
            return None;
        };
        let gathered = self.gathering.remove(member).unwrap_or_default();
        let mut all = if open.params.get("cursor").is_some() { gathered } else { Vec::new() };
        for item in items {
            let name = item[if member == "resources" { "uri" } else { "name" }].as_str()?;
            let Some((server, thing)) = origin_of(item) else { continue };
            all.push(Listed { name: name.to_owned(), server, thing });
        }
        if let Some(cursor) = result.get("nextCursor") {
            self.gathering.insert(member, all);
            return Some(self.ask(context, method, json!({"cursor": cursor}), Expect::Result));
        }
        self.check_complete(member, &all);
        self.listed.insert(member, all);
        None
    }

    fn check_complete(&self, member: &str, all: &[Listed]) {
        let names: BTreeSet<_> = all.iter().map(|listed| &listed.name).collect();
        if names.len() != all.len() {
            self.violation(&format!("the list of {member} has a name twice"));
        }
        let strict = self.ledger.borrow().strict;
        for server in self.servers.iter().filter(|_| strict) {
            if !all.iter().any(|listed| listed.server == *server) {
                self.violation(&format!("the list of {member} has nothing of {server}"));
            }
        }
    }
}

fn origin_of(item: &Value) -> Option<(String, String)> {
    words::origin(item["description"].as_str()?)
}

/// The text a result holds, wherever its kind of result has it.
fn text_in(result: &Value) -> String {
    let places = [
        &result["content"][0]["text"],
        &result["contents"][0]["text"],
        &result["messages"][0]["content"]["text"],
    ];
    places.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}
