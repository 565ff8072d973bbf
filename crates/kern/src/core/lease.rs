//! Servers of the old era that run for calls whose clients can be asked in mid-call.
//!
//! The shared instance was told that its clients can do nothing. A call of a client of the new era
//! that declared more gets an instance that was told just that, and for a pipe has it alone: what
//! the server asks then belongs to that call, and nothing is guessed. Over HTTP a server asks on the
//! stream of the call it is about, so when there is no room for more, calls share an instance.
//!
//! Instances are kept for the next call of the same client (who it is: [`Principal`]) with the same
//! capabilities: a server remembers what a client told it, so another client's call never meets it.
//! Of several that are free a client gets the one it has had the longest, so calls one after
//! another meet one memory, whatever connection they come over ([`super::lease_home`]).
//!
//! Invariants: at most [`LEASED_MAX`] processes of an upstream on a core, those that are ending
//! included; a call that waits for room gets that of the client that has been away the longest; a
//! call whose server was not heard out ends its instance, since what that server says later would be
//! taken for the next call's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kern_control::{Instances, Launch};
use kern_mcp::era::rounds::can_be_asked;
use kern_mcp::{Method, Span, Splice, json};
use kern_session::{Park, Principal, binding};
use kern_terms::{Era, Instant, Key, Revision};
use kern_upstream::call::Call;
use kern_upstream::{Profile, Transport};

use super::edge::{Doing, Exchange, Kind};
use super::lease_queue::Leased;
use super::parks::Kept;
use super::words::{Health, UpstreamId};
use super::{Core, Io, local};
use crate::pipeline::{Destination, Inbound};

/// Child processes of one upstream on one core that run for such calls; `limits.instances` may allow
/// fewer.
const LEASED_MAX: usize = 64;
/// Sessions with one upstream behind a URL that one core holds for such calls.
const SESSIONS_MAX: usize = 512;
/// Longest `clientCapabilities` that are told to a server, bytes: they are kept as long as it runs.
const CAPABILITIES_BYTES_MAX: usize = 16 << 10;

/// What a flight has besides, whose client can be asked in mid-call.
#[derive(Debug)]
pub(super) struct Talk {
    /// What the client declared, as the old era says it.
    capabilities: Bytes,
    endpoint: Option<Arc<str>>,
    pub(super) principal: Principal,
    /// What its states are bound to; known once it has an instance or waits for one.
    pub(super) binding: Option<[u8; 32]>,
    /// The instance it has.
    pub(super) at: Option<Key>,
    /// There since its server first asked something.
    pub(super) park: Option<Park>,
    /// What it came to while the client was away.
    pub(super) kept: Option<Kept>,
    /// Bytes of it that are counted among those kept for clients.
    pub(super) counted: usize,
    /// When the client was last told something.
    pub(super) away_since: Instant,
}

impl Talk {
    pub(super) fn new(
        capabilities: Bytes,
        endpoint: Option<Arc<str>>,
        principal: Principal,
        now: Instant,
    ) -> Box<Self> {
        Box::new(Self {
            capabilities,
            endpoint,
            principal,
            binding: None,
            at: None,
            park: None,
            kept: None,
            counted: 0,
            away_since: now,
        })
    }
}

/// What an instance has besides, that runs for such calls.
#[derive(Debug)]
pub(super) struct Lease {
    capabilities: Bytes,
    principal: Principal,
    calls: Vec<Key>,
    /// When it was made: the oldest serves first.
    born: Instant,
    idle_since: Instant,
    /// A call left it before it was heard out.
    spoiled: bool,
}

/// What there is for a call that needs an instance.
pub(super) enum Found {
    /// One that runs, or starts.
    Old(Key),
    /// A new one that was not started yet.
    New(Key),
    /// None: there is no room, or none for this client, which has its `share`. Where it is `full`,
    /// each has a call, and none is ending.
    None { share: bool, full: bool },
}

/// How many of `most` instances one client may have, so that there is one for others.
fn share_of(most: usize) -> usize {
    most - most / 4
}

/// Whether a client of the new era comes back with a state.
pub(super) fn has_state(call: &Call<'_>) -> bool {
    let state = call.envelope.request_state.map(|span| span.of(call.message));
    call.from.era() == Era::Modern && state.is_some_and(|state| state != b"null")
}

