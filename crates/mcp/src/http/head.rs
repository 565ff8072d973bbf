//! Where does a head end, and what do its header lines say?
//!
//! Invariants: a byte is scanned for the end of the head once, however the head arrives in
//! pieces. Lines end in CR LF and nothing else. What is found is the same for every split of the
//! same bytes. Header lines are kept as positions, so nothing borrows from the receive buffer
//! between two calls, and the table's memory is reused from request to request.

use memchr::memchr_iter;

use super::limits::{HEADERS_MAX, HttpLimits};

/// What can be wrong with a head, whichever side sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    StartLineTooLong,
    TooLarge,
    TooManyHeaders,
    Malformed(&'static str),
}

/// The search for the empty line, kept between calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes already looked at.
    at: usize,
    /// Where the current line began.
    line_start: usize,
    /// Lines seen, without the empty one.
    lines: usize,
}

impl HeadScan {
    /// Whether no byte of a head was seen yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.at == 0
    }

    /// Looks for the end of the head that begins at `input[0]`. `Some(len)` is its length,
    /// the empty line included.
    pub(super) fn scan(
        &mut self,
        input: &[u8],
        start_line_bytes_max: usize,
        head_bytes_max: usize,
    ) -> Result<Option<usize>, HeadFault> {
        // Sizes are checked before line ends, so that the verdict does not depend on how much of
        // the input is here already.
        let from = self.at;
        for offset in memchr_iter(b'\n', &input[from..]) {
            let end = from + offset + 1;
            if self.lines == 0 && end > start_line_bytes_max {
                return Err(HeadFault::StartLineTooLong);
            }
            if end > head_bytes_max {
                return Err(HeadFault::TooLarge);
            }
            let line = &input[self.line_start..end];
            if line.len() < 2 || line[line.len() - 2] != b'\r' {
                return Err(HeadFault::Malformed("line end without CR"));
            }
            self.at = end;
            self.line_start = end;
            if line.len() == 2 {
                return Ok(Some(end));
            }
            self.lines += 1;
        }
        self.at = input.len();
        if self.lines == 0 && input.len() > start_line_bytes_max {
            return Err(HeadFault::StartLineTooLong);
        }
        if input.len() > head_bytes_max {
            return Err(HeadFault::TooLarge);
        }
        Ok(None)
    }
}

/// One header line as positions in its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    name_start: u16,
    name_len: u16,
    value_start: u16,
    value_len: u16,
}

impl Span {
    fn name<'a>(&self, head: &'a [u8]) -> &'a str {
        std::str::from_utf8(self.name_bytes(head)).expect("a header name was checked to be a token")
    }

    fn name_bytes<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.name_start);
        &head[start..start + usize::from(self.name_len)]
    }

    fn value<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[self.value_range()]
    }

    fn value_range(&self) -> std::ops::Range<usize> {
        let start = usize::from(self.value_start);
        start..start + usize::from(self.value_len)
    }
}

/// The headers this gateway looks at in every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Host,
    Origin,
    ContentType,
    Authorization,
    McpSessionId,
    McpProtocolVersion,
    McpMethod,
    McpName,
    LastEventId,
    ContentLength,
    TransferEncoding,
    Expect,
    Accept,
    Connection,
}

const KNOWN_COUNT: usize = Known::Connection as usize + 1;
const ABSENT: u8 = u8::MAX;
const _: () = assert!(HEADERS_MAX <= ABSENT as usize, "no header has the index of an absent one");

impl Known {
    fn of(name: &[u8]) -> Option<Self> {
        let (same, known) = match name.len() {
            4 => (is(name, b"host"), Self::Host),
            6 if name[0] | 0x20 == b'a' => (is(name, b"accept"), Self::Accept),
            6 if name[0] | 0x20 == b'o' => (is(name, b"origin"), Self::Origin),
            6 => (is(name, b"expect"), Self::Expect),
            8 => (is(name, b"mcp-name"), Self::McpName),
            10 if name[0] | 0x20 == b'm' => (is(name, b"mcp-method"), Self::McpMethod),
            10 => (is(name, b"connection"), Self::Connection),
            12 => (is(name, b"content-type"), Self::ContentType),
            13 if name[0] | 0x20 == b'a' => (is(name, b"authorization"), Self::Authorization),
            13 => (is(name, b"last-event-id"), Self::LastEventId),
            14 if name[0] | 0x20 == b'c' => (is(name, b"content-length"), Self::ContentLength),
            14 => (is(name, b"mcp-session-id"), Self::McpSessionId),
            17 => (is(name, b"transfer-encoding"), Self::TransferEncoding),
            20 => (is(name, b"mcp-protocol-version"), Self::McpProtocolVersion),
            _ => return None,
        };
        same.then_some(known)
    }

