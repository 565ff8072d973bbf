//! How our clients speak: HTTP/1.1 with event streams, and one message a line.
//!
//! Invariants: it shares no code with what it tests; nothing waits longer than [`PATIENCE`]; what
//! is wrong with an answer is said in words.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for bytes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

/// One connection.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
    /// What came of an event stream and is no whole event yet.
    events: Vec<u8>,
    /// The last event's id, and how long to wait before the rest is asked for.
    place: Option<String>,
    retry: Duration,
    /// Bytes read at a time and the pause before each, of a slow reader.
    pace: Option<(usize, Duration)>,
}

/// The head of a response.
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is_stream(&self) -> bool {
        self.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }
}

fn failed(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => format!("silence for {PATIENCE:?}"),
        _ => error.to_string(),
    }
}

impl Wire {
    fn new(socket: impl Socket + 'static) -> Wire {
        let retry = Duration::from_secs(1);
        let (buffer, events) = (Vec::new(), Vec::new());
        Wire { socket: Box::new(socket), buffer, events, place: None, retry, pace: None }
    }

    pub(crate) fn tcp(address: SocketAddr) -> Result<Wire, String> {
        let socket = TcpStream::connect(address).map_err(|error| failed(&error))?;
        let set = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE)));
        set.and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
            .map_err(|error| failed(&error))?;
        Ok(Wire::new(socket))
    }

    #[cfg(unix)]
    pub(crate) fn unix(path: &Path) -> Result<Wire, String> {
        let socket = UnixStream::connect(path).map_err(|error| failed(&error))?;
        let set = socket.set_read_timeout(Some(PATIENCE));
        set.and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
            .map_err(|error| failed(&error))?;
        Ok(Wire::new(socket))
    }

    #[cfg(not(unix))]
    pub(crate) fn unix(_path: &Path) -> Result<Wire, String> {
        Err("Unix sockets are not available on this system".to_owned())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write_all(bytes).map_err(|error| format!("sending: {}", failed(&error)))
    }

    /// Sends one message as a line.
    pub(crate) fn send_line(&mut self, message: &Value) -> Result<(), String> {
        self.send(format!("{message}\n").as_bytes())
    }

    fn fill(&mut self, most: usize) -> Result<(), String> {
        let most = self.pace.map_or(most, |(most, pause)| {
            std::thread::sleep(pause);
            most
        });
        let mut chunk = vec![0; most];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("waiting: {}", failed(&error))),
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(line);
            }
            self.fill(16 << 10)?;
        }
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            self.fill(16 << 10)?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The next message of a conversation in lines.
    pub(crate) fn message(&mut self) -> Result<Value, String> {
        parse(&self.line()?)
    }

    /// The answer to `id` in a conversation in lines; what comes before it is dropped.
    pub(crate) fn answer_to(&mut self, id: u64) -> Result<Value, String> {
        loop {
            let message = self.message()?;
            if message["id"] == id && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }

    pub(crate) fn head(&mut self) -> Result<Head, String> {
        let first = self.line()?;
        let first = String::from_utf8_lossy(&first).into_owned();
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {first:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head { status, headers });
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no header: {line}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The whole body of a response that is no stream.
    pub(crate) fn body(&mut self, head: &Head) -> Result<Vec<u8>, String> {
        match head.get("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| format!("content-length {length:?}"))?;
                self.exactly(length)
            }
            None if matches!(head.status, 202 | 204) => Ok(Vec::new()),
            None if head.get("transfer-encoding") == Some("chunked") => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk()? {
                    body.extend_from_slice(&chunk);
                }
                Ok(body)
            }
            None => Err("neither a length nor chunks".to_owned()),
        }
    }

    /// The next chunk of a body that comes in chunks; `None` after the last.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>, String> {
        let size = self.line()?;
        let size = std::str::from_utf8(&size).ok().and_then(|text| {
            usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16).ok()
        });
        let size = size.ok_or("a chunk without a size")?;
        let mut chunk = self.exactly(size + 2)?;
        chunk.truncate(size);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// The body of the response to come, `most` bytes at a time with a pause before each.
    pub(crate) fn body_slowly(&mut self, most: usize, pause: Duration) -> Result<Vec<u8>, String> {
        self.pace = Some((most, pause));
        let body = self.head().and_then(|head| self.body(&head));
        self.pace = None;
        body
    }

    /// The next event of a stream: its name and its data; `None` at the end.
    pub(crate) fn event(&mut self) -> Result<Option<(String, String)>, String> {
        loop {
            if let Some(end) = self.events.windows(2).position(|two| two == b"\n\n") {
                let raw: Vec<u8> = self.events.drain(..end + 2).collect();
                let raw = String::from_utf8_lossy(&raw);
                self.note_place(&raw);
                if let Some(event) = read_event(&raw) {
                    return Ok(Some(event));
                }
                continue;
            }
            let Some(chunk) = self.chunk()? else { return Ok(None) };
            self.events.extend_from_slice(&chunk);
        }
    }

    /// Remembers from where the stream can be resumed, and when.
    fn note_place(&mut self, event: &str) {
        for line in event.lines() {
            if let Some(id) = line.strip_prefix("id:") {
                self.place = Some(id.trim().to_owned());
            }
            let retry = line.strip_prefix("retry:").and_then(|text| text.trim().parse().ok());
            self.retry = retry.map_or(self.retry, Duration::from_millis);
        }
    }

    /// From where a stream that broke can be resumed, and after how long.
    pub(crate) fn place(&self) -> Option<(&str, Duration)> {
        Some((self.place.as_deref()?, self.retry))
    }

    /// The JSON-RPC answer of the response to come. `between` sees what comes before it.
    pub(crate) fn response(
        &mut self,
        mut between: impl FnMut(&Value) -> Result<(), String>,
    ) -> Result<(Head, Value), String> {
        let head = self.head()?;
        if !head.is_stream() {
            let body = self.body(&head)?;
            let message = if body.is_empty() { Value::Null } else { parse(&body)? };
            return Ok((head, message));
        }
        loop {
            let event = self.event()?.ok_or("the stream ended without the answer")?;
            let message = parse(event.1.as_bytes())?;
            if message.get("method").is_none() {
                while self.event()?.is_some() {}
                return Ok((head, message));
            }
            between(&message)?;
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("no JSON ({error}): {:?}", shorten(bytes)))
}

/// The beginning of a text.
pub(crate) fn shorten(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

fn read_event(text: &str) -> Option<(String, String)> {
    let mut name = "message".to_owned();
    let mut data: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            name = value.trim().to_owned();
        } else if let Some(value) = line.strip_prefix("data:") {
            data.push(value.strip_prefix(' ').unwrap_or(value));
        }
    }
    // An event without data only says from where the stream can be resumed.
    data.iter().any(|line| !line.is_empty()).then(|| (name, data.join("\n")))
}
