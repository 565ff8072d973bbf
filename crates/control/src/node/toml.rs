//! How does TOML become a tree?

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Key, Node, SyntaxError, Value, fitted};
use crate::limits::DEPTH_MAX;

/// Reads TOML 1.1.
///
/// # Errors
/// Every syntax error the parser could get past.
pub(crate) fn parse_toml(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors
            .into_iter()
            .map(|error| SyntaxError {
                span: fitted(text, error.span().unwrap_or(0..0)),
                message: error.message().to_owned(),
            })
            .collect());
    }
    let span = fitted(text, table.span());
    let value = from_table(text, table.get_ref(), 0);
    Ok(Node { span, value })
}

fn from_table(text: &str, table: &DeTable<'_>, depth: usize) -> Value {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let name = key.get_ref().clone().into_owned();
            let key = Key { span: fitted(text, key.span()), name };
            (key, from_value(text, value, depth + 1))
        })
        .collect();
    // The parser's map is sorted by name; a reader expects the order of the file.
    entries.sort_by_key(|(key, _)| key.span.start);
    Value::Table(entries)
}

fn from_value(text: &str, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
    let span = fitted(text, value.span());
    let value = match value.get_ref() {
        _ if depth > DEPTH_MAX => Value::Other("something too deep"),
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Int),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(elements) => Value::List(
            elements.iter().map(|element| from_value(text, element, depth + 1)).collect(),
        ),
        DeValue::Table(table) => from_table(text, table, depth),
    };
    Node { span, value }
}
