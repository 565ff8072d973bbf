//! Does a client of the new era meet one memory of an old server that may ask it, on every core?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::collections::BTreeSet;

use harness::client::Client;
use harness::http::{Conn, bare};
use harness::parks::*;
use harness::{Remote, Setup, both, eventually, odd, remote};
use serde_json::json;

/// Connections enough to reach every core.
const MANY: usize = 24;

fn pid(client: &Client, headers: &[(&str, &str)]) -> String {
    let answer = present(client, call("pid", json!({})), headers).json();
    let text = answer["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn calls_one_after_another_meet_one_process_whatever_connection_they_come_over() {
    both(|driver| {
        let kern = Setup::new(driver, odd("odd", "plain", "")).cores(4).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let mut seen = BTreeSet::new();
        for _ in 0..MANY {
            assert!(client.tools().contains(&"pid".to_owned()));
            seen.insert(pid(&client, &[]));
        }
        assert_eq!(seen.len(), 1, "a server that remembers would not: {seen:?}");
        assert_eq!(leased(&kern), 1, "servers that nobody needs");
        // Calls at once need more servers; afterwards the first is the one again.
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| present(&client, call("late", json!({ "ms": 400 })), &[]));
            }
        });
        assert!(leased(&kern) > 1);
        seen.extend((0..MANY).map(|_| pid(&client, &[])));
        assert_eq!(seen.len(), 1, "after calls at once: {seen:?}");
        // Another client never meets it.
        let you = [("Authorization", "Bearer you")];
        let other: BTreeSet<_> = (0..MANY).map(|_| pid(&client, &you)).collect();
        assert_eq!(other.len(), 1);
        assert!(seen.is_disjoint(&other));
    });
}

#[test]
fn a_client_that_leaves_cancels_its_call_on_whatever_core_it_is() {
    both(|driver| {
        let kern = Setup::new(driver, odd("odd", "plain", "")).cores(4).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let mut calls: Vec<_> = (0..8)
            .map(|_| client.begin("tools/call", call("late", json!({ "ms": 2000 }))))
            .collect();
        calls.iter_mut().for_each(|call| drop(call.answer()));
        let ready = leased(&kern);
        assert!(ready > 1, "they were to be called at once");
        let calls: Vec<_> =
            (0..ready).map(|_| client.begin("tools/call", call("hang", json!({})))).collect();
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(calls);
        // What a server says after its call was given up nobody may take for an answer.
        eventually("none is kept", || leased(&kern) == 0);
        client.text("pid", json!({}));
    });
}

#[test]
fn a_server_behind_a_url_has_one_session_with_a_client() {
    both(|driver| {
        let home = tempfile::tempdir().unwrap();
        let far = Remote::odd(home.path());
        let kern = Setup::new(driver, remote("odd", &far.url("/mcp"), "")).cores(4).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        for _ in 0..MANY {
            pid(&client, &[]);
        }
        // One that all share, one for clients that can be asked.
        let mut conn = Conn::tcp(far.address);
        conn.send(bare("GET", "/sessions", &[]));
        assert_eq!(conn.response().body, b"2");
    });
}
