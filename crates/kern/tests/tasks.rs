//! Do tasks find their server again, and nobody else's client?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use harness::client::Client;
use harness::{Kern, PATIENCE, Remote, Setup, both, eventually, fixture_child, process, remote};
use serde_json::{Value, json};

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// A modern client that takes tasks and answers forms.
fn modern(kern: &Kern, path: &str) -> Client {
    let extensions = json!({ "io.modelcontextprotocol/tasks": {} });
    Client::modern(kern, path).able(json!({ "extensions": extensions, "elicitation": {} }))
}

/// Calls a tool and takes the task it becomes.
#[track_caller]
fn create(client: &mut Client, tool: &str, arguments: Value, more: Value) -> Value {
    let mut params = json!({ "name": tool, "arguments": arguments });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = client.request("tools/call", params);
    let result = &answer["result"];
    let task = if result["task"].is_object() { &result["task"] } else { result };
    assert!(task["taskId"].is_string(), "no task: {answer}");
    task.clone()
}

fn legacy_task(client: &mut Client, tool: &str, arguments: Value) -> Value {
    create(client, tool, arguments, json!({ "task": { "ttl": 60_000 } }))
}

#[track_caller]
fn about(client: &mut Client, method: &str, id: &Value) -> Value {
    client.request(method, json!({ "taskId": id }))
}

/// Polls a task until it has the status.
#[track_caller]
fn until(client: &mut Client, id: &Value, status: &str) -> Value {
    let mut task = Value::Null;
    eventually(&format!("{id} is {status}"), || {
        task = about(client, "tasks/get", id)["result"].clone();
        task["status"] == status
    });
    task
}

#[track_caller]
fn refused(client: &mut Client, method: &str, id: Value, code: i64) {
    let shown: String = id.to_string().chars().take(60).collect();
    let answer = about(client, method, &id);
    assert_eq!(answer["error"]["code"], code, "{method} {shown}: {answer}");
}

#[test]
fn a_modern_task_is_found_by_its_servers_name_and_by_nothing_else() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "modern"]);
        let config = fixture_child("near", "modern", "") + &remote("far", &far.url("/mcp"), "");
        let kern = Setup::new(driver, config.clone()).cores(2).start();
        let mut all = modern(&kern, "/mcp");
        eventually("both are up", || all.tools().len() > 60);
        let offered = all.request("server/discover", json!({}));
        let extensions = &offered["result"]["capabilities"]["extensions"];
        assert!(extensions["io.modelcontextprotocol/tasks"].is_object(), "{offered}");
        let mut ids = Vec::new();
        for name in ["near", "far"] {
            let tool = format!("{name}__slow_compute");
            let id =
                create(&mut all, &tool, json!({ "seconds": 0.01 }), json!({}))["taskId"].clone();
            let own = id.as_str().unwrap().strip_prefix(&format!("{name}:")).unwrap().to_owned();
            let task = until(&mut all, &id, "completed");
            assert_eq!(task["taskId"], id);
            assert!(task["result"]["content"].is_array(), "{task}");
            let mut one = modern(&kern, &format!("/mcp/{name}"));
            assert_eq!(until(&mut one, &json!(own), "completed")["taskId"], own.as_str());
            refused(&mut one, "tasks/get", id.clone(), -32602);
            ids.push((id, own));
        }
        let stolen = [format!("far:{}", ids[0].1), format!("near:{}", ids[1].1)];
        let huge = "near:".to_owned() + &"x".repeat(10_000);
        let hostile = ["", ":", "near", "near:", "no-such:1", "near__a:1", "far:near:1"];
        for id in stolen.iter().map(String::as_str).chain(hostile).chain([huge.as_str()]) {
            for method in ["tasks/get", "tasks/cancel"] {
                refused(&mut all, method, json!(id), -32602);
            }
        }
        for id in [json!(null), json!(7), json!({}), json!(["near:1"])] {
            // No header could say the same.
            refused(&mut all, "tasks/get", id, -32020);
        }
        let mut unable = Client::modern(&kern, "/mcp");
        refused(&mut unable, "tasks/get", ids[0].0.clone(), -32021);
        for method in ["tasks/list", "tasks/result"] {
            refused(&mut all, method, ids[0].0.clone(), -32601);
        }
        // The id is as durable as the server behind it.
        drop(kern);
        let kern = Setup::new(driver, config).start();
        let mut again = modern(&kern, "/mcp");
        eventually("the far one is up", || again.tools().iter().any(|it| it.starts_with("far__")));
        assert_eq!(until(&mut again, &ids[1].0, "completed")["taskId"], ids[1].0);
        eventually("the near one is up", || again.tools().len() > 60);
        refused(&mut again, "tasks/get", ids[0].0.clone(), -32602);
    });
}

