//! Where a client's request to an upstream is answered: inside, by the instance all share, or by
//! one of the client's own.
//!
//! The rule of `instances = "auto"`: an old server's own requests don't say which call caused them,
//! and what it offers may depend on its client's capabilities. So a client that declared any such
//! capability gets a process of its own for its session; others share. A server that speaks only
//! the new era asks within the answer, so everybody shares it. Over HTTP a session of one's own
//! costs nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use kern_control::{Instances, Launch};
use kern_mcp::era::capabilities::with_tasks;
use kern_mcp::errors::Cause;
use kern_mcp::{Method, json};
use kern_route::View;
use kern_terms::{Instant, Key};
use kern_upstream::http::HttpLink;

use super::flight::Flight;
use super::words::{Health, Spec, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Destination, Fault, Inbound, Routed};

/// Bytes of requests of one core on their way to one upstream: they may be kept until answered.
const BYTES_MAX: usize = 256 << 20;

/// What every core knows of an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) spec: Arc<Spec>,
    pub(super) health: Health,
    /// Our session with it, in memory of this core: cores do not count each other's references.
    pub(super) session_id: Option<Rc<[u8]>>,
    /// This core's connections to it, where it is called over HTTP.
    pub(super) link: Option<HttpLink>,
    /// The shared instance, on the core that hosts it.
    pub(super) hosted: Option<Key>,
    /// Requests of this core on their way to it.
    pub(super) flights: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// The log said that it has as many instances as it may have.
    pub(super) crowded: bool,
    /// Flights that wait for its first start.
    pub(super) waiting: VecDeque<Key>,
    /// When it went down, on the core that keeps the catalog.
    pub(super) down_since: Option<Instant>,
}

impl Upstream {
    /// Whether there are `most` requests on their way, or another one of `bytes` is too much.
    pub(super) fn is_full(&self, most: usize, bytes: usize) -> bool {
        let heavy = self.bytes > 0 && self.bytes + bytes > BYTES_MAX;
        self.flights >= most || heavy
    }

    /// A request is on its way.
    pub(super) fn begin(&mut self, bytes: usize) {
        self.flights += 1;
        self.bytes += bytes;
    }

    /// It is over.
    pub(super) fn end(&mut self, bytes: usize) {
        self.flights = self.flights.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Flight {
    /// Whether it counts among those on their way to its upstream: while its client is away it does
    /// not, or a few clients that never return would shut out all others.
    pub(super) fn count(&mut self, upstream: Option<&mut Upstream>, on: bool) {
        if std::mem::replace(&mut self.counted, on) == on {
            return;
        }
        match (upstream, on) {
            (Some(upstream), true) => upstream.begin(self.bytes),
            (Some(upstream), false) => upstream.end(self.bytes),
            (None, _) => {}
        }
    }
}

/// Where a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// By this process.
    Builtin,
    /// By the instance everybody shares.
    Shared,
    /// By an instance of the client's session, on this core.
    Private(Key),
    /// It depends on the server's era, which is not known yet.
    Unknown,
}

impl Core {
    pub(super) fn place(&mut self, io: &mut Io, session: Option<Key>, id: UpstreamId) -> Place {
        let Some(upstream) = self.upstreams.get(&id) else { return Place::Shared };
        let http = match &upstream.spec.launch {
            Ok(Launch::Builtin(_)) => return Place::Builtin,
            Ok(Launch::Remote(_)) => true,
            Ok(Launch::Command(_)) => false,
            Err(_) => return Place::Shared,
        };
        let Some(key) = session else { return Place::Shared };
        if let Some(hosted) = self.private.get(&(key, id)).copied() {
            self.wake_private(io, hosted);
            return Place::Private(hosted);
        }
        let converses = self.sessions.get(key).is_some_and(|session| session.converses());
        let own = match upstream.spec.instances {
            Instances::Shared => false,
            Instances::PerSession => true,
            Instances::Auto if !http && !converses => false,
            Instances::Auto => match &upstream.health {
                Health::Up(up) => up.legacy,
                Health::Starting => return Place::Unknown,
                Health::Down(_) => false,
            },
        };
        match own {
            false => Place::Shared,
            true => match self.host_private(io, key, id) {
                Some(hosted) => Place::Private(hosted),
                None => Place::Shared,
            },
        }
    }

    /// Arguments that the tool's schema wants mirrored in headers must be there and be the same
    /// (2026-07-28 basic/transports/streamable-http, `x-mcp-header`).
    pub(super) fn check_params<'h>(
        &self,
        inbound: &Inbound<'_>,
        lookup: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), Fault> {
        let view = match &inbound.endpoint {
            None => Some(self.catalog.all()),
            Some(name) => self.catalog.one(name),
        };
        let Some(view) = view.filter(|view| view.mirrors()) else { return Ok(()) };
        let name = inbound.str(inbound.envelope.name).unwrap_or_default();
        let Some(mirrored) = view.tool(&name).and_then(|target| target.item.mirrored.as_ref())
        else {
            return Ok(());
        };
        mirrored
            .check(inbound.message, inbound.envelope.arguments, lookup)
            .map_err(|fault| Fault::new(Cause::HeaderMismatch, fault.to_string()))
    }

