//! How long may a call take, and what ends it early? For each era of client and server and each way
//! between them.
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::lines::Lines;
use harness::{Kern, Remote, Setup, both, eventually, fixture_child, remote};
use serde_json::{Value, json};

/// An upstream's `timeout` where it is to pass, and the longest wait whatever is reported.
const TIMEOUT_MS: u64 = 1_000;
const TOTAL_MS: u64 = 4_000;
/// Both where neither is to pass, however busy the machine.
const LONG_MS: u64 = 60_000;

const ERAS: [&str; 2] = ["legacy", "modern"];

/// Four servers: two eras, each a child and behind HTTP.
struct World {
    kern: Kern,
    _remotes: Vec<Remote>,
}

fn world(driver: &'static str, timeout_ms: u64, total_ms: u64) -> World {
    let mut config = format!("[limits]\ntotal_timeout = \"{total_ms}ms\"\n");
    let timeout = format!("timeout = \"{timeout_ms}ms\"");
    let mut remotes = Vec::new();
    for era in ERAS {
        config += &fixture_child(&format!("{era}-pipe"), era, &timeout);
        let server = Remote::fixture(&["--era", era]);
        config += &remote(&format!("{era}-http"), &server.url("/mcp"), &timeout);
        remotes.push(server);
    }
    World { kern: Setup::new(driver, config).cores(2).start(), _remotes: remotes }
}

/// Runs `test` for every server and both eras of client, side by side.
fn every_pair(world: &World, test: impl Fn(&str, &mut Client, &str) + Sync) {
    std::thread::scope(|scope| {
        for server in ERAS.map(|era| ["pipe", "http"].map(|way| format!("{era}-{way}"))).concat() {
            for era in ERAS {
                let (test, server) = (&test, server.clone());
                scope.spawn(move || {
                    let path = format!("/mcp/{server}");
                    let mut client = match era {
                        "legacy" => Client::legacy(&world.kern, &path, json!({})),
                        _ => Client::modern(&world.kern, &path),
                    };
                    test(&format!("{era}-to-{server}"), &mut client, era);
                });
            }
        }
    });
}

fn delay(ms: u64, label: &str, report_ms: Option<u64>) -> Value {
    let mut arguments = json!({ "ms": ms, "label": label });
    if let Some(every) = report_ms {
        arguments["report_ms"] = json!(every);
    }
    let token = json!({ "progressToken": label });
    json!({ "name": "test_delay", "arguments": arguments, "_meta": token })
}

fn cancelled(client: &mut Client, label: &str) -> bool {
    client.text("test_cancellations", json!({})).lines().any(|line| line == label)
}

#[test]
fn progress_keeps_a_call_alive_until_the_total_is_over() {
    both(|driver| {
        let world = world(driver, TIMEOUT_MS, TOTAL_MS);
        every_pair(&world, |pair, client, _| {
            let label = format!("kept-{pair}");
            let kept = client.begin("tools/call", delay(2_000, &label, Some(150))).answer();
            let text = kept["result"]["content"][0]["text"].as_str();
            assert_eq!(text, Some("waited 2000 ms"), "{pair}: {kept}");

            for (name, every, setting, least_ms, most_ms) in [
                ("silent", None, "`timeout`", TIMEOUT_MS, TOTAL_MS),
                ("chatty", Some(150), "`limits.total_timeout`", TOTAL_MS, 3 * TOTAL_MS),
            ] {
                let label = format!("{name}-{pair}");
                let began = Instant::now();
                let answer = client.begin("tools/call", delay(20_000, &label, every)).answer();
                let took = began.elapsed();
                let why = answer["error"]["message"].as_str().unwrap_or_default();
                assert!(why.contains(setting), "{label}: {answer}");
                let range = Duration::from_millis(least_ms)..Duration::from_millis(most_ms);
                assert!(range.contains(&took), "{label}: {took:?}");
                eventually("the server hears of it", || cancelled(client, &label));
            }
        });
    });
}

#[test]
fn a_client_that_goes_cancels_in_the_new_era_only() {
    both(|driver| {
        let world = world(driver, LONG_MS, LONG_MS);
        every_pair(&world, |pair, client, era| {
            let label = format!("gone-{pair}");
            let mut pending = client.begin("tools/call", delay(1_500, &label, Some(100)));
            pending.wait_for("notifications/progress");
            drop(pending);
            if era == "modern" {
                eventually("the server hears of it", || cancelled(client, &label));
            } else {
                std::thread::sleep(Duration::from_millis(2_000));
                assert!(!cancelled(client, &label), "{pair}: the old era goes on");
            }
        });
    });
}

#[test]
fn a_line_client_of_either_era_cancels_by_saying_so() {
    both(|driver| {
        for server in ["legacy-pipe", "legacy-http", "modern-pipe", "modern-http"] {
            for era in ERAS {
                check_line(driver, server, era);
            }
        }
    });
}

fn check_line(driver: &'static str, server: &str, era: &str) {
    let (of, way) = server.split_once('-').unwrap();
    let source = (way == "http").then(|| Remote::fixture(&["--era", of]));
    let config = match &source {
        Some(source) => remote("only", &source.url("/mcp"), ""),
        None => fixture_child("only", of, ""),
    };
    let mut kern = Setup::new(driver, config).stdio().start();
    let mut lines = Lines::stdio(&mut kern);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p"
    });
    let request = |name: &str, arguments: Value| {
        let mut params = json!({ "name": name, "arguments": arguments });
        if era == "modern" {
            params["_meta"] = meta.clone();
        } else {
            params["_meta"] = json!({ "progressToken": "p" });
        }
        params
    };
    if era == "legacy" {
        lines.initialize(json!({}));
    }
    let arguments = json!({ "ms": 20_000, "label": "line", "report_ms": 50 });
    let id = lines.begin("tools/call", request("test_delay", arguments));
    lines.wait_for("notifications/progress");
    let params = json!({ "requestId": id, "reason": "enough" });
    lines.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
    eventually("the server hears of it", || {
        let answer = lines.request("tools/call", request("test_cancellations", json!({})));
        answer["result"]["content"][0]["text"] == "line"
    });
    let late = lines.next(Duration::from_millis(300));
    assert!(late.is_none(), "{era} to {server}: after the cancellation came {late:?}");
}
