//! What is a message of which not all has come, and is it right so far?
//!
//! A message that comes in pieces is checked as JSON as it grows, and its skeleton is kept: the
//! message without white space and without what large values hold. [`scan`](crate::scan) finds in
//! the skeleton what it would find in the message, apart from the content of those values.
//!
//! Invariants: the skeleton is bounded; a message whose pieces were all taken, and whose skeleton is
//! let through, would have been let through whole, and the other way round, except that a skeleton
//! that is too large is a fault.

use crate::json::{Feed, JsonFault, Sink, Span, same_text};

/// Largest skeleton, bytes. What has more members than that fits is not passed on in pieces.
pub const SKELETON_BYTES_MAX: usize = 256 << 10;
/// A string or number of the skeleton that is longer is left out, bytes: it is no name known here.
const TOKEN_BYTES_MAX: usize = 2 << 10;

/// Why a message cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowingFault {
    /// It is no JSON.
    Json(JsonFault),
    /// It has too many members.
    Skeleton,
}

impl std::fmt::Display for GrowingFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(fault) => fault.fmt(f),
            Self::Skeleton => write!(f, "more than {SKELETON_BYTES_MAX} bytes of members"),
        }
    }
}

impl std::error::Error for GrowingFault {}

/// A message in the reading.
#[derive(Clone, Debug)]
pub struct Growing {
    feed: Feed,
    shape: Shape,
}

/// A message cut before the value that is still coming, and ended there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The message up to the value at hand, which is empty here, and what ends it. Members that a
    /// response must have and that did not come yet are added.
    pub closed: Vec<u8>,
    /// How many of its last bytes did not come: all from the value's closing bracket or quote on.
    pub added_bytes: usize,
    /// How many bytes of the message it stands for.
    pub taken_bytes: usize,
}

/// What is known of the message's structure.
#[derive(Clone, Debug, Default)]
struct Shape {
    skeleton: Vec<u8>,
    overflow: bool,
    /// The member of the message at hand.
    root: Root,
    /// The member of the result at hand is `_meta`.
    meta: bool,
    /// Where in the skeleton the string or number at hand begins; whether it is left out.
    token: usize,
    long: bool,
    /// The value of `id`.
    id: (Option<u64>, Option<u64>),
    version: bool,
    /// `result` is an object.
    result: bool,
    /// The result's member at hand: where its value begins, and with which byte.
    member: Option<(u64, u8)>,
    first: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Root {
    #[default]
    Other,
    Id,
    Version,
    Result,
}

impl Growing {
    /// A message of which nothing came. `depth_max` is that of
    /// [`ScanLimits`](crate::ScanLimits).
    #[must_use]
    pub fn new(depth_max: u32) -> Self {
        Self { feed: Feed::new(depth_max), shape: Shape::default() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The sender's fault; the message is lost.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), GrowingFault> {
        self.feed.push(bytes, &mut self.shape).map_err(GrowingFault::Json)?;
        if self.shape.overflow { Err(GrowingFault::Skeleton) } else { Ok(()) }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.feed.offset()
    }

    /// Where the value of the first `id` begins, and where it ends, as far as that came.
    #[must_use]
    pub fn id(&self) -> (Option<u64>, Option<u64>) {
        self.shape.id
    }

    /// The message was taken whole: its skeleton.
    ///
    /// # Errors
    /// It does not end here.
    pub fn finish(&self) -> Result<&[u8], GrowingFault> {
        self.feed.finish().map_err(GrowingFault::Json)?;
        Ok(&self.shape.skeleton)
    }

    /// What is known of a message all of whose bytes so far are `held`, if it is a response in the
    /// middle of a member of its result. `id` stands in where its own did not come.
    #[must_use]
    pub fn beginning(&self, held: &[u8], id: u64) -> Option<Beginning> {
        debug_assert_eq!(self.bytes(), held.len() as u64, "all of it");
        let shape = &self.shape;
        let (start, first) = shape.member.filter(|_| shape.result)?;
        let ending: &[u8] = match first {
            b'{' => b"}",
            b'[' => b"]",
            b'"' if self.feed.in_text() => b"\"",
            _ => return None,
        };
        let taken_bytes = usize::try_from(start).ok()? + 1;
        let mut closed = held.get(..taken_bytes)?.to_vec();
        closed.extend_from_slice(ending);
        closed.push(b'}');
        if !shape.version {
            closed.extend_from_slice(b",\"jsonrpc\":\"2.0\"");
        }
        match shape.id {
            (None, _) => closed.extend_from_slice(format!(",\"id\":{id}").as_bytes()),
            (Some(_), None) => return None,
            (Some(_), Some(_)) => {}
        }
        closed.push(b'}');
        Some(Beginning { added_bytes: closed.len() - taken_bytes, closed, taken_bytes })
    }

    /// The span of the value that a [`Beginning`] leaves open.
    #[must_use]
    pub fn open_value(beginning: &Beginning) -> Span {
        let start = beginning.taken_bytes as u32 - 1;
        Span::new(start, start + 2)
    }
}

impl Shape {
    /// Whether what stands in a container at this depth is part of the skeleton.
    fn keeps(&self, depth: u32) -> bool {
        depth <= 2 || (depth == 3 && self.meta)
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.skeleton.len() + bytes.len() > SKELETON_BYTES_MAX {
            self.overflow = true;
        } else {
            self.skeleton.extend_from_slice(bytes);
        }
    }
}

impl Sink for Shape {
    #[inline]
    fn open(&mut self, at: u64, byte: u8, depth: u32) {
        if !self.keeps(depth) {
            return;
        }
        let result = self.root == Root::Result;
        match depth {
            1 => self.result |= result && byte == b'{',
            2 if result => self.member = Some((at, byte)),
            _ => {}
        }
        self.add(&[byte]);
    }

