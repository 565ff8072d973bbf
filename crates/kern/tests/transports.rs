//! Does every transport carry the same conversation, on the client's side and on the server's?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::path::Path;
use std::time::Duration;

use harness::client::Client;
use harness::http::{Conn, bare, post};
use harness::lines::Lines;
use harness::{Kern, PATIENCE, Remote, Setup, both, eventually, fixture_child, remote};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_line_client_speaks_either_era_over_stdio_and_a_unix_socket() {
    both(|driver| {
        for over in ["stdio", "unix"] {
            let config = fixture_child("fix", "both", "");
            let setup = Setup::new(driver, config);
            let mut kern = if over == "stdio" { setup.stdio().start() } else { setup.start() };
            let mut lines = match over {
                "stdio" => Lines::stdio(&mut kern),
                _ => Lines::unix(&kern),
            };
            // The new era needs no handshake.
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {}
            });
            let found = lines.request("server/discover", json!({ "_meta": meta }));
            assert!(found["result"]["supportedVersions"].is_array(), "{found}");
            let call = json!({ "name": "test_simple_text", "arguments": {}, "_meta": meta });
            let answer = lines.request("tools/call", call);
            assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
            let listen = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
            lines.begin("subscriptions/listen", listen);
            lines.wait_for("notifications/subscriptions/acknowledged");
            // A line that is none costs one answer.
            for bad in ["nonsense\n", "[]\n", "\n\n", "{\"jsonrpc\":\"2.0\",\"id\":\"x\"}\n"] {
                lines.send_raw(bad);
            }
            // And the old era on the same connection.
            let greeting = lines.initialize(json!({}));
            assert_eq!(greeting["protocolVersion"], "2025-11-25");
            let answer = lines.call("test_simple_text", json!({}));
            assert!(answer["result"].is_object() && answer["result"].get("resultType").is_none());
            lines.call("test_trigger_tool_change", json!({}));
            for _ in 0..2 {
                lines.wait_for("notifications/tools/list_changed");
            }
            // A cancelled request gets no answer.
            let delay = json!({ "name": "test_delay", "arguments": { "ms": 9000, "label": "l" } });
            let id = lines.begin("tools/call", delay);
            std::thread::sleep(SECOND / 3);
            let params = json!({ "requestId": id });
            let note =
                json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
            lines.send(&note);
            eventually("the server was told", || {
                lines.call("test_cancellations", json!({})).to_string().contains("\"l\"")
            });
        }
    });
}

#[test]
fn a_unix_socket_serves_http_as_well() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).cores(2).start();
        let client = Client::modern(&kern, "/mcp");
        let body = client.body("tools/list", json!({}), 1);
        let headers = client.headers(&body);
        let headers: Vec<_> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let mut conn = Conn::unix(&kern.unix);
        for _ in 0..3 {
            conn.send(post("/mcp", &headers, &body));
            assert!(conn.response().json()["result"]["tools"].is_array());
        }
        // Slowly, so that the first bytes alone decide.
        let mut conn = Conn::unix(&kern.unix);
        for byte in post("/mcp", &headers, &body) {
            conn.send([byte]);
        }
        assert!(conn.response().json()["result"]["tools"].is_array());
    });
}

/// An HTTP+SSE client: its stream, and where it posts.
struct OldClient<'k> {
    kern: &'k Kern,
    stream: Conn,
    messages: String,
}

impl OldClient<'_> {
    fn open<'k>(kern: &'k Kern, path: &str) -> OldClient<'k> {
        let mut stream = Conn::tcp(kern.address());
        stream.send(bare("GET", path, &[("Accept", "text/event-stream")]));
        assert_eq!(stream.head(PATIENCE).unwrap().status, 200);
        let first = stream.event(PATIENCE).unwrap();
        assert_eq!(first.name, "endpoint", "{first:?}");
        OldClient { kern, stream, messages: first.data }
    }

    fn post(&self, message: &Value) -> u16 {
        let mut conn = Conn::tcp(self.kern.address());
        conn.send(post(&self.messages, &[], &message.to_string()));
        conn.response().status()
    }

    fn request(&mut self, id: u64, method: &str, params: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        assert_eq!(self.post(&message), 202);
        self.wait(|message| message["id"] == id && message.get("method").is_none())
    }

    fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.stream.event(PATIENCE).expect("an event");
            let message = serde_json::from_str(&event.data).unwrap();
            if wanted(&message) {
                return message;
            }
        }
    }
}

