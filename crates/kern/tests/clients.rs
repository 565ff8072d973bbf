//! Do clients stay apart: their messages, ids, sessions, streams, cancellations and servers?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::http::{Conn, bare, post};
use harness::lines::Lines;
use harness::{Kern, Setup, both, eventually, fixture_child};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
/// How long to watch that nothing comes.
const QUIET: Duration = Duration::from_millis(400);

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

fn processes(kern: &Kern) -> usize {
    kern.servers("kern-fixture").len()
}

#[test]
fn progress_reaches_only_the_call_it_is_about() {
    both(|driver| {
        let config = fixture_child("fix", "legacy", "");
        let kern = Setup::new(driver, config).cores(2).start();
        std::thread::scope(|scope| {
            for at in 0..6 {
                let kern = &kern;
                scope.spawn(move || {
                    let mut client = Client::legacy(kern, "/mcp", json!({}));
                    // Every second client uses the very same token as others.
                    let token = if at % 2 == 0 { json!("same") } else { json!(at) };
                    let mut params = call("test_tool_with_progress", json!({}));
                    params["_meta"] = json!({ "progressToken": token });
                    for _ in 0..3 {
                        let all = client.begin("tools/call", params.clone()).all();
                        assert_eq!(all.len(), 4, "three of progress and the answer: {all:?}");
                        for (message, wanted) in all.iter().zip([0, 50, 100]) {
                            assert_eq!(message["params"]["progressToken"], token, "{message}");
                            assert_eq!(message["params"]["progress"], wanted, "{message}");
                        }
                    }
                });
            }
        });
        assert_eq!(processes(&kern), 1, "plain clients share a server");
    });
}

#[test]
fn the_same_ids_from_many_clients_never_mix() {
    both(|driver| {
        let config = fixture_child("old", "legacy", "") + &fixture_child("new", "modern", "");
        let kern = Setup::new(driver, config).cores(2).start();
        std::thread::scope(|scope| {
            for at in 0..10 {
                let kern = &kern;
                scope.spawn(move || {
                    let path = ["/mcp/old", "/mcp/new"][at % 2];
                    let client = match at % 3 {
                        0 => Client::modern(kern, path),
                        _ => Client::legacy(kern, path, json!({})),
                    };
                    for round in 0..8 {
                        let mine = json!({ "client": at, "round": round });
                        let params = call("test_echo", mine.clone());
                        let answer = client.begin_as("tools/call", params, 7).answer();
                        assert_eq!(answer["id"], 7, "{answer}");
                        assert_eq!(answer["result"]["structuredContent"], mine, "{answer}");
                    }
                });
            }
        });
    });
}

#[test]
fn what_a_server_logs_for_one_session_reaches_no_other() {
    both(|driver| {
        // A client that can be asked has a server of its own.
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let able = json!({ "sampling": {} });
        let mut one = Client::legacy(&kern, "/mcp", able.clone());
        let two = Client::legacy(&kern, "/mcp", able);
        let plain = Client::legacy(&kern, "/mcp", json!({}));
        let mut streams = [two.stream(), plain.stream()];
        let all = one.begin("tools/call", call("test_tool_with_logging", json!({}))).all();
        let logs = all.iter().filter(|message| message["method"] == "notifications/message");
        assert_eq!(logs.count(), 3, "{all:?}");
        for stream in &mut streams {
            let heard = std::iter::from_fn(|| stream.next(QUIET));
            let logs: Vec<_> =
                heard.filter(|message| message["method"] == "notifications/message").collect();
            assert!(logs.is_empty(), "{logs:?}");
        }
        one.request("logging/setLevel", json!({ "level": "error" }));
        let all = one.begin("tools/call", call("test_tool_with_logging", json!({}))).all();
        assert_eq!(all.len(), 1, "it wanted errors alone: {all:?}");
    });
}

