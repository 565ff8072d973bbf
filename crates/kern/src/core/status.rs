//! `GET /status`: how this process and its upstreams fare, as JSON.
//!
//! Guarded like every other path; it says nothing that `tools/list` would not let one find out,
//! except why an upstream is down. `core` counts what the core that answers has in hand.

use kern_control::Launch;
use kern_mcp::json;
use kern_route::ListKind;

use super::words::Health;
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
        let counts = format!(
            "],\"core\":{{\"id\":{},\"connections\":{},\"sessions\":{},\"requests\":{},\
             \"instances\":{},\"asks\":{},\"parked\":{},\"listens\":{}}}}}\n",
            self.id.0,
            busy.edges,
            busy.sessions,
            busy.flights,
            busy.instances,
            busy.asks,
            busy.parked,
            busy.listens
        );
        out.extend_from_slice(counts.as_bytes());
        out
    }
}
