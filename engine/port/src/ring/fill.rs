//! Fill ring: free frames to the kernel, to receive into.

use super::cursor::Producer;

/// Ours to produce. An entry is the UMEM offset of a chunk (the kernel adds its headroom).
pub struct FillRing(pub(crate) Producer<u64>);

impl FillRing {
    /// On a producer made by [`memory_pair`](super::memory_pair).
    pub fn new(producer: Producer<u64>) -> Self {
        Self(producer)
    }

    /// Frames that fit now, at most `want`.
    #[inline]
    pub fn room(&mut self, want: u32) -> u32 {
        self.0.usable(want)
    }

    /// Gives the chunk at `addr` away.
    #[inline]
    pub fn put(&mut self, addr: u64) {
        self.0.put(addr);
    }

    /// Shows the kernel what was put.
    #[inline]
    pub fn publish(&mut self) {
        self.0.publish();
    }

    /// The driver ran dry and stopped looking: it takes a system call to go on (zero-copy only; in copy mode the
    /// kernel looks when a packet comes).
    #[inline]
    pub fn needs_wakeup(&self) -> bool {
        self.0.needs_wakeup()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::memory_pair;

    #[test]
    fn room_shrinks_until_the_kernel_takes() {
        let (p, mut kernel) = memory_pair(4);
        let mut fill = FillRing::new(p);
        assert_eq!(fill.room(64), 4);
        (0..4).for_each(|i| fill.put(i * 2048));
        fill.publish();
        assert_eq!((fill.room(1), kernel.usable(9)), (0, 4));
        assert_eq!((kernel.take(), kernel.take()), (0, 2048));
        kernel.publish();
        assert_eq!(fill.room(64), 2);
        assert!(!fill.needs_wakeup());
        fill.0.set_needs_wakeup(true);
        assert!(fill.needs_wakeup());
    }
}
