//! Did this process give out this id, to this client?
//!
//! A tag of 128 bits, HMAC-SHA-256 (RFC 2104, FIPS 180-4) cut to its first half, as base64url. The
//! key lives as long as the process. Invariant: every part is authenticated with its length before
//! it, so no two different lists of parts have one tag.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const TAG_BYTES: usize = 16;
/// Length of a tag, bytes of ASCII without `.`.
pub const TAG_TEXT_BYTES: usize = (TAG_BYTES * 8).div_ceil(6);

/// Makes and checks tags.
pub struct Tagger(hmac::Key);

/// Shows nothing: the key is a secret.
impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tagger(…)")
    }
}

impl Tagger {
    /// A tagger of its own `key`: 256 bits nobody can guess.
    pub fn new(key: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The tag of `parts`.
    pub fn tag(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..TAG_BYTES])
    }

    /// Whether `tag` is the tag of `parts`; takes as long for a wrong one as for the right one.
    pub fn is_tag(&self, tag: &str, parts: &[&[u8]]) -> bool {
        let right = self.tag(parts);
        constant_time::verify_slices_are_equal(tag.as_bytes(), right.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_fits_its_parts_and_its_process_alone() {
        let tagger = Tagger::new([7; 32]);
        let parts: &[&[u8]] = &[b"nobody", b"up", b"1"];
        let tag = tagger.tag(parts);
        assert_eq!(tag.len(), TAG_TEXT_BYTES);
        assert!(tagger.is_tag(&tag, parts) && !tag.contains('.'));
        let others: [&[&[u8]]; 4] = [
            &[b"nobody", b"up", b"2"],
            &[b"nobodyu", b"p", b"1"],
            &[b"nobody", b"up1"],
            &[b"nobody", b"up", b"1", b""],
        ];
        for other in others {
            assert!(!tagger.is_tag(&tag, other), "{other:?}");
        }
        assert!(!Tagger::new([8; 32]).is_tag(&tag, parts));
        for wrong in ["", "A", &tag[1..], &format!("{tag}A"), &tag.to_uppercase()] {
            assert!(!tagger.is_tag(wrong, parts), "{wrong}");
        }
        assert!(!format!("{tagger:?}").contains('7'));
    }
}