#[test]
fn a_modern_task_is_answered_cancelled_and_listened_to_through_the_endpoint_of_all() {
    both(|driver| {
        let config = fixture_child("one", "modern", "") + &fixture_child("two", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut all = modern(&kern, "/mcp");
        eventually("both are up", || all.tools().len() > 60);
        for name in ["one", "two"] {
            let tool = format!("{name}__confirm_delete");
            let id = create(&mut all, &tool, json!({}), json!({}))["taskId"].clone();
            let filter = json!({ "taskIds": [id, "no-such:1", "one:gone"] });
            let mut listen = all.begin("subscriptions/listen", json!({ "notifications": filter }));
            let heard = listen.wait_for("notifications/subscriptions/acknowledged");
            let agreed = &heard["params"]["notifications"]["taskIds"];
            assert!(agreed.as_array().unwrap().contains(&id), "{heard}");
            let subscription = &heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
            let task = until(&mut all, &id, "input_required");
            let key = task["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
            // The server hears of the wish a moment after the client got its acknowledgement.
            std::thread::sleep(std::time::Duration::from_millis(300));
            let answers = json!({ key: { "action": "accept", "content": { "confirm": true } } });
            let params = json!({ "taskId": id, "inputResponses": answers });
            let done = all.request("tasks/update", params);
            assert_eq!(done["result"]["resultType"], "complete", "{done}");
            let heard = loop {
                let heard = listen.wait_for("notifications/tasks");
                if heard["params"]["status"] == "completed" {
                    break heard;
                }
            };
            assert_eq!(heard["params"]["taskId"], id);
            let meta = &heard["params"]["_meta"];
            assert_eq!(&meta["io.modelcontextprotocol/subscriptionId"], subscription);
            let tool = format!("{name}__slow_compute");
            let id = create(&mut all, &tool, json!({ "seconds": 60 }), json!({}))["taskId"].clone();
            let done = about(&mut all, "tasks/cancel", &id);
            assert_eq!(done["result"]["resultType"], "complete", "{done}");
            until(&mut all, &id, "cancelled");
        }
        let filter = json!({ "notifications": { "taskIds": ["one:1"] } });
        let refused = Client::modern(&kern, "/mcp").request("subscriptions/listen", filter);
        assert_eq!(refused["error"]["code"], -32021);
    });
}

#[test]
fn an_old_client_sees_the_tasks_it_made_on_every_server_and_no_others() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "legacy", "--page", "1"]);
        let config = fixture_child("one", "legacy", "")
            + &fixture_child("two", "legacy", "")
            + &remote("far", &far.url("/mcp"), "")
            + &fixture_child("new", "modern", "");
        let kern = Setup::new(driver, config).cores(2).start();
        // Of two clients that share the children, each with two tasks a server.
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = Client::legacy(&kern, "/mcp", json!({}));
            assert!(client.greeting["capabilities"]["tasks"]["list"].is_object());
            eventually("all are up", || client.tools().len() > 120);
            let mut ids = Vec::new();
            for name in ["one", "two", "far"] {
                for _ in 0..2 {
                    let tool = format!("{name}__slow_compute");
                    let task = legacy_task(&mut client, &tool, json!({ "seconds": 0.01 }));
                    assert!(task["taskId"].as_str().unwrap().starts_with(&format!("{name}:")));
                    assert_eq!(task["ttl"], 60_000);
                    ids.push(task["taskId"].clone());
                }
            }
            clients.push((client, ids));
        }
        let (mut other, theirs) = clients.pop().unwrap();
        let (mut client, ids) = clients.pop().unwrap();
        for (client, ids) in [(&mut client, &ids), (&mut other, &theirs)] {
            let (mut listed, mut cursor) = (Vec::new(), Value::Null);
            for _ in 0..20 {
                let page = client.request("tasks/list", json!({ "cursor": cursor }));
                let tasks = page["result"]["tasks"].as_array().unwrap_or_else(|| panic!("{page}"));
                listed.extend(tasks.iter().map(|task| task["taskId"].clone()));
                cursor = page["result"]["nextCursor"].clone();
                if cursor.is_null() {
                    break;
                }
            }
            let sorted = |ids: &[Value]| {
                let mut ids: Vec<String> = ids.iter().map(Value::to_string).collect();
                ids.sort();
                ids
            };
            assert_eq!(sorted(&listed), sorted(ids));
        }
        for id in &ids {
            until(&mut client, id, "completed");
            let result = about(&mut client, "tasks/result", id);
            assert_eq!(&result["result"]["_meta"][RELATED]["taskId"], id, "{result}");
            for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
                refused(&mut other, method, id.clone(), -32602);
            }
            refused(&mut client, "tasks/update", id.clone(), -32601);
        }
        for cursor in ["no-such", "no-such:x", "new", "far:no-such", ":", ""] {
            let answer = client.request("tasks/list", json!({ "cursor": cursor }));
            assert_eq!(answer["error"]["code"], -32602, "{cursor}: {answer}");
        }
        let running = legacy_task(&mut client, "one__slow_compute", json!({ "seconds": 60 }));
        let done = about(&mut client, "tasks/cancel", &running["taskId"]);
        assert_eq!(done["result"]["status"], "cancelled", "{done}");
        assert_eq!(done["result"]["taskId"], running["taskId"]);
    });
}

