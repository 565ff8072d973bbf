//! The recorded conversations as files.
//!
//! `texts.txt` holds every message once, in order, with `@ID@` and `@TOKEN@` where it names its
//! parties. A line of it is `BEFORE AFTER REST`: so many bytes as the message before it begins with,
//! the rest, so many bytes as the one before ends with. `headers.jsonl` holds every set of headers.
//! `conversations.jsonl` begins each conversation with a line that says between whom it was; then a
//! line for each thing the client did, which names texts and headers by their numbers from 0. What
//! is left out is as it was last in that conversation (`headers`, `status`, `answered`), or as in the
//! request (`id` and `token` of what the server says).
//! Invariant: nothing in it is of the machine it was recorded on.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::event::{Headers, Side};
use super::exchange::{Deed, Said};
use super::spans::Message;

/// All that is written.
pub(super) struct Corpus {
    /// What is of this machine, and what stands for it.
    names: Vec<(String, String)>,
    texts: Table,
    headers: Table,
    lines: Vec<Value>,
    /// Whether each request has a stream of its own.
    streams: bool,
    /// The numbers that were written last in this conversation.
    last: HashMap<&'static str, usize>,
    pub(super) exchanges: usize,
}

#[derive(Default)]
struct Table {
    lines: Vec<String>,
    known: HashMap<String, usize>,
}

impl Table {
    fn number(&mut self, line: String) -> usize {
        let next = self.lines.len();
        let number = *self.known.entry(line.clone()).or_insert(next);
        if number == next {
            self.lines.push(line);
        }
        number
    }

    /// Sorts the lines; the new number of each.
    fn sort(&mut self) -> Vec<usize> {
        let old = self.lines.clone();
        self.lines.sort();
        let place = |line: &String| self.lines.binary_search(line).unwrap_or_default();
        old.iter().map(place).collect()
    }
}

impl Corpus {
    pub(super) fn new(names: Vec<(String, String)>) -> Self {
        let (texts, headers) = (Table::default(), Table::default());
        Self {
            names,
            texts,
            headers,
            lines: Vec::new(),
            streams: false,
            last: HashMap::new(),
            exchanges: 0,
        }
    }

    /// Adds a conversation; `about` says between whom it was.
    pub(super) fn add(&mut self, about: &Value, deeds: &[Deed]) {
        // Over HTTP+SSE everything comes on one stream.
        self.streams = about["carry"] == "http";
        self.last.clear();
        self.lines.push(about.clone());
        for deed in deeds {
            let line = match deed {
                Deed::Exchange(asked, then) => {
                    self.exchanges += 1;
                    let mut line = self.said(asked, None);
                    let then: Vec<Value> =
                        then.iter().map(|said| self.said(said, Some(&asked.message))).collect();
                    line["then"] = json!(then);
                    line
                }
                Deed::Note(said) => self.said(said, None),
                Deed::Bare(method, headers, status) => {
                    json!({ "method": method, "headers": self.set(headers), "status": status })
                }
            };
            self.lines.push(line);
        }
    }

    /// `asked` is the request that it is said about.
    fn said(&mut self, said: &Said, asked: Option<&Message>) -> Value {
        let Message { text, id, token, .. } = &said.message;
        let from = if said.side == Side::Client { "c" } else { "s" };
        let mut line = Map::new();
        let text = self.neutral(text);
        line.insert(from.to_owned(), json!(self.texts.number(text)));
        let asked = asked.filter(|_| said.side == Side::Server);
        let known = asked.map(|it| [&it.id, &it.token]);
        for (at, (name, raw)) in [("id", id), ("token", token)].into_iter().enumerate() {
            if known.is_none_or(|known| known[at] != raw) {
                raw.as_ref().map(|raw| line.insert(name.to_owned(), json!(raw)));
            }
        }
        let mut told = |of: &mut Self, name: &'static str, number: usize| {
            if of.last.insert(name, number) != Some(number) {
                line.insert(name.to_owned(), json!(number));
            }
        };
        if let Some(headers) = &said.headers {
            let number = self.set(headers);
            told(self, "headers", number);
        }
        if let Some((status, headers)) = &said.answer {
            told(self, "status", usize::from(*status));
            let number = self.set(headers);
            told(self, "answered", number);
        }
        if let Some((head, tail)) = &said.frame {
            line.insert("frame".to_owned(), json!([self.neutral(head), tail]));
        }
        if said.own && self.streams {
            line.insert("own".to_owned(), json!(true));
        }
        Value::Object(line)
    }

    fn set(&mut self, headers: &Headers) -> usize {
        let session = |name: &str| name.eq_ignore_ascii_case("mcp-session-id");
        let lines = headers.iter().map(|(name, value)| match session(name) {
            true => [name.clone(), "@SESSION@".to_owned()],
            false => [name.clone(), self.neutral(value)],
        });
        let line = json!(lines.collect::<Vec<_>>()).to_string();
        self.headers.number(line)
    }

    fn neutral(&self, text: &str) -> String {
        let replace = |text: String, (own, neutral): &(String, String)| text.replace(own, neutral);
        self.names.iter().fold(text.to_owned(), replace)
    }

    /// Writes all of it; how many bytes there are.
    pub(super) fn write(&mut self, folder: &Path) -> Result<usize, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let numbers = self.texts.sort();
        self.lines.iter_mut().for_each(|line| renumber(line, &numbers));
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let files = [
            ("texts.txt", shortened(&self.texts.lines)),
            ("headers.jsonl", self.headers.lines.iter().map(|line| format!("{line}\n")).collect()),
            ("conversations.jsonl", lines),
        ];
        for (name, text) in &files {
            super::super::write(&folder.join(name), text)?;
        }
        Ok(files.iter().map(|(_, text)| text.len()).sum())
    }
}

/// Gives texts their new numbers.
fn renumber(line: &mut Value, numbers: &[usize]) {
    for name in ["c", "s"] {
        if let Some(number) = line[name].as_u64().and_then(|at| usize::try_from(at).ok()) {
            line[name] = json!(numbers[number]);
        } else if let Some(line) = line.as_object_mut() {
            line.remove(name);
        }
    }
    line.get_mut("then")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(|line| renumber(line, numbers));
}

/// Lines that say what they share with the one before.
fn shortened(lines: &[String]) -> String {
    let (mut out, mut last) = (String::new(), "");
    for line in lines {
        let same = |pair: &(char, char)| pair.0 == pair.1;
        let bytes = |pair: (char, char)| pair.0.len_utf8();
        let before: usize = line.chars().zip(last.chars()).take_while(same).map(bytes).sum();
        let (rest, left) = (&line[before..], &last[before..]);
        let after: usize =
            rest.chars().rev().zip(left.chars().rev()).take_while(same).map(bytes).sum();
        out.push_str(&format!("{before} {after} {}\n", &rest[..rest.len() - after]));
        last = line;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_only_what_the_one_before_did_not() {
        let lines = ["{\"a\":1}", "{\"a\":21}", "{\"ä\":21}", "{}"].map(str::to_owned);
        assert_eq!(shortened(&lines), "0 0 {\"a\":1}\n5 2 2\n2 5 ä\n1 1 \n");
    }
}
