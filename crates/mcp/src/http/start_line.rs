//! What does a request line ask for, and of which host?
//!
//! Invariants: a target handed out starts with `/` or is `*` (only with OPTIONS), or belongs to a
//! CONNECT, which callers refuse; it is ASCII without a fragment. When a request names its host
//! twice (absolute target and Host header), both agree.

use super::error::HttpError;
use super::head::table;

/// The methods this gateway tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// HEAD
    Head,
    /// Any other token; answer 405.
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(super) fn of(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "HEAD" => Self::Head,
            _ => Self::Other,
        }
    }
}

/// A request target taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Where path and query begin in the raw target.
    pub(super) path_start: usize,
    /// 0 for an absolute-form target without a path, which stands for `/`.
    pub(super) path_len: usize,
    /// The authority of an absolute-form target.
    pub(super) authority: Option<&'a str>,
}

/// Reads the four forms of RFC 9112 section 3.2.
pub(super) fn target<'a>(method: &str, raw: &'a str) -> Result<Target<'a>, HttpError> {
    const MALFORMED: HttpError = HttpError::closing(400, "malformed request target");
    if !raw.is_ascii() || raw.contains('#') {
        return Err(MALFORMED);
    }
    if raw.starts_with('/') || method == "CONNECT" || (raw == "*" && method == "OPTIONS") {
        return Ok(Target { path_start: 0, path_len: raw.len(), authority: None });
    }
    let rest = strip_scheme(raw, "http://").or_else(|| strip_scheme(raw, "https://"));
    let rest = rest.ok_or(MALFORMED)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !is_host(authority.as_bytes()) || path.starts_with('?') {
        return Err(MALFORMED);
    }
    let path_start = raw.len() - path.len();
    Ok(Target { path_start, path_len: path.len(), authority: Some(authority) })
}

fn strip_scheme<'a>(raw: &'a str, scheme: &str) -> Option<&'a str> {
    let (have, rest) = raw.split_at_checked(scheme.len())?;
    have.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether `value` can be `uri-host [":" port]` (RFC 9110 section 7.2): no userinfo, no path.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    const NAME: [bool; 256] = table(b"-._~!$&'()*+;=%");
    const ADDRESS: [bool; 256] = table(b":.");
    let (allowed, start) = if bytes.first() == Some(&b'[') { (&ADDRESS, 1) } else { (&NAME, 0) };
    let length = bytes[start..].iter().take_while(|byte| allowed[usize::from(**byte)]).count();
    let rest = match (start, &bytes[start + length..]) {
        (1, [b']', rest @ ..]) => rest,
        (0, rest) => rest,
        _ => return false,
    };
    let port_is_good = match rest {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    length > 0 && port_is_good
}

/// Tells an HTTP version we do not speak (505) from a request line that has none (400).
pub(super) fn version_fault(head: &[u8]) -> HttpError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(b"");
    let version = line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or(b"");
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HttpError::closing(505, "HTTP version not supported")
        }
        _ => HttpError::closing(400, "malformed HTTP version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_two_readers_could_split_differently_is_no_host() {
        for good in ["a", "a.example", "a:1", "127.0.0.1:8080", "[::1]", "[::1]:80", "a:", "%41"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "u@a", "a/b", "[]", "[::1]x", "[g h]", "[::1]:x", "a,b", "a:b",
            "a:1:2", "::1", "[::1", "[]x", "x[]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
