//! The name a session travels under (`Mcp-Session-Id`, 2025-11-25 basic/transports).
//!
//! Invariant: 128 random bits make it unguessable; the core it names lets any core find the owner
//! without asking.

use std::fmt;

use kern_terms::CoreId;

/// An unguessable session id: two hexadecimal digits of core, thirty-two of randomness.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// The core that holds the session.
    pub core: CoreId,
    random: u128,
}

impl Token {
    /// Length of the text.
    pub const TEXT_BYTES: usize = 34;

    /// A token of `core` from two draws of the system's randomness.
    pub fn new(core: CoreId, high: u64, low: u64) -> Self {
        Self { core, random: u128::from(high) << 64 | u128::from(low) }
    }

    /// Reads exactly what [`Token`]'s `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; Self::TEXT_BYTES] = text.try_into().ok()?;
        let (core, high, low) = (number(&text[..2]), number(&text[2..18]), number(&text[18..]));
        // A digit that is none has set a bit above those of one.
        if (core.1 | high.1 | low.1) > 0xf {
            return None;
        }
        let core = CoreId(u8::try_from(core.0).ok()?);
        Some(Self::new(core, high.0, low.0))
    }
}

/// What at most sixteen hexadecimal digits stand for, and all of them joined by "or".
fn number(digits: &[u8]) -> (u64, u8) {
    digits.iter().fold((0, 0), |(number, seen), byte| {
        let digit = DIGITS[usize::from(*byte)];
        (number << 4 | u64::from(digit), seen | digit)
    })
}

/// The value of each lower-case hexadecimal digit, above 15 for other bytes.
const DIGITS: [u8; 256] = {
    let mut table = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    table
};

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:032x}", self.core.0, self.random)
    }
}

/// Shows the core only: the rest is a secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:02x}…)", self.core.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_text_names_a_session() {
        let token = Token::new(CoreId(3), 0xfeed, 42);
        let text = token.to_string();
        assert_eq!(text.len(), Token::TEXT_BYTES);
        assert_eq!(Token::parse(text.as_bytes()), Some(token));
        assert!(!format!("{token:?}").contains("feed"));
        for wrong in
            [&text[1..], &text.to_uppercase(), &format!("{text} "), &text.replace('0', "+")]
        {
            assert_eq!(Token::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
