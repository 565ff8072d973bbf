//! A server process that ends when we end.
//!
//! Invariant: the server outlives neither its guard nor this process, even if that is killed. Only
//! we hold the write end of its stdin; when that closes, the server ends by itself, or a shell
//! that stands between ends it: first with SIGTERM, after five seconds with SIGKILL.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs its arguments as the server until they end or stdin does, and exits as they did.
const WATCH: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(
    cat <&3 >/dev/null
    kill "$server"
    for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; kill -0 "$server" || exit; done
    kill -9 "$server"
) 2>/dev/null &
watcher=$!
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

/// How long a server may take to end before it is killed outright.
const END: Duration = Duration::from_secs(8);
/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(2);

/// A running server.
pub(crate) struct Guarded {
    child: Child,
}

impl Guarded {
    /// Starts a server that ends by itself when its stdin does. Its stdout can be read.
    pub(crate) fn start(command: Command) -> Result<Guarded, String> {
        let mut command = command;
        command.stdout(Stdio::piped());
        Guarded::spawn(command)
    }

    /// Starts any server, with a shell that ends it. What it prints goes to the log.
    pub(crate) fn watch(command: &Command, log: &Path) -> Result<Guarded, String> {
        let opened = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (first, second) =
            opened.map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCH, "sh"]).arg(command.get_program()).args(command.get_args());
        shell.stdout(first).stderr(second);
        Guarded::spawn(shell)
    }

    fn spawn(mut command: Command) -> Result<Guarded, String> {
        command.stdin(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Guarded { child }),
            Err(error) => Err(format!("cannot start {}: {error}", command.get_program().display())),
        }
    }

    /// The first line the server prints.
    pub(crate) fn first_line(&mut self) -> Result<String, String> {
        let output = self.child.stdout.take().ok_or("the server's stdout is not piped")?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.map_err(|error| format!("the server said nothing: {error}"))?;
        Ok(line)
    }

    /// Waits until the server answers a discovery request at `url` with success; after `limit`,
    /// any HTTP answer is enough (the suite will say what is wrong with it).
    pub(crate) fn wait_ready(&mut self, url: &str, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            let status = probe(url);
            let late = Instant::now() >= deadline;
            match status {
                Some(200) => return Ok(()),
                Some(_) if late => return Ok(()),
                None if late => return Err(format!("nothing answers at {url}")),
                _ => sleep(Duration::from_millis(50)),
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server at {url} ended: {status}"));
            }
        }
    }
}

impl Guarded {
    /// Whether the server has ended.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        // It may have ended just now; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The HTTP status of a discovery request; nothing when there is no HTTP answer.
fn probe(url: &str) -> Option<u16> {
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut socket = TcpStream::connect_timeout(&address.parse().ok()?, PROBE).ok()?;
    socket.set_read_timeout(Some(PROBE)).ok()?;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: server/discover\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut head = [0; 12];
    socket.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
