//! What a modern client calls a task of an old server.
//!
//! Over the shared instance an old server takes all clients for one, so its ids need not be hard to
//! guess. The modern era has nothing but the id to tell who may reach a task. So such an id is
//! `TAG.ID` (on the endpoint of all `NAME:TAG.ID`), with a tag that only this process can make: for
//! this client ([`Principal`]), this server since it was last greeted, and this id. Invariant: an id
//! without its tag opens nothing, and neither does one that was given to somebody else.

use kern_mcp::tasks;
use kern_session::{Principal, TAG_TEXT_BYTES};

use super::Core;
use super::flight::Flight;
use super::words::{Health, UpstreamId};

impl Core {
    /// The id a flight's client gets for a task of an old server.
    pub(super) fn shown_task(&self, flight: &Flight, own: &str) -> Option<String> {
        let upstream = self.upstreams.get(&flight.upstream)?;
        let leg = flight.leg.as_ref()?;
        let parts = parts(flight.upstream, flight.epoch, own, leg.owner);
        let tag = self.tagger.as_ref()?.tag(&parts.each_ref().map(Vec::as_slice));
        let id = format!("{tag}.{own}");
        Some(if flight.all { tasks::exposed(&upstream.spec.name, &id) } else { id })
    }

    /// The id an old server knows, of a task that a modern client may reach.
    pub(super) fn opened_task(
        &self,
        upstream: UpstreamId,
        shown: &str,
        from: Principal,
    ) -> Option<String> {
        let (tag, own) = shown.split_at_checked(TAG_TEXT_BYTES)?;
        let own = own.strip_prefix('.')?;
        let Health::Up(up) = &self.upstreams.get(&upstream)?.health else { return None };
        let parts = parts(upstream, up.epoch, own, from);
        let right = self.tagger.as_ref()?.is_tag(tag, &parts.each_ref().map(Vec::as_slice));
        right.then(|| own.to_owned())
    }
}

fn parts(id: UpstreamId, epoch: u64, own: &str, owner: Principal) -> [Vec<u8>; 4] {
    let (epoch, id) = (epoch.to_be_bytes().to_vec(), id.0.to_be_bytes().to_vec());
    [epoch, id, owner.to_bytes(), own.as_bytes().to_vec()]
}
