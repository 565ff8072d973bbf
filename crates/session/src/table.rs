//! The sessions of one core.
//!
//! Invariants: a session is in the slab exactly while its token is in the index; one that is in no
//! table has ended ([`crate::life`]).

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use kern_terms::{Instant, Key, Slab};

use crate::life::{Effect, Event};
use crate::{Session, Token};

/// No more sessions fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// All sessions of one core.
#[derive(Debug)]
pub struct Sessions {
    slab: Slab<Session>,
    by_token: HashMap<Token, Key>,
    most: usize,
}

impl Sessions {
    /// Room for `most` sessions.
    pub fn new(most: usize) -> Self {
        Self { slab: Slab::new(), by_token: HashMap::new(), most }
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Changes how many may be open; those that are stay.
    pub fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Adds a session.
    ///
    /// # Errors
    /// [`Full`] when the limit is reached; trying again after sessions ended may work.
    pub fn open(&mut self, session: Session) -> Result<Key, Full> {
        if self.slab.len() >= self.most {
            return Err(Full);
        }
        let token = session.token;
        let key = self.slab.insert(session);
        self.by_token.insert(token, key);
        Ok(key)
    }

    /// The session a client names.
    pub fn find(&self, token: &Token) -> Option<Key> {
        self.by_token.get(token).copied()
    }

    /// The session.
    pub fn get(&self, key: Key) -> Option<&Session> {
        self.slab.get(key)
    }

    /// The session, to change.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Session> {
        self.slab.get_mut(key)
    }

    /// Somebody names a session of `endpoint`; `None` if there is none such, or no more: 404.
    pub fn named(
        &mut self,
        token: &Token,
        endpoint: Option<&Arc<str>>,
        now: Instant,
    ) -> Option<Key> {
        let key = self.find(token)?;
        let session = self.slab.get_mut(key)?;
        if session.endpoint.as_ref() != endpoint {
            return None;
        }
        (session.step(now, Event::Named) == Effect::Serve).then_some(key)
    }

    /// Ends a session, and gives what it holds to be released; `None` if it has ended.
    pub fn close(&mut self, now: Instant, key: Key) -> Option<Session> {
        let mut session = self.slab.remove(key)?;
        session.step(now, Event::Ended);
        self.by_token.remove(&session.token);
        Some(session)
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Session)> {
        self.slab.iter()
    }

    /// Sessions that nothing was heard of for `idle`, and that nothing keeps.
    pub fn expired(&self, now: Instant, idle: Duration) -> Vec<Key> {
        self.slab
            .iter()
            .filter(|(_, session)| session.is_silent(now, idle))
            .map(|(key, _)| key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kern_terms::{CoreId, Revision};

    fn session(number: u64) -> Session {
        let token = Token::new(CoreId(0), 0, number);
        let empty = Bytes::from_static(b"{}");
        let revision = Revision::LEGACY_LATEST;
        Session::new(token, revision, None, empty.clone(), empty, Instant::ZERO)
    }

    #[test]
    fn a_full_table_refuses_and_an_ended_session_is_not_found() {
        let mut sessions = Sessions::new(1);
        let key = sessions.open(session(1)).expect("room");
        assert_eq!(sessions.open(session(2)), Err(Full));
        let token = sessions.get(key).expect("open").token;
        assert_eq!(sessions.find(&token), Some(key));
        assert_eq!(sessions.named(&token, None, Instant::ZERO), Some(key));
        assert_eq!(sessions.named(&token, Some(&"other".into()), Instant::ZERO), None);
        sessions.close(Instant::ZERO, key);
        assert_eq!(sessions.find(&token), None);
        assert!(sessions.open(session(2)).is_ok());
    }

    #[test]
    fn only_silent_sessions_without_connections_expire() {
        let mut sessions = Sessions::new(10);
        let idle = sessions.open(session(1)).expect("room");
        let mut busy = session(2);
        busy.step(Instant::ZERO, Event::StreamOpened);
        sessions.open(busy).expect("room");
        let later = Instant::ZERO + Duration::from_secs(10);
        assert_eq!(sessions.expired(later, Duration::from_secs(10)), [idle]);
        assert_eq!(sessions.expired(later, Duration::from_secs(11)), []);
    }
}
