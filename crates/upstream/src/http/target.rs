//! Which server does a link talk to, and what does every request to it say?
//!
//! Invariants: what is the same in every request is written once. A header of the call wins over
//! the configured one of the same name. Values may be secrets: they are never shown.

use kern_mcp::http::encode::{HeaderLines, RequestHead};

/// A server behind a URL, as configured.
pub struct HttpTarget {
    /// `https`.
    pub tls: bool,
    /// Host name or address; an IPv6 address with or without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path with query.
    pub path: String,
    /// Configured headers, references to secrets resolved.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpTarget")
            .field("tls", &self.tls)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("path", &self.path.split('?').next().unwrap_or(""))
            .field("headers", &names)
            .finish()
    }
}

/// What this link asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Post,
    Stream,
    Delete,
}

/// The target's share of every request head.
pub(super) struct Prepared {
    host: String,
    lines: HeaderLines,
    own: HeaderLines,
    /// All of a POST's head that a call does not change.
    post: Vec<u8>,
}

impl std::fmt::Debug for Prepared {
    /// Values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("host", &self.host).finish_non_exhaustive()
    }
}

const USER_AGENT: &str = concat!("kern/", env!("CARGO_PKG_VERSION"));

impl Prepared {
    pub(super) fn new(target: &HttpTarget) -> Self {
        let mut own = HeaderLines::default();
        if !has(target, "user-agent") {
            own.push("user-agent", USER_AGENT.as_bytes());
        }
        let mut lines = own.clone();
        for (name, value) in &target.headers {
            lines.push(name, value);
        }
        let mut prepared = Self { host: host_header(target), lines, own, post: Vec::new() };
        let mut post = Vec::new();
        prepared.write(&mut post, target, Verb::Post, None, &[]);
        prepared.post = post;
        prepared
    }

    /// Appends the head of a request.
    pub(super) fn head(
        &self,
        out: &mut Vec<u8>,
        target: &HttpTarget,
        verb: Verb,
        path: Option<&str>,
        headers: &[(&str, &[u8])],
        body_bytes: usize,
    ) {
        let changes = |name: &str| {
            let default = ["accept", "content-type"].iter();
            let configured = target.headers.iter().map(|(name, _)| name.as_str());
            default.copied().chain(configured).any(|other| name.eq_ignore_ascii_case(other))
        };
        let mut head = match verb {
            Verb::Post if path.is_none() && !headers.iter().any(|(name, _)| changes(name)) => {
                out.extend_from_slice(&self.post);
                RequestHead::resume(out)
            }
            _ => self.write(out, target, verb, path, headers),
        };
        for (name, value) in headers {
            head.header(name, value);
        }
        head.finish((verb == Verb::Post).then_some(body_bytes as u64));
    }

    /// Appends a head up to the headers of the call.
    fn write<'o>(
        &self,
        out: &'o mut Vec<u8>,
        target: &HttpTarget,
        verb: Verb,
        path: Option<&str>,
        headers: &[(&str, &[u8])],
    ) -> RequestHead<'o> {
        let method = match verb {
            Verb::Post => "POST",
            Verb::Stream => "GET",
            Verb::Delete => "DELETE",
        };
        let path = path.unwrap_or(&target.path);
        // A server names the path for later requests itself; it cannot name another host here.
        let rooted;
        let path = if path.starts_with('/') {
            path
        } else {
            rooted = format!("/{path}");
            &rooted
        };
        let mut head = RequestHead::start(out, method, path, &self.host);
        let named = |name: &str| headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name));
        if target.headers.iter().any(|(name, _)| named(name)) {
            head.lines(&self.own);
            for (name, value) in target.headers.iter().filter(|(name, _)| !named(name)) {
                head.header(name, value);
            }
        } else {
            head.lines(&self.lines);
        }
        let mut default = |name: &str, value: &[u8]| {
            if !named(name) && !has(target, name) {
                head.header(name, value);
            }
        };
        match verb {
            Verb::Post => {
                default("accept", b"application/json, text/event-stream");
                default("content-type", b"application/json");
            }
            Verb::Stream => default("accept", b"text/event-stream"),
            Verb::Delete => {}
        }
        head
    }
}

fn has(target: &HttpTarget, name: &str) -> bool {
    target.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
}

/// The configured Host, else host and port, the port left out where it is the scheme's own.
fn host_header(target: &HttpTarget) -> String {
    let configured = target.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some((_, value)) = configured {
        return String::from_utf8_lossy(value).into_owned();
    }
    let bare_v6 = target.host.contains(':') && !target.host.starts_with('[');
    let host = if bare_v6 { format!("[{}]", target.host) } else { target.host.clone() };
    let default_port = if target.tls { 443 } else { 80 };
    if target.port == default_port { host } else { format!("{host}:{}", target.port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16, headers: &[(&str, &str)]) -> HttpTarget {
        HttpTarget {
            tls: false,
            host: host.to_owned(),
            port,
            path: "/mcp?key=secret".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn head(target: &HttpTarget, verb: Verb, headers: &[(&str, &[u8])]) -> String {
        let mut out = Vec::new();
        Prepared::new(target).head(&mut out, target, verb, None, headers, 2);
        String::from_utf8(out).unwrap().replace(USER_AGENT, "kern")
    }

    #[test]
    fn a_request_says_what_the_server_needs_to_hear() {
        assert_eq!(
            head(&target("h", 8080, &[("x", "y")]), Verb::Post, &[("mcp-name", b"echo")]),
            "POST /mcp?key=secret HTTP/1.1\r\nhost: h:8080\r\nuser-agent: kern\r\nx: y\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             mcp-name: echo\r\ncontent-length: 2\r\n\r\n"
        );
        assert_eq!(
            head(&target("::1", 80, &[]), Verb::Stream, &[]),
            "GET /mcp?key=secret HTTP/1.1\r\nhost: [::1]\r\nuser-agent: kern\r\n\
             accept: text/event-stream\r\n\r\n"
        );
        assert_eq!(
            head(&target("h", 80, &[]), Verb::Delete, &[("mcp-session-id", b"s")]),
            "DELETE /mcp?key=secret HTTP/1.1\r\nhost: h\r\nuser-agent: kern\r\n\
             mcp-session-id: s\r\n\r\n"
        );
    }

    #[test]
    fn no_header_is_sent_twice() {
        let configured = [
            ("Authorization", "a"),
            ("X", "y"),
            ("ACCEPT", "z"),
            ("Host", "v"),
            ("User-Agent", "u"),
        ];
        assert_eq!(
            head(&target("h", 80, &configured), Verb::Stream, &[("authorization", b"b")]),
            "GET /mcp?key=secret HTTP/1.1\r\nhost: v\r\nX: y\r\nACCEPT: z\r\nUser-Agent: u\r\n\
             authorization: b\r\n\r\n"
        );
    }

    #[test]
    fn secrets_stay_out_of_logs() {
        let target = target("h", 80, &[("authorization", "hush")]);
        let shown = format!("{target:?} {:?}", Prepared::new(&target));
        assert!(!shown.contains("hush") && !shown.contains("secret"), "{shown}");
    }
}
