//! One document over HTTP, for a person who waits: `GET` on a connection of its own.
//!
//! Bounded in size and time; redirects are not followed, since the address is what the person
//! trusts.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use kern_control::Endpoint;
use kern_mcp::http::{HttpLimits, Piece, ResponseDecoder};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// Longest wait for a connection and for each piece of the answer.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the whole answer.
const WHOLE_WAIT: Duration = Duration::from_secs(20);
/// Longest answer, bytes.
const BYTES_MAX: usize = 16 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer, for people.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing listens there.
    Connect(String),
    /// Something does, and does not answer as asked.
    Answer(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) | Self::Answer(why) => f.write_str(why),
        }
    }
}

/// Asks `endpoint` for what is at `path`.
pub(super) fn get(endpoint: &Endpoint, path: &str, accept: &str) -> Result<Document, Fault> {
    let stream = connect(endpoint).map_err(|error| Fault::Connect(error.to_string()))?;
    let done = match endpoint.tls {
        false => ask(stream, &endpoint.host_header(), path, accept),
        true => encrypted(stream, endpoint, path, accept),
    };
    done.map_err(Fault::Answer)
}

fn encrypted(
    stream: TcpStream,
    endpoint: &Endpoint,
    path: &str,
    accept: &str,
) -> Result<Document, String> {
    let config = kern_reactor::tls_config(&[])?;
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| format!("{:?} cannot be a server's name", endpoint.host))?;
    let connection = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
    ask(StreamOwned::new(connection, stream), &endpoint.host_header(), path, accept)
}

fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let mut last = std::io::ErrorKind::NotFound.into();
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WAIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(WAIT))?;
                stream.set_write_timeout(Some(WAIT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks over a stream that is open already.
pub(super) fn ask(
    mut stream: impl Read + Write,
    host: &str,
    path: &str,
    accept: &str,
) -> Result<Document, String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let limits = HttpLimits { body_bytes_max: BYTES_MAX, ..HttpLimits::DEFAULT };
    let mut decoder = ResponseDecoder::new(limits);
    let mut document = Document { status: 0, body: Vec::new() };
    let mut input = Vec::new();
    let deadline = Instant::now() + WHOLE_WAIT;
    loop {
        if take(&mut decoder, &mut input, &mut document)? {
            return Ok(document);
        }
        if Instant::now() >= deadline {
            return Err(format!("the answer took longer than {} s", WHOLE_WAIT.as_secs()));
        }
        let mut chunk = [0; 16 << 10];
        let count = match stream.read(&mut chunk) {
            Ok(count) => count,
            // Many servers end without TLS's own farewell; the body's length tells whether it
            // is whole.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error.to_string()),
        };
        if count == 0 {
            return match decoder.close() {
                Ok(Piece::End { .. }) if document.status != 0 => Ok(document),
                Ok(_) => Err("the answer is not whole".to_owned()),
                Err(error) => Err(error.to_string()),
            };
        }
        input.extend_from_slice(&chunk[..count]);
    }
}

/// Takes what has come so far; true once the answer is whole.
fn take(
    decoder: &mut ResponseDecoder,
    input: &mut Vec<u8>,
    document: &mut Document,
) -> Result<bool, String> {
    loop {
        let (used, piece) = decoder.decode(input).map_err(|error| error.to_string())?;
        let (more, over) = match piece {
            Piece::NeedMore => (false, false),
            Piece::End { .. } => (false, true),
            Piece::Head(head) => {
                document.status = head.status;
                (true, false)
            }
            Piece::Data(bytes) => {
                document.body.extend_from_slice(bytes);
                (true, false)
            }
        };
        input.drain(..used);
        if !more {
            return Ok(over);
        }
    }
}
