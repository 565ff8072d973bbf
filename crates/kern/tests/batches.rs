//! Do arrays of messages work for the one revision that has them, and for no other?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::collections::BTreeMap;

use harness::client::Client;
use harness::http::Response;
use harness::lines::Lines;
use harness::{PATIENCE, Remote, Setup, both, child, eventually, fixture_child, remote};
use serde_json::{Value, json};

fn ping(id: impl Into<Value>) -> Value {
    let id: Value = id.into();
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}

fn call(id: u64, tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments } })
}

fn with_progress(mut call: Value, token: &str) -> Value {
    call["params"]["_meta"] = json!({ "progressToken": token });
    call
}

fn note(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// The answers, by id.
fn by_id(answers: &Value) -> BTreeMap<String, Value> {
    let answers = answers.as_array().unwrap_or_else(|| panic!("no array: {answers}"));
    answers.iter().map(|answer| (answer["id"].to_string(), answer.clone())).collect()
}

fn post(client: &Client, batch: &Value) -> Response {
    client.post(&batch.to_string(), &[])
}

const OLD: &str = "2025-03-26";

#[test]
fn a_batch_of_requests_and_notifications_is_answered_with_one_array() {
    both(|driver| {
        let config =
            "[upstream.echo]\nbuiltin = \"echo\"\n".to_owned() + &fixture_child("fix", "both", "");
        let kern = Setup::new(driver, config).cores(3).start();
        // Until all servers are there, a client hears of lists that change.
        let mut first = Client::legacy(&kern, "/mcp", json!({}));
        eventually("both servers are there", || first.tools().len() > 5);
        // The connections of one client come to any core.
        let client = Client::legacy_of(&kern, "/mcp", json!({}), OLD);
        for round in 0..4 {
            let batch = json!([
                call(1, "echo__sleep", json!({ "ms": 200 })),
                note("notifications/roots/list_changed", json!({})),
                call(2, "fix__test_simple_text", json!({})),
                ping("three"),
                call(4, "fix__test_delay", json!({ "ms": 100 })),
                call(5, "nothing", json!({})),
                json!({ "jsonrpc": "2.0", "id": 6, "result": {} }),
            ]);
            let response = post(&client, &batch);
            assert_eq!(response.status(), 200, "{round}");
            assert_eq!(response.head.get("content-type"), Some("application/json"));
            let answers = by_id(&response.json());
            assert_eq!(answers.len(), 5, "{answers:?}");
            assert_eq!(answers["1"]["result"]["content"][0]["text"], "slept 200 ms");
            assert_eq!(answers["4"]["result"]["content"][0]["text"], "waited 100 ms");
            assert_eq!(answers["\"three\""]["result"], json!({}));
            assert_eq!(answers["5"]["error"]["code"], -32602);
            assert!(answers["2"]["result"].is_object(), "{answers:?}");
        }
        // Without requests there is nothing to answer.
        let notes = json!([
            note("notifications/initialized", json!({})),
            json!({ "jsonrpc": "2.0", "id": "q1", "result": {} })
        ]);
        let response = post(&client, &notes);
        assert_eq!((response.status(), response.body.len()), (202, 0));
    });
}

#[test]
fn a_batch_in_which_something_is_said_becomes_a_stream_that_can_be_resumed() {
    both(|driver| {
        let kern = Setup::new(driver, "[upstream.echo]\nbuiltin = \"echo\"\n").cores(2).start();
        let client = Client::legacy_of(&kern, "/mcp/echo", json!({}), OLD);
        let steps = json!({ "steps": 2, "interval_ms": 200 });
        let batch = json!([
            ping(1),
            with_progress(call(2, "progress", steps.clone()), "a"),
            with_progress(call(3, "progress", steps), "b"),
        ]);
        let mut conn = client.begin_raw(&batch.to_string());
        let head = conn.head(PATIENCE).unwrap();
        assert_eq!(head.get("content-type"), Some("text/event-stream"));
        let events: Vec<_> = std::iter::from_fn(|| conn.event(PATIENCE)).collect();
        let said: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
        assert_eq!(said[0][0]["id"], 1, "{said:?}");
        let answered: Vec<_> = said[1..].iter().filter_map(|it| it["id"].as_u64()).collect();
        assert_eq!(answered, [2, 3], "{said:?}");
        assert_eq!(said.len(), 7, "{said:?}");
        let (mut conn, head) = client.get("/mcp/echo", events[4].id.as_deref());
        assert_eq!(head.status, 200);
        let again: Vec<_> = std::iter::from_fn(|| conn.event(PATIENCE)).collect();
        assert_eq!(again, events[5..]);
    });
}

#[test]
fn what_is_wrong_in_a_batch_is_refused_by_itself_and_what_is_no_batch_as_a_whole() {
    both(|driver| {
        let kern = Setup::new(driver, "[upstream.echo]\nbuiltin = \"echo\"\n").cores(2).start();
        let client = Client::legacy_of(&kern, "/mcp/echo", json!({}), OLD);
        let greeting = json!({ "jsonrpc": "2.0", "id": 9, "method": "initialize",
            "params": { "protocolVersion": OLD, "capabilities": {}, "clientInfo": {} } });
        let response = post(&client, &json!([ping(1), ping(1), 7, { "id": 3 }, [], greeting]));
        assert_eq!(response.status(), 200);
        let all = response.json();
        let codes: Vec<_> =
            all.as_array().unwrap().iter().map(|it| it["error"]["code"].as_i64()).collect();
        let no = Some(-32600);
        assert_eq!(codes, [None, no, no, no, no, no], "{all}");
        assert_eq!(all[5]["id"], 9);
        assert!(all[5]["error"]["message"].as_str().unwrap().contains("initialize"), "{all}");
        assert!(all[1]["error"]["message"].as_str().unwrap().contains("same id"), "{all}");

        let many = |count: u64| Value::from((0..count).map(ping).collect::<Vec<_>>());
        assert_eq!(post(&client, &many(100)).json().as_array().unwrap().len(), 100);
        let check = |client: &Client, body: &str, code: i64, why: &str| {
            let response = client.post(body, &[]);
            assert_eq!((response.status(), response.code()), (400, code), "{body:.60}");
            let answer = response.json();
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(why), "{body:.60}: {message}");
            assert!(answer["id"].is_null(), "{answer}");
        };
        check(&client, &many(101).to_string(), -32600, "at most 100");
        check(&client, "[]", -32600, "at least one");
        check(&client, " [ ] ", -32600, "at least one");
        check(&client, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", -32700, "(at byte ");
        check(&client, "[1,]", -32700, "(at byte ");
        let one = json!([ping(1)]).to_string();
        for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
            let other = Client::legacy_of(&kern, "/mcp/echo", json!({}), revision);
            check(&other, &one, -32600, &format!("not part of revision {revision}"));
        }
        let nobody = Client::modern(&kern, "/mcp/echo");
        let response = nobody.post(&one, &[]);
        assert_eq!((response.status(), response.code()), (400, -32600));
        // The session is none the worse for it, until it ends.
        assert_eq!(post(&client, &json!([ping(1)])).status(), 200);
        assert_eq!(client.clone().at("/mcp").post(&one, &[]).status(), 404);
        assert_eq!(client.end(), 200);
        assert_eq!(post(&client, &json!([ping(1)])).status(), 404);
    });
}

#[test]
fn requests_of_a_batch_can_be_cancelled_one_by_one_and_end_with_their_session() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        let mut client = Client::legacy_of(&kern, "/mcp/fix", json!({}), OLD);
        let slow = |id, label| call(id, "test_delay", json!({ "ms": 9000, "label": label }));
        let batch =
            json!([slow(101, "one"), call(102, "test_delay", json!({ "ms": 900 })), ping(103)]);
        let mut conn = client.begin_raw(&batch.to_string());
        std::thread::sleep(std::time::Duration::from_millis(400));
        client.notify("notifications/cancelled", json!({ "requestId": 101 }));
        let answers = by_id(&conn.response().json());
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["102", "103"]);
        eventually("the server was told", || {
            client.text("test_cancellations", json!({})).contains("one")
        });
        let mut conn = client.begin_raw(&json!([slow(101, "two"), ping(1)]).to_string());
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert_eq!(client.end(), 200);
        assert!(conn.head(PATIENCE).is_some(), "the exchange ends");
        let mut other = Client::modern(&kern, "/mcp/fix");
        eventually("the server was told of the second", || {
            other.text("test_cancellations", json!({})).contains("two")
        });
    });
}

