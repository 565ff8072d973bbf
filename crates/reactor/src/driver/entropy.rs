//! Where do unpredictable bits come from?
//!
//! From the system, a block at a time. Not from the library that TLS uses: its first use gathers
//! jitter for a few hundred milliseconds, during which a core would serve nobody.

/// Numbers drawn at once.
const BLOCK: usize = 32;

/// A core's supply of random numbers.
pub(crate) struct Entropy {
    block: [u8; BLOCK * 8],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { block: [0; BLOCK * 8], used: BLOCK }
    }
}

impl Entropy {
    /// 64 bits nobody can guess.
    pub(crate) fn draw(&mut self) -> u64 {
        if self.used == BLOCK {
            getrandom::fill(&mut self.block).expect("the system gives random bytes");
            self.used = 0;
        }
        let at = self.used * 8;
        self.used += 1;
        let bytes: &mut [u8] = &mut self.block[at..at + 8];
        let number = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        // Not to be read twice, by whatever error.
        bytes.fill(0);
        number
    }
}
