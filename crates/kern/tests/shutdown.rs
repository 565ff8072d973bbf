//! Does the process end in order when told, at once when told twice, and never for less?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::http::{Conn, bare};
use harness::lines::Lines;
use harness::{Setup, both, eventually, fixture_child, odd};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn delay(ms: u64) -> Value {
    json!({ "name": "test_delay", "arguments": { "ms": ms } })
}

#[test]
fn calls_under_way_are_answered_before_the_end() {
    both(|driver| {
        let config = fixture_child("fix", "both", "") + &odd("idle", "plain", "");
        let mut kern = Setup::new(driver, config).cores(2).start();
        let mut new = Client::modern(&kern, "/mcp/fix");
        let mut old = Client::legacy(&kern, "/mcp/fix", json!({}));
        let mut stream = old.stream();
        new.text("test_simple_text", json!({}));
        let listen = json!({ "notifications": { "toolsListChanged": true } });
        let mut listen = new.begin_as("subscriptions/listen", listen, "l");
        listen.wait_for("notifications/subscriptions/acknowledged");
        let mut calls: Vec<_> = (0..3)
            .flat_map(|_| {
                [new.begin("tools/call", delay(2500)), old.begin("tools/call", delay(2500))]
            })
            .collect();
        let mut idle = Conn::tcp(kern.address());
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        let end = listen.answer();
        let id = &end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        assert_eq!((&end["id"], id), (&json!("l"), &json!("l")), "{end}");
        for call in &mut calls {
            assert!(call.answer()["result"].is_object(), "a call was not waited for");
        }
        let status = kern.ends_within(SECOND * 10);
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(stream.next(SECOND).is_none());
        assert!(idle.is_closed(SECOND));
        kern.leaves_nobody(SECOND);
        assert!(!kern.unix.exists(), "the socket's file is left over");
    });
}

#[test]
fn a_call_that_does_not_end_is_told_so_after_ten_seconds() {
    both(|driver| {
        let mut kern = Setup::new(driver, fixture_child("fix", "both", "")).start();
        let mut client = Client::modern(&kern, "/mcp/fix");
        let mut call = client.begin("tools/call", delay(60_000));
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        let told = Instant::now();
        let answer = call.answer();
        assert!(answer["error"]["message"].to_string().contains("shutting down"), "{answer}");
        assert!(told.elapsed() > SECOND * 8, "it was not waited for: {:?}", told.elapsed());
        assert_eq!(kern.ends_within(SECOND * 10).code(), Some(0));
        kern.leaves_nobody(SECOND);
    });
}

#[test]
fn told_twice_it_waits_for_nobody() {
    both(|driver| {
        let config = fixture_child("fix", "both", "") + &odd("stubborn", "stubborn", "");
        let mut kern = Setup::new(driver, config).cores(2).start();
        let mut client = Client::modern(&kern, "/mcp/fix");
        let mut call = client.begin("tools/call", delay(60_000));
        Client::modern(&kern, "/mcp/stubborn").text("pid", json!({}));
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        let told = Instant::now();
        let answer = call.next(SECOND * 3);
        assert!(answer.is_none_or(|answer| answer["error"].is_object()));
        assert!(told.elapsed() < SECOND * 2, "took {:?}", told.elapsed());
        kern.ends_within(SECOND * 10);
        kern.leaves_nobody(SECOND * 3);
    });
}

#[test]
fn nothing_new_is_taken_while_it_ends() {
    both(|driver| {
        let mut kern = Setup::new(driver, fixture_child("fix", "both", "")).cores(2).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", json!({}));
        let mut kept = Conn::tcp(kern.address());
        kept.send(bare("GET", "/healthz", &[]));
        assert_eq!(kept.response().status(), 200);
        let mut call = client.begin("tools/call", delay(2000));
        std::thread::sleep(SECOND / 2);
        kern.terminate();
        std::thread::sleep(SECOND / 2);
        let refused = std::net::TcpStream::connect(kern.address());
        assert!(refused.is_err(), "a connection was taken");
        assert!(call.answer()["result"].is_object());
        kern.ends_within(SECOND * 10);
    });
}

#[test]
fn the_end_of_stdin_is_the_end_once_all_is_answered() {
    both(|driver| {
        let config = fixture_child("fix", "both", "") + &odd("stubborn", "stubborn", "");
        let mut kern = Setup::new(driver, config).stdio().start();
        let mut lines = Lines::stdio(&mut kern);
        lines.initialize(json!({}));
        assert!(lines.call("fix__test_simple_text", json!({}))["result"].is_object());
        let delay = json!({ "name": "fix__test_delay", "arguments": { "ms": 1500 } });
        let id = lines.begin("tools/call", delay);
        lines.close();
        assert!(lines.answer(id)["result"].is_object(), "the last call was dropped");
        assert_eq!(kern.ends_within(SECOND * 15).code(), Some(0));
        assert!(lines.is_over(SECOND));
        kern.leaves_nobody(SECOND);
    });
}

#[test]
fn a_client_that_dies_without_a_word_takes_its_kern_and_all_servers_with_it() {
    both(|driver| {
        let mut kern = Setup::new(driver, fixture_child("fix", "both", "")).stdio().start();
        {
            let mut lines = Lines::stdio(&mut kern);
            lines.initialize(json!({}));
            lines.call("test_simple_text", json!({}));
            lines.send_raw("{\"jsonrpc\":\"2.0\",\"id\":9,\"met");
        }
        kern.ends_within(SECOND * 10);
        kern.leaves_nobody(SECOND);
    });
}

#[test]
fn it_serves_without_a_place_to_write() {
    both(|driver| {
        // A file where the state folder should be; even root can't write into that.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), "").unwrap();
        let setup = Setup::new(driver, odd("plain", "plain", ""));
        let mut kern = setup.start_in(folder);
        let mut client = Client::legacy(&kern, "/mcp/plain", json!({}));
        client.text("pid", json!({}));
        kern.configure(&odd("plain", "plain", "env = { NEW = \"1\" }"));
        eventually("a reload works too", || {
            let answer = client.request("tools/call", json!({ "name": "env" }));
            answer["result"].to_string().contains("NEW")
        });
        kern.terminate();
        assert_eq!(kern.ends_within(SECOND * 10).code(), Some(0));
    });
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    both(|driver| {
        // Its stderr is a pipe that is full and never read, or broken.
        for broken in [true, false] {
            let home = tempfile::tempdir().unwrap();
            let config = home.path().join("kern.toml");
            std::fs::write(&config, odd("chatter", "chatter", "")).unwrap();
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kern"));
            let socket = home.path().join("s");
            command.args(["serve", "--driver", driver, "--cores=1", "--listen", "off", "--unix"]);
            command.arg(&socket).arg("--config").arg(&config).env("HOME", home.path());
            let mut child = command
                .stderr(std::process::Stdio::piped())
                .stdin(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let unread = child.stderr.take().unwrap();
            if broken {
                drop(unread);
            }
            eventually("its socket is there", || socket.exists());
            std::thread::sleep(SECOND * 2);
            let mut conn = Conn::unix(&socket);
            conn.send(bare("GET", "/healthz", &[]));
            let answer = conn.try_response(SECOND * 5);
            let _ = child.kill();
            let _ = child.wait();
            assert!(answer.is_some(), "a log that is not read (broken: {broken}) stopped it");
        }
    });
}
