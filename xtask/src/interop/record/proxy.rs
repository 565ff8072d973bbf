//! Stands between a client and a server that speak HTTP, and writes down what passes.
//!
//! Invariants: it is a hop of its own (connections, lengths and hosts end here), all else passes as
//! it is; an event is in the log before it is passed on.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::event::{Event, Headers, Log, What};

/// Headers that belong to a hop. The client's host is this machine's.
const OF_A_HOP: &[&str] =
    &["connection", "keep-alive", "transfer-encoding", "content-length", "host", "date"];

/// Where a client reaches the server now, and what will be seen there.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) log: Log,
}

impl Proxy {
    /// Listens until this process ends.
    pub(super) fn start(server: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let log: Log = Arc::new(Mutex::new(Vec::new()));
        let (seen, count) = (Arc::clone(&log), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
                std::thread::spawn(move || {
                    let hop = Hop { server, log: seen, stream: count };
                    // A connection that breaks is the two sides' own affair.
                    let _ = hop.serve(client);
                });
            }
        });
        Ok(Self { address, log })
    }
}

struct Hop {
    server: SocketAddr,
    log: Log,
    stream: Arc<AtomicUsize>,
}

impl Hop {
    /// One request; the client is told that the connection ends with the answer.
    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let mut to = client.try_clone()?;
        let mut from = BufReader::new(client);
        let (first, headers) = head(&mut from)?;
        if first.is_empty() {
            return Ok(());
        }
        let body = match get(&headers, "content-length") {
            Some(length) => {
                let mut body = vec![0; length.parse().unwrap_or(0)];
                from.read_exact(&mut body)?;
                body
            }
            None if get(&headers, "transfer-encoding").is_some() => {
                let mut body = Vec::new();
                Chunks { from, left: 0, over: false }.read_to_end(&mut body)?;
                body
            }
            None => Vec::new(),
        };
        let stream = self.stream.fetch_add(1, Ordering::Relaxed);
        let method = first.split(' ').next().unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&body).into_owned();
        self.note(stream, What::Asked(method, passed(&headers), text));
        let mut server = TcpStream::connect(self.server)?;
        let mut request = format!("{first}\r\nHost: {}\r\nConnection: close\r\n", self.server);
        for (name, value) in passed(&headers) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if first.starts_with("POST") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        server.write_all(&[request.as_bytes(), &body].concat())?;
        self.answer(stream, BufReader::new(server), &mut to)
    }

    fn answer(
        &self,
        stream: usize,
        mut from: BufReader<TcpStream>,
        to: &mut TcpStream,
    ) -> std::io::Result<()> {
        let (first, headers) = head(&mut from)?;
        let status = first.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        self.note(stream, What::Head(status, passed(&headers)));
        let length = get(&headers, "content-length").and_then(|text| text.parse::<u64>().ok());
        let mut answer = format!("{first}\r\nConnection: close\r\n");
        for (name, value) in passed(&headers) {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        let streamed =
            get(&headers, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let chunked = get(&headers, "transfer-encoding").is_some();
        let mut body: Box<dyn Read> = match (chunked, length) {
            (true, _) => Box::new(Chunks { from, left: 0, over: false }),
            (false, Some(length)) => Box::new(from.take(length)),
            (false, None) if matches!(status, 202 | 204) => Box::new(std::io::empty()),
            (false, None) => Box::new(from),
        };
        if streamed {
            to.write_all(format!("{answer}\r\n").as_bytes())?;
            return self.events(stream, &mut body, to);
        }
        let mut whole = Vec::new();
        body.read_to_end(&mut whole)?;
        if !whole.is_empty() {
            self.note(stream, What::Body(String::from_utf8_lossy(&whole).into_owned()));
        }
        let length = if status == 204 {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", whole.len())
        };
        to.write_all(&[format!("{answer}{length}\r\n").as_bytes(), &whole].concat())
    }

    /// Passes on a stream, event by event.
    fn events(
        &self,
        stream: usize,
        body: &mut dyn Read,
        to: &mut TcpStream,
    ) -> std::io::Result<()> {
        let mut waiting = Vec::new();
        let mut chunk = [0; 16 << 10];
        // What says nothing by itself stands before the next event that does.
        let mut before = String::new();
        loop {
            let count = body.read(&mut chunk)?;
            if count == 0 {
                return to.write_all(&waiting);
            }
            waiting.extend_from_slice(&chunk[..count]);
            while let Some(end) = end_of_event(&waiting) {
                let event: Vec<u8> = waiting.drain(..end).collect();
                let text = String::from_utf8_lossy(&event);
                match data(&text) {
                    Some((head, data, tail)) => {
                        let head = std::mem::take(&mut before) + head;
                        self.note(stream, What::Data(head, data.to_owned(), tail.to_owned()));
                    }
                    None => before.push_str(&text),
                }
                to.write_all(&event)?;
            }
        }
    }

    fn note(&self, stream: usize, what: What) {
        self.log.lock().expect("nobody panics while holding it").push(Event { stream, what });
    }
}

/// What passes.
fn passed(headers: &Headers) -> Headers {
    let of_a_hop = |name: &str| OF_A_HOP.iter().any(|known| known.eq_ignore_ascii_case(name));
    headers.iter().filter(|(name, _)| !of_a_hop(name)).cloned().collect()
}

fn get<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// The first line and the headers; an empty line where the connection ended.
fn head(from: &mut impl BufRead) -> std::io::Result<(String, Headers)> {
    let mut next = || {
        let mut line = String::new();
        from.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let first = next()?;
    let mut headers = Vec::new();
    loop {
        let line = next()?;
        let Some((name, value)) = line.split_once(':') else { return Ok((first, headers)) };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let ends: [&[u8]; 2] = [b"\n\n", b"\r\n\r\n"];
    let ends = ends.iter().filter_map(|end| {
        bytes.windows(end.len()).position(|it| it == *end).map(|at| at + end.len())
    });
    ends.min()
}

/// An event's one line of data, and what stands before and after it.
fn data(event: &str) -> Option<(&str, &str, &str)> {
    let begin = match event.starts_with("data:") {
        true => 5,
        false => event.find("\ndata:")? + 6,
    };
    let begin = begin + usize::from(event[begin..].starts_with(' '));
    let end = begin + event[begin..].find(['\r', '\n'])?;
    (end > begin).then(|| (&event[..begin], &event[begin..end], &event[end..]))
}

/// A body in chunks, without their sizes.
struct Chunks<R> {
    from: R,
    left: u64,
    over: bool,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.over {
            return Ok(0);
        }
        if self.left == 0 {
            let mut line = String::new();
            self.from.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16);
            self.left = size.unwrap_or(0);
            if self.left == 0 {
                self.over = true;
                return Ok(0);
            }
        }
        let count = (&mut self.from).take(self.left).read(into)?;
        self.left -= count as u64;
        if count == 0 {
            self.over = true;
        } else if self.left == 0 {
            self.from.read_line(&mut String::new())?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_taken_apart_and_loses_nothing() {
        for event in ["event: message\r\ndata: {}\r\n\r\n", "data:{}\n\n", "id: 7\ndata: {}\n\n"] {
            let (head, text, tail) = data(event).expect("it has data");
            assert_eq!((text, format!("{head}{text}{tail}").as_str()), ("{}", event));
            assert_eq!(end_of_event(event.as_bytes()), Some(event.len()));
        }
        assert_eq!(data("id: 7\nretry: 9\ndata: \n\n"), None);
        assert_eq!(data(": ping\r\n\r\n"), None);
    }

    #[test]
    fn chunks_are_joined() {
        let from: &[u8] = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let mut all = String::new();
        let read = Chunks { from, left: 0, over: false }.read_to_string(&mut all);
        assert_eq!((read.ok(), all.as_str()), (Some(5), "abcde"));
    }
}
