//! A client of the new era that answers what servers of the old one ask.

use serde_json::{Map, Value, json};

use super::client::Client;
use super::http::Response;
use super::lines::Lines;
use super::{Kern, Setup};

pub fn able() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

pub fn call(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

/// A call of `test_elicitation`, which asks one thing.
pub fn one() -> Value {
    call("test_elicitation", json!({ "message": "who?" }))
}

pub fn accept(content: Value) -> Value {
    json!({ "action": "accept", "content": content })
}

/// What a willing client says to one request.
pub fn answer(request: &Value) -> Value {
    match request["method"].as_str().unwrap() {
        "elicitation/create" => {
            let wanted = request["params"]["requestedSchema"]["properties"].as_object().unwrap();
            let value = |name: &str| match wanted[name]["type"].as_str().unwrap() {
                "boolean" => json!(true),
                _ => json!(format!("my {name}")),
            };
            accept(wanted.keys().map(|name| (name.clone(), value(name))).collect())
        }
        "sampling/createMessage" => json!({
            "role": "assistant", "model": "none",
            "content": { "type": "text", "text": "as a model says" }
        }),
        _ => json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] }),
    }
}

/// What a willing client says to all that is asked.
#[track_caller]
pub fn answers(asked: &Value) -> Map<String, Value> {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let requests = asked["result"]["inputRequests"].as_object().unwrap();
    requests.iter().map(|(key, request)| (key.clone(), answer(request))).collect()
}

/// `params` as they come back.
#[track_caller]
pub fn again(params: &Value, asked: &Value, answers: impl Into<Value>) -> Value {
    let mut params = params.clone();
    params["inputResponses"] = answers.into();
    params["requestState"] = asked["result"]["requestState"].clone();
    assert!(params["requestState"].is_string(), "{asked}");
    params
}

/// Goes through all rounds of a call: how many requests each asked for, and the answer.
#[track_caller]
pub fn converse(
    method: &str,
    params: &Value,
    request: &mut dyn FnMut(&str, Value) -> Value,
) -> (Vec<usize>, Value) {
    let mut rounds = Vec::new();
    let mut answer = request(method, params.clone());
    while answer["result"]["resultType"] == "input_required" {
        let given = answers(&answer);
        rounds.push(given.len());
        answer = request(method, again(params, &answer, given));
    }
    (rounds, answer)
}

/// The front ends of `kern`, each as one function that makes a request.
pub fn fronts(
    driver: &'static str,
    config: &str,
    check: impl Fn(&mut dyn FnMut(&str, Value) -> Value),
) {
    let kern = Setup::new(driver, config).cores(2).start();
    let mut client = Client::modern(&kern, "/mcp").able(able());
    check(&mut |method, params| client.request(method, params));
    let mut unix = Lines::unix(&kern);
    check(&mut |method, params| unix.request(method, modern(params)));
    let mut kern = Setup::new(driver, config).stdio().start();
    let mut stdio = Lines::stdio(&mut kern);
    check(&mut |method, params| stdio.request(method, modern(params)));
}

/// `params` with what a line client of the new era says in each request.
pub fn modern(params: Value) -> Value {
    let mut params = params;
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = able();
    params
}

/// Presents `params`; what comes.
pub fn present(client: &Client, params: Value, headers: &[(&str, &str)]) -> Response {
    client.post(&client.body("tools/call", params, "r"), headers)
}

#[track_caller]
pub fn refused(response: &Response, word: &str) -> String {
    assert_eq!((response.status(), response.code()), (400, -32602), "{response:?}");
    let why = response.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(why.contains(word), "{why}");
    why
}

/// What the test server `asks`.
pub fn form(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": {
        "message": message, "requestedSchema": { "type": "object", "properties": {} }
    } })
}

pub fn asks(requests: &[Value], then: &str, ms: u64) -> Value {
    call("asks", json!({ "requests": requests, "then": then, "ms": ms }))
}

pub fn leased(kern: &Kern) -> usize {
    kern.servers("server.py").len() - 1
}
