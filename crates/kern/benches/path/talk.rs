//! A client on a non-blocking socket: what it says, and when its answer is whole.
//!
//! Invariant: all calls of a conversation have the same length; only the digits of the number in
//! id and text change.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How the client converses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28, every request for itself.
    Modern,
    /// 2025-11-25, in a session.
    Session,
}

/// The first number; all have ten digits.
const FIRST: u64 = 1_000_000_000;

/// A connection, and the answer that is coming.
pub struct Client {
    socket: TcpStream,
    address: SocketAddr,
    era: Era,
    path: &'static str,
    text: String,
    session: Option<String>,
    number: u64,
    input: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn new(address: SocketAddr, path: &'static str, era: Era, text_bytes: usize) -> Self {
        let socket = TcpStream::connect(address).expect("the gateway listens");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_nonblocking(true).expect("a socket");
        let text = (0..text_bytes).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let (session, number, input) = (None, FIRST, Vec::with_capacity(text_bytes + (4 << 10)));
        Self { socket, address, era, path, text, session, number, input }
    }

    fn send(&mut self, body: &str, mirrored: bool) {
        let version = if self.era == Era::Modern { "2026-07-28" } else { "2025-11-25" };
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: {version}\r\n",
            self.path, self.address
        );
        if let Some(session) = &self.session {
            head += &format!("Mcp-Session-Id: {session}\r\n");
        }
        if mirrored && self.era == Era::Modern {
            head += "Mcp-Method: tools/call\r\nMcp-Name: echo\r\n";
        }
        head += "Content-Type: application/json\r\n";
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        self.input.clear();
    }

    /// The greeting, which only a client of the old era sends.
    pub fn greet(&mut self) -> bool {
        if self.era == Era::Session {
            self.send(
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#,
                false,
            );
        }
        self.era == Era::Session
    }

    /// The end of the greeting.
    pub fn greeted(&mut self) {
        let head = String::from_utf8_lossy(&self.input);
        let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
        self.session = Some(id.expect("a session").to_owned());
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, false);
    }

    /// The next call.
    pub fn call(&mut self) {
        self.number += 1;
        let number = self.number;
        let meta = match self.era {
            Era::Modern => {
                r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#
            }
            Era::Session => "",
        };
        let text = &self.text;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"{number} {text}"}}{meta}}}}}"#
        );
        self.send(&body, true);
    }

    /// Reads what there is; whether the answer is whole.
    pub fn answered(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the gateway closed the connection"),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let Some(head) = memchr::memmem::find(&self.input, b"\r\n\r\n") else { return false };
        let text = std::str::from_utf8(&self.input[..head]).expect("a head is ASCII");
        // What takes long becomes an event stream.
        if text.contains("transfer-encoding: chunked") {
            return self.input.ends_with(b"\r\n0\r\n\r\n");
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        self.input.len() >= head + 4 + length
    }

    /// Whether the call just answered was answered with its own text.
    pub fn is_right(&self) -> bool {
        let number = self.number.to_string();
        let places = memchr::memmem::find_iter(&self.input, number.as_bytes()).count();
        self.input.starts_with(b"HTTP/1.1 200") && places == 2
    }

    /// What came, for people.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.input).into_owned()
    }
}
