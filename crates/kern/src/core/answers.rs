//! Answers that the gateway gives by itself, and how they are written.

use kern_mcp::encode;
use kern_mcp::errors::Cause;
use kern_terms::{Era, Revision};

use super::words::{Ending, ReplyTo};
use super::{Core, Io};
use crate::pipeline::{Fault, Inbound};

impl Core {
    /// Answers with a result.
    pub(crate) fn reply(&mut self, io: &mut Io, inbound: &Inbound<'_>, result: &[u8]) {
        self.answer_built(io, inbound.reply, inbound.id(), inbound.revision, result);
    }

    /// Answers with a result of the gateway's own.
    pub(super) fn answer_built(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        id: &[u8],
        revision: Revision,
        result: &[u8],
    ) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        match revision.era() {
            Era::Legacy => encode::result(&mut out, id, result),
            Era::Modern => {
                encode::response_head(&mut out, Some(id));
                out.extend_from_slice(b",\"result\":");
                dress_modern(&mut out, result);
                out.push(b'}');
            }
        }
        self.deliver(io, reply, &out, Ending::Answer(200));
        self.out = out;
    }

    /// Refuses a request.
    pub(crate) fn refuse(&mut self, io: &mut Io, inbound: &Inbound<'_>, cause: Cause, why: &str) {
        self.refuse_with(io, inbound, Fault::new(cause, why));
    }

    /// Refuses a request with everything known about why.
    pub(crate) fn refuse_with(&mut self, io: &mut Io, inbound: &Inbound<'_>, fault: Fault) {
        let era = inbound.revision.era();
        let mut out = Vec::new();
        let (code, data) = (fault.cause.code(era), fault.data.as_deref());
        encode::error(&mut out, Some(inbound.id()), code, &fault.why, data);
        self.deliver(io, inbound.reply, &out, Ending::Answer(fault.cause.http_status(era)));
    }

    /// Refuses a request whose message is no longer at hand.
    pub(super) fn refuse_id(
        &mut self,
        io: &mut Io,
        reply: ReplyTo,
        id: &[u8],
        era: Era,
        why: &str,
    ) {
        let mut out = Vec::new();
        encode::error(&mut out, Some(id), Cause::Internal.code(era), why, None);
        self.deliver(io, reply, &out, Ending::Answer(200));
    }

    pub(crate) fn unknown_method(&mut self, io: &mut Io, inbound: &Inbound<'_>) {
        let method = inbound.text(inbound.envelope.method_span).unwrap_or_default();
        let revision = inbound.revision;
        let why = format!("there is no method {method:?} in revision {revision}");
        self.refuse(io, inbound, Cause::MethodNotFound, &why);
    }
}

/// Adds what the modern era wants in a result of the gateway's own: `resultType` and who answered.
fn dress_modern(out: &mut Vec<u8>, result: &[u8]) {
    let inner = &result[1..result.len() - 1];
    out.extend_from_slice(b"{\"resultType\":\"complete\"");
    if !inner.is_empty() {
        out.push(b',');
        out.extend_from_slice(inner);
    }
    out.extend_from_slice(b",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":");
    out.extend_from_slice(super::local::INFO.as_bytes());
    out.extend_from_slice(b"}}");
}
