//! How are a few bytes kept without an allocation?
//!
//! Request ids and progress tokens are mostly numbers or short strings, and each call keeps some.
//! Invariant: two that hold the same bytes are equal, however they are kept.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// Bytes kept in place; more go to the heap.
const INLINE: usize = 22;

/// A few bytes, owned.
#[derive(Clone)]
pub struct SmallBytes(Kept);

#[derive(Clone)]
enum Kept {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        Self(match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Kept::Inline(bytes.len() as u8, inline)
            }
            None => Kept::Heap(bytes.into()),
        })
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Kept::Heap(bytes) => bytes,
        }
    }
}

impl Default for SmallBytes {
    fn default() -> Self {
        Self(Kept::Inline(0, [0; INLINE]))
    }
}

impl Borrow<[u8]> for SmallBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SmallBytes {}

impl PartialOrd for SmallBytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SmallBytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(other)
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_any_length_reads_back_and_is_found() {
        let ids: Vec<Vec<u8>> = (0..64).map(|length| vec![b'7'; length]).collect();
        let kept: std::collections::BTreeMap<SmallBytes, usize> =
            ids.iter().map(|id| (SmallBytes::from(id.as_slice()), id.len())).collect();
        for id in &ids {
            assert_eq!(kept.get(id.as_slice()), Some(&id.len()));
        }
        assert!(SmallBytes::default().is_empty());
        assert_eq!(size_of::<SmallBytes>(), 24);
    }
}
