//! Random numbers that stay the same for ever: a run is known by its seed, over versions of every crate.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, one multiplication chain a number.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n` (0 when `n` is 0); the bias of 1 in 2^64 / n is of no matter here.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// True with probability `p`. Takes a number from the sequence only if it is neither 0 nor 1, so a knob that is
    /// off changes nothing in a run.
    pub fn chance(&mut self, p: f64) -> bool {
        p >= 1.0 || (p > 0.0 && ((self.next_u64() >> 11) as f64) < p * (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values of the algorithm's own C code for seed 1234567.
    #[test]
    fn is_the_published_sequence() {
        let mut r = SplitMix64::new(1234567);
        let got: Vec<u64> = (0..3).map(|_| r.next_u64()).collect();
        assert_eq!(got, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn chances_are_as_asked() {
        let mut r = SplitMix64::new(1);
        for p in [0.01, 0.3, 0.9] {
            let hits = (0..100_000).filter(|_| r.chance(p)).count() as f64 / 100_000.0;
            assert!((hits - p).abs() < 0.005, "{p}: {hits}");
        }
        let before = r.clone().next_u64();
        assert!(!r.chance(0.0) && r.chance(1.0));
        assert_eq!(r.next_u64(), before);
        assert_eq!(r.below(0), 0);
        assert!((0..1000).all(|_| r.below(7) < 7));
    }
}