#[test]
fn an_old_client_hears_of_its_own_tasks_and_is_asked_for_them() {
    both(|driver| {
        for (path, prefix) in [("/mcp", "one__"), ("/mcp/one", "")] {
            for able in [json!({}), json!({ "elicitation": {} })] {
                let config = fixture_child("one", "legacy", "")
                    + &fixture_child("two", "legacy", "instances = \"shared\"");
                let kern = Setup::new(driver, config).start();
                let mut client = Client::legacy(&kern, path, able.clone());
                let other = Client::legacy(&kern, path, json!({}));
                let (mut stream, mut others) = (client.stream(), other.stream());
                eventually("it is up", || !client.tools().is_empty());
                let tool = format!("{prefix}slow_compute");
                let id =
                    legacy_task(&mut client, &tool, json!({ "seconds": 0.2 }))["taskId"].clone();
                let exposed = id.as_str().unwrap().starts_with("one:");
                assert_eq!(exposed, path == "/mcp");
                let heard = stream.wait_for("notifications/tasks/status");
                assert_eq!(heard["params"]["taskId"], id, "{heard}");
                let limit = std::time::Duration::from_millis(100);
                while let Some(message) = others.next(limit) {
                    assert_ne!(message["method"], "notifications/tasks/status", "{message}");
                }
                let call = json!({
                    "name": tool, "arguments": { "seconds": 0.3 }, "task": {},
                    "_meta": { "progressToken": "mine" }
                });
                assert!(client.request("tools/call", call)["result"]["task"].is_object());
                let heard = loop {
                    let heard = stream.wait_for("notifications/progress");
                    if heard["params"]["progress"] == 2 {
                        break heard;
                    }
                };
                assert_eq!(heard["params"]["progressToken"], "mine");
                if able == json!({}) {
                    continue;
                }
                let tool = format!("{prefix}confirm_delete");
                let id = legacy_task(&mut client, &tool, json!({}))["taskId"].clone();
                until(&mut client, &id, "input_required");
                let mut result = client.begin("tasks/result", json!({ "taskId": id }));
                let asked = result.wait_for("elicitation/create");
                assert_eq!(asked["params"]["_meta"][RELATED]["taskId"], id, "{asked}");
                let content = json!({ "confirm": true });
                let meta = json!({ RELATED: { "taskId": id } });
                let answer = json!({ "action": "accept", "content": content, "_meta": meta });
                client.answer(&asked["id"], answer);
                let answer = result.answer();
                let text = &answer["result"]["content"][0]["text"];
                assert_eq!(text, "Deleted the file", "{answer}");
                assert_eq!(answer["result"]["_meta"][RELATED]["taskId"], id);
            }
        }
    });
}

