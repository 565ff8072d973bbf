//! What does a simulated server answer at once: who it is, what it lists, what its resources hold?

use serde_json::{Value, json};

use crate::backend::{Backend, Place};
use crate::words::{self, MODERN, meta_key, text_of};

/// `ask` asks its caller as the old era does, `input` as the new one.
pub const TOOLS: [&str; 8] = ["echo", "slow", "fail", "error", "ask", "input", "big", "touch"];
const RESOURCES: usize = 5;

impl Backend {
    /// What needs no time.
    pub fn at_once(&mut self, place: Place, method: &str, id: &Value, params: &Value) -> Value {
        let modern = self.is_modern();
        match (method, modern) {
            ("initialize", false) => self.result(id, self.about("protocolVersion")),
            ("server/discover", true) => self.result(id, self.about("supportedVersions")),
            ("ping" | "logging/setLevel", false) => self.result(id, json!({})),
            ("tools/list", _) => self.list(id, "tools", &self.tools(), params),
            ("resources/list", _) => self.list(id, "resources", &self.resources(), params),
            ("resources/templates/list", _) => self.list(id, "resourceTemplates", &[], params),
            ("prompts/list", _) => self.list(id, "prompts", &self.prompts(), params),
            ("resources/read", _) => self.read(id, params),
            ("prompts/get", _) => {
                let topic = params["arguments"]["topic"].as_str().unwrap_or_default();
                let text = text_of(&self.name, "greet", topic);
                let content = json!({"type": "text", "text": text});
                self.result(id, json!({"messages": [{"role": "user", "content": content}]}))
            }
            ("resources/subscribe" | "resources/unsubscribe", false) => {
                let uri = params["uri"].as_str().unwrap_or_default().to_owned();
                let conversation = self.conversations.entry(place).or_default();
                match method {
                    "resources/subscribe" => conversation.subscribed.insert(uri),
                    _ => conversation.subscribed.remove(&uri),
                };
                self.result(id, json!({}))
            }
            _ => words::error(id, -32601, "method not found"),
        }
    }

    fn about(&self, version_member: &str) -> Value {
        let version = match version_member {
            "supportedVersions" => json!([self.revision]),
            _ => json!(self.revision),
        };
        let mut capabilities = json!({
            "tools": {"listChanged": true}, "prompts": {"listChanged": true},
            "resources": {"subscribe": true, "listChanged": true}, "logging": {},
        });
        if self.revision == MODERN {
            capabilities["extensions"] = json!({});
        }
        let mut about = json!({version_member: version, "capabilities": capabilities});
        if self.is_modern() {
            about["ttlMs"] = json!(0);
            about["cacheScope"] = json!("public");
        } else {
            about["serverInfo"] = json!({"name": self.name, "version": "1"});
        }
        about
    }

    /// A result, with what the modern era adds to each.
    pub fn result(&self, id: &Value, mut result: Value) -> Value {
        if self.is_modern() {
            result["resultType"] = json!("complete");
            result["_meta"] = json!({meta_key("serverInfo"): {"name": self.name, "version": "1"}});
        }
        words::result(id, result)
    }

    fn tools(&self) -> Vec<Value> {
        let tool = |tool: &&str| {
            json!({
                "name": tool, "description": format!("sim:{}:{tool}", self.name),
                "inputSchema": {"type": "object", "properties": {"payload": {"type": "string"}}},
            })
        };
        // Elicitation came with 2025-06-18.
        let able = |tool: &&&str| match **tool {
            "ask" => !self.is_modern() && self.revision >= "2025-06-18",
            "input" => self.is_modern(),
            _ => true,
        };
        TOOLS.iter().filter(able).map(tool).collect()
    }

    /// Resource 0 has the same URI on every server.
    fn resources(&self) -> Vec<Value> {
        let one = |at: usize| {
            let host = if at == 0 { "shared" } else { &self.name };
            let uri = format!("sim://{host}/r{at}");
            json!({"uri": uri, "name": format!("r{at}"), "description": format!("sim:{}:r{at}", self.name)})
        };
        (0..RESOURCES).map(one).collect()
    }

    fn prompts(&self) -> Vec<Value> {
        vec![json!({
            "name": "greet", "description": format!("sim:{}:greet", self.name),
            "arguments": [{"name": "topic", "required": true}],
        })]
    }

    fn list(&self, id: &Value, member: &str, items: &[Value], params: &Value) -> Value {
        let start = match params.get("cursor").map(|cursor| cursor.as_str()) {
            None => 0,
            Some(Some(cursor)) if cursor.starts_with(&format!("{}@{member}@", self.name)) => {
                let at = cursor.rsplit('@').next().unwrap_or_default();
                at.parse().unwrap_or(usize::MAX)
            }
            Some(_) => usize::MAX,
        };
        if start > items.len() {
            self.police(&format!("a cursor it never gave: {params}"));
            return words::error(id, -32602, "unknown cursor");
        }
        let end = items.len().min(start + self.page);
        let mut result = json!({member: items[start..end]});
        if end < items.len() {
            result["nextCursor"] = json!(format!("{}@{member}@{end}", self.name));
        }
        self.cacheable(&mut result);
        self.result(id, result)
    }

    fn cacheable(&self, result: &mut Value) {
        if self.is_modern() {
            result["ttlMs"] = json!(0);
            result["cacheScope"] = json!("public");
        }
    }

    fn read(&self, id: &Value, params: &Value) -> Value {
        let known = self.resources().into_iter().find(|resource| resource["uri"] == params["uri"]);
        let Some(resource) = known else {
            // Unlisted resources may be read, and a server that is left alone gets all names that are
            // none of another; where nothing fails, nobody here asks for one.
            let uri = params["uri"].as_str().unwrap_or_default();
            if self.ledger.borrow().strict {
                self.police(&format!("asked for the resource {uri}, which it never listed"));
            }
            return words::error(id, -32602, "resource not found");
        };
        let name = resource["name"].as_str().unwrap_or_default();
        let text = text_of(&self.name, "read", name);
        let mut result = json!({"contents": [{"uri": resource["uri"], "text": text}]});
        self.cacheable(&mut result);
        self.result(id, result)
    }
}
