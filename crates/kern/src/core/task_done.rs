//! Calls that ended at once although their clients asked for a task.
//!
//! In 2025-11-25 the client decides whether a call becomes a task, in the extension the server does.
//! Where a modern server answers at once, the answer is kept here as a task that has ended.
//! Invariant: what is kept is bounded, and goes with its session.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use kern_terms::Key;

use super::words::UpstreamId;

/// Answers kept for one session; the oldest is forgotten first.
const KEPT_MAX: usize = 16;
/// Bytes kept for one session.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Bytes kept for all sessions of a core.
const ALL_BYTES_MAX: usize = 256 << 20;
/// What their ids begin with.
const PREFIX: &str = "kern-done-";

/// A call that ended.
#[derive(Debug)]
pub(super) struct Done {
    upstream: UpstreamId,
    own: String,
    /// The result of the call, as a modern server gave it.
    pub(super) result: Vec<u8>,
    /// When it ended, as text.
    at: String,
}

/// What this core keeps for its sessions.
#[derive(Debug, Default)]
pub(super) struct DoneBook {
    sessions: HashMap<Key, VecDeque<Done>>,
    /// Of all of them.
    bytes: usize,
}

impl Done {
    /// As a modern server's task would be.
    pub(super) fn task(&self) -> Vec<u8> {
        let mut task = format!(
            "{{\"status\":\"completed\",\"createdAt\":\"{at}\",\"lastUpdatedAt\":\"{at}\",\
             \"ttlMs\":null,\"result\":",
            at = self.at
        )
        .into_bytes();
        task.extend_from_slice(&self.result);
        task.push(b'}');
        task
    }
}

impl DoneBook {
    /// Keeps an answer; its id. `None` if it is too large, or too much is kept.
    pub(super) fn keep(
        &mut self,
        session: Key,
        upstream: UpstreamId,
        number: u64,
        result: &[u8],
    ) -> Option<String> {
        if result.len() > KEPT_BYTES_MAX {
            return None;
        }
        let kept = self.sessions.entry(session).or_default();
        while kept.len() >= KEPT_MAX || bytes(kept) + result.len() > KEPT_BYTES_MAX {
            self.bytes -= kept.pop_front().map_or(0, |done| done.result.len());
        }
        if self.bytes + result.len() > ALL_BYTES_MAX {
            return None;
        }
        self.bytes += result.len();
        let own = format!("{PREFIX}{number:016x}");
        let at = text(SystemTime::now());
        kept.push_back(Done { upstream, own: own.clone(), result: result.to_vec(), at });
        Some(own)
    }

    pub(super) fn find(&self, session: Key, upstream: UpstreamId, own: &str) -> Option<&Done> {
        let kept = self.sessions.get(&session).filter(|_| own.starts_with(PREFIX))?;
        kept.iter().find(|done| done.upstream == upstream && done.own == own)
    }

    pub(super) fn session_ended(&mut self, session: Key) {
        self.bytes -= self.sessions.remove(&session).map_or(0, |kept| bytes(&kept));
    }

    /// Bytes of all answers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sessions for which answers are kept.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

fn bytes(kept: &VecDeque<Done>) -> usize {
    kept.iter().map(|done| done.result.len()).sum()
}

/// A point in time as RFC 3339 in UTC.
fn text(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Counted from March, so that a leap day is the last of its year.
    let (mut year, mut left) = (1970_u64, day);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    loop {
        let days = if leap(year) { 366 } else { 365 };
        if left < days {
            break;
        }
        left -= days;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", left + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wrong_date_would_mislead_who_computes_the_age_of_a_task() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_785_240_000, "2026-07-28T12:00:00Z"),
        ] {
            assert_eq!(text(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn answers_are_kept_for_their_session_within_bounds() {
        let (one, two) = (Key { slot: 1, generation: 0 }, Key { slot: 2, generation: 0 });
        let upstream = UpstreamId(1);
        let mut book = DoneBook::default();
        let first = book.keep(one, upstream, 1, b"{}").expect("small");
        assert!(book.find(one, upstream, &first).is_some());
        assert!(book.find(two, upstream, &first).is_none());
        assert!(book.find(one, UpstreamId(2), &first).is_none());
        for number in 2..30 {
            book.keep(one, upstream, number, &vec![b' '; 1 << 20]);
        }
        let kept = &book.sessions[&one];
        assert!(kept.iter().map(|done| done.result.len()).sum::<usize>() <= KEPT_BYTES_MAX);
        assert!(book.find(one, upstream, &first).is_none());
        assert_eq!(book.keep(one, upstream, 99, &vec![b' '; KEPT_BYTES_MAX + 1]), None);
        book.session_ended(one);
        assert!(book.sessions.is_empty());
        // However many sessions there are.
        let key = |slot| Key { slot, generation: 0 };
        let kept = |book: &mut DoneBook, slot| {
            book.keep(key(slot), upstream, 1, &vec![b' '; KEPT_BYTES_MAX]).is_some()
        };
        let most = u32::try_from(ALL_BYTES_MAX / KEPT_BYTES_MAX).expect("a few");
        assert!((0..most).all(|slot| kept(&mut book, slot)));
        assert!(!kept(&mut book, most) && kept(&mut book, 0));
        book.session_ended(key(0));
        assert!(kept(&mut book, most));
    }
}
