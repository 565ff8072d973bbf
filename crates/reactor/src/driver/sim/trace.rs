//! What happened in the world, in a form that two runs can be compared by?
//!
//! Invariant: every event of the world, and every byte that crosses it, goes into the hash, so equal
//! hashes mean equal histories. The last few events are kept to be shown when a run fails.

use std::collections::VecDeque;
use std::fmt::Write;

/// Events kept for a failure's report.
const KEPT_MAX: usize = 20_000;
/// The event that is in the hash but not kept: there are too many to read.
pub(super) const TURN: &str = "turn";

/// One line of history.
#[derive(Clone, Copy, Debug)]
struct Line {
    at_ns: u64,
    what: &'static str,
    subject: u64,
    detail: u64,
}

/// The history of a world.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    kept: VecDeque<Line>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, events: 0, kept: VecDeque::new() }
    }

    pub(super) fn note(&mut self, at_ns: u64, what: &'static str, subject: u64, detail: u64) {
        self.events += 1;
        self.mix(what.as_bytes());
        for number in [at_ns, subject, detail] {
            self.mix(&number.to_le_bytes());
        }
        if what == TURN {
            return;
        }
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Line { at_ns, what, subject, detail });
    }

    /// FNV-1a, eight bytes at a step.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01B3);
            self.hash ^= self.hash >> 29;
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last events, one a line: time in ms, what, of whom, and a number that belongs to it.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for line in &self.kept {
            let ms = line.at_ns as f64 / 1e6;
            let _ = writeln!(text, "{ms:>14.6} {:<18} {} {}", line.what, line.subject, line.detail);
        }
        text
    }
}
