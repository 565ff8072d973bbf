//! Does every transport, towards clients and towards servers, carry the same?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::client::Client;
use harness::http::{Conn, bare, post};
use harness::lines::Lines;
use harness::parks;
use harness::{Kern, PATIENCE, Setup, both, eventually, fixture_child, python, remote, script};
use serde_json::{Value, json};

/// The server's; its clients are of the old one.
const ERAS: [&str; 2] = ["legacy", "modern"];

/// A second upstream, so that names have prefixes.
const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

/// A conversation in which messages come one by one, whatever carries them.
trait Channel {
    fn send(&mut self, message: &Value);
    fn next(&mut self) -> Value;
}

impl Channel for Lines {
    fn send(&mut self, message: &Value) {
        Lines::send(self, message);
    }

    fn next(&mut self) -> Value {
        Lines::next(self, PATIENCE).expect("a message comes")
    }
}

/// A client of HTTP+SSE (2024-11-05).
struct OldSse {
    stream: Conn,
    posts: Conn,
    path: String,
}

impl OldSse {
    fn open(kern: &Kern, path: &str) -> OldSse {
        let mut stream = Conn::tcp(kern.address());
        stream.send(bare("GET", path, &[("Accept", "text/event-stream")]));
        let head = stream.head(PATIENCE).unwrap();
        assert_eq!(head.status, 200, "{head:?}");
        let endpoint = stream.event(PATIENCE).unwrap();
        assert_eq!(endpoint.name, "endpoint");
        OldSse { stream, posts: Conn::tcp(kern.address()), path: endpoint.data }
    }
}

impl Channel for OldSse {
    fn send(&mut self, message: &Value) {
        assert!(self.posts.send(post(&self.path, &[], &message.to_string())));
        let response = self.posts.response();
        assert_eq!(response.status(), 202, "{response:?}");
    }

    fn next(&mut self) -> Value {
        let event = self.stream.event(PATIENCE).expect("an event comes");
        assert_eq!(event.name, "message");
        serde_json::from_str(&event.data).unwrap()
    }
}

