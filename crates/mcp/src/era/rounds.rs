//! What must change where a modern server asks in its answer, and a legacy client is asked by requests?
//!
//! | from | to | rewrite |
//! |---|---|---|
//! | modern result | legacy requests | each entry of `result.inputRequests` becomes a request of its own: `method` and `params` as they are, under an id of ours |
//! | modern result | legacy request | `elicitation/create` with `mode` `"url"` gains `elicitationId` where absent: 2025-11-25 requires it |
//! | legacy results | modern request | the first request is sent again with each `result` in `params.inputResponses`, under its key as the server wrote it |
//! | modern result | modern request | `requestState` is copied from the result to `params`; without one the request has none |
//!
//! Members of both names that stand in `params` already are replaced. Sources: 2026-07-28
//! basic/patterns/mrtr; client/elicitation of 2025-11-25.

use std::collections::BTreeSet;
use std::fmt;

use crate::envelope::Envelope;
use crate::json::{
    Span, field, get, is_absent, is_object, members, quote_into, same_text, text, text_field,
    unescape_lossy,
};
use crate::limits::INPUT_REQUESTS_MAX;
use crate::rewrite::Splice;

/// What a server can ask of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// `roots/list`.
    Roots,
    /// `sampling/createMessage`.
    Sampling,
    /// `elicitation/create`, a form.
    Form,
    /// `elicitation/create`, a URL to visit.
    Url,
}

impl Input {
    /// What `method` with `params` asks; `None` if it is nothing a client can be asked (2026-07-28
    /// basic/patterns/mrtr, "InputRequests").
    pub fn of(method: &str, params: Option<&[u8]>) -> Option<Self> {
        let mode = || params.and_then(|params| get(params, Span::all(params), "mode"));
        match method {
            "roots/list" => Some(Self::Roots),
            "sampling/createMessage" => Some(Self::Sampling),
            "elicitation/create" => {
                let is_url = mode().zip(params).is_some_and(|(it, of)| same_text(it.of(of), "url"));
                Some(if is_url { Self::Url } else { Self::Form })
            }
            _ => None,
        }
    }

    /// The method a legacy client is asked by.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Roots => "roots/list",
            Self::Sampling => "sampling/createMessage",
            Self::Form | Self::Url => "elicitation/create",
        }
    }

    /// The capability the client must have declared, in words.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Roots => "roots",
            Self::Sampling => "sampling",
            Self::Form => "elicitation",
            Self::Url => "elicitation.url",
        }
    }

    /// Whether `capabilities` (`ClientCapabilities`, JSON) declare what it needs. A client that
    /// declares `elicitation` without a mode can show forms; one that names only `url` cannot.
    pub fn is_declared(self, capabilities: &[u8]) -> bool {
        let object = |outer: Span, name: &str| {
            get(capabilities, outer, name).filter(|span| is_object(capabilities, *span))
        };
        let all = Span::all(capabilities);
        match self {
            Self::Roots => object(all, "roots").is_some(),
            Self::Sampling => object(all, "sampling").is_some(),
            Self::Url => object(all, "elicitation").is_some_and(|it| object(it, "url").is_some()),
            Self::Form => object(all, "elicitation")
                .is_some_and(|it| object(it, "form").is_some() || object(it, "url").is_none()),
        }
    }

    /// Whether `result`, an object, has what every result of this kind has.
    pub fn is_answered_by(self, result: &[u8]) -> bool {
        let is = |name, first: u8| {
            field(result, name).is_some_and(|value| value.first() == Some(&first))
        };
        match self {
            Self::Form | Self::Url => text_field(result, "action")
                .is_some_and(|action| ["accept", "decline", "cancel"].contains(&action.as_str())),
            Self::Sampling => {
                is("role", b'"')
                    && (is("content", b'{') || is("content", b'['))
                    && is("model", b'"')
            }
            Self::Roots => is("roots", b'['),
        }
    }
}

/// Whether a client that declared `capabilities` (`ClientCapabilities`, JSON) can be asked something.
pub fn can_be_asked(capabilities: &[u8]) -> bool {
    ["elicitation", "sampling", "roots"]
        .iter()
        .any(|name| field(capabilities, name).is_some_and(|declared| declared.starts_with(b"{")))
}

/// One entry of `inputRequests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its key as the server wrote it, quotes included.
    pub key: Span,
    /// What is asked.
    pub input: Input,
    /// Its params, where it has some.
    pub params: Option<Span>,
}

