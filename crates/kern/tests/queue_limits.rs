//! Are requests that wait bounded in bytes, and is whoever gets no room told why?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::parks::*;
use harness::{Setup, both, odd};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn large(tool: &str) -> Value {
    call(tool, json!({ "filler": "x".repeat(30 << 10) }))
}

#[test]
fn requests_for_a_server_that_starts_wait_in_bounded_memory() {
    both(|driver| {
        let config = "[limits]\nqueue_bytes = \"128KiB\"\n".to_owned()
            + &odd("slow", "slow", "")
            + "[upstream.echo]\nbuiltin = \"echo\"\n";
        let kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp/slow");
        let mut calls: Vec<_> = (0..8).map(|_| client.begin("tools/call", large("echo"))).collect();
        let mut served = 0;
        for call in &mut calls {
            let answer = call.answer();
            match answer["error"]["message"].as_str() {
                None => served += 1,
                Some(why) => assert!(why.contains("limits.queue_bytes"), "{why}"),
            }
        }
        assert_eq!(served, 4, "as many as have room");
        // What waited gave its room back.
        let answer = client.request("tools/call", large("echo"));
        assert!(answer["result"].is_object(), "{answer}");
    });
}

#[test]
fn calls_for_a_server_of_their_own_wait_in_bounded_memory() {
    both(|driver| {
        let config = "[limits]\nqueue_bytes = \"128KiB\"\ninstances = 1\n".to_owned()
            + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        client.text("pid", json!({}));
        let mut first = client.begin("tools/call", call("late", json!({ "ms": 3000 })));
        std::thread::sleep(SECOND / 2);
        let mut calls: Vec<_> = (0..8).map(|_| client.begin("tools/call", large("echo"))).collect();
        let refused = calls.split_off(4);
        for mut call in refused {
            let why = call.answer()["error"]["message"].as_str().unwrap().to_owned();
            assert!(why.contains("limits.queue_bytes"), "{why}");
        }
        assert!(first.answer()["result"].is_object());
        assert!(calls.iter_mut().all(|call| call.answer()["result"].is_object()));
    });
}

#[test]
fn what_is_kept_for_clients_that_are_away_is_bounded() {
    both(|driver| {
        let config = "[limits]\nparked_bytes = \"64KiB\"\n".to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form(&"?".repeat(30 << 10))], "wait", 0);
        let asked: Vec<_> = (0..2).map(|_| present(&client, params.clone(), &[]).json()).collect();
        assert!(asked.iter().all(|asked| answers(asked).len() == 1));
        // There is no room for a third: its server is told, and answers what it can.
        let third = present(&client, params.clone(), &[]).json();
        let text = third["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("limits.parked_bytes"), "{third}");
        let answer = present(&client, again(&params, &asked[0], answers(&asked[0])), &[]).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    });
}
