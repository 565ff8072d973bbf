//! Do user interfaces (MCP Apps) find the tools of their server at the endpoint of all servers?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use harness::client::Client;
use harness::{Setup, both, eventually, fixture_child, odd};
use serde_json::json;

#[test]
fn a_user_interface_calls_its_servers_tool_without_the_prefix_it_never_heard_of() {
    both(|driver| {
        let config = odd("odd", "app", "") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut new = Client::modern(&kern, "/mcp");
        let able = new.clone().able(json!({ "elicitation": {} }));
        eventually("both are there", || new.tools().len() > 20);
        let old = Client::legacy(&kern, "/mcp", json!({}));
        let own = Client::legacy(&kern, "/mcp", json!({ "sampling": {} }));
        for (who, mut client) in [("new", new), ("able", able), ("old", old), ("own", own)] {
            assert!(client.tools().contains(&"odd__pid".to_owned()), "{who}");
            let text = client.text("pid", json!({}));
            assert!(text.parse::<u32>().is_ok(), "{who}: {text}");
            // Not for user interfaces, and of a server that shows none.
            for name in ["echo", "test_simple_text"] {
                let why = client.error(name, json!({}));
                assert!(why.contains("unknown tool"), "{who}: {why}");
            }
        }
    });
}