/// Why a result that asks for input can't be followed. The server's fault; asking it again is
/// pointless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// `inputRequests` or one of its entries is no object, or its params are none.
    Shape,
    /// Neither a question nor a state.
    Nothing,
    /// The state is no string.
    State,
    /// More than [`INPUT_REQUESTS_MAX`] questions.
    Many,
    /// Two questions have the same key.
    Twice,
    /// A method no revision has for this.
    Method(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("its inputRequests are malformed"),
            Self::Nothing => f.write_str("it names neither inputRequests nor a requestState"),
            Self::State => f.write_str("its requestState is no string"),
            Self::Many => write!(f, "it asks more than {INPUT_REQUESTS_MAX} things at once"),
            Self::Twice => f.write_str("two of its inputRequests have the same key"),
            Self::Method(method) => write!(f, "it asks for {method:?}, which is no input"),
        }
    }
}

/// Reads what a result of type `input_required` asks for, in its order.
///
/// # Errors
/// [`Malformed`].
pub fn questions(message: &[u8], envelope: &Envelope) -> Result<Vec<Question>, Malformed> {
    let state = envelope.request_state.filter(|span| span.of(message) != b"null");
    if state.is_some_and(|span| !span.of(message).starts_with(b"\"")) {
        return Err(Malformed::State);
    }
    let asked = envelope.input_requests.filter(|span| !is_absent(message, *span));
    let mut found = Vec::new();
    let mut keys = BTreeSet::new();
    if let Some(asked) = asked {
        if !is_object(message, asked) {
            return Err(Malformed::Shape);
        }
        for (key, value) in members(message, asked) {
            if found.len() == INPUT_REQUESTS_MAX {
                return Err(Malformed::Many);
            }
            if !keys.insert(unescape_lossy(key.of(message)).ok_or(Malformed::Shape)?) {
                return Err(Malformed::Twice);
            }
            found.push(question(message, key, value)?);
        }
    }
    if found.is_empty() && state.is_none() {
        return Err(Malformed::Nothing);
    }
    Ok(found)
}

fn question(message: &[u8], key: Span, value: Span) -> Result<Question, Malformed> {
    if !is_object(message, value) {
        return Err(Malformed::Shape);
    }
    let method = get(message, value, "method").and_then(|span| text(span.of(message)));
    let method = method.ok_or(Malformed::Shape)?;
    let params = get(message, value, "params").filter(|span| !is_absent(message, *span));
    if params.is_some_and(|span| !is_object(message, span)) {
        return Err(Malformed::Shape);
    }
    let input = Input::of(&method, params.map(|span| span.of(message)))
        .ok_or_else(|| Malformed::Method(method.chars().take(80).collect()))?;
    if params.is_none() && input != Input::Roots {
        return Err(Malformed::Shape);
    }
    Ok(Question { key, input, params })
}

/// Appends the request a legacy client gets for `question` of `message`. `id` is JSON, a string.
pub fn write_request(message: &[u8], question: &Question, id: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"method\":");
    quote_into(out, question.input.method());
    if let Some(params) = question.params {
        out.extend_from_slice(b",\"params\":");
        let mut splice = Splice::new(message);
        if question.input == Input::Url && get(message, params, "elicitationId").is_none() {
            splice.insert_member(params, [b"\"elicitationId\":", id].concat());
        }
        splice.write_span_into(params, out);
    }
    out.push(b'}');
}

/// The client's request once more, with `responses` (an object, JSON) and `state` (a string, JSON).
pub fn retry(
    message: &[u8],
    envelope: &Envelope,
    responses: Option<&[u8]>,
    state: Option<&[u8]>,
) -> Vec<u8> {
    let mut splice = Splice::new(message);
    for old in [envelope.input_responses, envelope.request_state].into_iter().flatten() {
        splice.remove_value(old);
    }
    let mut added = Vec::new();
    for (name, value) in [("\"inputResponses\":", responses), ("\"requestState\":", state)] {
        if let Some(value) = value {
            added.extend_from_slice(if added.is_empty() { b"" } else { b"," });
            added.extend_from_slice(name.as_bytes());
            added.extend_from_slice(value);
        }
    }
    match envelope.params {
        _ if added.is_empty() => {}
        Some(params) => splice.insert_member(params, added),
        None => {
            let params = [b"\"params\":{", added.as_slice(), b"}"].concat();
            splice.insert_member(envelope.root, params);
        }
    }
    let mut out = Vec::new();
    splice.write_into(&mut out);
    out
}
