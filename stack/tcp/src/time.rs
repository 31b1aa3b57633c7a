//! Time as the stack sees it: nanoseconds since a start that the caller chose, read once a turn.

use core::ops::{Add, Sub};

/// Nanoseconds of a monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Instant(pub u64);

/// A millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
/// A second in nanoseconds.
pub const SEC: u64 = 1_000_000_000;

/// A time in four bytes, in units of 2^30 ns (1.07 s): differences of up to 146 years.
#[inline]
pub(crate) fn coarse(t: Instant) -> u32 {
    (t.0 >> 30) as u32
}

/// A time in four bytes, in units of 2^20 ns (1.05 ms): differences of up to 52 days.
#[inline]
pub(crate) fn fine(t: Instant) -> u32 {
    (t.0 >> 20) as u32
}

impl Instant {
    /// A deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Nanoseconds from `earlier`, 0 if that is later.
    #[inline]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `None` for [`Instant::NEVER`].
    #[inline]
    pub fn armed(self) -> Option<Self> {
        (self != Self::NEVER).then_some(self)
    }
}

impl Add<u64> for Instant {
    type Output = Self;
    #[inline]
    fn add(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

impl Sub<u64> for Instant {
    type Output = Self;
    #[inline]
    fn sub(self, ns: u64) -> Self {
        Self(self.0.saturating_sub(ns))
    }
}
