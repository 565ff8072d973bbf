//! Staying informed: subscriptions with the server on behalf of all its clients.
//!
//! Old era: `resources/subscribe` a resource. Modern era: one `subscriptions/listen` that names
//! everything, replaced when the set changes (2026-07-28 server/subscriptions).
//!
//! Invariants: a resource is subscribed while at least one client wants it; a new listen is sent
//! before the old one is abandoned, so no change falls between.

use std::collections::BTreeMap;
use std::time::Duration;

use kern_mcp::{Method, json};
use kern_terms::{Era, Instant};

use super::{Effect, Instance, Own, OwnId, Phase, Transport};
use crate::limits;

/// Wait before a listen stream that ended is opened again, doubled up to the second.
const AGAIN_LEAST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);
/// Wait between a changed set and the new listen, so that a burst costs one.
const SETTLE: Duration = Duration::from_millis(20);

/// What is subscribed and which listen is out.
#[derive(Debug, Default)]
pub(super) struct Listen {
    wanted: BTreeMap<String, u32>,
    /// Tasks to hear of, and how many clients want to.
    tasks: BTreeMap<String, u32>,
    current: Option<OwnId>,
    due: Option<Instant>,
    again: Option<Duration>,
    /// Nobody listened when the lists were fetched.
    fresh: bool,
}

impl Listen {
    pub(super) fn closed(&mut self) {
        self.current = None;
        self.due = None;
        self.again = None;
    }
}

impl Instance {
    /// One more client wants to hear of `uri`. Whether it is the first.
    pub fn subscribe(&mut self, now: Instant, uri: &str, fx: &mut Vec<Effect>) -> bool {
        if !self.listen.wanted.contains_key(uri)
            && self.listen.wanted.len() >= limits::SUBSCRIPTIONS_MAX
        {
            fx.push(Effect::Warn(format!("{} subscriptions: no more", limits::SUBSCRIPTIONS_MAX)));
            return false;
        }
        let count = self.listen.wanted.entry(uri.to_owned()).or_insert(0);
        *count += 1;
        let first = *count == 1;
        if first && self.phase == Phase::Ready {
            match self.revision.era() {
                Era::Legacy => self.subscribe_one(Method::ResourcesSubscribe, uri, fx),
                Era::Modern => self.listen_soon(now, SETTLE, fx),
            }
        }
        first
    }

    /// One client less wants to hear of `uri`.
    pub fn unsubscribe(&mut self, now: Instant, uri: &str, fx: &mut Vec<Effect>) {
        let Some(count) = self.listen.wanted.get_mut(uri) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.listen.wanted.remove(uri);
        if self.phase == Phase::Ready {
            match self.revision.era() {
                Era::Legacy => self.subscribe_one(Method::ResourcesUnsubscribe, uri, fx),
                Era::Modern => self.listen_soon(now, SETTLE, fx),
            }
        }
    }

    /// One more client wants to hear of a task, or (`on` false) one less.
    pub fn watch_task(&mut self, now: Instant, task: &str, on: bool, fx: &mut Vec<Effect>) {
        let tasks = &mut self.listen.tasks;
        let changed = match (tasks.get_mut(task), on) {
            (Some(count), true) => {
                *count += 1;
                false
            }
            (Some(count), false) => {
                *count -= 1;
                *count == 0 && tasks.remove(task).is_some()
            }
            (None, true) => {
                tasks.len() < limits::SUBSCRIPTIONS_MAX
                    && tasks.insert(task.to_owned(), 1).is_none()
            }
            (None, false) => false,
        };
        if changed && self.phase == Phase::Ready && self.revision.era() == Era::Modern {
            self.listen_soon(now, SETTLE, fx);
        }
    }

    /// Notes a subscription that the client itself made, so that it is made again after a restart.
    pub fn keep_subscribed(&mut self, uri: &str) {
        if self.listen.wanted.len() < limits::SUBSCRIPTIONS_MAX {
            self.listen.wanted.insert(uri.to_owned(), 1);
        }
    }

    /// Forgets a subscription that the client itself ended.
    pub fn forget_subscribed(&mut self, uri: &str) {
        self.listen.wanted.remove(uri);
    }

    /// Whether some client wants to hear of `uri`.
    pub fn is_subscribed(&self, uri: &str) -> bool {
        self.listen.wanted.contains_key(uri)
    }

