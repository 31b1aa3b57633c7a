//! RX ring: received frames from the kernel.

use super::cursor::Consumer;
use super::raw::Desc;

/// Ours to consume.
pub struct RxRing(pub(crate) Consumer<Desc>);

impl RxRing {
    /// On a consumer made by [`memory_pair`](super::memory_pair).
    pub fn new(consumer: Consumer<Desc>) -> Self {
        Self(consumer)
    }

    /// Descriptors there are, at most `want`.
    #[inline]
    pub fn ready(&mut self, want: u32) -> u32 {
        self.0.usable(want)
    }

    /// The next descriptor: not to be believed before it is checked against the frame's state.
    #[inline]
    pub fn take(&mut self) -> Desc {
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
    fn takes_what_the_kernel_put_and_makes_room() {
        let (mut kernel, c) = memory_pair(2);
        let mut rx = RxRing::new(c);
        assert_eq!(rx.ready(64), 0);
        assert_eq!(kernel.usable(3), 2);
        kernel.put(Desc { addr: 256, len: 60, options: 0 });
        kernel.put(Desc { addr: 2304, len: 61, options: 1 });
        kernel.publish();
        assert_eq!(rx.ready(64), 2);
        assert_eq!(rx.take(), Desc { addr: 256, len: 60, options: 0 });
        assert_eq!(rx.take().options, 1);
        assert_eq!(kernel.usable(1), 0);
        rx.release();
        assert_eq!(kernel.usable(2), 2);
    }
}
