//! Lists, and the requests that wait for servers that are still starting.
//!
//! Invariant: a request waits at most [`PATIENCE`] for servers' first start; then it is answered
//! with what there is, and `list_changed` tells of the rest.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use kern_mcp::{Method, json, scan, tasks};
use kern_route::{ListKind, Lists, Page, PageLimits, View};
use kern_terms::{Era, Instant, Key, Revision};

use super::place::Place;
use super::queued::{NO_ROOM, Weight};
use super::timers::Timer;
use super::words::{Health, ReplyTo, STILL_STARTING, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{self, Fault, Inbound};
use kern_mcp::errors::Cause;

/// Longest wait of a request for servers that start.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that may wait on one core.
const PATIENT_MAX: usize = 10_000;

/// Lists of one server that are looked at for being the same as others.
const VARIANTS_MAX: usize = 16;

/// What sessions with servers of their own see. Most of them see the same, and then they share it:
/// a session that is idle costs little.
#[derive(Debug, Default)]
pub(super) struct Views {
    of: HashMap<Key, Arc<View>>,
    shared: Vec<(Option<Arc<str>>, Weak<View>)>,
    lists: HashMap<UpstreamId, Vec<Weak<Lists>>>,
}

impl Views {
    pub(super) fn get(&self, session: &Key) -> Option<&Arc<View>> {
        self.of.get(session)
    }

    pub(super) fn remove(&mut self, session: &Key) {
        self.of.remove(session);
    }

    /// How many sessions have one.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// The catalog changed, or what is configured.
    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.shared.clear();
    }
}

/// A request that waits for servers.
#[derive(Debug)]
pub(super) struct Patient {
    pub(super) reply: ReplyTo,
    /// The client's JSON-RPC id, raw.
    pub(super) id: Box<[u8]>,
    endpoint: Option<Arc<str>>,
    pub(super) message: Vec<u8>,
    revision: Revision,
    pub(super) session: Option<Key>,
    until: Instant,
    /// Its bytes are counted as long as it is here.
    _weight: Weight,
}

impl Core {
    pub(crate) fn list(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let kind = match inbound.envelope.method {
            Method::ToolsList => ListKind::Tools,
            Method::PromptsList => ListKind::Prompts,
            Method::ResourcesList => ListKind::Resources,
            _ => ListKind::Templates,
        };
        let (view, whole) = self.view_of(io, inbound);
        if !whole && self.be_patient(io, inbound) {
            return;
        }
        let Some(view) = view else {
            let why = self.why_down(inbound.endpoint.as_deref().unwrap_or_default());
            return self.refuse(io, inbound, Cause::Internal, &why);
        };
        let cursor = match inbound.envelope.cursor.map(|span| span.of(inbound.message)) {
            None | Some(b"null") => None,
            Some(raw) => match kern_mcp::json::text(raw) {
                Some(cursor) => Some(cursor),
                None => {
                    let why = "params.cursor must be a string";
                    return self.refuse(io, inbound, Cause::InvalidParams, why);
                }
            },
        };
        let Ok(page) = view.page(kind, cursor.as_deref(), PageLimits::default()) else {
            let why = "params.cursor was not given by this list: start again without one";
            return self.refuse(io, inbound, Cause::InvalidParams, why);
        };
        let mut result = format!("{{\"{}\":", kind.member()).into_bytes();
        match kind == ListKind::Tools && inbound.revision == Revision::V2025_11_25 {
            true => write_tools_with_tasks(&view, &page, &mut result),
            false => page.write_array(inbound.revision.era(), &mut result),
        }
        if let Some(next) = &page.next {
            result.extend_from_slice(format!(",\"nextCursor\":\"{next}\"").as_bytes());
        }
        if inbound.revision.era() == Era::Modern {
            let hint = view.hint(kind);
            let scope = if hint.private { "private" } else { "public" };
            let ttl_ms = hint.ttl_ms.unwrap_or(0);
            let members = format!(",\"ttlMs\":{ttl_ms},\"cacheScope\":\"{scope}\"");
            result.extend_from_slice(members.as_bytes());
        }
        result.push(b'}');
        self.reply(io, inbound, &result);
    }

