//! What can be wrong with a list or a cursor, and whose fault it is.

use std::fmt;

use crate::ListKind;

/// A page of a list that cannot be used at all: the upstream's fault. Trying again helps only
/// after the upstream changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// The result is not a JSON object.
    NotAnObject,
    /// The result has no array where the items belong.
    NoItems(ListKind),
    /// `nextCursor` is neither a string nor null.
    BadCursor,
    /// `nextCursor` is longer than [`UPSTREAM_CURSOR_BYTES_MAX`](crate::limits::UPSTREAM_CURSOR_BYTES_MAX).
    LongCursor(usize),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("the upstream's list result is not an object"),
            Self::NoItems(kind) => {
                write!(f, "the upstream's result has no array \"{}\"", kind.member())
            }
            Self::BadCursor => f.write_str("the upstream's nextCursor is not a string"),
            Self::LongCursor(bytes) => write!(f, "the upstream's nextCursor has {bytes} bytes"),
        }
    }
}

impl std::error::Error for ListError {}

/// A cursor that this endpoint never gave out for this list: the client's fault (-32602).
/// The client may start again without a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCursor;

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cursor does not belong to this list; ask again without a cursor")
    }
}

impl std::error::Error for BadCursor {}

/// Something left out of an upstream's list, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The list it was left out of.
    pub kind: ListKind,
    /// The start of its name or URI, or empty where it has none.
    pub label: String,
    /// Why.
    pub reason: Reason,
}

/// Why a definition is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not a JSON object.
    NotAnObject,
    /// No name, URI or URI template, or not a string.
    NoKey,
    /// Two members give the name or URI: who reads it decides which one holds.
    TwoKeys,
    /// The name or URI is empty.
    EmptyKey,
    /// The name or URI is too long.
    LongKey,
    /// The name or URI holds a control character.
    ControlCharacter,
    /// A tool whose `inputSchema` is missing or not an object.
    NoInputSchema,
    /// The same name or URI appeared before in the list.
    Duplicate,
    /// The definition is longer than [`ITEM_BYTES_MAX`](crate::limits::ITEM_BYTES_MAX).
    LongItem,
    /// The upstream has declared as much as it may; everything after this is left out too.
    ListFull,
}

impl Reason {
    /// Plain words for a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAnObject => "the definition is not an object",
            Self::NoKey => "it has no name or URI",
            Self::TwoKeys => "it has more than one name or URI",
            Self::EmptyKey => "its name or URI is empty",
            Self::LongKey => "its name or URI is too long",
            Self::ControlCharacter => "its name or URI holds a control character",
            Self::NoInputSchema => "its inputSchema is not an object",
            Self::Duplicate => "the upstream declared the same name or URI before",
            Self::LongItem => "the definition is too long",
            Self::ListFull => "the upstream declared more than fits; the rest is left out",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.kind.member(), self.label, self.reason.as_str())
    }
}