/// All that an old client does in a conversation; `prefix` stands before the names of tools.
fn converse(channel: &mut dyn Channel, prefix: &str, revision: &str) {
    let request = |id: &Value, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let greeting = json!({
        "protocolVersion": revision,
        "capabilities": { "sampling": {} },
        "clientInfo": { "name": "test", "version": "1" }
    });
    let mut ask = |id: Value, method: &str, params: Value| {
        channel.send(&request(&id, method, params));
        let mut between = Vec::new();
        loop {
            let message = channel.next();
            if message["method"] == "sampling/createMessage" {
                let content = json!({ "type": "text", "text": "as a model says" });
                let result = json!({ "role": "assistant", "model": "m", "content": content });
                let id = &message["id"];
                channel.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
            } else if message["id"] == id && message.get("method").is_none() {
                return (message, between);
            } else {
                between.push(message);
            }
        }
    };
    let (greeted, _) = ask(json!(0), "initialize", greeting);
    assert_eq!(greeted["result"]["protocolVersion"], revision, "{greeted}");
    let (listed, _) = ask(json!("list"), "tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let echo = format!("{prefix}test_echo");
    assert!(tools.iter().any(|tool| tool["name"] == echo), "{listed}");
    let call = |tool: &str, arguments: Value| json!({ "name": format!("{prefix}{tool}"), "arguments": arguments, "_meta": { "progressToken": "p" } });
    let given = json!({ "text": "line\nbreak, ünïcode \u{1f9ed}", "number": 1e3 });
    let (echoed, _) = ask(json!(2), "tools/call", call("test_echo", given.clone()));
    assert_eq!(echoed["result"]["structuredContent"], given, "{echoed}");
    let (_, between) = ask(json!(3), "tools/call", call("test_tool_with_progress", json!({})));
    let progress = between.iter().filter(|one| one["method"] == "notifications/progress");
    assert_eq!(progress.count(), 3, "{between:?}");
    let (asked, _) = ask(json!(4), "tools/call", call("test_sampling", json!({ "prompt": "?" })));
    let text = asked["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("as a model says"), "{asked}");
    let (large, _) =
        ask(json!(5), "tools/call", call("test_large_text", json!({ "bytes": 3 << 20 })));
    assert_eq!(large["result"]["content"][0]["text"].as_str().map(str::len), Some(3 << 20));
    let (failed, _) = ask(json!(6), "no/such", json!({}));
    assert_eq!(failed["error"]["code"], -32601, "{failed}");
}

#[test]
fn stdin_and_stdout_carry_all_a_client_does() {
    both(|driver| {
        for era in ERAS {
            let config = fixture_child("fix", era, "") + ECHO;
            let mut kern = Setup::new(driver, config).stdio().start();
            converse(&mut Lines::stdio(&mut kern), "fix__", "2025-11-25");
        }
    });
}

#[test]
fn a_unix_socket_carries_lines_and_http() {
    both(|driver| {
        let config = fixture_child("fix", "legacy", "") + &fixture_child("new", "modern", "");
        let kern = Setup::new(driver, config).cores(2).start();
        for prefix in ["fix__", "new__"] {
            converse(&mut Lines::unix(&kern), prefix, "2025-06-18");
            converse(&mut Lines::unix(&kern), prefix, "2024-11-05");
        }
        let client = Client::modern(&kern, "/mcp/fix");
        let params = json!({ "name": "test_echo", "arguments": { "a": 1 } });
        let body = client.body("tools/call", params, 1);
        let headers = client.headers(&body);
        let headers: Vec<_> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let mut conn = Conn::unix(&kern.unix);
        for _ in 0..3 {
            conn.send(post("/mcp/fix", &headers, &body));
            let answer = conn.response().json();
            assert_eq!(answer["result"]["structuredContent"], json!({ "a": 1 }), "{answer}");
        }
    });
}

#[test]
fn clients_of_http_with_sse_are_served_on_every_core() {
    both(|driver| {
        let config = fixture_child("fix", "legacy", "") + &fixture_child("other", "modern", "");
        let kern = Setup::new(driver, config).cores(3).start();
        for _ in 0..2 {
            converse(&mut OldSse::open(&kern, "/sse"), "fix__", "2024-11-05");
            converse(&mut OldSse::open(&kern, "/sse/fix"), "", "2024-11-05");
            converse(&mut OldSse::open(&kern, "/sse/other"), "", "2024-11-05");
        }
        let mut one = OldSse::open(&kern, "/sse/other");
        let path = one.path.clone();
        one.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        assert_eq!(one.next()["id"], 1);
        drop(one);
        eventually("a stream that is gone takes no posts", || {
            let mut conn = Conn::tcp(kern.address());
            conn.send(post(&path, &[], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
            conn.response().status() == 404
        });
        let mut conn = Conn::tcp(kern.address());
        conn.send(bare("GET", "/sse/nobody", &[("Accept", "text/event-stream")]));
        assert_eq!(conn.response().status(), 404);
    });
}

/// A server of `harness/remote.py`; it ends with its guard.
struct Remote {
    child: Child,
    url: String,
}

impl Remote {
    fn start(mode: &str, more: &[&Path]) -> Remote {
        let mut command = Command::new(python());
        command.args(["-SEB", &script("remote.py"), mode]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Remote { child, url: url.trim().to_owned() }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn counts(client: &mut Client) -> Value {
    serde_json::from_str(&client.text("counts", json!({}))).unwrap()
}

#[test]
fn servers_of_http_with_sse_are_reached_by_name_or_by_trial() {
    both(|driver| {
        let (told, tried) = (Remote::start("sse", &[]), Remote::start("sse", &[]));
        let config = remote("told", &told.url, "transport = \"sse\"")
            + &remote("tried", &tried.url, "")
            + &remote("refused", &tried.url, "transport = \"http\"");
        let kern = Setup::new(driver, config).cores(2).start();
        for name in ["told", "tried"] {
            let path = format!("/mcp/{name}");
            let mut new = Client::modern(&kern, &path);
            let mut old = Client::legacy(&kern, &path, json!({}));
            for at in 0..10 {
                let text = format!("{{\"at\": {at}}}");
                assert_eq!(new.text("echo", json!({ "at": at })), text, "{name}");
                assert_eq!(old.text("echo", json!({ "at": at })), text, "{name}");
            }
            let late = json!({ "name": "late", "arguments": { "ms": 300 } });
            let mut calls: Vec<_> = (0..8).map(|_| new.begin("tools/call", late.clone())).collect();
            for call in &mut calls {
                assert!(call.answer()["result"].is_object(), "{name}");
            }
        }
        let why = Client::modern(&kern, "/mcp/refused").error("echo", json!({}));
        assert!(why.contains("refused") && why.contains("405"), "{why}");
    });
}

#[test]
fn a_server_of_http_with_sse_whose_stream_breaks_is_greeted_again() {
    both(|driver| {
        let server = Remote::start("sse", &[]);
        let kern = Setup::new(driver, remote("far", &server.url, "transport = \"sse\"")).start();
        let mut client = Client::modern(&kern, "/mcp/far");
        let before = counts(&mut client)["greetings"].as_u64().unwrap();
        let why = client.error("hang up", json!({}));
        assert!(why.contains("far"), "{why}");
        eventually("it works again", || {
            client.request("tools/call", json!({ "name": "echo", "arguments": {} }))["result"]
                .is_object()
        });
        assert!(counts(&mut client)["greetings"].as_u64().unwrap() > before);
    });
}

#[test]
fn calls_wait_for_clients_that_a_server_of_http_with_sse_asks() {
    both(|driver| {
        let server = Remote::start("sse", &[]);
        let kern = Setup::new(driver, remote("far", &server.url, "transport = \"sse\"")).cores(2);
        let kern = kern.start();
        let client = Client::modern(&kern, "/mcp").able(parks::able());
        let call = |who: &str| parks::call("ask", json!({ "message": who }));
        std::thread::scope(|scope| {
            for who in ["Ada", "Bob", "Cyd"] {
                let mut client = client.clone();
                scope.spawn(move || {
                    let asked = client.request("tools/call", call(who));
                    assert_eq!(asked["result"]["inputRequests"].as_object().unwrap().len(), 1);
                    assert!(asked.to_string().contains(who), "asked for another's call: {asked}");
                    let said = json!({ "q1": { "action": "accept", "content": { "is": who } } });
                    let answer =
                        client.request("tools/call", parks::again(&call(who), &asked, said));
                    assert!(answer["result"].to_string().contains(who), "{answer}");
                });
            }
        });
        // A server that is gone meanwhile is told of when the client returns.
        let mut client = client.clone();
        let asked = client.request("tools/call", call("Eve"));
        drop(server);
        let said = json!({ "q1": { "action": "cancel" } });
        let answer = client.request("tools/call", parks::again(&call("Eve"), &asked, said));
        assert!(answer["error"]["message"].as_str().unwrap().contains("far"), "{answer}");
    });
}

#[test]
fn a_session_that_its_server_forgot_is_opened_again_without_a_word() {
    both(|driver| {
        let (shared, own) = (Remote::start("http", &[]), Remote::start("http", &[]));
        let config = remote("shared", &shared.url, "instances = \"shared\"")
            + &remote("own", &own.url, "instances = \"per-session\"");
        let kern = Setup::new(driver, config).cores(2).start();
        for name in ["shared", "own"] {
            let mut client = Client::legacy(&kern, &format!("/mcp/{name}"), json!({}));
            for round in 0..4 {
                let before = counts(&mut client)["greetings"].as_u64().unwrap();
                assert_eq!(client.text("forget", json!({})), "forgotten");
                // Many at once: one greeting is enough for them all, or one for each core.
                let params = json!({ "name": "echo", "arguments": { "round": round } });
                let mut calls: Vec<_> =
                    (0..12).map(|_| client.begin("tools/call", params.clone())).collect();
                for (at, call) in calls.iter_mut().enumerate() {
                    let answer = call.next(PATIENCE);
                    let answer = answer.unwrap_or_else(|| panic!("{name} {round} {at}: silence"));
                    let text = answer["result"]["content"][0]["text"].as_str();
                    assert_eq!(text, Some(&*format!("{{\"round\": {round}}}")), "{name}: {answer}");
                }
                let after = counts(&mut client)["greetings"].as_u64().unwrap();
                assert!((1..=3).contains(&(after - before)), "{name}: {before} then {after}");
            }
        }
    });
}

/// A certificate authority and a certificate of `localhost`; `None` where there is no `openssl`.
fn certificates(folder: &Path, name: &str) -> Option<[PathBuf; 3]> {
    let at = |what: &str| folder.join(format!("{name}-{what}.pem"));
    let (authority, authority_key) = (at("ca"), at("ca-key"));
    let (certificate, key) = (at("cert"), at("key"));
    let make = |out: &Path, key: &Path, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "2", "-out"]).arg(out).arg("-keyout").arg(key);
        command.args(more).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let subject = format!("/CN=Test authority {name}");
    let authority_made = make(&authority, &authority_key, &["-subj", &subject]);
    let by = [authority.to_str()?, authority_key.to_str()?];
    let made = authority_made
        && make(
            &certificate,
            &key,
            &[
                "-subj",
                "/CN=localhost",
                "-CA",
                by[0],
                "-CAkey",
                by[1],
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
        );
    if !made {
        eprintln!("SKIPPED: there is no openssl that makes certificates");
        return None;
    }
    Some([authority, certificate, key])
}

#[test]
fn servers_over_tls_are_reached_if_their_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let Some([authority, certificate, key]) = certificates(folder.path(), "good") else { return };
    let Some([stranger, ..]) = certificates(folder.path(), "other") else { return };
    both(|driver| {
        let servers = [
            Remote::start("http", &[&certificate, &key]),
            Remote::start("sse", &[&certificate, &key]),
        ];
        assert!(servers[0].url.starts_with("https://localhost:"), "{}", servers[0].url);
        let by_address = servers[0].url.replace("localhost", "127.0.0.1");
        let config = remote("web", &servers[0].url, "")
            + &remote("old", &servers[1].url, "transport = \"sse\"")
            + &remote("renamed", &by_address, "");
        let start = |trusted: &Path| {
            let setup = Setup::new(driver, config.clone());
            setup.env("SSL_CERT_FILE", trusted.to_str().unwrap()).start()
        };
        let kern = start(&authority);
        for path in ["/mcp/web", "/mcp/old"] {
            let mut client = Client::modern(&kern, path);
            let long = "x".repeat(300_000);
            assert!(client.text("echo", json!({ "long": long })).contains(&long), "{path}");
        }
        let why = Client::modern(&kern, "/mcp/renamed").error("echo", json!({}));
        assert!(why.contains("renamed") && why.contains("name"), "{why}");
        let kern = start(&stranger);
        for name in ["web", "old"] {
            let why = Client::modern(&kern, &format!("/mcp/{name}")).error("echo", json!({}));
            assert!(why.contains(name) && why.contains("not trusted"), "{why}");
        }
    });
}

#[test]
fn a_server_that_speaks_no_tls_is_named_as_such() {
    both(|driver| {
        let server = Remote::start("http", &[]);
        let url = server.url.replace("http://", "https://");
        let kern = Setup::new(driver, remote("plain", &url, "start_timeout = \"5s\"")).start();
        let why = Client::modern(&kern, "/mcp/plain").error("echo", json!({}));
        assert!(why.contains("plain") && why.contains("TLS"), "{why}");
    });
}
