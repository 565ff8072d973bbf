//! How long and how often may a call be with its client, and how much may it bring back?

use std::time::Duration;

/// Most rounds of one call. People fill in forms of several pages; sixteen are a loop.
pub const ROUNDS_MAX: u32 = 16;

/// Longest wait for a client's answer: a person may have to be asked.
pub const ANSWER_MOST: Duration = Duration::from_secs(600);

/// Longest answers of one round together, in bytes: they are held until the last one is here.
pub const ANSWERS_BYTES_MAX: usize = 16 << 20;
