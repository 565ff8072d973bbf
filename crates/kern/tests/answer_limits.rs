//! Does whoever is asked have `limits.answer_timeout` to answer, whatever asked and whatever the era?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::parks::*;
use harness::{Setup, both, fixture_child, odd};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_old_client_that_does_not_answer_holds_a_call_no_longer_than_configured() {
    both(|driver| {
        let config = "[limits]\nanswer_timeout = \"700ms\"\n".to_owned()
            + &fixture_child("new", "modern", "")
            + &odd("old", "plain", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp", able());
        // A new server asks in rounds: its call fails.
        let mut round =
            client.begin("tools/call", call("new__test_rounds", json!({ "ask": ["elicitation"] })));
        round.wait_for("elicitation/create");
        round.wait_for("notifications/cancelled");
        let answer = round.answer();
        let why = answer["error"]["message"].as_str().unwrap();
        assert!(why.contains("limits.answer_timeout"), "{why}");
        // An old one asks by itself: it is told, and goes on.
        let mut asked = client.begin("tools/call", {
            let mut params = asks(&[form("?")], "wait", 0);
            params["name"] = json!("old__asks");
            params
        });
        asked.wait_for("elicitation/create");
        let answer = asked.answer();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("limits.answer_timeout"), "{answer}");
    });
}

#[test]
fn who_is_away_the_longest_gives_way_to_calls_that_wait_for_room() {
    both(|driver| {
        let config = "[limits]\ninstances = 1\nanswer_timeout = \"20s\"\n".to_owned()
            + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form("1")], "wait", 0);
        let away = present(&client, params.clone(), &[]).json();
        assert_eq!(answers(&away).len(), 1);
        let started = Instant::now();
        // A tenth of its time is everybody's own.
        let mut next = Client::modern(&kern, "/mcp").able(able()).begin_as(
            "tools/call",
            params.clone(),
            "next",
        );
        let asked = next.answer();
        assert!(started.elapsed() > SECOND, "{:?} were too few", started.elapsed());
        assert_eq!(answers(&asked).len(), 1);
        let late = again(&params, &away, answers(&away));
        refused(&present(&client, late, &[]), "is over");
        let answer = present(&client, again(&params, &asked, answers(&asked)), &[]).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        assert_eq!(leased(&kern), 1);
    });
}
