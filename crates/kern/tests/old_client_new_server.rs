//! Does a client of each old revision get from a server that speaks only 2026-07-28 what it would
//! get from a server of its own?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::Duration;

use harness::client::{Client, Pending};
use harness::{PATIENCE, Remote, Setup, both, fixture_child, remote};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The server behind a pipe and behind a URL.
fn servers(test: impl Fn(&'static str, &str, String) + Sync) {
    both(|driver| {
        test(driver, "stdio", fixture_child("fix", "modern", ""));
        let far = Remote::fixture(&["--era", "modern"]);
        test(driver, "http", remote("fix", &far.url("/mcp"), ""));
    });
}

/// Members that no old revision has.
#[track_caller]
fn no_modern_members(result: &Value) {
    for member in ["resultType", "ttlMs", "cacheScope", "inputRequests", "requestState"] {
        assert!(result.get(member).is_none(), "{member}: {result}");
    }
}

#[test]
fn results_and_errors_are_those_of_the_clients_own_revision() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        for revision in LEGACY {
            let mut client = Client::legacy_of(&kern, "/mcp/fix", json!({}), revision);
            assert_eq!(client.greeting["protocolVersion"], revision);
            let capabilities = &client.greeting["capabilities"];
            assert_eq!(capabilities["tools"]["listChanged"], true, "{capabilities}");
            assert_eq!(capabilities["resources"]["subscribe"], true, "{capabilities}");
            assert!(capabilities["logging"].is_object(), "{capabilities}");
            for (method, params) in [
                ("ping", json!({})),
                ("logging/setLevel", json!({ "level": "error" })),
                ("tools/list", json!({})),
                ("prompts/list", json!({})),
                ("resources/list", json!({})),
                ("resources/templates/list", json!({})),
                ("resources/read", json!({ "uri": "test://static-text" })),
                ("resources/read", json!({ "uri": "test://template/7/data" })),
                ("resources/subscribe", json!({ "uri": "test://watched-resource" })),
                ("resources/unsubscribe", json!({ "uri": "test://watched-resource" })),
                ("prompts/get", json!({ "name": "test_simple_prompt" })),
                ("tools/call", json!({ "name": "test_simple_text" })),
                ("tools/call", json!({ "name": "test_error_handling", "arguments": {} })),
                (
                    "completion/complete",
                    json!({
                        "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" },
                        "argument": { "name": "arg1", "value": "t" }
                    }),
                ),
            ] {
                let answer = client.request(method, params);
                assert!(answer["result"].is_object(), "{revision} {method}: {answer}");
                no_modern_members(&answer["result"]);
            }
            for (method, params, code) in [
                ("tools/call", json!({ "name": "nobody" }), -32602),
                ("prompts/get", json!({ "name": "nobody" }), -32602),
                ("resources/read", json!({ "uri": "test://nobody" }), -32002),
                ("resources/read", json!({ "uri": "test://template//data" }), -32002),
                ("tools/call", json!({ "name": "test_missing_capability" }), -32603),
                ("server/discover", json!({}), -32601),
                ("subscriptions/listen", json!({}), -32601),
                ("no/such", json!({}), -32601),
            ] {
                let answer = client.request(method, params.clone());
                assert_eq!(answer["error"]["code"], code, "{revision} {method} {params}: {answer}");
            }
            // What is no object is structured content only in the new era, and so is its schema.
            let tools = client.request("tools/list", json!({}));
            for tool in tools["result"]["tools"].as_array().unwrap() {
                assert!(tool.get("outputSchema").is_none(), "{tool}");
            }
            let result = client.call("test_structured_list", json!({}));
            assert!(result.get("structuredContent").is_none(), "{result}");
            assert_eq!(result["content"][0]["text"], "[1,2,3]");
            let result = client.call("test_echo", json!({ "a": [1] }));
            assert!(result["structuredContent"].is_object(), "{result}");
        }
        let mut modern = Client::modern(&kern, "/mcp/fix");
        let tools = modern.request("tools/list", json!({}));
        let list = tools["result"]["tools"].as_array().unwrap();
        let numbers = list.iter().find(|tool| tool["name"] == "test_structured_list").unwrap();
        assert_eq!(numbers["outputSchema"]["type"], "array");
        let result = modern.call("test_structured_list", json!({}));
        assert_eq!(result["structuredContent"], json!([1, 2, 3]));
    });
}