impl Core {
    /// What a call's client declared, as the old era says it, if it can be asked in mid-call and its
    /// server may do so.
    pub(super) fn may_talk(&self, inbound: &Inbound<'_>, to: &Destination) -> Option<Bytes> {
        // 2026-07-28 basic/patterns/mrtr, "Supported Requests".
        let asks = matches!(
            inbound.envelope.method,
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
        );
        // A task outlives its call, so it stays with the instance that is asked about it later.
        let outlives = to.leg.is_some();
        if !asks || outlives || inbound.revision.era() == Era::Legacy {
            return None;
        }
        let upstream = self.upstreams.get(&to.upstream)?;
        let outside = matches!(upstream.spec.launch, Ok(Launch::Command(_) | Launch::Remote(_)));
        let modern = matches!(&upstream.health, Health::Up(up) if up.revision.era() == Era::Modern);
        let shared = upstream.spec.instances == Instances::Shared;
        if !outside || modern || shared { None } else { self.askable(inbound) }
    }

    /// What a client of the new era declared, as the old era says it, if it can be asked in mid-call.
    pub(super) fn askable(&self, inbound: &Inbound<'_>) -> Option<Bytes> {
        if inbound.session.is_some() || inbound.revision.era() == Era::Legacy {
            return None;
        }
        let declared = inbound.envelope.client_capabilities?.of(inbound.message);
        let fits = declared.len() <= CAPABILITIES_BYTES_MAX;
        (fits && can_be_asked(declared)).then(|| without_extensions(declared))
    }

    pub(super) fn talks(&self, key: Key) -> bool {
        self.flights.get(key).is_some_and(|flight| flight.talk.is_some())
    }

    /// The instance a flight has that its client can be asked by.
    pub(super) fn leased_by(&self, key: Key) -> Option<Key> {
        self.flights.get(key)?.talk.as_ref()?.at
    }

    /// The only call of a leased instance.
    pub(super) fn only_lease_call(&self, hosted: Key) -> Option<Key> {
        match *self.hosted.get(hosted)?.lease.as_ref()?.calls.as_slice() {
            [call] => Some(call),
            _ => None,
        }
    }

    /// Calls of a leased instance.
    pub(super) fn lease_calls(&self, hosted: Key) -> Vec<Key> {
        let lease = self.hosted.get(hosted).and_then(|hosted| hosted.lease.as_ref());
        lease.map(|lease| lease.calls.clone()).unwrap_or_default()
    }

    /// What the clients of a leased instance declared.
    pub(super) fn lease_capabilities(&self, hosted: Key) -> Option<Bytes> {
        Some(self.hosted.get(hosted)?.lease.as_ref()?.capabilities.clone())
    }

    /// Sends a call to an instance of its own kind, if there is one.
    pub(super) fn try_lease(&mut self, io: &mut Io, key: Key, call: &Call<'_>) -> Leased {
        let Some(flight) = self.flights.get_mut(key) else { return Leased::Done };
        let upstream = flight.upstream;
        let Some(talk) = &mut flight.talk else { return Leased::Done };
        let method = call.envelope.method_span.map(|span| span.of(call.message));
        talk.binding.get_or_insert_with(|| {
            let (endpoint, params) = (talk.endpoint.as_deref(), call.envelope.params);
            let method = method.unwrap_or_default();
            binding(talk.principal, endpoint, method, call.message, params)
        });
        let (capabilities, principal) = (talk.capabilities.clone(), talk.principal);
        let (hosted, new) = match self.find_lease(io, upstream, &capabilities, principal) {
            Found::Old(hosted) => (hosted, false),
            Found::New(hosted) => (hosted, true),
            Found::None { share, full } => {
                if full {
                    let its = |talk: &Talk| !share || talk.principal == principal;
                    self.end_longest_away(io, upstream, its);
                }
                return if share { Leased::NoShare } else { Leased::NoRoom };
            }
        };
        if let Some(lease) = self.hosted.get_mut(hosted).and_then(|it| it.lease.as_mut()) {
            lease.calls.push(key);
        }
        if let Some(flight) = self.flights.get_mut(key) {
            flight.private = Some(hosted);
            if let Some(talk) = &mut flight.talk {
                talk.at = Some(hosted);
            }
        }
        if new {
            // It waits before the start, so that it hears why that fails.
            self.park(io, key, call);
            self.start_hosted(io, hosted);
        } else {
            self.send_private(io, key, hosted, call);
        }
        Leased::Done
    }

