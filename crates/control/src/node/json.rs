//! How does JSON, with the comments and trailing commas that clients allow, become a tree?

use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Key, Node, SyntaxError, Value, fitted};
use crate::limits::DEPTH_MAX;

/// Comments and trailing commas, no further liberties: what a client refuses is refused here.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads JSON. An empty text is an empty table, as clients leave such files behind.
///
/// # Errors
/// The first syntax error.
pub(crate) fn parse_json(text: &str) -> Result<Node, Vec<SyntaxError>> {
    if nesting_exceeds(text, DEPTH_MAX) {
        let message = format!("nested deeper than {DEPTH_MAX}");
        return Err(vec![SyntaxError { span: 0..0, message }]);
    }
    let tree = parse_to_ast(text, &CollectOptions::default(), &OPTIONS).map_err(|error| {
        let range = error.range();
        let span = fitted(text, range.start..range.end);
        vec![SyntaxError { span, message: error.kind().to_string() }]
    })?;
    let empty = Node { span: 0..0, value: Value::Table(Vec::new()) };
    Ok(tree.value.map_or(empty, |value| from_value(text, value)))
}

/// Whether more than `depth_max` brackets are open at once, strings aside. Comments count too:
/// this is a bound for the recursion below, not a reading.
fn nesting_exceeds(text: &str, depth_max: usize) -> bool {
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' | b'\n' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

fn from_value(text: &str, value: ast::Value<'_>) -> Node {
    let range = value.range();
    let span = fitted(text, range.start..range.end);
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => {
            literal.value.parse().map_or(Value::Other("a fraction"), Value::Int)
        }
        ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
        ast::Value::Array(array) => Value::List(
            array.elements.into_iter().map(|element| from_value(text, element)).collect(),
        ),
        ast::Value::Object(object) => Value::Table(
            object
                .properties
                .into_iter()
                .map(|property| {
                    let range = match &property.name {
                        ObjectPropName::String(name) => name.range,
                        ObjectPropName::Word(name) => name.range,
                    };
                    let span = fitted(text, range.start..range.end);
                    let key = Key { span, name: property.name.into_string() };
                    (key, from_value(text, property.value))
                })
                .collect(),
        ),
    };
    Node { span, value }
}