#[test]
fn the_clients_of_2024_get_all_on_their_one_stream() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        for path in ["/sse", "/sse/fix"] {
            let mut client = OldClient::open(&kern, path);
            let params = json!({
                "protocolVersion": "2024-11-05",
                "capabilities": { "sampling": {} },
                "clientInfo": { "name": "old", "version": "1" }
            });
            let greeting = client.request(1, "initialize", params);
            assert_eq!(greeting["result"]["protocolVersion"], "2024-11-05", "{greeting}");
            let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            assert_eq!(client.post(&note), 202);
            let call = json!({ "name": "test_simple_text", "arguments": {} });
            assert!(client.request(2, "tools/call", call)["result"].is_object());
            let call = json!({ "name": "test_sampling", "arguments": { "prompt": "p" } });
            let call = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": call });
            client.post(&call);
            let asked = client.wait(|message| message["method"] == "sampling/createMessage");
            let content = json!({ "type": "text", "text": "as a model says" });
            let result = json!({ "role": "assistant", "content": content, "model": "none" });
            let id = asked["id"].clone();
            client.post(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
            let answer = client.wait(|message| message["id"] == 3);
            assert!(answer.to_string().contains("as a model says"), "{answer}");
            let messages = client.messages.clone();
            drop(client);
            eventually("its session ended with its stream", || {
                let mut conn = Conn::tcp(kern.address());
                conn.send(post(&messages, &[], &call.to_string()));
                conn.response().status() == 404
            });
        }
    });
}

#[test]
fn a_server_of_2024_behind_http_and_sse_is_served_and_greeted_again_when_its_stream_ends() {
    both(|driver| {
        for more in ["transport = \"sse\"", ""] {
            let home = tempfile::tempdir().unwrap();
            let server = Remote::odd("sse", &[], home.path());
            let kern =
                Setup::new(driver, remote("old", &server.url("/sse"), more)).cores(2).start();
            let mut new = Client::modern(&kern, "/mcp/old");
            let mut old = Client::legacy(&kern, "/mcp/old", json!({}));
            for round in 0..4 {
                let arguments = json!({ "round": round });
                assert_eq!(new.text("echo", arguments.clone()), format!("{{\"round\": {round}}}"));
                assert_eq!(old.text("echo", arguments), format!("{{\"round\": {round}}}"));
            }
            let message = new.error("forget", json!({}));
            assert!(message.contains("old") && message.contains("stream"), "{message}");
            eventually("it is greeted again", || {
                new.request("tools/call", json!({ "name": "pid" }))["result"].is_object()
            });
        }
    });
}

#[test]
fn a_server_that_forgets_its_sessions_is_greeted_again_and_no_call_is_lost() {
    both(|driver| {
        let home = tempfile::tempdir().unwrap();
        let server = Remote::odd("http", &[], home.path());
        let kern = Setup::new(driver, remote("fog", &server.url("/mcp"), "")).cores(2).start();
        let mut new = Client::modern(&kern, "/mcp/fog");
        let mut old = Client::legacy(&kern, "/mcp/fog", json!({}));
        let mut other = Client::legacy(&kern, "/mcp/fog", json!({}));
        for round in 0..3 {
            for client in [&mut new, &mut old, &mut other] {
                client.text("forget", json!({}));
                // Everybody's session is gone; nobody notices.
                for _ in 0..2 {
                    let text = client.text("echo", json!({ "x": round }));
                    assert_eq!(text, format!("{{\"x\": {round}}}"));
                }
            }
            let tools = other.tools();
            assert!(tools.contains(&"echo".to_owned()), "{tools:?}");
        }
        let mut all: Vec<_> = (0..6)
            .map(|at| {
                let call = json!({ "name": "echo", "arguments": { "at": at } });
                Client::modern(&kern, "/mcp/fog").begin("tools/call", call)
            })
            .collect();
        for call in &mut all {
            let answer = call.answer();
            assert!(answer["result"].is_object(), "{answer}");
        }
        assert!(!kern.log.has("down:"), "it was taken for dead");
    });
}