#[test]
fn an_ended_session_is_gone_for_every_use() {
    both(|driver| {
        let config = fixture_child("fix", "both", "") + &fixture_child("two", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        for round in 0..4 {
            let client = Client::legacy(&kern, "/mcp/fix", json!({}));
            let mut stream = client.stream();
            let session = client.session.clone().unwrap();
            let names = [("Mcp-Session-Id", session.as_str())];
            let list = client.body("tools/list", json!({}), 1);
            let ask = |path: &str, header: &[(&str, &str)]| {
                let mut conn = Conn::tcp(kern.address());
                conn.send(post(path, header, &list));
                conn.response()
            };
            assert_eq!(ask("/mcp/fix", &names).status(), 200);
            assert_eq!(ask("/mcp/two", &names).status(), 404, "a session of another endpoint");
            assert_eq!(ask("/mcp", &names).status(), 404, "a session of another endpoint");
            assert_eq!(ask("/mcp/fix", &[]).status(), 400, "no session");
            for unknown in ["x", "", &"0".repeat(34), &session.to_uppercase(), &"f".repeat(34)] {
                if unknown != session {
                    let status = ask("/mcp/fix", &[("Mcp-Session-Id", unknown)]).status();
                    assert!([400, 404].contains(&status), "{unknown:?}: {status}");
                }
            }
            assert!([200, 202, 204].contains(&client.end()));
            let refused = ask("/mcp/fix", &names);
            assert_eq!((refused.status(), refused.json()["id"].clone()), (404, json!(1)));
            let mut conn = Conn::tcp(kern.address());
            let headers = [("Accept", "text/event-stream"), names[0]];
            conn.send(bare("GET", "/mcp/fix", &headers));
            assert_eq!(conn.response().status(), 404);
            assert_eq!(client.end(), 404);
            assert!(stream.next(SECOND * 3).is_none(), "its stream goes on");
            assert!(stream.conn.is_over(), "its stream stays open, round {round}");
        }
    });
}

#[test]
fn an_idle_session_ends_and_one_in_use_does_not() {
    both(|driver| {
        let config = "[limits]\nsession_idle_timeout = \"10s\"\n".to_owned()
            + &fixture_child("fix", "legacy", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let able = json!({ "sampling": {} });
        let idle = Client::legacy(&kern, "/mcp", able.clone());
        idle.clone().tools();
        let mut used = Client::legacy(&kern, "/mcp", json!({}));
        let listening = Client::legacy(&kern, "/mcp", json!({}));
        let stream = listening.stream();
        let mut calling = Client::legacy(&kern, "/mcp", json!({}));
        let mut slow = calling.begin("tools/call", call("test_delay", json!({ "ms": 14_000 })));
        eventually("the able client has a server of its own", || processes(&kern) == 2);
        for _ in 0..13 {
            std::thread::sleep(SECOND);
            used.tools();
        }
        let body = idle.body("tools/list", json!({}), 1);
        assert_eq!(idle.post(&body, &[]).status(), 404, "an idle session lives on");
        assert_eq!(listening.post(&body, &[]).status(), 200, "its stream was open");
        drop(stream);
        assert!(slow.answer()["result"].is_object(), "its call was under way");
        assert_eq!(calling.post(&body, &[]).status(), 200, "its call was under way");
        eventually("the idle session's server is gone", || processes(&kern) == 1);
    });
}

#[test]
fn every_stream_hears_of_changed_lists_whatever_core_it_is_on() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let mut clients: Vec<_> =
            (0..8).map(|_| Client::legacy(&kern, "/mcp", json!({}))).collect();
        clients[0].tools();
        let mut streams: Vec<_> = clients.iter().map(Client::stream).collect();
        let mut listens: Vec<_> = (0..8)
            .map(|at| {
                let params = json!({ "notifications": { "toolsListChanged": at % 2 == 0 } });
                let mut listen = Client::modern(&kern, "/mcp").begin_as(
                    "subscriptions/listen",
                    params,
                    format!("listen-{at}"),
                );
                listen.wait_for("notifications/subscriptions/acknowledged");
                listen
            })
            .collect();
        clients[0].text("test_trigger_tool_change", json!({}));
        for stream in &mut streams {
            stream.wait_for("notifications/tools/list_changed");
        }
        for (at, listen) in listens.iter_mut().enumerate() {
            if at % 2 == 0 {
                let message = listen.wait_for("notifications/tools/list_changed");
                let id = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
                assert_eq!(*id, json!(format!("listen-{at}")), "{message}");
            } else {
                let heard = listen.next(QUIET);
                assert!(heard.is_none(), "it did not ask for this: {heard:?}");
            }
        }
        for client in &mut clients {
            let tools = client.tools();
            assert!(tools.iter().any(|tool| tool == "test_dynamic_tool"), "{tools:?}");
        }
    });
}

