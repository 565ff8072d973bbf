//! Where does a newline-delimited message end? (stdio and Unix-socket framing)
//!
//! Invariants: a line that lies whole in one read is handed out where it lies; only a line cut by
//! the end of a read is copied, once. At most `message_bytes_max` bytes are held. A longer line is
//! reported when it passes the limit and skipped up to its newline, so one bad message costs only
//! itself; at its end it is reported again if it said under which id somebody may wait for it.

use std::fmt;

use memchr::memchr;

use crate::http::limits::BUFFER_KEEP_BYTES_MAX;
use crate::outline::{Outline, Scan};

/// A line longer than the limit. The peer's fault; the lines after it are unharmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit, in bytes, line end not counted.
    pub bytes_max: usize,
    /// The second report, at the end of the line: whose message it was.
    pub outline: Option<Outline>,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for LineTooLong {}

/// Cuts one stream of bytes into lines.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    /// The beginning of a line whose newline has not come yet.
    partial: Vec<u8>,
    /// Inside a line that was reported as too long.
    skipping: Option<Box<Scan>>,
    /// Of a line that is over, to be reported next.
    outline: Option<Outline>,
}

impl Decoder {
    /// A decoder for a fresh stream. Allocates nothing yet.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, partial: Vec::new(), skipping: None, outline: None }
    }

    /// Takes the next bytes of the stream. Read all lines from the result: what it holds when it
    /// is dropped early is read as part of the stream all the same, but its lines are lost.
    pub fn push<'a>(&'a mut self, bytes: &'a [u8]) -> Lines<'a> {
        Lines { decoder: self, rest: bytes, joined: false }
    }

    /// A line that is over is too long: its first report; the second follows.
    fn over(&mut self, pieces: &[&[u8]]) -> LineTooLong {
        let mut scan = Scan::default();
        pieces.iter().for_each(|piece| scan.push(piece));
        self.outline = scan.finish();
        LineTooLong { bytes_max: self.message_bytes_max, outline: None }
    }

    /// Bytes held of a line that has not ended. Not zero at the end of a stream: it was cut.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.partial.len()
    }
}

/// The lines that one [`Decoder::push`] completes.
#[derive(Debug)]
pub struct Lines<'a> {
    decoder: &'a mut Decoder,
    rest: &'a [u8],
    /// The line handed out last was joined in `decoder.partial`.
    joined: bool,
}

