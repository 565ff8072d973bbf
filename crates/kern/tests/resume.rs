//! Does a client that loses a connection get what it missed, and only what was its own?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::http::{Conn, Event};
use harness::{PATIENCE, Remote, Setup, both, eventually, fixture_child, remote};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// A call that makes progress: three steps of 0.3 s, then its answer.
fn steps(client: &Client, id: u64) -> Conn {
    let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "progress", "arguments": { "steps": 3, "interval_ms": 300 },
        "_meta": { "progressToken": format!("token-{id}") } } });
    let mut conn = client.begin_raw(&body.to_string());
    let head = conn.head(PATIENCE).unwrap();
    assert_eq!(head.get("content-type"), Some("text/event-stream"), "{head:?}");
    conn
}

fn id(event: &Event) -> String {
    event.id.clone().unwrap_or_else(|| panic!("no id: {event:?}"))
}

fn message(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("no message: {event:?}"))
}

/// All that follows on a connection until its stream ends.
fn rest(conn: &mut Conn) -> Vec<Event> {
    std::iter::from_fn(|| conn.event(PATIENCE)).collect()
}

fn echo() -> String {
    "[upstream.echo]\nbuiltin = \"echo\"\n".to_owned()
}

#[test]
fn a_client_that_lost_a_calls_stream_gets_what_it_missed_and_the_answer() {
    both(|driver| {
        // With several cores, the connection that resumes is often on another than the session.
        let kern = Setup::new(driver, echo()).cores(3).start();
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = Client::legacy_of(&kern, "/mcp/echo", json!({}), revision);
            for call in 1..=3 {
                let mut conn = steps(&client, call);
                let first = conn.event(PATIENCE).unwrap();
                // Only clients of 2025-11-25 know events without data.
                assert_eq!(first.data.is_empty(), revision == "2025-11-25", "{first:?}");
                let all_from = id(&first);
                drop(conn);
                std::thread::sleep(SECOND / 3);
                let (mut conn, head) = client.get("/mcp/echo", Some(&all_from));
                assert_eq!(head.status, 200, "{head:?}");
                let mut said: Vec<_> = rest(&mut conn);
                said.retain(|event| !event.data.is_empty());
                let wanted = if revision == "2025-11-25" { 4 } else { 3 };
                assert_eq!(said.len(), wanted, "{said:?}");
                let answer = said.last().unwrap();
                assert_eq!(message(answer)["id"], call, "{said:?}");
                assert!(message(answer)["result"].is_object(), "{said:?}");
                // A finished call's stream can be had again, and ends after the answer.
                let (mut conn, _) = client.get("/mcp/echo", Some(&all_from));
                assert_eq!(rest(&mut conn), said);
                // Who has everything need not come back.
                let (_, head) = client.get("/mcp/echo", Some(&id(answer)));
                assert_eq!(head.status, 204, "{head:?}");
            }
        }
    });
}

#[test]
fn a_stream_that_is_taken_over_ends_at_its_old_connection_and_others_go_on_untouched() {
    both(|driver| {
        let kern = Setup::new(driver, echo()).cores(2).start();
        let client = Client::legacy(&kern, "/mcp/echo", json!({}));
        let mut other = steps(&client, 1);
        let mut old = steps(&client, 2);
        let first = old.event(PATIENCE).unwrap();
        let (mut new, head) = client.get("/mcp/echo", Some(&id(&first)));
        assert_eq!(head.status, 200);
        let mut here = rest(&mut new);
        here.retain(|event| !event.data.is_empty());
        for event in &here {
            let message = message(event);
            let its = message["id"] == 2 || message["params"]["progressToken"] == "token-2";
            assert!(its, "{message}");
        }
        assert_eq!(here.len(), 4, "{here:?}");
        let left: Vec<_> = rest(&mut old);
        assert!(left.iter().all(|event| event.data.is_empty() || message(event)["id"] != 2));
        assert_eq!(rest(&mut other).len(), 5);
        // Each id was given once.
        let mut ids: Vec<_> = here.iter().map(id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4);
    });
}

