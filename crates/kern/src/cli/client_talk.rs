//! One conversation of the command line with one server, in revision 2026-07-28.
//!
//! An event loop in this process holds the server as its only upstream and serves this thread over
//! a socket pair; a ring needs none. Invariants: one request is open at a time; Ctrl-C cancels it at
//! the server before this process ends (over a ring by ending the ring); a server that was started
//! here is ended with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern_control::{LogPlan, Plan, ServePlan, Surroundings, UpstreamPlan};
use kern_mcp::json;
use kern_reactor::driver::{Choice, Socket};
use kern_reactor::{App, Cluster, Event, Options};
use kern_terms::CoreId;
use serde_json::Value;

use super::client_ring::Ring;
use super::setup::Setups;
use super::show::Ticker;
use crate::core::words::{Post, STILL_STARTING};
use crate::core::{Core, Io, PairClient, Start};

#[cfg(not(unix))]
use std::net::TcpStream as PairStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream as PairStream;

/// How often a wait is shown.
const TICK: Duration = Duration::from_millis(250);
/// How long this waits beyond the time the event loop itself gives a request.
const BEYOND: Duration = Duration::from_secs(5);
/// How long a cancelled request's server may take to be told.
const CANCEL_MOST: Duration = Duration::from_millis(300);

/// Why a verb could not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The words on the command line don't fit; nothing was sent.
    Usage(String),
    /// The server answered with a JSON-RPC error.
    Refused { code: i64, message: String, data: Option<String> },
    /// No answer came.
    Other(String),
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    pub(super) fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    pub(super) fn other(why: impl Into<String>) -> Self {
        Self::Other(why.into())
    }
}

/// What the conversation hears.
pub(super) enum Heard {
    Message(Vec<u8>),
    Closed,
    Interrupted,
    /// Nothing for a while.
    Nothing,
}

/// The event loop, which tells of Ctrl-C instead of ending.
struct Watched {
    core: Core,
    interrupted: Sender<Heard>,
}

impl App for Watched {
    type Post = Post;

    fn start(&mut self, io: &mut Io) {
        self.core.start(io);
    }

    fn event(&mut self, io: &mut Io, event: Event<Post>) {
        match event {
            // Nobody listens once the verb is done; it ends anyway.
            Event::Signal(_) => drop(self.interrupted.send(Heard::Interrupted)),
            event => self.core.event(io, event),
        }
    }
}

/// What carries a conversation.
enum Way {
    Loop { cluster: Option<Cluster<Post>>, heard: Receiver<Heard>, stream: PairStream },
    Ring(Box<Ring>),
}

impl Way {
    /// Sends a message, which ends with a newline.
    fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Loop { stream, .. } => {
                stream.write_all(message).map_err(|error| Failure::other(error.to_string()))
            }
            Self::Ring(ring) => ring.send(message.trim_ascii_end()),
        }
    }

    /// What comes next, within a tick.
    fn hear(&mut self) -> Result<Heard, Failure> {
        match self {
            Self::Loop { heard, .. } => Ok(match heard.recv_timeout(TICK) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => Heard::Nothing,
                Err(RecvTimeoutError::Disconnected) => Heard::Closed,
            }),
            Self::Ring(ring) => ring.hear(TICK),
        }
    }
}

/// A conversation.
pub(super) struct Client {
    way: Way,
    ticker: Ticker,
    last_id: u64,
    timeout: Duration,
    shown: String,
}

