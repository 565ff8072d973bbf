//! What becomes of a call at a simulated server: steps on the way, questions to its client, one
//! answer; and what careless and mortal servers make of it.

use std::collections::BTreeSet;
use std::time::Duration;

use kern_reactor::driver::sim::Context;
use kern_terms::Instant;
use serde_json::{Value, json};

use super::{Backend, Out, Place};
use crate::catalog::TOOLS;
use crate::words::{self, meta_key, notification, text_of};

/// A request in the works.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) place: Place,
    pub(super) id: Value,
    tool: String,
    pub(super) payload: String,
    progress: Option<Value>,
    steps_left: u64,
    step: u64,
    logs: bool,
    /// How often the client will still be asked.
    rounds_left: u64,
    /// Questions it has not answered, and until when they are waited for.
    open: BTreeSet<String>,
    until: Instant,
    /// What the client answered last, or why nothing.
    heard: Option<String>,
}

impl Backend {
    pub(super) fn start_call(
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
            rounds_left: context.rng(|rng| rng.within(1, 2)),
            open: BTreeSet::new(),
            until: Instant::ZERO,
            heard: None,
        };
        if self.mortal && context.rng(|rng| rng.below(60)) == 0 {
            self.dying = true;
            *self.ledger.borrow_mut().saw.entry("servers died in a call").or_default() += 1;
            return Vec::new();
        }
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
        if running.tool == "ask" && !running.open.is_empty() {
            if context.now() < running.until {
                self.running.insert(token, running);
                return out;
            }
            running.heard = Some(UNANSWERED.to_owned());
        } else if running.tool == "ask" && running.wants_more() {
            out.extend(self.ask_client(context, token, running));
            return out;
        }
        out.extend(self.finish(context, &running));
        if running.tool == "touch" {
            out.extend(self.touched());
        }
        out
    }

    /// Asks the client one or two things at once.
    fn ask_client(
        &mut self,
        context: &mut Context<'_>,
        token: u64,
        mut running: Running,
    ) -> Vec<Out> {
        running.rounds_left -= 1;
        running.until = context.now() + ANSWER_MOST;
        context.after(ANSWER_MOST, token);
        let (place, of) = (running.place, Some(words::id_text(&running.id)));
        let mut out = Vec::new();
        for number in 0..context.rng(|rng| rng.within(1, 2)) {
            let id = json!(format!("ask-{token}-{}-{number}", running.rounds_left));
            let message = words::request(&id, "elicitation/create", question(&running.payload));
            out.push(Out { place, of: of.clone(), last: false, message });
            running.open.insert(id.to_string());
            let asked = &mut self.conversations.entry(place).or_default().asked;
            asked.insert(id.to_string(), token);
        }
        self.running.insert(token, running);
        out
    }

    /// The answer, and what a careless server says besides.
    fn finish(&mut self, context: &mut Context<'_>, running: &Running) -> Vec<Out> {
        let (place, of) = (running.place, Some(words::id_text(&running.id)));
        let answer = self.finished(running);
        let dice = context.rng(|rng| rng.below(16));
        let known = &mut self.conversations.entry(place).or_default().answered;
        let early = match dice {
            _ if !self.careless => None,
            0 | 1 => Some(answer.clone()),
            2 | 3 => context.rng(|rng| rng.pick(known).cloned()).map(|old| with_id(&answer, &old)),
            4 => Some(with_id(&answer, &json!("ghost"))),
            5 => Some(with_id(&answer, &json!(-1))),
            6 => Some(with_id(&answer, &json!(9_007_199_254_740_991_u64))),
            _ => None,
        };
        known.push(running.id.clone());
        if early.is_some() {
            *self.ledger.borrow_mut().saw.entry("answers too many").or_default() += 1;
        }
        let early = early.map(|message| (false, message));
        let all = early.into_iter().chain([(true, answer)]);
        all.map(|(last, message)| Out { place, of: of.clone(), last, message }).collect()
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

    pub(super) fn client_answered(
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
            let answer = message["result"]["content"]["answer"].as_str();
            let heard = answer.unwrap_or(REFUSED).to_owned();
            if running.heard.as_deref() != Some(REFUSED) {
                running.heard = Some(heard);
            }
            running.open.remove(&id.to_string());
            if running.open.is_empty() {
                context.after(Duration::from_micros(10), token);
            }
        }
        Vec::new()
    }
}

/// How long a server waits for its client's answer.
const ANSWER_MOST: Duration = Duration::from_secs(30);

/// What a server says instead of asking a client that cannot be asked.
pub const UNABLE: &str = "unable";
/// What it says when its client did not answer.
pub const UNANSWERED: &str = "unanswered";
/// What it says when its client answered with an error.
pub const REFUSED: &str = "refused";

/// The same answer under another id.
fn with_id(answer: &Value, id: &Value) -> Value {
    let mut answer = answer.clone();
    answer["id"] = id.clone();
    answer
}

impl Running {
    /// It was not told that its client can't be asked, and has not asked often enough.
    fn wants_more(&self) -> bool {
        self.rounds_left > 0
            && self.heard.as_deref().is_none_or(|it| ![UNABLE, REFUSED].contains(&it))
    }
}

/// What a server asks its user.
fn question(payload: &str) -> Value {
    let answer = json!({"type": "string"});
    json!({
        "message": payload,
        "requestedSchema": {"type": "object", "properties": {"answer": answer}},
    })
}
