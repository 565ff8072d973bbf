//! Listen streams that name tasks (`notifications.taskIds` of the tasks extension).
//!
//! A server is asked by one listen stream for all clients; what it tells goes to those that named
//! the task. Invariant: what is asked of a server for a listen stream is taken back when it ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use kern_mcp::errors::Cause;
use kern_mcp::tasks::{self, TASK_ID_BYTES_MAX};
use kern_mcp::{Envelope, Splice, json, scan};
use kern_session::listen::{Effect, Event};
use kern_terms::{Era, Key};

use super::words::{Ending, Health, Post, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Fault, Inbound};

/// Tasks one listen stream may name.
const TASKS_MAX: usize = 256;

/// The tasks a listen stream hears of: as their servers know them, and as the client does.
pub(super) type Watched = BTreeMap<(UpstreamId, String), String>;

impl Core {
    /// The tasks a listen request names that can be listened to: of modern servers with the
    /// extension.
    pub(super) fn watched(&self, inbound: &Inbound<'_>, filter: &[u8]) -> Result<Watched, Fault> {
        let Some(named) = json::field(filter, "taskIds") else { return Ok(Watched::new()) };
        if !super::tasks::declares(inbound) {
            return Err(super::tasks::undeclared());
        }
        let ids: Vec<String> = json::items(named).filter_map(json::text).collect();
        if ids.len() > TASKS_MAX || !named.starts_with(b"[") {
            let why =
                format!("params.notifications.taskIds must be a list of {TASKS_MAX} ids at most");
            return Err(Fault::new(Cause::InvalidParams, why));
        }
        let mut watched = Watched::new();
        for id in ids {
            let Some((upstream, own)) = self.task_of(inbound.endpoint.as_ref(), &id) else {
                continue;
            };
            let Some(known) = self.upstreams.get(&upstream) else { continue };
            let modern =
                matches!(&known.health, Health::Up(up) if up.revision.era() == Era::Modern);
            if modern && tasks::is_declared(self.capabilities_of(&known.spec.name)) {
                watched.insert((upstream, own.to_owned()), id.clone());
            }
        }
        Ok(watched)
    }

    /// Asks the servers of some tasks to tell of them, or to stop.
    pub(super) fn watch_tasks(&mut self, io: &mut Io, key: Key, watched: &Watched, on: bool) {
        for (task, shown) in watched {
            self.wants.watch(key, task, shown, on);
            let (upstream, task) = (task.0, task.1.clone());
            let owner = self.setup.owner(upstream);
            self.post_to(io, owner, Post::Watch { upstream, task, on });
        }
    }

    pub(super) fn watch_at_host(&mut self, io: &mut Io, id: UpstreamId, task: &str, on: bool) {
        let Some(key) = self.upstreams.get(&id).and_then(|upstream| upstream.hosted) else {
            return;
        };
        let now = self.now;
        self.drive(io, key, |instance, fx| instance.watch_task(now, task, on, fx));
    }

    /// A shared modern server tells how a task fares: all cores are told.
    pub(super) fn task_changed_at_host(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        message: &[u8],
        envelope: &Envelope,
    ) {
        let id = envelope.task_id.and_then(|span| json::text(span.of(message)));
        if id.is_some_and(|id| id.len() <= TASK_ID_BYTES_MAX) {
            let message = Bytes::copy_from_slice(message);
            self.tell_all(io, || Post::TaskChanged { upstream, message: message.clone() });
        }
    }

    /// How a task fares, for the clients of this core that named it.
    pub(super) fn task_changed(&mut self, io: &mut Io, upstream: UpstreamId, message: &[u8]) {
        let Ok(envelope) = scan(message, &self.scan_limits) else { return };
        let Some(span) = envelope.task_id else { return };
        let Some(id) = json::text(span.of(message)) else { return };
        let task = (upstream, id);
        for key in self.wants.watchers(&task) {
            let Some(listen) = self.listens.get(key) else { continue };
            let Some(shown) = listen.tasks.get(&task).cloned() else { continue };
            if self.listen_step(key, Event::Changed) != Effect::Tell {
                continue;
            }
            let Some(listen) = self.listens.get(key) else { continue };
            let mut splice = Splice::new(message);
            let mut quoted = Vec::new();
            json::quote_into(&mut quoted, &shown);
            splice.replace(span, quoted);
            let (listen_id, reply) = (listen.id.to_vec(), listen.reply);
            match (envelope.subscription_id, envelope.meta, envelope.params) {
                (Some(of), _, _) => splice.replace(of, listen_id),
                (None, Some(meta), _) => splice.insert_member(meta, named(&listen_id)),
                (None, None, Some(params)) => {
                    let meta = [b"\"_meta\":{", &named(&listen_id)[..], b"}"].concat();
                    splice.insert_member(params, meta);
                }
                (None, None, None) => continue,
            }
            let mut out = Vec::with_capacity(message.len() + 64);
            splice.write_into(&mut out);
            self.deliver(io, reply, &out, Ending::More);
        }
    }
}

fn named(id: &[u8]) -> Vec<u8> {
    [b"\"io.modelcontextprotocol/subscriptionId\":", id].concat()
}
