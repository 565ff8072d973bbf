//! What does this client ask, and where does its next request begin?
//!
//! Invariants: nothing is parsed twice; the head is parsed once when it is whole, a chunked body
//! once as it comes. After an error the decoder gives the same error for ever. The requests found
//! and the error that ends them do not depend on how the bytes were split.

use super::body::{Chunked, Declared, FramingFault, Step, declared};
use super::error::HttpError;
use super::head::{
    HeadScan, HeaderTable, Headers, Known, header_slots, is_token_byte, limited, parser_fault,
};
use super::limits::{BUFFER_KEEP_BYTES_MAX, HttpLimits, LEADING_EMPTY_LINES_MAX};
use super::start_line::{Method, is_host, target, version_fault};

/// One whole request. Borrows from the receive buffer and from the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method; for [`Method::Other`] answer 405.
    pub method: Method,
    /// Path and query, also of an absolute-form target. `*` for an OPTIONS of the whole server.
    pub target: &'a str,
    /// The client speaks HTTP/1.0: answer it without chunks, and close.
    pub http10: bool,
    /// Whether the connection may carry another request. Never for HTTP/1.0.
    pub keep_alive: bool,
    /// The headers.
    pub headers: Headers<'a>,
    /// The body, chunks joined. Empty when there is none.
    pub body: &'a [u8],
}

/// What the bytes so far amount to.
#[allow(clippy::large_enum_variant, reason = "a request is looked at where it is made")]
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// No whole request yet. Drop `consumed` bytes, keep the rest, call again with more.
    Incomplete {
        /// Bytes at the front of the input that are no longer needed.
        consumed: usize,
        /// The client waits for `100 Continue` before it sends the body. Said once a request.
        send_continue: bool,
        /// The head is whole and valid; only body bytes are missing.
        head_done: bool,
    },
    /// A whole request. After its use, drop `consumed` bytes; the next request may follow them.
    Complete {
        /// The request.
        request: Request<'a>,
        /// Bytes at the front of the input that belong to it or came before it.
        consumed: usize,
    },
}

/// Where the decoder stands between two calls.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or inside a head.
    Head,
    /// Head parsed; `bytes` of head and body must lie in the input.
    Length {
        bytes: usize,
    },
    /// Head parsed and kept in `head_copy`; the body goes to `body` as it comes.
    Chunked(Chunked),
    /// The last call gave a whole request.
    Done,
    Broken(HttpError),
}

/// Reads the requests of one connection, one after another.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: HttpLimits,
    state: State,
    scan: HeadScan,
    empty_lines: u8,
    headers: HeaderTable,
    line: Line,
    /// The head of a request whose body is chunked: its bytes leave the input before the body's.
    head_copy: Vec<u8>,
    body: Vec<u8>,
}

/// What the request line and the headers said, as positions in the head.
#[derive(Clone, Copy, Debug)]
struct Line {
    method: Method,
    target_start: usize,
    /// 0: an absolute target without a path, which stands for `/`.
    target_len: usize,
    http10: bool,
    keep_alive: bool,
    head_bytes: usize,
    /// Of a body with a known length.
    body_bytes: usize,
    chunked: bool,
    continue_due: bool,
}

impl Line {
    const NONE: Self = Self {
        method: Method::Other,
        target_start: 0,
        target_len: 0,
        http10: false,
        keep_alive: false,
        head_bytes: 0,
        body_bytes: 0,
        chunked: false,
        continue_due: false,
    };
}

