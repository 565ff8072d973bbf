//! Is an answer that came through a client the answer the server gave?
//!
//! SDKs add defaults and drop members they do not know, so only what the protocol defines for each
//! result is compared, and there every member and value.

use serde_json::{Map, Value, json};

/// The members of a result that must be the same.
fn members(method: &str) -> &'static [&'static str] {
    match method {
        "tools/call" => &["content", "structuredContent", "isError"],
        "resources/read" => &["contents"],
        "prompts/get" => &["description", "messages"],
        _ => &["tools"],
    }
}

/// The members of a tool that must be the same.
const TOOL: &[&str] =
    &["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// Says how two results of `method` differ.
///
/// # Errors
/// The first difference, for people.
pub(super) fn same(method: &str, expected: &Value, found: &Value) -> Result<(), String> {
    if let Some(error) = found.get("error") {
        return Err(format!("an error came instead: {}", cut(error)));
    }
    for member in members(method) {
        let (expected, found) = (plain(member, &expected[member]), plain(member, &found[member]));
        if expected != found {
            return Err(format!("{member}: {}", difference(&expected, &found)));
        }
    }
    Ok(())
}

/// The value without what SDKs may add or drop.
fn plain(member: &str, value: &Value) -> Value {
    match (member, value) {
        ("isError", Value::Null) => json!(false),
        ("tools", Value::Array(tools)) => {
            let mut tools: Vec<Value> = tools.iter().map(tool).collect();
            tools.sort_by_key(|tool| tool["name"].as_str().unwrap_or_default().to_owned());
            Value::Array(tools)
        }
        (_, value) => without_nulls(value),
    }
}

fn tool(tool: &Value) -> Value {
    let members = TOOL.iter().map(|member| ((*member).to_owned(), tool[member].clone()));
    without_nulls(&Value::Object(members.collect()))
}

/// Members that are null are left out by some; whole numbers gain or lose a `.0`.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            let kept = kept.map(|(name, value)| (name.clone(), without_nulls(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}

/// Where two values part.
fn difference(expected: &Value, found: &Value) -> String {
    match (expected, found) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pair = a.iter().zip(b).find(|(a, b)| a != b);
            pair.map_or(String::new(), |(a, b)| difference(a, b))
        }
        (Value::Array(a), Value::Array(b)) => format!("{} items instead of {}", b.len(), a.len()),
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            let name = names.into_iter().find(|name| a.get(*name) != b.get(*name));
            let name = name.map_or("", String::as_str);
            let (a, b) = (&expected[name], &found[name]);
            format!("{name}: {}", difference(a, b))
        }
        _ => format!("{} instead of {}", cut(found), cut(expected)),
    }
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_answer_is_found_and_an_sdks_habits_are_not() {
        let text = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
        let tools = |names: &[&str]| {
            let tools: Vec<_> = names
                .iter()
                .map(|name| json!({ "name": name, "inputSchema": { "minimum": 1 } }))
                .collect();
            json!({ "tools": tools })
        };
        let cases = [
            ("tools/call", text("a"), text("a"), true),
            (
                "tools/call",
                text("a"),
                json!({ "content": [{ "type": "text", "text": "a", "annotations": null }], "isError": false, "_meta": {} }),
                true,
            ),
            ("tools/call", text("a"), text("b"), false),
            ("tools/call", text("a"), json!({ "error": "x" }), false),
            (
                "tools/call",
                text("a"),
                json!({ "content": text("a")["content"], "isError": true }),
                false,
            ),
            ("tools/list", tools(&["a", "b"]), tools(&["b", "a"]), true),
            ("tools/list", tools(&["a", "b"]), tools(&["a"]), false),
            (
                "tools/list",
                tools(&["a"]),
                json!({ "tools": [{ "name": "a", "inputSchema": { "minimum": 1.0 } }] }),
                true,
            ),
            (
                "tools/list",
                tools(&["a"]),
                json!({ "tools": [{ "name": "a", "inputSchema": { "minimum": 2 } }] }),
                false,
            ),
        ];
        for (method, expected, found, equal) in cases {
            assert_eq!(same(method, &expected, &found).is_ok(), equal, "{method} {found}");
        }
    }
}