    #[inline]
    fn close(&mut self, byte: u8, depth: u32) {
        if !self.keeps(depth) {
            return;
        }
        match depth {
            1 => self.root = Root::Other,
            2 => (self.member, self.meta) = (None, false),
            _ => {}
        }
        self.add(&[byte]);
    }

    #[inline]
    fn between(&mut self, byte: u8, depth: u32) {
        if self.keeps(depth) {
            self.add(&[byte]);
        }
    }

    #[inline]
    fn begin(&mut self, at: u64, depth: u32) {
        if !self.keeps(depth) {
            return;
        }
        (self.token, self.long) = (self.skeleton.len(), false);
        match (depth, self.root) {
            (1, Root::Id) if self.id.0.is_none() => self.id.0 = Some(at),
            (2, Root::Result) => self.member = Some((at, b'"')),
            _ => {}
        }
    }

    #[inline]
    fn run(&mut self, bytes: &[u8], depth: u32) {
        if !self.keeps(depth) || self.long {
            return;
        }
        if self.skeleton.len() == self.token {
            self.first = bytes.first().copied().unwrap_or_default();
        }
        if self.skeleton.len() - self.token + bytes.len() > TOKEN_BYTES_MAX {
            self.long = true;
            self.skeleton.truncate(self.token);
        } else {
            self.add(bytes);
        }
    }

    #[inline]
    fn end(&mut self, at: u64, key: bool, depth: u32) {
        if !self.keeps(depth) {
            return;
        }
        if self.long {
            self.add(if self.first == b'"' { b"\"\"" } else { b"0" });
        }
        let raw = self.skeleton.get(self.token..).unwrap_or_default();
        match (key, depth) {
            (true, 1) => {
                let is = |name| same_text(raw, name);
                self.root = match raw {
                    _ if is("id") => Root::Id,
                    _ if is("jsonrpc") => Root::Version,
                    _ if is("result") => Root::Result,
                    _ => Root::Other,
                };
                self.version |= self.root == Root::Version;
            }
            (true, 2) => {
                self.member = None;
                self.meta = self.root == Root::Result && same_text(raw, "_meta");
            }
            (false, 1) if self.root == Root::Id && self.id.1.is_none() => self.id.1 = Some(at),
            (false, 2) => (self.member, self.meta) = (None, false),
            _ => {}
        }
    }
}
