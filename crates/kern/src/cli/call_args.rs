//! From `key=value` on a command line to the arguments a tool's schema wants.
//!
//! Invariants: JSON a user writes reaches the server as written (numbers keep every digit); a value
//! becomes anything but a string only if the schema asks for it; what is missing or misspelled is
//! said before anything is sent.

use std::fmt;

use kern_mcp::{Span, json};
use serde_json::Value;
use serde_json::value::RawValue;

use super::show;

/// References to other parts of a schema that are followed.
const REFERENCES_MAX: u8 = 8;

/// Whether a word is an argument: `key=value`, `key:=JSON`, or `-`.
pub(super) fn is_argument(word: &str) -> bool {
    word == "-"
        || word.split_once('=').is_some_and(|(key, _)| !key.is_empty() && !key.contains('/'))
}

/// One argument, for people.
#[derive(Debug)]
pub(super) struct Argument {
    name: String,
    kind: String,
    required: bool,
    about: String,
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.kind)?;
        if self.required {
            f.write_str(", required")?;
        }
        f.write_str(")")?;
        let about = self.about.split_whitespace().collect::<Vec<_>>().join(" ");
        if about.is_empty() { Ok(()) } else { write!(f, ": {about}") }
    }
}

/// What a tool takes: required arguments first.
pub(super) fn of_tool(tool: &Value) -> Vec<Argument> {
    let schema = &tool["inputSchema"];
    let required = required(schema);
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let mut found: Vec<_> = properties
        .iter()
        .map(|(name, property)| Argument {
            name: name.clone(),
            kind: kind_text(property, schema),
            required: required.contains(&name.as_str()),
            about: resolved(property, schema)["description"].as_str().unwrap_or_default().into(),
        })
        .collect();
    found.sort_by_key(|argument| !argument.required);
    found
}

/// What a prompt takes.
pub(super) fn of_prompt(arguments: &[Value]) -> Vec<Argument> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let arguments = arguments.iter().map(|argument| Argument {
        name: text(&argument["name"]),
        kind: "string".to_owned(),
        required: argument["required"] == true,
        about: text(&argument["description"]),
    });
    arguments.collect()
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect()
}

/// The arguments object for a tool, as JSON text. `given` is a whole object to start from.
pub(super) fn for_tool(
    tool: &Value,
    words: &[String],
    given: Option<&str>,
) -> Result<String, String> {
    let schema = &tool["inputSchema"];
    let mut object = Object::default();
    if let Some(text) = given {
        object.take_whole(text)?;
    }
    for word in words {
        let (key, raw) = match word.split_once('=') {
            Some((key, raw)) if !key.is_empty() => (key, raw),
            _ => return Err(format!("`{word}` is no argument: write KEY=VALUE")),
        };
        if let Some(key) = key.strip_suffix(':') {
            serde_json::from_str::<&RawValue>(raw)
                .map_err(|error| format!("`{key}:=` wants JSON: {error}"))?;
            object.set(key, raw.trim().to_owned())?;
            continue;
        }
        let property = property(schema, key)?;
        let types = types(property, schema, 0);
        let value = typed(key, raw, property, schema)?;
        match types.contains(&"array") {
            true => object.append(key, value),
            false => object.set(key, value)?,
        }
    }
    let missing: Vec<_> =
        required(schema).into_iter().filter(|name| object.get(name).is_none()).collect();
    match missing.as_slice() {
        [] => Ok(object.text()),
        [one] => Err(format!("`{one}` is missing: it is required")),
        many => Err(format!("`{}` are missing: they are required", many.join("`, `"))),
    }
}

/// The arguments object for a prompt: all of them are strings.
pub(super) fn for_prompt(prompt: &Value, words: &[String]) -> Result<String, String> {
    let known = of_prompt(prompt["arguments"].as_array().map(Vec::as_slice).unwrap_or_default());
    let names: Vec<&str> = known.iter().map(|argument| argument.name.as_str()).collect();
    let mut object = Object::default();
    for word in words {
        let Some((key, text)) = word.split_once('=') else {
            return Err(format!("`{word}` is no argument: write KEY=VALUE"));
        };
        if !names.contains(&key) {
            return Err(show::unknown("argument", key, &names));
        }
        object.set(key, quoted(text))?;
    }
    let missing = known.iter().find(|one| one.required && object.get(&one.name).is_none());
    match missing {
        Some(argument) => Err(format!("an argument is missing: {argument}")),
        None => Ok(object.text()),
    }
}

/// The members of a JSON object in the order given, each value as it was written.
#[derive(Debug, Default)]
struct Object(Vec<(String, Vec<String>)>);

impl Object {
    fn take_whole(&mut self, text: &str) -> Result<(), String> {
        serde_json::from_str::<serde_json::Map<String, Value>>(text)
            .map_err(|error| format!("the arguments are no JSON object: {error}"))?;
        let bytes = text.trim().as_bytes();
        for (key, value) in json::members(bytes, Span::all(bytes)) {
            let key = json::text(key.of(bytes)).unwrap_or_default();
            self.0.push((key, vec![String::from_utf8_lossy(value.of(bytes)).into_owned()]));
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&Vec<String>> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match self.get(key) {
            Some(_) => Err(format!("`{key}` is given twice")),
            None => {
                self.0.push((key.to_owned(), vec![value]));
                Ok(())
            }
        }
    }

    /// A list may be given value by value.
    fn append(&mut self, key: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(value),
            None => self.0.push((key.to_owned(), vec![value])),
        }
    }