#[test]
fn a_server_that_starts_anew_takes_its_tasks_with_it() {
    both(|driver| {
        let config = fixture_child("one", "legacy", "") + &fixture_child("two", "modern", "");
        let kern = Setup::new(driver, config).start();
        let mut old = Client::legacy(&kern, "/mcp", json!({}));
        let mut new = modern(&kern, "/mcp");
        eventually("all are up", || new.tools().len() > 60);
        let long = json!({ "seconds": 60 });
        let mine = legacy_task(&mut old, "one__slow_compute", long.clone())["taskId"].clone();
        let made = create(&mut new, "two__slow_compute", long, json!({}))["taskId"].clone();
        // Whoever waits for a result hears at once that the server is gone.
        let mut waiting = old.begin("tasks/result", json!({ "taskId": mine }));
        for pid in kern.servers("--era") {
            process::signal(pid, rustix::process::Signal::KILL);
        }
        let answer = waiting.next(PATIENCE).unwrap();
        assert!(answer["error"]["message"].as_str().unwrap().contains("one"), "{answer}");
        eventually("the tasks are gone", || {
            about(&mut old, "tasks/get", &mine)["error"]["code"] == -32602
                && about(&mut new, "tasks/get", &made)["error"]["code"] == -32602
        });
        let page = old.request("tasks/list", json!({}));
        assert_eq!(page["result"]["tasks"], json!([]), "{page}");
    });
}

#[test]
fn a_modern_client_uses_the_tasks_of_an_old_server() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "legacy"]);
        for (over, config) in [
            ("pipe", fixture_child("old", "legacy", "")),
            ("http", remote("old", &far.url("/mcp"), "")),
        ] {
            let config = config + &fixture_child("other", "modern", "");
            let kern = Setup::new(driver, config).cores(2).start();
            for (path, prefix) in [("/mcp", "old__"), ("/mcp/old", "")] {
                let extensions = json!({ "io.modelcontextprotocol/tasks": {} });
                let able = json!({ "extensions": extensions });
                let mut client = Client::modern(&kern, path).able(able);
                eventually("it is up", || !client.tools().is_empty());
                let offered = client.request("server/discover", json!({}));
                let capabilities = &offered["result"]["capabilities"];
                assert!(capabilities.get("tasks").is_none(), "{offered}");
                let extension = &capabilities["extensions"]["io.modelcontextprotocol/tasks"];
                assert!(extension.is_object(), "{over} {path}: {offered}");
                modern_client_of_an_old_server(&kern, &mut client, prefix);
            }
        }
    });
}

