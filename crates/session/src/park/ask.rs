//! One request of a server, as the client of its call sees it, and what the client says to it.
//!
//! Invariants: the server's params reach the client, and the client's result the server, in their
//! own bytes; a result that can't be one is noticed before anything of its round is used.

use kern_mcp::era::rounds::Input;
use kern_mcp::{Span, json};

/// A server's request that waits for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The server's JSON-RPC id, raw.
    pub id: Box<[u8]>,
    /// What it asks.
    pub input: Input,
    /// Its `params`, raw.
    pub params: Option<Box<[u8]>>,
    /// Its place among all that this call asked; set when it is taken.
    pub(super) number: u32,
    /// The client was told of it.
    pub(super) told: bool,
}

impl Asked {
    /// A request that was not taken yet.
    pub fn new(id: &[u8], input: Input, params: Option<&[u8]>) -> Self {
        Self { id: id.into(), input, params: params.map(Box::from), number: 0, told: false }
    }

    /// Bytes kept while it waits.
    pub fn bytes(&self) -> usize {
        self.id.len() + self.params.as_ref().map_or(0, |params| params.len()) + 64
    }

    pub(super) fn write_member(&self, out: &mut Vec<u8>) {
        let (number, method) = (self.number, self.input.method());
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
        if !value.starts_with(b"{") || !known.input.is_answered_by(value) {
            let method = known.input.method();
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
