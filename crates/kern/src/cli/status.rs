//! What a running `kern` says of itself: `GET /status`.
//!
//! Where something else than `kern` answers there is no status, and no error either.

use std::path::Path;

use kern_control::Endpoint;
use serde_json::Value;

use super::client_talk::Failure;
use super::fetch::{self, Document, Fault};

const ACCEPT: &str = "application/json";

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

/// Asks at `base`, a URL without a path; `None` where something else than `kern` answers.
pub(super) fn fetch_http(base: &str) -> Result<Option<Status>, Failure> {
    let endpoint = Endpoint::parse(base).map_err(|error| Failure::usage(error.to_string()))?;
    let path = format!("{}/status", endpoint.path.trim_end_matches('/'));
    match fetch::get(&endpoint, &path, ACCEPT) {
        Ok(document) => Ok(read(&document)),
        Err(Fault::Answer(_)) => Ok(None),
        Err(Fault::Connect(why)) => Err(Failure::other(format!(
            "nothing answers at {base}: {why}\n      start it with `kern serve`, or say where it \
             is with --url"
        ))),
    }
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
    let _ = stream.set_read_timeout(Some(fetch::WAIT));
    let document = fetch::ask(stream, "localhost", "/status", ACCEPT);
    Ok(document.ok().as_ref().and_then(read))
}

#[cfg(not(unix))]
pub(super) fn fetch_unix(_path: &Path) -> Result<Option<Status>, Failure> {
    Err(Failure::usage("Unix sockets are not available on this system: use --url"))
}

fn read(document: &Document) -> Option<Status> {
    let body = std::str::from_utf8(&document.body).ok()?;
    (document.status == 200).then(|| parse(body)).flatten()
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
        let ask =
            |status: u16, body: &str| read(&Document { status, body: body.as_bytes().to_vec() });
        let status = ask(200, &format!("{body}\n")).expect("a status");
        assert_eq!(
            (status.title.as_str(), status.raw.as_str()),
            ("kern 1.2.3, 2 cores, portable", body)
        );
        let upstream = &status.upstreams[0];
        assert_eq!((upstream.name.as_str(), upstream.why.as_deref()), ("a", Some("gone")));
        for (status, other) in [(404, body), (200, "{}"), (200, "<html>"), (200, "")] {
            assert!(ask(status, other).is_none(), "{other}");
        }
    }
}
