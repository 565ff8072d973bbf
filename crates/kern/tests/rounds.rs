//! Does a client of an old revision converse in mid-call with a server that speaks only 2026-07-28?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::{Client, Pending};
use harness::http::{Conn, post};
use harness::lines::Lines;
use harness::{Kern, Remote, Setup, both, eventually, fixture_child, process, remote};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// The server behind a pipe and behind a URL.
fn servers(test: impl Fn(&'static str, &str, String) + Sync) {
    both(|driver| {
        test(driver, "stdio", fixture_child("fix", "modern", ""));
        let far = Remote::fixture(&["--era", "modern"]);
        test(driver, "http", remote("fix", &far.url("/mcp"), ""));
    });
}

fn all() -> Value {
    json!({ "roots": { "listChanged": true }, "sampling": {}, "elicitation": {} })
}

fn begin(client: &mut Client, arguments: Value) -> Pending {
    client.begin("tools/call", json!({ "name": "test_rounds", "arguments": arguments }))
}

/// What a person or a model would say.
fn answer_to(request: &Value) -> Value {
    match request["method"].as_str().unwrap() {
        "elicitation/create" if request["params"]["mode"] == "url" => json!({ "action": "accept" }),
        "elicitation/create" => json!({ "action": "accept", "content": { "name": "Ada" } }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///r", "name": "r" }] }),
        _ => {
            let content = json!({ "type": "text", "text": "said" });
            json!({ "role": "assistant", "content": content, "model": "m" })
        }
    }
}

/// Answers whatever is asked until the call is answered; the answer, and what was asked.
#[track_caller]
fn converse(client: &Client, call: &mut Pending) -> (Value, Vec<Value>) {
    let mut asked = Vec::new();
    loop {
        let message = call.next(harness::PATIENCE).expect("a message");
        if message.get("method").is_none() {
            return (message, asked);
        }
        if message.get("id").is_some() {
            client.answer(&message["id"], answer_to(&message));
            asked.push(message);
        }
    }
}

/// The answers that reached the server, round by round.
#[track_caller]
fn rounds_of(answer: &Value) -> Value {
    let text = answer["result"]["content"][0]["text"].as_str();
    serde_json::from_str(text.unwrap_or_else(|| panic!("no text: {answer}"))).unwrap()
}

/// What the server heard of calls with this label.
fn heard(kern: &Kern, label: &str) -> Vec<Value> {
    let text = Client::modern(kern, "/mcp/fix").text("test_heard", json!({}));
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|heard| heard["label"] == label).collect()
}

#[test]
fn a_legacy_client_is_asked_whatever_a_modern_server_wants_to_know() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        for (ask, rounds) in [
            (json!(["elicitation"]), 1),
            (json!(["sampling"]), 1),
            (json!(["roots"]), 1),
            (json!(["elicitation", "sampling", "roots", "elicitation"]), 1),
            (json!(["elicitation"]), 3),
            (json!(["roots", "sampling"]), 16),
            (json!([]), 1),
            (json!([]), 3),
        ] {
            let arguments =
                json!({ "ask": ask, "rounds": rounds, "é": "\u{1F600}", "label": ask.to_string() });
            let mut call = begin(&mut client, arguments);
            let (answer, asked) = converse(&client, &mut call);
            let answers = rounds_of(&answer);
            let kinds = ask.as_array().unwrap();
            assert_eq!(asked.len(), kinds.len() * rounds, "{asked:?}");
            assert_eq!(answers.as_array().unwrap().len(), rounds, "{ask} {answers}");
            for round in answers.as_array().unwrap() {
                assert_eq!(round.as_object().unwrap().len(), kinds.len());
                for (at, _) in kinds.iter().enumerate() {
                    assert_eq!(round[format!("k{at}")], answer_to(&asked[at]), "{round}");
                }
            }
            assert!(answer["result"].get("resultType").is_none(), "{answer}");
        }
    });
}

