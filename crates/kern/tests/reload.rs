//! Does a changed configuration change what it says, and nothing else?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::http::{Conn, bare};
use harness::lines::Lines;
use harness::{Kern, Setup, both, eventually, fixture, fixture_child, odd, process};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

#[track_caller]
fn the_one(kern: &Kern, mode: &str) -> u32 {
    let mut found = Vec::new();
    eventually("exactly one server of this mode", || {
        found = kern.servers(&format!("server.py {mode}"));
        found.len() == 1
    });
    found[0]
}

#[test]
fn what_did_not_change_keeps_its_process_its_calls_and_its_clients() {
    both(|driver| {
        let stays = odd("stays", "plain", "");
        let config = stays.clone() + &odd("goes", "garbage", "") + &odd("changes", "slow", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut all = Client::legacy(&kern, "/mcp", json!({}));
        let has = |all: &mut Client, name: &str| {
            all.tools().iter().any(|tool| tool.starts_with(&format!("{name}__")))
        };
        assert!(["stays", "goes", "changes"].iter().all(|name| has(&mut all, name)));
        let before = (the_one(&kern, "plain"), the_one(&kern, "garbage"), the_one(&kern, "slow"));
        let mut stream = all.stream();
        let mut kept = Conn::tcp(kern.address());
        let healthy = |conn: &mut Conn| {
            conn.send(bare("GET", "/healthz", &[]));
            conn.response().status() == 200
        };
        assert!(healthy(&mut kept));
        let call = json!({ "name": "stays__late", "arguments": { "ms": 4000 } });
        let mut under_way = all.begin("tools/call", call);
        let call = json!({ "name": "goes__hang", "arguments": {} });
        let mut doomed = all.begin("tools/call", call);
        std::thread::sleep(SECOND / 2);
        kern.configure(
            &(stays
                + &odd("changes", "slow", "env = { NEW = \"yes\" }")
                + &odd("comes", "raw", "")),
        );
        kern.logs("added=1 removed=1 changed=1 unchanged=1");
        let message = doomed.answer()["error"]["message"].to_string();
        assert!(message.contains("configuration"), "{message}");
        stream.wait_for("notifications/tools/list_changed");
        eventually("the new one is listed", || has(&mut all, "comes"));
        eventually("the old one is not", || !has(&mut all, "goes"));
        assert!(under_way.answer()["result"].is_object(), "a call to an unchanged server");
        assert!(healthy(&mut kept), "a connection was lost");
        assert_eq!(the_one(&kern, "plain"), before.0, "an unchanged server was restarted");
        assert_ne!(the_one(&kern, "slow"), before.2, "a changed server was not restarted");
        assert!(!process::is_alive(before.1), "a removed server goes on");
        let environment = all.text("changes__env", json!({}));
        assert!(environment.contains("\"NEW\": \"yes\""), "{environment}");
        let answer = all.request("tools/call", json!({ "name": "goes__pid", "arguments": {} }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let mut gone = Client::modern(&kern, "/mcp/comes");
        assert!(gone.tools().contains(&"pid".to_owned()));
    });
}

#[test]
fn a_file_with_a_mistake_is_refused_whole_and_says_where() {
    both(|driver| {
        let good = odd("stays", "plain", "");
        let kern = Setup::new(driver, good.as_str()).start();
        let mut client = Client::legacy(&kern, "/mcp/stays", json!({}));
        let pid = client.text("pid", json!({}));
        let mistakes = [
            ("[upstream.stays]\ncomand = \"x\"\n", ":2:1", "did you mean `command`"),
            ("[upstream.new]\nbuiltin = \"echo\"\n[upstream.stays\n", ":3:", "kern.toml"),
            ("[limits]\ngrace = \"5 parsecs\"\n", ":2:9", "grace"),
            ("", "", ""),
        ];
        for (text, place, hint) in mistakes {
            let before = kern.log.text().len();
            kern.configure(text);
            if text.is_empty() {
                // An empty file is a valid one: nothing is served, which is what it says.
                kern.logs("removed=1");
                break;
            }
            let since = || kern.log.text()[before..].to_owned();
            eventually("the mistake is told", || since().contains("not used"));
            eventually("with its place", || since().contains(&format!("kern.toml{place}")));
            assert!(since().contains(hint), "{}", since());
            assert_eq!(client.text("pid", json!({})), pid, "the running servers were touched");
        }
        kern.configure(&good);
        eventually("the corrected file is used", || {
            let mut client = Client::modern(&kern, "/mcp/stays");
            client.request("tools/call", json!({ "name": "pid" }))["result"].is_object()
        });
    });
}

#[test]
fn every_way_an_editor_writes_is_noticed() {
    both(|driver| {
        let kern = Setup::new(driver, ECHO).start();
        let path = kern.home().join("kern.toml");
        let with = |name: &str| format!("{ECHO}[upstream.{name}]\nbuiltin = \"echo\"\n");
        let served = |name: &str| {
            eventually(&format!("{name} is served"), || {
                let tools = Client::modern(&kern, &format!("/mcp/{name}"));
                let body = tools.body("tools/list", json!({}), 1);
                tools.post(&body, &[]).status() == 200
            });
        };
        kern.configure(&with("renamed"));
        served("renamed");
        std::fs::write(&path, with("in-place")).unwrap();
        served("in-place");
        // The old file is moved away first, as vim does.
        std::fs::rename(&path, kern.home().join("kern.toml~")).unwrap();
        std::thread::sleep(SECOND / 20);
        std::fs::write(&path, with("moved")).unwrap();
        served("moved");
        // A link is turned to another file, as deployments do.
        let other = kern.home().join("other.toml");
        std::fs::write(&other, with("linked")).unwrap();
        let link = kern.home().join("link");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        std::fs::rename(&link, &path).unwrap();
        served("linked");
    });
}

#[test]
fn a_private_server_and_a_line_client_live_through_a_reload() {
    both(|driver| {
        let fixture = fixture_child("fix", "legacy", "");
        let kern = Setup::new(driver, fixture.as_str()).cores(2).start();
        let mut able = Client::legacy(&kern, "/mcp/fix", json!({ "sampling": {} }));
        able.text("test_simple_text", json!({}));
        let mut line = Lines::unix(&kern);
        line.initialize(json!({}));
        line.call("test_simple_text", json!({}));
        let mut before = kern.servers("kern-fixture");
        assert_eq!(before.len(), 2);
        kern.configure(&(fixture.clone() + ECHO));
        kern.logs("added=1");
        able.text("test_simple_text", json!({}));
        line.wait_for("notifications/tools/list_changed");
        let answer = line.call("fix__test_simple_text", json!({}));
        assert!(answer["result"].is_object(), "{answer}");
        let mut after = kern.servers("kern-fixture");
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after, "a server was restarted");
        kern.configure(ECHO);
        kern.logs("removed=1");
        eventually("both servers are gone", || kern.servers("kern-fixture").is_empty());
        let body = able.body("tools/list", json!({}), 1);
        assert_ne!(able.post(&body, &[]).status(), 500);
    });
}

#[test]
fn files_that_a_reload_makes_relevant_are_watched_from_then_on() {
    let kern = Setup::new("portable", ECHO).start();
    let cursor = kern.home().join(".cursor");
    std::fs::create_dir_all(&cursor).unwrap();
    let declare = |names: &[&str]| {
        let servers: Vec<String> = names
            .iter()
            .map(|name| {
                let own = format!("{{ \"SERVER\": {name:?} }}");
                format!(
                    "{name:?}: {{ \"command\": {:?}, \"args\": [\"--stdio\"], \"env\": {own} }}",
                    fixture()
                )
            })
            .collect();
        let text = format!("{{ \"mcpServers\": {{ {} }} }}", servers.join(", "));
        std::fs::write(cursor.join("mcp.json"), text).unwrap();
    };
    declare(&["one"]);
    std::thread::sleep(SECOND / 3);
    assert_eq!(kern.servers("kern-fixture").len(), 0, "nobody asked for it yet");
    kern.configure(&(ECHO.to_owned() + "[discover]\nclients = true\n"));
    eventually("the client's server runs", || kern.servers("kern-fixture").len() == 1);
    declare(&["one", "two"]);
    eventually("so does the one it gained", || kern.servers("kern-fixture").len() == 2);
}

#[test]
fn reload_after_reload_leaks_nothing() {
    both(|driver| {
        let config = |round: usize| {
            let more = format!("env = {{ ROUND = \"{round}\" }}");
            let named = format!("[upstream.echo{}]\nbuiltin = \"echo\"\n", round % 3);
            odd("turns", "plain", &more) + &named
        };
        let kern = Setup::new(driver, config(0)).cores(2).start();
        let round = |number: usize| {
            let mut client = Client::modern(&kern, "/mcp/turns");
            kern.configure(&config(number));
            eventually("the new one answers", || {
                let answer = client.request("tools/call", json!({ "name": "env" }));
                let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
                text.contains(&format!("\"ROUND\": \"{number}\""))
            });
        };
        (1..4).for_each(round);
        let kib = process::resident_kib(kern.pid());
        let held = process::descriptors(kern.pid());
        (4..20).for_each(round);
        eventually("one server and its keeper", || kern.processes().len() == 2);
        eventually("no descriptor is left over", || process::descriptors(kern.pid()) <= held + 1);
        let after = process::resident_kib(kern.pid());
        assert!(after < kib + 3072, "grew from {kib} to {after} KiB");
    });
}
