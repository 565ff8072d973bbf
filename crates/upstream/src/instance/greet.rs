//! How a server is greeted, and what is learnt from the way it answers.
//!
//! Source: 2026-07-28 basic/versioning (era detection). A client opens with `server/discover`; a
//! result or an error of the modern era means a modern server, anything else an old one, which is
//! then greeted with `initialize`. Where a client of the old era stands behind the instance, the
//! order is reversed.
//!
//! Invariant: at most one of each greeting is out; the first usable answer wins.

use kern_mcp::{Envelope, Kind, Method, Span, Splice, era, errors, json};
use kern_terms::{Era, Instant, Revision};

use bytes::Bytes;

use super::{Effect, Failure, Identity, Instance, Own, Phase, Transport};
use crate::limits;

/// Which greetings are out and which failed.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    discover: State,
    initialize: State,
    /// `server/discover` was sent again, since the server named our revision when it refused.
    again: bool,
    /// `initialize` was refused as a server of HTTP+SSE refuses a POST.
    no_posts: bool,
    /// When to send the other greeting although the first was not answered.
    impatient_at: Option<Instant>,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Unsent,
    Out,
    Refused(String),
}

impl Greeting {
    pub(super) fn only_discover_is_out(&self) -> bool {
        self.discover == State::Out && self.initialize == State::Unsent
    }
}

impl Instance {
    pub(super) fn greet(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        self.greeting = Greeting::default();
        let modern_first = self.profile.prefer == Era::Modern && !self.discover_kills;
        if self.transport == Transport::HttpSse || !modern_first {
            self.initialize(fx);
        } else {
            self.discover(fx);
        }
        if self.transport == Transport::Pipe {
            self.greeting.impatient_at = Some(now + limits::PROBE_WAIT);
            fx.push(Effect::Wake(limits::PROBE_WAIT));
        }
    }

    fn discover(&mut self, fx: &mut Vec<Effect>) {
        self.greeting.discover = State::Out;
        let params = format!("{{{}}}", self.modern_meta());
        self.ask(Own::Discover, Method::ServerDiscover, &params, fx);
    }

