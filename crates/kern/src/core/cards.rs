//! Server cards: what a client may read of an endpoint before it connects.
//!
//! Source: the `io.modelcontextprotocol/server-card` extension (SEP-2127), whose reserved place is
//! the endpoint's URL with `/server-card`, and the catalog of a host's cards at
//! `/.well-known/ai-catalog.json`. Guarded like every other path. Invariants: a card never lists
//! tools, resources or prompts; it holds nothing of an upstream's configuration, only what its
//! server says of itself.

use kern_mcp::http::{Request, encode};
use kern_terms::{Key, Revision};
use serde_json::{Value, json};

use super::{Core, Io, local};

/// The media type of a card.
pub(crate) const CARD_TYPE: &str = "application/mcp-server-card+json";
/// The media type of a catalog of cards.
const CATALOG_TYPE: &str = "application/ai-catalog+json";
const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json";
/// Longest title and description of a card, characters.
const TEXT_CHARS_MAX: usize = 100;
/// Longest version, bytes.
const VERSION_BYTES_MAX: usize = 255;
/// How long a card may be kept, and who may read it: browsers of allowed origins too.
const CARD_HEADERS: [(&str, &[u8]); 5] = [
    ("cache-control", b"public, max-age=3600"),
    ("access-control-allow-origin", b"*"),
    ("access-control-allow-methods", b"GET"),
    ("access-control-allow-headers", b"Content-Type, If-None-Match"),
    ("access-control-expose-headers", b"ETag"),
];

impl Core {
    /// Answers with the card of one upstream, or of the endpoint of all.
    pub(super) fn card(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        name: Option<&str>,
    ) {
        if name.is_some_and(|name| self.endpoint(name).is_none()) {
            return self.deny(io, key, 404, "there is no upstream of this name");
        }
        let host = request.headers.host.unwrap_or("localhost");
        let card = self.write_card(host, name);
        self.respond_card(io, key, request, CARD_TYPE, &card);
    }

    /// Answers with the catalog of all cards here.
    pub(super) fn card_catalog(&mut self, io: &mut Io, key: Key, request: &Request<'_>) {
        let host = request.headers.host.unwrap_or("localhost");
        let publisher = host_name(host);
        let mut names: Vec<_> = self.names.keys().map(|name| Some(&**name)).collect();
        names.sort();
        names.insert(0, None);
        let entries: Vec<Value> = names
            .into_iter()
            .map(|name| {
                json!({
                    "identifier": format!("urn:air:{publisher}:mcp:{}", name.unwrap_or("kern")),
                    "type": CARD_TYPE,
                    "url": format!("{}/server-card", endpoint_url(host, name)),
                })
            })
            .collect();
        let catalog = json!({ "specVersion": "1.0", "entries": entries });
        self.respond_card(io, key, request, CATALOG_TYPE, &catalog);
    }

    fn respond_card(
        &mut self,
        io: &mut Io,
        key: Key,
        request: &Request<'_>,
        kind: &str,
        document: &Value,
    ) {
        let body = document.to_string();
        let tag = format!("\"{:016x}\"", fnv(body.as_bytes()));
        let known = request.headers.get("if-none-match").unwrap_or_default();
        let unchanged = known.split(|byte| *byte == b',').any(|one| {
            let one = one.trim_ascii();
            one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag.as_bytes()
        });
        let mut headers = vec![("etag", tag.as_bytes())];
        headers.extend(CARD_HEADERS);
        self.respond(io, key, |out, keep_alive| match unchanged {
            true => encode::empty_response(out, 304, &headers, keep_alive),
            false => {
                encode::response(out, 200, kind, &headers, keep_alive, &[body.as_bytes()]);
            }
        });
    }

    fn write_card(&self, host: &str, name: Option<&str>) -> Value {
        let view = name.and_then(|name| self.catalog.one(name));
        let lists = view.and_then(|view| view.upstreams().next());
        let raw: &[u8] = lists.map_or(local::INFO.as_bytes(), |lists| &lists.server_info);
        let info: Value = serde_json::from_slice(raw).unwrap_or_default();
        let text = |key: &str| info[key].as_str().filter(|text| !text.is_empty());
        let version = text("version").filter(|version| version.len() <= VERSION_BYTES_MAX);
        let title = text("title").or(text("name")).or(name).unwrap_or("kern");
        let about = match name {
            None => "Every MCP server behind this gateway, at one endpoint".to_owned(),
            Some(name) => text("description")
                .map_or_else(|| format!("The MCP server {name}, through a gateway"), str::to_owned),
        };
        let url = endpoint_url(host, name);
        let sse = match name {
            None => format!("http://{host}/sse"),
            Some(name) => format!("http://{host}/sse/{name}"),
        };
        let versions: Vec<&str> = Revision::ALL.iter().map(|it| it.as_str()).collect();
        let mut card = json!({
            "$schema": SCHEMA,
            "name": format!("{}/{}", namespace(host), name.unwrap_or("kern")),
            "version": version.unwrap_or(env!("CARGO_PKG_VERSION")),
            "title": shorten(title),
            "description": shorten(&about),
            "remotes": [
                { "type": "streamable-http", "url": url, "supportedProtocolVersions": versions },
                { "type": "sse", "url": sse, "supportedProtocolVersions": ["2024-11-05"] },
            ],
        });
        for key in ["icons", "websiteUrl"] {
            if let Some(value) = info.get(key) {
                card[key] = value.clone();
            }
        }
        card
    }
}

fn endpoint_url(host: &str, name: Option<&str>) -> String {
    match name {
        None => format!("http://{host}/mcp"),
        Some(name) => format!("http://{host}/mcp/{name}"),
    }
}

/// The host without its port, as far as identifiers allow its characters.
fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let kept: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    if kept.is_empty() { "localhost".to_owned() } else { kept }
}

/// A host's name with its labels reversed, as a card's name begins; addresses stay as they are.
fn namespace(host: &str) -> String {
    let name = host_name(host);
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return name;
    }
    name.split('.').rev().collect::<Vec<_>>().join(".")
}

fn shorten(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// FNV-1a: tells versions of a document apart, nothing more.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_named_after_its_host_in_reverse() {
        for (host, expected) in [
            ("tools.example.com", "com.example.tools"),
            ("tools.example.com:8080", "com.example.tools"),
            ("localhost:7331", "localhost"),
            ("127.0.0.1:7331", "127.0.0.1"),
            ("[::1]:7331", "--1"),
            ("", "localhost"),
        ] {
            assert_eq!(namespace(host), expected, "{host}");
        }
    }
}