impl RequestDecoder {
    /// A decoder for a fresh connection. Allocates nothing yet.
    #[must_use]
    pub fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            state: State::Head,
            scan: HeadScan::default(),
            empty_lines: 0,
            headers: HeaderTable::new(),
            line: Line::NONE,
            head_copy: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Looks at `input`: every byte received and not yet consumed, in one piece.
    ///
    /// # Errors
    /// The request breaks a rule or a limit. Answer with the error's status, then close: each
    /// later call gives the same error.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Decoded<'a>, HttpError> {
        match self.advance(input) {
            Ok(Progress { skipped, consumed, whole: true }) => {
                Ok(Decoded::Complete { request: self.request(&input[skipped..]), consumed })
            }
            Ok(Progress { consumed, whole: false, .. }) => {
                let head_done = !matches!(self.state, State::Head);
                let send_continue = head_done && std::mem::take(&mut self.line.continue_due);
                Ok(Decoded::Incomplete { consumed, send_continue, head_done })
            }
            Err(error) => {
                self.state = State::Broken(error);
                Err(error)
            }
        }
    }

    /// The request whose body is still coming, its body empty: to refuse it early. `input` is
    /// what remains after the `consumed` bytes of the last [`Decoded::Incomplete`] were dropped.
    #[must_use]
    pub fn head<'a>(&'a self, input: &'a [u8]) -> Option<Request<'a>> {
        match self.state {
            State::Length { .. } | State::Chunked(_) => {
                Some(Request { body: &[], ..self.request(input) })
            }
            State::Head | State::Done | State::Broken(_) => None,
        }
    }

    /// How many bytes the input must hold for the current request to be whole, where that is
    /// known; otherwise 0. At most [`HttpLimits::message_bytes_max`].
    #[must_use]
    pub fn wanted_bytes(&self) -> usize {
        if let State::Length { bytes } = self.state { bytes } else { 0 }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Progress, HttpError> {
        let mut skipped = 0;
        let mut consumed = 0;
        if matches!(self.state, State::Done) {
            self.reset();
        }
        if matches!(self.state, State::Head) {
            skipped = self.skip_empty_lines(input)?;
            let head = &input[skipped..];
            if matches!(head, [] | [b'\r']) || !self.read_head(head)? {
                return Ok(Progress { skipped, consumed: skipped, whole: false });
            }
            consumed = skipped;
            if self.line.chunked {
                consumed += self.line.head_bytes;
            }
        }
        match self.state {
            State::Length { bytes } if input.len() - skipped >= bytes => {
                self.state = State::Done;
                Ok(Progress { skipped, consumed: skipped + bytes, whole: true })
            }
            State::Length { .. } => Ok(Progress { skipped, consumed, whole: false }),
            State::Chunked(chunked) => {
                let (used, whole) = self.read_chunks(chunked, &input[consumed..])?;
                Ok(Progress { skipped, consumed: consumed + used, whole })
            }
            State::Broken(error) => Err(error),
            State::Head | State::Done => unreachable!("the head was read above"),
        }
    }

    fn reset(&mut self) {
        self.state = State::Head;
        self.scan = HeadScan::default();
        self.empty_lines = 0;
        self.line = Line::NONE;
        for buffer in [&mut self.head_copy, &mut self.body] {
            buffer.clear();
            if buffer.capacity() > BUFFER_KEEP_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }

    /// Counts the bytes of empty lines before the request line.
    fn skip_empty_lines(&mut self, input: &[u8]) -> Result<usize, HttpError> {
        let mut skipped = 0;
        while input[skipped..].starts_with(b"\r\n") {
            self.empty_lines += 1;
            if self.empty_lines > LEADING_EMPTY_LINES_MAX {
                return Err(HttpError::closing(400, "empty lines instead of a request"));
            }
            skipped += 2;
        }
        // A TLS hello, another protocol: refused at its first byte instead of at a time-out.
        match input[skipped..] {
            [] | [b'\r'] => Ok(skipped),
            [first, ..] if is_token_byte(first) => Ok(skipped),
            _ => Err(HttpError::closing(400, "malformed request line")),
        }
    }

    /// Parses the head at `input[0]` if it is whole, and decides how the body is framed.
    fn read_head(&mut self, input: &[u8]) -> Result<bool, HttpError> {
        let line_max = self.limits.request_line_bytes_max();
        let found = self.scan.scan(input, line_max, self.limits.head_bytes_max())?;
        let Some(head_bytes) = found else { return Ok(false) };
        let head = &input[..head_bytes];
        let mut slots = header_slots();
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, limited(&mut slots, &self.limits)) {
            Ok(httparse::Status::Complete(bytes)) if bytes == head_bytes => {}
            Ok(_) => return Err(HttpError::closing(400, "malformed request head")),
            Err(httparse::Error::Version) => return Err(version_fault(head)),
            Err(error) => return Err(parser_fault(error).into()),
        }
        let (Some(method), Some(raw_target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            unreachable!("a parsed request has a whole request line");
        };
        if raw_target.len() > self.limits.target_bytes_max {
            return Err(HttpError::closing(414, "request target too long"));
        }
        let http10 = version == 0;
        let target = target(method, raw_target)?;
        self.headers.fill(head, parsed.headers);
        self.check_headers(head, http10, target.authority)?;
        self.line = Line {
            method: Method::of(method),
            // The target follows the method and one space: the parser allows nothing else.
            target_start: method.len() + 1 + target.path_start,
            target_len: target.path_len,
            http10,
            keep_alive: !http10 && !self.headers.connection_has(head, "close"),
            head_bytes,
            body_bytes: 0,
            chunked: false,
            continue_due: self.expects_continue(head, http10)?,
        };
        self.choose_body(head)?;
        Ok(true)
    }

    fn check_headers(
        &self,
        head: &[u8],
        http10: bool,
        authority: Option<&str>,
    ) -> Result<(), HttpError> {
        let bad = |reason| Err(HttpError::closing(400, reason));
        if self.headers.any_repeated() {
            return bad("header repeated that may occur once");
        }
        if !self.headers.known_are_ascii(head) {
            return bad("header value outside ASCII");
        }
        match (self.headers.known(head, Known::Host), authority) {
            (None, _) if http10 => Ok(()),
            (None, _) => bad("missing Host"),
            (Some(host), _) if !is_host(host) => bad("malformed Host"),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority.as_bytes()) => {
                bad("Host differs from the request target")
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// `Expect: 100-continue` is the only expectation there is (RFC 9110 section 10.1.1).
    fn expects_continue(&self, head: &[u8], http10: bool) -> Result<bool, HttpError> {
        match self.headers.known(head, Known::Expect) {
            None => Ok(false),
            Some(_) if http10 => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(HttpError::closing(417, "unknown expectation")),
        }
    }

    fn choose_body(&mut self, head: &[u8]) -> Result<(), HttpError> {
        let declared =
            declared(&self.headers, head, self.line.http10).map_err(|fault| match fault {
                FramingFault::Malformed(reason) => HttpError::closing(400, reason),
                FramingFault::UnknownCoding => {
                    HttpError::closing(501, "transfer coding other than chunked")
                }
            })?;
        let body_bytes_max = self.limits.body_bytes_max;
        self.state = match declared {
            Declared::Nothing => State::Length { bytes: head.len() },
            Declared::Length(bytes) => match usize::try_from(bytes) {
                Ok(bytes) if bytes <= body_bytes_max => {
                    self.line.body_bytes = bytes;
                    State::Length { bytes: head.len() + bytes }
                }
                _ => return Err(HttpError::closing(413, "request body too large")),
            },
            Declared::Chunked => {
                self.line.chunked = true;
                self.head_copy.extend_from_slice(head);
                State::Chunked(Chunked::new(&self.limits, body_bytes_max as u64))
            }
        };
        Ok(())
    }

    fn read_chunks(
        &mut self,
        mut chunked: Chunked,
        input: &[u8],
    ) -> Result<(usize, bool), HttpError> {
        let mut used = 0;
        loop {
            let (bytes, step) = chunked.step(&input[used..])?;
            used += bytes;
            match step {
                Step::Data(data) => self.body.extend_from_slice(data),
                Step::NeedMore => {
                    self.state = State::Chunked(chunked);
                    return Ok((used, false));
                }
                Step::End => {
                    self.state = State::Done;
                    return Ok((used, true));
                }
            }
        }
    }

    /// The parsed request; `input` begins at its head, if the head was not copied.
    fn request<'a>(&'a self, input: &'a [u8]) -> Request<'a> {
        let line = &self.line;
        let (head, body): (&[u8], &[u8]) = if line.chunked {
            (&self.head_copy, &self.body)
        } else {
            let body = match self.state {
                State::Done => &input[line.head_bytes..line.head_bytes + line.body_bytes],
                _ => &[],
            };
            (&input[..line.head_bytes], body)
        };
        // One check for all text in it; a head with other bytes in it is rare.
        let whole = std::str::from_utf8(head).ok();
        let place = line.target_start..line.target_start + line.target_len;
        let target = match whole.and_then(|head| head.get(place.clone())) {
            Some(text) => Ok(text),
            None => std::str::from_utf8(&head[place]),
        };
        let target = target.expect("a target was checked to be ASCII");
        Request {
            method: line.method,
            target: if target.is_empty() { "/" } else { target },
            http10: line.http10,
            keep_alive: line.keep_alive,
            headers: self.headers.view(head, whole),
            body,
        }
    }
}

/// What one look at the input came to.
struct Progress {
    /// Bytes of empty lines before the head, in this input.
    skipped: usize,
    consumed: usize,
    whole: bool,
}
