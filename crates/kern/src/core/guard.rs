//! Which web pages and names may reach the gateway.
//!
//! Source: 2025-11-25 and 2026-07-28 basic/transports, security warning: a page in a browser must
//! not be able to talk to a server on the user's machine (DNS rebinding). `Origin`, when present,
//! must be the machine itself or be configured; `Host` must be a name of this machine, an address,
//! or be configured.

use std::net::IpAddr;

/// Whether a page of `origin` may send requests.
pub(super) fn origin_allowed(origin: &str, allowed: &[String]) -> bool {
    let origin = origin.to_ascii_lowercase();
    if allowed.contains(&origin) {
        return true;
    }
    let Some(authority) =
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    is_loopback(host_of(authority))
}

/// Whether `host` (with or without port) may be the name the client used. `public` when the
/// gateway listens beyond loopback: then addresses are fine too, since rebinding needs a name.
pub(super) fn host_allowed(host: &str, allowed: &[String], public: bool) -> bool {
    let name = host_of(host);
    is_loopback(name)
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
        || (public && bare(name).parse::<IpAddr>().is_ok())
}

fn host_of(authority: &str) -> &str {
    let last = |wanted| authority.bytes().rposition(|byte| byte == wanted);
    match (last(b']'), last(b':')) {
        (Some(end), _) => &authority[..=end],
        (None, Some(end)) => &authority[..end],
        (None, None) => authority,
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// `name` in any case: the machine itself.
fn is_loopback(name: &str) -> bool {
    const BELOW: &[u8] = b".localhost";
    let last = name.len().checked_sub(BELOW.len()).map(|at| &name.as_bytes()[at..]);
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || last.is_some_and(|last| last.eq_ignore_ascii_case(BELOW))
        || bare(name).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_elsewhere_cannot_reach_the_users_machine() {
        let allowed = ["https://app.example".to_owned()];
        for (origin, expected) in [
            ("http://localhost:6274", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("https://app.example", true),
            ("HTTPS://APP.EXAMPLE", true),
            ("https://app.example.evil", false),
            ("http://localhost.evil", false),
            ("http://127.0.0.1.evil", false),
            ("null", false),
            ("file://", false),
            ("", false),
        ] {
            assert_eq!(origin_allowed(origin, &allowed), expected, "{origin}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let allowed = ["kern.example".to_owned()];
        for (host, public, expected) in [
            ("localhost:7331", false, true),
            ("127.0.0.1", false, true),
            ("[::1]:7331", false, true),
            ("kern.example:7331", false, true),
            ("evil.example", false, false),
            ("192.0.2.7:7331", false, false),
            ("192.0.2.7:7331", true, true),
            ("evil.example", true, false),
            ("127.0.0.1@evil.example", false, false),
        ] {
            assert_eq!(host_allowed(host, &allowed, public), expected, "{host}");
        }
    }
}
