//! What a client makes of what it hears: answers, questions, notifications, pages of lists.

use std::collections::BTreeSet;

use kern_reactor::driver::sim::Context;
use serde_json::{Value, json};

use super::{Brain, LISTS, Listed, Open};
use crate::ledger::{Answer, Expect};
use crate::words::{self, meta_key};

impl Brain {
    /// A message came. What comes back is to be sent: an answer to a question, or a request again,
    /// with the input it lacked.
    pub fn heard(&mut self, context: &mut Context<'_>, message: &Value) -> Vec<Value> {
        self.show(context, "hears", message);
        let method = message.get("method").and_then(Value::as_str);
        match (method, message.get("id")) {
            (Some(method), Some(id)) => vec![self.asked(method, id, message)],
            (Some(method), None) => {
                self.notified(method, &message["params"]);
                Vec::new()
            }
            (None, Some(id)) if !id.is_null() => {
                self.answered(context, &words::id_text(id), message)
            }
            _ => {
                self.violation(&format!("got {message}"));
                Vec::new()
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

    fn answered(&mut self, context: &mut Context<'_>, key: &str, message: &Value) -> Vec<Value> {
        self.listens.remove(key);
        let open = self.open.remove(key);
        let result = &message["result"];
        if let Some(open) = &open
            && result["resultType"] == "input_required"
        {
            let open = open.clone();
            return self.retry(context, key, open, result);
        }
        let typed = message.get("result").is_none() || result["resultType"] == "complete";
        if self.is_modern() && !typed && open.is_some() {
            self.violation(&format!("the result for {key} is of type {}", result["resultType"]));
        }
        let answer = match message.get("error") {
            Some(error) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(Answer { text: text_in(result), is_error: result["isError"] == true }),
        };
        self.ledger.borrow_mut().answered(&self.name, key, answer);
        let Some(open) = open else { return Vec::new() };
        let read = &result["contents"][0]["uri"];
        if open.method == "resources/read" && !read.is_null() && *read != open.params["uri"] {
            self.violation(&format!("read {}, got the contents of {read}", open.params["uri"]));
        }
        self.gather(context, &open, result).into_iter().collect()
    }

    /// Asks again with the input; the first request counts as answered.
    fn retry(
        &mut self,
        context: &mut Context<'_>,
        key: &str,
        open: Open,
        result: &Value,
    ) -> Vec<Value> {
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.served(&self.name, key);
            ledger.cancelled(&self.name, key);
            ledger.answered(&self.name, key, Err("input required".into()));
        }
        // A server of the new era wants input, one of the old era asks.
        let may = ["input", "ask"].iter().any(|tool| open.what.contains(tool));
        if !self.is_modern() || !may {
            self.violation(&format!("{} wants input: {result}", open.what));
        }
        let mut params = open.params.clone();
        let mut responses = json!({});
        for (name, request) in result["inputRequests"].as_object().into_iter().flatten() {
            responses[name] = self.input(&request["params"]);
        }
        params["inputResponses"] = responses;
        if let Some(state) = result.get("requestState") {
            params["requestState"] = state.clone();
        }
        if open.what.contains("ask") {
            return self.come_back(context, open, params);
        }
        vec![self.ask(context, &open.method, params, open.expect)]
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
