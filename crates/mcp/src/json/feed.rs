//! Is this well-formed JSON, as far as it has come?
//!
//! The grammar of [`Scanner`](super::Scanner) for a text that comes in pieces. Invariants: a text is
//! accepted here exactly if it is accepted there, however it is cut; what is held of it is one
//! character at most and a bit for each open container. Strings are passed in the same blocks.

use super::block::passable_64;
use super::fault::{JsonFault, JsonFaultKind};
use crate::limits::DEPTH_MAX;

/// Told of every byte that is not white space. `depth` is the number of open containers around it.
pub(crate) trait Sink {
    /// An opening bracket.
    fn open(&mut self, at: u64, byte: u8, depth: u32);
    /// A closing bracket.
    fn close(&mut self, byte: u8, depth: u32);
    /// A comma or a colon.
    fn between(&mut self, byte: u8, depth: u32);
    /// A key, a string, a number or a word begins.
    fn begin(&mut self, at: u64, depth: u32);
    /// Some bytes of it.
    fn run(&mut self, bytes: &[u8], depth: u32);
    /// It ended before `at`.
    fn end(&mut self, at: u64, key: bool, depth: u32);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a value.
    Value,
    /// The same, or before the end of an array without elements.
    FirstValue,
    /// Before a key.
    Key,
    /// The same, or before the end of an object without members.
    FirstKey,
    /// Before the colon after a key.
    Colon,
    /// After a value.
    After,
    /// In a string.
    Text,
    /// After a backslash in it.
    Escape,
    /// After `\u` and so many digits.
    Hex(u8),
    /// In a number.
    Number(Number),
    /// In a word, of which so many bytes came.
    Word(&'static [u8], u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// A JSON text in the reading.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    state: State,
    /// Open containers, and a bit for each that is an array.
    depth: u32,
    arrays: u128,
    depth_max: u32,
    offset: u64,
    /// The string at hand is a key.
    key: bool,
    /// The beginning of a character outside ASCII, and its length.
    wide: [u8; 4],
    wide_bytes: usize,
}

type Step = Result<usize, JsonFault>;

impl Feed {
    pub(crate) fn new(depth_max: u32) -> Self {
        Self {
            state: State::Value,
            depth: 0,
            arrays: 0,
            depth_max: depth_max.min(DEPTH_MAX),
            offset: 0,
            key: false,
            wide: [0; 4],
            wide_bytes: 0,
        }
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The last byte read was of a string that is a value, and not its closing quote.
    pub(crate) fn in_text(&self) -> bool {
        !self.key && matches!(self.state, State::Text | State::Escape | State::Hex(_))
    }

    /// Reads the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), JsonFault> {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Text => self.text(bytes, at, sink)?,
                State::Number(number) => self.number(number, bytes, at, sink)?,
                _ => self.token(bytes, at, sink)?,
            };
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// The text is over: whether it was one value.
    pub(crate) fn finish(&self) -> Result<(), JsonFault> {
        use Number::{Fraction, Power, Whole, Zero};
        match self.state {
            State::After | State::Number(Zero | Whole | Fraction | Power) if self.depth == 0 => {
                Ok(())
            }
            _ => Err(self.fault(JsonFaultKind::Truncated, 0)),
        }
    }

    #[cold]
    fn fault(&self, kind: JsonFaultKind, at: usize) -> JsonFault {
        let offset = u32::try_from(self.offset + at as u64).unwrap_or(u32::MAX);
        JsonFault { kind, offset }
    }

    #[cold]
    fn unexpected(&self, at: usize) -> Step {
        Err(self.fault(JsonFaultKind::UnexpectedByte, at))
    }

    fn place(&self, at: usize) -> u64 {
        self.offset + at as u64
    }

