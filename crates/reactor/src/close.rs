//! How does a stream end?
//!
//! Invariants: `Closed` is emitted at most once, and not for what the app closed; a stream leaves the
//! table only at the end of a turn, through `doomed`.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kern_terms::{Instant, Key};

use crate::driver::Batch;
use crate::event::{Closed, Event};
use crate::io::{Due, Io};
use crate::limits::{BROKEN_LINGER, FINISH_LINGER};
use crate::stream::{Deadline, Finish, Kind, Phase};

impl<P: Send + 'static> Io<P> {
    /// The sending direction has ended; so may the stream.
    pub(crate) fn after_finish(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.phase {
            Phase::Lingering if stream.read_ended || stream.kind != Kind::Socket => self.doom(key),
            Phase::Lingering => {
                let soonest = self.now + FINISH_LINGER;
                self.stream_deadline(key, Deadline::Linger, soonest, true);
            }
            Phase::Open if stream.read_ended => self.fail(key, Closed::Orderly),
            _ => {}
        }
    }

    pub(crate) fn sending_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        self.pool.recycle(Batch { pieces: std::mem::take(&mut stream.pieces) });
        stream.queued = 0;
        stream.finish = Finish::Done;
        match stream.phase {
            Phase::Lingering => self.doom(key),
            Phase::Handshaking => self.fail(key, Closed::Refused(error)),
            Phase::Open if stream.read_ended || !stream.receiving => {
                self.fail(key, Closed::Broken(error));
            }
            Phase::Open => {
                stream.broken = Some(error);
                let until = self.now + BROKEN_LINGER;
                self.stream_deadline(key, Deadline::Broken, until, false);
            }
            _ => {}
        }
    }

    /// Reading ended, in order or not.
    pub(crate) fn read_ended(&mut self, key: Key, result: io::Result<()>) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if std::mem::replace(&mut stream.read_ended, true) {
            // TLS ended before the connection did.
            return;
        }
        let broken = stream.broken.take();
        match (stream.phase, result) {
            (Phase::Lingering, Ok(())) if stream.finish != Finish::Done => {}
            (Phase::Lingering, _) => self.doom(key),
            (Phase::Handshaking, Ok(())) => {
                self.fail(key, Closed::Tls("the peer closed the connection".into()));
            }
            (Phase::Handshaking, Err(error)) => self.fail(key, Closed::Refused(error)),
            (Phase::Open, Err(error)) => self.fail(key, Closed::Broken(broken.unwrap_or(error))),
            (Phase::Open, Ok(())) => {
                let finished = stream.finish == Finish::Done;
                self.emit(Event::Finished { stream: key });
                match broken {
                    Some(error) => self.fail(key, Closed::Broken(error)),
                    None if finished => self.fail(key, Closed::Orderly),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// The stream is gone: the app will be told.
    pub(crate) fn fail(&mut self, key: Key, why: Closed) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if matches!(stream.phase, Phase::Failing | Phase::Doomed) {
            return;
        }
        stream.phase = Phase::Failing;
        self.emit(Event::Closed { stream: key, why });
    }

    /// Has the stream removed when the turn ends.
    pub(crate) fn doom(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.phase == Phase::Doomed {
            return;
        }
        stream.phase = Phase::Doomed;
        if let Some(timer) = stream.timer.take() {
            self.timers.remove(timer);
        }
        self.doomed.push(key);
    }

    /// Removes what was doomed in this turn.
    pub(crate) fn destroy_doomed(&mut self) {
        let mut doomed = std::mem::take(&mut self.doomed);
        for key in doomed.drain(..) {
            let Some(stream) = self.streams.remove(key) else { continue };
            if stream.wired {
                self.driver.close(key);
            }
            if stream.ring.is_some() {
                self.rings -= 1;
            }
            if stream.accepted {
                self.lane.connections.fetch_sub(1, Ordering::Relaxed);
            }
            self.pool.recycle(Batch { pieces: stream.pieces });
        }
        self.doomed = doomed;
    }

    /// Notes that the sending direction shall end; false where it cannot.
    pub(crate) fn ask_finish(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.takes()) else {
            return false;
        };
        stream.finish = Finish::Asked;
        true
    }

    /// See [`Io::close`].
    pub(crate) fn begin_close(&mut self, key: Key, linger: Duration) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.phase {
            Phase::Lingering | Phase::Doomed => return,
            Phase::Open if stream.broken.is_none() => {}
            // Nothing was ever sent, or nothing can be.
            _ => return self.doom(key),
        }
        if stream.finish == Finish::Done && stream.read_ended {
            return self.doom(key);
        }
        stream.phase = Phase::Lingering;
        let finished = stream.finish == Finish::Done;
        if !finished {
            stream.finish = Finish::Asked;
        }
        // Input is discarded, so that the peer's end is seen; see `FINISH_LINGER`.
        if !stream.receiving {
            self.driver.receive(key, true);
        }
        self.stream_deadline(key, Deadline::Linger, self.now + linger, false);
        if finished {
            self.after_finish(key);
        } else {
            self.mark_dirty(key);
        }
    }

    /// Sets the stream's own timer; `sooner` keeps an earlier one.
    pub(crate) fn stream_deadline(&mut self, key: Key, what: Deadline, at: Instant, sooner: bool) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if let Some(timer) = stream.timer.take() {
            let kept = self.timers.remove(timer);
            let earlier = kept.map(|due| due.at()).filter(|earlier| sooner && *earlier < at);
            return self.arm(key, what, earlier.unwrap_or(at));
        }
        self.arm(key, what, at);
    }

    fn arm(&mut self, key: Key, what: Deadline, at: Instant) {
        let due = Due::Stream { stream: key, what, at };
        let timer = self.timers.insert(at, due);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.timer = Some(timer);
        }
    }
}
