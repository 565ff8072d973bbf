//! Where does an answer end, and is it the right one?
//!
//! Invariants: an answer is judged only when it is whole; more bytes than one answer are an error,
//! since only one request is in flight. A head that is byte for byte the last one is not read
//! again.

use memchr::memmem;

use crate::options::Era;
use crate::question::Question;

/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
}

/// Collects one answer after another.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    /// The last head, and how its body ended.
    head: Vec<u8>,
    body: Option<Body>,
    /// Whether it is a line instead of an answer of HTTP.
    line: bool,
}

impl Answer {
    /// Collects lines.
    pub(crate) fn lines() -> Self {
        Self { line: true, ..Self::default() }
    }

    /// Adds received bytes; whether the answer is whole now.
    ///
    /// # Errors
    /// It is no HTTP answer of status 2xx, or more than one.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<bool, String> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > ANSWER_BYTES_MAX {
            return Err("an answer does not end".into());
        }
        if self.line {
            return Ok(self.line_is_whole());
        }
        let known = !self.head.is_empty() && self.bytes.starts_with(&self.head);
        if !known {
            let Some(end) = memmem::find(&self.bytes, b"\r\n\r\n") else { return Ok(false) };
            self.head.clear();
            self.head.extend_from_slice(&self.bytes[..end + 4]);
            self.body = Some(read_head(&self.head)?);
        }
        let body = &self.bytes[self.head.len()..];
        match self.body {
            Some(Body::Length(length)) if body.len() > length => Err(self.surprise()),
            Some(Body::Length(length)) => Ok(body.len() == length),
            Some(Body::Chunked) => {
                let end = chunks_end(body).map_err(|()| self.surprise())?;
                Ok(end.is_some())
            }
            None => Err(self.surprise()),
        }
    }

    /// Takes one whole message.
    pub(crate) fn take_line(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    /// Whether a line with an answer is there; what a server says unasked is dropped.
    fn line_is_whole(&mut self) -> bool {
        while let Some(end) = memchr::memchr(b'\n', &self.bytes) {
            if memmem::find(&self.bytes[..end], b"\"id\":").is_some() {
                return end + 1 == self.bytes.len();
            }
            self.bytes.drain(..=end);
        }
        false
    }

    fn surprise(&self) -> String {
        format!("unexpected answer: {}", String::from_utf8_lossy(&self.bytes))
    }

    /// The head of the whole answer.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Bytes of the whole answer.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for the next.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Whether the whole answer is the one to `question`.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn check(&self, question: &Question, era: Era) -> Result<(), String> {
        let body = &self.bytes[self.head.len()..];
        let status_ok = self.line || self.head.starts_with(b"HTTP/1.1 200 ");
        let right = match era {
            Era::Fixed => !body.is_empty(),
            Era::Modern | Era::Session | Era::Stateless => {
                holds(body, b"\"id\":", question.id(), b",}")
                    && holds(body, b"\"text\":\"", question.text(), b"\"")
                    && memmem::find(body, b"\"isError\":true").is_none()
            }
        };
        if status_ok && right {
            return Ok(());
        }
        let id = String::from_utf8_lossy(question.id());
        Err(format!("wrong answer to {id}: {}", String::from_utf8_lossy(&self.bytes)))
    }
}

/// Whether `body` holds `before`, then `value`, then one of `after`.
fn holds(body: &[u8], before: &[u8], value: &[u8], after: &[u8]) -> bool {
    memmem::find_iter(body, before).any(|at| {
        let rest = &body[at + before.len()..];
        rest.starts_with(value) && rest.get(value.len()).is_some_and(|byte| after.contains(byte))
    })
}

fn read_head(head: &[u8]) -> Result<Body, String> {
    let text = String::from_utf8_lossy(head);
    if !text.starts_with("HTTP/1.1 2") {
        return Err(format!("refused: {text}"));
    }
    if text.starts_with("HTTP/1.1 204") {
        return Ok(Body::Length(0));
    }
    for line in text.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            return value.parse().map(Body::Length).map_err(|_| format!("bad head: {text}"));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return Ok(Body::Chunked);
        }
    }
    Err(format!("an answer without a length: {text}"))
}

/// Where a chunked body ends, if it is whole. Wrong where it is not chunked, or goes on after its end.
fn chunks_end(body: &[u8]) -> Result<Option<usize>, ()> {
    let mut at = 0;
    while let Some(line) = memmem::find(&body[at..], b"\r\n") {
        let size = std::str::from_utf8(&body[at..at + line]).map_err(drop)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(drop)?;
        let end = at + line + 2 + size + 2;
        if end > body.len() {
            return Ok(None);
        }
        if size == 0 {
            return if end == body.len() { Ok(Some(end)) } else { Err(()) };
        }
        at = end;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn question() -> Question {
        let arguments = ["--address", "127.0.0.1:1"].map(str::to_owned);
        Question::call(&Options::parse(arguments.into_iter()).unwrap(), None)
    }

    fn body(id: &str, text: &str, more: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]{more}}}}}"#
        )
    }

    /// Pushes the answer whole and byte by byte.
    fn check(head: &str, body: &str, right: bool) {
        let whole = format!("{head}\r\n\r\n{body}");
        for piece in [whole.len(), 1] {
            let mut answer = Answer::default();
            let mut done = Ok(false);
            for bytes in whole.as_bytes().chunks(piece) {
                if done != Ok(false) {
                    break;
                }
                done = answer.push(bytes);
            }
            let judged = match done {
                Ok(whole) => whole && answer.check(&question(), Era::Modern).is_ok(),
                Err(_) => false,
            };
            assert_eq!(judged, right, "{whole}");
        }
    }

    #[test]
    fn only_the_right_answer_counts() {
        let question = question();
        let text = String::from_utf8(question.text().to_vec()).unwrap();
        let id = String::from_utf8(question.id().to_vec()).unwrap();
        let length = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}", body.len());
        for (body, right) in [
            (body(&id, &text, ""), true),
            (body("1000000001", &text, ""), false),
            (body(&format!("{id}1"), &text, ""), false),
            (body(&id, &text[1..], ""), false),
            (body(&id, &format!("{text}x"), ""), false),
            (body(&id, &text, r#","isError":true"#), false),
        ] {
            check(&length(&body), &body, right);
        }
        let body = body(&id, &text, "");
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked";
        let (one, two) = body.split_at(7);
        let chunks = format!("7\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", two.len());
        // A body in one chunk, as an event stream has it.
        let whole = format!("{:X}\r\n{body}\r\n0\r\n\r\n", body.len());
        check(chunked, &whole, true);
        assert_eq!(chunks_end(chunks.as_bytes()), Ok(Some(chunks.len())));
        check(&length(&body).replace("200 OK", "500 No"), &body, false);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3", "1234", false);
    }

    #[test]
    fn what_a_server_says_unasked_is_not_an_answer() {
        let question = question();
        let text = String::from_utf8(question.text().to_vec()).unwrap();
        let id = String::from_utf8(question.id().to_vec()).unwrap();
        let mut answer = Answer::lines();
        assert_eq!(
            answer.push(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n"),
            Ok(false)
        );
        assert_eq!(answer.push(body(&id, &text, "").as_bytes()), Ok(false));
        assert_eq!(answer.push(b"\n"), Ok(true));
        answer.check(&question, Era::Session).unwrap();
    }
}
