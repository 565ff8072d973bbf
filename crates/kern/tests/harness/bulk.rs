//! A server behind a URL whose answers are as large as asked, and go wrong as asked.
//!
//! It writes an answer as it makes it, so that it can be seen when nobody takes it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// What a text is made of: escapes, and characters of every length.
const UNIT: &str = r#"0123456789 abcdef \"quoted\" \\ \n \u00e9 é 漢 😀 | "#;

/// Bytes a call's answer holds, besides some for its form.
pub fn text(bytes: usize) -> String {
    let block = UNIT.repeat(1 + bytes.min(64 << 10) / UNIT.len());
    let mut text = String::with_capacity(bytes + block.len());
    while text.len() < bytes {
        text.push_str(&block);
    }
    // Whole units, so that no escape is cut.
    text.truncate(bytes / UNIT.len() * UNIT.len());
    text
}

/// What its server does.
pub struct Bulk {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    modern: bool,
    over: AtomicBool,
    /// Answers in the writing.
    writing: AtomicU64,
    /// Answers that nobody took to their end.
    refused: AtomicU64,
    cancelled: AtomicU64,
    /// Bytes of answers.
    written: AtomicU64,
}

impl Bulk {
    pub fn start(modern: bool) -> Bulk {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { modern, ..Shared::default() });
        let known = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if known.over.load(Ordering::Relaxed) {
                    return;
                }
                let known = Arc::clone(&known);
                std::thread::spawn(move || serve(socket, &known));
            }
        });
        Bulk { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn writing(&self) -> u64 {
        self.shared.writing.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    pub fn cancelled(&self) -> u64 {
        self.shared.cancelled.load(Ordering::Relaxed)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut socket: TcpStream, shared: &Shared) {
    let mut input = Vec::new();
    drop(socket.set_nodelay(true));
    while let Some((verb, message)) = request(&mut socket, &mut input) {
        let said = match (&*verb, message["method"].as_str().unwrap_or_default()) {
            ("POST", "tools/call") => call(&mut socket, shared, &message),
            ("POST", _) => {
                let (status, kind, body) = small(shared, &message);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
                );
                socket.write_all((head + &body).as_bytes())
            }
            _ => socket.write_all(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"),
        };
        if said.is_err() {
            return;
        }
    }
}

/// The next request: its method, and its body if it has one.
fn request(socket: &mut TcpStream, input: &mut Vec<u8>) -> Option<(String, Value)> {
    let mut chunk = [0; 4096];
    let mut more = |input: &mut Vec<u8>| {
        let got = socket.read(&mut chunk).ok().filter(|got| *got > 0)?;
        input.extend_from_slice(&chunk[..got]);
        Some(())
    };
    let head = loop {
        match input.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break String::from_utf8_lossy(&input[..end]).to_ascii_lowercase(),
            None => more(input)?,
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let whole = head.len() + 4 + length;
    while input.len() < whole {
        more(input)?;
    }
    let message = serde_json::from_slice(&input[head.len() + 4..whole]).unwrap_or_default();
    input.drain(..whole);
    Some((head.split(' ').next()?.to_ascii_uppercase(), message))
}

fn small(shared: &Shared, message: &Value) -> (u16, &'static str, String) {
    let answer = |mut result: Value| {
        if shared.modern {
            result["resultType"] = json!("complete");
        }
        let id = &message["id"];
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        (200, "application/json", body)
    };
    let info = json!({ "name": "bulk", "version": "1" });
    let capabilities = json!({ "tools": {} });
    match message["method"].as_str().unwrap_or_default() {
        "server/discover" if shared.modern => answer(json!({
            "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
            "serverInfo": info, "ttlMs": 0, "cacheScope": "private",
        })),
        "initialize" if !shared.modern => answer(json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info,
        })),
        "tools/list" => answer(json!({
            "tools": [{ "name": "bulk", "inputSchema": { "type": "object" } }],
            "ttlMs": 0, "cacheScope": "private",
        })),
        "ping" => answer(json!({})),
        method if message["id"].is_null() => {
            let cancelled = u64::from(method == "notifications/cancelled");
            shared.cancelled.fetch_add(cancelled, Ordering::Relaxed);
            (202, "text/plain", String::new())
        }
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            let (id, status) = (&message["id"], if shared.modern { 404 } else { 400 });
            let body = json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string();
            (status, "application/json", body)
        }
    }
}