    fn initialize(&mut self, fx: &mut Vec<Effect>) {
        self.greeting.initialize = State::Out;
        let params = format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"clientInfo\":{}}}",
            self.profile.revision.min(Revision::LEGACY_LATEST),
            String::from_utf8_lossy(&self.profile.capabilities),
            String::from_utf8_lossy(&self.profile.info),
        );
        self.ask(Own::Initialize, Method::Initialize, &params, fx);
    }

    /// Sends the other greeting too when the first goes unanswered: some old servers ignore what
    /// they don't know. A server that is merely slow to start reads both, in order.
    pub(super) fn greet_again(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        let due = self.greeting.impatient_at.is_some_and(|at| at <= now);
        if self.phase == Phase::Greeting && due {
            self.greeting.impatient_at = None;
            self.try_other(fx);
        }
    }

    /// Sends whichever greeting was not tried; `false` if both were.
    fn try_other(&mut self, fx: &mut Vec<Effect>) -> bool {
        if self.greeting.initialize == State::Unsent {
            self.initialize(fx);
        } else if self.greeting.discover == State::Unsent && self.transport != Transport::HttpSse {
            self.discover(fx);
        } else {
            return false;
        }
        true
    }

    pub(super) fn greeted(
        &mut self,
        now: Instant,
        own: Own,
        message: &[u8],
        envelope: &Envelope,
        random: u64,
        fx: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Greeting {
            return;
        }
        let from = if own == Own::Discover { Era::Modern } else { Era::Legacy };
        let Some(result) = final_result(message, envelope, from) else {
            let why = error_text(message, envelope);
            let error = envelope.error.map(|span| span.of(message)).unwrap_or(b"{}");
            return self.refused_with(now, own, error, why, random, fx);
        };
        let result = result.of(message);
        let agreed = match own {
            Own::Discover => self.read_discover(result),
            _ => self.read_initialize(result),
        };
        match agreed {
            Ok(revision) => self.agreed(now, revision, fx),
            Err(why) => self.refused(now, own, why, random, fx),
        }
    }

    fn read_discover(&mut self, result: &[u8]) -> Result<Revision, String> {
        let versions = json::field(result, "supportedVersions")
            .ok_or("its server/discover result has no supportedVersions")?;
        let spoken: Vec<Revision> =
            json::items(versions).filter_map(|raw| Revision::parse(&json::text(raw)?)).collect();
        if !spoken.contains(&Revision::LATEST) {
            let listed = String::from_utf8_lossy(&versions[..versions.len().min(200)]);
            return Err(format!("it speaks only {listed}, not {}", Revision::LATEST));
        }
        let meta = json::field(result, "_meta").unwrap_or(b"{}");
        let info = json::field(meta, "io.modelcontextprotocol/serverInfo");
        self.identity = identity(result, info);
        self.identity.legacy = spoken.iter().any(|revision| revision.era() == Era::Legacy);
        Ok(Revision::V2026_07_28)
    }

    fn read_initialize(&mut self, result: &[u8]) -> Result<Revision, String> {
        let version = json::text_field(result, "protocolVersion")
            .ok_or("its initialize result has no protocolVersion")?;
        let revision = Revision::parse(&version)
            .filter(|revision| revision.era() == Era::Legacy)
            .ok_or_else(|| format!("it answered initialize with version {version}"))?;
        let info = json::field(result, "serverInfo");
        self.identity = identity(result, info);
        self.identity.legacy = true;
        Ok(revision)
    }

    fn agreed(&mut self, now: Instant, revision: Revision, fx: &mut Vec<Effect>) {
        self.revision = revision;
        self.greeting = Greeting::default();
        self.own.clear();
        self.phase = Phase::Listing;
        fx.push(Effect::Agreed);
        if revision.era() == Era::Legacy {
            self.tell(Method::Initialized, b"{}", fx);
        }
        self.refresh_all();
        self.fetch_next(now, fx);
    }

    /// The lists are in: the instance is up.
    pub(super) fn arrived(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        if self.phase == Phase::Listing {
            self.phase = Phase::Ready;
            self.deadline = None;
            self.backoff.up(now);
            self.listen_start(now, fx);
        }
        fx.push(Effect::Listed);
    }

    pub(super) fn greeting_failed(
        &mut self,
        now: Instant,
        own: Own,
        failure: Failure,
        random: u64,
        fx: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::Greeting {
            return;
        }
        let Failure::Status { status, body } = &failure else {
            return self.fail(now, failure.to_string(), random, fx);
        };
        if matches!(status, 401 | 403 | 407 | 429) || *status >= 500 {
            return self.fail(now, failure.to_string(), random, fx);
        }
        if own == Own::Initialize && matches!(status, 400 | 404 | 405) {
            self.greeting.no_posts = true;
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let error = json::field(body, "error").unwrap_or(b"{}");
        self.refused_with(now, own, error, format!("{failure}: {text}"), random, fx);
    }

    /// A greeting was answered with a JSON-RPC error. One that names the revisions of the server
    /// proves it modern: it is greeted again with a revision of both, rather than given up for an
    /// old one (basic/versioning, "Backward Compatibility").
    fn refused_with(
        &mut self,
        now: Instant,
        own: Own,
        error: &[u8],
        why: String,
        random: u64,
        fx: &mut Vec<Effect>,
    ) {
        let spoken = named_revisions(error).filter(|_| own == Own::Discover);
        let Some(spoken) = spoken else { return self.refused(now, own, why, random, fx) };
        if spoken.contains(&Revision::LATEST) && !self.greeting.again {
            self.greeting.again = true;
            return self.discover(fx);
        }
        self.greeting.discover = State::Refused(why.clone());
        let legacy_too = spoken.iter().any(|revision| revision.era() == Era::Legacy);
        match self.greeting.initialize {
            State::Unsent if legacy_too => self.initialize(fx),
            State::Unsent => self.fail(now, why, random, fx),
            _ => self.refused(now, own, why, random, fx),
        }
    }

    fn refused(&mut self, now: Instant, own: Own, why: String, random: u64, fx: &mut Vec<Effect>) {
        match own {
            Own::Discover => self.greeting.discover = State::Refused(why),
            _ => self.greeting.initialize = State::Refused(why),
        }
        if self.try_other(fx) {
            return;
        }
        let out = [&self.greeting.discover, &self.greeting.initialize];
        if out.contains(&&State::Out) {
            return;
        }
        // A server of the new era alone refuses `initialize` like that, too: that was asked first.
        if self.greeting.no_posts && std::mem::take(&mut self.fall_back) {
            self.fell_back = true;
            self.transport = Transport::HttpSse;
            self.phase = Phase::Opening;
            self.greeting = Greeting::default();
            fx.push(Effect::Open);
            return;
        }
        let mut why = String::from("it refused every greeting");
        for (method, state) in [
            ("server/discover", &self.greeting.discover),
            ("initialize", &self.greeting.initialize),
        ] {
            if let State::Refused(text) = state {
                why.push_str(&format!("; {method}: {text}"));
            }
        }
        self.fail(now, why, random, fx);
    }
}

