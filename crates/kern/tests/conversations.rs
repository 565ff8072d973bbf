//! Does a conversation stay whole when its client changes the era in the middle, or its server goes
//! away and comes back?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::Client;
use harness::lines::Lines;
use harness::{Remote, Setup, both, eventually, fixture_child, remote};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_line_client_speaks_either_era_over_stdio_and_a_unix_socket() {
    both(|driver| {
        for over in ["stdio", "unix"] {
            let config = fixture_child("fix", "both", "");
            let setup = Setup::new(driver, config);
            let mut kern = if over == "stdio" { setup.stdio().start() } else { setup.start() };
            let mut lines = match over {
                "stdio" => Lines::stdio(&mut kern),
                _ => Lines::unix(&kern),
            };
            // The new era needs no handshake.
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {}
            });
            let found = lines.request("server/discover", json!({ "_meta": meta }));
            assert!(found["result"]["supportedVersions"].is_array(), "{found}");
            let call = json!({ "name": "test_simple_text", "arguments": {}, "_meta": meta });
            let answer = lines.request("tools/call", call);
            assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
            let listen = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
            lines.begin("subscriptions/listen", listen);
            lines.wait_for("notifications/subscriptions/acknowledged");
            // A line that is none costs one answer.
            for bad in ["nonsense\n", "[]\n", "\n\n", "{\"jsonrpc\":\"2.0\",\"id\":\"x\"}\n"] {
                lines.send_raw(bad);
            }
            // And the old era on the same connection.
            let greeting = lines.initialize(json!({}));
            assert_eq!(greeting["protocolVersion"], "2025-11-25");
            let answer = lines.call("test_simple_text", json!({}));
            assert!(answer["result"].is_object() && answer["result"].get("resultType").is_none());
            lines.call("test_trigger_tool_change", json!({}));
            for _ in 0..2 {
                lines.wait_for("notifications/tools/list_changed");
            }
            // A cancelled request gets no answer.
            let delay = json!({ "name": "test_delay", "arguments": { "ms": 9000, "label": "l" } });
            let id = lines.begin("tools/call", delay);
            std::thread::sleep(SECOND / 3);
            let params = json!({ "requestId": id });
            let note =
                json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
            lines.send(&note);
            eventually("the server was told", || {
                lines.call("test_cancellations", json!({})).to_string().contains("\"l\"")
            });
        }
    });
}

#[test]
fn a_server_behind_http_that_goes_away_and_returns_is_found_again() {
    both(|driver| {
        let first = Remote::fixture(&["--era", "modern"]);
        let port = first.address.port();
        let config = remote("far", &first.url("/mcp"), "") + &fixture_child("near", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut far = Client::modern(&kern, "/mcp/far");
        far.text("test_simple_text", json!({}));
        let delay = json!({ "name": "test_delay", "arguments": { "ms": 9000 } });
        let mut under_way = far.begin("tools/call", delay);
        std::thread::sleep(SECOND / 2);
        drop(first);
        let answer = under_way.answer();
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("connection"), "{answer}");
        let message = far.error("test_simple_text", json!({}));
        assert!(message.contains("connect"), "{message}");
        Client::modern(&kern, "/mcp/near").text("test_simple_text", json!({}));
        let mut again = std::process::Command::new(harness::fixture());
        again.args(["--until-eof", "--era", "modern", "--listen", &format!("127.0.0.1:{port}")]);
        let _again = Remote::start(again);
        eventually("it is found again", || {
            far.request("tools/call", json!({ "name": "test_simple_text" }))["result"].is_object()
        });
    });
}