/// The answer to a call, in three parts: what is before its text, the text, and what is after it.
pub fn parts(arguments: &Value, modern: bool, id: &str) -> (String, String, String) {
    let (head, bytes, end) = ends(arguments, modern, id);
    (head, text(bytes), end)
}

/// The same, with the length of the text.
fn ends(arguments: &Value, modern: bool, id: &str) -> (String, usize, String) {
    let kind = if modern { "\"resultType\" : \"complete\", " } else { "" };
    let bytes = arguments["bytes"].as_u64().unwrap_or(0) as usize;
    let result = format!("{{ {kind}\"content\":[ {{\"type\":\"text\",\r\n\"text\":\"");
    let tail = match arguments["tail"].as_str() {
        Some(tail) => tail.to_owned(),
        None => "\"} ],\n\"isError\" : false, \"x\":[1.50e+0 ]}".to_owned(),
    };
    let (head, end) = match arguments["order"].as_str() {
        Some("last") => (
            format!("{{\"result\":{result}"),
            format!("{tail} ,\r\"jsonrpc\":\"2.0\", \"id\" : {id} }}\n"),
        ),
        _ => (
            format!("{{ \"jsonrpc\":\"2.0\",\"id\":{id}, \"result\" : {result}"),
            format!("{tail}}} \r\n"),
        ),
    };
    (head, bytes / UNIT.len() * UNIT.len(), end)
}

fn call(socket: &mut TcpStream, shared: &Shared, message: &Value) -> std::io::Result<()> {
    let arguments = &message["params"]["arguments"];
    let id = match arguments["id"].as_str() {
        Some(id) => id.to_owned(),
        None => message["id"].to_string(),
    };
    let (head, bytes, end) = ends(arguments, shared.modern, &id);
    shared.writing.fetch_add(1, Ordering::Relaxed);
    let written = write(socket, shared, arguments, &head, bytes, &end);
    shared.writing.fetch_sub(1, Ordering::Relaxed);
    if written.is_err() {
        shared.refused.fetch_add(1, Ordering::Relaxed);
    }
    written
}

fn write(
    socket: &mut TcpStream,
    shared: &Shared,
    arguments: &Value,
    head: &str,
    bytes: usize,
    end: &str,
) -> std::io::Result<()> {
    let by = arguments["by"].as_str().unwrap_or("json");
    let (before, after) = match by {
        "sse" => ("event: message\nid: 7\ndata: ", "\n\n"),
        "stream" => (": hello\ndata: ", "\n\n"),
        _ => ("", ""),
    };
    // Line ends are those of the framing there.
    let (kind, head, end) = match before {
        "" => ("application/json", head.to_owned(), end.to_owned()),
        _ => ("text/event-stream", before.to_owned() + &lines(head), lines(end) + after),
    };
    let length = head.len() + bytes + end.len();
    let framing = match by {
        "json" => format!("Content-Length: {length}"),
        _ => "Transfer-Encoding: chunked".to_owned(),
    };
    let first = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n");
    socket.write_all(first.as_bytes())?;
    let mut piece = |piece: &str| {
        if by == "json" || piece.is_empty() {
            return socket.write_all(piece.as_bytes());
        }
        socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        socket.write_all(piece.as_bytes())?;
        socket.write_all(b"\r\n")
    };
    piece(&head)?;
    let fault = arguments["fault"].as_str();
    let block = UNIT.repeat(1_000);
    let mut left = if fault.is_some() { bytes / 2 } else { bytes };
    while left > 0 {
        let some = left.min(block.len());
        // A fault may be anywhere, also within a character.
        let some = block.floor_char_boundary(some);
        piece(&block[..some])?;
        shared.written.fetch_add(some as u64, Ordering::Relaxed);
        left = if some < block.len() { 0 } else { left - some };
    }
    match fault {
        Some("stall") => {
            // Whoever gave up closes; nothing more is said.
            socket.set_read_timeout(Some(Duration::from_secs(60)))?;
            drop(socket.read(&mut [0]));
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        Some(_) => Err(std::io::ErrorKind::ConnectionAborted.into()),
        None => {
            piece(&end)?;
            if by == "json" { Ok(()) } else { socket.write_all(b"0\r\n\r\n") }
        }
    }
}

/// A text as the lines of an event's data.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\ndata: ")
}