#[test]
fn a_listen_stream_begins_with_its_acknowledgement_and_brings_what_was_asked() {
    both(|driver| {
        for (era, number) in [("legacy", json!(0)), ("modern", json!("ü\"x"))] {
            let kern = Setup::new(driver, fixture_child("fix", era, "")).cores(2).start();
            let mut client = Client::modern(&kern, "/mcp/fix");
            client.tools();
            let wanted = json!({
                "promptsListChanged": true,
                "resourceSubscriptions": ["test://watched-resource"]
            });
            let params = json!({ "notifications": wanted });
            let mut listen = client.begin_as("subscriptions/listen", params, number.clone());
            let first = listen.next(SECOND * 5).expect("an acknowledgement");
            assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
            assert_eq!(first["params"]["notifications"], wanted);
            std::thread::sleep(QUIET);
            client.text("test_trigger_tool_change", json!({}));
            client.text("test_trigger_resource_update", json!({}));
            client.text("test_trigger_prompt_change", json!({}));
            let mut heard = Vec::new();
            while let Some(message) = listen.next(SECOND) {
                let id = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
                assert_eq!(*id, number, "{message}");
                heard.push(message["method"].as_str().unwrap().to_owned());
            }
            heard.sort();
            let wanted = ["notifications/prompts/list_changed", "notifications/resources/updated"];
            assert_eq!(heard, wanted, "a server of the {era} era");
        }
    });
}

#[test]
fn a_closed_connection_cancels_in_the_new_era_and_not_in_the_old() {
    both(|driver| {
        for era in ["legacy", "modern"] {
            let kern = Setup::new(driver, fixture_child("fix", era, "")).cores(2).start();
            let mut new = Client::modern(&kern, "/mcp/fix");
            let mut old = Client::legacy(&kern, "/mcp/fix", json!({}));
            let delay = |label: &str| call("test_delay", json!({ "ms": 4000, "label": label }));
            let gone = [
                new.begin("tools/call", delay("new")),
                old.begin("tools/call", delay("old")),
                new.begin("tools/call", delay("new too")),
            ];
            std::thread::sleep(SECOND / 2);
            drop(gone);
            let started = Instant::now();
            let cancelled = |new: &mut Client| new.text("test_cancellations", json!({}));
            eventually("both calls of the new client are cancelled", || {
                let labels = cancelled(&mut new);
                labels.contains("new\n") || labels.ends_with("new")
            });
            assert!(started.elapsed() < SECOND * 3, "took {:?}", started.elapsed());
            eventually("the second too", || cancelled(&mut new).contains("new too"));
            std::thread::sleep(SECOND / 2);
            let labels = cancelled(&mut new);
            assert!(!labels.contains("old"), "a server of the {era} era: {labels:?}");
        }
    });
}

#[test]
fn cancelled_calls_stop_at_the_server_and_get_no_answer() {
    both(|driver| {
        for era in ["legacy", "modern"] {
            let kern = Setup::new(driver, fixture_child("fix", era, "")).cores(2).start();
            let mut client = Client::legacy(&kern, "/mcp/fix", json!({}));
            let params = call("test_delay", json!({ "ms": 8000, "label": "withdrawn" }));
            let mut pending = client.begin_as("tools/call", params, "a");
            std::thread::sleep(SECOND / 2);
            // Another session's id of the same spelling is another request.
            let other = Client::legacy(&kern, "/mcp/fix", json!({}));
            other.notify("notifications/cancelled", json!({ "requestId": "a" }));
            std::thread::sleep(QUIET);
            assert_eq!(client.text("test_cancellations", json!({})), "");
            client.notify("notifications/cancelled", json!({ "requestId": "a" }));
            eventually("the server was told", || {
                client.text("test_cancellations", json!({})) == "withdrawn"
            });
            assert_eq!(pending.next(SECOND * 2), None, "a cancelled call was answered");
        }
    });
}

#[test]
fn an_id_in_use_is_refused_and_free_again_afterwards() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).cores(2).start();
        let client = Client::legacy(&kern, "/mcp/fix", json!({}));
        let delay = |ms: u64| call("test_delay", json!({ "ms": ms }));
        let mut first = client.begin_as("tools/call", delay(1500), 5);
        std::thread::sleep(SECOND / 2);
        let second = client.begin_as("tools/call", delay(0), 5).answer();
        assert!(second["error"]["message"].as_str().unwrap().contains("id"), "{second}");
        // Spelled as text it is another id.
        assert!(client.begin_as("tools/call", delay(0), "5").answer()["result"].is_object());
        assert!(first.answer()["result"].is_object(), "the first call was harmed");
        assert!(client.begin_as("tools/call", delay(0), 5).answer()["result"].is_object());
    });
}

