//! Which `Mcp-Param-*` headers belong to these arguments?
//!
//! Upstream we are the client and must send them; downstream, where we hold the schema, we must refuse
//! a call whose headers say other than its arguments.

use std::fmt;

use super::schema::{AnnotationFault, annotated};
use super::value::{decode_value, encode_value_into};
use super::{HeaderFault, compare};
use crate::json::{Span, get, integer_i64, same_number, unescape};

/// Largest magnitude of an integer in a header: what a double holds exactly.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// The type of a mirrored parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ParamKind {
    Text,
    Integer,
    Boolean,
}

impl ParamKind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "string" => Some(Self::Text),
            "integer" => Some(Self::Integer),
            "boolean" => Some(Self::Boolean),
            _ => None,
        }
    }
}

/// One annotated parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamHeader {
    /// The header's whole name: `Mcp-Param-Region`.
    pub name: String,
    /// The property names that lead from the arguments to the value.
    pub path: Vec<String>,
    pub(super) kind: ParamKind,
}

/// The annotated parameters of one tool.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParamHeaders {
    headers: Vec<ParamHeader>,
}

/// An argument that its header cannot carry. The caller of the tool is at fault (-32602): the value is
/// not of the type the schema declares, or is no safe integer, or has no text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamFault {
    /// The header.
    pub header: String,
}

impl fmt::Display for ParamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the argument behind {} does not fit its type", self.header)
    }
}

impl std::error::Error for ParamFault {}

impl ParamHeaders {
    /// Reads the annotations of the `inputSchema` at `schema`.
    ///
    /// # Errors
    /// One invalid annotation makes the tool invalid: leave it out of the catalog and say why.
    pub fn from_schema(message: &[u8], schema: Span) -> Result<Self, AnnotationFault> {
        Ok(Self { headers: annotated(message, schema)? })
    }

    /// Whether the tool mirrors nothing, as nearly all do.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// The annotated parameters, in the schema's order.
    pub fn iter(&self) -> impl Iterator<Item = &ParamHeader> {
        self.headers.iter()
    }

    /// Calls `each` with the name and the encoded value of every header these arguments need. A
    /// parameter that is absent or `null` has none.
    pub fn for_arguments(
        &self,
        message: &[u8],
        arguments: Option<Span>,
        mut each: impl FnMut(&str, &[u8]),
    ) -> Result<(), ParamFault> {
        let mut value = Vec::new();
        for header in &self.headers {
            let Some(raw) = header.value(message, arguments) else { continue };
            let fault = || ParamFault { header: header.name.clone() };
            value.clear();
            header.encode(raw, &mut value).ok_or_else(fault)?;
            each(&header.name, &value);
        }
        Ok(())
    }

    /// Compares the headers of a request, found by `lookup` (names in any case), with its arguments.
    pub fn check<'h>(
        &self,
        message: &[u8],
        arguments: Option<Span>,
        lookup: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), HeaderFault> {
        for header in &self.headers {
            let name = header.name.as_str();
            match (header.value(message, arguments), lookup(name)) {
                (None, None) => {}
                (None, Some(_)) => return Err(HeaderFault::Differs(name.into())),
                (Some(raw), value) => header.compare(raw, value)?,
            }
        }
        Ok(())
    }
}

impl ParamHeader {
    /// The raw value at the exact path; `None` where it is absent or `null`.
    fn value<'m>(&self, message: &'m [u8], arguments: Option<Span>) -> Option<&'m [u8]> {
        let value = self.path.iter().try_fold(arguments?, |at, name| get(message, at, name))?;
        Some(value.of(message)).filter(|raw| *raw != b"null")
    }

    fn encode(&self, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            ParamKind::Text => encode_value_into(out, &unescape(raw)?),
            ParamKind::Integer => {
                let integer = integer_i64(raw)?;
                if !(-INTEGER_MAX..=INTEGER_MAX).contains(&integer) {
                    return None;
                }
                crate::encode::number(out, integer);
            }
            ParamKind::Boolean if matches!(raw, b"true" | b"false") => out.extend_from_slice(raw),
            ParamKind::Boolean => return None,
        }
        Some(())
    }

    fn compare(&self, raw: &[u8], value: Option<&[u8]>) -> Result<(), HeaderFault> {
        if raw.starts_with(b"\"") {
            let Some(text) = unescape(raw) else {
                return Err(HeaderFault::Differs(self.name.clone()));
            };
            return compare(&self.name, value, Some(&text), true, true);
        }
        let value = value.ok_or_else(|| HeaderFault::Missing(self.name.clone()))?;
        let said = decode_value(value).ok_or_else(|| HeaderFault::Malformed(self.name.clone()))?;
        if same_number(said.as_bytes(), raw) {
            return Ok(());
        }
        Err(HeaderFault::Differs(self.name.clone()))
    }
}