    fn text(&self) -> String {
        let members = self.0.iter().map(|(key, values)| {
            let value = match values.as_slice() {
                [one] => one.clone(),
                // Each is an array: their elements one after the other.
                many => {
                    let inner = many.iter().map(|value| {
                        let inner = value.trim().strip_prefix('[').unwrap_or(value);
                        inner.strip_suffix(']').unwrap_or(inner).trim()
                    });
                    let inner: Vec<_> = inner.filter(|text| !text.is_empty()).collect();
                    format!("[{}]", inner.join(","))
                }
            };
            format!("{}:{value}", quoted(key))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The schema of an argument; [`Value::Null`] where any is taken.
fn property<'s>(schema: &'s Value, key: &str) -> Result<&'s Value, String> {
    let Some(properties) = schema["properties"].as_object().filter(|them| !them.is_empty()) else {
        return Ok(&Value::Null);
    };
    if let Some(property) = properties.get(key) {
        return Ok(property);
    }
    let more = &schema["additionalProperties"];
    if more.is_object() || *more == true {
        return Ok(more);
    }
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    Err(show::unknown("argument", key, &names))
}

/// The text of a command line as a value of the argument's type.
fn typed(key: &str, text: &str, property: &Value, schema: &Value) -> Result<String, String> {
    let types = types(property, schema, 0);
    if types == ["string"] {
        return Ok(quoted(text));
    }
    if let Some(found) = json_type(text)
        && (types.is_empty() || types.iter().any(|wanted| fits(found, wanted)))
    {
        return Ok(text.trim().to_owned());
    }
    if types.is_empty() || types.contains(&"string") {
        return Ok(quoted(text));
    }
    if types.contains(&"array") {
        // One element: the list is given value by value.
        let items = &resolved(property, schema)["items"];
        return typed(key, text, items, schema).map(|element| format!("[{element}]"));
    }
    let wanted = kind_text(property, schema);
    Err(format!("`{key}` wants {wanted}, and `{text}` is none"))
}

fn fits(found: &str, wanted: &str) -> bool {
    found == wanted || (found == "integer" && wanted == "number")
}

/// The type of JSON text; `None` if it is none.
fn json_type(text: &str) -> Option<&'static str> {
    let text = text.trim();
    serde_json::from_str::<&RawValue>(text).ok()?;
    Some(match text.as_bytes().first()? {
        b'"' => "string",
        b'{' => "object",
        b'[' => "array",
        b't' | b'f' => "boolean",
        b'n' => "null",
        _ if text.contains(['.', 'e', 'E']) => "number",
        _ => "integer",
    })
}

/// A schema, or the part of the whole it refers to.
fn resolved<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let mut at = schema;
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = at["$ref"].as_str() else { return at };
        match reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) {
            Some(next) => at = next,
            None => return &Value::Null,
        }
    }
    &Value::Null
}

/// The JSON types a schema allows; none where it does not say.
fn types<'s>(schema: &'s Value, root: &'s Value, depth: u8) -> Vec<&'s str> {
    let schema = resolved(schema, root);
    let mut found: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if found.is_empty() && depth < REFERENCES_MAX {
        for way in ["anyOf", "oneOf", "allOf"] {
            let parts = schema[way].as_array().map(Vec::as_slice).unwrap_or_default();
            found.extend(parts.iter().flat_map(|part| types(part, root, depth + 1)));
        }
    }
    if found.is_empty() {
        let values = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !values.is_empty() && values.iter().all(Value::is_string) || schema["const"].is_string()
        {
            found.push("string");
        }
    }
    found.dedup();
    found
}