    /// Accept and Connection are lists and may span several lines (RFC 9110 section 5.3).
    fn is_singleton(self) -> bool {
        !matches!(self, Self::Accept | Self::Connection)
    }
}

/// Whether `name`, a token, is `lower` but for case. Among the bytes of a token, only the letters
/// change by the bit that is set here; the fixed length lets the compiler compare in blocks.
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    name.first_chunk::<N>().is_some_and(|name| {
        name.iter().zip(lower).fold(0, |differ, (have, want)| differ | ((have | 0x20) ^ want)) == 0
    })
}

/// All header lines of one head.
#[derive(Debug)]
pub(super) struct HeaderTable {
    spans: Vec<Span>,
    known: [u8; KNOWN_COUNT],
    repeated: [bool; KNOWN_COUNT],
}

impl HeaderTable {
    pub(super) fn new() -> Self {
        Self { spans: Vec::new(), known: [ABSENT; KNOWN_COUNT], repeated: [false; KNOWN_COUNT] }
    }

    /// Replaces the content by `headers`, which borrow from `head`.
    pub(super) fn fill(&mut self, head: &[u8], headers: &[httparse::Header<'_>]) {
        self.spans.clear();
        self.known = [ABSENT; KNOWN_COUNT];
        self.repeated = [false; KNOWN_COUNT];
        self.spans.reserve(headers.len());
        for header in headers {
            if let Some(known) = Known::of(header.name.as_bytes()) {
                if self.known[known as usize] == ABSENT {
                    let index = u8::try_from(self.spans.len()).expect("headers_max < 255");
                    self.known[known as usize] = index;
                } else {
                    self.repeated[known as usize] = known.is_singleton();
                }
            }
            self.spans.push(Span {
                name_start: position(head, header.name.as_bytes()),
                name_len: length(header.name.as_bytes()),
                value_start: position(head, header.value),
                value_len: length(header.value),
            });
        }
    }

    pub(super) fn known<'a>(&self, head: &'a [u8], known: Known) -> Option<&'a [u8]> {
        let index = self.known[known as usize];
        (index != ABSENT).then(|| self.spans[usize::from(index)].value(head))
    }

    pub(super) fn is_repeated(&self, known: Known) -> bool {
        self.repeated[known as usize]
    }

    pub(super) fn any_repeated(&self) -> bool {
        self.repeated.contains(&true)
    }

    /// Whether the Connection lines name `token`.
    pub(super) fn connection_has(&self, head: &[u8], token: &str) -> bool {
        if self.known[Known::Connection as usize] == ABSENT {
            return false;
        }
        self.view(head, None)
            .get_all("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether each value handed out as `&str` is plain ASCII.
    pub(super) fn known_are_ascii(&self, head: &[u8]) -> bool {
        const BYTES_ALLOWED: [Known; 2] = [Known::McpMethod, Known::McpName];
        head.is_ascii()
            || self.known.iter().enumerate().all(|(known, index)| {
                *index == ABSENT
                    || BYTES_ALLOWED.iter().any(|allowed| *allowed as usize == known)
                    || self.spans[usize::from(*index)].value(head).is_ascii()
            })
    }

    /// The headers of `head`; `whole` is it as text, where it is text.
    pub(super) fn view<'a>(&'a self, head: &'a [u8], whole: Option<&'a str>) -> Headers<'a> {
        let text = |known| {
            let index = self.known[known as usize];
            let span = self.spans.get(usize::from(index))?;
            match whole {
                Some(head) => head.get(span.value_range()),
                None => std::str::from_utf8(span.value(head)).ok(),
            }
        };
        Headers {
            host: text(Known::Host),
            origin: text(Known::Origin),
            accept: text(Known::Accept),
            content_type: text(Known::ContentType),
            authorization: text(Known::Authorization),
            mcp_session_id: text(Known::McpSessionId),
            mcp_protocol_version: text(Known::McpProtocolVersion),
            mcp_method: self.known(head, Known::McpMethod),
            mcp_name: self.known(head, Known::McpName),
            last_event_id: text(Known::LastEventId),
            head,
            spans: &self.spans,
        }
    }
}

fn position(head: &[u8], part: &[u8]) -> u16 {
    let offset = part.as_ptr() as usize - head.as_ptr() as usize;
    u16::try_from(offset).expect("a head is at most HEAD_BYTES_CEILING long")
}

fn length(part: &[u8]) -> u16 {
    u16::try_from(part.len()).expect("a head is at most HEAD_BYTES_CEILING long")
}

