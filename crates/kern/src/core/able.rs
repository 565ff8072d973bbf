//! What clients of the new era that can be asked see of servers of the old era.
//!
//! An old server may offer more to such clients, and it decides when it is greeted. The shared
//! instance was told that its clients can do nothing, so these clients see the lists of an instance
//! that was told what they can do ([`super::lease`]). They depend on the declared capabilities
//! alone, so one instance's lists serve all clients that declared the same.
//!
//! Invariant: what is kept here is as new as the shared instance's lists: when those change, it is
//! fetched again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use kern_control::{Instances, Launch};
use kern_route::{Lists, View};
use kern_session::Principal;
use kern_terms::{CoreId, Era, Instant};

use super::lease::Found;
use super::lists::PATIENCE;
use super::words::{Health, Post, UpstreamId};
use super::{Core, Io};
use crate::pipeline::Inbound;

/// Lists kept on a core; all are dropped when there are more.
const KEPT_MAX: usize = 256;
/// How long the shared lists serve after such an instance could not be had.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What is known of an upstream's lists for clients with certain capabilities.
#[derive(Debug)]
enum State {
    /// An instance is starting.
    Asked(Instant),
    Have(Arc<Lists>),
    Failed(Instant),
}

/// Lists and views by capabilities.
#[derive(Debug, Default)]
pub(super) struct Able {
    /// The shared lists beside which it was fetched, and what is known.
    lists: HashMap<(UpstreamId, Bytes), (Arc<Lists>, State)>,
    views: HashMap<(Option<Arc<str>>, Bytes), Arc<View>>,
}

impl Able {
    /// The catalog changed.
    pub(super) fn forget_views(&mut self) {
        self.views.clear();
    }
}

/// Whose lists of an upstream a client sees.
enum Sees {
    Shared,
    Own(Arc<Lists>),
    Later,
}

impl Core {
    /// What a client sees, and whether that is all, as [`Core::view_for`] has it.
    pub(super) fn view_of(
        &mut self,
        io: &mut Io,
        inbound: &Inbound<'_>,
    ) -> (Option<Arc<View>>, bool) {
        let endpoint = inbound.endpoint.as_ref();
        let (shared, mut whole) = self.view_for(io, inbound.session, endpoint);
        let Some(capabilities) = self.askable(inbound) else { return (shared, whole) };
        let key = (inbound.endpoint.clone(), capabilities);
        if let Some(view) = self.able.views.get(&key) {
            return (Some(Arc::clone(view)), whole);
        }
        let principal = self.principal(inbound.reply);
        let (mut own, mut lists) = (false, Vec::new());
        let ids: Vec<_> = self.setup.upstreams.keys().copied().collect();
        for id in ids {
            let name = Arc::clone(&self.setup.upstreams[&id].name);
            if endpoint.is_some_and(|endpoint| *endpoint != name) {
                continue;
            }
            let known = self.catalog.one(&name).and_then(|view| view.upstreams().next());
            let Some(known) = known.map(Arc::clone) else { continue };
            match self.sees(io, id, &key.1, principal, &known) {
                Sees::Shared => lists.push(known),
                Sees::Own(its) => {
                    own = true;
                    lists.push(its);
                }
                Sees::Later => {
                    whole = false;
                    lists.push(known);
                }
            }
        }
        if !own {
            return (shared, whole);
        }
        let view = Arc::new(match (endpoint, lists.as_slice()) {
            (Some(_), [one]) => View::single(one),
            (Some(_), _) => return (None, whole),
            (None, lists) => self.merged_view(lists),
        });
        if whole {
            if self.able.views.len() >= KEPT_MAX {
                self.able.views.clear();
            }
            self.able.views.insert(key, Arc::clone(&view));
        }
        (Some(view), whole)
    }

