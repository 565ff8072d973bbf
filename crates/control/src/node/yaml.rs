//! How does YAML become a tree?
//!
//! The first document counts. Anchors are not followed (an alias reads as nothing), so a short text
//! cannot unfold into a long one; merge keys have no meaning.

use std::cell::Cell;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Key, Node, SyntaxError, Value};
use crate::limits::DEPTH_MAX;

/// A list or table that is still open.
struct Open {
    start: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Table { entries: Vec<(Key, Node)>, key: Option<Key> },
}

/// Reads YAML 1.2 with the core schema's plain scalars.
///
/// # Errors
/// The first syntax error.
pub(crate) fn parse_yaml(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let places = Places::of(text);
    let refuse = |span, message: &str| vec![SyntaxError { span, message: message.to_owned() }];
    let mut stack: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = places.at(*error.marker());
            refuse(at..at, error.info())
        })?;
        let span = places.range(span);
        let node = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if stack.len() >= DEPTH_MAX => {
                return Err(refuse(span, "nested too deep"));
            }
            Event::SequenceStart(..) => {
                stack.push(Open { start: span.start, kind: Kind::List(Vec::new()) });
                continue;
            }
            Event::MappingStart(..) => {
                let kind = Kind::Table { entries: Vec::new(), key: None };
                stack.push(Open { start: span.start, kind });
                continue;
            }
            Event::Scalar(scalar, style, _, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if plain { plain_scalar(&scalar) } else { None };
                Node { value: value.unwrap_or_else(|| Value::Text(scalar.into_owned())), span }
            }
            Event::Alias(_) => Node { span, value: Value::Null },
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = stack.pop() else { continue };
                open.close(span.end)
            }
            Event::DocumentEnd | Event::StreamEnd => break,
            _ => continue,
        };
        match stack.last_mut() {
            Some(open) => open.take(text, node),
            None => return Ok(node),
        }
    }
    Ok(Node { span: 0..0, value: Value::Table(Vec::new()) })
}

impl Open {
    fn take(&mut self, text: &str, node: Node) {
        match &mut self.kind {
            Kind::List(elements) => elements.push(node),
            Kind::Table { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    // A key that is no text is named as it is spelled.
                    let name = match node.value {
                        Value::Text(name) => name,
                        _ => text[node.span.clone()].to_owned(),
                    };
                    *key = Some(Key { span: node.span, name });
                }
            },
        }
    }

    fn close(self, end: usize) -> Node {
        let value = match self.kind {
            Kind::List(elements) => Value::List(elements),
            Kind::Table { entries, .. } => Value::Table(entries),
        };
        Node { span: self.start..end.max(self.start), value }
    }
}

fn plain_scalar(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if text.parse::<i64>().is_ok() => Value::Int(text.parse().ok()?),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && text.parse::<f64>().is_ok() =>
        {
            Value::Other("a fraction")
        }
        _ => return None,
    })
}

/// Where each line begins: the parser counts characters, spans count bytes.
struct Places<'t> {
    text: &'t str,
    lines: Vec<usize>,
    /// Line, column and byte of the last place asked for: the next one is mostly near behind it.
    last: Cell<(usize, usize, usize)>,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Self {
        let mut lines = vec![0];
        let mut bytes = text.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            let pair = byte == b'\r' && matches!(bytes.peek(), Some((_, b'\n')));
            if byte == b'\n' || byte == b'\r' && !pair {
                lines.push(at + 1);
            }
        }
        Self { text, lines, last: Cell::new((0, 0, 0)) }
    }

    fn at(&self, marker: saphyr_parser::Marker) -> usize {
        let (line, column) = (marker.line().saturating_sub(1), marker.col());
        let Some(start) = self.lines.get(line).copied() else { return self.text.len() };
        let (last_line, last_column, last_byte) = self.last.get();
        let onward = last_line == line && last_column <= column;
        let (from, skip) = if onward { (last_byte, column - last_column) } else { (start, column) };
        let rest = &self.text[from.max(start)..];
        let Some((at, _)) = rest.char_indices().nth(skip) else { return self.text.len() };
        let at = from.max(start) + at;
        self.last.set((line, column, at));
        at
    }

    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let start = self.at(span.start);
        start..self.at(span.end).max(start)
    }
}
