//! How much a ring holds at most, and why that much.

use std::time::Duration;

use crate::layout::Sizes;

/// What a host makes: a ring of 64 KiB stays in the second-level cache; 8 slabs of 256 KiB hold 2 MiB
/// of big bodies on their way. With the header 2,164 KiB a direction, of which only touched pages
/// exist.
pub const SIZES: Sizes = Sizes { ring_bytes: 64 << 10, slab_bytes: 256 << 10, slabs: 8 };

/// Payload from which a slab is used rather than the ring.
pub const SLAB_FROM_BYTES: usize = 8 << 10;

/// Longest message a [`Client`](crate::Client) puts together, unless told otherwise.
pub const MESSAGE_BYTES: usize = 128 << 20;

/// Messages that a [`Client`](crate::Client) takes in while it waits for room to send, in bytes.
pub const ABSORBED_BYTES_MAX: usize = 64 << 20;

/// How long a futex sleeper sleeps before it looks whether its peer lives.
pub const FUTEX_SLICE: Duration = Duration::from_millis(100);

/// Longest time spent spinning before a sleep: about what a sleep and a wake cost.
pub const SPIN_MAX: Duration = Duration::from_micros(40);

/// Time spent spinning by who was told to spin always; then the peer may be gone.
pub const SPIN_ALWAYS: Duration = Duration::from_millis(10);

/// How long a guest waits for the memories after it connected.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);
