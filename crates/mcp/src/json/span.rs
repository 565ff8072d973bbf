//! Where does a value lie in its message?

use std::fmt;

/// A range of bytes in a message the caller holds. Offsets are bytes from the message's start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte; never before `start`.
    pub end: u32,
}

impl Span {
    /// The range `start..end`.
    ///
    /// # Panics
    /// If `end` is before `start`: a caller's bug.
    pub const fn new(start: u32, end: u32) -> Self {
        assert!(start <= end);
        Self { start, end }
    }

    /// The range `start..end` of offsets into a message short enough for 32 bits.
    pub(crate) fn at(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }

    /// All of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB or longer; no message is.
    pub fn all(bytes: &[u8]) -> Self {
        let end = u32::try_from(bytes.len()).expect("a message is shorter than 4 GiB");
        Self { start: 0, end }
    }

    /// The bytes of `message` that this span names.
    ///
    /// # Panics
    /// If the span is not one of `message`: a caller's bug.
    pub fn of(self, message: &[u8]) -> &[u8] {
        &message[self.start as usize..self.end as usize]
    }

    /// Length in bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the span holds no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `other` lies inside this span.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The same bytes seen from a message that begins `offset` bytes later.
    ///
    /// # Panics
    /// If the span begins before `offset`: a caller's bug.
    pub const fn relative_to(self, offset: u32) -> Self {
        assert!(offset <= self.start);
        Self { start: self.start - offset, end: self.end - offset }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl From<Span> for std::ops::Range<usize> {
    fn from(span: Span) -> Self {
        span.start as usize..span.end as usize
    }
}
