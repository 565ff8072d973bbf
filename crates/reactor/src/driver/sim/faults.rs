//! What goes wrong in a simulated world, and how often?
//!
//! Every rate is in parts per million of the thing it names; 0 is never. Faults befall what lies
//! outside the program under test: the network, the peers, the children, the clock.

use std::time::Duration;

use super::rng::Rng;

/// How often each fault happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Connections refused though somebody listens, per connect.
    pub refused_ppm: u32,
    /// Directions of socket connections that are reset after a random byte, per direction.
    pub reset_ppm: u32,
    /// Peers that end their direction after a random byte, in mid-message, per connection.
    pub half_close_ppm: u32,
    /// Pauses of up to [`Faults::stall_max`] before a segment and all behind it, per segment.
    pub stall_ppm: u32,
    /// Segments that take a hundred times the usual, per segment.
    pub spike_ppm: u32,
    /// Sends cut in short segments at random boundaries, per send.
    pub split_ppm: u32,
    /// Segments that wait for the next and arrive together with it, per segment.
    pub merge_ppm: u32,
    /// Children that cannot be started, per spawn.
    pub spawn_fails_ppm: u32,
    /// Children that die of SIGSEGV after a random byte of output, per spawn.
    pub crash_ppm: u32,
    /// Children that fall silent for ever after a random byte of output, per spawn.
    pub mute_ppm: u32,
    /// Children that ignore SIGTERM and the end of their input, per spawn.
    pub deaf_ppm: u32,
    /// Children that print lines that are not JSON between their messages, per spawn.
    pub garbage_ppm: u32,
    /// Leaps of the clock (a suspended machine), per advance of time.
    pub clock_jump_ppm: u32,
    /// The longest stall.
    pub stall_max: Duration,
    /// The longest leap.
    pub clock_jump_max: Duration,
}

impl Faults {
    /// A world where nothing fails. Bytes are still cut and merged: that is no fault.
    pub const fn none() -> Self {
        Self {
            refused_ppm: 0,
            reset_ppm: 0,
            half_close_ppm: 0,
            stall_ppm: 0,
            spike_ppm: 0,
            split_ppm: 200_000,
            merge_ppm: 200_000,
            spawn_fails_ppm: 0,
            crash_ppm: 0,
            mute_ppm: 0,
            deaf_ppm: 0,
            garbage_ppm: 0,
            clock_jump_ppm: 0,
            stall_max: Duration::from_secs(20),
            clock_jump_max: Duration::from_secs(30),
        }
    }

    /// A bad day: every fault, a few in a hundred.
    pub const fn bad_day() -> Self {
        Self {
            refused_ppm: 30_000,
            reset_ppm: 40_000,
            half_close_ppm: 20_000,
            stall_ppm: 1_000,
            spike_ppm: 10_000,
            split_ppm: 300_000,
            merge_ppm: 300_000,
            spawn_fails_ppm: 50_000,
            crash_ppm: 100_000,
            mute_ppm: 50_000,
            deaf_ppm: 200_000,
            garbage_ppm: 200_000,
            clock_jump_ppm: 50,
            ..Self::none()
        }
    }

    /// Some faults often and the others never: which ones, `rng` decides. Swarms of such worlds
    /// find more than one world where everything happens at its average rate.
    pub fn swarm(rng: &mut Rng) -> Self {
        let mut faults = Self::bad_day();
        for rate in faults.rates_mut() {
            *rate = match rng.below(4) {
                0 | 1 => 0,
                2 => *rate,
                _ => rate.saturating_mul(5).min(900_000),
            };
        }
        faults
    }

    fn rates_mut(&mut self) -> [&mut u32; 13] {
        [
            &mut self.refused_ppm,
            &mut self.reset_ppm,
            &mut self.half_close_ppm,
            &mut self.stall_ppm,
            &mut self.spike_ppm,
            &mut self.split_ppm,
            &mut self.merge_ppm,
            &mut self.spawn_fails_ppm,
            &mut self.crash_ppm,
            &mut self.mute_ppm,
            &mut self.deaf_ppm,
            &mut self.garbage_ppm,
            &mut self.clock_jump_ppm,
        ]
    }
}