fn identity(result: &[u8], info: Option<&[u8]>) -> Identity {
    let copy = |name| json::field(result, name).map(Bytes::copy_from_slice);
    Identity {
        capabilities: copy("capabilities").unwrap_or(Bytes::from_static(b"{}")),
        info: info.map(kept_info).unwrap_or_default(),
        instructions: copy("instructions"),
        legacy: false,
    }
}

/// What a server says of itself, as far as it is kept: pictures may make it too long.
fn kept_info(info: &[u8]) -> Bytes {
    if info.len() <= limits::INFO_BYTES_MAX {
        return Bytes::copy_from_slice(info);
    }
    let mut splice = Splice::new(info);
    if let Some(icons) = json::get(info, Span::all(info), "icons") {
        splice.remove_value(icons);
    }
    let mut out = Vec::new();
    splice.write_into(&mut out);
    if out.len() <= limits::INFO_BYTES_MAX { out.into() } else { Bytes::new() }
}

/// The revisions a server names when it refuses ours, of those we know.
fn named_revisions(error: &[u8]) -> Option<Vec<Revision>> {
    let code = json::field(error, "code").map(|raw| String::from_utf8_lossy(raw).parse());
    if code != Some(Ok(errors::UNSUPPORTED_PROTOCOL_VERSION)) {
        return None;
    }
    let supported = json::field(json::field(error, "data")?, "supported")?;
    Some(json::items(supported).filter_map(|raw| Revision::parse(&json::text(raw)?)).collect())
}

/// The result of an answer. One of a type we don't know is invalid (basic/index, "ResultType"),
/// and `input_required` is none that lists and greetings may have.
pub(super) fn final_result(message: &[u8], envelope: &Envelope, from: Era) -> Option<Span> {
    let result = envelope.result.filter(|_| envelope.kind == Kind::Result)?;
    let known = from == Era::Legacy || era::result::is_complete(envelope, message);
    known.then_some(result)
}

