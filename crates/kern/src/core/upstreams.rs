//! Bringing the upstreams in line with the configuration, and the instances that serve them.
//!
//! Invariant: an upstream whose settings did not change is not touched.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kern_control::Launch;
use kern_terms::{Era, Key, Revision};
use kern_upstream::{Instance, Profile, Transport};

use super::hosted::{Hosted, HttpWire, Wire};
use super::words::{Health, Spec, Up, UpstreamId};
use super::{Core, Io, local};

impl Core {
    /// Brings the upstreams in line with the configuration: those unchanged are not touched.
    pub(super) fn apply_upstreams(&mut self, io: &mut Io) {
        let gone: Vec<_> = self
            .upstreams
            .keys()
            .filter(|id| !self.setup.upstreams.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.remove_upstream(io, id);
        }
        let setup = Arc::clone(&self.setup);
        for (id, spec) in &setup.upstreams {
            if !self.upstreams.contains_key(id) {
                self.add_upstream(io, *id, spec);
            }
        }
        // Names of this core's own: counting references to shared ones would make the cores wait for
        // each other.
        let names = setup.upstreams.iter().map(|(id, spec)| (Arc::from(&*spec.name), *id));
        self.names = names.collect();
        self.newest = self.newest.max(setup.upstreams.keys().last().copied());
        self.views.clear();
        self.registry_setup(io);
    }

    fn add_upstream(&mut self, io: &mut Io, id: UpstreamId, spec: &Arc<Spec>) {
        let health = match &spec.launch {
            Ok(Launch::Builtin(_)) => Health::Up(Arc::new(Up {
                revision: Revision::LATEST,
                legacy: true,
                direct: false,
                epoch: 0,
                session_id: None,
            })),
            Ok(_) => Health::Starting,
            Err(why) => Health::Down(why.as_str().into()),
        };
        let link = match &spec.launch {
            Ok(Launch::Remote(remote)) => Some(self.new_link(remote)),
            _ => None,
        };
        self.upstreams.insert(
            id,
            super::place::Upstream {
                spec: Arc::clone(spec),
                health,
                session_id: None,
                link,
                hosted: None,
                flights: 0,
                bytes: 0,
                crowded: false,
                waiting: VecDeque::new(),
                down_since: None,
            },
        );
        if self.setup.owner(id) == self.id
            && matches!(spec.launch, Ok(Launch::Command(_) | Launch::Remote(_)))
        {
            let profile = Profile {
                capabilities: Bytes::from_static(b"{}"),
                info: Bytes::from_static(local::INFO.as_bytes()),
                revision: Revision::LEGACY_LATEST,
                prefer: Era::Modern,
            };
            let hosted = self.host(io, id, spec, None, profile);
            if let Some(upstream) = self.upstreams.get_mut(&id) {
                upstream.hosted = hosted;
            }
        }
    }

    fn remove_upstream(&mut self, io: &mut Io, id: UpstreamId) {
        let own: Vec<_> = self
            .hosted
            .iter()
            .filter(|(_, hosted)| hosted.upstream == id)
            .map(|(key, _)| key)
            .collect();
        for key in own {
            self.stop_hosted(io, key);
        }
        self.close_shared_link(io, id);
        self.task_book.server_lost(id);
        let name = self.upstreams.remove(&id).map(|upstream| Arc::clone(&upstream.spec.name));
        let name = name.unwrap_or_default();
        let why = format!("upstream {name:?} was changed or removed in the configuration");
        let lost: Vec<_> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.upstream == id)
            .map(|(key, _)| key)
            .collect();
        for key in lost {
            self.fail_flight(io, key, &why);
        }
    }

    /// Starts an instance of a session's own; `None` where there are too many already.
    pub(super) fn host_private(
        &mut self,
        io: &mut Io,
        session: Key,
        id: UpstreamId,
    ) -> Option<Key> {
        let most = self.setup.plan.limits.instances / self.setup.cores.len().max(1);
        let upstream = self.upstreams.get_mut(&id)?;
        let spec = Arc::clone(&upstream.spec);
        // A session with a server behind a URL is no process: sessions bound those.
        let counts = |it: &Hosted| it.upstream == id && it.lease.is_none() && it.is_process();
        let running = self.hosted.iter().filter(|(_, hosted)| counts(hosted)).count();
        if matches!(spec.launch, Ok(Launch::Command(_))) && running >= most.max(1) {
            if !std::mem::replace(&mut upstream.crowded, true) {
                let name = &*spec.name;
                tracing::warn!(upstream = name, limit = most, "no more instances: clients share");
            }
            return None;
        }
        let client = self.sessions.get(session)?;
        let profile = Profile {
            // Where several servers are one, each would see the tasks of all.
            capabilities: match client.endpoint {
                Some(_) => client.capabilities.clone(),
                None => without_tasks(&client.capabilities),
            },
            info: match client.info.len() > 2 {
                true => client.info.clone(),
                false => Bytes::from_static(local::INFO.as_bytes()),
            },
            revision: client.revision,
            prefer: Era::Legacy,
        };
        self.host(io, id, &spec, Some(session), profile)
    }

    fn host(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        spec: &Arc<Spec>,
        session: Option<Key>,
        profile: Profile,
    ) -> Option<Key> {
        let key = self.add_hosted(id, spec, session, profile)?;
        self.start_hosted(io, key);
        Some(key)
    }

    pub(super) fn start_hosted(&mut self, io: &mut Io, key: Key) {
        let now = self.now;
        self.drive(io, key, |instance, fx| instance.start(now, fx));
    }

    /// An instance that does not run yet.
    pub(super) fn add_hosted(
        &mut self,
        id: UpstreamId,
        spec: &Arc<Spec>,
        session: Option<Key>,
        profile: Profile,
    ) -> Option<Key> {
        let (wire, instance) = match spec.launch.as_ref().ok()? {
            Launch::Builtin(_) => return None,
            Launch::Command(_) => {
                let instance = Instance::new(profile, Transport::Pipe, spec.start_timeout);
                (Wire::None, instance)
            }
            Launch::Remote(remote) => {
                let (transport, fall_back) = match remote.transport {
                    kern_control::Transport::Auto => (Transport::Http, true),
                    kern_control::Transport::Http => (Transport::Http, false),
                    kern_control::Transport::Sse => (Transport::HttpSse, false),
                };
                let instance = Instance::new(profile, transport, spec.start_timeout);
                let instance = if fall_back { instance.with_fall_back() } else { instance };
                let wire = HttpWire::new(self.new_link(remote));
                (Wire::Http(Box::new(wire)), instance)
            }
        };
        let key = self.hosted.insert(Hosted {
            upstream: id,
            spec: Arc::clone(spec),
            session,
            lease: None,
            instance,
            wire,
            audience: kern_upstream::Audience::default(),
            lists: None,
            building: None,
            waiting: VecDeque::new(),
            epoch: 0,
            stopping: false,
            resting: false,
            keeps: false,
            reopen: false,
            mentioned: self.now,
            known: false,
            down_since: None,
        });
        // Known before it starts: a start that fails at once must not lead to another.
        if let Some(session) = session {
            self.private.insert((session, id), key);
        }
        Some(key)
    }
}

fn without_tasks(capabilities: &Bytes) -> Bytes {
    let all = kern_mcp::Span::all(capabilities);
    let mut splice = kern_mcp::Splice::new(capabilities);
    if !splice.remove_member(all, "tasks") {
        return capabilities.clone();
    }
    let mut out = Vec::with_capacity(capabilities.len());
    splice.write_into(&mut out);
    out.into()
}
