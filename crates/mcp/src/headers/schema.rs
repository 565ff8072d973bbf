//! Which parameters of a tool does its schema mirror into headers?
//!
//! An `x-mcp-header` annotation counts only on a property reached from the root of the `inputSchema`
//! by `properties` alone. Anywhere else, and on anything but a string, an integer or a boolean, it
//! makes the whole tool invalid, and a client must leave the tool out of its list.

use std::fmt;

use super::params::{ParamHeader, ParamKind};
use crate::json::{Span, elements, get, is_object, members, same_text, unescape};
use crate::limits::PARAM_HEADERS_MAX;

const ANNOTATION: &str = "x-mcp-header";

/// Why a tool's annotations are invalid, and so the tool. The server is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnotationFault {
    /// The annotation is no string.
    NotText,
    /// The annotation is empty.
    Empty,
    /// The annotation is no HTTP token (RFC 9110 section 5.1).
    NotToken,
    /// Two annotations are one header name.
    Duplicate,
    /// The property is neither string, integer nor boolean.
    NotPrimitive,
    /// The annotation does not stand on a property reached by `properties` alone.
    Unreachable,
    /// More than [`PARAM_HEADERS_MAX`] annotations.
    TooMany,
}

impl fmt::Display for AnnotationFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "x-mcp-header is not a string",
            Self::Empty => "x-mcp-header is empty",
            Self::NotToken => "x-mcp-header is not an HTTP token",
            Self::Duplicate => "two x-mcp-header values name one header",
            Self::NotPrimitive => "x-mcp-header stands on what is no string, integer or boolean",
            Self::Unreachable => "x-mcp-header stands where properties alone do not lead",
            Self::TooMany => "too many x-mcp-header annotations",
        })
    }
}

impl std::error::Error for AnnotationFault {}

/// The annotated parameters of the schema at `schema`, in its order.
pub(super) fn annotated(message: &[u8], schema: Span) -> Result<Vec<ParamHeader>, AnnotationFault> {
    let mut walk = Walk { message, path: Vec::new(), found: Vec::new() };
    walk.schema(schema, true)?;
    Ok(walk.found)
}

struct Walk<'a> {
    message: &'a [u8],
    path: Vec<String>,
    found: Vec<ParamHeader>,
}

impl Walk<'_> {
    /// One schema; `reachable` says whether only `properties` led here. The message's depth limit
    /// bounds the recursion.
    fn schema(&mut self, schema: Span, reachable: bool) -> Result<(), AnnotationFault> {
        for (key, value) in members(self.message, schema) {
            let Some(keyword) = unescape(key.of(self.message)) else { continue };
            match &*keyword {
                ANNOTATION if reachable => self.annotation(schema, value)?,
                ANNOTATION => return Err(AnnotationFault::Unreachable),
                "properties" => self.properties(value, reachable)?,
                "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                    for (_, inner) in members(self.message, value) {
                        self.schema(inner, false)?;
                    }
                }
                // Values of the instance, not schemas.
                "default" | "const" | "enum" | "examples" => {}
                _ => self.elsewhere(value)?,
            }
        }
        Ok(())
    }

    fn properties(&mut self, properties: Span, reachable: bool) -> Result<(), AnnotationFault> {
        for (key, value) in members(self.message, properties) {
            match unescape(key.of(self.message)) {
                Some(name) => {
                    self.path.push(name.into_owned());
                    self.schema(value, reachable)?;
                    self.path.pop();
                }
                // A name without text cannot be looked up in arguments.
                None => self.schema(value, false)?,
            }
        }
        Ok(())
    }

    /// Under any other keyword: an annotation there is unreachable.
    fn elsewhere(&mut self, value: Span) -> Result<(), AnnotationFault> {
        if is_object(self.message, value) {
            return self.schema(value, false);
        }
        for element in elements(self.message, value) {
            self.elsewhere(element)?;
        }
        Ok(())
    }

    fn annotation(&mut self, schema: Span, value: Span) -> Result<(), AnnotationFault> {
        if self.path.is_empty() {
            return Err(AnnotationFault::Unreachable);
        }
        let token = unescape(value.of(self.message)).ok_or(AnnotationFault::NotText)?;
        if token.is_empty() {
            return Err(AnnotationFault::Empty);
        }
        if !token.bytes().all(is_token_byte) {
            return Err(AnnotationFault::NotToken);
        }
        let kind = self.kind(schema).ok_or(AnnotationFault::NotPrimitive)?;
        let name = format!("Mcp-Param-{token}");
        if self.found.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            return Err(AnnotationFault::Duplicate);
        }
        if self.found.len() == PARAM_HEADERS_MAX {
            return Err(AnnotationFault::TooMany);
        }
        self.found.push(ParamHeader { name, path: self.path.clone(), kind });
        Ok(())
    }

    /// The one primitive type a schema allows, be it nullable (`["string", "null"]`) or not.
    fn kind(&self, schema: Span) -> Option<ParamKind> {
        let declared = get(self.message, schema, "type")?;
        let mut types: Vec<Span> = elements(self.message, declared).collect();
        types.retain(|name| !same_text(name.of(self.message), "null"));
        let name = match types.as_slice() {
            [] => declared,
            [one] => *one,
            _ => return None,
        };
        ParamKind::parse(&unescape(name.of(self.message))?)
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