    /// The room `route`: which upstream a request is for, and the name it has there.
    pub(crate) fn route(&mut self, io: &mut Io, inbound: &Inbound<'_>) -> Routed {
        // Borrowed: counting references to what all cores share would make them wait for each other.
        let known = inbound.session.and_then(|key| self.views.get(&key));
        let view = known.or_else(|| match &inbound.endpoint {
            None => Some(self.catalog.all()),
            Some(name) => self.catalog.one(name),
        });
        let Some(view) = view else {
            let name = inbound.endpoint.as_deref().unwrap_or_default();
            return match self.is_starting(name) {
                true => Routed::Wait,
                false => Routed::Nowhere(Fault::new(Cause::Internal, self.why_down(name))),
            };
        };
        let fault = match self.find(view, inbound) {
            Ok(destination) => return Routed::To(destination),
            Err(fault) => fault,
        };
        let seen = Arc::as_ptr(view);
        // What the shared instances don't offer, the client's own may.
        let (own, whole) = self.view_of(io, inbound);
        if let Some(own) = own.filter(|own| Arc::as_ptr(own) != seen)
            && let Ok(destination) = self.find(&own, inbound)
        {
            return Routed::To(destination);
        }
        if whole { Routed::Nowhere(fault) } else { Routed::Wait }
    }

    fn find(&self, view: &View, inbound: &Inbound<'_>) -> Result<Destination, Fault> {
        let envelope = &inbound.envelope;
        let missing = |what: &str| {
            Err(Fault::new(Cause::InvalidParams, format!("params.{what} must be a string")))
        };
        match envelope.method {
            Method::ToolsCall | Method::PromptsGet => {
                let Some(name) = inbound.str(envelope.name) else { return missing("name") };
                let (what, target) = match envelope.method {
                    Method::ToolsCall => ("tool", view.tool(&name)),
                    _ => ("prompt", view.prompt(&name)),
                };
                let Some(target) = target else {
                    let why = format!("unknown {what}: {name}");
                    return Err(Fault::new(Cause::InvalidParams, why));
                };
                let original = (target.name() != name).then(|| target.name().to_owned());
                self.destination(target.upstream(), original, None)
            }
            Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
                let Some(uri) = inbound.text(envelope.uri) else { return missing("uri") };
                self.find_resource(view, &uri)
            }
            _ => self.find_reference(view, inbound),
        }
    }

    pub(super) fn find_resource(&self, view: &View, uri: &str) -> Result<Destination, Fault> {
        let Some(located) = view.resource(uri) else {
            let mut data = b"{\"uri\":".to_vec();
            json::quote_into(&mut data, uri);
            data.push(b'}');
            let why = format!("resource not found: {uri}");
            return Err(Fault { data: Some(data), ..Fault::new(Cause::ResourceNotFound, why) });
        };
        let original = (located.uri != uri).then(|| located.uri.clone().into_owned());
        self.destination(&located.lists(view).upstream, None, original)
    }

    fn find_reference(&self, view: &View, inbound: &Inbound<'_>) -> Result<Destination, Fault> {
        let reference = inbound.envelope.reference.unwrap_or_default();
        if let Some(name) = inbound.text(reference.name) {
            let Some(target) = view.prompt(&name) else {
                let why = format!("unknown prompt: {name}");
                return Err(Fault::new(Cause::InvalidParams, why));
            };
            let original = (target.name() != name).then(|| target.name().to_owned());
            return self.destination(target.upstream(), original, None);
        }
        let Some(uri) = inbound.text(reference.uri) else {
            let why = "params.ref must have a name or a uri";
            return Err(Fault::new(Cause::InvalidParams, why));
        };
        if let Some(target) = view.template(&uri) {
            let original = (target.name() != uri).then(|| target.name().to_owned());
            return self.destination(target.upstream(), None, original);
        }
        self.find_resource(view, &uri)
    }

    fn destination(
        &self,
        name: &str,
        original: Option<String>,
        uri: Option<String>,
    ) -> Result<Destination, Fault> {
        match self.names.get(name) {
            Some(id) => Ok(Destination { upstream: *id, name: original, uri, leg: None }),
            None => {
                let why = format!("upstream {name:?} was removed from the configuration");
                Err(Fault::new(Cause::Internal, why))
            }
        }
    }

    /// Passes a request of an extension on an endpoint of one upstream.
    pub(crate) fn pass(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let Some(endpoint) = &inbound.endpoint else { return self.unknown_method(io, inbound) };
        match self.destination(endpoint, None, None) {
            Ok(destination) => self.fly(io, inbound, destination),
            Err(fault) => self.refuse_with(io, inbound, fault),
        }
    }

    /// The least severity of log messages the client asked for, for a server that is told.
    pub(super) fn client_level(&self, inbound: &Inbound<'_>) -> Option<&'static str> {
        let session = inbound.session.and_then(|key| self.sessions.get(key))?;
        session.log_level.map(kern_session::Level::as_str)
    }

    /// What the client of `session` can do, for a server that is told with each call; `tasks` where it
    /// is told of them, too.
    pub(super) fn told_capabilities(&self, session: Option<Key>, tasks: bool) -> Bytes {
        let own = match session.and_then(|key| self.sessions.get(key)) {
            Some(session) => session.capabilities_modern.clone(),
            None => Bytes::from_static(b"{}"),
        };
        if tasks { with_tasks(&own).into() } else { own }
    }

    /// Who the client of `session` says it is, for a server that is told.
    pub(super) fn client_info(&self, session: Option<Key>) -> Bytes {
        match session.and_then(|key| self.sessions.get(key)) {
            Some(session) if session.info.len() > 2 => session.info.clone(),
            _ => Bytes::from_static(super::local::INFO.as_bytes()),
        }
    }
}
