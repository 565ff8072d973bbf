//! Is an answer that came through `kern` the answer the server gave?
//!
//! Everything is compared but the members that belong to an era and not to the answer: a client of
//! one era and a server of the other both get what their own era demands.

use serde_json::{Map, Value, json};

use super::rows::Era;
use super::step::Step;

/// The members of a result that `kern` adds or removes where eras meet, and those of paging.
const ERA: &[&str] = &["_meta", "resultType", "ttlMs", "cacheScope", "nextCursor"];

/// Says how two answers to a step differ.
///
/// # Errors
/// The first difference, for people.
pub(super) fn same(step: &Step, era: Era, expected: &Value, found: &Value) -> Result<(), String> {
    match (expected.get("error"), found.get("error")) {
        // Each SDK words it in its own way, but always in the same.
        (Some(expected), Some(found)) if expected == found => return Ok(()),
        (_, Some(error)) => return Err(format!("an error came: {}", cut(error))),
        (Some(_), None) => return Err(format!("no error came: {}", cut(found))),
        (None, None) => {}
    }
    let (expected, found) = (plain(step, era, expected), plain(step, era, found));
    if expected != found {
        return Err(difference(&expected, &found));
    }
    Ok(())
}

/// The answer without what may differ.
fn plain(step: &Step, era: Era, answer: &Value) -> Value {
    let Value::Object(members) = without_nulls(answer) else { return answer.clone() };
    let kept = members.into_iter().filter(|(name, _)| !ERA.contains(&name.as_str()));
    let mut answer: Map<String, Value> = kept.collect();
    if step.method == "tools/call" {
        answer.entry("isError").or_insert(json!(false));
    }
    if let Some((member, key)) = step.list() {
        let mut items = answer.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        // In 2026-07-28 a tool has no such member; some clients take it away.
        let dropped = (era != Era::Legacy && member == "tools").then_some("execution");
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            dropped.map(|name| item.remove(name));
        }
        items.sort_by_key(|item| item[key].as_str().unwrap_or_default().to_owned());
        answer.insert(member.to_owned(), Value::Array(items));
    }
    if let Some(Value::Array(heard)) = answer.get_mut("progress") {
        // The last word and the answer race each other within some clients.
        heard.retain(|heard| heard[0] != heard[1]);
    }
    let mut answer = Value::Object(answer);
    if let Some(counter) = step.counter {
        uncount(&mut answer, counter);
    }
    answer
}

/// Takes the number after `counter` away, also within texts.
fn uncount(value: &mut Value, counter: &str) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match name == counter {
                    true => *value = Value::Null,
                    false => uncount(value, counter),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| uncount(item, counter)),
        Value::String(text) => {
            if let Some((before, after)) = text.split_once(counter) {
                let after = after.replace(|c: char| c.is_ascii_digit(), "");
                *text = format!("{before}{counter}{after}");
            }
        }
        _ => {}
    }
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

    fn check(step: &Step, expected: &Value, found: &Value, equal: bool) {
        assert_eq!(
            same(step, Era::Legacy, expected, found).is_ok(),
            equal,
            "{} {found}",
            step.label()
        );
    }

    #[test]
    fn a_changed_answer_is_found_and_an_sdks_habits_are_not() {
        let text = |text: &str| json!({ "content": [{ "type": "text", "text": text }] });
        let call = Step::call("a", json!({}));
        check(&call, &text("a"), &text("a"), true);
        let dressed = json!({ "content": [{ "type": "text", "text": "a", "annotations": null }],
                              "isError": false, "_meta": {}, "resultType": "complete" });
        check(&call, &text("a"), &dressed, true);
        check(&call, &text("a"), &text("b"), false);
        check(&call, &text("a"), &json!({ "error": "x" }), false);
        check(&call, &json!({ "error": "x" }), &json!({ "error": "x" }), true);
        check(&call, &json!({ "error": "x" }), &text("a"), false);
        let failed = json!({ "content": text("a")["content"], "isError": true });
        check(&call, &text("a"), &failed, false);
        let more = json!({ "content": text("a")["content"], "unknown": 1 });
        check(&call, &text("a"), &more, false);
    }

    #[test]
    fn a_list_may_come_in_any_order_and_miss_nothing() {
        let tools = |names: &[&str], minimum: Value| {
            let schema = json!({ "minimum": minimum });
            let tools = names.iter().map(|name| json!({ "name": name, "inputSchema": schema }));
            json!({ "tools": tools.collect::<Vec<_>>() })
        };
        let list = Step::new("tools/list", json!({}));
        check(&list, &tools(&["a", "b"], json!(1)), &tools(&["b", "a"], json!(1)), true);
        check(&list, &tools(&["a", "b"], json!(1)), &tools(&["a"], json!(1)), false);
        check(&list, &tools(&["a"], json!(1)), &tools(&["a"], json!(1.0)), true);
        check(&list, &tools(&["a"], json!(1)), &tools(&["a"], json!(2)), false);
    }

    #[test]
    fn only_the_named_counter_may_differ() {
        let answer = |count: u32, left: bool| {
            json!({ "content": [{ "type": "text", "text": format!("{{\"left\": {left}, \"count\": {count} }}") }],
                    "structuredContent": { "left": left, "count": count } })
        };
        let step = Step::call("a", json!({})).counting("count");
        check(&step, &answer(1, true), &answer(23, true), true);
        check(&step, &answer(1, true), &answer(23, false), false);
        let strict = Step::call("a", json!({}));
        check(&strict, &answer(1, true), &answer(23, true), false);
    }
}
