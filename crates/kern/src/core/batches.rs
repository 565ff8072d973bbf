//! JSON-RPC batches, which revision 2025-03-26 had and no other (2025-03-26 basic/transports and
//! basic/lifecycle).
//!
//! A client's array is taken apart; each message goes its own way, servers never see an array. The
//! answers become one array, or events of a stream if something must be said before they are all
//! there. A server's array is read as its messages one by one.
//!
//! Invariants: a batch ends when each of its requests was answered, refused or cancelled; its size
//! is bounded; it lives no longer than its session.

use kern_mcp::errors::{INVALID_REQUEST, PARSE_ERROR};
use kern_mcp::json::{self, elements};
use kern_mcp::limits::DEPTH_MAX;
use kern_mcp::{Envelope, Kind, Method, ScanError, Span, encode, scan};
use kern_terms::{Key, Revision};

use super::http_link::Which;
use super::words::{Ending, ReplyTo};
use super::{Core, Io};
use crate::pipeline::{self, Inbound};

/// Messages a client's batch may have.
const CLIENT_BATCH_MAX: usize = 100;
/// Messages a server's batch may have.
const SERVER_BATCH_MAX: usize = 1_000;
/// Bytes of answers that are collected for the batches of one core; an answer beyond is replaced by
/// an error.
const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// What an array is told that comes without a session.
pub(super) const NO_SESSION: &str = "a batch is part of revision 2025-03-26 only, and of a session: \
                                      send initialize first, by itself";

/// A client's batch with requests that are not all answered.
#[derive(Debug)]
pub(super) struct Batch {
    reply: ReplyTo,
    session: Key,
    /// Requests without an answer.
    open: usize,
    /// The answers there are, with commas between them.
    answers: Vec<u8>,
    /// Something had to be said before all answers were there: they go out one by one.
    streaming: bool,
}

/// Where the messages of an array lie.
fn split(message: &[u8], most: usize) -> Result<Vec<Span>, (i64, String)> {
    let all = json::validate(message, DEPTH_MAX)
        .map_err(|fault| (PARSE_ERROR, format!("the batch is not JSON: {fault:?}")))?;
    let parts: Vec<Span> = elements(message, all).take(most + 1).collect();
    match parts.len() {
        0 => Err((INVALID_REQUEST, "a batch has at least one message".to_owned())),
        count if count > most => {
            Err((INVALID_REQUEST, format!("a batch has at most {most} messages")))
        }
        _ => Ok(parts),
    }
}

impl Core {
    /// Refuses a whole array.
    pub(super) fn refuse_batch(&mut self, io: &mut Io, reply: ReplyTo, code: i64, why: &str) {
        let mut out = Vec::new();
        encode::error(&mut out, None, code, why, None);
        self.deliver(io, reply, &out, Ending::Answer(400));
    }

    /// A client's array, in a session.
    pub(super) fn batch(&mut self, io: &mut Io, reply: ReplyTo, session: Key, message: &[u8]) {
        let Some(known) = self.sessions.get(session) else { return };
        let (revision, endpoint) = (known.revision, known.endpoint.clone());
        if revision != Revision::V2025_03_26 {
            let why = format!(
                "batches are not part of revision {revision}, only of {}",
                Revision::V2025_03_26
            );
            return self.refuse_batch(io, reply, INVALID_REQUEST, &why);
        }
        let parts = match split(message, CLIENT_BATCH_MAX) {
            Ok(parts) => parts,
            Err((code, why)) => return self.refuse_batch(io, reply, code, &why),
        };
        let items: Vec<(&[u8], Result<Envelope, ScanError>)> = parts
            .into_iter()
            .map(|span| span.of(message))
            .map(|item| (item, scan(item, &self.scan_limits)))
            .collect();
        let is_open = |item: &Result<Envelope, ScanError>| {
            item.as_ref().map_or(true, |envelope| envelope.kind == Kind::Request)
        };
        let open = items.iter().filter(|(_, item)| is_open(item)).count();
        let batch = match open {
            0 => {
                self.deliver(io, reply, b"", Ending::Accepted);
                None
            }
            _ => {
                let (answers, streaming) = (Vec::new(), false);
                Some(self.batches.insert(Batch { reply, session, open, answers, streaming }))
            }
        };
        let mut ids: Vec<&[u8]> = Vec::new();
        for (item, envelope) in items {
            let reply = ReplyTo { batch, ..reply };
            let envelope = match envelope {
                Ok(envelope) => envelope,
                Err(error) => {
                    let id = error.answer_id().map(|span| span.of(item));
                    let mut out = Vec::new();
                    encode::error(&mut out, id, error.fault.code(), &error.to_string(), None);
                    self.deliver(io, reply, &out, Ending::Answer(200));
                    continue;
                }
            };
            let inbound = Inbound {
                reply,
                endpoint: endpoint.clone(),
                message: item,
                envelope,
                revision,
                session: Some(session),
            };
            self.batched(io, &inbound, &mut ids);
        }
    }

