//! The ways a client speaks, on the level of bytes: HTTP and lines, to a server itself or to `kern`.
//!
//! Invariant: what is sent and what comes back is never parsed into a tree on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::Era;
use super::harness::http::{Conn, post};
use super::harness::{Kern, PATIENCE};

const GREETING: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const GREETED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// What came back: the messages, the answer last, and the status where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub status: Option<u16>,
    pub messages: Vec<String>,
}

enum Way {
    Http { address: std::net::SocketAddr, path: String, session: Option<String>, conn: Conn },
    Lines { to: Box<dyn Write>, from: Receiver<String>, _child: Option<Ended> },
}

/// A child that is ended with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One client.
pub struct Wire {
    way: Way,
    era: Era,
}

/// The headers a modern request repeats of its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirrored<'a> {
    pub method: &'a str,
    pub name: Option<&'a str>,
    /// Another revision than that of the body.
    pub version: Option<&'a str>,
}

impl Wire {
    pub fn http(address: std::net::SocketAddr, path: &str, era: Era) -> Wire {
        let conn = Conn::tcp(address);
        let way = Way::Http { address, path: path.to_owned(), session: None, conn };
        let mut wire = Wire { way, era };
        if era == Era::Legacy {
            let greeted = wire.respond(GREETING, &[]);
            assert_eq!(greeted.status(), 200, "{greeted:?}");
            let Way::Http { session, .. } = &mut wire.way else { unreachable!() };
            *session = greeted.head.get("mcp-session-id").map(str::to_owned);
            assert_eq!(wire.respond(GREETED, &[]).status(), 202);
        }
        wire
    }

    pub fn unix(kern: &Kern, era: Era) -> Wire {
        let mut socket = None;
        super::harness::eventually("the socket is there", || {
            socket = UnixStream::connect(&kern.unix).ok();
            socket.is_some()
        });
        let socket = socket.unwrap();
        let from = socket.try_clone().unwrap();
        Wire::lines(Box::new(socket), from, None, era)
    }

    pub fn child(program: &str, args: &[&str], era: Era) -> Wire {
        let mut command = Command::new(program);
        let mut child =
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Wire::lines(Box::new(to), from, Some(Ended(child)), era)
    }

    fn lines(
        to: Box<dyn Write>,
        from: impl Read + Send + 'static,
        child: Option<Ended>,
        era: Era,
    ) -> Wire {
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8(line).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut wire = Wire { way: Way::Lines { to, from: receive, _child: child }, era };
        if era == Era::Legacy {
            wire.say(GREETING, Mirrored::default());
            let Way::Lines { to, .. } = &mut wire.way else { unreachable!() };
            to.write_all(format!("{GREETED}\n").as_bytes()).unwrap();
        }
        wire
    }

    pub fn is_http(&self) -> bool {
        matches!(self.way, Way::Http { .. })
    }

    fn respond(&mut self, body: &str, more: &[(&str, &str)]) -> super::harness::http::Response {
        let Way::Http { address, path, session, conn } = &mut self.way else { unreachable!() };
        let mut headers = more.to_vec();
        if let Some(session) = session {
            headers.push(("Mcp-Session-Id", session));
            headers.push(("MCP-Protocol-Version", "2025-11-25"));
        }
        let request = post(path, &headers, body);
        if conn.send(&request)
            && let Some(response) = conn.try_response(PATIENCE)
        {
            return response;
        }
        // A refusal closed the last connection.
        *conn = Conn::tcp(*address);
        assert!(conn.send(&request));
        conn.response()
    }

    /// Sends a request as it is, and waits for its answer.
    pub fn say(&mut self, body: &str, mirrored: Mirrored<'_>) -> Said {
        if self.is_http() {
            let mut headers = Vec::new();
            if self.era == Era::Modern {
                headers.push(("MCP-Protocol-Version", mirrored.version.unwrap_or("2026-07-28")));
                headers.push(("Mcp-Method", mirrored.method));
                headers.extend(mirrored.name.map(|name| ("Mcp-Name", name)));
            }
            return said(&self.respond(body, &headers));
        }
        let Way::Lines { to, from, .. } = &mut self.way else { unreachable!() };
        to.write_all(body.as_bytes()).unwrap();
        to.write_all(b"\n").unwrap();
        to.flush().unwrap();
        let mut messages = Vec::new();
        loop {
            let line = from.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no answer to {body}\nbut {messages:?}"));
            // While servers get ready, kern tells whoever is there.
            if line.contains("list_changed") && !line.contains("\"id\"") {
                continue;
            }
            let goes_on = goes_on(&line);
            messages.push(line);
            if !goes_on {
                return Said { status: None, messages };
            }
        }
    }
}

/// Whether more follows: no answer of these servers names a notification.
fn goes_on(message: &str) -> bool {
    ["notifications/progress", "notifications/message"].iter().any(|it| message.contains(it))
}

fn said(response: &super::harness::http::Response) -> Said {
    let text = String::from_utf8(response.body.clone()).unwrap();
    let kind = response.head.get("content-type").unwrap_or_default();
    let messages = match kind.starts_with("text/event-stream") {
        false => vec![text],
        true => text.split("\n\n").filter_map(data).collect(),
    };
    Said { status: Some(response.status()), messages }
}

/// The data of one event.
fn data(event: &str) -> Option<String> {
    let lines: Vec<&str> =
        event.split('\n').filter_map(|line| line.strip_prefix("data: ")).collect();
    (!lines.is_empty() && lines != [""]).then(|| lines.join("\n"))
}