impl Lines<'_> {
    /// The next line, without its line end. Empty lines are skipped; CR LF counts as a line end.
    ///
    /// # Errors
    /// [`LineTooLong`], once or twice for each such line. Go on calling.
    #[allow(clippy::should_implement_trait, reason = "a lending iterator is no Iterator")]
    pub fn next(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        let bytes_max = self.decoder.message_bytes_max;
        self.release_joined();
        if let Some(outline) = self.decoder.outline.take() {
            return Some(Err(LineTooLong { bytes_max, outline: Some(outline) }));
        }
        while let Some(end) = memchr(b'\n', self.rest) {
            let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
            self.rest = rest;
            if let Some(mut scan) = self.decoder.skipping.take() {
                scan.push(line);
                if let Some(outline) = scan.finish() {
                    return Some(Err(LineTooLong { bytes_max, outline: Some(outline) }));
                }
                continue;
            }
            if self.decoder.partial.is_empty() {
                match without_cr(line) {
                    [] => continue,
                    line if line.len() > bytes_max => {
                        return Some(Err(self.decoder.over(&[line])));
                    }
                    line => return Some(Ok(line)),
                }
            }
            // One byte of grace: it may be the CR of the line end.
            let fits = self.decoder.partial.len() + line.len() <= bytes_max + 1;
            self.joined = true;
            if !fits {
                let partial = std::mem::take(&mut self.decoder.partial);
                return Some(Err(self.decoder.over(&[&partial, line])));
            }
            self.decoder.partial.extend_from_slice(line);
            let whole = without_cr(&self.decoder.partial);
            if whole.len() > bytes_max {
                let partial = std::mem::take(&mut self.decoder.partial);
                return Some(Err(self.decoder.over(&[&partial])));
            }
            if whole.is_empty() {
                self.release_joined();
                continue;
            }
            return Some(Ok(without_cr(&self.decoder.partial)));
        }
        self.keep_rest().map(Err)
    }

    /// Keeps what follows the last newline. `Some` if that makes the line too long.
    fn keep_rest(&mut self) -> Option<LineTooLong> {
        let rest = std::mem::take(&mut self.rest);
        let decoder = &mut *self.decoder;
        if let Some(scan) = &mut decoder.skipping {
            scan.push(rest);
            return None;
        }
        let bytes_max = decoder.message_bytes_max;
        let length = decoder.partial.len() + rest.len();
        let cr = usize::from(rest.last() == Some(&b'\r'));
        if !rest.is_empty() && length - cr > bytes_max {
            let mut scan = Box::<Scan>::default();
            scan.push(&std::mem::take(&mut decoder.partial));
            scan.push(rest);
            decoder.skipping = Some(scan);
            return Some(LineTooLong { bytes_max, outline: None });
        }
        decoder.partial.extend_from_slice(rest);
        None
    }

    fn release_joined(&mut self) {
        if std::mem::take(&mut self.joined) {
            self.decoder.partial.clear();
            if self.decoder.partial.capacity() > BUFFER_KEEP_BYTES_MAX {
                self.decoder.partial = Vec::new();
            }
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; an error is shown as `!`.
    fn lines(input: &[u8], bytes_max: usize, step: usize) -> Vec<String> {
        let mut decoder = Decoder::new(bytes_max);
        let mut out = Vec::new();
        for piece in input.chunks(step) {
            let mut lines = decoder.push(piece);
            while let Some(line) = lines.next() {
                out.push(match line {
                    Ok(line) => String::from_utf8_lossy(line).into_owned(),
                    Err(LineTooLong { outline: None, .. }) => "!".to_owned(),
                    Err(LineTooLong { outline: Some(outline), .. }) => {
                        format!("!{}", String::from_utf8_lossy(&outline.id))
                    }
                });
            }
            drop(lines);
            assert!(decoder.pending_bytes() <= bytes_max + 1);
        }
        out
    }

    fn check(input: &str, bytes_max: usize, expected: &[&str]) {
        for step in 1..=input.len().max(1) {
            assert_eq!(lines(input.as_bytes(), bytes_max, step), expected, "{input:?} by {step}");
        }
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_lines() {
        check("", 8, &[]);
        check("a\nb\n", 8, &["a", "b"]);
        check("a\r\nb\r\n", 8, &["a", "b"]);
        check("\n\r\n\na\n\n", 8, &["a"]);
        check("a\rb\n", 8, &["a\rb"]);
        check("a\r\r\n", 8, &["a\r"]);
        check("unfinished", 20, &[]);
        check("12345678\n12345678\r\nx\n", 8, &["12345678", "12345678", "x"]);
    }

    #[test]
    fn an_oversized_line_costs_itself_and_nothing_else() {
        check("ok\n123456789\nok\n", 8, &["ok", "!", "ok"]);
        check("123456789\r\nok\n", 8, &["!", "ok"]);
        check("1234567890123456789012345\n\nok\n", 8, &["!", "ok"]);
        check("12345678\r\r\nok\n", 8, &["!", "ok"]);
        check("1234567890", 8, &["!"]);
    }

    #[test]
    fn whoever_waits_for_an_oversized_answer_can_be_told() {
        check("{\"id\":17}\nok\n", 8, &["!", "!17", "ok"]);
        check("{\"a\":1,\"id\":\"x\"}\r\nok\n", 8, &["!", "!\"x\"", "ok"]);
        check("{\"a\":1234567\nok\n", 8, &["!", "ok"]);
    }

    #[test]
    fn a_line_in_one_piece_is_not_copied() {
        let input = b"{\"a\":1}\n";
        let mut decoder = Decoder::new(64);
        let mut lines = decoder.push(input);
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line.as_ptr(), input.as_ptr());
        drop(lines);
        assert_eq!(decoder.partial.capacity(), 0);
    }

    #[test]
    fn lines_left_unread_do_not_spoil_those_after() {
        let mut decoder = Decoder::new(64);
        drop(decoder.push(b"a\nb\nc"));
        let mut lines = decoder.push(b"d\n");
        assert_eq!(lines.next().unwrap().unwrap(), b"cd");
    }
}