impl Client {
    /// Starts the event loop with `upstream` as its only server, `unix` its socket if it has one.
    pub(super) fn start(
        around: &Surroundings,
        upstream: UpstreamPlan,
        unix: Option<PathBuf>,
        shown: String,
        timeout_ms: u64,
    ) -> Result<Self, Failure> {
        // The reason a server is down comes with the answer; the log would say it twice.
        super::log::start(&LogPlan { level: "error".into(), ..LogPlan::default() })
            .map_err(Failure::Other)?;
        let failed = |error: std::io::Error| {
            Failure::other(format!("the event loop cannot be started: {error}"))
        };
        let endpoint = Arc::from(upstream.name.as_str());
        let serve = ServePlan { listen: None, ..ServePlan::default() };
        let plan = Plan { serve, upstreams: vec![upstream], ..Plan::default() };
        let ids = vec![CoreId(0)];
        let setup = Setups::default().make(plan, around, ids, super::serve::keeper(), unix);
        if let Some(Err(why)) = setup.upstreams.values().next().map(|spec| &spec.launch) {
            let why = why.strip_prefix("upstream `server`, ").unwrap_or(why);
            return Err(Failure::usage(why));
        }
        let (theirs, stream) = pair().map_err(failed)?;
        let socket = theirs.set_nonblocking(true).map(|()| socket(theirs)).map_err(failed)?;
        let (tell, heard) = channel();
        let start = Start {
            setup: Arc::new(setup),
            listen: Vec::new(),
            stdio: false,
            ready: channel().0,
            stdio_done: None,
            pair: Arc::new(Mutex::new(Some(PairClient { socket, endpoint: Some(endpoint) }))),
        };
        let interrupted = Mutex::new(tell.clone());
        let options = Options { driver: Choice::Portable, signals: true, ..Options::default() };
        let cluster = Cluster::start(options, move |core| Watched {
            core: Core::new(core, start.clone()),
            interrupted: interrupted.lock().expect("nobody panics with it").clone(),
        })
        .map_err(failed)?;
        listen(stream.try_clone().map_err(failed)?, tell).map_err(failed)?;
        Ok(Self::over(Way::Loop { cluster: Some(cluster), heard, stream }, shown, timeout_ms))
    }

    /// Talks over the ring of a running kern.
    pub(super) fn ring(path: &Path, shown: String, timeout_ms: u64) -> Result<Self, Failure> {
        Ok(Self::over(Way::Ring(Box::new(Ring::connect(path)?)), shown, timeout_ms))
    }

    fn over(way: Way, shown: String, timeout_ms: u64) -> Self {
        let timeout = Duration::from_millis(timeout_ms);
        Self { way, ticker: Ticker::default(), last_id: 0, timeout, shown }
    }

    /// Asks, and waits for the result: raw JSON. `members` are those of `params`, without `_meta`.
    pub(super) fn ask(&mut self, method: &str, members: &str) -> Result<Vec<u8>, Failure> {
        let since = Instant::now();
        loop {
            let answer = self.ask_once(method, members, since);
            // A slow start has the whole time given, not only what a request waits for it.
            match &answer {
                Err(Failure::Refused { message, .. })
                    if message.contains(STILL_STARTING) && since.elapsed() < self.timeout => {}
                _ => {
                    self.ticker.clear();
                    return answer;
                }
            }
        }
    }

