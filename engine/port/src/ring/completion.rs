//! Completion ring: sent frames from the kernel.

use super::cursor::Consumer;

/// Ours to consume. An entry is the address of a transmission, as it was put into the TX ring.
pub struct CompletionRing(pub(crate) Consumer<u64>);

impl CompletionRing {
    /// On a consumer made by [`memory_pair`](super::memory_pair).
    pub fn new(consumer: Consumer<u64>) -> Self {
        Self(consumer)
    }

    /// Completions there are, at most `want`.
    #[inline]
    pub fn ready(&mut self, want: u32) -> u32 {
        self.0.usable(want)
    }

    /// The next address: not to be believed before it is checked against the frame's state.
    #[inline]
    pub fn take(&mut self) -> u64 {
        self.0.take()
    }

    /// Gives the slots back.
    #[inline]
    pub fn release(&mut self) {
        self.0.publish();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::memory_pair;

    #[test]
    fn slots_are_reusable_after_release() {
        let (mut kernel, c) = memory_pair(2);
        let mut done = CompletionRing::new(c);
        for round in 0..5u64 {
            assert_eq!(kernel.usable(2), 2);
            kernel.put(round);
            kernel.put(round + 100);
            kernel.publish();
            assert_eq!(done.ready(64), 2);
            assert_eq!((done.take(), done.take()), (round, round + 100));
            done.release();
        }
    }
}
