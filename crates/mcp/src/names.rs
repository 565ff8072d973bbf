//! Under which name does a client see an upstream's tool?
//!
//! `UPSTREAM__tool`, in the characters and the length every client accepts. Invariants:
//!
//! - The same two names give the same exposed name, in every run and on every machine.
//! - Without a change to the tool's name, two different pairs never meet: an upstream's name holds no
//!   `__` and does not end in `_`, so the first `__` is the border.
//! - A name that had to change ends in 40 bits of a hash of both names. Two that meet all the same are
//!   the catalog's to refuse.

use crate::limits::{EXPOSED_NAME_MAX, UPSTREAM_NAME_MAX};

/// What stands between the upstream's name and the tool's.
pub const SEPARATOR: &str = "__";

/// `_` and eight letters and digits of five bits each.
const SUFFIX_LENGTH: usize = 9;

/// Whether `name` may name an upstream: 1 to [`UPSTREAM_NAME_MAX`] of `[A-Za-z0-9_-]`, the first a
/// letter or digit, no `__` inside and no `_` at the end.
pub fn is_upstream_name(name: &str) -> bool {
    name.len() <= UPSTREAM_NAME_MAX
        && name.bytes().all(is_plain)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && !name.contains(SEPARATOR)
        && !name.ends_with('_')
}

/// The name clients see for `name` of `upstream`, at most `length_max` bytes long (64 for most
/// clients). Characters outside `[A-Za-z0-9_-]` become `_`.
///
/// # Panics
/// If `upstream` is not [an upstream's name](is_upstream_name) or `length_max` leaves the tool's name
/// no place: bugs of the caller.
pub fn exposed(upstream: &str, name: &str, length_max: usize) -> String {
    assert!(is_upstream_name(upstream), "upstreams are named before their tools");
    let prefix = upstream.len() + SEPARATOR.len();
    assert!(length_max >= prefix + 1 + SUFFIX_LENGTH, "place for one character and the suffix");
    let mut exposed = String::with_capacity(length_max.min(EXPOSED_NAME_MAX));
    exposed += upstream;
    exposed += SEPARATOR;
    let plain = !name.is_empty() && name.bytes().all(is_plain);
    if plain && prefix + name.len() <= length_max {
        exposed += name;
        return exposed;
    }
    let kept = name.chars().take(length_max - prefix - SUFFIX_LENGTH);
    exposed.extend(kept.map(|c| if c.is_ascii() && is_plain(c as u8) { c } else { '_' }));
    push_suffix(&mut exposed, stable_hash(upstream, name));
    exposed
}

/// The upstream an exposed name begins with, and the rest. The rest is the tool's own name only where
/// it did not have to change: look it up, do not trust it.
pub fn split(exposed: &str) -> Option<(&str, &str)> {
    exposed.split_once(SEPARATOR).filter(|(upstream, _)| is_upstream_name(upstream))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn push_suffix(exposed: &mut String, hash: u64) {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    exposed.push('_');
    for place in 0..8 {
        exposed.push(LETTERS[(hash >> (place * 5) & 31) as usize] as char);
    }
}

/// FNV-1a over both names with a byte between them that UTF-8 never holds, then the finalizer of
/// MurmurHash3, so that the low 40 bits depend on every byte. Never change it: clients remember names.
fn stable_hash(upstream: &str, name: &str) -> u64 {
    let bytes = upstream.bytes().chain([0xff]).chain(name.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}