#[test]
fn a_modern_server_hears_of_the_legacy_client_what_it_would_hear_of_a_modern_one() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let declared = json!({
            "roots": { "listChanged": true }, "elicitation": { "form": {}, "url": {} },
            "tasks": { "list": {} }, "experimental": { "x": { "y": 1 } }
        });
        let mut client = Client::legacy(&kern, "/mcp/fix", declared);
        client.request("logging/setLevel", json!({ "level": "info" }));
        let arguments = json!({ "ask": ["roots", "url"], "rounds": 2, "label": "told" });
        let params = json!({
            "name": "test_rounds", "arguments": arguments, "_meta": { "progressToken": "p" }
        });
        let mut call = client.begin("tools/call", params);
        let (mut progress, mut logs, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let answer = loop {
            let message = call.next(harness::PATIENCE).unwrap();
            match message["method"].as_str() {
                None => break message,
                Some("notifications/progress") => progress.push(message["params"].clone()),
                Some("notifications/message") => logs.push(message["params"]["data"].clone()),
                Some(_) => {
                    client.answer(&message["id"], answer_to(&message));
                    asked.push(message);
                }
            }
        };
        assert_eq!(rounds_of(&answer).as_array().unwrap().len(), 2);
        let told = heard(&kern, "told");
        assert_eq!(told.len(), 3, "{told:?}");
        for told in &told {
            let capabilities = json!({
                "roots": {}, "elicitation": { "form": {}, "url": {} },
                "experimental": { "x": { "y": 1 } }
            });
            assert_eq!(told["capabilities"], capabilities);
            assert_eq!((&told["level"], &told["progress"]), (&json!("info"), &json!(true)));
        }
        // The server said 1, 1 and 2. Progress must rise for a legacy client, and carries the client's token.
        let values: Vec<f64> = progress.iter().map(|it| it["progress"].as_f64().unwrap()).collect();
        assert_eq!(values, [1.0, 2.0], "{progress:?}");
        assert!(progress.iter().all(|it| it["progressToken"] == "p"), "{progress:?}");
        let _ = logs;
        // 2025-11-25 wants an id for each URL to visit; 2026-07-28 has none.
        let url = asked.iter().find(|it| it["params"]["mode"] == "url").unwrap();
        assert!(url["params"]["elicitationId"].is_string(), "{url}");
    });
}

#[test]
fn a_client_that_declines_or_fails_is_understood() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let decline = json!({ "result": { "action": "decline" } });
        let error = json!({ "error": { "code": -1, "message": "User rejected" } });
        let wrong = json!({ "result": null });
        let cases = [
            ("elicitation", &decline, Ok(json!({ "action": "decline" }))),
            ("elicitation", &error, Ok(json!({ "action": "cancel" }))),
            ("sampling", &error, Err("sampling/createMessage with the error -1: User rejected")),
            ("roots", &error, Err("roots/list")),
            ("roots", &wrong, Err("no object")),
        ];
        for (ask, reply, expected) in cases {
            let mut call = begin(&mut client, json!({ "ask": [ask, "elicitation"] }));
            let first = call.next(harness::PATIENCE).unwrap();
            let second = call.next(harness::PATIENCE).unwrap();
            let mut reply = reply.clone();
            reply["jsonrpc"] = json!("2.0");
            reply["id"] = first["id"].clone();
            client.post(&reply.to_string(), &[]);
            match expected {
                Ok(seen) => {
                    client.answer(&second["id"], answer_to(&second));
                    assert_eq!(rounds_of(&call.answer())[0]["k0"], seen);
                }
                Err(why) => {
                    // The other question is taken back before the call ends.
                    let rest = call.all();
                    assert_eq!(rest[0]["method"], "notifications/cancelled", "{rest:?}");
                    assert_eq!(rest[0]["params"]["requestId"], second["id"], "{rest:?}");
                    let message = rest[1]["error"]["message"].as_str().unwrap_or_default();
                    assert!(message.contains(why), "{rest:?}");
                    // Late: nobody waits for it.
                    client.answer(&second["id"], answer_to(&second));
                }
            }
        }
        client.text("test_simple_text", json!({}));
    });
}

#[test]
fn a_server_that_asks_what_it_must_not_fails_its_call_alone() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let (full, none, form) = (all(), json!({}), json!({ "elicitation": {} }));
        let many: Vec<&str> = std::iter::repeat_n("roots", 33).collect();
        for (capabilities, ask, rounds, why) in [
            (&none, json!(["elicitation"]), 1, "\"elicitation\""),
            (&form, json!(["sampling"]), 1, "\"sampling\""),
            (&form, json!(["elicitation", "roots"]), 1, "\"roots\""),
            (&form, json!(["url"]), 1, "\"elicitation.url\""),
            (&full, json!(["tools/list"]), 1, "\"tools/list\", which is no input"),
            (&full, json!(many), 1, "more than 32 things"),
            (&full, json!([]), 17, "16 times in a row"),
        ] {
            let mut client = Client::legacy(&kern, "/mcp/fix", capabilities.clone());
            let arguments = json!({ "ask": ask, "rounds": rounds, "force": true });
            let rest = begin(&mut client, arguments).all();
            let message = rest.last().unwrap()["error"]["message"].as_str().unwrap_or_default();
            assert!(rest.len() == 1 && message.contains(why), "{ask}: {rest:?}");
            client.text("test_simple_text", json!({}));
        }
        // Of its own accord it asks only what the client declared, or says what is missing.
        let mut client = Client::legacy(&kern, "/mcp/fix", none);
        let message = client.error("test_missing_capability", json!({}));
        assert!(message.contains("sampling"), "{message}");
    });
}