/// The error of an answer, for people.
pub(super) fn error_text(message: &[u8], envelope: &Envelope) -> String {
    if envelope.kind == Kind::Result {
        return "a result of a type that is not known here".to_owned();
    }
    let error = envelope.error.map(|span| span.of(message)).unwrap_or(b"{}");
    let text = json::text_field(error, "message").unwrap_or_default();
    let text: String = text.chars().take(200).collect();
    format!("error {} {text:?}", envelope.error_code.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kern_mcp::ScanLimits;

    use super::super::{OwnId, Profile};
    use super::*;

    const RANDOM: u64 = 1;

    #[test]
    fn what_a_server_says_of_itself_is_kept_without_pictures_that_are_too_large() {
        let long = "x".repeat(limits::INFO_BYTES_MAX);
        let plain = r#"{"name":"n","version":"1","icons":[]}"#.to_owned();
        for (info, expected) in [
            (plain.clone(), plain),
            (
                format!(r#"{{"name":"n","icons":[{{"src":"{long}"}}],"version":"1"}}"#),
                r#"{"name":"n","version":"1"}"#.to_owned(),
            ),
            (format!(r#"{{"name":"{long}"}}"#), String::new()),
        ] {
            assert_eq!(kept_info(info.as_bytes()), expected);
        }
    }

    /// The methods sent after each refusal in turn; at the end whether the server is given up.
    fn check(transport: Transport, refusals: &[&str], sent: &[Method], gives_up: bool) {
        let profile = Profile {
            capabilities: Bytes::from_static(b"{}"),
            info: Bytes::from_static(b"{}"),
            revision: Revision::LATEST,
            prefer: Era::Modern,
        };
        let mut instance = Instance::new(profile, transport, Duration::from_secs(5));
        let (now, mut fx, mut seen) = (Instant::ZERO, Vec::new(), Vec::new());
        instance.start(now, &mut fx);
        instance.opened(now, &mut fx);
        for refusal in refusals {
            let (id, method) = greeting(&mut fx).expect("a greeting to refuse");
            seen.push(method);
            let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{refusal}}}", id.json());
            let body = body.into_bytes();
            if transport == Transport::Http {
                let failure = Failure::Status { status: 400, body };
                instance.failed(now, id, failure, RANDOM, &mut fx);
            } else {
                let envelope =
                    kern_mcp::scan(&body, &ScanLimits::default()).expect("a JSON-RPC error");
                instance.answer(now, &body, &envelope, RANDOM, &mut fx);
            }
        }
        assert_eq!(seen, sent, "{refusals:?}");
        assert_eq!(instance.phase() == Phase::Down, gives_up, "{refusals:?}: {fx:?}");
    }

    fn greeting(fx: &mut Vec<Effect>) -> Option<(OwnId, Method)> {
        let mut sent = fx.drain(..).filter_map(|effect| match effect {
            Effect::Send { id: Some(id), method, .. } => Some((id, method)),
            _ => None,
        });
        sent.next_back()
    }

    #[test]
    fn a_server_is_taken_for_one_of_http_with_sse_only_when_it_refuses_both_greetings() {
        for (prefer, order) in [
            (Era::Modern, [Method::ServerDiscover, Method::Initialize]),
            (Era::Legacy, [Method::Initialize, Method::ServerDiscover]),
        ] {
            let profile = Profile {
                capabilities: Bytes::from_static(b"{}"),
                info: Bytes::from_static(b"{}"),
                revision: Revision::LEGACY_LATEST,
                prefer,
            };
            let instance = Instance::new(profile, Transport::Http, Duration::from_secs(5));
            let (mut instance, mut fx) = (instance.with_fall_back(), Vec::new());
            instance.start(Instant::ZERO, &mut fx);
            for run in 0..2 {
                instance.opened(Instant::ZERO, &mut fx);
                for expected in order {
                    assert_eq!(instance.transport(), Transport::Http, "run {run}");
                    let (id, method) = greeting(&mut fx).expect("a greeting");
                    assert_eq!(method, expected, "run {run}");
                    let failure = Failure::Status { status: 405, body: Vec::new() };
                    instance.failed(Instant::ZERO, id, failure, RANDOM, &mut fx);
                }
                assert_eq!(instance.transport(), Transport::HttpSse, "run {run}");
                assert!(fx.contains(&Effect::Open), "{fx:?}");
                // It was none, after all: the next start asks anew.
                instance.fail(Instant::ZERO, "405".to_owned(), RANDOM, &mut fx);
                instance.wake(Instant::ZERO + Duration::from_secs(3_600), RANDOM, &mut fx);
                assert_eq!(instance.phase(), Phase::Opening, "run {run}");
                fx.clear();
            }
        }
    }

    #[test]
    fn a_modern_server_that_refuses_a_revision_is_not_taken_for_an_old_one() {
        use Method::{Initialize, ServerDiscover};
        let ours = r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}"#;
        let old = r#"{"code":-32022,"message":"no","data":{"supported":["2025-11-25"]}}"#;
        let newer = r#"{"code":-32022,"message":"no","data":{"supported":["2099-01-01"]}}"#;
        let unknown = r#"{"code":-32601,"message":"Method not found"}"#;
        let cases: [(&[&str], &[Method], bool); 5] = [
            (&[ours, ours], &[ServerDiscover, ServerDiscover], true),
            (&[ours, unknown], &[ServerDiscover, ServerDiscover], false),
            (&[old, unknown], &[ServerDiscover, Initialize], true),
            (&[newer], &[ServerDiscover], true),
            (&[unknown, unknown], &[ServerDiscover, Initialize], true),
        ];
        for (refusals, sent, gives_up) in cases {
            check(Transport::Http, refusals, sent, gives_up);
            check(Transport::Pipe, refusals, sent, gives_up);
        }
    }
}