#[test]
fn an_id_of_nobody_or_of_another_session_finds_nothing() {
    both(|driver| {
        let config = echo() + &fixture_child("fix", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let one = Client::legacy(&kern, "/mcp/echo", json!({}));
        let two = Client::legacy(&kern, "/mcp/echo", json!({}));
        let mut conn = steps(&one, 1);
        let event = conn.event(PATIENCE).unwrap();
        let known = id(&event);
        steps(&two, 1);
        let (stream, _) = known.split_once('-').unwrap();
        let later = format!("{stream}-99");
        for bad in [&*later, "0", "nonsense", "00000000-0", &known.to_uppercase().replace('-', "+")]
        {
            let (_, head) = one.get("/mcp/echo", Some(bad));
            assert_eq!(head.status, 400, "{bad}");
        }
        let (_, head) = two.get("/mcp/echo", Some(&known));
        assert_eq!(head.status, 400);
        // A session is not to be had at another endpoint, and not ended there.
        for path in ["/mcp", "/mcp/fix", "/mcp/nobody"] {
            let (_, head) = one.get(path, Some(&known));
            assert_eq!(head.status, 404, "{path}");
            assert_eq!(one.clone().at(path).end(), 404, "{path}");
        }
        let (_, head) = one.get("/mcp/echo", Some(&known));
        assert_eq!(head.status, 200);
        assert_eq!(one.end(), 200);
        let (_, head) = one.get("/mcp/echo", Some(&known));
        assert_eq!(head.status, 404);
        assert_eq!(one.end(), 404);
    });
}

#[test]
fn a_call_that_takes_long_can_be_resumed_though_nothing_was_said_yet() {
    both(|driver| {
        let kern = Setup::new(driver, echo()).cores(3).start();
        for _ in 0..3 {
            let client = Client::legacy(&kern, "/mcp/echo", json!({}));
            let call = json!({ "name": "sleep", "arguments": { "ms": 5_000 } });
            let mut conn = client.begin_raw(&client.body("tools/call", call, 1));
            let head = conn.head(PATIENCE).unwrap();
            assert_eq!(head.get("content-type"), Some("text/event-stream"));
            let first = conn.event(PATIENCE).unwrap();
            assert_eq!(first.data, "");
            drop(conn);
            let (mut conn, head) = client.get("/mcp/echo", first.id.as_deref());
            assert_eq!(head.status, 200);
            let mut said = rest(&mut conn);
            said.retain(|event| !event.data.is_empty());
            assert_eq!(message(&said[0])["result"]["content"][0]["text"], "slept 5000 ms");
        }
    });
}

#[test]
fn a_sessions_own_stream_goes_on_where_it_broke() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).cores(3).start();
        for revision in ["2025-06-18", "2025-11-25"] {
            let mut client = Client::legacy_of(&kern, "/mcp/fix", json!({}), revision);
            let (mut conn, head) = client.get("/mcp/fix", None);
            assert_eq!(head.status, 200);
            client.call("test_trigger_tool_change", json!({}));
            let mut event = conn.event(PATIENCE).unwrap();
            if revision == "2025-11-25" {
                assert_eq!(event.data, "");
                event = conn.event(PATIENCE).unwrap();
            }
            assert_eq!(message(&event)["method"], "notifications/tools/list_changed");
            drop(conn);
            std::thread::sleep(SECOND / 3);
            // Said while nobody listens.
            client.call("test_trigger_prompt_change", json!({}));
            std::thread::sleep(SECOND / 3);
            let (mut conn, head) = client.get("/mcp/fix", Some(&id(&event)));
            assert_eq!(head.status, 200);
            let mut next = conn.event(PATIENCE).unwrap();
            while next.data.is_empty()
                || message(&next)["method"] != "notifications/prompts/list_changed"
            {
                next = conn.event(PATIENCE).unwrap();
            }
            // And it is live again.
            client.call("test_trigger_resource_change", json!({}));
            let live = conn.event(PATIENCE).unwrap();
            assert_eq!(message(&live)["method"], "notifications/resources/list_changed");
            assert_eq!(client.end(), 200);
            assert_eq!(conn.event(PATIENCE), None);
        }
    });
}

#[test]
fn streams_of_modern_clients_and_plain_answers_carry_no_ids() {
    both(|driver| {
        let kern = Setup::new(driver, echo()).start();
        let modern = Client::modern(&kern, "/mcp/echo");
        let params = json!({ "name": "progress", "arguments": { "steps": 2, "interval_ms": 20 },
            "_meta": { "progressToken": 7 } });
        let mut conn = modern.begin_raw(&modern.body("tools/call", params.clone(), 1));
        assert_eq!(conn.head(PATIENCE).unwrap().get("content-type"), Some("text/event-stream"));
        let events = rest(&mut conn);
        assert!(events.iter().all(|event| event.id.is_none()), "{events:?}");
        assert_eq!(events.len(), 3, "{events:?}");
        let legacy = Client::legacy(&kern, "/mcp/echo", json!({}));
        let answer = legacy.post(&legacy.body("ping", json!({}), 1), &[]);
        assert_eq!(answer.head.get("content-type"), Some("application/json"));
    });
}

#[test]
fn a_session_outlives_the_restart_of_its_server() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", json!({}));
        client.text("test_simple_text", json!({}));
        let (mut own, _) = client.get("/mcp/fix", None);
        for pid in kern.servers("--stdio") {
            harness::process::signal(pid, rustix::process::Signal::KILL);
        }
        eventually("the server is back", || {
            let call = json!({ "name": "test_simple_text" });
            client.request("tools/call", call)["result"].is_object()
        });
        client.call("test_trigger_tool_change", json!({}));
        let mut heard = Vec::new();
        while !heard.contains(&json!("notifications/tools/list_changed")) {
            let event = own.event(PATIENCE).unwrap();
            heard.extend((!event.data.is_empty()).then(|| message(&event)["method"].clone()));
        }
        assert_eq!(client.end(), 200);
    });
}

