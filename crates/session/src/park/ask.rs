//! One request of a server, as the client of its call sees it, and what the client says to it.
//!
//! Invariants: the server's params reach the client, and the client's result the server, in their
//! own bytes; a result that can't be one is noticed before anything of its round is used.

use kern_mcp::{Method, Span, json};

/// What a server may ask (spec 2026-07-28 basic/patterns/mrtr, "InputRequests").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `elicitation/create`
    Elicit,
    /// `sampling/createMessage`
    Sample,
    /// `roots/list`
    Roots,
}

impl Question {
    /// What `method` asks; `None` if it is nothing a client can be asked.
    pub fn of(method: Method) -> Option<Self> {
        match method {
            Method::ElicitationCreate => Some(Self::Elicit),
            Method::SamplingCreateMessage => Some(Self::Sample),
            Method::RootsList => Some(Self::Roots),
            _ => None,
        }
    }

    /// The client capability that it takes.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Elicit => "elicitation",
            Self::Sample => "sampling",
            Self::Roots => "roots",
        }
    }

    /// Whether a client that declared `capabilities`, JSON, can be asked this with `params`.
    pub fn is_allowed(self, capabilities: &[u8], params: Option<&[u8]>) -> bool {
        let declared = json::field(capabilities, self.capability());
        let Some(declared) = declared.filter(|declared| declared.starts_with(b"{")) else {
            return false;
        };
        let mode = params.and_then(|params| json::text_field(params, "mode"));
        match (self, mode.as_deref()) {
            // Declared without a mode, forms are meant (2025-11-25 client/elicitation).
            (Self::Elicit, Some("url")) => json::field(declared, "url").is_some(),
            (Self::Elicit, _) => {
                json::field(declared, "form").is_some() || json::field(declared, "url").is_none()
            }
            _ => true,
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Elicit => "elicitation/create",
            Self::Sample => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Whether `result`, an object, has what every result of this kind has.
    fn is_answered_by(self, result: &[u8]) -> bool {
        let is = |name, first: u8| {
            json::field(result, name).is_some_and(|value| value.first() == Some(&first))
        };
        match self {
            Self::Elicit => json::text_field(result, "action")
                .is_some_and(|action| ["accept", "decline", "cancel"].contains(&action.as_str())),
            Self::Sample => {
                is("role", b'"')
                    && (is("content", b'{') || is("content", b'['))
                    && is("model", b'"')
            }
            Self::Roots => is("roots", b'['),
        }
    }
}

/// A server's request that waits for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The server's JSON-RPC id, raw.
    pub id: Box<[u8]>,
    /// What it asks.
    pub question: Question,
    /// Its `params`, raw.
    pub params: Option<Box<[u8]>>,
    /// Its place among all that this call asked; set when it is taken.
    pub(super) number: u32,
    /// The client was told of it.
    pub(super) told: bool,
}

impl Asked {
    /// A request that was not taken yet.
    pub fn new(id: &[u8], question: Question, params: Option<&[u8]>) -> Self {
        Self { id: id.into(), question, params: params.map(Box::from), number: 0, told: false }
    }

    /// Bytes kept while it waits.
    pub fn bytes(&self) -> usize {
        self.id.len() + self.params.as_ref().map_or(0, |params| params.len()) + 64
    }

    pub(super) fn write_member(&self, out: &mut Vec<u8>) {
        let (number, method) = (self.number, self.question.method());
        out.extend_from_slice(format!("\"q{number}\":{{\"method\":\"{method}\"").as_bytes());
        // Some servers write `null` for no params; the new revision knows only their absence.
        if let Some(params) = self.params.as_ref().filter(|params| params.starts_with(b"{")) {
            out.extend_from_slice(b",\"params\":");
            out.extend_from_slice(params);
        }
        out.push(b'}');
    }
}

/// Why a client's coming back is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its state was used before, or a newer one was given.
    Used,
    /// It stayed away too long.
    Expired,
    /// What it brought is no answer; the state stays good.
    Malformed(String),
}

/// The answers among `responses`, an object, to what is `asked`: number and raw result. Names that
/// the client was not told are ignored.
pub(super) fn read<'a>(
    responses: &'a [u8],
    asked: &[Asked],
) -> Result<Vec<(u32, &'a [u8])>, Fault> {
    let mut answers: Vec<(u32, &[u8])> = Vec::new();
    for (key, value) in json::members(responses, Span::all(responses)) {
        let number = number_of(key.of(responses));
        let known = asked.iter().find(|asked| asked.told && Some(asked.number) == number);
        let Some(known) = known else { continue };
        let value = value.of(responses);
        let name = format!("params.inputResponses[\"q{}\"]", known.number);
        if answers.iter().any(|(number, _)| *number == known.number) {
            return Err(Fault::Malformed(format!("{name} is there twice")));
        }
        if !value.starts_with(b"{") || !known.question.is_answered_by(value) {
            let method = known.question.method();
            return Err(Fault::Malformed(format!("{name} is no result of {method}")));
        }
        answers.push((known.number, value));
    }
    Ok(answers)
}

fn number_of(key: &[u8]) -> Option<u32> {
    let text = json::text(key)?;
    let digits = text.strip_prefix('q').filter(|digits| !digits.starts_with(['0', '+']))?;
    digits.parse().ok()
}
