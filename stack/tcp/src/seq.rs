//! Sequence numbers: RFC 9293 section 3.4, arithmetic modulo 2^32.

use core::ops::{Add, AddAssign, Sub};

/// A 32-bit sequence number. Comparisons are valid for numbers less than 2^31 apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// `self < other`.
    #[inline]
    pub fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// `self <= other`.
    #[inline]
    pub fn at_or_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) <= 0
    }

    /// `self > other`.
    #[inline]
    pub fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// `self >= other`.
    #[inline]
    pub fn at_or_after(self, other: Self) -> bool {
        other.at_or_before(self)
    }

    /// The later of two.
    #[inline]
    pub fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of two.
    #[inline]
    pub fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }

    /// Octets from `from` up to `self`, 0 when `self` is before it.
    #[inline]
    pub fn since(self, from: Self) -> u32 {
        let d = self.0.wrapping_sub(from.0);
        if (d as i32) < 0 { 0 } else { d }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, n: u32) {
        self.0 = self.0.wrapping_add(n);
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    #[inline]
    fn sub(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let a = SeqNum(u32::MAX - 1);
        let b = a + 3;
        assert_eq!(b, SeqNum(1));
        assert!(a.before(b) && b.after(a) && a.at_or_before(a) && a.at_or_after(a));
        assert_eq!(b.since(a), 3);
        assert_eq!(a.since(b), 0);
        assert_eq!(a.max(b), b);
        assert_eq!(a.min(b), a);
        assert_eq!(b - 3, a);
    }
}