/// The headers of one message. Values carry no surrounding whitespace.
///
/// In a request each field below except `accept` is present at most once: the decoder refuses
/// repetitions, which two readers might resolve differently.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    /// `Host`. Present and well-formed in every HTTP/1.1 request.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// The first `Accept` line. To decide by it, use [`Headers::accepts`], which reads all.
    pub accept: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `Mcp-Session-Id` (revisions up to 2025-11-25).
    pub mcp_session_id: Option<&'a str>,
    /// `MCP-Protocol-Version`.
    pub mcp_protocol_version: Option<&'a str>,
    /// `Mcp-Method`. Bytes: characters outside ASCII have their own error in the protocol.
    pub mcp_method: Option<&'a [u8]>,
    /// `Mcp-Name`, still in its header spelling. Bytes, as `mcp_method`.
    pub mcp_name: Option<&'a [u8]>,
    /// `Last-Event-ID` (revisions up to 2025-11-25).
    pub last_event_id: Option<&'a str>,
    head: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Headers<'a> {
    /// The value of the first header called `name`, in any spelling of case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all headers called `name`, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let (head, name) = (self.head, name.as_bytes());
        let named = move |span: &&Span| span.name_bytes(head).eq_ignore_ascii_case(name);
        self.spans.iter().filter(named).map(move |span| span.value(head))
    }

    /// All headers in order, names as the peer spelled them.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let head = self.head;
        self.spans.iter().map(move |span| (span.name(head), span.value(head)))
    }

    /// Whether the Accept lines admit `media_type` (`type/subtype`, lower case), wildcards
    /// included. Without any Accept line everything is admitted (RFC 9110 section 12.5.1).
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        match self.accept {
            None => return true,
            // What every client of the protocol says, in either order.
            Some("application/json, text/event-stream" | "text/event-stream, application/json")
                if matches!(media_type, "application/json" | "text/event-stream") =>
            {
                return true;
            }
            Some(_) => {}
        }
        let family = media_type.split('/').next().unwrap_or("");
        self.get_all("accept").flat_map(|line| line.split(|byte| *byte == b',')).any(|range| {
            let mut parts = range.split(|byte| *byte == b';');
            let name = parts.next().unwrap_or(b"").trim_ascii();
            let refused = parts.any(|part| is_weight_zero(part.trim_ascii()));
            let admits = name == b"*/*"
                || name.eq_ignore_ascii_case(media_type.as_bytes())
                || name
                    .strip_suffix(b"/*")
                    .is_some_and(|have| have.eq_ignore_ascii_case(family.as_bytes()));
            admits && !refused
        })
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.iter() {
            if name.eq_ignore_ascii_case("authorization") {
                map.entry(&name, &"(hidden)");
            } else {
                map.entry(&name, &String::from_utf8_lossy(value));
            }
        }
        map.finish()
    }
}

/// `q=0`, `q=0.0`, ...: the range is named to refuse it (RFC 9110 section 12.4.2).
fn is_weight_zero(parameter: &[u8]) -> bool {
    let Some(value) = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))
    else {
        return false;
    };
    value.first() == Some(&b'0') && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

/// Translates the parser's fault; both sides share it.
pub(super) fn parser_fault(error: httparse::Error) -> HeadFault {
    match error {
        httparse::Error::TooManyHeaders => HeadFault::TooManyHeaders,
        httparse::Error::HeaderName => HeadFault::Malformed("malformed header name"),
        httparse::Error::HeaderValue => HeadFault::Malformed("malformed header value"),
        httparse::Error::NewLine => HeadFault::Malformed("malformed line end"),
        httparse::Error::Status => HeadFault::Malformed("malformed status line"),
        httparse::Error::Token => HeadFault::Malformed("malformed request line"),
        httparse::Error::Version => HeadFault::Malformed("malformed HTTP version"),
    }
}

/// Room for the parser's headers. Left uninitialised: clearing it would cost more than parsing.
pub(super) type HeaderSlots<'a> = [std::mem::MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

pub(super) fn header_slots<'a>() -> HeaderSlots<'a> {
    [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX]
}

pub(super) fn limited<'s, 'a>(
    slots: &'s mut HeaderSlots<'a>,
    limits: &HttpLimits,
) -> &'s mut [std::mem::MaybeUninit<httparse::Header<'a>>] {
    &mut slots[..limits.headers_max()]
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
    TABLE[usize::from(byte)]
}

/// Letters, digits and `others`.
pub(super) const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// What a field value may hold: visible characters, space, tab, bytes above ASCII
/// (RFC 9110 section 5.5).
pub(super) fn is_value_byte(byte: u8) -> bool {
    // Without branches, so that many are looked at at once.
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}
