//! Exchanges with a server that says what it got and answers what it is told to: nothing but the
//! named spans differs, in both directions.

use super::json::{Random, Taste, Writer};
use super::wire::{Mirrored, Said, Wire};
use super::{Era, World};

/// Where kern sits between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Direct,
    /// An endpoint of one upstream.
    One,
    /// The endpoint of all, over HTTP or lines.
    All,
}

/// One exchange, with `%ID%`, `%TOKEN%` and `%NAME%` where a message names its parties.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: &'static str,
    pub request: String,
    /// The client's id, raw JSON.
    pub id: String,
    /// The client's progress token, raw JSON.
    pub token: Option<String>,
    /// The name the server knows, and whether a gateway of several shows another.
    pub name: Option<(String, bool)>,
    /// How the client spells it, raw JSON; its text is `name`.
    pub spelled: String,
    /// `@ID@`, `@TOKEN@` and `@GOT@` stand in it.
    pub answer: String,
    pub first: Option<String>,
}

impl Exchange {
    fn written(&self, id: &str, token: &str, name: &str) -> String {
        self.request.replace("%ID%", id).replace("%TOKEN%", token).replace("%NAME%", name)
    }

    fn renamed(&self, upstream: &str) -> Option<String> {
        self.name.as_ref().filter(|(_, prefixed)| *prefixed).map(|(name, _)| {
            let prefixed = format!("{upstream}__{name}");
            // Another spelling of the same name, as that of the server.
            self.spelled.replace(name, &prefixed).replacen(r"\u006fdd", &prefixed, 1)
        })
    }
}

