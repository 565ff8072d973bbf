//! Do shared-memory rings carry what pipes and sockets carry, and does a peer that dies, lies or
//! does not read cost only itself?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::{Kern, PATIENCE, Setup, both, eventually, fixture, fixture_child};
use kern_shm::{Error, Link, Put, Take};
use serde_json::{Value, json};

const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";
const SECOND: Duration = Duration::from_secs(1);

/// A client on a ring.
struct Ring {
    ring: kern_shm::Client,
    next_id: u64,
    /// It carries all it needs in each request.
    modern: bool,
}

impl Ring {
    fn open(kern: &Kern, modern: bool) -> Ring {
        let mut ring = None;
        eventually("rings are handed out", || {
            ring = kern_shm::Client::connect(path(kern)).ok();
            ring.is_some()
        });
        let mut client = Ring { ring: ring.unwrap(), next_id: 1, modern };
        if !modern {
            let params = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "ring", "version": "1" }
            });
            let greeted = client.request("initialize", params);
            assert_eq!(greeted["result"]["protocolVersion"], "2025-11-25", "{greeted}");
            client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        }
        client
    }

    fn send(&mut self, message: &Value) {
        self.ring.send(message.to_string().as_bytes()).unwrap();
    }

    fn begin(&mut self, method: &str, mut params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if self.modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "ring", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": {}
            });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    fn next(&mut self) -> Value {
        let message = self.ring.recv(Some(PATIENCE)).unwrap();
        assert!(!message.contains(&b'\n'), "a message is no line");
        serde_json::from_slice(&message).unwrap()
    }

    fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }
}

fn path(kern: &Kern) -> PathBuf {
    kern.home().join("kern.ring")
}

fn start(driver: &'static str, config: String) -> Kern {
    let config = format!("[serve]\nring = \"kern.ring\"\n{config}");
    Setup::new(driver, config).start()
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// A server of `era` that is started with a ring.
fn ring_child(name: &str, era: &str) -> String {
    let this = std::env::current_exe().unwrap().display().to_string();
    let server = format!("{}\n--stdio\n--era\n{era}", fixture().display());
    format!(
        "[upstream.{name}]\ncommand = {this:?}\nring = true\n\
         args = [\"a_server_on_a_ring\", \"--exact\", \"--nocapture\"]\n\
         env = {{ RING_SERVER = {server:?} }}\n"
    )
}

/// Not a test of its own: the program that `ring_child` starts. It passes messages between its ring
/// and a server on pipes.
#[test]
fn a_server_on_a_ring() {
    let Ok(server) = std::env::var("RING_SERVER") else { return };
    let words: Vec<&str> = server.lines().collect();
    let mut ring = kern_shm::Client::from_env().unwrap();
    let mut server = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    println!("this goes to the log");
    let mut input = server.stdin.take().unwrap();
    let (said, says) = std::sync::mpsc::channel();
    let output = BufReader::new(server.stdout.take().unwrap());
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| said.send(line).unwrap())
    });
    loop {
        match ring.recv(Some(Duration::from_millis(2))) {
            Ok(message) => {
                input.write_all(&message).unwrap();
                input.write_all(b"\n").unwrap();
            }
            Err(Error::TimedOut) => {}
            Err(_) => break,
        }
        for line in says.try_iter() {
            ring.push(line.as_bytes()).unwrap();
        }
        ring.flush();
    }
    drop(input);
    server.wait().unwrap();
}

#[test]
fn a_client_on_a_ring_is_served_like_one_on_a_pipe_in_both_eras() {
    both(|driver| {
        let kern = start(driver, ECHO.to_owned() + &fixture_child("fix", "both", ""));
        for modern in [false, true] {
            let mut client = Ring::open(&kern, modern);
            eventually("the fixture's tools are listed", || {
                let listed = client.request("tools/list", json!({}));
                listed.to_string().contains("fix__test_echo")
            });
            let given = json!({ "text": "line\nbreak, ünïcode \u{1f9ed}", "number": 1e3 });
            let echoed = client.call("fix__test_echo", given.clone());
            assert_eq!(echoed["result"]["structuredContent"], given, "{echoed}");
            for bytes in [1, 7_000, 9_000, 300_000, 3 << 20] {
                let large = client.call("fix__test_large_text", json!({ "bytes": bytes }));
                assert_eq!(text(&large).len(), bytes);
            }
            let long = "x".repeat(1 << 20);
            let echoed = client.call("echo__echo", json!({ "message": long }));
            assert!(echoed.to_string().contains(&long), "a long argument arrives whole");
            let failed = client.request("no/such", json!({}));
            assert_eq!(failed["error"]["code"], -32601, "{failed}");
            // No message at all: one error, and the conversation goes on.
            client.ring.send(b"{\n\"nonsense\"").unwrap();
            assert_eq!(client.next()["error"]["code"], -32700);
            // A message may be written over several lines.
            let ping = b"{\n  \"jsonrpc\": \"2.0\",\r\n  \"id\": \"p\", \"method\": \"ping\"\n}\n";
            if !modern {
                client.ring.send(ping).unwrap();
                assert_eq!(client.next()["id"], "p");
            }
        }
    });
}

