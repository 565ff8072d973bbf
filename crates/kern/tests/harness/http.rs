//! HTTP/1.1 on blocking sockets, close enough to the bytes that a test can send what no library
//! would.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
pub struct Conn {
    socket: Socket,
    buffer: Vec<u8>,
    /// Decoded bytes of a streamed body.
    body: Vec<u8>,
    chunked: bool,
    /// The body goes on until the connection ends.
    raw: bool,
    over: bool,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The code of a JSON-RPC error; 0 where there is none.
    pub fn code(&self) -> i64 {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_i64().unwrap_or(0)
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
    pub id: Option<String>,
    pub retry_ms: Option<u64>,
}

impl Conn {
    pub fn tcp(address: SocketAddr) -> Conn {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Conn::new(Socket::Tcp(socket))
    }

    pub fn unix(path: &Path) -> Conn {
        // It listens there a moment after the port it announces first.
        let mut socket = None;
        super::eventually("the socket is there", || {
            socket = UnixStream::connect(path).ok();
            socket.is_some()
        });
        Conn::new(Socket::Unix(socket.unwrap()))
    }

    fn new(socket: Socket) -> Conn {
        Conn {
            socket,
            buffer: Vec::new(),
            body: Vec::new(),
            chunked: false,
            raw: false,
            over: false,
        }
    }

    /// Sends bytes as they are; `false` if the other side no longer takes them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.write_all(bytes.as_ref()).is_ok(),
            Socket::Unix(socket) => socket.write_all(bytes.as_ref()).is_ok(),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        let done = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(std::net::Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(std::net::Shutdown::Write),
        };
        drop(done);
    }

    /// Reads more; `false` at the end of the connection or of `limit`.
    fn fill(&mut self, limit: Duration) -> bool {
        let limit = Some(limit.max(Duration::from_millis(1)));
        let mut chunk = [0; 16 << 10];
        let read = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(limit).unwrap();
                socket.read(&mut chunk)
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(limit).unwrap();
                socket.read(&mut chunk)
            }
        };
        match read {
            Ok(0) => self.over = true,
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.over = true,
        }
        !self.over
    }

    /// Whether the other side closes the connection within `limit`.
    /// What came and was not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the stream read by [`Conn::event`] came to its end.
    pub fn is_over(&self) -> bool {
        self.over || (!self.chunked && !self.raw)
    }

    pub fn is_closed(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.over && Instant::now() < deadline {
            self.fill(deadline.saturating_duration_since(Instant::now()));
        }
        self.over
    }

    /// The head of the next response; `None` if the connection ends or is silent before that.
    pub fn head(&mut self, limit: Duration) -> Option<Head> {
        let deadline = Instant::now() + limit;
        let end = loop {
            let found = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(end) => break end + 4,
                None if !self.fill(deadline.saturating_duration_since(Instant::now())) => {
                    return None;
                }
                None => {}
            }
        };
        let raw: Vec<u8> = self.buffer.drain(..end).collect();
        let text = String::from_utf8(raw).unwrap();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let status = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let head = Head { status, headers };
        self.chunked = head.get("transfer-encoding") == Some("chunked");
        self.raw = !self.chunked && head.get("content-length").is_none();
        self.body.clear();
        Some(head)
    }

    /// The next whole response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response(PATIENCE).expect("a response")
    }

    /// The next whole response, interim ones skipped; `None` if the connection ends before it.
    pub fn try_response(&mut self, limit: Duration) -> Option<Response> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let head = loop {
            let head = self.head(left())?;
            if head.status >= 200 {
                break head;
            }
        };
        let body = self.body(&head, left())?;
        Some(Response { head, body })
    }

    /// The body that follows `head`; `None` if it does not come whole.
    pub fn body(&mut self, head: &Head, limit: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        if self.chunked {
            while self.dechunk() {
                if !self.fill(left()) {
                    return None;
                }
            }
            return Some(std::mem::take(&mut self.body));
        }
        let length = head.get("content-length").map(|text| text.parse::<usize>().unwrap());
        let length = if matches!(head.status, 204 | 304) { Some(0) } else { length };
        while length.is_none_or(|length| self.buffer.len() < length) && self.fill(left()) {}
        let length = length.unwrap_or(self.buffer.len());
        if self.buffer.len() < length {
            return None;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Moves whole chunks into the body; `false` once the last one was seen.
    fn dechunk(&mut self) -> bool {
        loop {
            let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") else {
                return true;
            };
            let line = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
            if self.buffer.len() < end + 2 + size + 2 {
                return true;
            }
            self.body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                self.chunked = false;
                return false;
            }
        }
    }

    /// The next event of a streamed body; `None` when it ends or `limit` is over.
    pub fn event(&mut self, limit: Duration) -> Option<Event> {
        let deadline = Instant::now() + limit;
        loop {
            let more = match self.raw {
                true => {
                    self.body.append(&mut self.buffer);
                    true
                }
                false => self.chunked && self.dechunk(),
            };
            while let Some(end) = self.body.windows(2).position(|two| two == b"\n\n") {
                let raw: Vec<u8> = self.body.drain(..end + 2).collect();
                if let Some(event) = parse_event(&String::from_utf8(raw).unwrap()) {
                    return Some(event);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !more || self.over || left.is_zero() {
                return None;
            }
            self.fill(left);
        }
    }
}

fn parse_event(text: &str) -> Option<Event> {
    let mut name = "message".to_owned();
    let mut data: Vec<&str> = Vec::new();
    let (mut id, mut retry_ms) = (None, None);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            name = value.trim().to_owned();
        } else if let Some(value) = line.strip_prefix("data:") {
            data.push(value.strip_prefix(' ').unwrap_or(value));
        } else if let Some(value) = line.strip_prefix("id:") {
            id = Some(value.trim().to_owned());
        } else if let Some(value) = line.strip_prefix("retry:") {
            retry_ms = value.trim().parse().ok();
        }
    }
    (!data.is_empty()).then(|| Event { name, data: data.join("\n"), id, retry_ms })
}

/// A request with the headers every client sends, and `more`.
pub fn post(path: &str, more: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in more {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// A request without a body.
pub fn bare(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in more {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{head}\r\n").into_bytes()
}
