//! What does the upstream server answer, as it comes?
//!
//! Invariants: body bytes are handed on as they arrive, never gathered. Each response gives one
//! `Head`, then any number of `Data`, then one `End`. After an error the connection is useless.
//! The total of a body is bounded, except for event streams, whose events are bounded by their
//! own decoder.

use super::body::{Chunked, Declared, FramingFault, Step, declared};
use super::error::ResponseError;
use super::head::{HeadScan, HeaderTable, Headers, Known, header_slots, limited, parser_fault};
use super::limits::{HttpLimits, INTERIM_RESPONSES_MAX};

/// The head of one final response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// 200 to 599.
    pub status: u16,
    /// The headers. Repetitions are refused only for those that frame the body.
    pub headers: Headers<'a>,
    /// The body's length in bytes where the headers say it; `Some(0)` where there is none.
    pub body_bytes: Option<u64>,
}

impl ResponseHead<'_> {
    /// Whether the body is an event stream.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.headers.content_type.is_some_and(|value| is_media_type(value, "text/event-stream"))
    }

    /// Whether the body is JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.headers.content_type.is_some_and(|value| is_media_type(value, "application/json"))
    }
}

fn is_media_type(value: &str, media_type: &str) -> bool {
    value == media_type
        || value.split(';').next().unwrap_or("").trim_ascii().eq_ignore_ascii_case(media_type)
}