    /// One message of a batch.
    fn batched<'m>(&mut self, io: &mut Io, inbound: &Inbound<'m>, ids: &mut Vec<&'m [u8]>) {
        let refuse = |core: &mut Self, io: &mut Io, why: &str| {
            core.refuse(io, inbound, kern_mcp::errors::Cause::InvalidRequest, why);
        };
        match inbound.envelope.kind {
            Kind::Request if inbound.envelope.method == Method::Initialize => {
                refuse(self, io, "initialize must not be part of a batch");
            }
            Kind::Request => {
                let span = inbound.envelope.id.unwrap_or_default();
                let id = span.of(inbound.message);
                if ids.contains(&id) {
                    return refuse(self, io, "another request of this batch has the same id");
                }
                ids.push(id);
                pipeline::request(self, io, inbound);
            }
            Kind::Notification => pipeline::notification(self, io, inbound),
            Kind::Result | Kind::Error => pipeline::response(self, io, inbound),
        }
    }

    /// Something is said for a request of a batch.
    pub(super) fn batch_said(&mut self, io: &mut Io, key: Key, message: &[u8], ending: Ending) {
        let held: usize = self.batches.iter().map(|(_, batch)| batch.answers.len()).sum();
        let Some(batch) = self.batches.get_mut(key) else { return };
        let reply = batch.reply;
        if ending == Ending::Open {
            return;
        }
        if matches!(ending, Ending::More | Ending::Lossy) {
            // Lines take an array of answers whatever was said before.
            if reply.session.is_some() && !std::mem::replace(&mut batch.streaming, true) {
                let early = std::mem::take(&mut batch.answers);
                if !early.is_empty() {
                    self.deliver(io, reply, &array(&early), Ending::More);
                }
            }
            return self.deliver(io, reply, message, ending);
        }
        let answered = matches!(ending, Ending::Answer(_));
        batch.open = batch.open.saturating_sub(1);
        let last = batch.open == 0;
        if batch.streaming {
            let done = if last { self.batches.remove(key).is_some() } else { false };
            match (answered, done) {
                (true, false) => self.deliver(io, reply, message, Ending::More),
                (true, true) => self.deliver(io, reply, message, Ending::Answer(200)),
                (false, true) => self.deliver(io, reply, b"", Ending::Nothing),
                (false, false) => {}
            }
            return;
        }
        if answered {
            batch.collect(message, held);
        }
        if last && let Some(batch) = self.batches.remove(key) {
            match batch.answers.is_empty() {
                true => self.deliver(io, reply, b"", Ending::Nothing),
                false => self.deliver(io, reply, &array(&batch.answers), Ending::Answer(200)),
            }
        }
    }

    /// A session is over, and nothing of it is answered any more.
    pub(super) fn end_batches(&mut self, io: &mut Io, session: Key) {
        let its = |batch: &Batch| batch.session == session;
        let over: Vec<Key> =
            self.batches.iter().filter(|(_, batch)| its(batch)).map(|(key, _)| key).collect();
        for key in over {
            if let Some(batch) = self.batches.remove(key) {
                self.write(io, batch.reply, b"", Ending::Nothing, None);
            }
        }
    }

    /// A server of 2025-03-26 behind a URL sent an array; `false` if it must not.
    pub(super) fn link_batch(
        &mut self,
        io: &mut Io,
        which: Which,
        tag: u64,
        message: &[u8],
    ) -> bool {
        let allowed = self.revision_of(which) == Some(Revision::V2025_03_26);
        let Some(parts) = allowed.then(|| split(message, SERVER_BATCH_MAX).ok()).flatten() else {
            return false;
        };
        for item in parts.into_iter().map(|span| span.of(message)) {
            match scan(item, &self.scan_limits) {
                Ok(envelope) => self.link_envelope(io, which, tag, item, &envelope),
                Err(error) => tracing::warn!(%error, "an upstream sent what is no message"),
            }
        }
        true
    }

    /// A child of 2025-03-26 wrote an array; `false` if it must not.
    pub(super) fn pipe_batch(&mut self, io: &mut Io, key: Key, line: &[u8]) -> bool {
        let allowed = self.revision_of(Which::Private(key)) == Some(Revision::V2025_03_26);
        let Some(parts) = allowed.then(|| split(line, SERVER_BATCH_MAX).ok()).flatten() else {
            return false;
        };
        for span in parts {
            self.pipe_message(io, key, span.of(line));
        }
        true
    }
}

impl Batch {
    /// `held` bytes of answers are collected already, for all batches.
    fn collect(&mut self, message: &[u8], held: usize) {
        if !self.answers.is_empty() {
            self.answers.push(b',');
        }
        if held + message.len() <= ANSWERS_BYTES_MAX {
            self.answers.extend_from_slice(message);
            return;
        }
        let id = json::field(message, "id");
        let why = "the answers of this batch are too long together: send the request by itself";
        encode::error(&mut self.answers, id, kern_mcp::errors::INTERNAL_ERROR, why, None);
    }
}

fn array(answers: &[u8]) -> Vec<u8> {
    [b"[", answers, b"]"].concat()
}
