//! Exchanges with a server that means what it says: every method, known and unknown names, lists,
//! notifications, errors. Generated ones, and some written by hand in the shapes of client
//! libraries.

use serde_json::value::RawValue;

use super::json::{Random, Taste, Writer};
use super::mirror::Via;
use super::wire::{Mirrored, Said, Wire};
use super::{Era, World};

/// What must be the same.
#[derive(Clone, Copy, Debug)]
enum Same {
    /// Every byte of every message.
    Bytes,
    /// The error's code: the gateway answers this itself.
    Code,
    /// The items of this list, whatever the pages.
    Items(&'static str),
}

/// A request: its method, its params, what a header names, and what must be the same.
struct Asked {
    method: &'static str,
    params: Vec<(String, String)>,
    /// The member that names something and its text.
    name: Option<(&'static str, String)>,
    same: Same,
}

const TOOLS: &[&str] = &[
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "json_schema_2020_12_tool",
    "test_large_text",
    "greet",
    "test_delay",
];
const PROMPTS: &[&str] = &[
    "test_simple_prompt",
    "test_prompt_with_arguments",
    "test_prompt_with_embedded_resource",
    "test_prompt_with_image",
];
const LISTS: &[(&str, &str)] = &[
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

fn tool(writer: &mut Writer<'_>) -> Asked {
    let mut params = writer.unknown();
    let mut same = Same::Bytes;
    let (name, arguments) = match writer.random.below(8) {
        0..3 => ("test_echo", Some(writer.any_object())),
        3 | 4 => {
            let name = writer.random.pick(TOOLS);
            let arguments = match name {
                "test_large_text" => r#"{"bytes":70000}"#,
                "test_delay" => r#"{"ms":1}"#,
                "greet" => r#"{"name":"\u00e9"}"#,
                _ => "{}",
            };
            (
                name,
                writer
                    .random
                    .pick(&[Some(arguments), Some(arguments), Some("{}"), None])
                    .map(str::to_owned),
            )
        }
        5 => ("test_tool_with_progress", None),
        6 => ("test_echo", Some(writer.random.pick(&["[]", "7", "\"x\"", "null"]).to_owned())),
        _ => {
            same = Same::Code;
            ("nobody", None)
        }
    };
    if let Some(arguments) = arguments {
        params.push(("\"arguments\"".into(), arguments));
    }
    Asked { method: "tools/call", params, name: Some(("name", name.to_owned())), same }
}

fn resource(writer: &mut Writer<'_>) -> Asked {
    let uri = match writer.random.below(5) {
        0 => "test://static-text".to_owned(),
        1 => "test://static-binary".to_owned(),
        2 => "test://watched-resource".to_owned(),
        3 => format!("test://template/{}/data", writer.random.below(1000)),
        _ => "test://nothing/here".to_owned(),
    };
    let params = writer.unknown();
    Asked { method: "resources/read", params, name: Some(("uri", uri)), same: Same::Bytes }
}

fn prompt(writer: &mut Writer<'_>) -> Asked {
    let mut params = writer.unknown();
    let known = !writer.random.one_in(5);
    let name = if known { writer.random.pick(PROMPTS) } else { "nobody" };
    if writer.random.one_in(2) {
        let text = writer.string();
        let all = format!(r#"{{"arg1":{text},"arg2":"2","resourceUri":"test://x"}}"#);
        params.push(("\"arguments\"".into(), all));
    }
    let same = if known { Same::Bytes } else { Same::Code };
    Asked { method: "prompts/get", params, name: Some(("name", name.to_owned())), same }
}

fn completion(writer: &mut Writer<'_>) -> Asked {
    let mut params = writer.unknown();
    let argument = writer.random.pick(&[
        r#"{"name":"arg1","value":"pa"}"#,
        r#"{"value":"","name":"x"}"#,
        r#"{"value":"zz"}"#,
        "{}",
        r#"{"value":7}"#,
    ]);
    params.push(("\"argument\"".into(), argument.into()));
    let reference = r#"{"name":"test_simple_prompt","type":"ref/prompt"}"#;
    params.push(("\"ref\"".into(), reference.into()));
    Asked { method: "completion/complete", params, name: None, same: Same::Bytes }
}

fn ask(writer: &mut Writer<'_>, era: Era, via: Via) -> Asked {
    let plain = |method, same| Asked { method, params: Vec::new(), name: None, same };
    match writer.random.below(10) {
        0..4 => tool(writer),
        4 => prompt(writer),
        // On the endpoint of all the same URIs of four servers get other names: crates/route.
        5 if via != Via::All => resource(writer),
        6 if via != Via::All => completion(writer),
        7 => {
            let (method, member) = writer.random.pick(LISTS);
            let shared = via == Via::All && member.starts_with("resource");
            if shared { tool(writer) } else { plain(method, Same::Items(member)) }
        }
        8 if era == Era::Legacy => plain("ping", Same::Bytes),
        9 if via != Via::All => plain("vendor/unknown", Same::Bytes),
        _ => plain("vendor/unknown", Same::Code),
    }
}

/// The code of the error that a message is; 0 if it is none.
pub fn code(message: &str) -> i64 {
    let value: serde_json::Value = serde_json::from_str(message).unwrap_or_default();
    value["error"]["code"].as_i64().unwrap_or(0)
}

type Members<'a> = std::collections::BTreeMap<String, &'a RawValue>;

fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members: Members<'a> = serde_json::from_str(object).ok()?;
    members.get(name).map(|raw| raw.get())
}

/// The items of a list over all its pages, raw; `prefix` is taken off their names.
fn items(wire: &mut Wire, era: Era, method: &str, list: &str, prefix: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut params = cursor.clone();
        if era == Era::Modern {
            params += if params.is_empty() { "" } else { "," };
            params += META;
        }
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        let said = wire.say(&body, Mirrored { method, ..Mirrored::default() });
        let answer = said.messages.last().unwrap();
        let result = member(answer, "result").unwrap_or_else(|| panic!("{method}: {answer}"));
        let page: Vec<&RawValue> = serde_json::from_str(member(result, list).unwrap()).unwrap();
        let wanted = format!("\"name\":\"{prefix}");
        let page = page.iter().map(|raw| raw.get());
        all.extend(
            page.filter(|raw| raw.contains(&wanted))
                .map(|raw| raw.replacen(&wanted, "\"name\":\"", 1)),
        );
        match member(result, "nextCursor") {
            Some(next) => cursor = format!("\"cursor\":{next}"),
            None => return all,
        }
    }
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// The same request without a gateway and with it; panics where the answers differ.
fn check(asked: &Asked, body: &Body, direct: &mut Wire, wire: &mut Wire, via: Via, prefix: &str) {
    if let Same::Items(list) = asked.same {
        let expected = items(direct, body.era, asked.method, list, "");
        let got = items(wire, body.era, asked.method, list, prefix);
        assert_eq!(got, expected, "{} by {via:?} with {prefix:?}", asked.method);
        let said =
            wire.say(&body.of(None), Mirrored { method: asked.method, ..Mirrored::default() });
        let answer = said.messages.last().unwrap();
        assert!(member(answer, "result").is_some(), "{via:?} {}: {answer}", body.text);
        return;
    }
    let plain = asked.name.as_ref().map(|(_, name)| name.clone());
    let named = plain.as_ref().filter(|_| asked.method != "completion/complete");
    let sent = body.of(plain.as_deref());
    let mirrored = |name| Mirrored { method: asked.method, name, version: None };
    let expected = direct.say(&sent, mirrored(named.map(String::as_str)));
    let shown = plain.as_ref().map(|name| format!("{prefix}{name}"));
    let named = named.and(shown.as_ref());
    let told = body.of(shown.as_deref());
    let got = wire.say(&told, mirrored(named.map(String::as_str)));
    let same = match asked.same {
        Same::Code => {
            let codes = [&expected, &got].map(|said| code(said.messages.last().unwrap()));
            codes[0] == codes[1] && codes[0] != 0
        }
        _ => same_bytes(&tokenless(asked, expected.clone()), &tokenless(asked, got.clone())),
    };
    assert!(same, "{via:?} {told}\nwithout {expected:?}\nwith    {got:?}");
}

/// The fixture's tool for progress says the token it got: an identifier, so another behind `kern`.
fn tokenless(asked: &Asked, mut said: Said) -> Said {
    let tells = asked.name.as_ref().is_some_and(|(_, name)| name == "test_tool_with_progress");
    if let Some((before, rest)) = said.messages.last().and_then(|it| it.split_once("\"text\":\""))
        && let Some((_, after)) = rest.split_once('"').filter(|_| tells)
    {
        let told = format!("{before}\"text\":\"TOKEN\"{after}");
        *said.messages.last_mut().unwrap() = told;
    }
    said
}

fn same_bytes(one: &Said, other: &Said) -> bool {
    let trimmed =
        |said: &Said| said.messages.iter().map(|it| it.trim_end().to_owned()).collect::<Vec<_>>();
    let status = match (one.status, other.status) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    status && trimmed(one) == trimmed(other)
}

/// A request but for its name.
struct Body {
    era: Era,
    text: String,
}

impl Body {
    fn of(&self, name: Option<&str>) -> String {
        let quoted = serde_json::to_string(name.unwrap_or_default()).unwrap();
        self.text.replace("%NAME%", &quoted)
    }

    fn write(writer: &mut Writer<'_>, era: Era, asked: &Asked) -> Body {
        let mut params = asked.params.clone();
        if let Some((member, _)) = &asked.name {
            params.push((format!("\"{member}\""), "%NAME%".into()));
        }
        let mut meta = writer.unknown();
        if asked.name.as_ref().is_some_and(|(_, name)| name.contains("progress")) {
            let token = writer.random.pick(&["7", "\"t\"", "\"\"", "-1"]);
            meta.push(("\"progressToken\"".into(), token.into()));
        }
        if era == Era::Modern {
            let own = "io.modelcontextprotocol";
            meta.push((format!("\"{own}/protocolVersion\""), "\"2026-07-28\"".into()));
            meta.push((format!("\"{own}/clientCapabilities\""), "{}".into()));
            meta.push((format!("\"{own}/clientInfo\""), r#"{"name":"t","version":"1"}"#.into()));
        }
        params.push(("\"_meta\"".into(), writer.object(meta)));
        let id = writer.random.pick(&["1", "-7", "\"\"", "\"é/\"", "9007199254740991"]);
        let params = writer.object(params);
        let root = vec![
            ("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned()),
            ("\"id\"".to_owned(), id.to_owned()),
            ("\"method\"".to_owned(), format!("\"{}\"", asked.method)),
            ("\"params\"".to_owned(), params),
        ];
        Body { era, text: writer.object(root) }
    }
}

/// A wire to the server itself, and three through the gateway with what they prefix names by.
fn wires(world: &World, era: Era, carry: &str) -> (Wire, Vec<(Via, String, Wire)>) {
    let name = format!("f-{}-{carry}", era.word());
    let address = world.kern.address();
    let through = vec![
        (Via::One, String::new(), Wire::http(address, &format!("/mcp/{name}"), era)),
        (Via::All, format!("{name}__"), Wire::http(address, "/mcp", era)),
        (Via::All, format!("{name}__"), Wire::unix(&world.kern, era)),
    ];
    (world.fixture_itself(era, carry), through)
}

/// `count` generated exchanges for every pair and way; how many there were.
pub fn run(world: &World, seed: u64, count: usize) -> usize {
    let mut done = 0;
    for era in [Era::Legacy, Era::Modern] {
        for carry in ["lines", "http"] {
            let (mut direct, mut through) = wires(world, era, carry);
            let mut random = Random(seed ^ 0xf1 ^ ((era as u64) << 32) ^ carry.len() as u64);
            for _ in 0..count {
                for (via, prefix, wire) in &mut through {
                    let taste = Taste { breaks: false, tame: true };
                    let mut writer = Writer { random: &mut random, taste };
                    let asked = ask(&mut writer, era, *via);
                    let body = Body::write(&mut writer, era, &asked);
                    check(&asked, &body, &mut direct, wire, *via, prefix);
                    done += 1;
                }
            }
        }
    }
    done
}

/// Requests written by hand in the shapes of client libraries (`written.jsonl`: era, and the request with
/// `%NAME%` for what it names); how many exchanges they made.
pub fn run_written(world: &World) -> usize {
    let mut done = 0;
    for era in [Era::Legacy, Era::Modern] {
        for carry in ["lines", "http"] {
            let (mut direct, mut through) = wires(world, era, carry);
            for line in include_str!("written.jsonl").lines() {
                let [of, name, text] =
                    ["era", "name", "request"].map(|it| member(line, it).unwrap());
                if of.trim_matches('"') != era.word() {
                    continue;
                }
                let name: Option<String> = serde_json::from_str(name).unwrap();
                let message: serde_json::Value = serde_json::from_str(text).unwrap();
                let method = message["method"].as_str().unwrap().to_owned().leak();
                let member =
                    if name.as_ref().is_some_and(|it| it.contains(':')) { "uri" } else { "name" };
                let whose = name.as_deref() == Some("test_tool_with_logging") && carry == "lines";
                let asked = Asked {
                    method,
                    params: Vec::new(),
                    name: name.map(|name| (member, name)),
                    same: LISTS
                        .iter()
                        .find(|(it, _)| *it == method)
                        .map_or(Same::Bytes, |(_, it)| Same::Items(it)),
                };
                // On a pipe that many share a log message does not say whose call it is about.
                for (via, prefix, wire) in &mut through {
                    let shared = member == "uri" || method.starts_with("resources");
                    if whose || (*via == Via::All && shared) {
                        continue;
                    }
                    let body = Body { era, text: text.replace("\"%NAME%\"", "%NAME%") };
                    check(&asked, &body, &mut direct, wire, *via, prefix);
                    done += 1;
                }
            }
        }
    }
    done
}