    fn ask_once(
        &mut self,
        method: &str,
        members: &str,
        since: Instant,
    ) -> Result<Vec<u8>, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let message = request(id, method, members);
        self.way.send(&message)?;
        let until = Instant::now() + self.timeout + BEYOND;
        loop {
            match self.way.hear()? {
                Heard::Message(message) => {
                    if let Some(answer) = self.message(id, &message) {
                        return answer;
                    }
                }
                Heard::Interrupted => return self.cancel(id),
                Heard::Closed => {
                    let why = match &self.way {
                        Way::Loop { .. } => "the event loop ended".to_owned(),
                        Way::Ring(_) => format!("the ring at {} ended", self.shown),
                    };
                    return Err(Failure::other(why));
                }
                Heard::Nothing if Instant::now() >= until => {
                    let why = format!("no answer from {} in {:?}", self.shown, self.timeout);
                    return Err(Failure::other(why));
                }
                Heard::Nothing => self.ticker.wait(&self.shown, since.elapsed()),
            }
        }
    }

    /// Takes a message; the answer to request `id`, if it is that.
    fn message(&mut self, id: u64, message: &[u8]) -> Option<Result<Vec<u8>, Failure>> {
        if let Some(method) = json::text_field(message, "method") {
            let params = json::field(message, "params").unwrap_or_default();
            match method.as_str() {
                "notifications/progress" => self.ticker.progress(params),
                "notifications/message" => self.ticker.log(params),
                _ => {}
            }
            return None;
        }
        if json::field(message, "id").and_then(json::integer_u64) != Some(id) {
            return None;
        }
        if let Some(result) = json::field(message, "result") {
            return Some(Ok(result.to_vec()));
        }
        let error = json::field(message, "error").unwrap_or_default();
        Some(Err(Failure::Refused {
            code: json::field(error, "code").and_then(json::integer_i64).unwrap_or_default(),
            message: json::text_field(error, "message").unwrap_or_default(),
            data: json::field(error, "data").map(|data| String::from_utf8_lossy(data).into_owned()),
        }))
    }

    fn cancel(&mut self, id: u64) -> Result<Vec<u8>, Failure> {
        self.ticker.clear();
        let mut message = Vec::new();
        let params = format!("{{\"requestId\":{id},\"reason\":\"interrupted\"}}");
        kern_mcp::encode::notification(
            &mut message,
            "notifications/cancelled",
            Some(params.as_bytes()),
        );
        message.push(b'\n');
        if self.way.send(&message).is_ok() {
            std::thread::sleep(CANCEL_MOST);
        }
        Err(Failure::Interrupted)
    }

    /// All items of a list, page by page: the raw text of each.
    pub(super) fn list(&mut self, method: &str, member: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let members = cursor
                .map_or(String::new(), |cursor| format!("\"cursor\":{}", Value::from(cursor)));
            let page = self.ask(method, &members)?;
            let array = json::field(&page, member).unwrap_or(b"[]");
            items.extend(json::items(array).map(<[u8]>::to_vec));
            cursor = json::text_field(&page, "nextCursor");
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ticker.clear();
        if let Way::Loop { cluster, stream, .. } = &mut self.way
            && let Some(cluster) = cluster.take()
        {
            // The event loop does not wait for a client that is gone.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            cluster.handle().stop();
            // How it ended changes nothing any more.
            let _ = cluster.join();
        }
    }
}

/// A request of revision 2026-07-28, as a line.
fn request(id: u64, method: &str, members: &str) -> Vec<u8> {
    let comma = if members.is_empty() { "" } else { "," };
    let info = crate::core::INFO;
    let params = format!(
        "{{{members}{comma}\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientInfo\":{info},\
         \"io.modelcontextprotocol/clientCapabilities\":{{}},\
         \"io.modelcontextprotocol/logLevel\":\"warning\",\"progressToken\":{id}}}}}"
    );
    let mut message = Vec::new();
    kern_mcp::encode::request(&mut message, id, method, Some(params.as_bytes()));
    message.push(b'\n');
    message
}

/// Reads lines off the socket until it closes.
fn listen(stream: PairStream, tell: Sender<Heard>) -> std::io::Result<()> {
    let read = move || {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let heard = match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => Heard::Closed,
                Ok(_) => Heard::Message(line),
            };
            let closed = matches!(heard, Heard::Closed);
            if tell.send(heard).is_err() || closed {
                return;
            }
        }
    };
    std::thread::Builder::new().name("kern-client".into()).spawn(read).map(drop)
}

#[cfg(unix)]
fn pair() -> std::io::Result<(PairStream, PairStream)> {
    PairStream::pair()
}

#[cfg(unix)]
fn socket(stream: PairStream) -> Socket {
    Socket::Unix(stream)
}

/// Two ends of a connection over loopback; a stranger who connects in between is turned away.
#[cfg(not(unix))]
fn pair() -> std::io::Result<(PairStream, PairStream)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let ours = PairStream::connect(listener.local_addr()?)?;
    loop {
        let (theirs, peer) = listener.accept()?;
        if peer == ours.local_addr()? {
            return Ok((theirs, ours));
        }
    }
}

#[cfg(not(unix))]
fn socket(stream: PairStream) -> Socket {
    Socket::Tcp(stream)
}
