//! Which keys does the process make for itself?
//!
//! One seals the states that clients bring back ([`super::retry`]), one marks the ids of tasks
//! ([`super::task_seal`]). Invariant: all cores have the same, and nobody else has them.

use std::sync::Arc;

use kern_session::{Sealer, Tagger};

use super::words::Post;
use super::{Core, Io};

impl Core {
    /// The first core makes the keys and gives them to all.
    pub(super) fn share_keys(&mut self, io: &mut Io) {
        if !self.is_first() {
            return;
        }
        let tagger = Arc::new(Tagger::new(draw(io)));
        let sealer = Arc::new(Sealer::new(draw(io)));
        self.tell_all(io, || Post::Tagger(Arc::clone(&tagger)));
        self.tell_all(io, || Post::Seal(Arc::clone(&sealer)));
    }
}

fn draw(io: &mut Io) -> [u8; 32] {
    let mut key = [0; 32];
    for eight in key.chunks_exact_mut(8) {
        eight.copy_from_slice(&io.random().to_be_bytes());
    }
    key
}
