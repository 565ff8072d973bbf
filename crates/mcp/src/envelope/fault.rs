//! Why is this message refused, and what may the answer say?

use std::fmt;

use crate::errors;
use crate::json::{JsonFault, JsonFaultKind, Span};

/// A refused message. The peer that sent it is at fault; sending it again will not help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanError {
    /// What is wrong.
    pub fault: ScanFault,
    /// Where, in bytes from the start.
    pub offset: u32,
    /// The message's id, where it could be read and there is exactly one. Also set on malformed
    /// responses, so that the request waiting for one can be failed at once.
    pub id: Option<Span>,
}

/// The ways in which a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanFault {
    /// Not JSON, or nested too deeply.
    Json(JsonFaultKind),
    /// Longer than the limit.
    TooLong,
    /// An array of messages. The revision 2025-03-26 had them: its reader splits the array with
    /// [`elements`](crate::json::elements) and scans each.
    Batch,
    /// A JSON value that is no object.
    NotAnObject,
    /// `jsonrpc` is missing or not `"2.0"`.
    JsonRpcVersion,
    /// A member that routing reads occurs twice.
    Duplicate,
    /// A member equals a known one but for the case of its letters.
    Lookalike,
    /// The id is missing from a response, or has a type or length ids cannot have.
    Id,
    /// The method is no string.
    Method,
    /// Neither request nor response, or both: `method` with `result` or `error`, or both of these.
    Shape,
    /// `params` is no object.
    Params,
    /// `_meta` is no object.
    Meta,
    /// A progress token that is neither string nor number, or too long.
    ProgressToken,
    /// `result` is no object.
    Result,
}

impl ScanFault {
    /// The JSON-RPC error code of the answer.
    pub const fn code(self) -> i64 {
        match self {
            Self::Json(JsonFaultKind::TooDeep) => errors::INVALID_REQUEST,
            Self::Json(_) => errors::PARSE_ERROR,
            Self::Params | Self::Meta | Self::ProgressToken => errors::INVALID_PARAMS,
            _ => errors::INVALID_REQUEST,
        }
    }

    /// One short sentence for the answer; plain ASCII without quotes or backslashes.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Json(kind) => kind.message(),
            Self::TooLong => "the message is too long",
            Self::Batch => "batches are not part of this revision",
            Self::NotAnObject => "a message is an object",
            Self::JsonRpcVersion => "jsonrpc must be 2.0",
            Self::Duplicate => "a member occurs twice",
            Self::Lookalike => "a member differs from a known one only in case",
            Self::Id => "an id is a string or an integer",
            Self::Method => "a method is a string",
            Self::Shape => "neither a request, a notification nor a response",
            Self::Params => "params must be an object",
            Self::Meta => "_meta must be an object",
            Self::ProgressToken => "a progress token is a string or a number",
            Self::Result => "result must be an object",
        }
    }
}

impl ScanError {
    /// The id to answer with: none for what was not JSON, since JSON-RPC then knows no id.
    pub fn answer_id(&self) -> Option<Span> {
        if self.fault.code() == errors::PARSE_ERROR { None } else { self.id }
    }
}

impl From<JsonFault> for ScanError {
    fn from(fault: JsonFault) -> Self {
        Self { fault: ScanFault::Json(fault.kind), offset: fault.offset, id: None }
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.fault.message(), self.offset)
    }
}

impl std::error::Error for ScanError {}
