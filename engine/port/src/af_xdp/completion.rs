//! Completion ring to pool; and, at the end, everything to the pool.

use std::time::Duration;

use linerate_frame::{FrameIndex, Pool};

use super::bind::XskMode;
use super::socket::Xsk;

/// What `close` waits for transmissions under way, in steps of 1 ms. A NIC sends a full ring of 2048 in 2.5 ms at
/// 10 Gbit/s; drivers without linear copies (IFF_TX_SKB_NO_LINEAR, virtio_net) read the frames themselves also in
/// copy mode, until they complete.
const DRAIN_STEPS: u32 = 20;

/// The driver gives up a zero-copy pool from a work item that runs after close() has returned (xp_put_pool,
/// net/xdp/xsk_buff_pool.c); until then the NIC may write to frames. Nothing says when it has run, so this is a guess
/// with room to spare, not a measurement.
const ZERO_COPY_RELEASE: Duration = Duration::from_millis(100);

impl Xsk {
    #[inline]
    pub(super) fn complete(&mut self, pool: &mut Pool) -> usize {
        self.check_pool(pool);
        let mut completed = 0;
        for _ in 0..self.done.ready(self.done.0.descs()) {
            let addr = self.done.take();
            if self.finish(addr, pool) {
                completed += 1;
            } else {
                self.stats.desc_invalid += 1;
            }
        }
        self.done.release();
        completed
    }

    #[inline]
    fn finish(&mut self, addr: u64, pool: &mut Pool) -> bool {
        let Ok(index) = u32::try_from(addr >> self.chunk_shift).map(FrameIndex) else { return false };
        if !self.lent.remove(index) {
            return false;
        }
        let was_tx = pool.complete(index);
        if !was_tx {
            self.lent.add(index);
        }
        was_tx
    }

    /// Sends what was queued if that is quick, closes the socket (now the kernel lets go), takes all home.
    pub(super) fn bring_home(&mut self, pool: &mut Pool) {
        self.check_pool(pool);
        for _ in 0..DRAIN_STEPS {
            let sendable = self.socket.is_some() && self.kick().is_ok();
            self.complete(pool);
            if !sendable || self.lent.count() == self.filled {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::Port::stats(self);
        let Some(socket) = self.socket.take() else { return };
        drop(socket);
        if self.mode() == XskMode::ZeroCopy {
            std::thread::sleep(ZERO_COPY_RELEASE);
        }
        for index in self.lent.drain() {
            let home = pool.reclaim_fill(index) || pool.complete(index);
            debug_assert!(home, "frame {} was lent, but not by its state", index.0);
        }
        self.filled = 0;
        self.unsent = false;
    }
}
