//! Does a server of the old era get its answers in mid-call from a client of the new one, which can't
//! be asked?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::process::Command;
use std::time::Duration;

use harness::client::Client;
use harness::lines::Lines;
use harness::parks::*;
use harness::{Remote, Setup, both, eventually, fixture_child, odd, python, remote, script};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whatever_an_old_server_asks_a_new_client_answers_over_every_transport() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "legacy"]);
        for config in [fixture_child("fix", "legacy", ""), remote("fix", &far.url("/mcp"), "")] {
            fronts(driver, &config, |request| {
                for (method, params, rounds, text) in [
                    ("tools/call", one(), vec![1], "\"my username\""),
                    (
                        "tools/call",
                        call("test_sampling", json!({ "prompt": "p" })),
                        vec![1],
                        "as a model says",
                    ),
                    (
                        "tools/call",
                        call("test_input_required_result_list_roots", json!({})),
                        vec![1],
                        "2 root",
                    ),
                    (
                        "tools/call",
                        call("test_input_required_result_multiple_inputs", json!({})),
                        vec![3],
                        "Name: my name; Greeting: as a model says; Roots: 2",
                    ),
                    (
                        "tools/call",
                        call("test_input_required_result_multi_round", json!({})),
                        vec![1, 1],
                        "for my name who likes my color",
                    ),
                    ("tools/call", call("test_simple_text", json!({})), vec![], "simple text"),
                    (
                        "prompts/get",
                        json!({ "name": "test_input_required_result_prompt" }),
                        vec![1],
                        "my context",
                    ),
                ] {
                    let (asked, answer) = converse(method, &params, request);
                    assert_eq!(asked, rounds, "{params}: {answer}");
                    assert_eq!(answer["result"]["resultType"], "complete", "{params}: {answer}");
                    assert!(
                        answer["result"].to_string().replace("\\\"", "\"").contains(text),
                        "{params}: {answer}"
                    );
                }
            });
        }
    });
}

#[test]
fn a_server_that_asks_on_its_own_stream_is_heard_from_the_first_call_on() {
    both(|driver| {
        for mode in ["slow", "mute"] {
            let mut command = Command::new(python());
            command.args(["-SEB", &script("speaks_up.py"), mode]);
            let far = Remote::start(command);
            let config = remote("far", &far.url("/mcp"), "");
            let kern = Setup::new(driver, config).cores(2).start();
            let mut client = Client::modern(&kern, "/mcp/far").able(able());
            let (asked, answer) =
                converse("tools/call", &call("ask", json!({})), &mut |method, params| {
                    client.request(method, params)
                });
            assert_eq!(asked, [1], "{mode}: {answer}");
            assert!(answer.to_string().contains("my name"), "{mode}: {answer}");
        }
    });
}

#[test]
fn a_person_who_declines_or_walks_away_is_heard() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        for action in ["decline", "cancel"] {
            let asked = client.request("tools/call", one());
            let key = answers(&asked).keys().next().unwrap().clone();
            let said = json!({ key: { "action": action } });
            let answer = client.request("tools/call", again(&one(), &asked, said));
            let text = answer["result"]["content"][0]["text"].as_str().unwrap();
            assert!(text.contains(&format!("action={action}")), "{answer}");
        }
    });
}

#[test]
fn what_is_missing_is_asked_again_and_what_nobody_asked_is_ignored() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let params = call("test_input_required_result_multiple_inputs", json!({}));
        let mut asked = client.request("tools/call", params.clone());
        let all = answers(&asked);
        assert_eq!(all.len(), 3);
        let mut seen = vec![asked["result"]["requestState"].clone()];
        // One answer a round, with things beside that nobody asked for.
        for left in [2, 1] {
            let given = answers(&asked);
            let (key, value) = given.iter().next().unwrap();
            let said = json!({ key: value, "q99": { "action": "accept" }, "": 7, "more": [] });
            asked = client.request("tools/call", again(&params, &asked, said));
            assert_eq!(answers(&asked).len(), left, "{asked}");
            assert!(!answers(&asked).contains_key(key), "asked again: {asked}");
            let state = asked["result"]["requestState"].clone();
            assert!(!seen.contains(&state), "a state of an earlier round");
            seen.push(state);
        }
        // Without any answer all of it comes again, and what is no answer changes nothing.
        let mut bare = again(&params, &asked, Value::Null);
        bare.as_object_mut().unwrap().remove("inputResponses");
        asked = client.request("tools/call", bare);
        let key = answers(&asked).keys().next().unwrap().clone();
        for wrong in
            [json!([]), json!("x"), json!({ &key: 7 }), json!({ &key: {} }), json!({ &key: null })]
        {
            let body = client.body("tools/call", again(&params, &asked, wrong.clone()), 1);
            let refused = client.post(&body, &[]);
            assert_eq!((refused.status(), refused.code()), (400, -32602), "{wrong}: {refused:?}");
        }
        let given = answers(&asked);
        let answer = client.request("tools/call", again(&params, &asked, given));
        assert!(
            answer["result"]["content"][0]["text"].as_str().unwrap().contains("Roots: 2"),
            "{answer}"
        );
    });
}