#[test]
fn a_server_behind_http_that_goes_away_and_returns_is_found_again() {
    both(|driver| {
        let first = Remote::fixture(&["--era", "modern"]);
        let port = first.address.port();
        let config = remote("far", &first.url("/mcp"), "") + &fixture_child("near", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut far = Client::modern(&kern, "/mcp/far");
        far.text("test_simple_text", json!({}));
        let delay = json!({ "name": "test_delay", "arguments": { "ms": 9000 } });
        let mut under_way = far.begin("tools/call", delay);
        std::thread::sleep(SECOND / 2);
        drop(first);
        let answer = under_way.answer();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("connection"), "{answer}");
        let message = far.error("test_simple_text", json!({}));
        assert!(message.contains("connect"), "{message}");
        Client::modern(&kern, "/mcp/near").text("test_simple_text", json!({}));
        let mut again = std::process::Command::new(harness::fixture());
        again.args(["--until-eof", "--era", "modern", "--listen", &format!("127.0.0.1:{port}")]);
        let _again = Remote::start(again);
        eventually("it is found again", || {
            far.request("tools/call", json!({ "name": "test_simple_text" }))["result"].is_object()
        });
    });
}

/// A certificate for `name` that signs itself: paths of the certificate and its key.
fn certificate(folder: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&paths.0, made.cert.pem()).unwrap();
    std::fs::write(&paths.1, made.signing_key.serialize_pem()).unwrap();
    (paths.0.display().to_string(), paths.1.display().to_string())
}

#[test]
fn a_server_behind_tls_is_reached_if_it_is_the_one_meant() {
    both(|driver| {
        let home = tempfile::tempdir().unwrap();
        let (right, right_key) = certificate(home.path(), "localhost");
        let (wrong, wrong_key) = certificate(home.path(), "elsewhere.example");
        let plain = Remote::odd("http", &[], home.path());
        let trusted = Remote::odd("http", &[&right, &right_key], home.path());
        let named = Remote::odd("http", &[&wrong, &wrong_key], home.path());
        let roots = home.path().join("roots.pem");
        let both_roots = [&right, &wrong].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&roots, both_roots.concat()).unwrap();
        let url = |server: &Remote| format!("https://localhost:{}/mcp", server.address.port());
        let config = remote("good", &url(&trusted), "")
            + &remote("misnamed", &url(&named), "")
            + &remote("clear", &url(&plain), "");
        let start = |roots: &str| {
            Setup::new(driver, config.as_str()).cores(2).env("SSL_CERT_FILE", roots).start()
        };
        let kern = start(&roots.display().to_string());
        let mut good = Client::modern(&kern, "/mcp/good");
        for at in 0..10 {
            assert_eq!(good.text("echo", json!({ "at": at })), format!("{{\"at\": {at}}}"));
        }
        let large = "x".repeat(300_000);
        assert!(good.text("echo", json!({ "large": large })).contains(&large));
        for (name, word) in [("misnamed", "name"), ("clear", "TLS")] {
            let message = Client::modern(&kern, &format!("/mcp/{name}")).error("pid", json!({}));
            assert!(message.contains(word) && message.contains(name), "{name}: {message}");
        }
        // Another root: the same server is a stranger.
        let kern = start(&wrong);
        let message = Client::modern(&kern, "/mcp/good").error("pid", json!({}));
        assert!(message.contains("certificate"), "{message}");
    });
}
