//! Child processes: their pipes, their stderr, their end.
//!
//! A child is told to end in three steps: its stdin is closed, then its process group gets
//! SIGTERM, then SIGKILL (2025-11-25 basic/lifecycle, shutdown). Invariant: the wire stays until
//! the child is reaped.

use std::collections::VecDeque;
use std::time::Duration;

use kern_control::{CommandLaunch, Launch};
use kern_mcp::lines::{self, LineTooLong};
use kern_mcp::{encode, json, scan};
use kern_reactor::{ChildExit, Command, Signal};
use kern_terms::{Era, FlightId, Key};
use kern_upstream::call::{self, Call};
use kern_upstream::instance::{Failure, OwnId};
use memchr::memmem;

use super::deliver::write_line;
use super::hosted::{Pipe, Wire};
use super::timers::Timer;
use super::words::{Dispatch, Post, UpstreamId};
use super::{Core, Io, Owner, StreamEvent};

/// How long a child may take to end after its stdin was closed, and after each signal. The keeper
/// gives the server time of its own after SIGTERM, so the second is longer.
const PATIENCE_EACH: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];
/// How long what a child said last may take to be read once it ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Bytes queued for a child that does not read its stdin, beyond which calls are refused.
const UNREAD_BYTES_MAX: usize = 16 << 20;
/// Names the descriptor of a server's ring socket; see docs/shm-layout.md.
const RING_FD: &str = "KERN_RING_FD";
/// Longest line of a child's stderr that is kept.
const ERROR_LINE_BYTES_MAX: usize = 8 << 10;
/// Lines of a child's stderr that are kept for the reason of its end, and the length of each.
const LAST_ERRORS: (usize, usize) = (12, 200);
/// How many of them are told.
const ERRORS_TOLD: usize = 2;

