//! What can a client gain that guesses, repeats itself, or asks for more than anybody needs? Each
//! test is a row of docs/refusals.md.
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::{Client, Pending};
use harness::http::{Conn, bare, post};
use harness::lines::Lines;
use harness::{Kern, Remote, Setup, both, eventually, fixture_child, odd, process, remote};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// Listen streams of one conversation (`LISTENS_OF_LINE_MAX`).
const OF_LINE: usize = 256;

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}
    })
}

fn wanted() -> Value {
    json!({ "notifications": { "toolsListChanged": true }, "_meta": meta() })
}

/// Somebody else is served, and soon.
fn serves(kern: &Kern, what: &str) {
    let started = Instant::now();
    Client::modern(kern, "/mcp/fix").text("test_simple_text", json!({}));
    assert!(started.elapsed() < SECOND * 3, "{what}: others waited {:?}", started.elapsed());
}

#[test]
fn ten_thousand_listens_on_one_line_are_refused_beyond_a_limit_and_cost_nobody_anything() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        serves(&kern, "before");
        let before = process::resident_kib(kern.pid());
        let mut lines = Lines::unix(&kern);
        for at in 0..10_000 {
            let listen = json!({
                "jsonrpc": "2.0", "id": at, "method": "subscriptions/listen", "params": wanted()
            });
            lines.send(&listen);
        }
        let (mut open, mut refused) = (0, 0);
        while open + refused < 10_000 {
            let next = lines.next(SECOND * 20).expect("an answer to each");
            if next["method"] == ACKNOWLEDGED {
                open += 1;
                continue;
            }
            assert_eq!(next["error"]["code"], -32603, "{next}");
            let why = next["error"]["message"].as_str().unwrap();
            assert!(why.contains("too many subscriptions are open"), "{why}");
            refused += 1;
        }
        assert_eq!((open, refused), (OF_LINE, 10_000 - OF_LINE));
        serves(&kern, "beside 10,000 listens");
        let kib = process::resident_kib(kern.pid()).saturating_sub(before);
        assert!(kib < 8 << 10, "{kib} KiB for one client's listens");
        // One that is given up makes room for another.
        let cancelled = json!({ "requestId": 0 });
        lines.send(
            &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled }),
        );
        lines.send(&json!({
            "jsonrpc": "2.0", "id": "again", "method": "subscriptions/listen", "params": wanted()
        }));
        let id = "io.modelcontextprotocol/subscriptionId";
        let next = lines.wait_for(ACKNOWLEDGED);
        assert_eq!(next["params"]["_meta"][id], "again", "{next}");
    });
}

/// A listen on each of `count` connections, where the process may have `most`.
fn listens(driver: &str, count: usize, most: usize) {
    let config = format!("[limits]\nconnections = {most}\n") + &fixture_child("fix", "both", "");
    let kern = Setup::new(driver, config).start();
    let client = Client::modern(&kern, "/mcp");
    serves(&kern, "before");
    let before = process::resident_kib(kern.pid());
    let mut held = Vec::new();
    let mut refused = 0;
    for at in 0..count {
        // A connection that is refused is closed at once, maybe before the request is sent.
        let mut conn = Conn::tcp(kern.address());
        let body = client.body("subscriptions/listen", wanted(), at);
        let headers = client.headers(&body);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sent = conn.send(post("/mcp", &headers, &body));
        match conn.head(SECOND * 10).filter(|_| sent) {
            Some(head) => {
                assert_eq!(head.status, 200, "{head:?}");
                assert!(conn.event(SECOND * 10).unwrap().data.contains(ACKNOWLEDGED));
                held.push(conn);
            }
            None => refused += 1,
        }
    }
    let kib = process::resident_kib(kern.pid()).saturating_sub(before);
    println!("{driver}: {} listens held, {refused} refused, {kib} KiB more", held.len());
    assert!(refused >= count - most, "{refused} of {count} refused");
    assert!(held.len() + 8 >= most, "only {} were served", held.len());
    assert!(kib < 12 * held.len() as u64 + 4096, "{kib} KiB for {} listens", held.len());
    // Some leave: there is room for others again, and those that stay still hear.
    drop(held.drain(..held.len() / 2));
    eventually("there is room again", || {
        let mut conn = Conn::tcp(kern.address());
        conn.send(bare("GET", "/healthz", &[])) && conn.try_response(SECOND).is_some()
    });
    let mut last = held.pop().unwrap();
    Client::modern(&kern, "/mcp").text("test_trigger_tool_change", json!({}));
    let heard = last.event(SECOND * 10).expect("a change is told");
    assert!(heard.data.contains("notifications/tools/list_changed"), "{heard:?}");
}

#[test]
fn a_listen_on_every_connection_is_bounded_by_the_connections() {
    both(|driver| listens(driver, 600, 500));
}

