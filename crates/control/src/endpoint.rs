//! Which host, port and path does a URL name?
//!
//! Source: RFC 3986, narrowed to what an MCP server's address can be. Invariant: every part of an
//! [`Endpoint`] can be written into an HTTP/1.1 head as it is.

use std::fmt;

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 8 << 10;

/// The address of an HTTP server.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Name or address, lower case, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, as they stand in a request line; starts with `/`. May hold a secret.
    pub path: String,
}

/// Why text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// `user:password@`.
    Credentials,
    /// Empty or with characters no host has.
    Host,
    /// No number from 1 to 65535.
    Port,
    /// A space or a control character.
    Character,
    /// Longer than 8 KiB.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL starts with `http://` or `https://`",
            Self::Credentials => "a URL may not hold a user or password; use a header",
            Self::Host => "the URL names no valid host (write names in ASCII)",
            Self::Port => "the URL's port is no number from 1 to 65535",
            Self::Character => "the URL holds a space or a control character",
            Self::TooLong => "the URL is longer than 8 KiB",
        })
    }
}

impl Endpoint {
    /// Reads a URL. A fragment is dropped; characters beyond ASCII in the path are
    /// percent-encoded.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if url.chars().any(|c| c == ' ' || c.is_control()) {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?
            }
            Some(_) => return Err(UrlError::Port),
        };
        Ok(Self { tls, host, port, path: request_path(path) })
    }

    /// The value of the `Host` header.
    pub fn host_header(&self) -> String {
        let host = self.bracketed();
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// `scheme://host[:port]`, which holds no secret.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.host_header())
    }

    /// Whether the host is this machine by name or address.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path);
        write!(f, "Endpoint({}{path})", self.origin())
    }
}

/// Whether `host` (lower case, no brackets) is this machine by name or address.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let named = host == "localhost" || host.ends_with(".localhost");
    named || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Splits `host:port`; the host comes back in lower case, without brackets.
fn split_port(authority: &str) -> Result<(String, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address = host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or(UrlError::Host)?),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
        return Err(UrlError::Host);
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// Path and query as they stand in a request line.
fn request_path(text: &str) -> String {
    let text = text.split_once('#').map_or(text, |(path, _)| path);
    let mut path = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        path.push('/');
    }
    for byte in text.bytes() {
        if byte.is_ascii() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reaches_the_host_it_names_or_is_refused() {
        type Expected = Result<(&'static str, &'static str), UrlError>;
        let cases: &[(&str, Expected)] = &[
            ("https://A.example/mcp?k=v#f", Ok(("https://a.example", "/mcp?k=v"))),
            ("http://localhost:8000", Ok(("http://localhost:8000", "/"))),
            ("http://[::1]:80/x", Ok(("http://[::1]", "/x"))),
            ("https://h:443?q", Ok(("https://h", "/?q"))),
            ("https://h/é", Ok(("https://h", "/%C3%A9"))),
            ("ws://h", Err(UrlError::Scheme)),
            ("h/mcp", Err(UrlError::Scheme)),
            ("http://", Err(UrlError::Host)),
            ("http://u:p@h/", Err(UrlError::Credentials)),
            ("http://h:0/", Err(UrlError::Port)),
            ("http://h:65536/", Err(UrlError::Port)),
            ("http://h:+1/", Err(UrlError::Port)),
            ("http://[::1/", Err(UrlError::Host)),
            ("http://ex\u{e4}mple/", Err(UrlError::Host)),
            ("http://h/a\r\nX: y", Err(UrlError::Character)),
            ("http://h/a b", Err(UrlError::Character)),
        ];
        for (url, expected) in cases {
            let found = Endpoint::parse(url);
            let shown = found.as_ref().map(|end| (end.origin(), end.path.clone()));
            let wanted = expected.map(|(origin, path)| (origin.to_owned(), path.to_owned()));
            assert_eq!(shown.map_err(|error| *error), wanted, "{url}");
        }
    }

    #[test]
    fn a_key_in_the_query_is_not_printed() {
        let endpoint = Endpoint::parse("https://h/mcp?key=s3cret").expect("valid");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(https://h/mcp)");
    }
}