    /// An instance for a call. An idle one of another client may make room, no call does.
    pub(super) fn find_lease(
        &mut self,
        io: &mut Io,
        id: UpstreamId,
        capabilities: &Bytes,
        principal: Principal,
    ) -> Found {
        let mut free: Option<(Instant, Key)> = None;
        let mut shared: Option<(usize, Key)> = None;
        // Of its own and of all: those without a call, the longest first.
        let mut idle: [Option<(Instant, Key)>; 2] = [None; 2];
        let (mut count, mut own, mut ending) = (0, 0, 0);
        for (key, hosted) in self.hosted.iter().filter(|(_, hosted)| hosted.upstream == id) {
            let Some(lease) = &hosted.lease else { continue };
            let is_own = lease.principal == principal;
            (count, own) = (count + 1, own + usize::from(is_own));
            if hosted.stopping || hosted.is_failing() {
                ending += 1;
                continue;
            }
            let same = lease.capabilities == capabilities && is_own;
            let streams = hosted.instance.is_open()
                && hosted.instance.transport() == Transport::Http
                && !lease.spoiled;
            match (lease.calls.len(), same) {
                (0, true) => {
                    let born = lease.born;
                    free = Some(free.map_or((born, key), |known| known.min((born, key))));
                }
                (0, false) => {
                    let since = (lease.idle_since, key);
                    for idle in idle.iter_mut().skip(usize::from(!is_own)) {
                        *idle = Some(idle.map_or(since, |known| known.min(since)));
                    }
                }
                (calls, true) if streams => {
                    shared = Some(shared.map_or((calls, key), |known| known.min((calls, key))));
                }
                _ => {}
            }
        }
        let most = self.leased_most(id);
        if let Some((_, key)) = free {
            return Found::Old(key);
        }
        let has_share = own >= share_of(most);
        if count < most && !has_share {
            let new = self.add_lease(id, capabilities, principal);
            return new.map_or(Found::None { share: false, full: false }, Found::New);
        }
        let idle = idle[usize::from(!has_share)];
        if let (Some((_, key)), 0) = (idle, ending) {
            self.stop_hosted(io, key);
        }
        let full = idle.is_none() && ending == 0;
        shared.map_or(Found::None { share: has_share, full }, |(_, key)| Found::Old(key))
    }

    fn leased_most(&self, id: UpstreamId) -> usize {
        let spec = self.upstreams.get(&id).map(|upstream| &upstream.spec.launch);
        match spec {
            // A session with a server behind a URL is no process.
            Some(Ok(Launch::Remote(_))) => SESSIONS_MAX,
            _ => self.setup.plan.limits.instances.clamp(1, LEASED_MAX),
        }
    }