#[test]
#[ignore = "long: needs 20,000 descriptors"]
fn ten_thousand_listens_on_connections_of_their_own_are_bounded() {
    for driver in ["portable", "uring"] {
        listens(driver, 10_000, 9_000);
    }
}

#[test]
fn an_id_that_is_listening_cannot_be_used_again_on_its_line() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        let mut lines = Lines::unix(&kern);
        let listen = json!({
            "jsonrpc": "2.0", "id": "x", "method": "subscriptions/listen", "params": wanted()
        });
        lines.send(&listen);
        lines.wait_for(ACKNOWLEDGED);
        let call = json!({ "name": "test_simple_text", "_meta": meta() });
        let call = json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": call });
        for again in [listen, call] {
            lines.send(&again);
            let next = lines.next(SECOND * 5).unwrap();
            assert_eq!(next["error"]["code"], -32600, "{next}");
        }
    });
}

/// What is near the session `real`, what is nonsense, and many that could be.
fn guesses(real: &str) -> Vec<String> {
    let other_core = if real.starts_with("00") { "01" } else { "00" };
    let mut last = real.to_owned();
    let flipped = if last.pop() == Some('0') { '1' } else { '0' };
    last.push(flipped);
    let mut all = vec![
        String::new(),
        "x".into(),
        real.to_uppercase(),
        real[..33].to_owned(),
        real[1..].to_owned(),
        format!("{real}0"),
        format!("{real} {real}"),
        format!("{other_core}{}", &real[2..]),
        format!("ff{}", &real[2..]),
        last,
        "0".repeat(34),
        "f".repeat(34),
        "%00".into(),
        "../".repeat(10),
        "é".repeat(17),
        "9".repeat(8_000),
    ];
    all.extend((0..300_u128).map(|at| {
        format!("{:02x}{:032x}", at % 2, at.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }));
    all
}

#[test]
fn a_guessed_session_opens_nothing_and_harms_nobody() {
    both(|driver| {
        let config = fixture_child("fix", "both", "") + &fixture_child("two", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut owner = Client::legacy(&kern, "/mcp/fix", json!({}));
        let real = owner.session.clone().unwrap();
        let mut stream = owner.stream();
        let guesses = guesses(&real);
        let before = process::resident_kib(kern.pid());
        let body = owner.body("tools/list", json!({}), 1);
        let mut conn = Conn::tcp(kern.address());
        for guess in &guesses {
            let named = [
                ("Mcp-Session-Id", guess.as_str()),
                ("Accept", "text/event-stream, application/json"),
            ];
            for request in [
                post("/mcp/fix", &named[..1], &body),
                bare("GET", "/mcp/fix", &named),
                bare("DELETE", "/mcp/fix", &named),
            ] {
                conn.send(&request);
                let answer = conn.try_response(SECOND * 5).unwrap_or_else(|| {
                    conn = Conn::tcp(kern.address());
                    conn.send(&request);
                    conn.response()
                });
                assert!([400, 404, 405].contains(&answer.status()), "{guess:?}: {answer:?}");
            }
        }
        for guess in &guesses[7..20] {
            let path = format!("/messages?sessionId={guess}");
            let mut conn = Conn::tcp(kern.address());
            conn.send(post(&path, &[], &body));
            let status = conn.response().status();
            assert!([400, 404].contains(&status), "{path}: {status}");
        }
        let kib = process::resident_kib(kern.pid()).saturating_sub(before);
        assert!(kib < 4 << 10, "{kib} KiB for guesses");
        owner.text("test_trigger_tool_change", json!({}));
        stream.wait_for("notifications/tools/list_changed");
    });
}

#[test]
fn sessions_are_bounded_and_those_that_are_open_keep_working() {
    both(|driver| {
        let config = "[limits]\nsessions = 20\n".to_owned() + &fixture_child("fix", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut held: Vec<_> = (0..20).map(|_| Client::legacy(&kern, "/mcp", json!({}))).collect();
        let greeting = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "one more", "version": "1" }
        });
        for _ in 0..50 {
            let body = held[0].body("initialize", greeting.clone(), 1);
            let mut conn = Conn::tcp(kern.address());
            conn.send(post("/mcp", &[], &body));
            let refused = conn.response();
            assert_eq!(refused.code(), -32603, "{refused:?}");
            assert!(refused.json().to_string().contains("too many sessions"), "{refused:?}");
            assert_eq!(refused.head.get("mcp-session-id"), None);
        }
        for client in &mut held {
            client.text("test_simple_text", json!({}));
        }
        held.pop().unwrap().end();
        Client::legacy(&kern, "/mcp", json!({})).text("test_simple_text", json!({}));
    });
}

