//! A small random number generator: the same seed gives the same faults on every machine and in every version.

/// xoshiro256++ (Blackman and Vigna), seeded through splitmix64. Not for secrets.
pub(super) struct Rng([u64; 4]);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    pub(super) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number less than `end`, or 0 if `end` is 0. The bias is below 2^-32 for the values of `end` used here.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Returns `true` with this probability. Draws no number if the result is certain.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // 53 bits: the precision of an `f64`.
        probability >= 1.0 || ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the reference code from the state 1, 2, 3, 4.
        let mut rng = Rng([1, 2, 3, 4]);
        let first: Vec<_> = (0..4).map(|_| rng.next()).collect();
        assert_eq!(
            first,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
        // The first output of splitmix64 from the state 0.
        assert_eq!(Rng::new(0).0[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn numbers_are_in_range_and_frequencies_match_probabilities() {
        let mut rng = Rng::new(7);
        assert!((0..1000).all(|_| rng.below(10) < 10 && rng.below(0) == 0));
        let hits = (0..100_000).filter(|_| rng.chance(0.2)).count();
        assert!((19_000..21_000).contains(&hits), "{hits}");
        assert!(!rng.chance(0.0) && rng.chance(1.0));
    }
}
