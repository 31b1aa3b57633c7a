//! Choices from a seed, in integers: the same on every machine.

use linerate_port::sim::SplitMix64;

/// A sequence of choices.
#[derive(Clone, Debug)]
pub struct Dice(SplitMix64);

impl Dice {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From `lo` to `hi`, both included, evenly.
    pub fn range(&mut self, lo: u64, hi: u64) -> u64 {
        lo + self.0.below(hi - lo + 1)
    }

    /// From `lo` to `hi`, both included, every power of two as likely as the next: small values come as often as
    /// large ones. `lo` > 0.
    pub fn scaled(&mut self, lo: u64, hi: u64) -> u64 {
        let bits = self.range(lo.ilog2().into(), hi.ilog2().into());
        let n = (1 << bits) + self.0.below(1 << bits);
        n.clamp(lo, hi)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.0.chance(p)
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept_and_filled() {
        let mut d = Dice::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[d.range(3, 7) as usize - 3] = true;
            assert!((5..=1000).contains(&d.scaled(5, 1000)));
        }
        assert_eq!(seen, [true; 5]);
        let small = (0..1000).filter(|_| d.scaled(1, 1 << 20) < 1 << 10).count();
        assert!((350..650).contains(&small), "{small}");
        assert_eq!(d.scaled(8, 8), 8);
    }
}