fn modern_client_of_an_old_server(kern: &Kern, client: &mut Client, prefix: &str) {
    let made =
        create(client, &format!("{prefix}slow_compute"), json!({ "seconds": 0.2 }), json!({}));
    assert_eq!(made["resultType"], "task");
    assert!(made["ttlMs"].is_u64() && made["pollIntervalMs"].is_u64(), "{made}");
    assert!(made.get("ttl").is_none() && made.get("task").is_none(), "{made}");
    let id = made["taskId"].clone();
    assert_eq!(id.as_str().unwrap().starts_with("old:"), !prefix.is_empty());
    let working = about(client, "tasks/get", &id)["result"].clone();
    assert_eq!(working["resultType"], "complete", "{working}");
    let done = until(client, &id, "completed");
    assert_eq!(done["taskId"], id);
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    assert!(done["result"].get("_meta").is_none(), "{done}");
    // What has ended may be cancelled again and again.
    for _ in 0..2 {
        let again = about(client, "tasks/cancel", &id);
        assert_eq!(again["result"], json!({ "resultType": "complete" }), "{again}");
    }
    let made = create(client, &format!("{prefix}failing_job"), json!({}), json!({}));
    let done = until(client, &made["taskId"], "completed");
    assert_eq!(done["result"]["isError"], true, "{done}");
    let made = create(client, &format!("{prefix}protocol_error_job"), json!({}), json!({}));
    let done = until(client, &made["taskId"], "failed");
    assert_eq!(done["error"]["code"], -32603, "{done}");
    let made =
        create(client, &format!("{prefix}slow_compute"), json!({ "seconds": 60 }), json!({}));
    let update = json!({ "taskId": made["taskId"], "inputResponses": { "x": {} } });
    let done = client.request("tasks/update", update);
    assert_eq!(done["result"], json!({ "resultType": "complete" }), "{done}");
    about(client, "tasks/cancel", &made["taskId"]);
    until(client, &made["taskId"], "cancelled");
    // Without the extension, and with a hint that is none in the new era.
    let mut plain = Client::modern(kern, if prefix.is_empty() { "/mcp/old" } else { "/mcp" });
    let call = |tool: &str| json!({ "name": format!("{prefix}{tool}"), "task": {}, "arguments": { "seconds": 0 } });
    let answer = plain.request("tools/call", call("slow_compute"));
    assert!(answer["result"]["content"].is_array(), "{answer}");
    assert_eq!(plain.request("tools/call", call("failing_job"))["error"]["code"], -32021);
    let answer = client.request("tools/call", call("greet"));
    assert_eq!(answer["result"]["content"][0]["text"], "Hello, World!", "{answer}");
    let text = id.as_str().unwrap();
    let own = text.strip_prefix("old:").unwrap_or(text).to_owned();
    let bare = own.split_once('.').map_or(own.as_str(), |(_, bare)| bare).to_owned();
    let exposed = |id: &str| if prefix.is_empty() { json!(id) } else { json!(format!("old:{id}")) };
    let changed = own.replace(&own[..1], if own.starts_with('A') { "B" } else { "A" });
    for hostile in ["", "x", &bare, &format!(".{bare}"), &format!("{own}x"), &changed] {
        for method in ["tasks/get", "tasks/cancel"] {
            refused(client, method, exposed(hostile), -32602);
        }
    }
}

#[test]
fn an_old_client_uses_the_tasks_of_a_modern_server() {
    both(|driver| {
        let far = Remote::fixture(&["--era", "modern"]);
        for (over, config) in [
            ("pipe", fixture_child("new", "modern", "")),
            ("http", remote("new", &far.url("/mcp"), "")),
        ] {
            let config = config + &fixture_child("other", "legacy", "");
            let kern = Setup::new(driver, config).cores(2).start();
            for (path, prefix) in [("/mcp", "new__"), ("/mcp/new", "")] {
                eventually("it is up", || !Client::modern(&kern, path).tools().is_empty());
                let mut client = Client::legacy(&kern, path, json!({ "elicitation": {} }));
                eventually("it is up", || {
                    client.tools().contains(&format!("{prefix}slow_compute"))
                });
                let offered =
                    &client.greeting["capabilities"]["tasks"]["requests"]["tools"]["call"];
                assert!(offered.is_object(), "{over} {path}: {}", client.greeting);
                let tools = client.request("tools/list", json!({}))["result"]["tools"].clone();
                for tool in tools.as_array().unwrap() {
                    let name = tool["name"].as_str().unwrap();
                    let new = prefix.is_empty() || name.starts_with(prefix);
                    assert!(!new || tool["execution"]["taskSupport"] == "optional", "{tool}");
                }
                old_client_of_a_modern_server(&mut client, prefix);
                let mut other = Client::legacy(&kern, path, json!({}));
                old_client_without_forms(&mut client, &mut other, prefix);
            }
        }
    });
}

