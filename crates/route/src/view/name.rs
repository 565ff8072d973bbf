//! Under which name a tool or prompt is served where several upstreams share an endpoint.
//!
//! Invariants: a name is at most 64 bytes and never given twice; it depends on the upstream and the
//! original name alone, except where two would get the same one: then the later carries a hash.

use kern_mcp::names;

use crate::hash;
use crate::limits::EXPOSED_BYTES_MAX;

/// The name for `original` of `upstream` that is not `taken` yet.
pub(super) fn expose(upstream: &str, original: &str, taken: impl Fn(&str) -> bool) -> Box<str> {
    let plain = names::exposed(upstream, original, EXPOSED_BYTES_MAX);
    if !taken(&plain) {
        return plain.into();
    }
    // Another pair claims the same name: longer and longer hashes, then other hashes.
    for seed in 0.. {
        let digits = format!("{:016x}", hash::stable(seed, &[upstream, original]));
        for length in [8, 12, 16] {
            let keep = plain.floor_char_boundary(EXPOSED_BYTES_MAX - 1 - length);
            let name = format!("{}_{}", &plain[..keep], &digits[..length]);
            if !taken(&name) {
                return name.into();
            }
        }
    }
    unreachable!("a finite set of taken names does not hold every hash")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_longer_one_that_still_fits() {
        let mut given: Vec<Box<str>> = Vec::new();
        let long = "x".repeat(200);
        for original in ["tool", &long] {
            for _ in 0..50 {
                let name = expose("up", original, |name| given.iter().any(|one| &**one == name));
                assert!(name.len() <= EXPOSED_BYTES_MAX, "{name}");
                assert!(!given.contains(&name));
                given.push(name);
            }
        }
    }
}
