//! Do processes of clients that are away end, and come back with them?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::lines::Lines;
use harness::{Kern, Setup, both, eventually, fixture_child, odd};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: &str = "[limits]\nprivate_idle_timeout = \"3s\"\n";

fn own(kern: &Kern) -> usize {
    kern.servers("server.py").len() - 1
}

fn pid(client: &mut Client) -> String {
    client.text("pid", json!({}))
}

#[test]
fn a_silent_sessions_process_ends_and_comes_back_when_it_speaks() {
    both(|driver| {
        let config = LIMITS.to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let able = json!({ "sampling": {} });
        let mut away = Client::legacy(&kern, "/mcp", able.clone());
        let mut there = Client::legacy(&kern, "/mcp", able.clone());
        let mut busy = Client::legacy(&kern, "/mcp", able.clone());
        let mut stream = there.stream();
        let (first, stays) = (pid(&mut away), pid(&mut there));
        let mut late =
            busy.begin("tools/call", json!({ "name": "late", "arguments": { "ms": 10000 } }));
        let mut line = Lines::unix(&kern);
        line.initialize(able);
        let line_pid = line.request("tools/call", json!({ "name": "pid", "arguments": {} }));
        // The shared server got ready.
        while stream.next(SECOND / 10).is_some() {}
        eventually("only the silent one's is gone", || own(&kern) == 3);
        let heard = stream.next(SECOND * 2);
        assert!(heard.is_none(), "who is there hears nothing: {heard:?}");
        assert_eq!(own(&kern), 3);
        assert!(late.answer()["result"].is_object());
        // Its lists are known; a call starts it again, and several at once start one.
        assert!(away.tools().contains(&"pid".to_owned()));
        let mut calls: Vec<_> = (0..5)
            .map(|_| away.begin("tools/call", json!({ "name": "pid", "arguments": {} })))
            .collect();
        let mut pids: Vec<_> = calls.iter_mut().map(|call| call.answer()).collect();
        pids.iter_mut().for_each(|answer| answer["id"] = json!(0));
        pids.dedup();
        assert_eq!(pids.len(), 1, "{pids:?}");
        assert_ne!(pids[0]["result"]["content"][0]["text"], first);
        assert_eq!(pid(&mut there), stays);
        let again = line.request("tools/call", json!({ "name": "pid", "arguments": {} }));
        assert_eq!(line_pid["result"], again["result"], "who keeps a connection is there");
        eventually("the others' are gone again", || own(&kern) == 2);
        away.end();
        kern.terminate();
    });
}

#[test]
fn what_a_session_subscribed_to_and_the_tasks_it_made_outlive_its_silence() {
    both(|driver| {
        let config = LIMITS.to_owned() + &fixture_child("fix", "legacy", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let processes = || kern.servers("kern-fixture").len();
        let able = json!({ "sampling": {} });
        let mut tasks = Client::legacy(&kern, "/mcp", able.clone());
        let call = json!({ "name": "slow_compute", "arguments": { "seconds": 0 }, "task": {} });
        let made = tasks.request("tools/call", call);
        let id = made["result"]["task"]["taskId"].clone();
        assert!(id.is_string(), "{made}");
        let mut client = Client::legacy(&kern, "/mcp", able);
        let uri = json!({ "uri": "test://watched-resource" });
        let answer = client.request("resources/subscribe", uri);
        assert_eq!(answer["result"], json!({}), "{answer}");
        eventually("one is at rest", || processes() == 2);
        std::thread::sleep(SECOND * 5);
        assert_eq!(processes(), 2, "the task's server runs");
        let task = tasks.request("tasks/get", json!({ "taskId": id }));
        assert_eq!(task["result"]["taskId"], id, "{task}");
        // Woken, it is told what its session subscribed to. A call may overtake that: a server works on
        // several requests at once.
        let mut stream = client.stream();
        eventually("an update is heard of", || {
            client.text("test_trigger_resource_update", json!({}));
            let heard =
                |message: serde_json::Value| message["method"] == "notifications/resources/updated";
            stream.next(SECOND).is_some_and(heard)
        });
    });
}