impl Core {
    pub(super) fn open_pipe(&mut self, io: &mut Io, key: Key) {
        let keeper = self.setup.keeper.clone();
        let Some(hosted) = self.hosted.get(key) else { return };
        let Ok(Launch::Command(launch)) = &hosted.spec.launch else { return };
        let command = command(launch, keeper.as_deref());
        let spawned = if launch.ring { io.spawn_ring(&command) } else { io.spawn(&command) };
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let why = format!("cannot start {:?}: {error}", launch.argument_zero);
                return self.lost(io, key, why);
            }
        };
        self.owners.insert(child.pipes, Owner::Pipe(key));
        self.owners.insert(child.errors, Owner::Errors(key));
        self.exits.insert(child.child, key);
        let limit = self.setup.plan.limits.message_bytes;
        if let Some(hosted) = self.hosted.get_mut(key) {
            hosted.audience.clear();
            hosted.wire = Wire::Pipe(Box::new(Pipe {
                child: child.child,
                pipes: Some(child.pipes),
                errors: Some(child.errors),
                lines: lines::Decoder::new(limit),
                error_lines: lines::Decoder::new(ERROR_LINE_BYTES_MAX),
                last_errors: VecDeque::new(),
                told: 0,
                lost: false,
                silent: false,
                exited: None,
            }));
        }
        let now = self.now;
        self.drive(io, key, |instance, fx| instance.opened(now, fx));
    }

    fn pipe_mut(&mut self, key: Key) -> Option<&mut Pipe> {
        match &mut self.hosted.get_mut(key)?.wire {
            Wire::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// Writes a message of ours to a child.
    pub(super) fn write_pipe(&mut self, io: &mut Io, key: Key, message: &[u8]) {
        let Some(pipes) = self.pipe_mut(key).and_then(|pipe| pipe.pipes) else { return };
        if io.queued_bytes(pipes) > 2 * UNREAD_BYTES_MAX {
            let (now, random) = (self.now, io.random());
            let why = "it does not read its input".to_owned();
            return self.drive(io, key, |instance, fx| instance.fail(now, why, random, fx));
        }
        io.send_with(pipes, |out| write_line(out, message));
    }

    /// Sends a call to a server that speaks over one connection of this core: a pipe, or HTTP+SSE.
    pub(super) fn send_hosted(&mut self, io: &mut Io, id: FlightId, key: Key, call: &Call<'_>) {
        let Some(hosted) = self.hosted.get(key) else {
            return self.give_back(io, id, None, "its server was stopped");
        };
        let (upstream, revision) = (hosted.upstream, hosted.instance.revision());
        if !hosted.instance.is_open() {
            return self.give_back(io, id, Some(upstream), "its server is not ready");
        }
        let pipes = match &hosted.wire {
            Wire::Pipe(pipe) if pipe.lost || pipe.exited.is_some() => None,
            Wire::Pipe(pipe) => pipe.pipes,
            Wire::Http(_) => return self.post_message(io, key, id, call, revision),
            Wire::None => None,
        };
        let Some(pipes) = pipes else {
            return self.give_back(io, id, Some(upstream), "its server has just ended");
        };
        if io.queued_bytes(pipes) > UNREAD_BYTES_MAX {
            let why = "its server does not read its input";
            return self.give_back(io, id, Some(upstream), why);
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        call::encode(call, id, revision, &mut self.scratch, &mut out);
        io.send_with(pipes, |buffer| write_line(buffer, &out));
        self.out = out;
    }

    /// A call could not be sent: its flight ends, wherever it is.
    pub(super) fn give_back(
        &mut self,
        io: &mut Io,
        id: FlightId,
        upstream: Option<UpstreamId>,
        why: &str,
    ) {
        let known = upstream.and_then(|id| self.upstreams.get(&id));
        let name = known.map(|upstream| upstream.spec.name.to_string()).unwrap_or_default();
        let why = format!("upstream {name:?}: {why}");
        match upstream {
            Some(upstream) if id.core() != self.id => {
                io.post(id.core(), Post::Failed { upstream, flight: id, why });
            }
            _ => {
                if let Some(key) = self.flight_key(id) {
                    self.fail_flight(io, key, &why);
                }
            }
        }
    }

    pub(super) fn dispatched(&mut self, io: &mut Io, dispatch: Dispatch) {
        let hosted = self.upstreams.get(&dispatch.upstream).and_then(|upstream| upstream.hosted);
        let Some(hosted) = hosted else {
            return self.give_back(io, dispatch.flight, Some(dispatch.upstream), "it was removed");
        };
        let call = Call {
            message: &dispatch.message,
            envelope: &dispatch.envelope,
            name: dispatch.name.as_deref(),
            uri: dispatch.uri.as_deref(),
            from: dispatch.from,
            client_info: &dispatch.client_info,
            client_capabilities: &dispatch.client_capabilities,
            log_level: dispatch.log_level,
        };
        self.expect_logs(hosted, dispatch.flight, dispatch.session, &call);
        self.send_hosted(io, dispatch.flight, hosted, &call);
    }

    /// Notes that the log messages of a shared server may be about this call.
    pub(super) fn expect_logs(
        &mut self,
        key: Key,
        flight: FlightId,
        session: Option<Key>,
        call: &Call<'_>,
    ) {
        let asks = call.log_level.is_some() || call.envelope.log_level.is_some();
        if let Some(hosted) = self.hosted.get_mut(key).filter(|_| asks)
            && hosted.instance.revision().era() == Era::Modern
        {
            hosted.audience.sent(flight, session);
        }
    }

    pub(super) fn cancel_at_host(&mut self, io: &mut Io, upstream: UpstreamId, flight: FlightId) {
        let Some(key) = self.upstreams.get(&upstream).and_then(|upstream| upstream.hosted) else {
            return;
        };
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        // Over HTTP the new era says it by closing the exchange, which its own core did.
        let modern = hosted.instance.revision().era() == Era::Modern;
        if !(modern && hosted.http().is_some()) {
            self.cancel_hosted(io, key, flight, "cancelled by the client");
        }
    }

    /// Tells a server that the answer to a call is no longer wanted.
    pub(super) fn cancel_hosted(&mut self, io: &mut Io, key: Key, flight: FlightId, why: &str) {
        if let Some(hosted) = self.hosted.get_mut(key) {
            hosted.audience.withdrawn(flight);
        }
        let mut params = format!("{{\"requestId\":{},\"reason\":", flight.number()).into_bytes();
        kern_mcp::json::quote_into(&mut params, why);
        params.push(b'}');
        let mut message = Vec::new();
        encode::notification(&mut message, "notifications/cancelled", Some(&params));
        self.send_to_server(io, key, None, &message);
    }

    pub(super) fn pipe_event(&mut self, io: &mut Io, key: Key, event: StreamEvent) {
        match event {
            StreamEvent::Received(chunk) => self.pipe_received(io, key, &chunk),
            StreamEvent::Finished => self.pipe_over(io, key, "it closed its output"),
            StreamEvent::Closed(_) => {
                if let Some(pipe) = self.pipe_mut(key) {
                    pipe.pipes = None;
                }
                self.pipe_over(io, key, "its pipes broke");
            }
            StreamEvent::Connected | StreamEvent::Drained => {}
        }
    }

    fn pipe_received(&mut self, io: &mut Io, key: Key, bytes: &[u8]) {
        let limit = self.setup.plan.limits.message_bytes;
        let Some(pipe) = self.pipe_mut(key) else { return };
        let mut decoder = std::mem::replace(&mut pipe.lines, lines::Decoder::new(limit));
        let child = pipe.child;
        let mut lines = decoder.push(bytes);
        while let Some(line) = lines.next() {
            match line {
                Ok(line) => self.pipe_line(io, key, line),
                Err(LineTooLong { outline: None, .. }) => {
                    self.complain(key, &format!("its message is longer than {limit} bytes"));
                }
                Err(LineTooLong { outline: Some(outline), .. }) if outline.request => {}
                Err(LineTooLong { outline: Some(outline), .. }) => {
                    let why =
                        format!("its answer is longer than {limit} bytes (limits.message_bytes)");
                    self.answer_refused(io, key, &outline.id, why);
                }
            }
        }
        drop(lines);
        if let Some(pipe) = self.pipe_mut(key).filter(|pipe| pipe.child == child) {
            pipe.lines = decoder;
        }
    }

    fn pipe_line(&mut self, io: &mut Io, key: Key, line: &[u8]) {
        if !line.starts_with(b"[") || !self.pipe_batch(io, key, line) {
            self.pipe_message(io, key, line);
        }
    }

    pub(super) fn pipe_message(&mut self, io: &mut Io, key: Key, line: &[u8]) {
        match scan(line, &self.scan_limits) {
            Ok(envelope) => self.server_message(io, key, line, &envelope),
            Err(error) => {
                let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                self.complain(key, &format!("its output is no message ({error}): {shown}"));
                if let Some(id) = error.id.filter(|_| memmem::find(line, b"\"method\"").is_none()) {
                    let why = format!("its answer is no message: {error}");
                    self.answer_refused(io, key, id.of(line), why);
                }
            }
        }
    }

    /// An answer that cannot be read: whoever waits for it is told now, not by the clock.
    fn answer_refused(&mut self, io: &mut Io, key: Key, id: &[u8], why: String) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        if let Some(id) = OwnId::parse(id) {
            return self.own_failed(io, key, id, Failure::Broken(why));
        }
        let Some(flight) = json::integer_u64(id).and_then(FlightId::from_number) else { return };
        hosted.audience.answered(flight);
        let (upstream, why) = (hosted.upstream, format!("upstream {:?}: {why}", hosted.spec.name));
        if flight.core() == self.id {
            self.flight_failed(io, upstream, flight, &why);
        } else if self.setup.cores.contains(&flight.core()) {
            io.post(flight.core(), Post::Failed { upstream, flight, why });
        }
    }

    fn complain(&self, key: Key, why: &str) {
        if let Some(hosted) = self.hosted.get(key) {
            tracing::warn!(upstream = &*hosted.spec.name, "{why}");
        }
    }

    /// The child's output ended: whatever it still does, it can't answer any more.
    fn pipe_over(&mut self, io: &mut Io, key: Key, why: &str) {
        let Some(pipe) = self.pipe_mut(key) else { return };
        let (first, told) = (!std::mem::replace(&mut pipe.lost, true), pipe.told > 0);
        if first && !told {
            // The exit status says more than the closed pipe; it follows within moments.
            tracing::debug!(?key, why, "a child is told to end");
            self.end_child(io, key);
        }
        self.child_over(io, key, false);
    }

    pub(super) fn errors_event(&mut self, io: &mut Io, key: Key, event: StreamEvent) {
        match event {
            StreamEvent::Received(chunk) => {
                let Some(hosted) = self.hosted.get_mut(key) else { return };
                let name = std::sync::Arc::clone(&hosted.spec.name);
                let Wire::Pipe(pipe) = &mut hosted.wire else { return };
                let mut lines = pipe.error_lines.push(&chunk);
                while let Some(line) = lines.next() {
                    let Ok(line) = line else { continue };
                    let text = String::from_utf8_lossy(line);
                    tracing::info!(target: "kern::stderr", upstream = &*name, "{text}");
                    if text.trim().is_empty() {
                        continue;
                    }
                    if pipe.last_errors.len() == LAST_ERRORS.0 {
                        pipe.last_errors.pop_front();
                    }
                    pipe.last_errors.push_back(text.trim().chars().take(LAST_ERRORS.1).collect());
                }
            }
            StreamEvent::Finished | StreamEvent::Closed(_) => {
                if let Some(pipe) = self.pipe_mut(key) {
                    if matches!(event, StreamEvent::Closed(_)) {
                        pipe.errors = None;
                    }
                    pipe.silent = true;
                }
                self.child_over(io, key, false);
            }
            _ => {}
        }
    }

    /// Takes the transport of an instance down.
    pub(super) fn close_wire(&mut self, io: &mut Io, key: Key) {
        match self.hosted.get(key).map(|hosted| &hosted.wire) {
            Some(Wire::Pipe(_)) => self.end_child(io, key),
            Some(Wire::Http(_)) => self.close_private_link(io, key),
            _ => {}
        }
    }

    /// Tells a child to end, a step harsher each time.
    fn end_child(&mut self, io: &mut Io, key: Key) {
        let Some(pipe) = self.pipe_mut(key) else { return };
        let (child, pipes) = (pipe.child, pipe.pipes);
        pipe.told = pipe.told.saturating_add(1);
        let told = pipe.told;
        match told {
            1 => {
                if let Some(pipes) = pipes {
                    io.finish(pipes);
                }
            }
            2 => self.signal_child(io, child, Signal::Terminate),
            _ => self.signal_child(io, child, Signal::Kill),
        }
        let patience = PATIENCE_EACH[usize::from(told > 1)];
        io.timer(patience, Timer::Stopping(key).token());
    }

    fn signal_child(&mut self, io: &mut Io, child: Key, signal: Signal) {
        if let Err(error) = io.signal(child, signal) {
            tracing::debug!(%error, ?signal, "a child could not be signalled");
        }
    }

    pub(super) fn kill_child(&mut self, io: &mut Io, child: Key) {
        self.signal_child(io, child, Signal::Kill);
    }

    pub(super) fn stopping_overdue(&mut self, io: &mut Io, key: Key) {
        self.forget_if_over(io, key);
        self.child_over(io, key, true);
        if self.pipe_mut(key).is_some_and(|pipe| pipe.told > 0) {
            self.end_child(io, key);
        }
    }

    /// A child ended and was reaped. What it said last may still lie in its pipes.
    pub(super) fn child_exited(&mut self, io: &mut Io, child: Key, exit: ChildExit) {
        let Some(key) = self.exits.remove(&child) else { return };
        let Some(pipe) = self.pipe_mut(key).filter(|pipe| pipe.child == child) else { return };
        pipe.exited = Some(exit);
        io.timer(LAST_WORDS, Timer::Stopping(key).token());
        self.child_over(io, key, false);
    }

    /// Goes on once a child ended and its pipes are read to their end, or time for that is up:
    /// whom it left behind may keep them open.
    fn child_over(&mut self, io: &mut Io, key: Key, late: bool) {
        let Some(hosted) = self.hosted.get_mut(key) else { return };
        let Wire::Pipe(pipe) = &hosted.wire else { return };
        let Some(exit) = pipe.exited.filter(|_| late || (pipe.lost && pipe.silent)) else { return };
        let Wire::Pipe(pipe) = std::mem::replace(&mut hosted.wire, Wire::None) else { return };
        for stream in [pipe.pipes, pipe.errors].into_iter().flatten() {
            self.owners.remove(&stream);
            io.abort(stream);
        }
        let why = match exit {
            ChildExit { code: Some(0), .. } => "it ended".to_owned(),
            ChildExit { code: Some(code), .. } => format!("it exited with status {code}"),
            ChildExit { signal: Some(signal), .. } => format!("it was killed by signal {signal}"),
            _ => "it ended in an unknown way".to_owned(),
        };
        let said = told(&Vec::from(pipe.last_errors));
        let why = if said.is_empty() { why } else { format!("{why}: {said}") };
        if std::mem::take(&mut hosted.reopen) && !hosted.stopping {
            return self.open_pipe(io, key);
        }
        self.lost(io, key, why);
        self.forget_if_over(io, key);
    }

    /// Sends a message of the instance's own.
    pub(super) fn send_own(
        &mut self,
        io: &mut Io,
        key: Key,
        id: Option<OwnId>,
        method: kern_mcp::Method,
        message: &[u8],
    ) {
        match self.hosted.get(key).map(|hosted| &hosted.wire) {
            Some(Wire::Pipe(_)) => self.write_pipe(io, key, message),
            Some(Wire::Http(_)) => self.post_own(io, key, id, method, message),
            _ => {}
        }
    }

    /// Sends a notification or an answer to a server, whatever carries it.
    pub(super) fn send_to_server(
        &mut self,
        io: &mut Io,
        key: Key,
        id: Option<OwnId>,
        message: &[u8],
    ) {
        self.send_own(io, key, id, kern_mcp::Method::Other, message);
    }
}

/// The lines that most likely say why a child ended: the first that speak of an error, else the
/// last.
fn told(lines: &[String]) -> String {
    let speaks = |line: &&String| line.to_ascii_lowercase().contains("error");
    let errors: Vec<_> = lines.iter().filter(speaks).take(ERRORS_TOLD).cloned().collect();
    match errors.is_empty() {
        true => lines[lines.len().saturating_sub(ERRORS_TOLD)..].join(" | "),
        false => errors.join(" | "),
    }
}

/// How a child is started: by the keeper, which leaves nothing behind when it ends.
fn command(launch: &CommandLaunch, keeper: Option<&std::path::Path>) -> Command {
    let own = launch.args.iter().map(|arg| arg.expose().to_owned());
    let program = launch.program.display().to_string();
    let (program, args) = match keeper {
        None => (program, own.collect()),
        Some(keeper) => {
            let own: Vec<String> = own.collect();
            let mut args = kern_jail::arguments(std::process::id(), &program, &own);
            let named = ["--argv0".to_owned(), launch.argument_zero.clone()];
            let at = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
            args.splice(at..at, named);
            (keeper.display().to_string(), args)
        }
    };
    let own = launch.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    // Its stdin: the only descriptor that every launcher in between hands down.
    let ring = launch.ring.then(|| (RING_FD.to_owned(), "0".to_owned()));
    let env = own.chain(ring).collect();
    Command { program, args, env, cwd: Some(launch.cwd.clone()) }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_reason_a_server_ended_is_told_not_its_farewell() {
        for (stderr, expected) in [
            (
                "npm error code E404\nnpm error 404 Not Found - GET x\nnpm error A log is at y",
                "npm error code E404 | npm error 404 Not Found - GET x",
            ),
            (
                "Traceback (most recent call last):\n  File \"x\"\nKeyError: 'TOKEN'",
                "KeyError: 'TOKEN'",
            ),
            ("usage: server DIR\nno folder given\nbye", "no folder given | bye"),
            ("bye", "bye"),
            ("", ""),
        ] {
            let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
            assert_eq!(told(&lines), expected, "{stderr}");
        }
    }
}
