//! The least that an HTTP server on the reactor can do: every whole request gets one fixed answer.
//!
//! What `kern` costs beyond this is what it does about MCP. It understands no message; only the
//! HTTP decoder looks at the bytes. Where a request lies whole in one piece it is not copied.
//!
//! `floor uring|portable [ADDRESS]` prints `listening on http://…` once it listens, and runs until
//! it is killed.

use std::net::SocketAddr;
use std::time::Duration;

use kern_mcp::http::{Decoded, HttpLimits, RequestDecoder, encode};
use kern_reactor::driver::Choice;
use kern_reactor::{App, Cluster, Event, Io, Listen, Local, Options};
use kern_terms::Key;

/// The answer: what an echo of about 100 bytes looks like.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}]}}"#;

/// A connection: its decoder, and the start of a request that has not come whole.
struct Connection {
    stream: Key,
    decoder: RequestDecoder,
    rest: Vec<u8>,
}

struct Floor {
    address: SocketAddr,
    /// By the stream's slot.
    connections: Vec<Option<Connection>>,
}

impl Floor {
    fn connection(&mut self, stream: Key) -> Option<&mut Connection> {
        let slot = self.connections.get_mut(stream.slot as usize)?;
        slot.as_mut().filter(|connection| connection.stream == stream)
    }

    fn open(&mut self, stream: Key) {
        let slot = stream.slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        let decoder = RequestDecoder::new(HttpLimits::default());
        self.connections[slot] = Some(Connection { stream, decoder, rest: Vec::new() });
    }

    fn close(&mut self, stream: Key) {
        if self.connection(stream).is_some() {
            self.connections[stream.slot as usize] = None;
        }
    }
}

/// Answers every whole request in `input`; says how much of it was used, nothing if it is broken.
fn answer(
    decoder: &mut RequestDecoder,
    io: &mut Io<()>,
    stream: Key,
    input: &[u8],
) -> Option<usize> {
    let mut used = 0;
    loop {
        match decoder.decode(&input[used..]) {
            Ok(Decoded::Complete { consumed, request }) => {
                let keep_alive = request.keep_alive;
                io.send_with(stream, |out| {
                    encode::json_response(out, 200, &[], keep_alive, &[ANSWER.as_bytes()]);
                });
                used += consumed;
            }
            Ok(Decoded::Incomplete { consumed, .. }) => return Some(used + consumed),
            Err(_) => return None,
        }
    }
}

impl App for Floor {
    type Post = ();

    fn start(&mut self, io: &mut Io<()>) {
        let at = Listen::Tcp { address: self.address, shared: false };
        match io.listen(&at) {
            Ok((_, Local::Tcp(address))) => {
                println!("listening on http://{address}/ with {}", io.driver());
            }
            other => {
                eprintln!("cannot listen on {}: {other:?}", self.address);
                std::process::exit(1);
            }
        }
    }

    fn event(&mut self, io: &mut Io<()>, event: Event<()>) {
        match event {
            Event::Accepted { stream, .. } => self.open(stream),
            Event::Received { stream, chunk } => {
                let Some(connection) = self.connection(stream) else { return };
                let Connection { decoder, rest, .. } = connection;
                let used = if rest.is_empty() {
                    let used = answer(decoder, io, stream, &chunk);
                    rest.extend_from_slice(&chunk[used.unwrap_or(chunk.len())..]);
                    used
                } else {
                    rest.extend_from_slice(&chunk);
                    let used = answer(decoder, io, stream, rest);
                    rest.drain(..used.unwrap_or(0));
                    used
                };
                if used.is_none() {
                    self.close(stream);
                    io.abort(stream);
                }
            }
            Event::Finished { stream } => {
                self.close(stream);
                io.close(stream, Duration::ZERO);
            }
            Event::Closed { stream, .. } => self.close(stream),
            _ => {}
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let driver = match arguments.next().as_deref() {
        Some("uring") => Choice::Uring,
        Some("portable") => Choice::Portable,
        _ => return Err(std::io::Error::other("usage: floor uring|portable [ADDRESS]")),
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let options = Options { driver, ..Options::default() };
    let cluster = Cluster::start(options, move |_| Floor { address, connections: Vec::new() })?;
    cluster.join()
}
