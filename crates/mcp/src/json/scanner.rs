//! Is this one well-formed value, and where does it end?
//!
//! A recursive descent over the bytes; containers recurse, so the depth limit bounds the stack (at
//! most [`DEPTH_MAX`](crate::limits::DEPTH_MAX) small frames). Each byte is looked at once.
//!
//! The place is a local of every step and travels in registers: `None` ends the descent, and then
//! `fault` says why.

use super::fault::{JsonFault, JsonFaultKind};
use super::span::Span;
use super::string::{Ended, string_end, unplain_string_end};

/// A place in a message, moving forward only.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: u32,
    fault: JsonFault,
}

/// A scanned key: its span with the quotes, and whether it holds an escape.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) escaped: bool,
}

type Scan<T> = Result<T, JsonFault>;

/// The moves of the envelope's and the walkers' loops.
impl<'a> Scanner<'a> {
    /// Starts at byte `at` of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB or longer: callers bound messages far below.
    pub(crate) fn new(bytes: &'a [u8], at: u32, depth_max: u32) -> Self {
        assert!(u32::try_from(bytes.len()).is_ok());
        let fault = JsonFault { kind: JsonFaultKind::Truncated, offset: 0 };
        Self { bytes, at: at as usize, depth_max, fault }
    }

    /// The next byte to be read, as an offset.
    pub(crate) fn offset(&self) -> u32 {
        self.at as u32
    }

    /// Passes white space, then returns the byte there, not passing it. Reads 0 (no JSON token) at
    /// the end.
    #[inline(always)]
    pub(crate) fn token(&mut self) -> u8 {
        let (at, byte) = self.token_at(self.at);
        self.at = at;
        byte
    }

    /// Passes the byte just seen.
    #[inline(always)]
    pub(crate) fn pass(&mut self) {
        self.at += 1;
    }

    /// Passes white space and a value whose containers open at `depth` (0 for a message itself).
    #[inline]
    pub(crate) fn value(&mut self, depth: u32) -> Scan<Span> {
        let (start, first) = self.token_at(self.at);
        match self.value_end(start, first, depth) {
            Some(end) => {
                self.at = end;
                Ok(Span::at(start, end))
            }
            None => Err(self.fault),
        }
    }

    /// Passes an opening bracket whose container is the `depth + 1`-th; a fault beyond the limit.
    #[inline]
    pub(crate) fn open(&mut self, depth: u32) -> Scan<()> {
        if self.too_deep(self.at, depth).is_none() {
            return Err(self.fault);
        }
        self.at += 1;
        Ok(())
    }

