//! Clients that write one message a line: over stdin and stdout, or a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Kern, PATIENCE};

/// One conversation.
pub struct Lines {
    to: Option<Box<dyn Write + Send>>,
    from: Receiver<Value>,
    next_id: u64,
    /// Ended with the conversation: its reader holds on to it.
    socket: Option<UnixStream>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Lines {
    /// The client that started `kern`.
    pub fn stdio(kern: &mut Kern) -> Lines {
        let to = kern.child.stdin.take().unwrap();
        let from = kern.child.stdout.take().unwrap();
        Lines::new(Box::new(to), from)
    }

    pub fn unix(kern: &Kern) -> Lines {
        // It listens there a moment after the port it announces first.
        let mut socket = None;
        super::eventually("the socket is there", || {
            socket = UnixStream::connect(&kern.unix).ok();
            socket.is_some()
        });
        let socket = socket.unwrap();
        let from = socket.try_clone().unwrap();
        let kept = socket.try_clone().unwrap();
        let mut lines = Lines::new(Box::new(socket), from);
        lines.socket = Some(kept);
        lines
    }

    fn new(to: Box<dyn Write + Send>, from: impl Read + Send + 'static) -> Lines {
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line);
                if send.send(message.unwrap_or_else(|_| json!({ "no json": line }))).is_err() {
                    break;
                }
            }
        });
        Lines { to: Some(to), from: receive, next_id: 1, socket: None }
    }

    /// Sends the greeting of 2025-11-25; its result.
    #[track_caller]
    pub fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" }
        });
        let answer = self.request("initialize", params);
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer["result"].clone()
    }

    pub fn send(&mut self, message: &Value) {
        self.send_raw(&format!("{message}\n"));
    }

    pub fn send_raw(&mut self, text: &str) {
        let to = self.to.as_mut().unwrap();
        to.write_all(text.as_bytes()).unwrap();
        to.flush().unwrap();
    }

    /// Sends a request; its id.
    pub fn begin(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The next message; `None` after `limit` or at the end.
    pub fn next(&mut self, limit: Duration) -> Option<Value> {
        self.from.recv_timeout(limit).ok()
    }

    /// Whether the other side ends the conversation within `limit`.
    pub fn is_over(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// The answer to `id`; what comes before it is dropped.
    #[track_caller]
    pub fn answer(&mut self, id: u64) -> Value {
        self.wait(&format!("the answer to {id}"), |message| {
            message["id"] == id && message.get("method").is_none()
        })
    }

    #[track_caller]
    pub fn wait_for(&mut self, method: &str) -> Value {
        self.wait(method, |message| message["method"] == method)
    }

    #[track_caller]
    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        while let Some(message) = self.next(deadline.saturating_duration_since(Instant::now())) {
            if wanted(&message) {
                return message;
            }
            others.push(message);
        }
        panic!("{what} did not come; but: {others:?}")
    }

    #[track_caller]
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Says that no more will be sent.
    pub fn close(&mut self) {
        self.to = None;
    }
}
