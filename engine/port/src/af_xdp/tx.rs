//! Batch to TX ring, and the wake-up.

use linerate_frame::{Batch, Pool};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::socket::Xsk;
use crate::error::{PortError, RingKind};
use crate::port::refuse;

/// Descriptors that one sendto() takes in copy mode unless told otherwise (TX_BATCH_SIZE, net/xdp/xsk.c).
const TX_BATCH_DESCS: u32 = 32;

impl Xsk {
    #[inline]
    pub(super) fn transmit(&mut self, pool: &mut Pool, batch: &mut Batch) -> usize {
        self.check_pool(pool);
        if batch.is_empty() || self.socket.is_none() {
            return 0;
        }
        let room = self.tx.room(batch.len() as u32) as usize;
        let mut put = 0;
        while put < room {
            let Some(tx) = batch.pop() else { break };
            // Asks the pool rather than the token: it checks that the token is of this region.
            let len = pool.tx_bytes(&tx).len() as u32;
            if len == 0 || len > self.caps.frame_bytes_max {
                // The kernel skips a descriptor it doesn't like without completing it (xskq_cons_read_desc): the
                // frame would never come back.
                refuse(pool, tx, &mut self.stats);
                continue;
            }
            let addr = (u64::from(tx.index().0) << self.chunk_shift) + tx.start() as u64;
            self.stats.tx_bytes += u64::from(len);
            self.lent.add(tx.into_index());
            self.tx.put(addr, len);
            put += 1;
        }
        self.tx.publish();
        self.unsent |= put > 0;
        self.stats.tx_packets += put as u64;
        self.stats.tx_ring_full += u64::from(!batch.is_empty());
        put
    }

    /// At most `tx_descs / 32 + 1` system calls: each must have taken something for another to follow.
    pub(super) fn kick(&mut self) -> Result<(), PortError> {
        let broken = [
            (RingKind::Rx, self.rx.0.invalid()),
            (RingKind::Tx, self.tx.0.invalid()),
            (RingKind::Fill, self.fill.0.invalid()),
            (RingKind::Completion, self.done.0.invalid()),
        ];
        if let Some(&(ring, _)) = broken.iter().find(|(_, invalid)| *invalid > 0) {
            return Err(PortError::RingBroken { ring });
        }
        let Some(fd) = &self.socket else { return Ok(()) };
        if !self.unsent {
            return Ok(());
        }
        let mut left = self.tx.in_flight();
        for _ in 0..=self.tx.0.descs() / TX_BATCH_DESCS {
            if left == 0 {
                self.unsent = false;
                break;
            }
            if self.need_wakeup && !self.tx.needs_wakeup() {
                break;
            }
            self.stats.wakeups += 1;
            match send(fd, &[], SendFlags::DONTWAIT) {
                // EAGAIN: the budget was used up or the completion ring is full; EBUSY: the driver's queue is;
                // ENOBUFS: no memory or send buffer at the moment.
                Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => {}
                Err(errno) => {
                    return Err(PortError::Wake { step: "sendto on the AF_XDP socket", errno });
                }
            }
            let now = self.tx.in_flight();
            if now >= left {
                break;
            }
            left = now;
        }
        Ok(())
    }
}