    /// After a member or an element: passes a comma (`true`) or the closing `bracket` (`false`).
    #[inline(always)]
    pub(crate) fn another(&mut self, bracket: u8) -> Scan<bool> {
        let byte = self.token();
        if byte != b',' && byte != bracket {
            self.unexpected::<()>(self.at);
            return Err(self.fault);
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// Passes white space, a member's key and the colon.
    #[inline]
    pub(crate) fn key(&mut self) -> Scan<Key> {
        let (start, first) = self.token_at(self.at);
        match self.key_and_colon(start, first) {
            Some((key, colon)) => {
                self.at = colon + 1;
                Ok(key)
            }
            None => Err(self.fault),
        }
    }

    /// Passes white space to the end of the message; a fault where anything else remains.
    pub(crate) fn end(&mut self) -> Scan<()> {
        self.token();
        if self.at < self.bytes.len() {
            self.fault_at::<()>(JsonFaultKind::Trailing, self.at);
            return Err(self.fault);
        }
        Ok(())
    }
}

/// The descent: offsets in, offsets out.
impl Scanner<'_> {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The first offset from `at` on that holds no white space, and the byte there.
    #[inline(always)]
    fn token_at(&self, at: usize) -> (usize, u8) {
        match self.bytes.get(at) {
            Some(&byte) if byte > b' ' => (at, byte),
            _ => self.token_after_space(at),
        }
    }

    fn token_after_space(&self, mut at: usize) -> (usize, u8) {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.byte(at) {
            at += 1;
        }
        (at, self.byte(at))
    }

    #[cold]
    fn fault_at<T>(&mut self, kind: JsonFaultKind, at: usize) -> Option<T> {
        let length = self.bytes.len();
        let kind = if at >= length { JsonFaultKind::Truncated } else { kind };
        self.fault = JsonFault { kind, offset: at.min(length) as u32 };
        None
    }

    #[cold]
    fn unexpected<T>(&mut self, at: usize) -> Option<T> {
        self.fault_at(JsonFaultKind::UnexpectedByte, at)
    }

    #[inline(always)]
    fn too_deep(&mut self, at: usize, depth: u32) -> Option<()> {
        if depth < self.depth_max { Some(()) } else { self.fault_at(JsonFaultKind::TooDeep, at) }
    }

    /// Where the value at `at`, which begins with `first`, ends.
    #[inline(always)]
    fn value_end(&mut self, at: usize, first: u8, depth: u32) -> Option<usize> {
        match first {
            b'"' => self.text_end(at),
            b'{' => self.object_end(at, depth),
            b'[' => self.array_end(at, depth),
            b'-' | b'0'..=b'9' => self.number_end(at, first),
            b't' => self.literal_end(at, b"true"),
            b'f' => self.literal_end(at, b"false"),
            b'n' => self.literal_end(at, b"null"),
            _ => self.unexpected(at),
        }
    }

    fn object_end(&mut self, at: usize, depth: u32) -> Option<usize> {
        self.too_deep(at, depth)?;
        let (mut at, mut byte) = self.token_at(at + 1);
        if byte == b'}' {
            return Some(at + 1);
        }
        loop {
            self.quote(at, byte)?;
            let key = self.text_end(at)?;
            let colon = self.colon(key)?;
            let (value, first) = self.token_at(colon + 1);
            let end = self.value_end(value, first, depth + 1)?;
            match self.token_at(end) {
                (comma, b',') => (at, byte) = self.token_at(comma + 1),
                (end, b'}') => return Some(end + 1),
                (at, _) => return self.unexpected(at),
            }
        }
    }

    fn array_end(&mut self, at: usize, depth: u32) -> Option<usize> {
        self.too_deep(at, depth)?;
        let (mut at, mut byte) = self.token_at(at + 1);
        if byte == b']' {
            return Some(at + 1);
        }
        loop {
            let end = self.value_end(at, byte, depth + 1)?;
            match self.token_at(end) {
                (comma, b',') => (at, byte) = self.token_at(comma + 1),
                (end, b']') => return Some(end + 1),
                (at, _) => return self.unexpected(at),
            }
        }
    }

    /// The key at `at`, which begins with `first`, and where its colon is.
    #[inline(always)]
    fn key_and_colon(&mut self, at: usize, first: u8) -> Option<(Key, usize)> {
        self.quote(at, first)?;
        let (end, escaped) = match string_end(self.bytes, at) {
            // What the fast way accepts is plain.
            Some(end) => (end, false),
            None => self.unplain_text(at)?,
        };
        let colon = self.colon(end)?;
        Some((Key { span: Span::at(at, end), escaped }, colon))
    }

    #[inline(always)]
    fn quote(&mut self, at: usize, byte: u8) -> Option<()> {
        if byte == b'"' { Some(()) } else { self.unexpected(at) }
    }

    /// Where the colon after the key that ends at `end` is.
    #[inline(always)]
    fn colon(&mut self, end: usize) -> Option<usize> {
        match self.token_at(end) {
            (colon, b':') => Some(colon),
            (at, _) => self.unexpected(at),
        }
    }

    /// Where the string whose opening quote is at `at` ends.
    #[inline(always)]
    fn text_end(&mut self, at: usize) -> Option<usize> {
        match string_end(self.bytes, at) {
            Some(end) => Some(end),
            None => self.unplain_text(at).map(|(end, _)| end),
        }
    }

    /// Where any string ends, and whether it holds an escape.
    #[inline(never)]
    fn unplain_text(&mut self, at: usize) -> Option<(usize, bool)> {
        match unplain_string_end(self.bytes, at) {
            Ok(Ended { end, escaped }) => Some((end, escaped)),
            Err((kind, at)) => self.fault_at(kind, at),
        }
    }

    #[inline(always)]
    fn literal_end(&mut self, at: usize, text: &[u8]) -> Option<usize> {
        if self.bytes[at..].starts_with(text) {
            return Some(at + text.len());
        }
        self.not_literal(at, text)
    }

    #[cold]
    fn not_literal<T>(&mut self, at: usize, text: &[u8]) -> Option<T> {
        let common = self.bytes[at..].iter().zip(text).take_while(|(a, b)| a == b).count();
        self.unexpected(at + common)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    #[inline(always)]
    fn number_end(&mut self, at: usize, first: u8) -> Option<usize> {
        let (at, lead) = if first == b'-' { (at + 1, self.byte(at + 1)) } else { (at, first) };
        let end = match lead {
            b'0' => at + 1,
            b'1'..=b'9' => self.digits_end(at + 1),
            _ => return self.fault_at(JsonFaultKind::Number, at),
        };
        match self.byte(end) {
            b'.' | b'e' | b'E' => self.number_tail_end(end),
            b'0'..=b'9' => self.fault_at(JsonFaultKind::Number, end),
            _ => Some(end),
        }
    }

    fn number_tail_end(&mut self, mut at: usize) -> Option<usize> {
        if self.byte(at) == b'.' {
            at = self.some_digits_end(at + 1)?;
        }
        if let b'e' | b'E' = self.byte(at) {
            at += 1 + usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            at = self.some_digits_end(at)?;
        }
        Some(at)
    }

    fn some_digits_end(&mut self, at: usize) -> Option<usize> {
        if !self.byte(at).is_ascii_digit() {
            return self.fault_at(JsonFaultKind::Number, at);
        }
        Some(self.digits_end(at + 1))
    }

    #[inline(always)]
    fn digits_end(&self, mut at: usize) -> usize {
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        at
    }
}