    fn sees(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        capabilities: &Bytes,
        principal: Principal,
        shared: &Arc<Lists>,
    ) -> Sees {
        let Some(upstream) = self.upstreams.get(&id) else { return Sees::Shared };
        let outside = matches!(upstream.spec.launch, Ok(Launch::Command(_) | Launch::Remote(_)));
        let old = matches!(&upstream.health, Health::Up(up) if up.revision.era() == Era::Legacy);
        if !outside || !old || upstream.spec.instances == Instances::Shared {
            return Sees::Shared;
        }
        let key = (id, capabilities.clone());
        let known = self.able.lists.get(&key).filter(|(beside, _)| Arc::ptr_eq(beside, shared));
        match known.map(|(_, state)| state) {
            Some(State::Have(lists)) => return Sees::Own(Arc::clone(lists)),
            Some(State::Asked(at)) if self.now.since(*at) < PATIENCE => return Sees::Later,
            Some(State::Failed(at)) if self.now.since(*at) < AGAIN_AFTER => return Sees::Shared,
            _ => {}
        }
        if self.able.lists.len() >= KEPT_MAX {
            self.able.lists.clear();
        }
        let asked = State::Asked(self.now);
        self.able.lists.insert(key.clone(), (Arc::clone(shared), asked));
        let home = self.lease_home(principal, id);
        if home == self.id {
            self.fetch_able(io, &key, principal);
        } else {
            let (upstream, capabilities, to) = (id, key.1.clone(), self.id);
            io.post(home, Post::AbleWanted { upstream, capabilities, principal, to });
        }
        // An instance may have failed while it was started.
        match self.able.lists.get(&key) {
            Some((_, State::Have(lists))) => Sees::Own(Arc::clone(lists)),
            Some((_, State::Asked(_))) => Sees::Later,
            _ => Sees::Shared,
        }
    }

    /// Gets the lists of an instance of this core, which may have to start.
    fn fetch_able(&mut self, io: &mut Io, key: &(UpstreamId, Bytes), principal: Principal) {
        match self.find_lease(io, key.0, &key.1, principal) {
            Found::New(hosted) => self.start_hosted(io, hosted),
            Found::Old(hosted) => {
                let lists = self.hosted.get(hosted).and_then(|hosted| hosted.lists.clone());
                if let Some(lists) = lists {
                    self.learn(key, State::Have(lists));
                }
            }
            Found::None { .. } => self.learn(key, State::Failed(self.now)),
        }
    }

    /// A core whose client is to see what such an instance of this core offers.
    pub(super) fn able_wanted(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        capabilities: Bytes,
        principal: Principal,
        to: CoreId,
    ) {
        let name = self.upstreams.get(&upstream).map(|it| Arc::clone(&it.spec.name));
        let view = name.as_deref().and_then(|name| self.catalog.one(name));
        let shared = view.and_then(|view| view.upstreams().next()).map(Arc::clone);
        let sees = match shared {
            Some(shared) => self.sees(io, upstream, &capabilities, principal, &shared),
            None => Sees::Shared,
        };
        let lists = match sees {
            // All cores are told when it is known.
            Sees::Later => return,
            Sees::Own(lists) => Some(lists),
            Sees::Shared => None,
        };
        io.post(to, Post::Able { upstream, capabilities, lists });
    }

    /// Another core knows what an upstream offers to clients with these capabilities.
    pub(super) fn able_told(&mut self, id: UpstreamId, able: Bytes, lists: Option<Arc<Lists>>) {
        match lists {
            Some(lists) => self.learn(&(id, able), State::Have(lists)),
            None => self.learn_failure(id, able),
        }
    }

    fn learn(&mut self, key: &(UpstreamId, Bytes), state: State) {
        if let Some((_, known)) = self.able.lists.get_mut(key) {
            *known = state;
            self.able.views.clear();
            self.patient_due = true;
        }
    }

    /// An instance for clients with these capabilities has its lists.
    pub(super) fn able_listed(
        &mut self,
        io: &mut Io,
        upstream: UpstreamId,
        capabilities: Bytes,
        lists: Arc<Lists>,
    ) {
        let lists = Some(lists);
        self.tell_all(io, || {
            let (capabilities, lists) = (capabilities.clone(), lists.clone());
            Post::Able { upstream, capabilities, lists }
        });
    }

    /// An instance for clients with these capabilities failed.
    pub(super) fn able_failed(&mut self, io: &mut Io, upstream: UpstreamId, capabilities: Bytes) {
        self.tell_all(io, || {
            let capabilities = capabilities.clone();
            Post::Able { upstream, capabilities, lists: None }
        });
    }

    fn learn_failure(&mut self, id: UpstreamId, capabilities: Bytes) {
        let key = (id, capabilities);
        if let Some((_, State::Asked(_))) = self.able.lists.get(&key) {
            self.learn(&key, State::Failed(self.now));
        }
    }
}
