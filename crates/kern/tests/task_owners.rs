//! Whose is a task that a client of the new era made on a server of the old one?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use harness::client::Client;
use harness::lines::Lines;
use harness::parks::modern;
use harness::{Setup, both, fixture_child};
use serde_json::{Value, json};

#[test]
fn a_task_of_an_old_server_is_its_clients_alone_even_for_who_knows_its_id() {
    both(|driver| {
        let kern = Setup::new(driver, fixture_child("old", "legacy", "")).cores(2).start();
        let able = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        let client = Client::modern(&kern, "/mcp").able(able.clone());
        let post = |method: &str, params: Value, headers: &[(&str, &str)]| {
            client.post(&client.body(method, params, "t"), headers).json()
        };
        let me = [("Authorization", "Bearer me")];
        let slow = json!({ "name": "slow_compute", "arguments": { "seconds": 60 } });
        let made = post("tools/call", slow.clone(), &me);
        let id = made["result"]["taskId"].clone();
        assert!(id.is_string(), "{made}");
        let mut session = Client::legacy(&kern, "/mcp", json!({}));
        let token = session.session.clone().unwrap();
        let mut line = Lines::unix(&kern);
        let declared = |params: Value| {
            let mut params = modern(params);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = able.clone();
            params
        };
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let about = json!({ "taskId": id, "inputResponses": {} });
            let you = [("Authorization", "Bearer you")];
            let guest = [("Mcp-Session-Id", &*token)];
            for headers in [&[][..], &you, &guest] {
                let answer = post(method, about.clone(), headers);
                assert_eq!(answer["error"]["code"], -32602, "{method} {headers:?}: {answer}");
            }
            let answer = line.request(method, declared(about.clone()));
            assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
        }
        let answer = session.request("tasks/get", json!({ "taskId": id }));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        // What a line made is the line's, what nobody in particular made is nobody's in particular.
        let own = line.request("tools/call", declared(slow.clone()))["result"]["taskId"].clone();
        let answer = line.request("tasks/get", declared(json!({ "taskId": own })));
        assert_eq!(answer["result"]["status"], "working", "{answer}");
        let mut other = Lines::unix(&kern);
        let answer = other.request("tasks/get", declared(json!({ "taskId": own })));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let answer = post("tasks/get", json!({ "taskId": id }), &me);
        assert_eq!(answer["result"]["status"], "working", "after all that: {answer}");
    });
}
