//! How a recorded client is played: the same headers and bytes, over the transport it used.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};

use super::corpus::Headers;
use super::harness::http::{Conn, bare};
use super::harness::{Kern, PATIENCE, eventually};

/// One client's way into `kern`.
pub enum Channel {
    Http {
        kern: std::net::SocketAddr,
        path: String,
        session: String,
        open: Option<Conn>,
        streams: bool,
    },
    Sse {
        kern: std::net::SocketAddr,
        path: String,
        stream: Box<Conn>,
    },
    Lines {
        to: UnixStream,
        from: Receiver<String>,
    },
}

impl Channel {
    pub fn http(kern: &Kern, path: &str) -> Channel {
        let (kern, path) = (kern.address(), path.to_owned());
        Channel::Http { kern, path, session: String::new(), open: None, streams: false }
    }

    pub fn sse(kern: &Kern, path: &str) -> Channel {
        let kern = kern.address();
        let mut stream = Conn::tcp(kern);
        assert!(stream.send(bare("GET", path, &[("Accept", "text/event-stream")])));
        assert_eq!(stream.head(PATIENCE).unwrap().status, 200);
        let path = stream.event(PATIENCE).expect("where to send messages").data;
        Channel::Sse { kern, path, stream: Box::new(stream) }
    }

    pub fn lines(kern: &Kern) -> Channel {
        let mut socket = None;
        eventually("the socket is there", || {
            socket = UnixStream::connect(&kern.unix).ok();
            socket.is_some()
        });
        let to = socket.unwrap();
        let (tell, from) = channel();
        let read = to.try_clone().unwrap();
        std::thread::spawn(move || {
            let lines = BufReader::new(read).lines().map_while(Result::ok);
            let _ = lines.map(|line| tell.send(line)).take_while(Result::is_ok).count();
        });
        Channel::Lines { to, from }
    }

    fn request(&self, method: &str, headers: &Headers, body: Option<&str>) -> Vec<u8> {
        let (path, session) = match self {
            Channel::Http { path, session, .. } => (path, session.as_str()),
            Channel::Sse { path, .. } => (path, ""),
            Channel::Lines { .. } => unreachable!("lines have no requests"),
        };
        let mut headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| match value.as_str() {
                "@SESSION@" => (name.as_str(), session),
                value => (name.as_str(), value),
            })
            .collect();
        // Where the server itself opened none; a client repeats what it is given.
        if !session.is_empty() && !headers.iter().any(|(_, value)| *value == session) {
            headers.push(("mcp-session-id", session));
        }
        let mut request = String::from_utf8(bare(method, path, &headers)).unwrap();
        if let Some(body) = body {
            request.truncate(request.len() - 2);
            request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        }
        request.into_bytes()
    }

    /// Sends a request whose answer [`Channel::next`] will bring.
    pub fn say(&mut self, headers: &Headers, body: &str) {
        if !matches!(self, Channel::Http { .. }) {
            let status = self.tell(headers, body);
            return assert!(status.is_none_or(|status| status == 202), "{status:?} to {body}");
        }
        let request = self.request("POST", headers, Some(body));
        let Channel::Http { kern, open, .. } = self else { unreachable!() };
        let mut conn = Conn::tcp(*kern);
        assert!(conn.send(request));
        *open = Some(conn);
    }

    /// Sends a message that has no answer; the status it got.
    pub fn tell(&mut self, headers: &Headers, body: &str) -> Option<u64> {
        if let Channel::Lines { to, .. } = self {
            to.write_all(format!("{body}\n").as_bytes()).unwrap();
            return None;
        }
        Some(self.bare_status("POST", headers, Some(body)))
    }

    /// Sends a request without a message; the status it got.
    pub fn bare(&self, method: &str, headers: &Headers) -> u64 {
        self.bare_status(method, headers, None)
    }

    fn bare_status(&self, method: &str, headers: &Headers, body: Option<&str>) -> u64 {
        let (Channel::Http { kern, .. } | Channel::Sse { kern, .. }) = self else { unreachable!() };
        let mut conn = Conn::tcp(*kern);
        assert!(conn.send(self.request(method, headers, body)));
        u64::from(conn.head(PATIENCE).expect("a status").status)
    }

    /// The next message, and the status where it came with one of its own.
    pub fn next(&mut self) -> (Option<u64>, String) {
        loop {
            let (status, message) = self.any();
            // While servers get ready, kern tells whoever is there.
            if !message.contains("/list_changed\"") {
                return (status, message);
            }
        }
    }

    fn any(&mut self) -> (Option<u64>, String) {
        match self {
            Channel::Lines { from, .. } => (None, from.recv_timeout(PATIENCE).expect("a line")),
            Channel::Sse { stream, .. } => (None, stream.event(PATIENCE).expect("an event").data),
            Channel::Http { open, session, streams, .. } => {
                let conn = open.as_mut().expect("something was asked");
                if !*streams {
                    let head = conn.head(PATIENCE).expect("an answer");
                    if let Some(new) = head.get("mcp-session-id") {
                        *session = new.to_owned();
                    }
                    let kind = head.get("content-type").unwrap_or_default();
                    if !kind.starts_with("text/event-stream") {
                        let body = conn.body(&head, PATIENCE).expect("a body");
                        return (Some(u64::from(head.status)), String::from_utf8(body).unwrap());
                    }
                    *streams = true;
                }
                loop {
                    let event = conn.event(PATIENCE).expect("an event");
                    // The first one may only say from where the stream can be resumed.
                    if !event.data.is_empty() {
                        return (None, event.data);
                    }
                }
            }
        }
    }

    /// After an answer.
    pub fn done(&mut self) {
        if let Channel::Http { open, streams, .. } = self {
            if *streams {
                let more = open.as_mut().and_then(|conn| conn.event(PATIENCE));
                assert_eq!(more, None, "nothing follows an answer");
            }
            (*open, *streams) = (None, false);
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let Channel::Lines { to, .. } = self {
            // Its reader holds on to it.
            let _ = to.shutdown(std::net::Shutdown::Both);
        }
    }
}
