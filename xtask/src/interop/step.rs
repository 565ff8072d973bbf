//! A request of the matrix, and which lists a server can be asked for.

use serde_json::{Value, json};

/// The lists of the protocol: the method, the member that holds the items, and what names an item.
pub(super) const LISTS: &[(&str, &str, &str)] = &[
    ("tools/list", "tools", "name"),
    ("prompts/list", "prompts", "name"),
    ("resources/list", "resources", "uri"),
    ("resources/templates/list", "resourceTemplates", "uriTemplate"),
];

/// A request to send: method and params, with the names a server itself uses.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) params: Value,
    /// Whether the client asks for progress, and what it hears is compared too.
    pub(super) progress: bool,
    /// The end of a tool's name, without which a list of tools is asked for again.
    pub(super) until: &'static str,
    /// A member whose number depends on who called before, and is not compared.
    pub(super) counter: Option<&'static str>,
}

impl Step {
    pub(super) fn new(method: &'static str, params: Value) -> Self {
        Self { method, params, progress: false, until: "", counter: None }
    }

    pub(super) fn call(tool: &str, arguments: Value) -> Self {
        Self::new("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    pub(super) fn read(uri: &str) -> Self {
        Self::new("resources/read", json!({ "uri": uri }))
    }

    pub(super) fn prompt(name: &str, arguments: Value) -> Self {
        Self::new("prompts/get", json!({ "name": name, "arguments": arguments }))
    }

    pub(super) fn with_progress(self) -> Self {
        Self { progress: true, ..self }
    }

    pub(super) fn until(self, until: &'static str) -> Self {
        Self { until, ..self }
    }

    pub(super) fn counting(self, counter: &'static str) -> Self {
        Self { counter: Some(counter), ..self }
    }

    /// What the list is of: its member, and what names an item. Nothing if it is no list.
    pub(super) fn list(&self) -> Option<(&'static str, &'static str)> {
        let found = LISTS.iter().find(|(method, ..)| *method == self.method);
        found.map(|(_, member, key)| (*member, *key))
    }

    /// The same request where several servers share the endpoint.
    pub(super) fn through(&self, server: &str) -> Self {
        let mut step = self.clone();
        if let Some(name) = step.params["name"].as_str() {
            step.params["name"] = json!(format!("{server}__{name}"));
        }
        step
    }

    /// As the clients' scripts read it.
    pub(super) fn json(&self) -> Value {
        json!({ "method": self.method, "params": self.params, "progress": self.progress,
                "until": self.until })
    }

    /// For people: what is asked of whom.
    pub(super) fn label(&self) -> String {
        let of = self.params["name"].as_str().or_else(|| self.params["uri"].as_str());
        match of {
            Some(of) => format!("{} {of}", self.method),
            None => self.method.to_owned(),
        }
    }
}
