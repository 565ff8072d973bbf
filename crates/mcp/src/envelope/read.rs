//! One pass over a message: which members does routing read, and is the rest well-formed?
//!
//! A fault of grammar ends the pass. A fault of meaning is noted, the first one wins, and the pass goes
//! on to find the id.

use std::borrow::Cow;

use super::fault::{ScanError, ScanFault};
use super::{Envelope, Kind, Reference, ScanLimits};
use crate::json::{self, JsonFault, Scanner, Span};
use crate::limits::{DEPTH_MAX, ID_BYTES_MAX, PROGRESS_TOKEN_BYTES_MAX};
use crate::method::Method;

type Scan<T> = Result<T, JsonFault>;

pub(super) fn scan(message: &[u8], limits: &ScanLimits) -> Result<Envelope, ScanError> {
    if message.len() > limits.bytes_max as usize {
        return Err(ScanError { fault: ScanFault::TooLong, offset: limits.bytes_max, id: None });
    }
    let mut reader = Reader {
        message,
        scanner: Scanner::new(message, 0, limits.depth_max.min(DEPTH_MAX)),
        envelope: Envelope::default(),
        fault: None,
        param_token: None,
        param_lookalike: None,
        version: false,
        ids: 0,
    };
    let read = reader.root();
    reader.settle(read)
}

struct Reader<'a> {
    message: &'a [u8],
    scanner: Scanner<'a>,
    envelope: Envelope,
    /// The first fault of meaning.
    fault: Option<(ScanFault, u32)>,
    /// `params.progressToken`.
    param_token: Option<Span>,
    /// A member of `params` that is a known one in other letters; a fault for known methods.
    param_lookalike: Option<u32>,
    /// Whether `jsonrpc` was seen.
    version: bool,
    /// How often `id` was seen.
    ids: u32,
}

/// Notes a fault unless one was noted.
fn note(fault: &mut Option<(ScanFault, u32)>, kind: ScanFault, offset: u32) {
    if fault.is_none() {
        *fault = Some((kind, offset));
    }
}

/// Fills `slot`; a second value for it is a fault.
#[inline(always)]
fn fill(slot: &mut Option<Span>, value: Span, fault: &mut Option<(ScanFault, u32)>) {
    if slot.replace(value).is_some() {
        note(fault, ScanFault::Duplicate, value.start);
    }
}

