//! Which tasks did which session create on servers that it shares with others?
//!
//! A server of 2025-11-25 believes that all requests over one connection are of one client, so it
//! would show each the tasks of all. Invariants: a session reaches only what stands here for it;
//! what stands here is bounded; a server that starts anew takes its tasks with it.

use std::collections::VecDeque;

use hashbrown::HashMap;
use kern_session::SmallBytes;
use kern_terms::{FlightId, Key};

use super::words::UpstreamId;

/// Tasks remembered for one session; the oldest is forgotten first.
const TASKS_OF_SESSION_MAX: usize = 256;

/// Calls whose progress is still passed on after they became tasks; the oldest is forgotten first.
const TOKENS_MAX: usize = 1_024;

/// A call that became a task, and the progress token its client gave.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) flight: FlightId,
    pub(super) upstream: UpstreamId,
    pub(super) private: Option<Key>,
    pub(super) session: Key,
    /// Raw.
    pub(super) token: SmallBytes,
}

type Task = (UpstreamId, Box<str>);

/// The tasks of this core's sessions.
#[derive(Debug, Default)]
pub(super) struct TaskBook {
    sessions: HashMap<Key, VecDeque<Task>>,
    /// The sessions of each task: one, unless a server gave an id twice.
    by_task: HashMap<Task, Vec<Key>>,
    tokens: VecDeque<Token>,
}

impl TaskBook {
    pub(super) fn add(&mut self, session: Key, upstream: UpstreamId, id: &str) {
        if self.has(session, upstream, id) {
            return;
        }
        let tasks = self.sessions.entry(session).or_default();
        let oldest = if tasks.len() >= TASKS_OF_SESSION_MAX { tasks.pop_front() } else { None };
        let task: Task = (upstream, id.into());
        tasks.push_back(task.clone());
        self.by_task.entry(task).or_default().push(session);
        if let Some(oldest) = oldest {
            self.forget(session, &oldest);
        }
    }

    fn forget(&mut self, session: Key, task: &Task) {
        let Some(sessions) = self.by_task.get_mut(task) else { return };
        sessions.retain(|known| *known != session);
        if sessions.is_empty() {
            self.by_task.remove(task);
        }
    }

    pub(super) fn has(&self, session: Key, upstream: UpstreamId, id: &str) -> bool {
        let same = |task: &(UpstreamId, Box<str>)| task.0 == upstream && *task.1 == *id;
        self.sessions.get(&session).is_some_and(|tasks| tasks.iter().any(same))
    }

    /// A call with a progress token became a task: the token holds as long as the task (2025-11-25
    /// basic/utilities/tasks, "Task Progress Notifications").
    pub(super) fn keep_token(&mut self, token: Token) {
        if self.tokens.len() >= TOKENS_MAX {
            self.tokens.pop_front();
        }
        self.tokens.push_back(token);
    }

    /// The call that a server reports progress of.
    pub(super) fn token_of(&self, flight: FlightId) -> Option<&Token> {
        self.tokens.iter().rev().find(|token| token.flight == flight)
    }

    /// The sessions that know a task: one, unless the server gave an id twice.
    pub(super) fn sessions_with(&self, upstream: UpstreamId, id: &str) -> Vec<Key> {
        self.by_task.get(&(upstream, id.into())).cloned().unwrap_or_default()
    }

    pub(super) fn session_ended(&mut self, session: Key) {
        for task in self.sessions.remove(&session).unwrap_or_default() {
            self.forget(session, &task);
        }
        self.tokens.retain(|token| token.session != session);
    }

    /// Entries of sessions.
    pub(super) fn len(&self) -> usize {
        self.sessions.len() + self.by_task.len() + self.tokens.len()
    }

    /// The server's connection is another one: what it calls its tasks may mean others now.
    pub(super) fn server_lost(&mut self, upstream: UpstreamId) {
        self.tokens.retain(|token| token.upstream != upstream || token.private.is_some());
        self.by_task.retain(|task, _| task.0 != upstream);
        self.sessions.retain(|_, tasks| {
            tasks.retain(|task| task.0 != upstream);
            !tasks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UpstreamId = UpstreamId(1);
    const B: UpstreamId = UpstreamId(2);

    #[test]
    fn a_task_is_known_to_its_session_alone_and_forgotten_with_session_or_server() {
        let (one, two) = (Key { slot: 1, generation: 0 }, Key { slot: 2, generation: 0 });
        let mut book = TaskBook::default();
        book.add(one, A, "t");
        book.add(one, A, "t");
        book.add(one, B, "t");
        book.add(two, A, "u");
        assert!(book.has(one, A, "t") && !book.has(two, A, "t") && !book.has(one, A, "u"));
        assert_eq!(book.sessions_with(A, "u"), [two]);
        book.server_lost(A);
        assert!(!book.has(one, A, "t") && book.has(one, B, "t") && !book.has(two, A, "u"));
        book.session_ended(one);
        assert!(book.sessions.is_empty() && book.by_task.is_empty());
    }

    #[test]
    fn a_session_that_makes_tasks_for_ever_costs_a_bounded_amount() {
        let session = Key { slot: 1, generation: 0 };
        let mut book = TaskBook::default();
        for number in 0..TASKS_OF_SESSION_MAX + 7 {
            book.add(session, A, &number.to_string());
        }
        assert_eq!(book.sessions[&session].len(), TASKS_OF_SESSION_MAX);
        assert!(!book.has(session, A, "6") && book.has(session, A, "7"));
        assert_eq!(book.by_task.len(), TASKS_OF_SESSION_MAX);
        assert!(book.sessions_with(A, "6").is_empty());
    }
}