    /// A byte outside strings and numbers.
    fn token(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink) -> Step {
        let byte = bytes[at];
        match self.state {
            State::Escape => self.escape(byte, at)?,
            State::Hex(digits) if byte.is_ascii_hexdigit() => {
                self.state = if digits == 3 { State::Text } else { State::Hex(digits + 1) };
            }
            State::Hex(_) => return Err(self.fault(JsonFaultKind::Escape, at)),
            State::Word(word, passed) => {
                if word[usize::from(passed)] != byte {
                    return self.unexpected(at);
                }
                sink.run(&bytes[at..=at], self.depth);
                self.state = State::Word(word, passed + 1);
                if usize::from(passed) + 1 == word.len() {
                    self.ended(at + 1, sink);
                }
                return Ok(at + 1);
            }
            _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => return Ok(at + 1),
            State::Value => return self.value(byte, bytes, at, sink),
            State::FirstValue if byte == b']' => self.close(byte, sink),
            State::FirstValue => return self.value(byte, bytes, at, sink),
            State::FirstKey if byte == b'}' => self.close(byte, sink),
            State::FirstKey | State::Key if byte == b'"' => {
                self.key = true;
                self.begin_text(at, sink);
                return Ok(at + 1);
            }
            State::Colon if byte == b':' => {
                sink.between(byte, self.depth);
                self.state = State::Value;
            }
            State::After => return self.after(byte, at, sink),
            _ => return self.unexpected(at),
        }
        if matches!(self.state, State::Text | State::Hex(_)) {
            sink.run(&bytes[at..=at], self.depth);
        }
        Ok(at + 1)
    }

    fn escape(&mut self, byte: u8, at: usize) -> Result<(), JsonFault> {
        self.state = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
            b'u' => State::Hex(0),
            _ => return Err(self.fault(JsonFaultKind::Escape, at)),
        };
        Ok(())
    }

    fn in_array(&self) -> bool {
        self.depth > 0 && self.arrays >> (self.depth - 1) & 1 == 1
    }

    fn after(&mut self, byte: u8, at: usize, sink: &mut impl Sink) -> Step {
        match (byte, self.depth, self.in_array()) {
            (_, 0, _) => return Err(self.fault(JsonFaultKind::Trailing, at)),
            (b',', _, array) => {
                sink.between(byte, self.depth);
                self.state = if array { State::Value } else { State::Key };
            }
            (b']', _, true) | (b'}', _, false) => self.close(byte, sink),
            _ => return self.unexpected(at),
        }
        Ok(at + 1)
    }

    fn close(&mut self, byte: u8, sink: &mut impl Sink) {
        self.depth -= 1;
        self.state = State::After;
        sink.close(byte, self.depth);
    }

