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
        let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != Self::TEXT_BYTES || !text.iter().all(lower_hex) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let core = CoreId(u8::from_str_radix(&text[..2], 16).ok()?);
        Some(Self { core, random: u128::from_str_radix(&text[2..], 16).ok()? })
    }
}

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
