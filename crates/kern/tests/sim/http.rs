//! How do simulated peers read and write HTTP/1.1 and event streams?
//!
//! Written apart from the gateway's own codec on purpose: two codecs that agree are evidence, one
//! that talks to itself is none. What a peer cannot read is an error text, which fails the run.

use crate::words::Lines;

/// Who wrote what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Requests,
    Responses,
}

/// A start line with headers.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub method: String,
    pub target: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    pub fn is_events(&self) -> bool {
        self.get("content-type").is_some_and(|value| value.starts_with("text/event-stream"))
    }
}

/// What came, in order: one head, its body in any number of pieces, its end.
#[derive(Clone, Debug)]
pub enum Item {
    Head(Head),
    Body(Vec<u8>),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    ToEnd,
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Reader {
    reads: Reads,
    buffer: Vec<u8>,
    body: Body,
}

impl Reader {
    pub fn new(reads: Reads) -> Self {
        Self { reads, buffer: Vec::new(), body: Body::Head }
    }

    /// Whether the last message has ended and nothing of another came.
    pub fn is_between_messages(&self) -> bool {
        self.body == Body::Head && self.buffer.is_empty()
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Item>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut items = Vec::new();
        while self.advance(&mut items)? {}
        Ok(items)
    }

    /// The other side ended: `End` where that ends the message; an error in the middle of one.
    pub fn end(&mut self) -> Result<Vec<Item>, String> {
        match self.body {
            Body::ToEnd => {
                self.body = Body::Head;
                Ok(vec![Item::End])
            }
            _ if self.is_between_messages() => Ok(Vec::new()),
            _ => Err(format!("the connection ended in {:?}", self.body)),
        }
    }

    fn line(&mut self) -> Option<String> {
        let at = self.buffer.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
        self.buffer.drain(..at + 2);
        Some(line)
    }

    fn advance(&mut self, items: &mut Vec<Item>) -> Result<bool, String> {
        match self.body {
            Body::Head => return self.head(items),
            Body::Length(0) => {
                items.push(Item::End);
                self.body = Body::Head;
            }
            Body::Length(left) | Body::Chunk(left) => {
                let taken = left.min(self.buffer.len());
                if taken == 0 && left > 0 {
                    return Ok(false);
                }
                items.push(Item::Body(self.buffer.drain(..taken).collect()));
                self.body = match self.body {
                    Body::Chunk(_) if taken == left => Body::ChunkEnd,
                    Body::Chunk(_) => Body::Chunk(left - taken),
                    _ => Body::Length(left - taken),
                };
            }
            Body::ChunkSize => {
                let Some(line) = self.line() else { return Ok(false) };
                let size = usize::from_str_radix(line.trim(), 16)
                    .map_err(|_| format!("chunk size {line:?}"))?;
                self.body = if size == 0 { Body::Trailer } else { Body::Chunk(size) };
            }
            Body::ChunkEnd => {
                let Some(line) = self.line() else { return Ok(false) };
                if !line.is_empty() {
                    return Err(format!("{line:?} after a chunk"));
                }
                self.body = Body::ChunkSize;
            }
            Body::Trailer => {
                let Some(line) = self.line() else { return Ok(false) };
                if line.is_empty() {
                    items.push(Item::End);
                    self.body = Body::Head;
                }
            }
            Body::ToEnd => {
                if self.buffer.is_empty() {
                    return Ok(false);
                }
                items.push(Item::Body(std::mem::take(&mut self.buffer)));
            }
        }
        Ok(true)
    }

    fn head(&mut self, items: &mut Vec<Item>) -> Result<bool, String> {
        let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let text = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
        self.buffer.drain(..at + 4);
        let head = parse_head(self.reads, &text)?;
        let chunked = head.get("transfer-encoding").is_some_and(|value| value == "chunked");
        let length = head.get("content-length").map(str::parse::<usize>);
        let bodyless = matches!(head.status, 100..=199 | 204 | 304);
        self.body = match (chunked, length) {
            _ if bodyless => Body::Length(0),
            (true, None) => Body::ChunkSize,
            (true, Some(_)) => return Err("both a length and chunks".into()),
            (false, Some(Ok(length))) => Body::Length(length),
            (false, Some(Err(_))) => return Err("content-length is no number".into()),
            (false, None) if self.reads == Reads::Requests => Body::Length(0),
            (false, None) => Body::ToEnd,
        };
        items.push(Item::Head(head));
        Ok(true)
    }
}

fn parse_head(reads: Reads, text: &str) -> Result<Head, String> {
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let words: Vec<&str> = start.splitn(3, ' ').collect();
    let mut head = Head::default();
    match (reads, &words[..]) {
        (Reads::Requests, [method, target, "HTTP/1.1"]) => {
            (head.method, head.target) = (method.to_string(), target.to_string());
        }
        (Reads::Responses, ["HTTP/1.1", status, ..]) => {
            head.status = status.parse().map_err(|_| format!("status line {start:?}"))?;
        }
        _ => return Err(format!("start line {start:?}")),
    }
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("header {line:?}"))?;
        head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(head)
}

/// An event of an event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: String,
}

/// Reads an event stream.
#[derive(Debug, Default)]
pub struct Events {
    lines: Lines,
    next: Event,
    has_data: bool,
    /// The id of the last event, those without data included.
    pub last_id: Option<String>,
}

impl Events {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for line in self.lines.feed(bytes) {
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches('\r'), &mut events);
        }
        events
    }

    fn line(&mut self, line: &str, events: &mut Vec<Event>) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let event = std::mem::take(&mut self.next);
                if event.id.is_some() {
                    self.last_id.clone_from(&event.id);
                }
                if std::mem::take(&mut self.has_data) {
                    events.push(event);
                }
            }
            "data" => {
                if self.has_data {
                    self.next.data.push('\n');
                }
                self.has_data = true;
                self.next.data.push_str(value);
            }
            "id" => self.next.id = Some(value.to_owned()),
            "event" => self.next.event = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// A request with a body, or without where it is empty.
pub fn request(method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A whole response.
pub fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Simulated\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a response that is an event stream in chunks.
pub fn events_head(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n",
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// One event as a chunk.
pub fn event_chunk(data: &str) -> Vec<u8> {
    let event = format!("event: message\ndata: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// The end of a response in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[test]
fn a_cut_message_reads_like_a_whole_one() {
    let mut wire = events_head(&[]);
    wire.extend(event_chunk("{\"a\":1}"));
    wire.extend(event_chunk("two"));
    wire.extend_from_slice(LAST_CHUNK);
    wire.extend(response(202, &[], b""));
    for size in 1..wire.len() {
        let (mut reader, mut events) = (Reader::new(Reads::Responses), Events::default());
        let (mut data, mut statuses, mut ends) = (Vec::new(), Vec::new(), 0);
        for piece in wire.chunks(size) {
            for item in reader.feed(piece).expect("good HTTP") {
                match item {
                    Item::Head(head) => statuses.push(head.status),
                    Item::Body(bytes) => {
                        data.extend(events.feed(&bytes).into_iter().map(|event| event.data));
                    }
                    Item::End => ends += 1,
                }
            }
        }
        assert_eq!(data, ["{\"a\":1}", "two"], "cut every {size} bytes");
        assert_eq!((statuses, ends), (vec![200, 202], 2));
        assert!(reader.is_between_messages());
    }
}