#[test]
fn many_clients_at_once_each_get_their_own_answers() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "legacy"]);
        let config = fixture_child("pipe", "legacy", "") + &remote("http", &far.url("/mcp"), "");
        let kern = Setup::new(driver, config).cores(2).start();
        std::thread::scope(|scope| {
            for at in 0..12 {
                let kern = &kern;
                scope.spawn(move || {
                    let path = ["/mcp/pipe", "/mcp/http"][at % 2];
                    let mut client = Client::modern(kern, path).able(able());
                    for round in 0..4 {
                        let params =
                            call("test_elicitation", json!({ "message": format!("{at}") }));
                        let asked = client.request("tools/call", params.clone());
                        let requests = &asked["result"]["inputRequests"];
                        assert_eq!(requests["q1"]["params"]["message"], at.to_string(), "{asked}");
                        let mine = format!("client {at} round {round}");
                        let said = json!({ "q1": accept(json!({ "username": mine })) });
                        let answer = client.request("tools/call", again(&params, &asked, said));
                        assert!(answer.to_string().contains(&mine), "{answer}");
                    }
                });
            }
        });
    });
}

#[test]
fn what_a_server_answers_dies_of_or_withdraws_while_its_client_is_away_is_told_when_it_returns() {
    both(|driver| {
        let kern = Setup::new(driver, odd("odd", "plain", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        for (then, result) in
            [("go", Some("[null]")), ("die", None), ("die", None), ("go", Some("[null]"))]
        {
            let params = asks(&[form("1")], then, 150);
            let asked = client.request("tools/call", params.clone());
            let given = answers(&asked);
            std::thread::sleep(SECOND / 2);
            let answer = client.request("tools/call", again(&params, &asked, given));
            match result {
                Some(text) => assert_eq!(answer["result"]["content"][0]["text"], text, "{answer}"),
                None => {
                    let why = answer["error"]["message"].as_str().unwrap();
                    assert!(why.contains("is down") && why.contains("status 7"), "{why}");
                }
            }
        }
        let params = asks(&[form("1"), form("2"), form("3")], "withdraw", 150);
        let asked = client.request("tools/call", params.clone());
        let mut given = answers(&asked);
        assert_eq!(given.len(), 3);
        std::thread::sleep(SECOND / 2);
        let first = given.remove("q1").unwrap();
        let asked = client.request("tools/call", again(&params, &asked, given));
        assert_eq!(answers(&asked).len(), 1, "what was withdrawn is asked again: {asked}");
        let said = json!({ "q1": first });
        let answer = client.request("tools/call", again(&params, &asked, said));
        assert!(answer["result"].to_string().contains("accept"), "{answer}");
    });
}

#[test]
fn a_client_that_leaves_before_it_is_asked_withdraws_its_call_and_after_it_does_not() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        client.text("test_simple_text", json!({}));
        let servers = || kern.servers("kern-fixture").len();
        let before = servers();
        let delay = call("test_delay", json!({ "ms": 20000, "label": "gone" }));
        let pending = client.begin("tools/call", delay);
        std::thread::sleep(SECOND / 2);
        assert_eq!((before, servers()), (2, 2));
        drop(pending);
        // Its server was not heard out: it ends.
        eventually("its server is ended", || servers() == 1);
        // Told what is asked, a client may close its connection: that ends nothing.
        let asked = client.request("tools/call", one());
        let answer = client.request("tools/call", again(&one(), &asked, answers(&asked)));
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        // One that came back and leaves withdraws it again.
        let params = call("test_input_required_result_multi_round", json!({}));
        let asked = client.request("tools/call", params.clone());
        let given = again(&params, &asked, answers(&asked));
        let pending = client.begin("tools/call", given.clone());
        drop(pending);
        std::thread::sleep(SECOND / 2);
        refused(&present(&client, given, &[]), "used already");
        // A line client that ends its connection takes all of its calls with it.
        let mut lines = Lines::unix(&kern);
        lines.request("tools/call", modern(one()));
        eventually("there are two for the HTTP client and one of its own", || servers() >= 2);
        let with_it = servers();
        drop(lines);
        eventually("its server is ended too", || servers() < with_it);
    });
}

#[test]
fn a_server_of_the_new_era_gets_its_own_states_back_untouched() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "modern", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let params = call("test_input_required_result_multi_round", json!({}));
        let (rounds, answer) =
            converse("tools/call", &params, &mut |method, params| client.request(method, params));
        assert_eq!(rounds, [1, 1]);
        assert!(answer.to_string().contains("my color"), "{answer}");
        let asked = client.request("tools/call", params.clone());
        assert!(!asked["result"]["requestState"].as_str().unwrap().starts_with("kern1."));
        // What looks like ours and is not goes to the server as well.
        let mut forged = again(&params, &asked, answers(&asked));
        forged["requestState"] = json!("kern1.AAAA");
        let answer = client.request("tools/call", forged);
        assert!(answer.to_string().contains("integrity"), "{answer}");
    });
}

#[test]
fn a_client_that_can_be_asked_sees_what_an_old_server_offers_only_to_such() {
    both(|driver| {
        let config = odd("choosy", "choosy", "") + &fixture_child("fix", "modern", "");
        let kern = Setup::new(driver, config).cores(2).start();
        for (path, gift) in [("/mcp", "choosy__gift"), ("/mcp/choosy", "gift")] {
            let mut plain = Client::modern(&kern, path);
            assert!(!plain.tools().iter().any(|tool| tool == gift), "it can't be asked");
            assert!(plain.error(gift, json!({})).contains("unknown tool"));
            for _ in 0..4 {
                let mut able_one = Client::modern(&kern, path).able(able());
                // A call may come before any list.
                assert_eq!(able_one.text(gift, json!({})), "a gift", "{path}");
                assert!(able_one.tools().iter().any(|tool| tool == gift), "{path}");
                let mut other = Client::modern(&kern, path).able(json!({ "roots": {} }));
                assert!(!other.tools().iter().any(|tool| tool == gift), "another capability");
            }
        }
        let mut fix = Client::modern(&kern, "/mcp/fix").able(able());
        fix.text("test_simple_text", json!({}));
    });
}