#[test]
fn a_line_client_of_the_revision_gets_its_array_in_one_line() {
    both(|driver| {
        let kern = Setup::new(driver, "[upstream.echo]\nbuiltin = \"echo\"\n").start();
        let mut lines = Lines::unix(&kern);
        lines.send(&json!([ping(1)]));
        let refused = lines.next(PATIENCE).unwrap();
        assert_eq!(refused["error"]["code"], -32600, "{refused}");
        let params = json!({ "protocolVersion": OLD, "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } });
        lines.request("initialize", params);
        let steps = json!({ "steps": 1, "interval_ms": 50 });
        lines.send(&json!([
            call(5, "echo", json!({ "message": "hello" })),
            note("notifications/initialized", json!({})),
            with_progress(call(6, "progress", steps), "p"),
        ]));
        // The catalog may still settle, and its client hears of that.
        let next = |lines: &mut Lines| {
            let settles = |said: &Value| {
                said["method"].as_str().is_some_and(|method| method.ends_with("list_changed"))
            };
            std::iter::from_fn(|| lines.next(PATIENCE)).find(|said| !settles(said)).unwrap()
        };
        let progress = next(&mut lines);
        assert_eq!(progress["params"]["progressToken"], "p", "{progress}");
        let answers = by_id(&next(&mut lines));
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["5", "6"]);
        lines.send_raw("[]\n");
        let refused = next(&mut lines);
        assert_eq!(refused["error"]["code"], -32600, "{refused}");
        lines.send(&json!([ping(7)]));
        assert_eq!(next(&mut lines)[0]["id"], 7);
    });
}

#[test]
fn a_server_of_the_revision_may_answer_with_an_array() {
    both(|driver| {
        let breaks = harness::script("breaks.py");
        let server = |revision: &str| {
            let mut command = std::process::Command::new(harness::python());
            command.args(["-SEB", &breaks, "http", revision]);
            Remote::start(command)
        };
        let (old, new) = (server(OLD), server("2025-06-18"));
        let timeout = "timeout = \"2s\"";
        let args = |revision| ["-SEB", &*breaks, "stdio", revision];
        let config = remote("far", &old.url("/mcp"), timeout)
            + &remote("far-new", &new.url("/mcp"), timeout)
            + &child("near", harness::python(), &args(OLD), timeout)
            + &child("near-new", harness::python(), &args("2025-06-18"), timeout);
        let kern = Setup::new(driver, config).cores(2).start();
        for name in ["near", "far"] {
            for mut client in [
                Client::modern(&kern, &format!("/mcp/{name}")),
                Client::legacy(&kern, &format!("/mcp/{name}"), json!({ "sampling": {} })),
            ] {
                let params = json!({ "name": "array", "_meta": { "progressToken": "t" } });
                let said = client.begin("tools/call", params).all();
                assert_eq!(said[0]["params"]["progressToken"], "t", "{name}: {said:?}");
                let text = &said[1]["result"]["content"][0]["text"];
                assert_eq!(text, "one of several", "{name}: {said:?}");
            }
        }
        for name in ["near-new", "far-new"] {
            let mut client = Client::modern(&kern, &format!("/mcp/{name}"));
            client.error("array", json!({}));
        }
    });
}
