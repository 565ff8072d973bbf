//! The catalog: kept by the first core, shown by all.
//!
//! Invariants: one catalog is being built at a time, off the core; an upstream that is down keeps
//! its place for a grace period, so a restart does not make tools flicker.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kern_control::Launch;
use kern_route::{Catalog, ListKind, Lists, View};
use kern_terms::{Era, Revision};
use kern_upstream::builtin;

use super::timers::Timer;
use super::words::{Health, Post, UpstreamId};
use super::{Core, Io};

/// What upstreams offer, on the core that keeps the catalog.
#[derive(Debug, Default)]
pub(super) struct Registry {
    offers: BTreeMap<UpstreamId, Arc<Lists>>,
    /// What those last offered that are down: names and URIs must not change while they are.
    absent: BTreeMap<UpstreamId, Arc<Lists>>,
    building: bool,
    dirty: bool,
    /// The last catalog built.
    last: Arc<Catalog>,
}

impl Core {
    /// The configuration changed: what is gone offers nothing, what is built in offers at once.
    pub(super) fn registry_setup(&mut self, io: &mut Io) {
        if !self.is_first() {
            return;
        }
        let setup = Arc::clone(&self.setup);
        self.registry.offers.retain(|id, _| setup.upstreams.contains_key(id));
        self.registry.absent.retain(|id, _| setup.upstreams.contains_key(id));
        for (id, spec) in &setup.upstreams {
            if matches!(spec.launch, Ok(Launch::Builtin(_))) {
                let lists = echo_lists(&spec.name, &spec.tools);
                self.registry.offers.entry(*id).or_insert_with(|| Arc::new(lists));
            }
            if let Err(why) = &spec.launch {
                tracing::warn!(upstream = &*spec.name, "not started: {why}");
            }
        }
        self.rebuild(io);
    }