/// One step through a response.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Call again with more input.
    NeedMore,
    /// The final response's head; interim ones were skipped.
    Head(ResponseHead<'a>),
    /// Body bytes, never empty.
    Data(&'a [u8]),
    /// The response is over.
    End {
        /// Whether the connection may carry another request.
        keep_alive: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose { budget: u64 },
    Broken(ResponseError),
}

/// Reads the responses of one connection, one after another.
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: HttpLimits,
    state: State,
    scan: HeadScan,
    headers: HeaderTable,
    interim: u8,
    to_head_request: bool,
    keep_alive: bool,
}

/// What a parsed head leads to.
enum Found {
    NeedMore,
    /// An interim response of this many bytes, to be skipped.
    Interim(usize),
    Final {
        head_bytes: usize,
        status: u16,
        body_bytes: Option<u64>,
    },
}

impl ResponseDecoder {
    /// A decoder for a fresh connection. Allocates nothing yet.
    #[must_use]
    pub fn new(limits: HttpLimits) -> Self {
        Self {
            limits,
            state: State::Head,
            scan: HeadScan::default(),
            headers: HeaderTable::new(),
            interim: 0,
            to_head_request: false,
            keep_alive: false,
        }
    }

    /// Says that the next response answers a HEAD request and so has no body.
    pub fn expect_no_body(&mut self) {
        self.to_head_request = true;
    }

    /// Whether no response is in progress: bytes that come now were not asked for, and the end
    /// of the connection is no loss.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && self.interim == 0 && self.scan.is_fresh()
    }

    /// Looks at `input`, every byte received and not yet consumed; gives how many bytes at its
    /// front to drop, after use of the piece, and the piece. Call until [`Piece::NeedMore`].
    ///
    /// # Errors
    /// The upstream broke a rule or a limit; each later call gives the same error.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), ResponseError> {
        match self.state {
            State::Head => self.decode_head(input),
            State::Length { left: 0 } => Ok((0, self.end(self.keep_alive))),
            State::Length { .. } | State::UntilClose { .. } if input.is_empty() => {
                Ok((0, Piece::NeedMore))
            }
            State::Length { left } => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.state = State::Length { left: left - take as u64 };
                Ok((take, Piece::Data(&input[..take])))
            }
            State::UntilClose { budget: 0 } => Err(self.broken(ResponseError::TooLarge("body"))),
            State::UntilClose { budget } => {
                let take = usize::try_from(budget).unwrap_or(usize::MAX).min(input.len());
                self.state = State::UntilClose { budget: budget - take as u64 };
                Ok((take, Piece::Data(&input[..take])))
            }
            State::Chunked(mut chunked) => match chunked.step(input) {
                Ok((used, step)) => {
                    self.state = State::Chunked(chunked);
                    Ok((
                        used,
                        match step {
                            Step::NeedMore => Piece::NeedMore,
                            Step::Data(data) => Piece::Data(data),
                            Step::End => self.end(self.keep_alive),
                        },
                    ))
                }
                Err(fault) => Err(self.broken(fault.into())),
            },
            State::Broken(error) => Err(error),
        }
    }

    /// The upstream closed its side. `End` when that is how the body ends, or when no response
    /// was in progress.
    ///
    /// # Errors
    /// [`ResponseError::Truncated`]: a response was in progress.
    pub fn close(&mut self) -> Result<Piece<'static>, ResponseError> {
        match self.state {
            State::UntilClose { .. } => Ok(self.end(false)),
            State::Length { left: 0 } => Ok(self.end(false)),
            State::Head if self.is_idle() => Ok(Piece::End { keep_alive: false }),
            State::Broken(error) => Err(error),
            State::Head | State::Length { .. } | State::Chunked(_) => {
                Err(self.broken(ResponseError::Truncated))
            }
        }
    }

    fn broken(&mut self, error: ResponseError) -> ResponseError {
        self.state = State::Broken(error);
        error
    }

    fn end(&mut self, keep_alive: bool) -> Piece<'static> {
        self.state = State::Head;
        self.scan = HeadScan::default();
        self.interim = 0;
        self.to_head_request = false;
        Piece::End { keep_alive }
    }

    fn decode_head<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), ResponseError> {
        let mut skipped = 0;
        loop {
            match self.read_head(&input[skipped..]) {
                Err(error) => return Err(self.broken(error)),
                Ok(Found::NeedMore) => return Ok((skipped, Piece::NeedMore)),
                Ok(Found::Interim(bytes)) => {
                    skipped += bytes;
                    self.scan = HeadScan::default();
                }
                Ok(Found::Final { head_bytes, status, body_bytes }) => {
                    let head = &input[skipped..skipped + head_bytes];
                    let headers = self.headers.view(head, std::str::from_utf8(head).ok());
                    let piece = Piece::Head(ResponseHead { status, headers, body_bytes });
                    return Ok((skipped + head_bytes, piece));
                }
            }
        }
    }

    fn read_head(&mut self, input: &[u8]) -> Result<Found, ResponseError> {
        let max = self.limits.head_bytes_max();
        // A peer that speaks something else shows it in its first byte.
        if input.first().is_some_and(|first| *first != b'H') {
            return Err(ResponseError::Malformed("not an HTTP response"));
        }
        let Some(head_bytes) = self.scan.scan(input, max, max)? else {
            return Ok(Found::NeedMore);
        };
        let head = &input[..head_bytes];
        let mut slots = header_slots();
        let mut parsed = httparse::Response::new(&mut []);
        let outcome = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            head,
            limited(&mut slots, &self.limits),
        );
        match outcome {
            Ok(httparse::Status::Complete(bytes)) if bytes == head_bytes => {}
            Ok(_) => return Err(ResponseError::Malformed("malformed response head")),
            Err(error) => return Err(parser_fault(error).into()),
        }
        let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
            unreachable!("a parsed response has a whole status line");
        };
        if status == 101 || !(100..=599).contains(&status) {
            return Err(ResponseError::Malformed("status that no request of ours can have"));
        }
        if status < 200 {
            self.interim += 1;
            if self.interim > INTERIM_RESPONSES_MAX {
                return Err(ResponseError::TooLarge("interim responses"));
            }
            return Ok(Found::Interim(head_bytes));
        }
        self.headers.fill(head, parsed.headers);
        let http10 = version == 0;
        self.keep_alive = !http10 && !self.headers.connection_has(head, "close");
        let body_bytes = self.choose_body(head, status, http10)?;
        Ok(Found::Final { head_bytes, status, body_bytes })
    }

    /// RFC 9112 section 6.3, in its order.
    fn choose_body(
        &mut self,
        head: &[u8],
        status: u16,
        http10: bool,
    ) -> Result<Option<u64>, ResponseError> {
        let declared = declared(&self.headers, head, http10).map_err(|fault| match fault {
            FramingFault::Malformed(reason) => ResponseError::Malformed(reason),
            FramingFault::UnknownCoding => ResponseError::Malformed("unknown transfer coding"),
        })?;
        if self.to_head_request || status == 204 || status == 304 {
            self.state = State::Length { left: 0 };
            return Ok(Some(0));
        }
        let streams = match self.headers.known(head, Known::ContentType) {
            None | Some(b"application/json") => false,
            Some(value) => std::str::from_utf8(value)
                .is_ok_and(|text| is_media_type(text, "text/event-stream")),
        };
        let budget = if streams { u64::MAX } else { self.limits.body_bytes_max as u64 };
        let (state, body_bytes) = match declared {
            Declared::Length(bytes) if bytes > budget => {
                return Err(ResponseError::TooLarge("body"));
            }
            Declared::Length(bytes) => (State::Length { left: bytes }, Some(bytes)),
            Declared::Chunked => (State::Chunked(Chunked::new(&self.limits, budget)), None),
            Declared::Nothing => {
                self.keep_alive = false;
                (State::UntilClose { budget }, None)
            }
        };
        self.state = state;
        Ok(body_bytes)
    }
}