/// The type in words: an enumeration by its values, a list by its elements.
fn kind_text(schema: &Value, root: &Value) -> String {
    let plain = resolved(schema, root);
    if let Some(values) = plain["enum"].as_array().filter(|values| values.len() <= 8) {
        let values = values.iter().map(|value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        });
        return values.collect::<Vec<_>>().join("|");
    }
    let types = types(schema, root, 0);
    match types.as_slice() {
        [] => "any".to_owned(),
        ["array"] => match self::types(&plain["items"], root, 0).first() {
            Some(element) => format!("array of {element}s"),
            None => "array".to_owned(),
        },
        types => types.join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> Value {
        serde_json::json!({ "name": "t", "inputSchema": {
            "type": "object",
            "properties": {
                "path": { "type": "string", "description": "Where" },
                "head": { "type": "integer" },
                "ratio": { "type": ["number", "null"] },
                "deep": { "type": "boolean" },
                "paths": { "type": "array", "items": { "type": "string" } },
                "numbers": { "type": "array", "items": { "type": "integer" } },
                "either": { "anyOf": [{ "type": "integer" }, { "type": "string" }] },
                "far": { "$ref": "#/$defs/far" },
                "any": {},
                "mode": { "enum": ["a", "b"] },
                "loop": { "$ref": "#/properties/loop" },
            },
            "required": ["path"],
            "$defs": { "far": { "type": "object" } },
        }})
    }

    #[test]
    fn values_are_what_the_schema_says_they_are() {
        type Case<'a> = (&'a [&'a str], Option<&'a str>, Result<&'a str, &'a str>);
        let cases: &[Case<'_>] = &[
            (&["path=1"], None, Ok(r#"{"path":"1"}"#)),
            (&["path=a=b"], None, Ok(r#"{"path":"a=b"}"#)),
            (&["path="], None, Ok(r#"{"path":""}"#)),
            (&["path=x", "head=007"], None, Err("`head` wants integer, and `007` is none")),
            (
                &["path=x", "head=12345678901234567890123"],
                None,
                Ok(r#"{"path":"x","head":12345678901234567890123}"#),
            ),
            (&["path=x", "head=1.5"], None, Err("`head` wants integer")),
            (&["path=x", "ratio=1.50"], None, Ok(r#"{"path":"x","ratio":1.50}"#)),
            (&["path=x", "ratio=null"], None, Ok(r#"{"path":"x","ratio":null}"#)),
            (&["path=x", "deep=true"], None, Ok(r#"{"path":"x","deep":true}"#)),
            (&["path=x", "deep=yes"], None, Err("`deep` wants boolean")),
            (&["path=x", r#"paths=["a","b"]"#], None, Ok(r#"{"path":"x","paths":["a","b"]}"#)),
            (&["path=x", "paths=a", "paths=b"], None, Ok(r#"{"path":"x","paths":["a","b"]}"#)),
            (
                &["path=x", "numbers=1", "numbers=[2,3]"],
                None,
                Ok(r#"{"path":"x","numbers":[1,2,3]}"#),
            ),
            (&["path=x", "numbers=a"], None, Err("`numbers` wants integer")),
            (&["path=x", "either=1"], None, Ok(r#"{"path":"x","either":1}"#)),
            (&["path=x", "either=one"], None, Ok(r#"{"path":"x","either":"one"}"#)),
            (&["path=x", r#"far={"k":[1]}"#], None, Ok(r#"{"path":"x","far":{"k":[1]}}"#)),
            (&["path=x", "any=1", "mode=a"], None, Ok(r#"{"path":"x","any":1,"mode":"a"}"#)),
            (&["path=x", "any=word"], None, Ok(r#"{"path":"x","any":"word"}"#)),
            (&["path=x", "loop=1"], None, Ok(r#"{"path":"x","loop":1}"#)),
            (&["path:=7"], None, Ok(r#"{"path":7}"#)),
            (&["path:=oops"], None, Err("`path:=` wants JSON")),
            (&["path=x", "new:=1"], None, Ok(r#"{"path":"x","new":1}"#)),
            (&["path=x", "path=y"], None, Err("`path` is given twice")),
            (&["pth=x"], None, Err("there is no argument `pth`; did you mean `path`?")),
            (&["word"], None, Err("`word` is no argument")),
            (&["head=1"], None, Err("`path` is missing: it is required")),
            (&[], Some(r#" {"path": "x", "n": 1e2} "#), Ok(r#"{"path":"x","n":1e2}"#)),
            (&["head=1"], Some(r#"{"path":"x"}"#), Ok(r#"{"path":"x","head":1}"#)),
            (&[], Some("[1]"), Err("the arguments are no JSON object")),
        ];
        for (words, given, expected) in cases {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let found = for_tool(&tool(), &words, *given);
            match (expected, &found) {
                (Ok(text), Ok(found)) => assert_eq!(found, text, "{words:?}"),
                (Err(why), Err(found)) => assert!(found.starts_with(why), "{words:?}: {found}"),
                _ => panic!("{words:?}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn people_see_what_a_tool_takes_and_must_have() {
        let shown: Vec<_> = of_tool(&tool()).iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "path (string, required): Where");
        for line in ["paths (array of strings)", "either (integer or string)", "mode (a|b)"] {
            assert!(shown.iter().any(|shown| shown == line), "{line} in {shown:?}");
        }
    }

    #[test]
    fn a_prompt_gets_strings_only() {
        let prompt = serde_json::json!({ "arguments": [
            { "name": "city", "required": true, "description": "Which" }, { "name": "state" },
        ]});
        let with = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            for_prompt(&prompt, &words)
        };
        assert_eq!(with(&["city=1"]).as_deref(), Ok(r#"{"city":"1"}"#));
        assert!(with(&[]).is_err_and(|why| why.contains("city (string, required): Which")));
        assert!(with(&["cty=1"]).is_err_and(|why| why.contains("did you mean `city`?")));
    }

    #[test]
    fn a_url_is_no_argument() {
        for (word, expected) in [
            ("a=b", true),
            ("a:=1", true),
            ("-", true),
            ("read_file", false),
            ("=x", false),
            ("https://h/mcp?key=v", false),
        ] {
            assert_eq!(is_argument(word), expected, "{word}");
        }
    }
}