#[test]
fn calls_beyond_an_upstreams_limit_are_refused_at_once() {
    both(|driver| {
        let config = "[limits]\nflights = 10\nqueue = 0\n".to_owned()
            + &odd("slow", "plain", "")
            + &fixture_child("fix", "both", "");
        let kern = Setup::new(driver, config).start();
        serves(&kern, "before");
        let mut client = Client::modern(&kern, "/mcp/slow");
        client.tools();
        let late = json!({ "name": "late", "arguments": { "ms": 3_000 } });
        let mut all: Vec<Pending> =
            (0..40).map(|_| client.begin("tools/call", late.clone())).collect();
        serves(&kern, "beside 40 calls of another upstream");
        let answers: Vec<Value> = all.iter_mut().map(Pending::answer).collect();
        let refused: Vec<_> = answers.iter().filter(|it| it["error"]["code"] == -32603).collect();
        assert_eq!(refused.len(), 30, "{refused:?}");
        let why = refused[0]["error"]["message"].as_str().unwrap();
        assert!(why.contains("too many requests"), "{why}");
        client.text("pid", json!({}));
    });
}

#[test]
fn an_answer_after_its_cancellation_reaches_nobody() {
    both(|driver| {
        // This server answers whatever it is told meanwhile.
        let mut kern = Setup::new(driver, odd("deafish", "plain", "")).stdio().and_port().start();
        let mut lines = Lines::stdio(&mut kern);
        lines.initialize(json!({}));
        assert!(lines.call("pid", json!({}))["result"].is_object());
        for _ in 0..5 {
            let late = json!({ "name": "late", "arguments": { "ms": 400 } });
            let call =
                json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": late });
            lines.send(&call);
            std::thread::sleep(SECOND / 10);
            let params = json!({ "requestId": "x" });
            lines.send(
                &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }),
            );
            // The id is free again: what comes under it is the answer to this.
            let echo = json!({ "name": "echo", "arguments": { "own": true } });
            lines.send(
                &json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": echo }),
            );
            let answer = lines.next(SECOND * 5).unwrap();
            let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
            assert!(text.contains("own"), "{answer}");
            let more = lines.next(SECOND * 3 / 5);
            assert!(more.is_none(), "after the cancellation came {more:?}");
        }
    });
}

#[test]
fn a_hundred_megabytes_fail_their_call_and_are_not_kept() {
    both(|driver| {
        let files = tempfile::tempdir().unwrap();
        let home = files.path().canonicalize().unwrap();
        let mut told = b"{\"jsonrpc\":\"2.0\",\"id\":@ID@,\"result\":{\"x\":\"".to_vec();
        told.resize(told.len() + 100_000_000, b'x');
        told.extend_from_slice(b"\"}}\n");
        std::fs::write(home.join("answer"), told).unwrap();
        let far = Remote::odd(&home);
        let env = format!("env = {{ HOME = {:?} }}", home.display().to_string());
        let config = "[limits]\nresult_bytes = \"16MiB\"\n".to_owned()
            + &odd("pipe", "raw", &env)
            + &remote("http", &far.url("/mcp"), "");
        let kern = Setup::new(driver, config).start();
        for name in ["pipe", "http"] {
            let mut client = Client::modern(&kern, &format!("/mcp/{name}"));
            client.text("pid", json!({}));
            let before = process::resident_kib(kern.pid());
            let mut call = client.begin("tools/call", json!({ "name": "odd" }));
            let mut most = 0;
            let answer = loop {
                if let Some(answer) = call.next(SECOND / 20) {
                    break answer;
                }
                most = most.max(process::resident_kib(kern.pid()).saturating_sub(before));
            };
            let why = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(why.contains("16777216") || why.contains("too large"), "{name}: {answer}");
            assert!(most < 48 << 10, "{name}: {most} KiB for an answer that is refused");
            client.text("pid", json!({}));
        }
    });
}

#[test]
fn arguments_in_headers_must_be_those_of_the_body() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "modern"]);
        let kern = Setup::new(driver, remote("far", &far.url("/mcp"), "")).start();
        let mut client = Client::modern(&kern, "/mcp/far");
        client.tools();
        let arguments = json!({ "region": "eu", "priority": 3 });
        let params = json!({ "name": "test_x_mcp_header", "arguments": arguments });
        let body = client.body("tools/call", params, 1);
        let (region, priority) = ("Mcp-Param-Region", "Mcp-Param-Priority");
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let rows: &[(Headers<'_>, u16, i64)] = &[
            (&[(region, "eu"), (priority, "3")], 200, 0),
            (&[(region, "us"), (priority, "3")], 400, -32020),
            (&[(region, "EU"), (priority, "3")], 400, -32020),
            (&[(region, "eu")], 400, -32020),
            (&[], 400, -32020),
            (&[(region, "eu"), (priority, "3"), ("Mcp-Param-Dry-Run", "true")], 400, -32020),
        ];
        for (headers, status, code) in rows {
            let response = client.post(&body, headers);
            let got = (response.status(), response.code());
            assert_eq!(got, (*status, *code), "{headers:?}: {response:?}");
        }
    });
}
