//! Requests and notifications of ours: how they are written, and what is remembered of them.
//!
//! Invariant: what is remembered is bounded; a server that answers nothing costs only answers that
//! do not matter.

use kern_mcp::{Method, encode, era};
use kern_terms::{Era, Revision};

use super::{Effect, Instance, Own, OwnId, Phase};
use crate::limits;

impl Instance {
    /// Asks something whose answer does not matter.
    pub fn ask_aside(&mut self, method: Method, params: &str, fx: &mut Vec<Effect>) {
        self.ask(Own::Aside, method, params, fx);
    }

    /// Asks for a sign of life: something failed that should not have. Without one the instance
    /// goes down.
    pub fn probe(&mut self, fx: &mut Vec<Effect>) {
        if self.phase != Phase::Ready || self.own.values().any(|own| *own == Own::Probe) {
            return;
        }
        match self.revision.era() {
            Era::Legacy => self.ask(Own::Probe, Method::Ping, "{}", fx),
            Era::Modern => {
                let params = format!("{{{}}}", self.modern_meta());
                self.ask(Own::Probe, Method::ServerDiscover, &params, fx)
            }
        };
    }

    /// Sends a request of ours.
    pub(super) fn ask(
        &mut self,
        own: Own,
        method: Method,
        params: &str,
        fx: &mut Vec<Effect>,
    ) -> OwnId {
        let id = OwnId(self.next_id);
        self.next_id += 1;
        // A server that answers nothing must not keep us from hearing what matters.
        if self.own.len() >= limits::OWN_REQUESTS_MAX {
            self.own.retain(|_, own| !matches!(own, Own::Subscribe | Own::Aside));
        }
        self.own.insert(id, own);
        let name = method.as_str();
        let message = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"{name}\",\"params\":{params}}}",
            id.json()
        );
        fx.push(Effect::Send { id: Some(id), method, message: message.into_bytes() });
        id
    }

    pub(super) fn tell(&self, method: Method, params: &[u8], fx: &mut Vec<Effect>) {
        let mut message = Vec::new();
        encode::notification(&mut message, method.as_str(), Some(params));
        fx.push(Effect::Send { id: None, method, message });
    }

    /// `_meta` of our own requests in the modern era, as `"_meta":{…}`.
    pub(super) fn modern_meta(&self) -> String {
        self.meta_with(&era::capabilities::legacy_to_modern(&self.profile.capabilities))
    }

    /// The same, of a client that knows the tasks extension: only to one may a server tell of tasks.
    pub(super) fn meta_with_tasks(&self) -> String {
        self.meta_with(&era::capabilities::with_tasks(&era::capabilities::legacy_to_modern(
            &self.profile.capabilities,
        )))
    }

    fn meta_with(&self, capabilities: &[u8]) -> String {
        format!(
            "\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"{}\",\
             \"io.modelcontextprotocol/clientInfo\":{},\
             \"io.modelcontextprotocol/clientCapabilities\":{}}}",
            Revision::LATEST,
            String::from_utf8_lossy(&self.profile.info),
            String::from_utf8_lossy(capabilities),
        )
    }
}
