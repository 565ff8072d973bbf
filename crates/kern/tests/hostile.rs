//! Can a server speak for another, exhaust the gateway or spoil the catalog; can a client that does
//! not read hold up anybody?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::lines::Lines;
use harness::{Remote, Setup, both, fixture_child, odd, process, remote};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_server_cannot_answer_what_another_was_asked() {
    both(|driver| {
        let config = odd("evil", "spray", "") + &odd("good", "plain", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut evil = Client::modern(&kern, "/mcp/evil");
        let mut good: Vec<_> = (0..12)
            .map(|at| {
                let mut client = match at % 2 {
                    0 => Client::modern(&kern, "/mcp/good"),
                    _ => Client::legacy(&kern, "/mcp/good", json!({})),
                };
                let arguments = json!({ "ms": 2500 });
                let meta = json!({ "progressToken": "mine" });
                let call = json!({ "name": "late", "arguments": arguments, "_meta": meta });
                client.begin("tools/call", call)
            })
            .collect();
        let mut beside = evil.begin("tools/call", json!({ "name": "hang", "arguments": {} }));
        let mut own = None;
        for _ in 0..20 {
            // What it forges for a call of its own that waits beside is its answer to it; whether it
            // guesses that call's id depends on the cores the two came to.
            let text = evil.text("echo", json!({ "x": 1 }));
            assert!(["{\"x\": 1}", "forged"].contains(&text.as_str()), "{text}");
            own = own.or_else(|| beside.next(SECOND / 10));
        }
        assert!(evil.tools().contains(&"pid".to_owned()), "its own forged list was taken");
        for call in &mut good {
            let all = call.all();
            assert_eq!(all.len(), 1, "another server's progress was passed: {all:?}");
            assert_eq!(all[0]["result"]["content"][0]["text"], "late", "{all:?}");
        }
        // Its own calls it may answer as it likes, once.
        if let Some(own) = own {
            assert_eq!(own["result"]["content"][0]["text"], "forged");
        }
        assert!(beside.next(SECOND / 10).is_none(), "answered twice");
    });
}

#[test]
fn lists_without_end_or_sense_spoil_nothing() {
    both(|driver| {
        let config = odd("endless", "endless", "")
            + &odd("bad", "bad-tools", "")
            + &odd("deep", "deep-tools", "")
            + &odd("restless", "restless", "")
            + &fixture_child("good", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut all = Client::modern(&kern, "/mcp");
        let mut names = Vec::new();
        let mut cursor = json!(null);
        loop {
            let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
            let answer = all.request("tools/list", params);
            let page = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
            for tool in page {
                assert!(tool["inputSchema"].is_object(), "a client would drop the list: {tool}");
                names.push(tool["name"].as_str().expect("a name").to_owned());
            }
            cursor = answer["result"]["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "a name is there twice");
        for name in &names {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            assert!((1..=64).contains(&name.len()) && name.chars().all(fits), "{name:?}");
        }
        for wanted in ["good__test_echo", "bad__pid", "bad__echo", "restless__pid"] {
            assert!(unique.iter().any(|name| name == wanted), "{wanted} is missing");
        }
        let message = Client::modern(&kern, "/mcp/deep").error("pid", json!({}));
        assert!(message.contains("nested too deeply"), "{message}");
        for wanted in ["good__test_simple_text", "bad__pid", "restless__pid"] {
            all.text(wanted, json!({}));
        }
        let (before, started) = (process::ticks(kern.pid()), Instant::now());
        std::thread::sleep(SECOND * 3);
        let spent = process::ticks(kern.pid()) - before;
        let share = spent as f64 / started.elapsed().as_secs_f64();
        assert!(share < 60.0, "{share:.0} % of a processor for a server that always changes");
    });
}

#[test]
fn an_answer_that_cannot_be_read_fails_its_call_at_once() {
    both(|driver| {
        let home = tempfile::tempdir().unwrap();
        let more = format!("env = {{ HOME = {:?} }}", home.path().display().to_string());
        let kern = Setup::new(driver, odd("raw", "raw", &more)).cores(2).start();
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let answers = [
            format!(r#"{{"jsonrpc":"2.0","id":@ID@,"result":{{"x":{deep}}}}}"#),
            r#"{"jsonrpc":"2.0","id":@ID@}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":@ID@,"result":{},"error":{"code":1,"message":""}}"#.to_owned(),
            r#"{"jsonrpc":"1.0","id":@ID@,"result":{}}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":@ID@,"result":7}"#.to_owned(),
        ];
        for answer in &answers {
            std::fs::write(home.path().join("answer"), format!("{answer}\n")).unwrap();
            for _ in 0..3 {
                let mut client = Client::modern(&kern, "/mcp/raw");
                let started = Instant::now();
                let message = client.error("odd", json!({}));
                assert!(message.contains("raw") && message.contains("answer"), "{message}");
                assert!(started.elapsed() < SECOND * 5, "it waited for {answer}");
            }
        }
    });
}

#[test]
fn an_answer_that_is_too_long_fails_its_call_at_once_whatever_carries_it() {
    both(|driver| {
        for era in ["legacy", "modern"] {
            let far = Remote::fixture(&["--era", era]);
            let config = "[limits]\nmessage_bytes = \"1MiB\"\nresult_bytes = \"1MiB\"\n".to_owned()
                + &fixture_child("pipe", era, "")
                + &remote("http", &far.url("/mcp"), "");
            let kern = Setup::new(driver, config).cores(2).start();
            for name in ["pipe", "http"] {
                let mut client = Client::modern(&kern, &format!("/mcp/{name}"));
                let before = process::resident_kib(kern.pid());
                for bytes in [1 << 20, 12 << 20] {
                    let started = Instant::now();
                    let why = client.error("test_large_text", json!({ "bytes": bytes }));
                    let large = why.contains("1048576") || why.contains("too large");
                    let told = large && why.contains(&format!("{name:?}"));
                    assert!(told, "{era} over {name}, {bytes} bytes: {why}");
                    assert!(started.elapsed() < SECOND * 20, "{era} over {name}: it waited");
                }
                let after = process::resident_kib(kern.pid());
                assert!(after < before + (16 << 10), "grew from {before} to {after} KiB");
                client.text("test_simple_text", json!({}));
            }
        }
    });
}

#[test]
fn progress_without_end_costs_bounded_memory() {
    both(|driver| {
        let config = odd("torrent", "torrent", "") + &fixture_child("good", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut torrent = Client::legacy(&kern, "/mcp/torrent", json!({}));
        let mut good = Client::modern(&kern, "/mcp/good");
        good.tools();
        torrent.tools();
        let before = process::resident_kib(kern.pid());
        let meta = json!({ "progressToken": 1 });
        let call = json!({ "name": "pid", "arguments": {}, "_meta": meta });
        // This client never reads.
        let mut held = torrent.begin("tools/call", call);
        for _ in 0..12 {
            std::thread::sleep(SECOND / 2);
            let started = Instant::now();
            good.text("test_simple_text", json!({}));
            assert!(started.elapsed() < SECOND * 3, "others waited {:?}", started.elapsed());
            let kib = process::resident_kib(kern.pid()) - before;
            assert!(kib < 300 << 10, "{kib} KiB are kept for a client that does not read");
        }
        // What it did not read in time is dropped, not its connection, whichever core that is on.
        for _ in 0..100 {
            let next = held.next(SECOND * 5).expect("progress");
            assert_eq!(next["method"], "notifications/progress");
        }
    });
}

#[test]
fn a_stdio_client_that_does_not_read_holds_up_nobody() {
    both(|driver| {
        let config = fixture_child("fix", "both", "");
        let mut kern = Setup::new(driver, config).stdio().and_port().start();
        let mut stdin = kern.child.stdin.take().unwrap();
        let _unread = kern.child.stdout.take().unwrap();
        let greeting = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "deaf", "version": "1" }
        });
        let first =
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": greeting });
        std::io::Write::write_all(&mut stdin, format!("{first}\n").as_bytes()).unwrap();
        for id in 1..6 {
            let params = json!({ "name": "test_large_text", "arguments": { "bytes": 3_000_000 } });
            let call =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
            std::io::Write::write_all(&mut stdin, format!("{call}\n").as_bytes()).unwrap();
        }
        let mut other = Client::modern(&kern, "/mcp");
        let mut line = Lines::unix(&kern);
        line.initialize(json!({}));
        for _ in 0..10 {
            std::thread::sleep(SECOND / 5);
            let started = Instant::now();
            other.text("test_simple_text", json!({}));
            assert!(line.call("test_simple_text", json!({}))["result"].is_object());
            assert!(started.elapsed() < SECOND * 3, "others waited {:?}", started.elapsed());
        }
    });
}

#[test]
fn a_session_whose_stream_is_opened_again_and_again_keeps_one() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("fix", "legacy", "")).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp", json!({}));
        client.tools();
        let mut streams: Vec<_> = (0..40).map(|_| client.stream()).collect();
        let mut last = streams.pop().unwrap();
        std::thread::sleep(SECOND);
        client.text("test_trigger_tool_change", json!({}));
        last.wait_for("notifications/tools/list_changed");
        for (at, stream) in streams.iter_mut().enumerate() {
            let heard = stream.next(SECOND / 10);
            assert!(heard.is_none(), "the replaced stream {at} heard {heard:?}");
            assert!(stream.conn.is_over(), "the replaced stream {at} stays open");
        }
    });
}
