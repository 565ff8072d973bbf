//! Where does chance come from in a simulated world? From one seed.
//!
//! xoshiro256++ seeded through splitmix64 (Blackman and Vigna, 2019). Invariant: the numbers depend
//! on the seed and on the order of the calls alone, on every platform. Not fit for secrets.

/// A seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

/// One million: the whole of a rate in parts per million.
const MILLION: u32 = 1_000_000;

impl Rng {
    /// The source that `seed` names.
    pub fn new(seed: u64) -> Self {
        let mut carry = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut carry)) }
    }

    /// A source of its own for one purpose, so that drawing more for one thing does not change what
    /// is drawn for another.
    pub fn fork(&mut self, purpose: u64) -> Self {
        Self::new(self.bits() ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of a 128-bit product; its bias is below 2^-32 for the sizes used here.
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number in `least..=most`.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        debug_assert!(least <= most, "an empty range");
        least + self.below((most - least).saturating_add(1))
    }

    /// A number in `least..=most` where each power of two is as likely as the next: for sizes.
    pub fn size(&mut self, least: u64, most: u64) -> u64 {
        let power = self.within(least.max(1).ilog2().into(), most.max(1).ilog2().into());
        self.within(1 << power, (1 << power << 1) - 1).clamp(least, most)
    }

    /// True in `ppm` of a million cases.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(MILLION.into()) < ppm.into()
    }

    /// One of `items`; `None` if there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}

fn splitmix(carry: &mut u64) -> u64 {
    *carry = carry.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *carry;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_stays_in_its_range() {
        let mut rng = Rng::new(7);
        for (least, most) in [(0, 0), (1, 1), (3, 9), (1, 65_536), (5, 4_000)] {
            for _ in 0..2_000 {
                assert!((least..=most).contains(&rng.within(least, most)));
                assert!((least..=most).contains(&rng.size(least, most)), "{least}..={most}");
            }
        }
        assert!((0..1_000).all(|_| !rng.chance(0) && rng.chance(MILLION)));
    }

    #[test]
    fn a_fork_does_not_follow_its_parent() {
        let mut parent = Rng::new(1);
        let (mut one, mut two) = (parent.fork(1), parent.fork(2));
        assert_ne!(one.bits(), two.bits());
        assert_eq!(Rng::new(9).bits(), Rng::new(9).bits());
    }
}
