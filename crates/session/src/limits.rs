//! How long and how often may a call be with its client, and how much may it bring back?

use std::time::Duration;

/// Most rounds of one call. People fill in forms of several pages; sixteen are a loop.
pub const ROUNDS_MAX: u32 = 16;

/// How long what a server asks waits for more, so that what comes together goes to the client
/// together; anew with each request.
pub const MOMENT: Duration = Duration::from_millis(5);
/// Longest wait for more in all.
pub const MOMENTS_MOST: Duration = Duration::from_millis(50);

/// Longest answers of one round together, in bytes: they are held until the last one is here.
pub const ANSWERS_BYTES_MAX: usize = 16 << 20;