    /// What a client sees, and whether that is all: `false` while servers are still starting.
    pub(super) fn view_for(
        &mut self,
        io: &mut Io,
        session: Option<Key>,
        endpoint: Option<&Arc<str>>,
    ) -> (Option<Arc<View>>, bool) {
        let shared = match endpoint {
            None => Some(Arc::clone(self.catalog.all())),
            Some(name) => self.catalog.one(name).map(Arc::clone),
        };
        let starting = match endpoint {
            None => !self.settled,
            Some(name) => self.is_starting(name),
        };
        let Some(session) = session else { return (shared, !starting) };
        if let Some(view) = self.views.get(&session) {
            return (Some(Arc::clone(view)), true);
        }
        let mut own = false;
        let mut whole = !starting;
        let mut lists = Vec::new();
        let ids: Vec<_> = self.setup.upstreams.keys().copied().collect();
        for id in ids {
            let spec = Arc::clone(&self.setup.upstreams[&id]);
            if endpoint.is_some_and(|name| *name != spec.name) {
                continue;
            }
            let shared = self.catalog.one(&spec.name).and_then(|view| view.upstreams().next());
            let shared = shared.map(Arc::clone);
            match self.place(io, Some(session), id) {
                Place::Private(key) => {
                    own = true;
                    match self.hosted.get(key) {
                        Some(hosted) if hosted.lists.is_some() => {
                            lists.extend(hosted.lists.clone())
                        }
                        Some(hosted) if hosted.is_failing() || hosted.known => {}
                        // Until it has its own, what the shared one offers is more than nothing.
                        _ => {
                            whole = false;
                            lists.extend(shared);
                        }
                    }
                }
                Place::Unknown => {
                    whole = false;
                    lists.extend(shared);
                }
                _ => lists.extend(shared),
            }
        }
        if !own {
            return (shared, whole);
        }
        if endpoint.is_some() && lists.len() != 1 {
            return (None, whole);
        }
        let view = self.view_among(endpoint, shared, &lists);
        if whole {
            self.views.of.insert(session, Arc::clone(&view));
        }
        (Some(view), whole)
    }

    /// The view of these lists: one that is there already, if any.
    fn view_among(
        &mut self,
        endpoint: Option<&Arc<str>>,
        shared: Option<Arc<View>>,
        lists: &[Arc<Lists>],
    ) -> Arc<View> {
        let of_these =
            |view: &Arc<View>| view.upstreams().map(Arc::as_ptr).eq(lists.iter().map(Arc::as_ptr));
        if let Some(view) = shared.filter(of_these) {
            return view;
        }
        self.views.shared.retain(|(_, view)| view.strong_count() > 0);
        let here = self.views.shared.iter().filter(|(at, _)| at.as_ref() == endpoint);
        if let Some(view) = here.filter_map(|(_, view)| view.upgrade()).find(of_these) {
            return view;
        }
        let view = Arc::new(match (endpoint, lists) {
            (Some(_), [one]) => View::single(one),
            (_, lists) => self.merged_view(lists),
        });
        if self.views.shared.len() < VARIANTS_MAX {
            self.views.shared.push((endpoint.cloned(), Arc::downgrade(&view)));
        }
        view
    }

    /// The lists of a client's own server: those of another one that offers the same, if any.
    pub(super) fn lists_among(&mut self, id: UpstreamId, lists: Lists) -> Arc<Lists> {
        let shared = self.catalog.one(&lists.upstream).and_then(|view| view.upstreams().next());
        if let Some(same) = shared.filter(|known| known.is_like(&lists)) {
            return Arc::clone(same);
        }
        let known = self.views.lists.entry(id).or_default();
        known.retain(|one| one.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|known| known.is_like(&lists));
        same.unwrap_or_else(|| {
            let lists = Arc::new(lists);
            if known.len() < VARIANTS_MAX {
                known.push(Arc::downgrade(&lists));
            }
            lists
        })
    }

    /// Whether the upstream is on its first start, or so freshly up that no catalog shows it yet.
    pub(super) fn is_starting(&self, name: &str) -> bool {
        self.upstreams.values().filter(|upstream| *upstream.spec.name == *name).any(|upstream| {
            match upstream.health {
                Health::Starting => true,
                Health::Up(_) => self.catalog.one(name).is_none(),
                Health::Down(_) => false,
            }
        })
    }

    /// Why an endpoint serves nothing.
    pub(super) fn why_down(&self, name: &str) -> String {
        let mut known = self.upstreams.values();
        if let Some(upstream) = known.find(|upstream| *upstream.spec.name == *name) {
            return match &upstream.health {
                Health::Down(why) => format!("upstream {name:?} is down: {why}"),
                Health::Starting => format!("upstream {name:?} is {STILL_STARTING}"),
                Health::Up(_) => format!("upstream {name:?} has just started: try again"),
            };
        }
        format!("there is no upstream {name:?}")
    }

