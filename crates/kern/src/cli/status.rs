//! What a running `kern` says of itself: `GET /status`.
//!
//! Plain HTTP/1.1 with `Connection: close`, read to its end; bounded in size and time.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use kern_control::Endpoint;
use serde_json::Value;

use super::client_talk::Failure;

/// Longest wait for a connection and for each piece of the answer.
const WAIT: Duration = Duration::from_secs(5);
/// Longest answer, bytes.
const BYTES_MAX: u64 = 16 << 20;

/// What a running `kern` says of itself.
#[derive(Debug)]
pub(super) struct Status {
    /// As it was written.
    pub(super) raw: String,
    /// Version, driver and number of cores, for people.
    pub(super) title: String,
    pub(super) upstreams: Vec<Upstream>,
}

/// One upstream of it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    /// `starting`, `up`, `down` or `builtin`.
    pub(super) state: String,
    pub(super) why: Option<String>,
    pub(super) revision: Option<String>,
    /// Tools, prompts, resources.
    pub(super) counts: [u64; 3],
}

/// Asks at `base`, a URL without a path; `None` where something else than `kern` answers, or TLS
/// is in the way.
pub(super) fn fetch_http(base: &str) -> Result<Option<Status>, Failure> {
    let endpoint = Endpoint::parse(base).map_err(|error| Failure::usage(error.to_string()))?;
    if endpoint.tls {
        return Ok(None);
    }
    let stream = connect(&endpoint).map_err(|error| {
        Failure::other(format!(
            "nothing answers at {base}: {error}\n      start it with `kern serve`, or say where it \
             is with --url"
        ))
    })?;
    let path = endpoint.path.trim_end_matches('/');
    Ok(ask(&stream, &stream, &endpoint.host_header(), path))
}

/// Asks at a Unix socket.
#[cfg(unix)]
pub(super) fn fetch_unix(path: &Path) -> Result<Option<Status>, Failure> {
    let stream = std::os::unix::net::UnixStream::connect(path).map_err(|error| {
        let path = path.display();
        Failure::other(format!(
            "nothing answers at {path}: {error}\n      start it with `kern serve --unix {path}`"
        ))
    })?;
    // A socket without its limits still answers.
    let _ = stream.set_read_timeout(Some(WAIT));
    Ok(ask(&stream, &stream, "localhost", ""))
}

#[cfg(not(unix))]
pub(super) fn fetch_unix(_path: &Path) -> Result<Option<Status>, Failure> {
    Err(Failure::usage("Unix sockets are not available on this system: use --url"))
}

fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let mut last = std::io::ErrorKind::NotFound.into();
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WAIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(WAIT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut write: impl Write, read: impl Read, host: &str, path: &str) -> Option<Status> {
    let request =
        format!("GET {path}/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    write.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    read.take(BYTES_MAX).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    parse(body)
}

fn parse(body: &str) -> Option<Status> {
    let value: Value = serde_json::from_str(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let upstreams = value["upstreams"].as_array()?.iter().filter_map(|upstream| {
        Some(Upstream {
            name: text(&upstream["name"])?,
            state: text(&upstream["state"])?,
            why: text(&upstream["why"]),
            revision: text(&upstream["revision"]),
            counts: ["tools", "prompts", "resources"]
                .map(|kind| upstream[kind].as_u64().unwrap_or_default()),
        })
    });
    let cores = value["cores"].as_u64()?;
    let plural = if cores == 1 { "" } else { "s" };
    let title = format!(
        "kern {}, {cores} core{plural}, {}",
        value["version"].as_str()?,
        value["driver"].as_str()?
    );
    Some(Status { upstreams: upstreams.collect(), title, raw: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_kern_answers_is_taken_for_its_status() {
        let body = r#"{"version":"1.2.3","driver":"portable","cores":2,"upstreams":[{"name":"a","state":"down","why":"gone","tools":0}]}"#;
        let ask = |answer: &str| ask(Vec::new(), answer.as_bytes(), "h", "");
        let status = ask(&format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{body}\n")).expect("a status");
        assert_eq!(
            (status.title.as_str(), status.raw.as_str()),
            ("kern 1.2.3, 2 cores, portable", body)
        );
        let upstream = &status.upstreams[0];
        assert_eq!((upstream.name.as_str(), upstream.why.as_deref()), ("a", Some("gone")));
        for other in [
            "HTTP/1.1 404 Not Found\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "SSH-2.0-x\r\n",
            "",
        ] {
            assert!(ask(other).is_none(), "{other}");
        }
    }
}
