//! Does the program work on every system: over stdio, over HTTP, and with a server in a child?
//!
//! The child is another kern, so nothing else is needed. What needs `/proc`, signals or Unix
//! sockets is in the other files.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The program, whatever the current folder.
fn own() -> String {
    std::path::absolute(env!("CARGO_BIN_EXE_kern")).unwrap().display().to_string()
}

const PATIENCE: Duration = Duration::from_secs(30);
const INNER: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

/// A home without any client's files, and in it the configuration of a kern whose only server is a
/// kern.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let inner = home.path().join("inner.toml");
    std::fs::write(&inner, INNER).unwrap();
    let outer = format!(
        "[upstream.inner]\ncommand = {:?}\nargs = [\"serve\", \"--stdio\", \"--config\", {:?}]\n",
        own(),
        inner.display().to_string(),
    );
    std::fs::write(home.path().join("outer.toml"), outer).unwrap();
    home
}

fn kern(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(own());
    for name in ["HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env(name, home);
    }
    command.args(words).current_dir(home).env_remove("KERN_LOG").env_remove("KERN_URL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A kern that is killed with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the process has ended by itself; its exit status.
fn ended(running: &mut Running) -> Option<i32> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn check(home: &Path, words: &[&str], code: i32, out: &str) {
    let output = kern(home, words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {stdout}{stderr}");
    assert!(stdout.contains(out), "{words:?}: {stdout}{stderr}");
}

#[test]
fn a_line_client_reaches_a_server_in_a_child_and_kern_ends_with_its_client() {
    let home = home();
    let words = ["serve", "--stdio", "--config", "outer.toml"];
    let mut kern = Running(kern(home.path(), &words).stdin(Stdio::piped()).spawn().unwrap());
    let mut input = kern.0.stdin.take().unwrap();
    let mut output = BufReader::new(kern.0.stdout.take().unwrap()).lines();
    let mut ask = |id: u32, method: &str, params: &str| {
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        writeln!(input, "{message}").unwrap();
        let mine = format!(r#""id":{id},"#);
        output.by_ref().map(Result::unwrap).find(|line| line.contains(&mine)).unwrap()
    };
    let client = r#""capabilities":{},"clientInfo":{"name":"t","version":"1"}"#;
    let hello = format!(r#"{{"protocolVersion":"2025-11-25",{client}}}"#);
    let greeting = ask(1, "initialize", &hello);
    assert!(greeting.contains("2025-11-25"), "{greeting}");
    let call = r#"{"name":"echo","arguments":{"message":"across"}}"#;
    let until = Instant::now() + PATIENCE;
    // The server may still be starting.
    let mut said = String::new();
    for id in 2.. {
        said = ask(id, "tools/call", call);
        if said.contains("across") || Instant::now() > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(said.contains("across"), "{said}");
    drop(input);
    assert_eq!(ended(&mut kern), Some(0));
}

#[test]
fn an_http_client_is_served_and_the_command_line_is_one() {
    let home = home();
    let words = ["serve", "--listen", "127.0.0.1:0", "--config", "outer.toml"];
    let mut kern = Running(kern(home.path(), &words).spawn().unwrap());
    let mut lines = BufReader::new(kern.0.stderr.take().unwrap()).lines();
    let address: SocketAddr = lines
        .by_ref()
        .find_map(|line| line.unwrap().split_once("http://")?.1.strip_suffix("/mcp")?.parse().ok())
        .expect("it says where it serves");
    // What is not read would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    let url = format!("http://{address}");
    check(home.path(), &["call", "inner", "echo", "message=hello", "--url", &url], 0, "hello");
    check(home.path(), &["ls", "--url", &url], 0, "echo");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"inner\""), "{answer}");
}

#[test]
fn a_command_is_talked_to_without_any_configuration() {
    let home = home();
    let own = own();
    let server = ["--", &own, "serve", "--stdio", "--config", "inner.toml"];
    let words = [&["call", "echo", "message=direct"][..], &server].concat();
    check(home.path(), &words, 0, "direct");
    check(home.path(), &["doctor"], 0, "event loop");
    check(home.path(), &["ls", "--", "no-such-program-anywhere"], 2, "");
}

#[test]
fn a_unix_socket_where_there_are_none_is_refused_in_words() {
    if cfg!(unix) {
        return;
    }
    let home = home();
    let words = ["serve", "--unix", "kern.sock", "--config", "inner.toml"];
    let output = kern(home.path(), &words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Unix sockets are not available on this system"), "{said}");
}