#[test]
fn a_server_on_a_ring_serves_clients_of_both_eras_and_comes_back() {
    both(|driver| {
        let kern = start(driver, ring_child("old", "legacy") + &ring_child("new", "modern"));
        for (name, modern) in [("old", false), ("old", true), ("new", false), ("new", true)] {
            let mut client = Ring::open(&kern, modern);
            let given = json!({ "text": "\u{1f9ed}\n", "number": 7 });
            let mut echoed = json!({});
            eventually("its server is ready", || {
                echoed = client.call(&format!("{name}__test_echo"), given.clone());
                echoed.get("result").is_some()
            });
            assert_eq!(echoed["result"]["structuredContent"], given, "{echoed}");
            let large =
                client.call(&format!("{name}__test_large_text"), json!({ "bytes": 1 << 20 }));
            assert_eq!(text(&large).len(), 1 << 20);
        }
        assert!(kern.log.has("this goes to the log"));
        let mut http = Client::modern(&kern, "/mcp/old");
        assert!(http.tools().contains(&"test_echo".to_owned()));
        for pid in kern.servers("a_server_on_a_ring") {
            harness::process::signal(pid, rustix::process::Signal::KILL);
        }
        let mut client = Ring::open(&kern, true);
        for name in ["old", "new"] {
            eventually("a server that was killed comes back with a new ring", || {
                let echoed = client.call(&format!("{name}__test_echo"), json!({ "text": "again" }));
                echoed["result"]["structuredContent"]["text"] == "again"
            });
        }
    });
}

