//! What may a client make the gateway keep, and does what it gives up leave? Numbers alone bound
//! nothing where each thing may be large.
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::lines::Lines;
use harness::parks::{call, modern};
use harness::{Kern, Setup, both, child, eventually, fixture_child, odd};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn message(line: &mut Lines, id: u64) -> String {
    let answer = line.answer(id);
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A server that never gets ready.
fn sleeper() -> String {
    child("sleeper", "sleep", &["60"], "")
}

#[test]
fn calls_that_wait_for_servers_are_bounded_in_bytes() {
    both(|driver| {
        let config = "[limits]\nqueue_bytes = \"4MiB\"\n".to_owned() + &sleeper();
        let kern = Setup::new(driver, config).start();
        let mut line = Lines::unix(&kern);
        let filler = "x".repeat(2_000_000);
        for _ in 0..3 {
            line.begin("tools/call", modern(call("sleeper__a", json!({ "filler": filler }))));
        }
        // Two of them are nearly 4 MiB; the third is refused at once.
        let why = message(&mut line, 3);
        assert!(why.contains("limits.queue_bytes"), "{why}");
        let small = line.begin("tools/call", modern(call("sleeper__a", json!({}))));
        assert!(line.next(SECOND).is_none(), "small ones wait as before: {small}");
    });
}

#[test]
fn calls_that_were_given_up_make_room_for_others() {
    both(|driver| {
        let config = "[limits]\nqueue = 2\ninstances = 1\n".to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let mut line = Lines::unix(&kern);
        line.request("tools/call", modern(call("pid", json!({}))));
        let hang = line.begin("tools/call", modern(call("hang", json!({}))));
        let waits = line.begin("tools/call", modern(call("pid", json!({}))));
        for _ in 0..4 {
            let given_up = line.begin("tools/call", modern(call("pid", json!({}))));
            cancel(&mut line, given_up);
        }
        let next = line.begin("tools/call", modern(call("pid", json!({}))));
        cancel(&mut line, hang);
        for id in [waits, next] {
            let answer = line.answer(id);
            assert!(answer["result"]["content"][0]["text"].is_string(), "{answer}");
        }
    });
}

fn cancel(line: &mut Lines, id: u64) {
    let params = json!({ "requestId": id });
    line.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
}

#[test]
fn subscriptions_are_bounded_in_bytes() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        let mut line = Lines::unix(&kern);
        // Each is 1,000,000 bytes of URIs, and 4 MiB may be held: a server gets them in one message.
        let listen = |line: &mut Lines, which: usize| {
            let uri = |at: usize| format!("file:///{which}/{at:04}/{}", "x".repeat(1_985));
            let uris: Vec<_> = (0..500).map(uri).collect();
            let wanted = json!({ "notifications": { "resourceSubscriptions": uris } });
            line.begin("subscriptions/listen", modern(wanted))
        };
        let open: Vec<u64> = (0..4).map(|which| listen(&mut line, which)).collect();
        let refused = listen(&mut line, 4);
        assert!(message(&mut line, refused).contains("too many subscriptions"));
        cancel(&mut line, open[0]);
        listen(&mut line, 5);
        line.wait_for("notifications/subscriptions/acknowledged");
    });
}

/// What the server `jobs` was told of requests that were given up.
fn cancelled(kern: &Kern) -> usize {
    std::fs::read_to_string(kern.home().join("cancelled")).unwrap_or_default().lines().count()
}

#[test]
fn a_request_that_became_another_one_can_still_be_given_up() {
    both(|driver| {
        let kern = Setup::new(driver, odd("jobs", "jobs", "")).start();
        let tasks = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        let declared = |params: Value| {
            let mut params = modern(params);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = tasks.clone();
            params
        };
        let mut line = Lines::unix(&kern);
        let made = line.request("tools/call", declared(call("job", json!({}))));
        let about = json!({ "taskId": made["result"]["taskId"] });
        // It has ended, so the server is asked for its result, which never comes.
        let id = line.begin("tasks/get", declared(about));
        assert!(line.next(SECOND).is_none());
        cancel(&mut line, id);
        eventually("the server was told", || cancelled(&kern) == 1);
        let mut client = Client::modern(&kern, "/mcp").able(tasks.clone());
        let made = client.request("tools/call", call("job", json!({})));
        let about = json!({ "taskId": made["result"]["taskId"] });
        let mut got = client.begin("tasks/get", about);
        assert!(got.next(SECOND).is_none());
        drop(got);
        eventually("the server was told that the client left", || cancelled(&kern) == 2);
    });
}
