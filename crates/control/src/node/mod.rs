//! What does a file say, whatever its format, and where exactly does it say so?
//!
//! TOML, JSON with comments and YAML become one tree; every value and key knows its bytes in the
//! text. Invariants: a tree is at most [`DEPTH_MAX`](crate::limits::DEPTH_MAX) deep; every span
//! lies within the text, on character borders; parsers return on any text.

mod json;
mod toml;
mod yaml;

use std::ops::Range;

pub(crate) use json::parse_json;
pub(crate) use toml::parse_toml;
pub(crate) use yaml::parse_yaml;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) span: Range<usize>,
    pub(crate) name: String,
}

/// What the three formats have in common.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// Something no setting is made of, by its name: a fraction, a date.
    Other(&'static str),
}

/// Why text is no tree.
#[derive(Clone, Debug)]
pub(crate) struct SyntaxError {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

impl Value {
    /// What a person calls this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl Node {
    /// The value of `key`, if this is a table with that key; the last of several.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.table()?.iter().rev().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    /// The first of `keys` that is there and not null.
    pub(crate) fn get_any(&self, keys: &[&str]) -> Option<&Self> {
        let present = |key: &&str| self.get(key).filter(|node| !matches!(node.value, Value::Null));
        keys.iter().find_map(present)
    }

    /// The entries, if this is a table.
    pub(crate) fn table(&self) -> Option<&[(Key, Self)]> {
        if let Value::Table(entries) = &self.value { Some(entries) } else { None }
    }

    /// The elements, if this is a list.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Value::List(elements) = &self.value { Some(elements) } else { None }
    }

    /// The text, if this is text.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The truth, if this is one.
    pub(crate) fn bool(&self) -> Option<bool> {
        if let Value::Bool(truth) = self.value { Some(truth) } else { None }
    }
}

/// `span` cut to the text and to character borders.
fn fitted(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parser = fn(&str) -> Result<Node, Vec<SyntaxError>>;
    const PARSERS: [Parser; 3] = [parse_toml, parse_json, parse_yaml];

    fn assert_spans(text: &str, node: &Node) {
        assert!(text.get(node.span.clone()).is_some(), "{:?} of {text:?}", node.span);
        match &node.value {
            Value::List(elements) => elements.iter().for_each(|node| assert_spans(text, node)),
            Value::Table(entries) => entries.iter().for_each(|(key, node)| {
                assert!(text.get(key.span.clone()).is_some());
                assert_spans(text, node);
            }),
            _ => {}
        }
    }

    fn parse_all(text: &str) {
        for parse in PARSERS {
            match parse(text) {
                Ok(node) => assert_spans(text, &node),
                Err(errors) => {
                    assert!(!errors.is_empty());
                    for error in errors {
                        assert!(text.get(error.span).is_some(), "{}", error.message);
                    }
                }
            }
        }
    }

    #[test]
    fn the_three_formats_say_the_same() {
        fn show(node: &Node) -> String {
            match &node.value {
                Value::List(list) => list.iter().map(show).collect::<Vec<_>>().join(","),
                Value::Table(entries) => entries
                    .iter()
                    .map(|(key, node)| format!("{}={{{}}}", key.name, show(node)))
                    .collect(),
                Value::Text(text) => format!("'{text}'"),
                Value::Int(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null => "null".to_owned(),
                Value::Other(kind) => format!("<{kind}>"),
            }
        }
        let expected = "a={b={'x','y'}c={7}d={true}e={<a fraction>}}";
        let toml = "a.b = ['x', \"y\"]\n[a]\nc = 7\nd = true\ne = 1.5\n";
        // A dotted key may not be reopened: the whole file is refused, and says so.
        assert!(parse_toml(toml).is_err());
        let toml = "[a]\nb = ['x', \"y\"]\nc = 7\nd = true\ne = 1.5\n";
        let json =
            "{ // c\n \"a\": {\"b\": [\"x\", \"y\",], \"c\": 7, \"d\": true, /**/ \"e\": 1.5}}";
        let yaml = "a:\n  b: [x, 'y']\n  c: 7\n  d: true\n  e: 1.5\n";
        for (parse, text) in PARSERS.into_iter().zip([toml, json, yaml]) {
            let node = parse(text).expect("valid");
            assert_spans(text, &node);
            assert_eq!(show(&node), expected);
            let b = node.get("a").and_then(|a| a.get("b")).and_then(Node::list).expect("a list");
            assert_eq!(text[b[0].span.clone()].trim_matches(['\'', '"']), "x");
        }
    }

    #[test]
    fn a_deep_file_is_refused_instead_of_ending_the_process() {
        for (open, close) in
            [("[", "]"), ("{a = ", "}"), ("{\"a\":", "}"), ("- ", ""), ("{a: ", "}")]
        {
            for depth in [60, 1_000, 100_000] {
                let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                parse_all(&body);
                parse_all(&format!("a = {body}"));
            }
        }
        parse_all(&format!("[{}x]", "a.".repeat(100_000)));
        parse_all(&format!("{}x = 1", "a.".repeat(100_000)));
        let indented: String =
            (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        parse_all(&indented);
    }

    #[test]
    fn an_anchor_multiplies_nothing() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            text.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
        }
        assert!(parse_yaml(&text).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_parser(text in "\\PC*") {
            parse_all(&text);
        }

        #[test]
        fn no_text_of_their_own_characters_breaks_a_parser(
            text in "[\\[\\]{}\":,'#/*\\\\a1.=\n\r\t &!|>?@%`~é-]{0,80}"
        ) {
            parse_all(&text);
        }
    }
}
