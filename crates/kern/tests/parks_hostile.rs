//! Do calls that wait for clients which are away stay safe from other clients, and stay few?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::http::Response;
use harness::lines::Lines;
use harness::parks::*;
use harness::{Setup, both, eventually, fixture_child, odd, process};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_state_serves_only_whom_it_was_given_and_only_for_its_request() {
    both(|driver| {
        let config = fixture_child("fix", "legacy", "") + &fixture_child("two", "legacy", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let client = Client::modern(&kern, "/mcp/fix").able(able());
        let me = [("Authorization", "Bearer me")];
        let asked = present(&client, one(), &me).json();
        let given = again(&one(), &asked, answers(&asked));
        let state = given["requestState"].as_str().unwrap().to_owned();
        let with = |change: &dyn Fn(&mut Value)| {
            let mut params = given.clone();
            change(&mut params);
            params
        };
        let flipped = |at: usize| {
            let mut bytes = state.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        // Whoever forges, and whoever took another's, is told the same.
        let mut told = Vec::new();
        for headers in
            [&[][..], &[("Authorization", "Bearer you")], &[("Authorization", "bearer me")]]
        {
            told.push(refused(&present(&client, given.clone(), headers), "not valid"));
        }
        let mut forged: Vec<String> = (6..state.len()).step_by(7).map(flipped).collect();
        forged.extend(["".into(), "x".into(), "kern1.".into(), format!("{state}A")]);
        forged.extend([state[..state.len() - 1].to_owned(), state.to_uppercase()]);
        forged.push("kern1.".to_owned() + &"A".repeat(100_000));
        for state in forged {
            let params = with(&|params| params["requestState"] = json!(state));
            told.push(refused(&present(&client, params, &me), "not valid"));
        }
        for change in [
            (&|params: &mut Value| params["arguments"]["message"] = json!("whom?"))
                as &dyn Fn(&mut Value),
            &|params| params["arguments"]["more"] = json!(1),
            &|params| params["name"] = json!("test_sampling"),
            &|params| params["requestState"] = json!(7),
        ] {
            told.push(refused(&present(&client, with(change), &me), "not valid"));
        }
        let elsewhere = Client::modern(&kern, "/mcp/two").able(able());
        told.push(refused(&present(&elsewhere, given.clone(), &me), "not valid"));
        told.dedup();
        assert_eq!(told.len(), 1, "a forger learns something: {told:?}");
        // After all that it still serves its owner, once.
        let answer = present(&client, given.clone(), &me).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        refused(&present(&client, given.clone(), &me), "used already");
        refused(&present(&client, given.clone(), &[]), "not valid");
    });
}

#[test]
fn a_line_connection_is_its_own_principal() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let (mut mine, mut yours) = (Lines::unix(&kern), Lines::unix(&kern));
        let asked = mine.request("tools/call", modern(one()));
        let given = modern(again(&one(), &asked, answers(&asked)));
        let stolen = yours.request("tools/call", given.clone());
        assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
        let http = Client::modern(&kern, "/mcp").able(able());
        refused(&present(&http, again(&one(), &asked, answers(&asked)), &[]), "not valid");
        let answer = mine.request("tools/call", given);
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    });
}

#[test]
fn of_two_that_come_back_at_once_one_is_served() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        for _ in 0..10 {
            let asked = present(&client, one(), &[]).json();
            let given = again(&one(), &asked, answers(&asked));
            let all: Vec<Response> = std::thread::scope(|scope| {
                let (client, given) = (&client, &given);
                let all: Vec<_> = (0..4)
                    .map(|_| scope.spawn(move || present(client, given.clone(), &[])))
                    .collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let served = all.iter().filter(|one| one.json()["result"].is_object()).count();
            assert_eq!(served, 1, "{all:?}");
            for other in all.iter().filter(|one| one.json()["result"].is_null()) {
                refused(other, "used already");
            }
        }
    });
}

#[test]
fn what_the_client_did_not_declare_is_refused_to_the_server_at_once() {
    both(|driver| {
        let kern = Setup::new(driver, odd("odd", "plain", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(json!({ "roots": {} }));
        let requests = [
            form("may I?"),
            json!({ "method": "sampling/createMessage", "params": {} }),
            json!({ "method": "nonsense" }),
            json!({ "method": "ping" }),
            json!({ "method": "roots/list" }),
        ];
        let params = asks(&requests, "wait", 0);
        let asked = client.request("tools/call", params.clone());
        let told = asked["result"]["inputRequests"].as_object().unwrap();
        assert_eq!(told.values().collect::<Vec<_>>(), [&json!({ "method": "roots/list" })]);
        let answer = client.request("tools/call", again(&params, &asked, answers(&asked)));
        let heard: Value =
            serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
        for at in 0..3 {
            assert_eq!(heard[at]["code"], -32601, "{heard}");
        }
        assert_eq!(heard[3], json!({}));
        assert_eq!(heard[4]["roots"][0]["uri"], "file:///a", "{heard}");
        // Nor may a server that is told to be shared ask at all.
        let config = odd("odd", "plain", "instances = \"shared\"");
        let kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let answer = client.request("tools/call", asks(&[form("may I?")], "wait", 0));
        assert!(answer["result"].to_string().contains("-32601"), "{answer}");
    });
}

#[test]
fn a_client_that_never_returns_costs_no_more_than_its_time() {
    both(|driver| {
        let limits = "[limits]\nanswer_timeout = \"700ms\"\n";
        let config = limits.to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form("1")], "wait", 0);
        let asked = client.request("tools/call", params.clone());
        let given = again(&params, &asked, answers(&asked));
        std::thread::sleep(SECOND);
        refused(&present(&client, given.clone(), &[]), "expired");
        eventually("its server is ended: it was not heard out", || leased(&kern) == 0);
        // The answer is not kept for ever either.
        let params = asks(&[form("1")], "go", 100);
        let asked = client.request("tools/call", params.clone());
        std::thread::sleep(SECOND);
        refused(&present(&client, again(&params, &asked, answers(&asked)), &[]), "expired");
        let status = harness::http::Conn::tcp(kern.address());
        drop(status);
        assert!(leased(&kern) <= 1);
    });
}

