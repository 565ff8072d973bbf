//! Does a link talk to a real server over a real socket?

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use kern_terms::{Instant, Key, Slab};
use kern_upstream::http::{Ended, Happening, HttpLink, HttpTarget, LinkLimits, Post, Wire};

/// A wire over blocking sockets; connecting is done at once and told later.
struct Sockets {
    address: SocketAddr,
    open: Slab<TcpStream>,
    fresh: Vec<Key>,
}

impl Wire for Sockets {
    fn connect(&mut self) -> Key {
        let socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket option");
        let key = self.open.insert(socket);
        self.fresh.push(key);
        key
    }

    fn send(&mut self, stream: Key, parts: &[&[u8]]) {
        let socket = self.open.get_mut(stream).expect("an open stream");
        for part in parts {
            // A server that has closed shows it in the next read.
            let _ = socket.write_all(part);
        }
    }

    fn close(&mut self, stream: Key) {
        self.open.remove(stream).expect("an open stream");
    }

    fn abort(&mut self, stream: Key) {
        self.close(stream);
    }

    fn read(&mut self, _stream: Key, _on: bool) {}
}

/// Runs the link until `count` exchanges have ended; gives the messages and the endings.
fn pump(link: &mut HttpLink, wire: &mut Sockets, count: usize) -> (Vec<String>, Vec<Ended>) {
    let now = Instant::ZERO;
    let (mut messages, mut endings) = (Vec::new(), Vec::new());
    while endings.len() < count {
        for stream in std::mem::take(&mut wire.fresh) {
            link.connected(wire, now, stream);
        }
        for stream in wire.open.keys() {
            let Some(socket) = wire.open.get_mut(stream) else { continue };
            let mut chunk = [0; 7];
            let mut out = Vec::new();
            let got = match socket.read(&mut chunk) {
                Ok(0) => {
                    link.finished(wire, now, stream, &mut out);
                    0
                }
                Ok(got) => {
                    link.received(wire, now, stream, &chunk[..got], &mut out);
                    got
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    0
                }
                Err(error) => {
                    wire.open.remove(stream);
                    link.closed(wire, now, stream, error.to_string(), &mut out);
                    0
                }
            };
            for happening in out {
                match happening {
                    Happening::Message { body, .. } => {
                        let bytes = body.bytes(&chunk[..got]);
                        messages.push(String::from_utf8_lossy(bytes).into_owned());
                    }
                    Happening::Ended { how, .. } => endings.push(how),
                    Happening::Head { .. } | Happening::Part { .. } => {}
                }
            }
        }
    }
    (messages, endings)
}

/// Reads one request; gives its body. `None` at the end of the connection.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).expect("tests send text"))
}

/// Answers each request by its body: echo as JSON, as a stream, or echo and close.
fn serve(listener: &TcpListener) {
    for socket in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
            let mut socket = socket;
            while let Some(body) = read_request(&mut reader) {
                let answer = match body.as_str() {
                    "stream" => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n\
                        9\r\ndata: 2\n\n\r\n0\r\n\r\n"
                        .to_owned(),
                    _ => format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                };
                socket.write_all(answer.as_bytes()).expect("the client reads");
                if body == "hang up" {
                    return;
                }
            }
        });
    }
}

#[test]
fn posts_streams_and_stale_connections_work_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || serve(&listener));
    let target = HttpTarget {
        tls: false,
        host: address.ip().to_string(),
        port: address.port(),
        path: "/mcp".to_owned(),
        headers: Vec::new(),
    };
    let mut link = HttpLink::new(Arc::new(target), LinkLimits::DEFAULT);
    let mut wire = Sockets { address, open: Slab::new(), fresh: Vec::new() };
    let send = |link: &mut HttpLink, wire: &mut Sockets, bodies: &[&str]| {
        for body in bodies {
            let post = Post {
                path: None,
                headers: &[("mcp-method", b"ping")],
                body: &[body.as_bytes()],
                replayable: true,
                tag: 0,
            };
            link.post(wire, Instant::ZERO, post).expect("room in the queue");
        }
        let (mut messages, endings) = pump(link, wire, bodies.len());
        assert!(endings.iter().all(|how| *how == Ended::Complete { status: 200 }), "{endings:?}");
        messages.sort();
        messages
    };
    assert_eq!(send(&mut link, &mut wire, &["\"a\""]), ["\"a\""]);
    assert_eq!(link.open_connections(), 1);
    assert_eq!(send(&mut link, &mut wire, &["stream"]), ["1", "2"]);
    assert_eq!(link.open_connections(), 1, "one connection served both");
    assert_eq!(send(&mut link, &mut wire, &["b", "c", "d"]), ["b", "c", "d"]);
    // The server closes after its answer; the next request finds out and is sent again.
    assert_eq!(send(&mut link, &mut wire, &["hang up"]), ["hang up"]);
    assert_eq!(send(&mut link, &mut wire, &["e", "f", "g", "h"]), ["e", "f", "g", "h"]);
}