fn old_client_of_a_modern_server(client: &mut Client, prefix: &str) {
    let task = legacy_task(client, &format!("{prefix}slow_compute"), json!({ "seconds": 0.2 }));
    assert!(task["ttl"].is_u64() && task["pollInterval"].is_u64(), "{task}");
    assert!(task.get("ttlMs").is_none() && task.get("resultType").is_none(), "{task}");
    let id = task["taskId"].clone();
    assert_eq!(id.as_str().unwrap().starts_with("new:"), !prefix.is_empty());
    // It waits for the end.
    let answer = about(client, "tasks/result", &id);
    let result = answer["result"].clone();
    assert!(result["content"].is_array() && result.get("resultType").is_none(), "{answer}");
    assert_eq!(result["_meta"][RELATED]["taskId"], id);
    let done = until(client, &id, "completed");
    assert!(done.get("result").is_none() && done.get("ttlMs").is_none(), "{done}");
    refused(client, "tasks/cancel", id, -32602);
    let task = legacy_task(client, &format!("{prefix}failing_job"), json!({}));
    until(client, &task["taskId"], "failed");
    let result = about(client, "tasks/result", &task["taskId"]);
    assert_eq!(result["result"]["isError"], true, "{result}");
    let task = legacy_task(client, &format!("{prefix}protocol_error_job"), json!({}));
    refused(client, "tasks/result", task["taskId"].clone(), -32603);
    let task = legacy_task(client, &format!("{prefix}slow_compute"), json!({ "seconds": 60 }));
    let cancelled = about(client, "tasks/cancel", &task["taskId"]);
    assert_eq!(cancelled["result"]["status"], "cancelled", "{cancelled}");
    assert_eq!(cancelled["result"]["taskId"], task["taskId"]);
    refused(client, "tasks/result", task["taskId"].clone(), -32603);
    // Two questions, each asked once, however often the task is looked at.
    let task = legacy_task(client, &format!("{prefix}multi_input"), json!({}));
    let mut result = client.begin("tasks/result", json!({ "taskId": task["taskId"] }));
    for _ in 0..2 {
        let asked = result.wait_for("elicitation/create");
        assert_eq!(asked["params"]["_meta"][RELATED]["taskId"], task["taskId"], "{asked}");
        std::thread::sleep(std::time::Duration::from_millis(250));
        let answer = json!({ "action": "accept", "content": { "name": "Ada" } });
        client.answer(&asked["id"], answer);
    }
    let text = &result.answer()["result"]["content"][0]["text"];
    assert_eq!(text, "First: \"Ada\"; second: \"Ada\"");
    // A question before the task begins, then a task; and a call that is answered at once.
    let call = json!({ "name": format!("{prefix}test_tool_with_task"), "task": {} });
    let mut begun = client.begin("tools/call", call);
    let asked = begun.wait_for("elicitation/create");
    client.answer(&asked["id"], json!({ "action": "accept", "content": { "name": "Ada" } }));
    let made = begun.answer();
    let result = about(client, "tasks/result", &made["result"]["task"]["taskId"]);
    assert_eq!(result["result"]["content"][0]["text"], "A task for Ada is done", "{made}");
    let task = legacy_task(client, &format!("{prefix}greet"), json!({}));
    assert_eq!(task["status"], "completed", "{task}");
    let id = task["taskId"].clone();
    assert_eq!(about(client, "tasks/get", &id)["result"], task);
    let result = about(client, "tasks/result", &id)["result"].clone();
    assert_eq!(result["content"][0]["text"], "Hello, World!", "{result}");
    assert_eq!(result["_meta"][RELATED]["taskId"], id);
    refused(client, "tasks/cancel", id, -32602);
}

fn old_client_without_forms(client: &mut Client, other: &mut Client, prefix: &str) {
    // A kept answer is its session's alone.
    let task = legacy_task(client, &format!("{prefix}greet"), json!({}));
    refused(other, "tasks/get", task["taskId"].clone(), -32602);
    for id in ["", "new", "new:", "new:no-such", "no-such", "new:kern-done-0", "kern-done-0"] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            refused(other, method, json!(id), -32602);
        }
    }
    // What is asked of a client that waits is withdrawn with the wait.
    let task = legacy_task(client, &format!("{prefix}confirm_delete"), json!({}));
    let id = task["taskId"].clone();
    let mut stream = client.stream();
    let mut waiting = client.begin_as("tasks/result", json!({ "taskId": id }), "wait");
    let asked = waiting.wait_for("elicitation/create");
    client.notify("notifications/cancelled", json!({ "requestId": "wait" }));
    let withdrawn = waiting
        .next(PATIENCE)
        .filter(|message| message["method"] == "notifications/cancelled")
        .unwrap_or_else(|| stream.wait_for("notifications/cancelled"));
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
    let mut again = client.begin("tasks/result", json!({ "taskId": id }));
    let asked = again.wait_for("elicitation/create");
    client.answer(&asked["id"], json!({ "action": "decline" }));
    assert_eq!(again.answer()["result"]["content"][0]["text"], "Kept the file");
}
