//! How long is a body, and where are its bytes?
//!
//! Invariants: exactly one framing is valid for a message, or the message is refused. The chunk
//! decoder looks at each byte once, in order, and stops at the first that the grammar does not
//! allow, so every split of the same bytes gives the same data and the same fault.

use super::head::{HeaderTable, Known, is_token_byte, is_value_byte};
use super::limits::{CHUNK_SIZE_DIGITS_MAX, HttpLimits};

/// What can be wrong with a body, whichever side sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    TooLarge,
    TrailersTooLong,
    Malformed(&'static str),
}

/// What can be wrong with the headers that say how long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingFault {
    /// Ambiguous or not to the grammar.
    Malformed(&'static str),
    /// A transfer coding other than `chunked`.
    UnknownCoding,
}

/// The framing a message's headers declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// Neither Content-Length nor Transfer-Encoding.
    Nothing,
    /// Content-Length, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`, exactly.
    Chunked,
}

/// Reads Content-Length and Transfer-Encoding (RFC 9112 section 6), more strictly than the RFC
/// allows: both at once, any repetition and any other coding are refused.
pub(super) fn declared(
    table: &HeaderTable,
    head: &[u8],
    http10: bool,
) -> Result<Declared, FramingFault> {
    let length = table.known(head, Known::ContentLength);
    let coding = table.known(head, Known::TransferEncoding);
    if table.is_repeated(Known::ContentLength) {
        return Err(FramingFault::Malformed("several Content-Length headers"));
    }
    if table.is_repeated(Known::TransferEncoding) {
        return Err(FramingFault::Malformed("several Transfer-Encoding headers"));
    }
    match (length, coding) {
        (None, None) => Ok(Declared::Nothing),
        (Some(_), Some(_)) => {
            Err(FramingFault::Malformed("both Content-Length and Transfer-Encoding"))
        }
        (Some(value), None) => content_length(value).map(Declared::Length),
        (None, Some(_)) if http10 => Err(FramingFault::Malformed("Transfer-Encoding in HTTP/1.0")),
        (None, Some(value)) if value.eq_ignore_ascii_case(b"chunked") => Ok(Declared::Chunked),
        (None, Some(value)) if !is_coding_list(value) => {
            Err(FramingFault::Malformed("malformed Transfer-Encoding"))
        }
        (None, Some(_)) => Err(FramingFault::UnknownCoding),
    }
}

/// `1*DIGIT` and nothing else. Values beyond 64 bits become the largest: they exceed any limit.
fn content_length(value: &[u8]) -> Result<u64, FramingFault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(FramingFault::Malformed("malformed Content-Length"));
    }
    Ok(value
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Tokens separated by commas, `chunked` at most once and last: understandable, though refused.
fn is_coding_list(value: &[u8]) -> bool {
    let mut items = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).peekable();
    while let Some(item) = items.next() {
        if item.is_empty() || !item.iter().copied().all(is_token_byte) {
            return false;
        }
        if item.eq_ignore_ascii_case(b"chunked") && items.peek().is_some() {
            return false;
        }
    }
    true
}

/// Where in the chunked grammar (RFC 9112 section 7.1) the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Ended,
}

/// The outcome of one step of the chunk decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// All input looked at, the body goes on.
    NeedMore,
    /// Body bytes, never empty.
    Data(&'a [u8]),
    /// The body and its trailers are over.
    End,
}

/// The chunk decoder of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    at: At,
    /// The current chunk's size while it is read, then what is left of its data.
    left: u64,
    digits: u8,
    /// Data bytes still allowed, over the whole body.
    budget: u64,
    extension_budget: usize,
    trailer_budget: usize,
}

impl Chunked {
    /// `body_bytes_max` is given apart from `limits`, because event streams have none.
    pub(super) fn new(limits: &HttpLimits, body_bytes_max: u64) -> Self {
        Self {
            at: At::Size,
            left: 0,
            digits: 0,
            budget: body_bytes_max,
            extension_budget: limits.chunk_extension_bytes_max,
            trailer_budget: limits.trailer_bytes_max,
        }
    }

    /// Reads on; gives the number of bytes consumed and what they led to.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Step<'a>), BodyFault> {
        let mut used = 0;
        while let Some(byte) = input.get(used) {
            match self.at {
                At::Ended => return Ok((used, Step::End)),
                At::Data => {
                    let rest = &input[used..];
                    let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.at = At::DataCr;
                    }
                    return Ok((used + take, Step::Data(&rest[..take])));
                }
                At::TrailerStart
                | At::TrailerName
                | At::TrailerValue
                | At::TrailerLf
                | At::EndLf => self.trailer_byte(*byte)?,
                At::Size | At::Extension | At::SizeLf | At::DataCr | At::DataLf => {
                    self.line_byte(*byte)?;
                }
            }
            used += 1;
        }
        Ok((used, if self.at == At::Ended { Step::End } else { Step::NeedMore }))
    }

    /// One byte between the data: a size line, or the line end after a chunk.
    fn line_byte(&mut self, byte: u8) -> Result<(), BodyFault> {
        self.at = match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Size, _) => {
                let digit = char::from(byte).to_digit(16);
                let (Some(digit), true) = (digit, self.digits < CHUNK_SIZE_DIGITS_MAX) else {
                    return Err(BodyFault::Malformed("malformed chunk size"));
                };
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, _) if is_value_byte(byte) => {
                self.extension_budget = self
                    .extension_budget
                    .checked_sub(1)
                    .ok_or(BodyFault::Malformed("chunk extensions too long"))?;
                At::Extension
            }
            (At::Extension, _) => {
                return Err(BodyFault::Malformed("malformed chunk extension"));
            }
            (At::SizeLf, b'\n') if self.left == 0 => At::TrailerStart,
            (At::SizeLf, b'\n') => {
                self.budget = self.budget.checked_sub(self.left).ok_or(BodyFault::TooLarge)?;
                At::Data
            }
            (At::SizeLf, _) => return Err(BodyFault::Malformed("malformed chunk size line")),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.digits = 0;
                At::Size
            }
            _ => return Err(BodyFault::Malformed("chunk data does not end at its size")),
        };
        Ok(())
    }

    /// One byte after the last chunk. Trailers are checked for grammar and dropped.
    fn trailer_byte(&mut self, byte: u8) -> Result<(), BodyFault> {
        self.trailer_budget =
            self.trailer_budget.checked_sub(1).ok_or(BodyFault::TrailersTooLong)?;
        self.at = match (self.at, byte) {
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::TrailerStart | At::TrailerName, _) if is_token_byte(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, _) if is_value_byte(byte) => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::EndLf, b'\n') => At::Ended,
            _ => return Err(BodyFault::Malformed("malformed trailer")),
        };
        Ok(())
    }
}
