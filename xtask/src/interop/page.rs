//! A page on this machine, for the server that fetches pages.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Plain, since of HTML the server makes text with a program of its own, which takes its time.
const TEXT: &str = "Knots\n\nA bowline holds; a granny does not.\n";

/// The page; it is there until this process ends.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) url: String,
}

impl Page {
    /// Starts to serve it.
    pub(super) fn serve() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = listener.map_err(|error| format!("no port for a page: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer(&socket));
            }
        });
        Ok(Self { url: format!("http://{address}/knots.txt") })
    }
}

/// Answers one request; one that breaks off gets nothing.
fn answer(mut socket: &TcpStream) -> Option<()> {
    socket.set_read_timeout(Some(HEAD)).ok()?;
    let mut lines = BufReader::new(socket).lines();
    let first = lines.next()?.ok()?;
    lines.find(|line| line.as_ref().map_or(true, String::is_empty))?.ok()?;
    let (status, text) = match first.starts_with("GET /knots.txt ") {
        true => ("200 OK", TEXT),
        // It asks for robots.txt first.
        false => ("404 Not Found", ""),
    };
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).ok()?;
    socket.write_all(text.as_bytes()).ok()
}