/// Spellings of ids and of progress tokens.
const IDS: &[&str] = &[
    "1",
    "0",
    "-0",
    "-7",
    r#""""#,
    r#""\u0061-ü""#,
    r#""x\/y""#,
    "18446744073709551616",
    r#""😀\ud83d\ude00""#,
];
const TOKENS: &[&str] =
    &["7", "-0", "1.50", r#""\u0041""#, r#""t é\/""#, "9007199254740993", r#""""#];
/// `vendor/do` is no method of the protocol: an endpoint of one upstream passes it.
const METHODS: &[&str] = &[
    "tools/call",
    "tools/call",
    "prompts/get",
    "resources/read",
    "completion/complete",
    "vendor/do",
];

/// What a request names, and how.
struct Named {
    name: Option<(String, bool)>,
    spelled: String,
}

/// A request and the answer it asks for.
pub fn generate(random: &mut Random, era: Era, tag: &str, via: Via, breaks: [bool; 2]) -> Exchange {
    let [in_request, in_answer] = breaks;
    let mut writer = Writer { random, taste: Taste { breaks: in_answer, tame: false } };
    let token = writer.random.one_in(3).then(|| writer.random.pick(TOKENS).to_owned());
    let first = (token.is_some() && writer.random.one_in(2)).then(|| progress(&mut writer));
    let answer = answer(&mut writer, era);
    writer.taste.breaks = in_request;
    let known = METHODS.len() - usize::from(via == Via::All);
    let method = METHODS[writer.random.below(known)];
    let mut params = writer.unknown();
    params.push((r#""answer""#.into(), serde_json::to_string(&answer).unwrap()));
    if let Some(first) = &first {
        params.push((r#""first""#.into(), serde_json::to_string(first).unwrap()));
    }
    let Named { name, spelled } = named(&mut writer, method, tag, &mut params);
    meta(&mut writer, era, token.is_some(), &mut params);
    let id = writer.random.pick(IDS).to_owned();
    let mut root = writer.unknown();
    root.push((r#""jsonrpc""#.into(), writer.random.pick(&[r#""2.0""#, r#""2\u002e0""#]).into()));
    let slash = writer.random.pick(&["/", "/", r"\/", r"\u002f"]);
    root.push((r#""method""#.into(), format!("\"{method}\"").replace('/', slash)));
    root.push((writer.random.pick(&[r#""id""#, r#""\u0069d""#]).into(), "%ID%".into()));
    root.push((r#""params""#.into(), writer.object(params)));
    let request = writer.object(root);
    Exchange { method, request, id, token, name, spelled, answer, first }
}

/// Adds what a method takes.
fn named(
    writer: &mut Writer<'_>,
    method: &str,
    tag: &str,
    params: &mut Vec<(String, String)>,
) -> Named {
    let mut add = |key: &str, value: String| params.push((format!("\"{key}\""), value));
    let spelled = writer.random.pick(&[r#""odd""#, r#""\u006fdd""#]).to_owned();
    let odd = Named { name: Some(("odd".to_owned(), true)), spelled };
    match method {
        "tools/call" => {
            add("name", "%NAME%".to_owned());
            if !writer.random.one_in(6) {
                add("arguments", writer.any_object());
            }
        }
        "prompts/get" => {
            add("name", "%NAME%".to_owned());
            if writer.random.one_in(2) {
                add("arguments", format!("{{\"x\":{}}}", writer.string()));
            }
        }
        "resources/read" => {
            let uri = format!("{tag}://{}", writer.random.pick(&["1", "a%20b", "x-y_z", "0"]));
            let slash = writer.random.pick(&["/", r"\/"]);
            add("uri", "%NAME%".to_owned());
            let spelled = format!("\"{uri}\"").replace('/', slash);
            return Named { name: Some((uri, false)), spelled };
        }
        "completion/complete" => {
            let mut reference = writer.unknown();
            reference.push((r#""type""#.into(), r#""ref\/prompt""#.into()));
            reference.push((r#""name""#.into(), "%NAME%".into()));
            add("ref", writer.object(reference));
            add("argument", format!("{{\"value\":{},\"name\":\"x\"}}", writer.string()));
        }
        _ => return Named { name: None, ..odd },
    }
    odd
}

/// Adds `_meta`, where there is anything to say in it.
fn meta(writer: &mut Writer<'_>, era: Era, token: bool, params: &mut Vec<(String, String)>) {
    let mut meta = writer.unknown();
    if token {
        meta.push((r#""progressToken""#.into(), "%TOKEN%".into()));
    }
    if era == Era::Modern {
        let version = r#""io.modelcontextprotocol/protocolVersion""#;
        meta.push((version.into(), r#""2026-07-28""#.into()));
        let capabilities =
            writer.random.pick(&["{}", "{ }", r#"{"experimental":{"x\/y":{"z":1.0e+2}}}"#]);
        meta.push((r#""io.modelcontextprotocol/clientCapabilities""#.into(), capabilities.into()));
        if writer.random.one_in(3) {
            let info = r#"{"name":"t","version":"1","x":[-0]}"#;
            meta.push((r#""io.modelcontextprotocol\/clientInfo""#.into(), info.into()));
        }
    }
    if !meta.is_empty() {
        params.push((r#""_meta""#.into(), writer.object(meta)));
    }
}

fn progress(writer: &mut Writer<'_>) -> String {
    let mut params = writer.unknown();
    params.push((r#""progressToken""#.into(), "@TOKEN@".into()));
    params.push((r#""progress""#.into(), "1.0e+2".into()));
    params.push((r#""message""#.into(), writer.string()));
    let mut root = writer.unknown();
    root.push((r#""jsonrpc""#.into(), r#""2.0""#.into()));
    root.push((r#""method""#.into(), r#""notifications/progress""#.into()));
    root.push((r#""params""#.into(), writer.object(params)));
    writer.object(root)
}

fn answer(writer: &mut Writer<'_>, era: Era) -> String {
    let mut root = writer.unknown();
    root.push((r#""jsonrpc""#.into(), r#""2.0""#.into()));
    root.push((r#""id""#.into(), "@ID@".into()));
    let mut inner = writer.unknown();
    inner.push((r#""got""#.into(), r#""@GOT@""#.into()));
    if writer.random.one_in(5) {
        inner.push((
            r#""code""#.into(),
            writer.random.pick(&["-32000", "-1", "0", "12345", "-32602", "-32042"]).into(),
        ));
        inner.push((r#""message""#.into(), writer.string()));
        inner.push((r#""data""#.into(), writer.value(3)));
        root.push((r#""error""#.into(), writer.object(inner)));
        return writer.object(root);
    }
    if era == Era::Modern {
        inner.push((r#""resultType""#.into(), r#""complete""#.into()));
    }
    for key in ["content", "structuredContent", "contents", "messages", "_meta", "isError"] {
        if writer.random.one_in(3) {
            let value = match key {
                "_meta" => {
                    let mut meta = writer.unknown();
                    meta.push((r#""progressToken""#.into(), writer.value(2)));
                    writer.object(meta)
                }
                "isError" => "false".to_owned(),
                "structuredContent" => writer.value(4),
                _ => format!("[{},{}]", writer.any_object(), writer.any_object()),
            };
            inner.push((format!("\"{key}\""), value));
        }
    }
    root.push((r#""result""#.into(), writer.object(inner)));
    writer.object(root)
}

/// `text` with its line breaks as spaces, as where a message is one line.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// The bytes between the two halves of `pattern` (parted by `@GOT@`) in `text`.
fn between<'a>(text: &'a str, pattern: &str) -> Option<&'a str> {
    let (before, after) = pattern.split_once("@GOT@")?;
    text.strip_prefix(before)?.strip_suffix(after)
}

fn unhex(digits: &str) -> String {
    let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    String::from_utf8((0..digits.len()).step_by(2).map(pair).collect()).unwrap()
}

/// Whether `text` is `pattern` with one and the same number at every `%N%`.
fn is_with_number(text: &str, pattern: &str) -> bool {
    let before = pattern.split("%N%").next().unwrap_or_default();
    let Some(rest) = text.strip_prefix(before) else { return false };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    end > 0 && text == pattern.replace("%N%", &rest[..end])
}

/// Sends one exchange over `wire` and compares both directions.
pub fn check(exchange: &Exchange, wire: &mut Wire, via: Via, upstream: &str, lines: bool) {
    let own = match via {
        Via::All => exchange.renamed(upstream),
        _ => None,
    };
    let shown = own.clone().unwrap_or_else(|| exchange.spelled.clone());
    let token = exchange.token.as_deref().unwrap_or_default();
    let sent = exchange.written(&exchange.id, token, &shown);
    let plain: Option<String> = exchange.name.as_ref().map(|(name, _)| match &own {
        Some(_) => format!("{upstream}__{name}"),
        None => name.clone(),
    });
    let named = plain.as_deref().filter(|_| exchange.method != "completion/complete");
    let said = wire.say(&sent, Mirrored { method: exchange.method, name: named, version: None });
    let arrived = match via {
        Via::Direct => sent.clone(),
        // The server's own name is written anew where it was another; else its bytes stay.
        _ => {
            let name = match (&own, &exchange.name) {
                (Some(_), Some((name, _))) => format!("\"{name}\""),
                _ => exchange.spelled.clone(),
            };
            exchange.written("%N%", "%N%", &name)
        }
    };
    let arrived = if lines { one_line(&arrived) } else { arrived };
    if let Err(why) = compare(exchange, &said, &arrived, via) {
        panic!(
            "{via:?} to {upstream}: {why}\nsent     {sent}\nexpected {arrived}\nanswered {said:?}"
        );
    }
}

fn compare(exchange: &Exchange, said: &Said, arrived: &str, via: Via) -> Result<(), String> {
    let token = exchange.token.as_deref().unwrap_or_default();
    let filled = |text: &str| text.replace("@ID@", &exchange.id).replace("@TOKEN@", token);
    let mut wanted: Vec<String> = exchange.first.iter().map(|text| filled(text)).collect();
    wanted.push(filled(&exchange.answer));
    if said.status.is_some_and(|status| status != 200) || said.messages.len() != wanted.len() {
        return Err(format!("not as many messages: {wanted:?}"));
    }
    // A stream and a line carry a message in one line; a body of its own may have several.
    let whole = said.status.is_some() && said.messages.len() == 1;
    for (message, wanted) in said.messages.iter().zip(&wanted).take(wanted.len() - 1) {
        if one_line(message) != one_line(wanted) {
            return Err(format!("not {wanted}"));
        }
    }
    let mut last = said.messages.last().unwrap().clone();
    let mut answer = wanted.pop().unwrap();
    if !whole {
        (last, answer) = (one_line(&last), one_line(&answer));
    }
    let got = between(&last, &answer);
    let got = unhex(got.ok_or_else(|| format!("the answer is not {answer}"))?);
    let got = got.strip_suffix('\n').unwrap_or(&got);
    let same = match via {
        Via::Direct => got == arrived,
        _ => is_with_number(got, arrived),
    };
    if same { Ok(()) } else { Err(format!("the server got {got}")) }
}

/// `count` exchanges for every pair and way; how many there were.
pub fn run(world: &World, seed: u64, count: usize) -> usize {
    let mut done = 0;
    for era in [Era::Legacy, Era::Modern] {
        for carry in ["lines", "http"] {
            let (name, tag) =
                (format!("m-{}-{carry}", era.word()), format!("m-{}-{carry}", era.word()));
            let mut random = Random(seed ^ (name.len() as u64) ^ ((era as u64) << 32));
            let mut wires = vec![
                (Via::Direct, world.mirror_itself(era, carry)),
                (Via::One, Wire::http(world.kern.address(), &format!("/mcp/{name}"), era)),
                (Via::All, Wire::http(world.kern.address(), "/mcp", era)),
                (Via::All, Wire::unix(&world.kern, era)),
            ];
            for _ in 0..count {
                for (via, wire) in &mut wires {
                    // A message of lines has no breaks; of these, each side speaks its own.
                    let breaks = [wire.is_http(), carry == "http"];
                    let exchange = generate(&mut random, era, &tag, *via, breaks);
                    let lines = carry == "lines";
                    check(&exchange, wire, *via, &name, lines);
                    done += 1;
                }
            }
        }
    }
    done
}
