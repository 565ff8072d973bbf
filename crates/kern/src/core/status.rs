//! `GET /status`: how this process and its upstreams fare, as JSON.
//!
//! Guarded like every other path; it says nothing that `tools/list` would not let one find out,
//! except why an upstream is down. `core` counts what the core that answers has in hand.

use kern_control::Launch;
use kern_mcp::json;
use kern_route::ListKind;

use super::words::{Health, Report};
use super::{Core, Io};

impl Core {
    pub(super) fn status(&self, io: &Io) -> Vec<u8> {
        let mut out = format!(
            "{{\"version\":\"{}\",\"driver\":\"{}\",\"cores\":{},\"upstreams\":[",
            env!("CARGO_PKG_VERSION"),
            io.driver(),
            self.setup.cores.len()
        )
        .into_bytes();
        let mut upstreams: Vec<_> = self.upstreams.values().collect();
        upstreams.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        for (at, upstream) in upstreams.into_iter().enumerate() {
            let name = &*upstream.spec.name;
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"name\":");
            json::quote_into(&mut out, name);
            let view = self.catalog.one(name);
            let (state, revision, why) = match (&upstream.spec.launch, &upstream.health) {
                (Ok(Launch::Builtin(_)), Health::Up(up)) => ("builtin", Some(up.revision), None),
                // Ready, but not in the catalog yet.
                (_, Health::Up(_)) if view.is_none() => ("starting", None, None),
                (_, Health::Up(up)) => ("up", Some(up.revision), None),
                (_, Health::Starting) => ("starting", None, None),
                (_, Health::Down(why)) => ("down", None, Some(why)),
            };
            out.extend_from_slice(format!(",\"state\":\"{state}\"").as_bytes());
            if let Some(revision) = revision {
                out.extend_from_slice(format!(",\"revision\":\"{revision}\"").as_bytes());
            }
            if let Some(why) = why {
                out.extend_from_slice(b",\"why\":");
                json::quote_into(&mut out, why);
            }
            let kinds = [
                ("tools", ListKind::Tools),
                ("prompts", ListKind::Prompts),
                ("resources", ListKind::Resources),
            ];
            for (member, kind) in kinds {
                let count = view.map_or(0, |view| view.len(kind));
                out.extend_from_slice(format!(",\"{member}\":{count}").as_bytes());
            }
            out.push(b'}');
        }
        let busy = self.report();
        let mut counts = format!("],\"core\":{{\"id\":{}", self.id.0);
        for (name, count) in busy.for_clients() {
            counts.push_str(&format!(",\"{name}\":{count}"));
        }
        counts.push_str(&format!(",\"instances\":{}}}}}\n", busy.instances));
        out.extend_from_slice(counts.as_bytes());
        out
    }

    fn kept_for_clients(&self) -> usize {
        let charged = self.upstreams.values().map(|it| it.bytes).sum::<usize>();
        let asked = self.parks.bytes + self.done_book.bytes() + self.wants.bytes();
        self.kept_bytes + charged + asked + self.queued.bytes()
    }

    /// What this core has in hand.
    pub(super) fn report(&self) -> Report {
        let own = |(_, hosted): &(_, &super::hosted::Hosted)| !hosted.is_shared();
        let waiting = self.upstreams.values().map(|it| it.waiting.len()).sum::<usize>()
            + self.hosted.iter().map(|(_, it)| it.waiting.len()).sum::<usize>()
            + self.leases.len()
            + self.patient.len();
        Report {
            edges: self.edges.len(),
            sessions: self.sessions.len(),
            flights: self.flights.len(),
            instances: self.hosted.len(),
            asks: self.asks.len(),
            parked: self.parks.away.len(),
            listens: self.listens.len(),
            streams: self.trails.values().map(Vec::len).sum::<usize>()
                + self.streams.len()
                + self.channels.len(),
            own_instances: self.hosted.iter().filter(own).count(),
            waiting,
            batches: self.batches.len(),
            wants: self.wants.len(),
            tasks: self.task_book.len() + self.done_book.len() + self.views.len(),
            charged: self.upstreams.values().map(|it| it.flights).sum(),
            kept_bytes: self.kept_for_clients(),
        }
    }
}