#[test]
fn it_is_asked_whatever_instance_answers_and_whatever_else_the_server_speaks() {
    both(|driver| {
        let near = fixture_child("near", "legacy", "");
        for era in ["modern", "both"] {
            let far = Remote::fixture(&["--era", era]);
            for instances in ["auto", "shared", "per-session"] {
                let more = format!("instances = {instances:?}");
                let config = fixture_child("fix", era, &more)
                    + &remote("far", &far.url("/mcp"), &more)
                    + &near;
                let kern = Setup::new(driver, config).cores(2).start();
                let mut client = Client::legacy(&kern, "/mcp", all());
                for name in ["fix", "far"] {
                    let arguments = json!({ "ask": ["roots", "sampling"], "rounds": 2 });
                    let params =
                        json!({ "name": format!("{name}__test_rounds"), "arguments": arguments });
                    let mut call = client.begin("tools/call", params);
                    let (answer, asked) = converse(&client, &mut call);
                    let place = format!("{name} {instances} {era}");
                    assert_eq!(asked.len(), 4, "{place}: {answer}");
                    assert_eq!(rounds_of(&answer)[1]["k0"], answer_to(&asked[2]), "{place}");
                }
            }
        }
    });
}

#[test]
fn prompts_and_resources_may_ask_too() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let params = json!({ "name": "test_input_required_result_prompt" });
        let mut call = client.begin("prompts/get", params);
        let (answer, asked) = converse(&client, &mut call);
        assert_eq!(asked.len(), 1, "{answer}");
        assert!(answer["result"]["messages"].is_array(), "{answer}");
    });
}

#[test]
fn a_client_that_reads_no_streams_is_asked_on_its_session_or_told_why_not() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let call = |client: &Client, id: u64| {
            let params = json!({ "name": "test_rounds", "arguments": { "ask": ["roots"] } });
            let body = client.body("tools/call", params, id);
            let session = client.session.clone().unwrap();
            let bytes = post("/mcp/fix", &[("Mcp-Session-Id", session.as_str())], &body);
            let mut conn = Conn::tcp(kern.address());
            let text = String::from_utf8(bytes).unwrap();
            assert!(conn.send(text.replace(", text/event-stream", "")));
            conn
        };
        let mut conn = call(&client, 70);
        let answer = conn.response().json();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("roots/list") && message.contains("no event stream"), "{answer}");
        let mut stream = client.stream();
        let mut conn = call(&client, 71);
        let asked = stream.wait_for("roots/list");
        client.answer(&asked["id"], answer_to(&asked));
        let answer = conn.response().json();
        assert_eq!(rounds_of(&answer)[0]["k0"], answer_to(&asked));
        client.text("test_simple_text", json!({}));
    });
}

#[test]
fn a_cancelled_call_takes_its_questions_back_and_is_not_sent_again() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let arguments = json!({ "ask": ["elicitation", "roots"], "label": "cancelled" });
        let mut call = begin(&mut client, arguments);
        let first = call.next(harness::PATIENCE).unwrap();
        let second = call.next(harness::PATIENCE).unwrap();
        client.answer(&first["id"], answer_to(&first));
        client.notify("notifications/cancelled", json!({ "requestId": 1 }));
        let taken = call.wait_for("notifications/cancelled");
        assert_eq!(taken["params"]["requestId"], second["id"], "{taken}");
        assert!(call.next(SECOND).is_none(), "a cancelled request has no answer");
        client.answer(&second["id"], answer_to(&second));
        client.text("test_simple_text", json!({}));
        assert_eq!(heard(&kern, "cancelled").len(), 1);
    });
}

#[test]
fn a_lost_connection_does_not_cancel_and_the_end_of_a_session_does() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let mut call = begin(&mut client, json!({ "ask": ["roots"], "label": "lost" }));
        let asked = call.wait_for("roots/list");
        drop(call);
        client.answer(&asked["id"], answer_to(&asked));
        eventually("the call went on", || heard(&kern, "lost").len() == 2);
        let mut call = begin(&mut client, json!({ "ask": ["roots"], "label": "ended" }));
        let asked = call.wait_for("roots/list");
        // Another client's answer is no answer.
        let other = Client::legacy(&kern, "/mcp/fix", all());
        other.answer(&asked["id"], answer_to(&asked));
        assert!(call.next(SECOND / 4).is_none());
        assert_eq!(client.end(), 200);
        while let Some(message) = call.next(SECOND) {
            assert!(message.get("result").is_none(), "{message}");
        }
        other.answer(&asked["id"], answer_to(&asked));
        assert_eq!(heard(&kern, "ended").len(), 1);
    });
}

