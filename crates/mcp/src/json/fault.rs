//! Why are these bytes not JSON?

use std::fmt;

/// What the grammar did not allow, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonFault {
    /// What was wrong.
    pub kind: JsonFaultKind,
    /// Offset of the offending byte from the start of the message.
    pub offset: u32,
}

/// The ways in which bytes fail to be JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonFaultKind {
    /// The message ends inside a value.
    Truncated,
    /// A byte that cannot stand here.
    UnexpectedByte,
    /// A number that is not spelled as RFC 8259 section 6 says.
    Number,
    /// A backslash followed by what is not an escape.
    Escape,
    /// A raw control character inside a string.
    ControlCharacter,
    /// A string that is not UTF-8.
    NotUtf8,
    /// Containers nested deeper than the limit.
    TooDeep,
    /// Bytes after the end of the value.
    Trailing,
}

impl JsonFaultKind {
    /// One short sentence for the peer.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Truncated => "the message ends inside a value",
            Self::UnexpectedByte => "a byte that cannot stand here",
            Self::Number => "a malformed number",
            Self::Escape => "a malformed escape",
            Self::ControlCharacter => "a control character inside a string",
            Self::NotUtf8 => "a string is not UTF-8",
            Self::TooDeep => "nested too deeply",
            Self::Trailing => "bytes after the message",
        }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.message(), self.offset)
    }
}

impl std::error::Error for JsonFault {}