/// What comes on a stream until it is silent.
fn heard(stream: &mut Pending, least: usize) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(message) = stream.next(if all.len() < least { PATIENCE } else { SECOND / 3 }) {
        all.push(message["method"].as_str().unwrap_or_default().to_owned());
    }
    all.sort();
    all
}

#[test]
fn changes_reach_an_old_client_on_its_own_stream_and_only_those_it_wants() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let mut client = Client::legacy_of(&kern, "/mcp/fix", json!({}), revision);
            let other = Client::legacy_of(&kern, "/mcp/fix", json!({}), revision);
            let (mut stream, mut others) = (client.stream(), other.stream());
            let uri = json!({ "uri": "test://watched-resource" });
            client.request("resources/subscribe", uri.clone());
            // The server is told by and by that somebody wants to know.
            let updated = "notifications/resources/updated";
            let told = std::iter::repeat_with(|| {
                client.call("test_trigger_resource_update", json!({}));
                stream.next(SECOND)
            });
            let told = told.take(20).flatten().next().expect("an update");
            assert_eq!((&told["method"], &told["params"]["uri"]), (&json!(updated), &uri["uri"]));
            assert!(told["params"].get("_meta").is_none_or(|meta| {
                meta.get("io.modelcontextprotocol/subscriptionId").is_none()
            }));
            heard(&mut stream, 0);
            client.request("resources/unsubscribe", uri);
            client.call("test_trigger_resource_update", json!({}));
            assert_eq!(heard(&mut stream, 0), [""; 0]);
            for kind in ["tool", "prompt", "resource"] {
                client.call(&format!("test_trigger_{kind}_change"), json!({}));
                let expected = [format!("notifications/{kind}s/list_changed")];
                assert_eq!(heard(&mut stream, 1), expected);
                assert_eq!(heard(&mut others, 1), expected);
            }
        }
    });
}

#[test]
fn a_client_hears_no_log_it_did_not_ask_for_and_each_call_asks_anew() {
    servers(|driver, _, config| {
        let kern = Setup::new(driver, config).start();
        let mut client = Client::legacy(&kern, "/mcp/fix", json!({}));
        let count = |client: &mut Client| {
            let all = client.begin("tools/call", json!({ "name": "test_tool_with_logging" })).all();
            all.iter().filter(|message| message["method"] == "notifications/message").count()
        };
        for (level, expected) in
            [(None, 0), (Some("debug"), 3), (Some("error"), 0), (Some("info"), 3)]
        {
            if let Some(level) = level {
                client.request("logging/setLevel", json!({ "level": level }));
            }
            assert_eq!(count(&mut client), expected, "{level:?}");
        }
    });
}

#[test]
fn no_client_hears_of_anothers_call_through_a_server_that_does_not_say_whose_a_log_is() {
    servers(|driver, over, config| {
        let kern = Setup::new(driver, config).cores(2).start();
        let mut all = 0;
        std::thread::scope(|scope| {
            let kern = &kern;
            let clients: Vec<_> = (0..4)
                .map(|name| {
                    scope.spawn(move || {
                        let mut client = Client::legacy(kern, "/mcp/fix", json!({}));
                        client.request("logging/setLevel", json!({ "level": "info" }));
                        let label = format!("client {name}");
                        let mut heard = 0;
                        for ms in 0..30 {
                            let arguments = json!({ "rounds": 0, "ms": ms % 4, "label": label });
                            let params = json!({ "name": "test_rounds", "arguments": arguments });
                            for message in client.begin("tools/call", params).all() {
                                let data = message["params"]["data"].as_str();
                                assert!(data.is_none_or(|it| it.starts_with(&label)), "{message}");
                                heard += usize::from(data.is_some());
                            }
                        }
                        heard
                    })
                })
                .collect();
            for client in clients {
                all += client.join().unwrap();
            }
        });
        // Over HTTP each message comes on its call's own stream.
        assert!(over == "stdio" || all == 120, "{over}: {all}");
    });
}