fn breaks(revision: &str) -> Remote {
    let mut command = std::process::Command::new(harness::python());
    command.args(["-SEB", &harness::script("breaks.py"), "http", revision]);
    Remote::start(command)
}

/// When the server was asked for the rest of its tool's streams, in seconds after it closed them.
fn asked(client: &mut Client, tool: &str) -> Vec<f64> {
    let gets: Value = serde_json::from_str(&client.text("gets", json!({}))).unwrap();
    let gets = gets.as_array().unwrap().iter().filter(|get| get[0] == tool);
    gets.map(|get| get[1].as_f64().unwrap()).collect()
}

#[test]
fn a_server_that_breaks_a_calls_stream_is_asked_for_the_rest_when_it_wants_to_be() {
    both(|driver| {
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let server = breaks(revision);
            let config = remote("far", &server.url("/mcp"), "timeout = \"15s\"");
            let kern = Setup::new(driver, config).cores(2).start();
            // Whatever the client is; one that can be asked things has a session of its own.
            let can = json!({ "sampling": {} });
            let mut clients = [
                Client::modern(&kern, "/mcp/far"),
                Client::legacy_of(&kern, "/mcp/far", json!({}), "2025-06-18"),
                Client::legacy_of(&kern, "/mcp/far", can, "2025-06-18"),
            ];
            for client in &mut clients {
                for (tool, times) in [("polled", 1), ("cut", 1), ("often", 4)] {
                    let before = asked(client, tool).len();
                    assert_eq!(client.text(tool, json!({})), "resumed", "{tool}");
                    let all = asked(client, tool);
                    assert_eq!(all.len() - before, times, "{tool}");
                    assert!(all.iter().all(|after| *after >= 0.6), "{tool}: {all:?}");
                }
            }
            let message = clients[1].error("refused", json!({}));
            assert!(message.contains("HTTP 405"), "{message}");
        }
    });
}

#[test]
fn a_call_that_waits_for_the_rest_of_its_stream_still_times_out_and_can_be_cancelled() {
    both(|driver| {
        let server = breaks("2025-11-25");
        let config = remote("far", &server.url("/mcp"), "timeout = \"2s\"");
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy_of(&kern, "/mcp/far", json!({}), "2025-06-18");
        let message = client.error("silent", json!({}));
        assert!(message.contains("timeout"), "{message}");
        // Cancelled between the streams.
        let pending = client.begin_as("tools/call", json!({ "name": "polled" }), "c");
        std::thread::sleep(SECOND / 4);
        client.notify("notifications/cancelled", json!({ "requestId": "c" }));
        drop(pending);
        eventually("the server heard of both", || {
            let text = client.text("cancelled", json!({}));
            serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().len() == 2
        });
        std::thread::sleep(SECOND);
        assert!(asked(&mut client, "polled").is_empty());
    });
}

#[test]
fn a_server_that_wants_to_be_polled_is_and_so_may_a_client_of_its_revision_poll() {
    both(|driver| {
        let server = breaks("2025-11-25");
        let kern = Setup::new(driver, remote("far", &server.url("/mcp"), "")).cores(3).start();
        for can in [json!({}), json!({ "elicitation": {} })] {
            let client = Client::legacy(&kern, "/mcp/far", can);
            let mut conn =
                client.begin_raw(&client.body("tools/call", json!({ "name": "polled" }), 1));
            assert_eq!(conn.head(PATIENCE).unwrap().status, 200);
            let said = rest(&mut conn);
            assert_eq!(said.len(), 1, "{said:?}");
            assert_eq!((&*said[0].data, said[0].retry_ms), ("", Some(600)));
            let (mut conn, head) = client.get("/mcp/far", said[0].id.as_deref());
            assert_eq!(head.status, 200);
            let mut said = rest(&mut conn);
            said.retain(|event| !event.data.is_empty());
            assert_eq!(said.len(), 1, "{said:?}");
            assert_eq!(message(&said[0])["result"]["content"][0]["text"], "resumed");
        }
    });
}

#[test]
fn a_servers_own_stream_is_opened_again_where_it_broke() {
    both(|driver| {
        let server = breaks("2025-11-25");
        let kern = Setup::new(driver, remote("far", &server.url("/mcp"), "")).start();
        let mut client = Client::modern(&kern, "/mcp/far");
        eventually("it was opened three times", || {
            let gets: Value = serde_json::from_str(&client.text("gets", json!({}))).unwrap();
            let own = gets.as_array().unwrap().iter().filter(|get| get[0] == "own");
            let places: Vec<_> = own.map(|get| get[1].clone()).collect();
            assert!(places.starts_with(&[json!(null)]) || places.is_empty(), "{places:?}");
            places.len() == 3 && places[1..] == [json!("own-1"), json!("own-2")]
        });
    });
}
