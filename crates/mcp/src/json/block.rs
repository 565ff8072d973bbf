//! Where does the plain part of a string stop?
//!
//! Eight bytes at a time in one 64-bit word (SWAR). Invariant: the lowest marked byte of [`stops`] is
//! exact; marks above it may be false, because a subtraction can borrow.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks, with the high bit of its byte, every byte that ends the plain part of a string: the quote,
/// the backslash, a control character below 0x20.
#[inline(always)]
pub(super) const fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero_quote = quote.wrapping_sub(ONES) & !quote;
    let zero_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_quote | zero_backslash | control) & HIGHS
}

/// Marks every byte outside ASCII.
#[inline(always)]
pub(super) const fn high_bits(word: u64) -> u64 {
    word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place_is_classified_or_strings_end_early_or_late() {
        for place in 0..8 {
            for byte in 0..=255u8 {
                for filler in [b'a', 0xff, b'!', b'#', b'[', b']', 0x80, 0x7f] {
                    let mut block = [filler; 8];
                    block[place] = byte;
                    let found = stops(u64::from_le_bytes(block));
                    let stop = byte == b'"' || byte == b'\\' || byte < 0x20;
                    assert_eq!(found != 0, stop, "{block:?}");
                    if stop {
                        assert_eq!(found.trailing_zeros() / 8, place as u32, "{block:?}");
                    }
                }
            }
        }
    }
}
