//! Where does the plain part of a string stop?
//!
//! Plain are the bytes that need no second look: ASCII other than the quote, the backslash and
//! control characters. Safe code only: words of eight bytes (SWAR) where the place matters, a loop
//! over 64 bytes that compilers turn into vector instructions where only the answer does.
//!
//! Invariant: the lowest marked byte of [`stops`] is exact; marks above it may be false, because a
//! subtraction can borrow.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks, with the high bit of its byte, every byte that is not plain.
///
/// For a byte below 0x80, `x - 1` has the high bit only if `x` is 0, and `x - 0x20` only if `x` is
/// below 0x20; bytes from 0x80 on are marked by themselves.
#[inline(always)]
const fn stops(word: u64) -> u64 {
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    (quote | backslash | control | word) & HIGHS
}

/// How many of the sixteen bytes are plain from the first on; 16 if all are.
///
/// A branch between the words: most strings are short, and which are is predictable.
#[inline(always)]
pub(super) const fn plain_of_16(block: &[u8; 16]) -> usize {
    let both = u128::from_le_bytes(*block);
    let low = stops(both as u64);
    if low != 0 {
        return low.trailing_zeros() as usize / 8;
    }
    let high = stops((both >> 64) as u64);
    if high != 0 {
        return 8 + high.trailing_zeros() as usize / 8;
    }
    16
}

/// Whether all of the 64 bytes are plain or outside ASCII, and whether any is outside ASCII.
#[inline(always)]
pub(super) fn passable_64(block: &[u8; 64]) -> (bool, bool) {
    let (mut stop, mut any) = (false, 0);
    for &byte in block {
        stop |= byte == b'"' || byte == b'\\' || byte < 0x20;
        any |= byte;
    }
    (!stop, any >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place_is_classified_or_strings_end_early_or_late() {
        for place in 0..16 {
            for byte in 0..=255u8 {
                for filler in [b'a', 0xff, b'!', b'#', b'[', b']', 0x80, 0x7f, b' '] {
                    let mut block = [b'a'; 16];
                    block[place..].fill(filler);
                    block[place] = byte;
                    let plain = |byte: u8| (b' '..0x80).contains(&byte) && !b"\"\\".contains(&byte);
                    let expected = block.iter().take_while(|&&byte| plain(byte)).count();
                    assert_eq!(plain_of_16(&block), expected, "{block:?}");
                }
            }
        }
        for byte in 0..=255u8 {
            let mut block = [b'a'; 64];
            block[usize::from(byte) % 64] = byte;
            let stop = byte == b'"' || byte == b'\\' || byte < 0x20;
            assert_eq!(passable_64(&block), (!stop, byte >= 0x80));
        }
    }
}
