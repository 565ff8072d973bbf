//! What does a client carry between the rounds of a parked call?
//!
//! A `requestState` (spec 2026-07-28 basic/patterns/mrtr): text that means nothing to the client.
//! Sealed with ChaCha20-Poly1305 (RFC 8439) under a key that lives as long as the process; what it
//! is bound to ([`crate::binding()`]) is associated data.
//!
//! Invariants: a nonce is used once, since it holds the core and that core's count of seals; whatever
//! is wrong with a text, its opener learns only that it does not open.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kern_terms::{CoreId, Instant, Key};

/// What every state of ours begins with.
const PREFIX: &str = "kern1.";
const PLAIN_BYTES: usize = 1 + 8 + 4 + 8;
const TAG_BYTES: usize = 16;
const SEALED_BYTES: usize = NONCE_LEN + PLAIN_BYTES + TAG_BYTES;
/// Longest text that is looked at, bytes.
const TEXT_BYTES: usize = PREFIX.len() + SEALED_BYTES.div_ceil(3) * 4;

/// Which round of which parked call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The core that holds the call.
    pub core: CoreId,
    /// The call, in that core's table of flights.
    pub park: Key,
    /// The round this state was given for: it is accepted once.
    pub round: u32,
    /// When it can no longer be used.
    pub until: Instant,
}

/// Seals and opens states.
pub struct Sealer {
    key: LessSafeKey,
}

/// Shows nothing: the key is a secret.
impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// A sealer of its own `key`: 256 bits nobody can guess.
    pub fn new(key: [u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("the cipher takes 32 bytes");
        Self { key: LessSafeKey::new(key) }
    }

    /// The text of `ticket`, which opens only with the same `binding`. `count` must be another one
    /// for each ticket of a core.
    pub fn seal(&self, ticket: &Ticket, binding: &[u8; 32], count: u64) -> String {
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = ticket.core.0;
        nonce[NONCE_LEN - 8..].copy_from_slice(&count.to_be_bytes());
        let mut plain = [0; PLAIN_BYTES];
        plain[0] = ticket.core.0;
        plain[1..9].copy_from_slice(&ticket.park.to_bits().to_be_bytes());
        plain[9..13].copy_from_slice(&ticket.round.to_be_bytes());
        plain[13..].copy_from_slice(&ticket.until.as_nanos().to_be_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(binding),
                &mut plain,
            )
            .expect("a few bytes are within the cipher's limits");
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&plain);
        sealed.extend_from_slice(tag.as_ref());
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
        text
    }

    /// Reads what [`Sealer::seal`] wrote; `None` if it is not ours, was changed, or is bound to
    /// something else.
    pub fn open(&self, text: &str, binding: &[u8; 32]) -> Option<Ticket> {
        if text.len() > TEXT_BYTES {
            return None;
        }
        let mut sealed = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        if sealed.len() != SEALED_BYTES {
            return None;
        }
        let (nonce, rest) = sealed.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(binding), rest).ok()?;
        let eight = |at: usize| Some(u64::from_be_bytes(plain.get(at..at + 8)?.try_into().ok()?));
        Some(Ticket {
            core: CoreId(plain[0]),
            park: Key::from_bits(eight(1)?),
            round: u32::from_be_bytes(plain.get(9..13)?.try_into().ok()?),
            until: Instant::from_nanos(eight(13)?),
        })
    }
}

/// Whether `text` looks like a state of a gateway of this kind, whoever wrote it.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        Ticket {
            core: CoreId(3),
            park: Key { slot: 7, generation: 9 },
            round: 2,
            until: Instant::from_nanos(1 << 40),
        }
    }

    #[test]
    fn a_state_opens_for_its_own_request_and_key_alone() {
        let (sealer, binding) = (Sealer::new([7; 32]), [1; 32]);
        let text = sealer.seal(&ticket(), &binding, 5);
        assert_eq!(sealer.open(&text, &binding), Some(ticket()));
        assert!(text.len() <= TEXT_BYTES && is_ours(&text));
        assert_ne!(text, sealer.seal(&ticket(), &binding, 6), "a nonce was used twice");
        assert_eq!(sealer.open(&text, &[2; 32]), None, "another request");
        assert_eq!(Sealer::new([8; 32]).open(&text, &binding), None, "another process");
        assert!(!format!("{sealer:?}").contains('7'));
    }

    #[test]
    fn no_changed_character_goes_unnoticed() {
        let (sealer, binding) = (Sealer::new([7; 32]), [1; 32]);
        let text = sealer.seal(&ticket(), &binding, 5);
        for at in 0..text.len() {
            for put in ['A', 'B', '_', '=', '.', ' ', 'é'] {
                let changed: String = text
                    .chars()
                    .enumerate()
                    .map(|(index, was)| if index == at { put } else { was })
                    .collect();
                if changed != text {
                    assert_eq!(sealer.open(&changed, &binding), None, "{changed}");
                }
            }
            assert_eq!(sealer.open(&text[..at], &binding), None, "cut off at {at}");
        }
        for added in ["A", "=", "-TAMPERED", " "] {
            assert_eq!(sealer.open(&format!("{text}{added}"), &binding), None, "{added}");
        }
    }

    proptest! {
        #[test]
        fn what_nobody_sealed_never_opens(text in "(kern1\\.)?[A-Za-z0-9_-]{0,100}") {
            prop_assert_eq!(Sealer::new([7; 32]).open(&text, &[1; 32]), None);
        }
    }
}
