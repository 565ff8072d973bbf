//! Where do unpredictable bits come from?
//!
//! From the cryptographic library that TLS uses anyway, a block at a time.

use rustls::crypto::SecureRandom;

/// Numbers drawn at once.
const BLOCK: usize = 32;

/// A core's supply of random numbers.
pub(crate) struct Entropy {
    source: &'static dyn SecureRandom,
    block: [u8; BLOCK * 8],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Self { source, block: [0; BLOCK * 8], used: BLOCK }
    }
}

impl Entropy {
    /// 64 bits nobody can guess.
    pub(crate) fn draw(&mut self) -> u64 {
        if self.used == BLOCK {
            self.source.fill(&mut self.block).expect("the system gives random bytes");
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