impl<'a> Reader<'a> {
    /// The name a key says. A key without text (a lone surrogate) equals no known name: its raw
    /// content holds a backslash, which none does.
    #[inline(always)]
    fn key(&mut self) -> Scan<Cow<'a, [u8]>> {
        let key = self.scanner.key()?;
        let raw = key.span.of(self.message);
        let content = &raw[1..raw.len() - 1];
        if !key.escaped {
            return Ok(Cow::Borrowed(content));
        }
        Ok(match json::unescape(raw) {
            Some(text) => Cow::Owned(text.into_owned().into_bytes()),
            None => Cow::Borrowed(content),
        })
    }

    fn root(&mut self) -> Scan<()> {
        let first = self.scanner.token();
        let start = self.scanner.offset();
        if first != b'{' {
            let kind = if first == b'[' { ScanFault::Batch } else { ScanFault::NotAnObject };
            self.scanner.value(0)?;
            self.scanner.end()?;
            note(&mut self.fault, kind, start);
            return Ok(());
        }
        self.scanner.open(0)?;
        if self.scanner.token() == b'}' {
            self.scanner.pass();
        } else {
            loop {
                self.root_member()?;
                if !self.scanner.another(b'}')? {
                    break;
                }
            }
        }
        self.envelope.root = Span::new(start, self.scanner.offset());
        self.scanner.end()
    }

    fn root_member(&mut self) -> Scan<()> {
        let at = self.scanner.offset();
        let name = self.key()?;
        match &*name {
            b"jsonrpc" => {
                let value = self.scanner.value(1)?;
                if std::mem::replace(&mut self.version, true) {
                    note(&mut self.fault, ScanFault::Duplicate, value.start);
                }
                let raw = value.of(self.message);
                if raw != b"\"2.0\"" && !json::same_text(raw, "2.0") {
                    note(&mut self.fault, ScanFault::JsonRpcVersion, value.start);
                }
            }
            b"id" => {
                let value = self.scanner.value(1)?;
                self.ids += 1;
                fill(&mut self.envelope.id, value, &mut self.fault);
            }
            b"method" => self.method()?,
            b"params" => {
                let value = self.container(1, ScanFault::Params, Self::param)?;
                fill(&mut self.envelope.params, value, &mut self.fault);
            }
            b"result" => {
                let value = self.container(1, ScanFault::Result, Self::result_member)?;
                fill(&mut self.envelope.result, value, &mut self.fault);
            }
            b"error" => {
                let value = self.error()?;
                fill(&mut self.envelope.error, value, &mut self.fault);
            }
            other => {
                if is_lookalike(other, ROOT_NAMES) {
                    note(&mut self.fault, ScanFault::Lookalike, at);
                }
                self.scanner.value(1)?;
            }
        }
        Ok(())
    }

    fn method(&mut self) -> Scan<()> {
        let value = self.scanner.value(1)?;
        self.envelope.method = match value.of(self.message) {
            [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Method::parse_bytes(text),
            raw => match json::unescape(raw) {
                Some(text) => Method::parse(&text),
                None => {
                    note(&mut self.fault, ScanFault::Method, value.start);
                    Method::Other
                }
            },
        };
        fill(&mut self.envelope.method_span, value, &mut self.fault);
        Ok(())
    }

    /// An object whose members `member` reads; `depth` counts the containers around it. What is not an
    /// object is a `fault`, unless it stands for an absent one.
    #[inline(always)]
    fn container(
        &mut self,
        depth: u32,
        fault: ScanFault,
        member: fn(&mut Self) -> Scan<()>,
    ) -> Scan<Span> {
        if self.scanner.token() != b'{' {
            let value = self.scanner.value(depth)?;
            if !json::is_absent(self.message, value) {
                note(&mut self.fault, fault, value.start);
            }
            return Ok(value);
        }
        let start = self.scanner.offset();
        self.scanner.open(depth)?;
        if self.scanner.token() == b'}' {
            self.scanner.pass();
        } else {
            loop {
                member(self)?;
                if !self.scanner.another(b'}')? {
                    break;
                }
            }
        }
        Ok(Span::new(start, self.scanner.offset()))
    }

    fn param(&mut self) -> Scan<()> {
        let at = self.scanner.offset();
        let name = self.key()?;
        let envelope = &mut self.envelope;
        let slot = match &*name {
            b"name" => &mut envelope.name,
            b"arguments" => &mut envelope.arguments,
            b"_meta" => return self.meta(),
            b"uri" => &mut envelope.uri,
            b"cursor" => &mut envelope.cursor,
            b"progressToken" => &mut self.param_token,
            b"requestId" => &mut envelope.request_id,
            b"requestState" => &mut envelope.request_state,
            b"inputResponses" => &mut envelope.input_responses,
            b"level" => &mut envelope.level,
            b"notifications" => &mut envelope.notifications,
            b"taskId" => &mut envelope.task_id,
            b"task" => &mut envelope.task,
            b"protocolVersion" => &mut envelope.offered_version,
            b"capabilities" => &mut envelope.capabilities,
            b"clientInfo" => &mut envelope.peer_info,
            b"ref" => return self.reference(),
            other => {
                if is_lookalike(other, PARAM_NAMES) {
                    self.param_lookalike.get_or_insert(at);
                }
                self.scanner.value(2)?;
                return Ok(());
            }
        };
        fill(slot, self.scanner.value(2)?, &mut self.fault);
        Ok(())
    }

    fn result_member(&mut self) -> Scan<()> {
        let name = self.key()?;
        let envelope = &mut self.envelope;
        let slot = match &*name {
            b"_meta" => return self.meta(),
            b"resultType" => &mut envelope.result_type,
            b"isError" => &mut envelope.is_error,
            b"structuredContent" => &mut envelope.structured_content,
            b"inputRequests" => &mut envelope.input_requests,
            b"requestState" => &mut envelope.request_state,
            b"tools" => &mut envelope.tools,
            b"prompts" => &mut envelope.prompts,
            b"resources" => &mut envelope.resources,
            b"resourceTemplates" => &mut envelope.resource_templates,
            b"nextCursor" => &mut envelope.next_cursor,
            b"ttlMs" => &mut envelope.ttl_ms,
            b"cacheScope" => &mut envelope.cache_scope,
            b"supportedVersions" => &mut envelope.supported_versions,
            b"protocolVersion" => &mut envelope.offered_version,
            b"capabilities" => &mut envelope.capabilities,
            b"serverInfo" => &mut envelope.peer_info,
            b"instructions" => &mut envelope.instructions,
            b"taskId" => &mut envelope.task_id,
            b"task" => &mut envelope.task,
            _ => {
                self.scanner.value(2)?;
                return Ok(());
            }
        };
        fill(slot, self.scanner.value(2)?, &mut self.fault);
        Ok(())
    }

    fn meta(&mut self) -> Scan<()> {
        let value = self.container(2, ScanFault::Meta, Self::meta_member)?;
        fill(&mut self.envelope.meta, value, &mut self.fault);
        Ok(())
    }

    fn meta_member(&mut self) -> Scan<()> {
        let name = self.key()?;
        let envelope = &mut self.envelope;
        let slot = match name.strip_prefix(RESERVED_PREFIX) {
            Some(b"protocolVersion") => Some(&mut envelope.protocol_version),
            Some(b"clientCapabilities") => Some(&mut envelope.client_capabilities),
            Some(b"clientInfo") => Some(&mut envelope.client_info),
            Some(b"logLevel") => Some(&mut envelope.log_level),
            Some(b"subscriptionId") => Some(&mut envelope.subscription_id),
            Some(b"serverInfo") => Some(&mut envelope.server_info),
            Some(b"related-task") => Some(&mut envelope.related_task),
            None if &*name == b"progressToken" => Some(&mut envelope.progress_token),
            None if &*name == b"traceparent" => Some(&mut envelope.traceparent),
            _ => None,
        };
        let value = self.scanner.value(3)?;
        if let Some(slot) = slot {
            fill(slot, value, &mut self.fault);
        }
        Ok(())
    }

    fn reference(&mut self) -> Scan<()> {
        let again = self.envelope.reference.is_some();
        // What is no object has no parts, which the request's reader refuses.
        let value = if self.scanner.token() == b'{' {
            self.envelope.reference = Some(Reference::default());
            self.container(2, ScanFault::Params, Self::reference_member)?
        } else {
            self.scanner.value(2)?
        };
        if let Some(reference) = &mut self.envelope.reference {
            reference.span = value;
        }
        if again {
            note(&mut self.fault, ScanFault::Duplicate, value.start);
        }
        Ok(())
    }

    fn reference_member(&mut self) -> Scan<()> {
        let name = self.key()?;
        let value = self.scanner.value(3)?;
        let reference = self.envelope.reference.as_mut().expect("set before its members are read");
        let slot = match &*name {
            b"type" => &mut reference.kind,
            b"name" => &mut reference.name,
            b"uri" => &mut reference.uri,
            _ => return Ok(()),
        };
        fill(slot, value, &mut self.fault);
        Ok(())
    }

    /// An error that is no object passes, without a code: its flight must still be answered.
    fn error(&mut self) -> Scan<Span> {
        if self.scanner.token() != b'{' {
            return self.scanner.value(1);
        }
        self.container(1, ScanFault::Shape, |reader| {
            let name = reader.key()?;
            let value = reader.scanner.value(2)?;
            let slot = match &*name {
                b"code" => &mut reader.envelope.error_code_span,
                b"message" => &mut reader.envelope.error_message,
                b"data" => &mut reader.envelope.error_data,
                _ => return Ok(()),
            };
            fill(slot, value, &mut reader.fault);
            Ok(())
        })
    }

    /// Decides, after the pass, what the message is.
    fn settle(mut self, read: Scan<()>) -> Result<Envelope, ScanError> {
        let refused = match read {
            Err(fault) => Err((ScanFault::Json(fault.kind), fault.offset)),
            Ok(()) => match self.fault {
                Some(fault) => Err(fault),
                None => self.classify(),
            },
        };
        let Err((fault, offset)) = refused else { return Ok(self.envelope) };
        let id = self.envelope.id.filter(|&id| self.ids == 1 && self.id_is_allowed(id));
        Err(ScanError { fault, offset, id })
    }

    fn classify(&mut self) -> Result<(), (ScanFault, u32)> {
        let start = self.envelope.root.start;
        if !self.version {
            return Err((ScanFault::JsonRpcVersion, start));
        }
        let envelope = &mut self.envelope;
        envelope.kind = match (envelope.method_span, envelope.result, envelope.error) {
            (Some(_), None, None) if envelope.id.is_some() => Kind::Request,
            (Some(_), None, None) => Kind::Notification,
            (None, Some(_), None) if envelope.params.is_none() => Kind::Result,
            (None, None, Some(_)) if envelope.params.is_none() => Kind::Error,
            _ => return Err((ScanFault::Shape, start)),
        };
        let code = envelope.error_code_span;
        envelope.error_code = code.and_then(|span| json::integer_i64(span.of(self.message)));
        if envelope.method == Method::Progress {
            envelope.progress_token = self.param_token;
        }
        if let Some(offset) = self.param_lookalike.filter(|_| envelope.method != Method::Other) {
            return Err((ScanFault::Lookalike, offset));
        }
        let (kind, id, token) = (envelope.kind, envelope.id, envelope.progress_token);
        match id {
            Some(id) if !self.id_is_allowed(id) => return Err((ScanFault::Id, id.start)),
            None if kind == Kind::Result => return Err((ScanFault::Id, start)),
            _ => {}
        }
        // In the `_meta` of an answer the word means nothing.
        let token = token.filter(|_| !kind.is_response());
        if let Some(token) = token.filter(|&token| !self.token_is_allowed(token)) {
            return Err((ScanFault::ProgressToken, token.start));
        }
        Ok(())
    }

    /// Requests: a string or an integer. Responses: also other numbers, since a peer whose numbers are
    /// doubles may echo `7` as `7.0`, and `null` where the peer could not read the id.
    fn id_is_allowed(&self, id: Span) -> bool {
        let raw = id.of(self.message);
        let kind = self.envelope.kind;
        raw.len() <= ID_BYTES_MAX as usize
            && match raw[0] {
                b'"' => true,
                b'n' => kind == Kind::Error,
                b'-' | b'0'..=b'9' => {
                    kind.is_response() || !raw.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
                }
                _ => false,
            }
    }

    fn token_is_allowed(&self, token: Span) -> bool {
        let raw = token.of(self.message);
        raw.len() <= PROGRESS_TOKEN_BYTES_MAX as usize
            && matches!(raw[0], b'"' | b'-' | b'0'..=b'9')
    }
}

/// The prefix of the keys the specification reserves in `_meta`.
const RESERVED_PREFIX: &[u8] = b"io.modelcontextprotocol/";

const ROOT_NAMES: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// The members of `params` that name what is called, on whose behalf, or for which other request.
const PARAM_NAMES: &[&str] = &[
    "name",
    "uri",
    "arguments",
    "_meta",
    "ref",
    "requestId",
    "requestState",
    "inputResponses",
    "taskId",
    "cursor",
];

/// Whether a parser that folds case (as Go's `encoding/json` does, with the two non-ASCII letters that
/// fold to ASCII) would take `name` for one of `known`.
fn is_lookalike(name: &[u8], known: &[&str]) -> bool {
    if name.is_ascii() {
        return known.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    }
    let Ok(text) = std::str::from_utf8(name) else { return false };
    let folded = text.replace('\u{17f}', "s").replace('\u{212a}', "k");
    known.iter().any(|known| known.eq_ignore_ascii_case(&folded))
}