    /// An instance has its lists, and can be called.
    pub(super) fn publish_lease(&mut self, io: &mut Io, key: Key) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let waiting = hosted.waiting.drain(..).collect::<Vec<_>>();
        if let Some(building) = hosted.building.take() {
            let id = hosted.upstream;
            let lists = self.lists_among(id, building);
            if let Some(hosted) = self.hosted.get_mut(key) {
                hosted.lists = Some(lists);
            }
        }
        let Some(hosted) = self.hosted.get(key) else { return };
        if let (Some(lease), Some(lists)) = (&hosted.lease, &hosted.lists) {
            let (capabilities, lists) = (lease.capabilities.clone(), Arc::clone(lists));
            let id = hosted.upstream;
            self.able_listed(io, id, capabilities, lists);
        }
        self.unpark(io, waiting);
    }

    fn add_lease(
        &mut self,
        id: UpstreamId,
        capabilities: &Bytes,
        principal: Principal,
    ) -> Option<Key> {
        let spec = Arc::clone(&self.upstreams.get(&id)?.spec);
        let profile = Profile {
            capabilities: capabilities.clone(),
            info: Bytes::from_static(local::INFO.as_bytes()),
            revision: Revision::LEGACY_LATEST,
            prefer: Era::Legacy,
        };
        let key = self.add_hosted(id, &spec, None, profile)?;
        let lease = Lease {
            capabilities: capabilities.clone(),
            principal,
            calls: Vec::new(),
            born: self.now,
            idle_since: self.now,
            spoiled: false,
        };
        if let Some(hosted) = self.hosted.get_mut(key) {
            hosted.lease = Some(Box::new(lease));
        }
        Some(key)
    }

    /// A flight is over, or its server answered it: what it has of an instance is given back.
    /// `owes` says that the server has it and did not answer it.
    pub(super) fn give_lease_back(&mut self, io: &mut Io, key: Key, talk: &mut Talk, owes: bool) {
        let Some(at) = talk.at.take() else { return };
        let now = self.now;
        let Some(hosted) = self.hosted.get_mut(at) else { return };
        self.leases.due(hosted.upstream);
        let Some(lease) = &mut hosted.lease else { return };
        lease.calls.retain(|call| *call != key);
        lease.idle_since = now;
        lease.spoiled |= owes;
        if lease.spoiled && lease.calls.is_empty() {
            self.stop_hosted(io, at);
        }
    }

    pub(super) fn sweep_leases(&mut self, io: &mut Io) {
        let now = self.now;
        // With time, clients that are away become those that may be forgotten.
        self.leases.all_due();
        let most = Duration::from_millis(self.setup.plan.limits.private_idle_timeout_ms);
        self.stop_leases(io, |lease| now.since(lease.idle_since) >= most);
    }

    /// A client is gone for good: nobody else may meet what it told its servers.
    pub(super) fn forget_principal(&mut self, io: &mut Io, principal: Principal) {
        let its = |talk: &Talk| talk.principal == principal;
        self.end_parks(io, its, "its client's connection is gone");
        self.stop_leases(io, |lease| lease.principal == principal);
    }

    /// Stops idle instances.
    fn stop_leases(&mut self, io: &mut Io, which: impl Fn(&Lease) -> bool) {
        let over = |lease: &Lease| lease.calls.is_empty() && which(lease);
        let idle = self.hosted.iter().filter(|(_, it)| it.lease.as_deref().is_some_and(over));
        for key in idle.map(|(key, _)| key).collect::<Vec<_>>() {
            self.stop_hosted(io, key);
        }
    }

    /// An instance died, or did not start. The next call gets another one.
    pub(super) fn lease_went_down(&mut self, io: &mut Io, key: Key, why: &str) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let (name, id) = (Arc::clone(&hosted.spec.name), hosted.upstream);
        hosted.waiting.clear();
        if let Some(capabilities) = self.lease_capabilities(key) {
            self.able_failed(io, id, capabilities);
        }
        tracing::warn!(upstream = &*name, "a server for calls in which it may ask: {why}");
        let why = format!("upstream {name:?} is down: {why}");
        for flight in self.lease_calls(key) {
            self.fail_flight(io, flight, &why);
        }
        self.stop_hosted(io, key);
    }

    /// Who a request of this core's connections is from.
    pub(super) fn principal(&self, reply: super::words::ReplyTo) -> Principal {
        let edge = self.edges.get(reply.edge).filter(|_| reply.core == self.id);
        match edge.map(|edge| &edge.kind) {
            Some(Kind::Line(_)) => Principal::Connection(reply.core, reply.edge),
            Some(Kind::Http(http)) => match &http.doing {
                Doing::Channel { .. } => Principal::Connection(reply.core, reply.edge),
                Doing::Waiting(Exchange { credential: Some(digest), .. }) => {
                    Principal::Credential(*digest)
                }
                _ => Principal::Nobody,
            },
            _ => Principal::Nobody,
        }
    }
}

/// Capabilities as the old era knows them.
fn without_extensions(declared: &[u8]) -> Bytes {
    let Some(extensions) = json::get(declared, Span::all(declared), "extensions") else {
        return Bytes::copy_from_slice(declared);
    };
    let mut splice = Splice::new(declared);
    splice.remove_value(extensions);
    let mut out = Vec::with_capacity(declared.len());
    splice.write_into(&mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::without_extensions;

    #[test]
    fn a_server_of_the_old_era_is_not_told_of_extensions() {
        for (declared, expected) in [
            (r#"{"elicitation":{}}"#, r#"{"elicitation":{}}"#),
            (r#"{"extensions":{"a/b":{}},"roots":{}}"#, r#"{"roots":{}}"#),
            (r#"{"roots":{},"extensions":{}}"#, r#"{"roots":{}}"#),
            (r#"{"extensions":{}}"#, "{}"),
        ] {
            assert_eq!(without_extensions(declared.as_bytes()), expected, "{declared}");
        }
    }
}
