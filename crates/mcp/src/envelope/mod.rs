//! What is this message, and where are the few parts that routing needs?
//!
//! [`scan`] checks a whole message once, as JSON and as JSON-RPC 2.0, and answers spans. What it does
//! not name it does not touch: unknown members, their order, the spelling of numbers stay as they are.
//!
//! Invariants, because a peer behind us may read the same bytes with another parser:
//!
//! - A member read here occurs once. Two of one name, however each is spelled (`"na\u006de"`), refuse
//!   the message: first-wins and last-wins parsers would disagree on which tool is called.
//! - A top-level member that equals a known one but for case refuses the message; so does one in the
//!   params of a known method for the members that name or authorize (some parsers fold case).
//! - `params`, `_meta` and `result` are objects. `null` and `[]` are let through in their place, as
//!   absent, because some languages write an empty object so; [`json::get`](crate::json::get) finds
//!   nothing in them and [`Splice`](crate::rewrite::Splice) turns them into objects when it must add.

mod fault;
mod read;

use crate::json::Span;
use crate::limits::{DEPTH_MAX, MESSAGE_BYTES_MAX};
use crate::method::Method;

pub use fault::{ScanError, ScanFault};

/// How large and deep a message may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanLimits {
    /// Longest message in bytes.
    pub bytes_max: u32,
    /// Deepest nesting of containers; never above [`DEPTH_MAX`].
    pub depth_max: u32,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { bytes_max: MESSAGE_BYTES_MAX, depth_max: DEPTH_MAX }
    }
}

/// What a JSON-RPC message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Kind {
    /// Has a method and an id: wants an answer.
    #[default]
    Request,
    /// Has a method and no id.
    Notification,
    /// A response with a result.
    Result,
    /// A response with an error.
    Error,
}

impl Kind {
    /// Whether the message answers a request.
    pub const fn is_response(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }
}

/// The parts of `params.ref` in `completion/complete`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reference {
    /// The whole object.
    pub span: Span,
    /// `ref/prompt` or `ref/resource`.
    pub kind: Option<Span>,
    /// The prompt's name.
    pub name: Option<Span>,
    /// The resource template's URI.
    pub uri: Option<Span>,
}

/// The spans of one message. Every span is raw JSON text (strings with their quotes) in the scanned
/// bytes; `None` where the member is absent. Types below `params` and `result` are not checked: a
/// reader of `name` must still find a string there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Envelope {
    /// What the message is.
    pub kind: Kind,
    /// The message's object, without white space around it.
    pub root: Span,
    /// The id: a string or an integer in requests; a string or any number in responses; also `null`
    /// in errors. `None` in notifications and in errors without one.
    pub id: Option<Span>,
    /// The method; [`Method::None`] in responses.
    pub method: Method,
    /// The method's text.
    pub method_span: Option<Span>,
    /// `params`: an object, or `null` or `[]` in its place.
    pub params: Option<Span>,
    /// `result`: an object, or `null` or `[]` in its place.
    pub result: Option<Span>,
    /// `error`.
    pub error: Option<Span>,
    /// `params.name`.
    pub name: Option<Span>,
    /// `params.uri`.
    pub uri: Option<Span>,
    /// `params.cursor`.
    pub cursor: Option<Span>,
    /// `params.arguments`.
    pub arguments: Option<Span>,
    /// `params._meta` or `result._meta`: an object, or `null` or `[]` in its place.
    pub meta: Option<Span>,
    /// `params.progressToken` in `notifications/progress`, else `_meta.progressToken`.
    pub progress_token: Option<Span>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`.
    pub protocol_version: Option<Span>,
    /// `_meta["io.modelcontextprotocol/clientCapabilities"]`.
    pub client_capabilities: Option<Span>,
    /// `_meta["io.modelcontextprotocol/clientInfo"]`.
    pub client_info: Option<Span>,
    /// `_meta["io.modelcontextprotocol/logLevel"]`.
    pub log_level: Option<Span>,
    /// `_meta["io.modelcontextprotocol/subscriptionId"]`.
    pub subscription_id: Option<Span>,
    /// `_meta["io.modelcontextprotocol/serverInfo"]`.
    pub server_info: Option<Span>,
    /// `_meta["io.modelcontextprotocol/related-task"]`, 2025-11-25.
    pub related_task: Option<Span>,
    /// `_meta.traceparent`.
    pub traceparent: Option<Span>,
    /// `params.requestId` of `notifications/cancelled`.
    pub request_id: Option<Span>,
    /// `params.requestState` or `result.requestState`.
    pub request_state: Option<Span>,
    /// `params.inputResponses`.
    pub input_responses: Option<Span>,
    /// `result.inputRequests`.
    pub input_requests: Option<Span>,
    /// `params.ref` of `completion/complete`, where it is an object.
    pub reference: Option<Reference>,
    /// `params.level` of `logging/setLevel` and `notifications/message`.
    pub level: Option<Span>,
    /// `params.notifications`: the filter of `subscriptions/listen` and of its acknowledgement.
    pub notifications: Option<Span>,
    /// `params.taskId` or `result.taskId`.
    pub task_id: Option<Span>,
    /// `params.task` or `result.task`, 2025-11-25.
    pub task: Option<Span>,
    /// `params.protocolVersion` or `result.protocolVersion` of `initialize`.
    pub offered_version: Option<Span>,
    /// `params.capabilities` of `initialize`; `result.capabilities` of it and of `server/discover`.
    pub capabilities: Option<Span>,
    /// `params.clientInfo` or `result.serverInfo` of `initialize`.
    pub peer_info: Option<Span>,
    /// `result.instructions`.
    pub instructions: Option<Span>,
    /// `result.supportedVersions`.
    pub supported_versions: Option<Span>,
    /// `result.resultType`.
    pub result_type: Option<Span>,
    /// `result.isError`.
    pub is_error: Option<Span>,
    /// `result.structuredContent` of `tools/call`.
    pub structured_content: Option<Span>,
    /// `result.tools`.
    pub tools: Option<Span>,
    /// `result.prompts`.
    pub prompts: Option<Span>,
    /// `result.resources`.
    pub resources: Option<Span>,
    /// `result.resourceTemplates`.
    pub resource_templates: Option<Span>,
    /// `result.nextCursor`.
    pub next_cursor: Option<Span>,
    /// `result.ttlMs`.
    pub ttl_ms: Option<Span>,
    /// `result.cacheScope`.
    pub cache_scope: Option<Span>,
    /// `error.code` where it is an integer.
    pub error_code: Option<i64>,
    /// `error.code` as written.
    pub error_code_span: Option<Span>,
    /// `error.message`.
    pub error_message: Option<Span>,
    /// `error.data`.
    pub error_data: Option<Span>,
}

impl Envelope {
    /// What `params` say the request is about: `uri` for `resources/read`, `name` for calls and
    /// prompts, `taskId` for tasks. `None` for other methods.
    pub fn subject(&self) -> Option<Span> {
        match self.method.named_by()? {
            crate::method::NamedBy::Name => self.name,
            crate::method::NamedBy::Uri => self.uri,
            crate::method::NamedBy::TaskId => self.task_id,
        }
    }
}

/// Checks `message` and finds its parts.
///
/// # Errors
/// See [`ScanFault`] for what is refused and with which JSON-RPC code. A message that is JSON but not
/// a valid request is read to its end, so that the error can name its id.
pub fn scan(message: &[u8], limits: &ScanLimits) -> Result<Envelope, ScanError> {
    read::scan(message, limits)
}
