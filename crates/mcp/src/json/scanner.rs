//! Is this one well-formed value, and where does it end?
//!
//! A recursive descent over the bytes; containers recurse, so the depth limit bounds the stack (at
//! most [`DEPTH_MAX`](crate::limits::DEPTH_MAX) small frames). Each byte is looked at once.

use super::block::{high_bits, stops};
use super::fault::{JsonFault, JsonFaultKind};
use super::span::Span;

/// A place in a message, moving forward only.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: u32,
}

/// A scanned string: its span with the quotes, and whether it holds an escape.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub(crate) span: Span,
    pub(crate) escaped: bool,
}

type Scan<T> = Result<T, JsonFault>;

impl<'a> Scanner<'a> {
    /// Starts at byte `at` of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB or longer: callers bound messages far below.
    pub(crate) fn new(bytes: &'a [u8], at: u32, depth_max: u32) -> Self {
        assert!(u32::try_from(bytes.len()).is_ok());
        Self { bytes, at: at as usize, depth_max }
    }

    /// The next byte to be read, as an offset.
    pub(crate) fn offset(&self) -> u32 {
        self.at as u32
    }

    /// The byte at the place, not passing it. Reads 0 (no JSON token) at the end.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Passes white space, then returns the byte there, not passing it.
    #[inline(always)]
    pub(crate) fn token(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' { byte } else { self.token_after_space() }
    }

    fn token_after_space(&mut self) -> u8 {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Passes the byte just seen.
    #[inline(always)]
    pub(crate) fn pass(&mut self) {
        self.at += 1;
    }

    #[cold]
    fn fault_at<T>(&self, kind: JsonFaultKind, at: usize) -> Scan<T> {
        let kind = if at >= self.bytes.len() { JsonFaultKind::Truncated } else { kind };
        Err(JsonFault { kind, offset: at.min(self.bytes.len()) as u32 })
    }

    /// The fault of finding what cannot stand at the place.
    #[cold]
    pub(crate) fn unexpected<T>(&self) -> Scan<T> {
        self.fault_at(JsonFaultKind::UnexpectedByte, self.at)
    }

    /// Passes white space and a value whose containers open at `depth` (0 for a message itself).
    #[inline]
    pub(crate) fn value(&mut self, depth: u32) -> Scan<Span> {
        let first = self.token();
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'-' | b'0'..=b'9' => self.number(first)?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => return self.unexpected(),
        }
        Ok(Span::at(start, self.at))
    }

    /// Passes an opening bracket whose container is the `depth + 1`-th; a fault beyond the limit.
    #[inline]
    pub(crate) fn open(&mut self, depth: u32) -> Scan<()> {
        if depth >= self.depth_max {
            return self.fault_at(JsonFaultKind::TooDeep, self.at);
        }
        self.at += 1;
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Scan<()> {
        self.open(depth)?;
        if self.token() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.key()?;
            self.value(depth + 1)?;
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: u32) -> Scan<()> {
        self.open(depth)?;
        if self.token() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if !self.another(b']')? {
                return Ok(());
            }
        }
    }

    /// After a member or an element: passes a comma (`true`) or the closing `bracket` (`false`).
    #[inline(always)]
    pub(crate) fn another(&mut self, bracket: u8) -> Scan<bool> {
        let byte = self.token();
        self.at += 1;
        if byte == b',' {
            Ok(true)
        } else if byte == bracket {
            Ok(false)
        } else {
            self.at -= 1;
            self.unexpected()
        }
    }

    /// Passes white space, a member's key and the colon.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Scan<Text> {
        if self.token() != b'"' {
            return self.unexpected();
        }
        let text = self.string()?;
        if self.token() != b':' {
            return self.unexpected();
        }
        self.at += 1;
        Ok(text)
    }

    /// Passes a string whose opening quote is at the place.
    #[inline]
    pub(crate) fn string(&mut self) -> Scan<Text> {
        let start = self.at;
        let mut at = start + 1;
        let mut outside_ascii = 0;
        let mut escaped = false;
        loop {
            let Some(block) = self.bytes.get(at..at + 8) else {
                return self.string_near_end(start, at, escaped);
            };
            let word = u64::from_le_bytes(block.try_into().expect("eight bytes"));
            let stop = stops(word);
            if stop == 0 {
                outside_ascii |= high_bits(word);
                at += 8;
                continue;
            }
            // Only bytes before the stop belong to this string.
            outside_ascii |= high_bits(word) & (stop ^ stop.wrapping_sub(1));
            at += stop.trailing_zeros() as usize / 8;
            match self.bytes[at] {
                b'"' => return self.string_ends(start, at, escaped, outside_ascii != 0),
                b'\\' => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                _ => return self.fault_at(JsonFaultKind::ControlCharacter, at),
            }
        }
    }

    /// The last bytes of a message, fewer than a block.
    #[cold]
    fn string_near_end(&mut self, start: usize, mut at: usize, mut escaped: bool) -> Scan<Text> {
        loop {
            match self.bytes.get(at) {
                None => return self.fault_at(JsonFaultKind::Truncated, at),
                Some(b'"') => return self.string_ends(start, at, escaped, true),
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(0..0x20) => return self.fault_at(JsonFaultKind::ControlCharacter, at),
                Some(_) => at += 1,
            }
        }
    }

    #[inline(always)]
    fn string_ends(&mut self, start: usize, quote: usize, escaped: bool, wide: bool) -> Scan<Text> {
        if wide && let Err(fault) = std::str::from_utf8(&self.bytes[start..quote]) {
            return self.fault_at(JsonFaultKind::NotUtf8, start + fault.valid_up_to());
        }
        self.at = quote + 1;
        Ok(Text { span: Span::at(start, quote + 1), escaped })
    }

    /// The offset after the escape whose backslash is at `at`.
    #[inline]
    fn escape(&self, at: usize) -> Scan<usize> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => {
                for digit in at + 2..at + 6 {
                    if !self.bytes.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                        return self.fault_at(JsonFaultKind::Escape, digit);
                    }
                }
                Ok(at + 6)
            }
            _ => self.fault_at(JsonFaultKind::Escape, at + 1),
        }
    }

    #[inline(always)]
    fn literal(&mut self, text: &[u8]) -> Scan<()> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(text) {
            self.at += text.len();
            return Ok(());
        }
        let common = rest.iter().zip(text).take_while(|(a, b)| a == b).count();
        self.fault_at(JsonFaultKind::UnexpectedByte, self.at + common)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    #[inline]
    fn number(&mut self, first: u8) -> Scan<()> {
        let mut lead = first;
        if lead == b'-' {
            self.at += 1;
            lead = self.peek();
        }
        match lead {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return self.fault_at(JsonFaultKind::Number, self.at),
        }
        match self.peek() {
            b'.' | b'e' | b'E' => self.number_tail(),
            b'0'..=b'9' => self.fault_at(JsonFaultKind::Number, self.at),
            _ => Ok(()),
        }
    }

    fn number_tail(&mut self) -> Scan<()> {
        if self.peek() == b'.' {
            self.at += 1;
            self.some_digits()?;
        }
        if let b'e' | b'E' = self.peek() {
            self.at += 1;
            if let b'+' | b'-' = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Scan<()> {
        if !self.peek().is_ascii_digit() {
            return self.fault_at(JsonFaultKind::Number, self.at);
        }
        self.digits();
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    /// Passes white space to the end of the message; a fault where anything else remains.
    pub(crate) fn end(&mut self) -> Scan<()> {
        self.token();
        if self.at < self.bytes.len() {
            return self.fault_at(JsonFaultKind::Trailing, self.at);
        }
        Ok(())
    }
}