#[test]
fn a_client_that_can_be_asked_has_a_server_of_its_own_for_as_long_as_its_session() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let plain: Vec<_> = (0..3)
            .map(|_| {
                let mut client = Client::legacy(&kern, "/mcp", json!({}));
                client.text("test_simple_text", json!({}));
                client
            })
            .collect();
        Client::modern(&kern, "/mcp").text("test_simple_text", json!({}));
        assert_eq!(processes(&kern), 1);
        let able: Vec<_> = (0..3)
            .map(|_| {
                let able = json!({ "sampling": {}, "elicitation": {} });
                let mut client = Client::legacy(&kern, "/mcp", able);
                client.text("test_simple_text", json!({}));
                client
            })
            .collect();
        assert_eq!(processes(&kern), 4);
        drop(plain);
        for (at, client) in able.iter().enumerate() {
            client.end();
            eventually("its server is gone", || processes(&kern) == 3 - at);
        }
    });
}

/// Answers what a fixture tool asks, and returns its text.
fn converse(mut next: impl FnMut() -> Value, mut answer: impl FnMut(&Value, Value)) -> String {
    loop {
        let message = next();
        match message["method"].as_str() {
            Some("elicitation/create") => {
                let content = json!({ "username": "me", "email": "me@example.org" });
                answer(&message["id"], json!({ "action": "accept", "content": content }));
            }
            Some("sampling/createMessage") => {
                let content = json!({ "type": "text", "text": "as a model says" });
                let result = json!({ "role": "assistant", "content": content, "model": "none" });
                answer(&message["id"], result);
            }
            Some("ping") => answer(&message["id"], json!({})),
            Some(_) => {}
            None => return message["result"]["content"][0]["text"].as_str().unwrap().to_owned(),
        }
    }
}

#[test]
fn a_server_asks_the_client_that_called_and_gets_its_answer() {
    both(|driver| {
        let able = json!({ "sampling": {}, "elicitation": {} });
        let asks = [
            ("test_elicitation", json!({ "message": "who?" }), "me@example.org"),
            ("test_sampling", json!({ "prompt": "say" }), "as a model says"),
        ];
        let config = fixture_child("fix", "legacy", "");
        let kern = Setup::new(driver, config.as_str()).cores(2).start();
        let mut clients: Vec<_> =
            (0..3).map(|_| Client::legacy(&kern, "/mcp", able.clone())).collect();
        for client in &mut clients {
            for (tool, arguments, wanted) in &asks {
                let mut pending = client.begin("tools/call", call(tool, arguments.clone()));
                let next = || pending.next(SECOND * 10).expect("a message");
                let text = converse(next, |id, result| client.answer(id, result));
                assert!(text.contains(wanted), "{tool}: {text}");
            }
        }
        let mut kern = Setup::new(driver, config).stdio().start();
        let mut lines = Lines::stdio(&mut kern);
        lines.initialize(able);
        for (tool, arguments, wanted) in &asks {
            lines.begin("tools/call", call(tool, arguments.clone()));
            let lines = std::cell::RefCell::new(&mut lines);
            let next = || lines.borrow_mut().next(SECOND * 10).expect("a message");
            let text = converse(next, |id, result| {
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                lines.borrow_mut().send(&answer);
            });
            assert!(text.contains(wanted), "{tool}: {text}");
        }
    });
}

#[test]
fn one_client_cannot_answer_what_another_was_asked() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let able = json!({ "elicitation": {} });
        let mut asked = Client::legacy(&kern, "/mcp", able.clone());
        let thief = Client::legacy(&kern, "/mcp", able);
        let params = call("test_elicitation", json!({ "message": "who?" }));
        let mut pending = asked.begin("tools/call", params);
        let question = pending.wait_for("elicitation/create");
        let stolen = json!({ "action": "accept", "content": { "username": "thief" } });
        thief.answer(&question["id"], stolen);
        assert!(pending.next(QUIET).is_none(), "another client's answer was taken");
        asked.answer(&question["id"], json!({ "action": "decline" }));
        let text = pending.answer()["result"]["content"][0]["text"].to_string();
        assert!(text.contains("decline"), "{text}");
    });
}