    /// The request with `id` of the client of `inbound` that waits for servers. Without a session
    /// a client is its connection.
    pub(super) fn patient_of(&self, inbound: &Inbound<'_>, id: &[u8]) -> Option<usize> {
        let place = |reply: ReplyTo| (reply.core, reply.edge);
        self.patient.iter().position(|patient| {
            let same = patient.session.is_some() || place(patient.reply) == place(inbound.reply);
            patient.session == inbound.session && same && *patient.id == *id
        })
    }

    /// Keeps a request for later; `false` once it has waited long enough.
    pub(super) fn be_patient(&mut self, io: &mut Io, inbound: &Inbound<'_>) -> bool {
        let known =
            self.patient.iter().rev().find(|patient| {
                patient.reply == inbound.reply && patient.message == inbound.message
            });
        let until = known.map_or(self.now + PATIENCE, |patient| patient.until);
        if until <= self.now || self.patient.len() >= PATIENT_MAX || self.draining {
            return false;
        }
        if known.is_none() {
            let Some(weight) = self.room_to_wait(inbound.message.len()) else { return false };
            self.patient.push(Patient {
                reply: inbound.reply,
                id: inbound.id().into(),
                endpoint: inbound.endpoint.clone(),
                message: inbound.message.to_vec(),
                revision: inbound.revision,
                session: inbound.session,
                until,
                _weight: weight,
            });
            io.timer(PATIENCE, Timer::Lists.token());
        }
        self.kept_waiting = Some(inbound.reply);
        true
    }

    pub(crate) fn wait_for_servers(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        if !self.be_patient(io, inbound) {
            let why = match self.room_to_wait(inbound.message.len()) {
                Some(_) => format!("the servers are {STILL_STARTING}"),
                None => NO_ROOM.to_owned(),
            };
            let fault = Fault::new(Cause::Internal, why);
            self.refuse_with(io, inbound, fault);
        }
    }

    /// Something changed: requests that waited try again. Those that still must wait stay, with
    /// the patience they had. With `overdue`, only those whose patience is over try.
    pub(super) fn serve_patient(&mut self, io: &mut Io, overdue: bool) {
        let now = self.now;
        let tries = |patient: &mut Patient| !overdue || patient.until <= now;
        let waiting: Vec<_> = self.patient.extract_if(.., tries).collect();
        for patient in waiting {
            let Ok(envelope) = scan(&patient.message, &self.scan_limits) else {
                let why = "the limits of the configuration changed meanwhile";
                let era = patient.revision.era();
                self.refuse_id(io, patient.reply, &patient.id, era, why);
                continue;
            };
            let message = patient.message.clone();
            let inbound = Inbound {
                reply: patient.reply,
                endpoint: patient.endpoint.clone(),
                message: &message,
                envelope,
                revision: patient.revision,
                session: patient.session,
            };
            let (reply, before) = (patient.reply, self.patient.len());
            self.patient.push(patient);
            // What was asked when the request first came says nothing about this time.
            self.kept_waiting = None;
            pipeline::request(self, io, &inbound);
            // It was kept if it asked to be; the entry is dropped if it was answered.
            let answered = !self.still_waits(reply);
            if answered && self.patient.len() > before {
                self.patient.remove(before);
            }
        }
    }

    fn still_waits(&mut self, reply: ReplyTo) -> bool {
        std::mem::take(&mut self.kept_waiting).is_some_and(|kept| kept == reply)
    }
}

/// Tools as a client of 2025-11-25 sees them: of a modern server with the tasks extension any may
/// become a task, which the client must be told to ask for one.
fn write_tools_with_tasks(view: &View, page: &Page<'_>, out: &mut Vec<u8>) {
    let may = |lists: &Lists| {
        lists.revision.era() == Era::Modern && tasks::is_declared(&lists.capabilities)
    };
    if !view.upstreams().any(|lists| may(lists)) {
        return page.write_array(Era::Legacy, out);
    }
    out.push(b'[');
    for (at, (lists, tool)) in view.page_items(page, Era::Legacy).enumerate() {
        out.extend_from_slice(if at > 0 { b"," } else { b"" });
        if may(lists) && json::field(tool, "execution").is_none() {
            out.extend_from_slice(b"{\"execution\":{\"taskSupport\":\"optional\"},");
            out.extend_from_slice(&tool[1..]);
        } else {
            out.extend_from_slice(tool);
        }
    }
    out.push(b']');
}
