//! Which integer does this number spell?
//!
//! Invariant: a number is read exactly or not at all; no rounding through a double. A fraction of
//! zeros (`7.0`) is the same integer, for peers whose numbers are doubles. Exponents are not read.

/// The raw text of a JSON number as `u64`; `None` where it is no integer, negative, or too large.
pub fn integer_u64(raw: &[u8]) -> Option<u64> {
    if raw == b"-0" { Some(0) } else { digits(without_zero_fraction(raw)?) }
}

/// The raw text of a JSON number as `i64`; `None` where it is no integer or does not fit.
pub fn integer_i64(raw: &[u8]) -> Option<i64> {
    match without_zero_fraction(raw)?.split_first()? {
        (b'-', rest) => 0i64.checked_sub_unsigned(digits(rest)?),
        _ => digits(without_zero_fraction(raw)?)?.try_into().ok(),
    }
}

/// Whether two spellings are one number: the same text, or the same integer (`42` and `42.0`).
pub fn same_number(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((integer_i64(a), integer_i64(b)), (Some(a), Some(b)) if a == b)
}

fn without_zero_fraction(raw: &[u8]) -> Option<&[u8]> {
    match raw.iter().position(|&byte| byte == b'.') {
        None => Some(raw),
        Some(point) => {
            let (whole, fraction) = (&raw[..point], &raw[point + 1..]);
            (!fraction.is_empty() && fraction.iter().all(|&digit| digit == b'0')).then_some(whole)
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_exactly_or_ids_of_two_flights_would_meet() {
        let table: [(&str, Option<u64>, Option<i64>); 14] = [
            ("0", Some(0), Some(0)),
            ("-0", Some(0), Some(0)),
            ("7", Some(7), Some(7)),
            ("7.0", Some(7), Some(7)),
            ("7.01", None, None),
            ("7.", None, None),
            ("-7", None, Some(-7)),
            ("1e3", None, None),
            ("9223372036854775807", Some(i64::MAX as u64), Some(i64::MAX)),
            ("9223372036854775808", Some(1 << 63), None),
            ("-9223372036854775808", None, Some(i64::MIN)),
            ("18446744073709551615", Some(u64::MAX), None),
            ("18446744073709551616", None, None),
            ("\"7\"", None, None),
        ];
        for (text, unsigned, signed) in table {
            assert_eq!(integer_u64(text.as_bytes()), unsigned, "{text}");
            assert_eq!(integer_i64(text.as_bytes()), signed, "{text}");
        }
        assert!(same_number(b"42", b"42.0") && same_number(b"1.5", b"1.5"));
        assert!(!same_number(b"42", b"-42"));
    }
}