    pub(super) fn offered(&mut self, io: &mut Io, id: UpstreamId, lists: Option<Arc<Lists>>) {
        let grace = Duration::from_millis(self.setup.plan.limits.grace_ms);
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return self.keep_early(id, Post::Offer { upstream: id, lists });
        };
        match lists {
            Some(lists) => {
                upstream.down_since = None;
                self.registry.offers.insert(id, lists);
                self.registry.absent.remove(&id);
                self.rebuild(io);
            }
            None if upstream.down_since.is_none() => {
                upstream.down_since = Some(now);
                io.timer(grace, Timer::Grace(id.0).token());
            }
            None => {}
        }
    }

    pub(super) fn grace_over(&mut self, io: &mut Io, id: UpstreamId) {
        let grace = Duration::from_millis(self.setup.plan.limits.grace_ms);
        let Some(upstream) = self.upstreams.get(&id) else { return };
        let name = Arc::clone(&upstream.spec.name);
        if upstream.down_since.is_some_and(|since| self.now.since(since) >= grace)
            && let Some(lists) = self.registry.offers.remove(&id)
        {
            self.registry.absent.insert(id, lists);
            tracing::warn!(upstream = &*name, "still down: its tools are no longer offered");
            self.rebuild(io);
        }
    }

    /// Builds the next catalog off the core.
    fn rebuild(&mut self, io: &mut Io) {
        if std::mem::replace(&mut self.registry.building, true) {
            self.registry.dirty = true;
            return;
        }
        self.registry.dirty = false;
        let lists: Vec<_> = self.registry.offers.values().map(Arc::clone).collect();
        let absent: Vec<_> = self.registry.absent.values().map(Arc::clone).collect();
        let last = Arc::clone(&self.registry.last);
        let declared = self.setup.upstreams.len();
        io.errand(move || Post::Built(Arc::new(last.next(&lists, declared, &absent))));
    }

    pub(super) fn built(&mut self, io: &mut Io, catalog: Arc<Catalog>) {
        self.registry.building = false;
        self.registry.last = Arc::clone(&catalog);
        if self.registry.dirty {
            self.rebuild(io);
        }
        self.show_catalog(io);
    }

    /// Gives every core the catalog, and says whether every upstream had its first start.
    fn show_catalog(&mut self, io: &mut Io) {
        let catalog = Arc::clone(&self.registry.last);
        let settled = self.is_settled() && !self.registry.building;
        self.tell_all(io, || Post::Catalog { catalog: Arc::clone(&catalog), settled });
    }

    fn is_settled(&self) -> bool {
        self.now >= self.settle_by
            || self.upstreams.values().all(|upstream| !matches!(upstream.health, Health::Starting))
    }

    pub(super) fn take_catalog(&mut self, io: &mut Io, catalog: Arc<Catalog>, settled: bool) {
        self.settled |= settled;
        let before = std::mem::replace(&mut self.catalog, catalog);
        if before.version() != self.catalog.version() {
            self.views.clear();
            self.able.forget_views();
            let after = Arc::clone(&self.catalog);
            self.lists_changed(io, &before, &after);
            self.review_wants(io);
        }
        self.patient_due = true;
    }

    pub(super) fn take_health(&mut self, io: &mut Io, id: UpstreamId, health: Health) {
        let Some(upstream) = self.upstreams.get_mut(&id) else {
            return self.keep_early(id, Post::Health { upstream: id, health });
        };
        let down = match &health {
            Health::Down(why) => Some(format!("upstream {:?} is down: {why}", upstream.spec.name)),
            _ => None,
        };
        let epoch = |health: &Health| match health {
            Health::Up(up) => Some(up.epoch),
            _ => None,
        };
        let lost = down.is_some() || epoch(&upstream.health) != epoch(&health);
        upstream.session_id = match &health {
            Health::Up(up) => up.session_id.as_deref().map(Rc::from),
            _ => None,
        };
        upstream.health = health;
        let waiting: Vec<_> = upstream.waiting.drain(..).collect();
        if lost {
            self.task_book.server_lost(id);
        }
        match down {
            None => self.unpark(io, waiting),
            Some(why) => {
                let lost = self.flights_of(|flight| {
                    flight.upstream == id
                        && flight.private.is_none()
                        && flight.exchange.is_none()
                        && !flight.state.is_with_client()
                });
                for flight in lost {
                    self.fail_flight(io, flight, &why);
                }
            }
        }
        self.settle(io);
        self.patient_due = true;
    }

    /// A client's own view of the endpoint of all, of these `lists`: names and URIs are those of the
    /// shared one.
    pub(super) fn merged_view(&self, lists: &[Arc<Lists>]) -> View {
        let others = self.setup.upstreams.values().map(|spec| &spec.name);
        let others = others.filter(|name| lists.iter().all(|one| one.upstream != **name));
        let absent: Vec<_> = others
            .filter_map(|name| {
                let shown = self.catalog.one(name).and_then(|view| view.upstreams().next());
                let known = self.catalog.absent().iter().find(|one| one.upstream == *name);
                shown.or(known).map(Arc::clone)
            })
            .collect();
        View::merged_among(lists, self.setup.upstreams.len(), &absent)
    }

    /// Tells all cores once no upstream is on its first start, or had time enough for it.
    pub(super) fn settle(&mut self, io: &mut Io) {
        if self.is_first() && !self.settled && self.is_settled() {
            self.show_catalog(io);
        }
    }
}

/// What `builtin = "echo"` offers.
fn echo_lists(name: &Arc<str>, filter: &kern_control::ToolFilter) -> Lists {
    let mut lists = Lists::new(Arc::clone(name), Revision::LATEST);
    lists.server_info = bytes::Bytes::from_static(builtin::INFO.as_bytes());
    lists.capabilities = bytes::Bytes::from_static(builtin::CAPABILITIES.as_bytes());
    let sieve = super::pages::Sieve { upstream: name, filter, mirrors: false };
    let page = sieve.sift(ListKind::Tools, builtin::TOOLS.as_bytes());
    let page = page.as_deref().unwrap_or(builtin::TOOLS.as_bytes());
    if let Err(error) = lists.parse_page(ListKind::Tools, page) {
        tracing::error!(%error, "the built-in tools do not parse");
    }
    debug_assert_eq!(lists.revision.era(), Era::Modern, "answered here, so of any era");
    lists
}
