//! What does a simulated client want, and is what it hears meant for it?
//!
//! One brain for both eras; transports (`ask_lines`, `ask_http`) carry its messages. It learns names
//! from lists, asks at random, answers what it is asked, and books everything in the ledger.
//! Payloads are unique, so an answer or a notification of somebody else is recognised.

mod back;
mod hears;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kern_reactor::driver::sim::{Context, Rng};
use serde_json::{Value, json};

use crate::backend::{REFUSED, UNABLE, UNANSWERED};
use crate::ledger::{self, Expect};
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
    /// Who the gateway takes it for.
    pub principal: String,
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
    /// What it will ask another time.
    later: Vec<back::Later>,
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
            principal: name.to_owned(),
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
            later: Vec::new(),
            updates: 0,
        }
    }

    pub fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    /// Whether it declares that it can be asked: a revision without the word for it can't.
    fn elicits(&self) -> bool {
        self.revision >= "2025-06-18"
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
        let capabilities = if self.elicits() { json!({"elicitation": {}}) } else { json!({}) };
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
        if let Some(message) = self.put_off_until_now(context) {
            return Some(message);
        }
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
            8 if self.is_modern() => self.steal(context).or_else(|| self.call(context)),
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
            // Only servers of the new era have it, and clients of both eras can be asked.
            "input" if self.elicits() => Expect::Text(format!("{text}|{payload}!")),
            "input" => Expect::Text(format!("{text}|{UNABLE}")),
            // Only servers of the old era have it, and their clients of both eras can be asked.
            "ask" if !self.elicits() => Expect::Text(format!("{text}|{UNABLE}")),
            "ask" if self.ledger.borrow().strict => Expect::Text(format!("{text}|{payload}!")),
            "ask" => {
                let heard = [&format!("{payload}!"), UNANSWERED, REFUSED];
                Expect::AnyOf(heard.map(|heard| format!("{text}|{heard}")).to_vec())
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
        // Every server has a resource 0 of the same URI. While one of them is down, another's may
        // have that name for itself: whose it is then, a client that listed it before cannot tell.
        let shared = resource.thing == "r0" && !self.ledger.borrow().strict;
        let expect = if shared { Expect::Result } else { Expect::Text(text) };
        Some(self.ask(context, "resources/read", params, expect))
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
        if context.rng(|rng| rng.below(3)) == 0
            && let Some(uri) = self.subscribed.pop_first()
        {
            let params = json!({"uri": uri});
            return Some(self.ask(context, "resources/unsubscribe", params, Expect::Result));
        }
        let params = json!({"uri": resource.name});
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
        self.later.clear();
    }

    /// Whether a request waits for its answer.
    pub fn is_open(&self, key: &str) -> bool {
        self.open.contains_key(key)
    }

    /// Counts what a run exercised.
    pub fn saw(&self, what: &'static str) {
        *self.ledger.borrow_mut().saw.entry(what).or_default() += 1;
    }

    pub fn is_strict(&self) -> bool {
        self.ledger.borrow().strict
    }

    /// How long it waits before it first does something. Whoever comes before the gateway listens is
    /// refused: not where every answer must be right.
    pub fn opening(&self, context: &mut Context<'_>) -> Duration {
        let least = if self.is_strict() { Duration::from_secs(1) } else { Duration::ZERO };
        least + Duration::from_micros(context.rng(|rng| rng.size(1, 50_000)))
    }

    /// Whether its server can do a call without a client to ask.
    pub fn may_leave(&self, key: &str) -> bool {
        let asks = |what: &str| what.contains("ask") || what.contains("input");
        self.open.get(key).is_some_and(|it| it.method == "tools/call" && !asks(&it.what))
    }

    /// Goes away from a call of the old era, which goes on.
    pub fn leave_running(&mut self, key: &str) {
        let Some(open) = self.forget(key) else { return };
        let mut ledger = self.ledger.borrow_mut();
        ledger.cancelled(&self.name, key);
        let payload = open.params["arguments"]["payload"].as_str().unwrap_or_default();
        ledger.left_running.insert(payload.to_owned());
    }

    /// Its session is over, and so are its calls.
    pub fn disown(&mut self) {
        let own = format!("{}#", self.name);
        self.ledger.borrow_mut().left_running.retain(|payload| !payload.starts_with(&own));
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
        self.later.is_empty() && self.open.keys().all(|key| self.listens.contains_key(key))
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
        self.later.clear();
    }
}
