//! What is a link handed, and what does it tell and ask?
//!
//! The server is a script: a test reads what the link sent and hands back bytes.

use std::sync::Arc;
use std::time::Duration;

use kern_terms::{Instant, Key};
use kern_upstream::http::{
    Ended, Happening, HttpLink, HttpTarget, LinkError, LinkLimits, Post, Wire,
};

pub(crate) const LIMITS: LinkLimits = LinkLimits {
    connections_max: 2,
    queue_max: 2,
    body_bytes_max: 64,
    parts_from_bytes: 20,
    parts_bytes_max: 200,
    idle_close: Duration::from_secs(4),
};

/// What the link asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    Connect(u32),
    Send(u32, String),
    Close(u32),
    Abort(u32),
    Read(u32, bool),
}

#[derive(Default)]
pub(crate) struct Script {
    streams: u32,
    asked: Vec<Asked>,
}

impl Wire for Script {
    fn connect(&mut self) -> Key {
        self.streams += 1;
        self.asked.push(Asked::Connect(self.streams));
        stream(self.streams)
    }

    fn send(&mut self, stream: Key, parts: &[&[u8]]) {
        let text = String::from_utf8(parts.concat()).expect("tests send text");
        let body = text.split("\r\n\r\n").nth(1).expect("a whole head").to_owned();
        self.asked.push(Asked::Send(stream.slot, body));
    }

    fn close(&mut self, stream: Key) {
        self.asked.push(Asked::Close(stream.slot));
    }

    fn abort(&mut self, stream: Key) {
        self.asked.push(Asked::Abort(stream.slot));
    }

    fn read(&mut self, stream: Key, on: bool) {
        self.asked.push(Asked::Read(stream.slot, on));
    }
}

pub(crate) fn stream(number: u32) -> Key {
    Key { slot: number, generation: 0 }
}

/// A link with its script, its clock and what it told.
pub(crate) struct Rig {
    pub(crate) link: HttpLink,
    pub(crate) wire: Script,
    pub(crate) now: Instant,
    told: Vec<String>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let target = HttpTarget {
            tls: false,
            host: "h".to_owned(),
            port: 80,
            path: "/mcp".to_owned(),
            headers: Vec::new(),
        };
        Self {
            link: HttpLink::new(Arc::new(target), LIMITS),
            wire: Script::default(),
            now: Instant::ZERO,
            told: Vec::new(),
        }
    }

    pub(crate) fn post(&mut self, tag: u64, replayable: bool) -> Result<Key, LinkError> {
        let body = format!("m{tag}");
        let post = Post { path: None, headers: &[], body: &[body.as_bytes()], replayable, tag };
        self.link.post(&mut self.wire, self.now, post)
    }

    pub(crate) fn connected(&mut self, number: u32) {
        self.link.connected(&mut self.wire, self.now, stream(number));
    }

    pub(crate) fn received(&mut self, number: u32, chunk: &str) {
        let mut out = Vec::new();
        let chunk = chunk.as_bytes();
        self.link.received(&mut self.wire, self.now, stream(number), chunk, &mut out);
        self.told.extend(out.iter().map(|happening| show(happening, chunk)));
    }

    pub(crate) fn finished(&mut self, number: u32) {
        let mut out = Vec::new();
        self.link.finished(&mut self.wire, self.now, stream(number), &mut out);
        self.told.extend(out.iter().map(|happening| show(happening, b"")));
    }

    pub(crate) fn closed(&mut self, number: u32) {
        let mut out = Vec::new();
        let why = "reset".to_owned();
        self.link.closed(&mut self.wire, self.now, stream(number), why, &mut out);
        self.told.extend(out.iter().map(|happening| show(happening, b"")));
    }

    pub(crate) fn tick(&mut self, after: Duration) {
        self.now = self.now + after;
        self.link.tick(&mut self.wire, self.now, &mut Vec::new());
    }

    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    pub(crate) fn asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.wire.asked)
    }
}

pub(crate) fn show(happening: &Happening, chunk: &[u8]) -> String {
    match happening {
        Happening::Head { tag, status, session_id, event_stream, .. } => {
            let id = session_id.as_ref().map(|id| String::from_utf8_lossy(id).into_owned());
            let stream = if *event_stream { " stream" } else { "" };
            format!(
                "{tag} head {status}{}{stream}",
                id.map_or(String::new(), |id| format!(" {id}"))
            )
        }
        Happening::Message { tag, body, event, id, retry_ms, .. } => {
            let mut shown = format!("{tag} says {}", String::from_utf8_lossy(body.bytes(chunk)));
            for part in [event, id].into_iter().flatten() {
                shown += &format!(" {part}");
            }
            shown + &retry_ms.map_or(String::new(), |ms| format!(" {ms}ms"))
        }
        Happening::Part { tag, body, last, id, retry_ms, .. } => {
            let last = if *last { format!(" last {id:?} {retry_ms:?}") } else { String::new() };
            format!("{tag} part {}{last}", String::from_utf8_lossy(body.bytes(chunk)))
        }
        Happening::Ended { tag, how, .. } => match how {
            Ended::Complete { status } => format!("{tag} complete {status}"),
            Ended::Refused { status, body, www_authenticate, retry_after_s } => format!(
                "{tag} refused {status} {} {www_authenticate:?} {retry_after_s:?}",
                String::from_utf8_lossy(body)
            ),
            Ended::Failed { why, sent } => format!("{tag} failed sent={sent}: {why}"),
        },
    }
}

pub(crate) const JSON: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
pub(crate) const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
pub(crate) const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What one posted message comes to when the server sends `answer` and closes in order.
pub(crate) fn answered(answer: &str, step: usize) -> Vec<String> {
    let mut rig = Rig::new();
    rig.post(1, false).expect("an empty queue");
    rig.connected(1);
    for piece in answer.as_bytes().chunks(step) {
        rig.received(1, std::str::from_utf8(piece).expect("tests send ASCII"));
    }
    rig.finished(1);
    assert_eq!(rig.link.open_exchanges(), 0, "every exchange ends");
    assert_eq!(rig.link.open_connections(), 0);
    rig.told()
}