#[test]
fn a_client_that_lost_its_connection_finds_the_question_and_the_answer_again() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let mut call = begin(&mut client, json!({ "ask": ["roots"], "rounds": 2 }));
        call.conn.head(harness::PATIENCE).unwrap();
        // A stream begins with an event that says where it can be resumed from.
        let mut place = call.conn.event(harness::PATIENCE).unwrap().id.unwrap();
        drop(call);
        for round in 0..3 {
            let (mut conn, head) = client.get("/mcp/fix", Some(&place));
            assert_eq!(head.status, 200, "{head:?}");
            let event = std::iter::repeat_with(|| conn.event(harness::PATIENCE).unwrap());
            let event = event.into_iter().find(|event| !event.data.is_empty()).unwrap();
            place = event.id.unwrap();
            let message: Value = serde_json::from_str(&event.data).unwrap();
            if round == 2 {
                assert_eq!(rounds_of(&message).as_array().unwrap().len(), 2, "{message}");
            } else {
                drop(conn);
                client.answer(&message["id"], answer_to(&message));
            }
        }
    });
}

#[test]
fn answers_survive_a_server_that_is_killed_while_its_client_is_asked() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "modern", "")).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", all());
        let mut call = begin(&mut client, json!({ "ask": ["roots"] }));
        let asked = call.wait_for("roots/list");
        let [server] = kern.servers("kern-fixture")[..] else { panic!("one server") };
        process::kill(server);
        eventually("it is back", || kern.servers("kern-fixture").iter().any(|it| *it != server));
        eventually("it answers", || {
            client.request("tools/call", json!({ "name": "test_simple_text" }))["result"]
                .is_object()
        });
        client.answer(&asked["id"], answer_to(&asked));
        assert_eq!(rounds_of(&call.answer())[0]["k0"], answer_to(&asked));
        // A state it sealed before it died is the server's to refuse.
        let mut call = begin(&mut client, json!({ "ask": ["roots"], "rounds": 2 }));
        let asked = call.wait_for("roots/list");
        let [server] = kern.servers("kern-fixture")[..] else { panic!("one server") };
        process::kill(server);
        eventually("it answers", || {
            client.request("tools/call", json!({ "name": "test_simple_text" }))["result"]
                .is_object()
        });
        client.answer(&asked["id"], answer_to(&asked));
        let answer = call.answer();
        assert!(answer["error"]["message"].as_str().unwrap().contains("requestState"), "{answer}");
    });
}

#[test]
fn a_server_taken_out_of_the_configuration_takes_its_questions_with_it() {
    both(|driver| {
        let near = fixture_child("near", "both", "");
        let config = fixture_child("fix", "modern", "") + &near;
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp", all());
        let params = json!({ "name": "fix__test_rounds", "arguments": { "ask": ["roots"] } });
        let mut call = client.begin("tools/call", params);
        let asked = call.wait_for("roots/list");
        kern.configure(&near);
        let taken = call.wait_for("notifications/cancelled");
        assert_eq!(taken["params"]["requestId"], asked["id"], "{taken}");
        let rest = call.all();
        let message = rest[0]["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("removed in the configuration"), "{rest:?}");
    });
}

#[test]
fn a_line_client_converses_over_stdio_and_a_unix_socket_and_may_leave_in_the_middle() {
    servers(|driver, _, config| {
        for over in ["stdio", "unix"] {
            let setup = Setup::new(driver, config.clone());
            let mut kern = if over == "stdio" { setup.stdio().start() } else { setup.start() };
            let mut lines = match over {
                "stdio" => Lines::stdio(&mut kern),
                _ => Lines::unix(&kern),
            };
            lines.initialize(all());
            let arguments = json!({ "ask": ["elicitation", "roots"], "rounds": 2 });
            let params = json!({ "name": "test_rounds", "arguments": arguments });
            let id = lines.begin("tools/call", params.clone());
            for _ in 0..2 {
                for method in ["elicitation/create", "roots/list"] {
                    let asked = lines.wait_for(method);
                    let result = answer_to(&asked);
                    lines.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }));
                }
            }
            let answer = lines.answer(id);
            assert_eq!(rounds_of(&answer).as_array().unwrap().len(), 2, "{answer}");
            if over == "unix" {
                continue;
            }
            let id = lines.begin("tools/call", params);
            lines.wait_for("roots/list");
            lines.close();
            let answer = lines.answer(id);
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("closed its input"), "{answer}");
            assert!(lines.is_over(5 * SECOND));
        }
    });
}
