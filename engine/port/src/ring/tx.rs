//! TX ring: frames to send, to the kernel.

use super::cursor::Producer;
use super::raw::Desc;

/// Ours to produce.
pub struct TxRing(pub(crate) Producer<Desc>);

impl TxRing {
    /// On a producer made by [`memory_pair`](super::memory_pair).
    pub fn new(producer: Producer<Desc>) -> Self {
        Self(producer)
    }

    /// Descriptors that fit now, at most `want`.
    #[inline]
    pub fn room(&mut self, want: u32) -> u32 {
        self.0.usable(want)
    }

    /// Queues `len` bytes at `addr`.
    #[inline]
    pub fn put(&mut self, addr: u64, len: u32) {
        self.0.put(Desc { addr, len, options: 0 });
    }

    /// Shows the kernel what was put.
    #[inline]
    pub fn publish(&mut self) {
        self.0.publish();
    }

    /// Descriptors that the kernel has not taken yet.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight()
    }

    /// The kernel sends only when told. Always so in copy mode: there the system call *is* the sending.
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
    fn in_flight_until_the_kernel_takes() {
        let (p, mut kernel) = memory_pair(4);
        let mut tx = TxRing::new(p);
        assert_eq!(tx.room(2), 2);
        tx.put(128, 60);
        assert_eq!(tx.in_flight(), 0, "not published");
        tx.publish();
        assert_eq!((tx.in_flight(), kernel.usable(9)), (1, 1));
        assert_eq!(kernel.take(), Desc { addr: 128, len: 60, options: 0 });
        kernel.publish();
        assert_eq!(tx.in_flight(), 0);
        tx.0.forge_peer(1000);
        assert_eq!(tx.room(3), 3, "known room takes no look");
        assert_eq!((tx.in_flight(), tx.room(9), tx.0.invalid()), (4, 0, 1));
    }
}
