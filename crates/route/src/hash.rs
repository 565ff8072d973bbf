//! Short names for long things, the same on every machine and in every build.
//!
//! FNV-1a (RFC 9923) with a final mix. Not for secrets; where an adversary gains by a collision the
//! caller must tell the two apart by other means.

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A hash of `parts` in order; where one part ends and the next begins matters.
pub(crate) fn stable(seed: u64, parts: &[&str]) -> u64 {
    let mut hash = OFFSET ^ seed.wrapping_mul(PRIME);
    for part in parts {
        hash = eat(hash, part.as_bytes());
        // 0xff never occurs in UTF-8, so no part can imitate the boundary.
        hash = eat(hash, &[0xff]);
    }
    mix(hash)
}

/// As [`stable`], of bytes.
pub(crate) fn stable_bytes(seed: u64, bytes: &[u8]) -> u64 {
    mix(eat(OFFSET ^ seed.wrapping_mul(PRIME), bytes))
}

fn eat(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}
