//! Which core holds the servers that may ask a client of the new era?
//!
//! Such a client comes over many connections, to any core, and an old server remembers: were there
//! servers for it on each core, it would meet several memories. So those of an upstream are all on
//! the core that owns the upstream, and calls of other cores are brought there. A connection that
//! carries lines is a client of its own and stays on its core, with its servers.
//!
//! Invariant: a call that was brought here ends like any other; the core of its connection learns
//! its flight, so that a client that leaves still cancels.

use bytes::Bytes;
use kern_mcp::errors::INVALID_REQUEST;
use kern_mcp::scan;
use kern_session::Principal;
use kern_terms::{CoreId, FlightId, Revision};

use super::lease::Talk;
use super::words::{Brought, Post, ReplyTo, UpstreamId};
use super::{Core, Io};
use crate::pipeline::{Destination, Inbound};

impl Core {
    /// Sends a routed request on its way, from here or from the core that holds its server.
    pub(crate) fn fly(&mut self, io: &mut Io, inbound: &Inbound<'_>, to: Destination) {
        let Some(able) = self.may_talk(inbound, &to) else {
            self.fly_for(io, inbound, to, None);
            return;
        };
        let principal = self.principal(inbound.reply);
        let home = self.lease_home(principal, to.upstream);
        if home != self.id {
            return self.bring_home(io, home, principal, inbound, to);
        }
        let talk = Talk::new(able, inbound.endpoint.clone(), principal, self.now);
        self.fly_for(io, inbound, to, Some(talk));
    }

    /// The core that holds the servers of `id` that may ask `principal`.
    pub(super) fn lease_home(&self, principal: Principal, id: UpstreamId) -> CoreId {
        match principal {
            Principal::Connection(core, _) => core,
            Principal::Nobody | Principal::Credential(_) => self.setup.owner(id),
        }
    }

    /// Brings a routed call to the core that holds its server.
    pub(super) fn bring_home(
        &mut self,
        io: &mut Io,
        home: CoreId,
        principal: Principal,
        inbound: &Inbound<'_>,
        to: Destination,
    ) {
        let brought = Brought {
            reply: inbound.reply,
            endpoint: inbound.endpoint.clone(),
            message: Bytes::copy_from_slice(inbound.message),
            principal,
            upstream: to.upstream,
            name: to.name,
            uri: to.uri,
        };
        io.post(home, Post::Brought(Box::new(brought)));
    }

    /// A call of a client of another core.
    pub(super) fn brought(&mut self, io: &mut Io, brought: Brought) {
        let Brought { reply, endpoint, message, principal, upstream, name, uri } = brought;
        // The core that sent it read it with the same limits, unless they changed meanwhile.
        let Ok(envelope) = scan(&message, &self.scan_limits) else {
            let why = "the limits of the configuration changed meanwhile";
            return self.refuse_batch(io, reply, INVALID_REQUEST, why);
        };
        let revision = Revision::V2026_07_28;
        let inbound =
            Inbound { reply, endpoint, message: &message, envelope, revision, session: None };
        let to = Destination { upstream, name, uri, leg: None };
        // Its server may be another one by now.
        let able = self.may_talk(&inbound, &to);
        let talk = able.map(|able| Talk::new(able, inbound.endpoint.clone(), principal, self.now));
        if let Some(flight) = self.fly_for(io, &inbound, to, talk) {
            io.post(reply.core, Post::Took { reply, flight });
        }
    }

    /// The call of an exchange of this core is a flight of another, or one under another number.
    pub(super) fn took(&mut self, io: &mut Io, reply: ReplyTo, flight: FlightId) {
        if !self.note_exchange(reply, flight) {
            // Its client left meanwhile, or has its answer already.
            io.post(flight.core(), Post::Left { reply, flight });
        }
    }
}
