//! How a client comes back with what an old server asked it: at once, later, never, twice, to one
//! server with what is another's.
//!
//! A request state is good once, for its owner, for the request it was given for. Whatever is done
//! with it here, the ledger knows how often it may serve.

use std::time::Duration;

use kern_reactor::driver::sim::Context;
use kern_terms::Instant;
use serde_json::{Value, json};

use super::{Brain, Open};
use crate::ledger::{Expect, HandedOut};

/// A request to be made later.
#[derive(Clone, Debug)]
pub(super) struct Later {
    due: Instant,
    method: String,
    params: Value,
    expect: Expect,
}

impl Brain {
    /// A request whose answer was a state that the gateway sealed: `params` hold it, with answers.
    pub(super) fn come_back(
        &mut self,
        context: &mut Context<'_>,
        open: Open,
        params: Value,
    ) -> Vec<Value> {
        let Open { method, expect, .. } = open;
        let race = Expect::Race(expect.texts(), "requestState");
        let dice = context.rng(|rng| rng.below(16));
        let mut wrong = params.clone();
        match dice {
            0 => {
                self.saw("states abandoned");
                return Vec::new();
            }
            1 | 2 => {
                self.saw("states kept for later");
                self.put_off(context, &method, params, expect);
                return Vec::new();
            }
            3 => {
                self.saw("states raced");
                let one = self.present(context, &method, params.clone(), race.clone());
                return vec![one, self.present(context, &method, params, race)];
            }
            4 => {
                self.saw("states replayed");
                self.put_off(context, &method, params.clone(), race.clone());
                return vec![self.present(context, &method, params, race)];
            }
            // One answer is missing, or all: it will be asked for again.
            5 => {
                self.saw("answers left out");
                let answers = wrong["inputResponses"].as_object_mut().expect("an object");
                let first = answers.keys().next().cloned();
                first.and_then(|name| answers.remove(&name));
                return vec![self.present(context, &method, wrong, expect)];
            }
            6 => {
                self.saw("answers that are none");
                for answer in
                    wrong["inputResponses"].as_object_mut().expect("an object").values_mut()
                {
                    *answer = json!(7);
                }
                // Where its server gave up meanwhile, its answers don't matter.
                let refused = match self.ledger.borrow().strict {
                    true => Expect::Error("inputResponses".to_owned()),
                    false => Expect::Race(expect.texts(), "inputResponses"),
                };
                self.put_off(context, &method, params, race);
                return vec![self.present(context, &method, wrong, refused)];
            }
            7 => {
                self.saw("states forged");
                let state = params["requestState"].as_str().unwrap_or_default();
                wrong["requestState"] = json!(forged(state));
                self.put_off(context, &method, params, expect);
                let refused = Expect::Error("not valid".to_owned());
                return vec![self.ask(context, &method, wrong, refused)];
            }
            8 => {
                let (owner, method, params) =
                    (self.principal.clone(), method.clone(), params.clone());
                self.ledger.borrow_mut().handed_out.push(HandedOut { owner, method, params });
            }
            _ => {}
        }
        vec![self.present(context, &method, params, expect)]
    }

    /// Asks with a state as it was given.
    fn present(
        &mut self,
        context: &mut Context<'_>,
        method: &str,
        params: Value,
        expect: Expect,
    ) -> Value {
        let state = params["requestState"].as_str().unwrap_or_default().to_owned();
        let message = self.ask(context, method, params, expect);
        let key = crate::words::id_text(&message["id"]);
        self.ledger.borrow_mut().presents(&self.name, &key, &state);
        message
    }

    fn put_off(&mut self, context: &mut Context<'_>, method: &str, params: Value, expect: Expect) {
        // A server waits half a minute for an answer, and then does without.
        let most_ms = if self.ledger.borrow().strict { 5_000 } else { 100_000 };
        let wait = Duration::from_millis(context.rng(|rng| rng.size(1, most_ms)));
        let (due, method) = (context.now() + wait, method.to_owned());
        self.later.push(Later { due, method, params, expect });
    }

    /// What was put off and is due.
    pub(super) fn put_off_until_now(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let now = context.now();
        let at = self.later.iter().position(|later| later.due <= now)?;
        let later = self.later.swap_remove(at);
        Some(self.present(context, &later.method, later.params, later.expect))
    }

    /// Tries a state that was given to somebody else.
    pub(super) fn steal(&mut self, context: &mut Context<'_>) -> Option<Value> {
        let ledger = self.ledger.clone();
        let ledger = ledger.borrow();
        let others: Vec<_> =
            ledger.handed_out.iter().filter(|it| it.owner != self.principal).collect();
        let found = context.rng(|rng| rng.pick(&others).map(|it| (*it).clone()))?;
        drop(ledger);
        self.saw("states stolen");
        let refused = Expect::Error("not valid".to_owned());
        Some(self.ask(context, &found.method, found.params, refused))
    }
}

/// A state of which one character is another.
fn forged(state: &str) -> String {
    let mut bytes = state.as_bytes().to_vec();
    let at = bytes.len() / 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).expect("ASCII")
}
