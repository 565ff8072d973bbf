//! What follows when the server ends, the keeper is told to end, or `kern` dies?
//!
//! Invariants: a deadline only moves nearer; nobody is sent SIGTERM twice (a second one makes
//! many servers drop their clean-up); after SIGKILL began, nothing but SIGKILL follows, and it
//! has an end.

use std::time::Instant;

use crate::limits::{KILL_INTERVAL, KILL_LIMIT, LEFTOVER_GRACE, PARENT_GONE_GRACE, SERVER_GRACE};

/// What the keeper learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing but the time.
    Tick,
    /// SIGTERM or SIGINT, which whoever sends it sends to the whole process group.
    ToldToEnd,
    ServerEnded,
    ParentGone,
}

/// What the keeper does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Wait,
    /// SIGTERM to the descendants, `but_group`: only to those outside the keeper's own group.
    Terminate {
        but_group: bool,
    },
    /// SIGKILL to all descendants, again at each turn until none is left.
    Kill,
    /// Some cannot be killed.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nobody,
    Group,
    All,
}

/// How far the end has come.
#[derive(Debug)]
pub(crate) struct Course {
    told: Told,
    /// When killing begins.
    kill_at: Option<Instant>,
    /// When killing ends; killing has begun if it is set.
    give_up_at: Option<Instant>,
}

impl Course {
    pub(crate) fn new() -> Self {
        Self { told: Told::Nobody, kill_at: None, give_up_at: None }
    }

    /// Takes the next step.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Action {
        if self.give_up_at.is_none() {
            match event {
                Event::Tick => {}
                Event::ToldToEnd => {
                    self.told = self.told.max(Told::Group);
                    self.kill_by(now + SERVER_GRACE);
                }
                Event::ServerEnded => return self.terminate(now + LEFTOVER_GRACE),
                Event::ParentGone => return self.terminate(now + PARENT_GONE_GRACE),
            }
            if self.kill_at.is_none_or(|at| now < at) {
                return Action::Wait;
            }
        }
        if now < *self.give_up_at.get_or_insert(now + KILL_LIMIT) {
            Action::Kill
        } else {
            Action::GiveUp
        }
    }

    /// When the next `Tick` is due at the latest.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.give_up_at.map(|at| at.min(now + KILL_INTERVAL)).or(self.kill_at)
    }

    fn terminate(&mut self, deadline: Instant) -> Action {
        self.kill_by(deadline);
        match std::mem::replace(&mut self.told, Told::All) {
            Told::All => Action::Wait,
            told => Action::Terminate { but_group: told == Told::Group },
        }
    }

    fn kill_by(&mut self, deadline: Instant) {
        self.kill_at = Some(self.kill_at.map_or(deadline, |at| at.min(deadline)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Action::{GiveUp, Kill, Terminate, Wait};
    use super::Event::{ParentGone, ServerEnded, Tick, ToldToEnd};
    use super::*;

    /// Each step: at which millisecond what happens, what is done, when to wake (0: never).
    fn check(name: &str, steps: &[(u64, Event, Action, u64)]) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut course = Course::new();
        assert_eq!(course.wake_at(start), None, "{name}");
        for &(ms, event, action, wake) in steps {
            assert_eq!(course.on(event, at(ms)), action, "{name}: {event:?} at {ms}");
            let due = (wake > 0).then(|| at(wake));
            assert_eq!(course.wake_at(at(ms)), due, "{name}: after {event:?} at {ms}");
        }
    }

    const EVERYBODY: Action = Terminate { but_group: false };
    const OUTSIDERS: Action = Terminate { but_group: true };

    #[test]
    fn an_end_is_polite_once_and_then_bounded() {
        check("nothing", &[(5, Tick, Wait, 0)]);
        check(
            "a server that does not listen",
            &[
                (10, ToldToEnd, Wait, 2010),
                (500, ToldToEnd, Wait, 2010),
                (2009, Tick, Wait, 2010),
                (2010, Tick, Kill, 2030),
                (2015, ServerEnded, Kill, 2035),
                (4000, Tick, Kill, 4010),
                (4010, Tick, GiveUp, 4010),
            ],
        );
        check("leftovers", &[(10, ServerEnded, EVERYBODY, 510), (510, Tick, Kill, 530)]);
        check(
            "told, then the server ends",
            &[(10, ToldToEnd, Wait, 2010), (100, ServerEnded, OUTSIDERS, 600)],
        );
        check(
            "told, and the server ends late",
            &[(10, ToldToEnd, Wait, 2010), (1900, ServerEnded, OUTSIDERS, 2010)],
        );
        check(
            "kern dies",
            &[
                (10, ParentGone, EVERYBODY, 1010),
                (20, ToldToEnd, Wait, 1010),
                (30, ServerEnded, Wait, 530),
                (530, Tick, Kill, 550),
            ],
        );
    }
}
