//! What the agent fills in: answers to questions, arguments of tools, values of headers.

use serde_json::{Map, Value, json};

use super::agent::properties;

/// The result of a server's request.
pub(super) fn answer(asked: &Value) -> Result<Value, String> {
    match asked["method"].as_str().unwrap_or_default() {
        "elicitation/create" => {
            Ok(json!({ "action": "accept", "content": form(&asked["params"]["requestedSchema"]) }))
        }
        "sampling/createMessage" => Ok(json!({
            "role": "assistant", "model": "conformance-agent", "stopReason": "endTurn",
            "content": { "type": "text", "text": "A sentence." }
        })),
        "roots/list" => Ok(json!({ "roots": [{ "uri": "file:///srv/project" }] })),
        "ping" => Ok(json!({})),
        other => Err(format!("the server asks for {other}")),
    }
}

/// A form with its defaults (SEP-1034), and something fitting where there is none.
fn form(schema: &Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let filled = fields.map(|(name, field)| (name.clone(), value(field)));
    Value::Object(filled.collect())
}

/// A value that fits a simple schema.
fn value(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str().unwrap_or("string") {
        "number" | "integer" => json!(2),
        "boolean" => json!(true),
        "object" => json!({}),
        "array" => json!([]),
        _ => json!("text"),
    }
}

/// Arguments for a tool: every property it names. A tool that wants the schema of another gets it
/// as the agent received it.
pub(super) fn arguments(tool: &Value, tools: &[Value]) -> Value {
    let mut arguments = Map::new();
    for (name, schema) in properties(tool) {
        arguments.insert(name.clone(), value(schema));
    }
    if tool["name"] == "json_schema_echo" {
        let other = tools.iter().find(|tool| tool["name"] == "json_schema_2020_12_tool");
        let schema = other.map_or(Value::Null, |tool| tool["inputSchema"].clone());
        arguments.insert("schema".to_owned(), schema);
    }
    Value::Object(arguments)
}

/// A value as a header carries it (2026-07-28, Streamable HTTP, "Value Encoding"); nothing for
/// what is absent or no simple value.
pub(super) fn header(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(_) | Value::Bool(_) => return Some(value.to_string()),
        _ => return None,
    };
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if plain && text.trim() == text && !text.starts_with("=?base64?") {
        return Some(text.clone());
    }
    Some(format!("=?base64?{}?=", base64(text.as_bytes())))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let letter = char::from(ALPHABET[index as usize]);
            text.push(if place > three.len() { '=' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_header_cannot_carry_are_wrapped() {
        let cases = [
            (json!("us-west1"), Some("us-west1")),
            (json!("a b"), Some("a b")),
            (json!(""), Some("")),
            (json!(42), Some("42")),
            (json!(false), Some("false")),
            (json!(null), None),
            (json!({}), None),
            (json!(" x"), Some("=?base64?IHg=?=")),
            (json!("\tx\n"), Some("=?base64?CXgK?=")),
            (json!("é"), Some("=?base64?w6k=?=")),
            (json!("=?base64?"), Some("=?base64?PT9iYXNlNjQ/?=")),
        ];
        for (value, expected) in cases {
            assert_eq!(header(&value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_form_is_filled_with_its_defaults() {
        let schema = json!({ "properties": {
            "name": { "type": "string", "default": "John" }, "sure": { "type": "boolean" } } });
        assert_eq!(form(&schema), json!({ "name": "John", "sure": true }));
    }
}