    fn subscribe_one(&mut self, method: Method, uri: &str, fx: &mut Vec<Effect>) {
        let mut params = Vec::from(&b"{\"uri\":"[..]);
        json::quote_into(&mut params, uri);
        params.push(b'}');
        self.ask(Own::Subscribe, method, &String::from_utf8_lossy(&params), fx);
    }

    pub(super) fn listen_start(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        match self.revision.era() {
            Era::Legacy => {
                let uris: Vec<String> = self.listen.wanted.keys().cloned().collect();
                for uri in uris {
                    self.subscribe_one(Method::ResourcesSubscribe, &uri, fx);
                }
            }
            Era::Modern => {
                self.listen.fresh = true;
                self.listen_now(now, fx);
            }
        }
    }

    fn listen_soon(&mut self, now: Instant, wait: Duration, fx: &mut Vec<Effect>) {
        if self.listen.due.is_none_or(|due| due > now + wait) {
            self.listen.due = Some(now + wait);
            fx.push(Effect::Wake(wait));
        }
    }

    pub(super) fn listen_due(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if self.listen.due.is_some_and(|due| due <= now) {
            self.listen.due = None;
            self.listen_now(now, fx);
        }
    }

    /// Sends the listen that asks for everything wanted now, then abandons the previous one.
    fn listen_now(&mut self, _now: Instant, fx: &mut Vec<Effect>) {
        if self.phase != Phase::Ready || self.revision.era() != Era::Modern {
            return;
        }
        let changes = |name: &str| {
            json::field(&self.identity.capabilities, name)
                .and_then(|capability| json::field(capability, "listChanged"))
                == Some(b"true")
        };
        let (tools, prompts, resources) =
            (changes("tools"), changes("prompts"), changes("resources"));
        let previous = self.listen.current.take();
        let tasks = !self.listen.tasks.is_empty();
        if tools || prompts || resources || tasks || !self.listen.wanted.is_empty() {
            let mut filter = Vec::new();
            filter.extend_from_slice(
                format!(
                    "{{\"toolsListChanged\":{tools},\"promptsListChanged\":{prompts},\
                     \"resourcesListChanged\":{resources},\"resourceSubscriptions\":["
                )
                .as_bytes(),
            );
            for (index, uri) in self.listen.wanted.keys().enumerate() {
                if index > 0 {
                    filter.push(b',');
                }
                json::quote_into(&mut filter, uri);
            }
            if tasks {
                filter.extend_from_slice(b"],\"taskIds\":[");
                for (index, task) in self.listen.tasks.keys().enumerate() {
                    filter.extend_from_slice(if index > 0 { b"," } else { b"" });
                    json::quote_into(&mut filter, task);
                }
            }
            filter.extend_from_slice(b"]}");
            let filter = String::from_utf8_lossy(&filter);
            let meta = if tasks { self.meta_with_tasks() } else { self.modern_meta() };
            let params = format!("{{\"notifications\":{filter},{meta}}}");
            let id = self.ask(Own::Listen, Method::SubscriptionsListen, &params, fx);
            self.listen.current = Some(id);
        }
        if let Some(previous) = previous {
            self.abandon(previous, fx);
        }
    }

    fn abandon(&mut self, id: OwnId, fx: &mut Vec<Effect>) {
        if self.own.remove(&id).is_none() {
            return;
        }
        if self.transport == Transport::Pipe {
            let params = format!("{{\"requestId\":{}}}", id.json());
            self.tell(Method::Cancelled, params.as_bytes(), fx);
        }
        fx.push(Effect::Abandon(id));
    }

    /// We hear of changes from now on. After a gap, as at the start, what changed before is not
    /// known.
    pub(super) fn listen_stands(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        let again = self.listen.again.take().is_some();
        if std::mem::take(&mut self.listen.fresh) || again {
            self.refresh_each(now, fx);
        }
    }

    /// The stream ended: it is opened again after a while.
    pub(super) fn listen_ended(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        let current = self.listen.current;
        if current.is_some_and(|id| self.own.contains_key(&id)) {
            return;
        }
        self.listen.current = None;
        let wait = self.listen.again.unwrap_or(AGAIN_LEAST);
        self.listen.again = Some((wait * 2).min(AGAIN_MOST));
        self.listen_soon(now, wait, fx);
    }
}