    fn value(&mut self, byte: u8, bytes: &[u8], at: usize, sink: &mut impl Sink) -> Step {
        let word: &'static [u8] = match byte {
            b'"' => {
                self.key = false;
                self.begin_text(at, sink);
                return Ok(at + 1);
            }
            b'{' | b'[' => {
                if self.depth >= self.depth_max {
                    return Err(self.fault(JsonFaultKind::TooDeep, at));
                }
                sink.open(self.place(at), byte, self.depth);
                let bit = 1 << self.depth;
                self.arrays = if byte == b'[' { self.arrays | bit } else { self.arrays & !bit };
                self.depth += 1;
                self.state = if byte == b'[' { State::FirstValue } else { State::FirstKey };
                return Ok(at + 1);
            }
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            b'-' | b'0'..=b'9' => b"",
            _ => return self.unexpected(at),
        };
        sink.begin(self.place(at), self.depth);
        sink.run(&bytes[at..=at], self.depth);
        self.state = match byte {
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Whole),
            _ => State::Word(word, 1),
        };
        Ok(at + 1)
    }

    fn begin_text(&mut self, at: usize, sink: &mut impl Sink) {
        sink.begin(self.place(at), self.depth);
        sink.run(b"\"", self.depth);
        self.state = State::Text;
    }

    /// A key or a scalar ended before `at`.
    fn ended(&mut self, at: usize, sink: &mut impl Sink) {
        let key = std::mem::take(&mut self.key);
        sink.end(self.place(at), key, self.depth);
        self.state = if key { State::Colon } else { State::After };
    }

    /// Bytes of a string, from `at` to what ends it or to the end of the piece.
    fn text(&mut self, bytes: &[u8], at: usize, sink: &mut impl Sink) -> Step {
        let (end, wide) = run_end(bytes, at);
        if (wide || self.wide_bytes > 0)
            && let Err(before) = self.check_wide(&bytes[at..end])
        {
            return Err(self.fault(JsonFaultKind::NotUtf8, at + before));
        }
        let Some(&stop) = bytes.get(end) else {
            sink.run(&bytes[at..end], self.depth);
            return Ok(end);
        };
        if stop < 0x20 {
            return Err(self.fault(JsonFaultKind::ControlCharacter, end));
        }
        // A character ends before what is in ASCII.
        if self.wide_bytes > 0 {
            return Err(self.fault(JsonFaultKind::NotUtf8, end));
        }
        sink.run(&bytes[at..=end], self.depth);
        match stop {
            b'"' => self.ended(end + 1, sink),
            _ => self.state = State::Escape,
        }
        Ok(end + 1)
    }

    /// Checks that `run` goes on as UTF-8; where not, how many bytes of it do.
    fn check_wide(&mut self, mut run: &[u8]) -> Result<(), usize> {
        let length = run.len();
        while self.wide_bytes > 0 {
            let Some((&byte, rest)) = run.split_first() else { return Ok(()) };
            self.wide[self.wide_bytes] = byte;
            self.wide_bytes += 1;
            match std::str::from_utf8(&self.wide[..self.wide_bytes]) {
                Ok(_) => self.wide_bytes = 0,
                Err(fault) if fault.error_len().is_none() => {}
                Err(_) => return Err(length - run.len()),
            }
            run = rest;
        }
        if let Err(fault) = std::str::from_utf8(run) {
            let begun = &run[fault.valid_up_to()..];
            if fault.error_len().is_some() {
                return Err(length - begun.len());
            }
            self.wide[..begun.len()].copy_from_slice(begun);
            self.wide_bytes = begun.len();
        }
        Ok(())
    }

    /// Bytes of a number, and the end of it.
    fn number(
        &mut self,
        mut number: Number,
        bytes: &[u8],
        start: usize,
        sink: &mut impl Sink,
    ) -> Step {
        use Number::{Exponent, Fraction, Minus, Point, Power, Sign, Whole, Zero};
        let mut at = start;
        while let Some(&byte) = bytes.get(at) {
            number = match (number, byte) {
                (Minus, b'0') => Zero,
                (Minus | Whole, b'0'..=b'9') => Whole,
                (Zero | Whole, b'.') => Point,
                (Point | Fraction, b'0'..=b'9') => Fraction,
                (Zero | Whole | Fraction, b'e' | b'E') => Exponent,
                (Exponent, b'+' | b'-') => Sign,
                (Exponent | Sign | Power, b'0'..=b'9') => Power,
                (Minus | Point | Exponent | Sign, _) | (Zero, b'0'..=b'9') => {
                    return Err(self.fault(JsonFaultKind::Number, at));
                }
                (Zero | Whole | Fraction | Power, _) => {
                    sink.run(&bytes[start..at], self.depth);
                    self.ended(at, sink);
                    return Ok(at);
                }
            };
            at += 1;
        }
        sink.run(&bytes[start..at], self.depth);
        self.state = State::Number(number);
        Ok(at)
    }
}

/// The next quote, backslash or control character from `at` on, or the end; and whether bytes outside
/// ASCII were passed.
#[inline(always)]
fn run_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut wide = false;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let (passable, outside_ascii) = passable_64(block);
        if !passable {
            break;
        }
        wide |= outside_ascii;
        at += 64;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        wide |= byte >= 0x80;
        at += 1;
    }
    (at, wide)
}
