//! The recorded conversations (`recorded/`, written by `cargo xtask record`).
//!
//! Invariant: texts stay bytes; only their `@ID@` and `@TOKEN@` are ever replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::value::RawValue;

/// Header lines.
pub type Headers = Vec<(String, String)>;

/// A message and how it was carried.
#[derive(Clone, Debug)]
pub struct Said {
    pub by_server: bool,
    /// With `@ID@` and `@TOKEN@` where it names its parties.
    pub text: String,
    /// Both as they were spelled.
    pub id: Option<String>,
    pub token: Option<String>,
    pub headers: Headers,
    pub status: Option<u64>,
    /// Whether it came on a stream of the server's own, in no order with what comes on others.
    pub own: bool,
}

/// What a client did.
#[derive(Clone, Debug)]
pub enum Deed {
    /// The line it stands in, the request, and all that was said up to the answer.
    Exchange(usize, Said, Vec<Said>),
    Note(Said),
    /// A request without a message: its method, headers, and the status of the answer.
    Bare(String, Headers, u64),
}

/// All that one client and one server said.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub client: String,
    pub server: String,
    pub carry: String,
    pub modern: bool,
    /// Whether the client answered what the server asked.
    pub asked: bool,
    pub deeds: Vec<Deed>,
}

/// Where they are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/recorded")
}

/// All conversations.
pub fn conversations() -> Vec<Conversation> {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let texts = texts(&read("texts.txt"));
    let headers: Vec<Headers> =
        read("headers.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut all: Vec<Conversation> = Vec::new();
    let mut last = BTreeMap::new();
    for (number, line) in read("conversations.jsonl").lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let set = |at: &Value| at.as_u64().map_or_else(Vec::new, |at| headers[at as usize].clone());
        if line.get("client").is_some() {
            last.clear();
            all.push(Conversation {
                client: text("client"),
                server: text("server"),
                carry: text("carry"),
                modern: line["era"] != "legacy",
                asked: line["asked"] == true,
                deeds: Vec::new(),
            });
            continue;
        }
        let said = |of: &Value, asked: &Value, last: &mut BTreeMap<&str, Value>| {
            let by_server = of.get("s").is_some();
            let at = of[if by_server { "s" } else { "c" }].as_u64().unwrap();
            let text = texts[usize::try_from(at).unwrap()].clone();
            let raw = |name: &str, mark: &str| {
                let known = of.get(name).or_else(|| asked.get(name).filter(|_| by_server));
                known.filter(|_| text.contains(mark)).and_then(Value::as_str).map(str::to_owned)
            };
            let (id, token) = (raw("id", "@ID@"), raw("token", "@TOKEN@"));
            for name in ["headers", "status"] {
                of.get(name).map(|value| last.insert(name, value.clone()));
            }
            let now = |name: &str| last.get(name).filter(|_| !by_server).cloned();
            let headers = now("headers").map_or_else(Vec::new, |value| set(&value));
            let status = now("status").and_then(|value| value.as_u64());
            let own = of["own"] == true;
            Said { by_server, text, id, token, headers, status, own }
        };
        let deed = match (line.get("method"), line["then"].as_array()) {
            (Some(_), _) => {
                Deed::Bare(text("method"), set(&line["headers"]), line["status"].as_u64().unwrap())
            }
            (None, Some(then)) => {
                let asked = said(&line, &Value::Null, &mut last);
                let then = then.iter().map(|one| said(one, &line, &mut last));
                Deed::Exchange(number, asked, then.collect())
            }
            (None, None) => Deed::Note(said(&line, &Value::Null, &mut last)),
        };
        all.last_mut().unwrap().deeds.push(deed);
    }
    all
}

/// Messages, each of which says what it shares with the one before.
fn texts(lines: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in lines.split_terminator('\n') {
        let mut parts = line.splitn(3, ' ');
        let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
        let (before, after) = (number(), number());
        let last = all.last().map_or("", String::as_str);
        let (begin, end) = (&last[..before], &last[last.len() - after..]);
        all.push(format!("{begin}{}{end}", parts.next().unwrap()));
    }
    all
}

impl Said {
    /// The message with this id, and the token as it was.
    pub fn with_id(&self, id: &str) -> String {
        let token = self.token.as_deref().unwrap_or_default();
        self.text.replace("@ID@", id).replace("@TOKEN@", token)
    }

    /// The message as it was.
    pub fn whole(&self) -> String {
        self.with_id(self.id.as_deref().unwrap_or_default())
    }

    /// Empty for an answer.
    pub fn method(&self) -> String {
        let whole = self.whole();
        member(&whole, "method").map_or_else(String::new, |raw| serde_json::from_str(raw).unwrap())
    }
}

/// A member of an object, raw.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).map(|raw| raw.get())
}
