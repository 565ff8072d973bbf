//! The words all simulated peers share: how they name things, and how JSON-RPC is put together.
//!
//! A server called `s` offers tools described as `sim:s:<tool>`; what a call to it answers is
//! `s|<tool>|<payload>`. So a client that only knows a listed description can tell whether the right
//! server answered the right question, whatever the gateway did to the names.

use serde_json::{Value, json};

pub const MODERN: &str = "2026-07-28";

/// Revisions peers of the old era speak.
pub const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

const META: &str = "io.modelcontextprotocol/";

pub fn meta_key(name: &str) -> String {
    format!("{META}{name}")
}

pub fn request(id: &Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub fn result(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

pub fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

/// What a server answers to a call.
pub fn text_of(server: &str, tool: &str, payload: &str) -> String {
    format!("{server}|{tool}|{payload}")
}

/// Takes `sim:<server>:<thing>` apart.
pub fn origin(description: &str) -> Option<(String, String)> {
    let (server, thing) = description.strip_prefix("sim:")?.split_once(':')?;
    Some((server.to_owned(), thing.to_owned()))
}

/// The JSON text of an id.
pub fn id_text(id: &Value) -> String {
    id.to_string()
}

pub fn line(message: &Value) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Cuts lines out of a stream; each byte is looked at once.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.line.extend_from_slice(&rest[..at]);
            lines.push(std::mem::take(&mut self.line));
            rest = &rest[at + 1..];
        }
        self.line.extend_from_slice(rest);
        lines
    }
}