#[test]
fn servers_that_may_ask_are_few_and_calls_wait_for_them() {
    both(|driver| {
        let config = "[limits]\ninstances = 8\n".to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form("1")], "wait", 0);
        // One client's share is six of eight.
        let asked: Vec<Value> =
            (0..6).map(|_| present(&client, params.clone(), &[]).json()).collect();
        assert_eq!(leased(&kern), 6);
        // Its seventh waits until one of them is free, and holds up nobody else.
        let mut seventh =
            Client::modern(&kern, "/mcp").able(able()).begin_as("tools/call", params.clone(), 7);
        assert_eq!(seventh.next(SECOND / 2), None, "more than its share");
        assert_eq!(leased(&kern), 6);
        let you = [("Authorization", "Bearer you")];
        assert_eq!(answers(&present(&client, params.clone(), &you).json()).len(), 1);
        assert_eq!(answers(&present(&client, params.clone(), &you).json()).len(), 1);
        assert_eq!(leased(&kern), 8);
        let answer = present(&client, again(&params, &asked[0], answers(&asked[0])), &[]).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        let asked_seventh = seventh.answer();
        assert_eq!(answers(&asked_seventh).len(), 1);
        // Other capabilities need another server: an idle one makes room.
        let answer = present(&client, again(&params, &asked[1], answers(&asked[1])), &[]).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        let other = Client::modern(&kern, "/mcp").able(json!({ "elicitation": {} }));
        let asked_other = present(&other, params.clone(), &[]).json();
        assert_eq!(answers(&asked_other).len(), 1);
        assert_eq!(leased(&kern), 8);
        // Clients that can't be asked are not kept waiting by those that can.
        let mut plain = Client::modern(&kern, "/mcp");
        assert!(plain.text("pid", json!({})).parse::<u32>().is_ok());
        // One that is killed takes its own call alone with it.
        for pid in kern.servers("server.py") {
            if plain.text("pid", json!({})) != pid.to_string() {
                process::signal(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::sleep(SECOND / 2);
        let late = present(&client, again(&params, &asked[2], answers(&asked[2])), &[]).json();
        assert!(late["error"]["message"].as_str().unwrap().contains("is down"), "{late}");
        let answer = present(&client, params.clone(), &[]).json();
        assert_eq!(answers(&answer).len(), 1, "{answer}");
    });
}

#[test]
fn a_stop_does_not_wait_for_clients_that_are_away() {
    both(|driver| {
        let mut kern = Setup::new(driver, odd("odd", "plain", "")).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let asked = client.request("tools/call", asks(&[form("1")], "wait", 0));
        assert_eq!(answers(&asked).len(), 1);
        kern.terminate();
        assert!(kern.ends_within(SECOND * 8).success());
        kern.leaves_nobody(SECOND * 3);
    });
}

#[test]
fn clients_that_are_away_leave_room_for_other_calls() {
    both(|driver| {
        let config = "[limits]\nflights = 2\n".to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let mut client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form("1")], "wait", 0);
        let asked: Vec<Value> =
            (0..4).map(|_| present(&client, params.clone(), &[]).json()).collect();
        client.text("pid", json!({}));
        Client::modern(&kern, "/mcp").text("pid", json!({}));
        // They are served as before, and count again while they wait.
        for asked in &asked {
            let given = again(&params, asked, answers(asked));
            let answer = present(&client, given, &[]).json();
            assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        }
        client.text("pid", json!({}));
    });
}

#[test]
fn listing_ends_no_call_of_a_client_that_is_away() {
    both(|driver| {
        let limits = "[limits]\ninstances = 1\nanswer_timeout = \"4s\"\n";
        let config = limits.to_owned() + &odd("odd", "plain", "");
        let kern = Setup::new(driver, config).start();
        let client = Client::modern(&kern, "/mcp").able(able());
        let params = asks(&[form("1")], "wait", 0);
        let asked = present(&client, params.clone(), &[]).json();
        std::thread::sleep(SECOND / 2);
        let mut other = Client::modern(&kern, "/mcp").able(json!({ "roots": {} }));
        assert!(other.tools().contains(&"pid".to_owned()));
        let answer = present(&client, again(&params, &asked, answers(&asked)), &[]).json();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    });
}