#[test]
fn ten_clients_at_once_get_their_own_answers() {
    both(|driver| {
        let kern = start(driver, ECHO.to_owned() + &fixture_child("fix", "both", ""));
        Client::modern(&kern, "/mcp/fix").text("test_simple_text", json!({}));
        std::thread::scope(|scope| {
            for number in 0..10 {
                let kern = &kern;
                scope.spawn(move || {
                    let mut client = Ring::open(kern, number % 2 == 0);
                    for round in 0..30 {
                        // Some under way at once.
                        let own = |at: u64| format!("{number}/{round}/{at}");
                        let ids: Vec<(u64, u64)> = (0..4)
                            .map(|at| {
                                let name =
                                    if at % 2 == 0 { "echo__echo" } else { "fix__test_echo" };
                                let arguments = json!({ "message": own(at) });
                                let call = json!({ "name": name, "arguments": arguments });
                                (at, client.begin("tools/call", call))
                            })
                            .collect();
                        let mut left = ids;
                        while !left.is_empty() {
                            let answer = client.next();
                            let found = left.iter().position(|(_, id)| answer["id"] == *id);
                            let (at, _) = left.swap_remove(found.expect("an id of ours"));
                            assert!(answer.to_string().contains(&own(at)), "{answer}");
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn a_client_that_dies_in_mid_call_costs_nobody_else_anything() {
    both(|driver| {
        let kern = start(driver, fixture_child("fix", "both", ""));
        let mut stays = Ring::open(&kern, true);
        let mut arguments = json!({ "text": "still here" });
        eventually("the fixture is ready", || {
            stays.call("test_echo", arguments.clone()).get("result").is_some()
        });
        for round in 0..20 {
            let mut dies = Ring::open(&kern, round % 2 == 0);
            let slow = json!({ "name": "test_delay", "arguments": { "ms": 50 } });
            for _ in 0..round {
                dies.begin("tools/call", slow.clone());
            }
            drop(dies);
            arguments["round"] = json!(round);
            let echoed = stays.call("test_echo", arguments.clone());
            assert_eq!(echoed["result"]["structuredContent"], arguments, "{echoed}");
        }
    });
}

/// Takes the ring of a guest apart: its memory's file, and the socket.
fn raw(kern: &Kern) -> (OwnedFd, UnixStream) {
    let mut socket = None;
    eventually("rings are handed out", || {
        socket = UnixStream::connect(path(kern)).ok();
        socket.is_some()
    });
    let socket = socket.unwrap();
    let mut bytes = [0; 16];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    let flags = rustix::net::RecvFlags::empty();
    rustix::net::recvmsg(&socket, &mut slices, &mut control, flags).unwrap();
    let mut fds = control.drain().flat_map(|message| match message {
        rustix::net::RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let (_host, own) = (fds.next().unwrap(), fds.next().unwrap());
    (own, socket)
}

#[test]
fn a_client_that_lies_loses_its_ring_and_nobody_else_does() {
    both(|driver| {
        let kern = start(driver, ECHO.to_owned());
        let mut honest = Ring::open(&kern, true);
        // Where it writes what: the tail, and the first record.
        let lies: [&[(u64, u32)]; 6] = [
            &[(64, 12)],
            &[(64, u32::MAX)],
            &[(4096, 1 << 30), (4100, 1), (64, 16)],
            &[(4096, 8), (4100, 9), (64, 16)],
            &[(4096, 8), (4100, 2), (4104, 4000), (64, 16)],
            &[(4096, 0), (4100, 0x101), (64, 8)],
        ];
        for lie in lies {
            let (own, mut socket) = raw(&kern);
            for (at, value) in lie {
                rustix::io::pwrite(&own, &value.to_le_bytes(), *at).unwrap();
            }
            socket.write_all(&[1]).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            // Perhaps a byte that says "look" first, then the end.
            let mut rest = Vec::new();
            let end = socket.read_to_end(&mut rest);
            assert!(end.is_ok() || end.is_err_and(|e| e.raw_os_error() == Some(104)), "{lie:?}");
            assert_eq!(text(&honest.call("echo", json!({ "message": "true" }))), "true");
        }
        // A head that says it took what was never put shows only when there is something to put.
        let (own, mut socket) = raw(&kern);
        rustix::io::pwrite(&own, &4096_u32.to_le_bytes(), 128).unwrap();
        socket.write_all(&[1]).unwrap();
        assert_eq!(text(&honest.call("echo", json!({ "message": "true" }))), "true");
    });
}

#[test]
fn a_client_that_does_not_read_waits_and_the_others_dont() {
    both(|driver| {
        let kern = start(driver, ECHO.to_owned());
        let mut reader = Ring::open(&kern, true);
        let socket = UnixStream::connect(path(&kern)).unwrap();
        let mut link = Link::guest(socket).unwrap();
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "deaf", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {}
        });
        let arguments = json!({ "message": "y".repeat(2000) });
        let request = |id: usize| {
            let params = json!({ "name": "echo", "arguments": arguments, "_meta": meta });
            let call =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
            call.to_string().into_bytes()
        };
        // Until nothing more goes in for a second: its own ring, kern's queue for it, and the ring
        // back are full.
        let mut sent = 0;
        let mut moved = Instant::now();
        let mut rest = request(0);
        while moved.elapsed() < SECOND {
            match link.put(&rest).unwrap() {
                Put::Whole => {
                    sent += 1;
                    rest = request(sent);
                    moved = Instant::now();
                }
                Put::Part(put) => {
                    if put > 0 {
                        moved = Instant::now();
                    }
                    rest.drain(..put);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            link.tell();
            assert!(sent < 100_000, "it never stops taking");
        }
        assert!(sent > 100, "{sent}");
        assert_eq!(text(&reader.call("echo", json!({ "message": "here" }))), "here");
        // Now it reads: every answer is there, once.
        let mut seen = vec![false; sent];
        let (mut taken, mut count) = (Vec::new(), 0);
        let deadline = Instant::now() + PATIENCE;
        while count < sent {
            match link.take(&mut taken).unwrap() {
                Take::Whole => {
                    let answer: Value = serde_json::from_slice(&taken).unwrap();
                    let id = answer["id"].as_u64().unwrap() as usize;
                    assert!(!std::mem::replace(&mut seen[id], true), "answered twice");
                    taken.clear();
                    count += 1;
                }
                Take::Part => {}
                Take::Nothing => {
                    link.tell();
                    std::thread::sleep(Duration::from_millis(1));
                    assert!(Instant::now() < deadline, "{count} of {sent} answers");
                }
            }
        }
    });
}

#[test]
fn calls_under_way_are_answered_before_the_end() {
    both(|driver| {
        let mut kern = start(driver, ring_child("fix", "modern"));
        let mut client = Ring::open(&kern, true);
        eventually("the fixture is ready", || {
            client.call("test_echo", json!({ "text": "?" })).get("result").is_some()
        });
        let slow = json!({ "name": "test_delay", "arguments": { "ms": 1500 } });
        let id = client.begin("tools/call", slow);
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        assert!(client.answer(id)["result"].is_object());
        assert!(matches!(client.ring.recv(Some(PATIENCE)), Err(Error::Gone)));
        assert_eq!(kern.ends_within(SECOND * 10).code(), Some(0));
        kern.leaves_nobody(SECOND);
        assert!(!path(&kern).exists(), "the socket's file is left over");
    });
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answers() {
    both(|driver| {
        let kern = start(driver, fixture_child("fix", "both", ""));
        for modern in [false, true] {
            let mut client = Ring::open(&kern, modern);
            eventually("the fixture is ready", || {
                client.call("test_echo", json!({ "text": "?" })).get("result").is_some()
            });
            let slow = json!({ "name": "test_delay", "arguments": { "ms": 300 } });
            let id = client.begin("tools/call", slow);
            client.ring.finish();
            assert!(client.answer(id)["result"].is_object());
            assert!(matches!(client.ring.recv(Some(PATIENCE)), Err(Error::Gone)));
        }
    });
}
