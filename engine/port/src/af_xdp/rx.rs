//! RX ring to burst, and the fill ring that feeds it.

use linerate_frame::{BURST_PKTS, Burst, Frame, FrameIndex, Pool};
use rustix::net::{RecvFlags, recv};

use super::socket::Xsk;
use crate::ring::Desc;

/// linux/if_xdp.h XDP_PKT_CONTD: the packet goes on in the next descriptor.
const PKT_CONTD: u32 = 1;

/// Frames that must be missing before the fill ring is topped up: a store to its shared index makes the kernel's core
/// miss its cache line, so it is done by the burst.
const REFILL_PKTS: u32 = BURST_PKTS as u32;

/// Frames to receive into while packets are taken as fast as they come: 2 MiB of memory, and 16 bursts' worth.
const FILL_LEVEL_PKTS: u32 = 1024;

/// Refills that must find the kernel well supplied before it gets fewer: 65,536 packets.
const CALM_REFILLS: u32 = 1024;

impl Xsk {
    #[inline]
    pub(super) fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        self.check_pool(pool);
        if self.socket.is_none() {
            return 0;
        }
        let n = self.rx.ready(burst.room() as u32);
        let before = burst.len();
        for _ in 0..n {
            let desc = self.rx.take();
            let Some(frame) = self.claim(desc, pool) else {
                self.stats.desc_invalid += 1;
                continue;
            };
            let goes_on = desc.options & PKT_CONTD != 0;
            if goes_on || self.in_fragments {
                self.drop_fragment(frame, goes_on, pool);
                continue;
            }
            self.stats.rx_bytes += frame.len() as u64;
            burst.push(frame);
        }
        self.rx.release();
        let got = burst.len() - before;
        self.stats.rx_packets += got as u64;
        got
    }

    /// The frame a descriptor names, if it is one that this socket's kernel half had to fill.
    #[inline]
    fn claim(&mut self, desc: Desc, pool: &mut Pool) -> Option<Frame> {
        let index = FrameIndex(u32::try_from(desc.addr >> self.chunk_shift).ok()?);
        let start = (desc.addr & ((1 << self.chunk_shift) - 1)) as u32;
        if !self.lent.remove(index) {
            return None;
        }
        let frame = pool.claim_rx(index, start, desc.len, self.caps.rx_csum);
        match frame {
            Some(_) => self.filled -= 1,
            // It is the kernel's all right, but not filled: being sent, or the range leaves the chunk.
            None => self.lent.add(index),
        }
        frame
    }

    /// XDP_USE_SG is never asked for, so a packet in several descriptors is not to come; if it does, none of its parts
    /// may pass for a packet.
    #[cold]
    fn drop_fragment(&mut self, frame: Frame, goes_on: bool, pool: &mut Pool) {
        self.in_fragments = goes_on;
        if !goes_on {
            self.stats.rx_oversize += 1;
        }
        pool.free(frame);
    }

    /// Frames go round through the fill ring in order, so as many as it holds pass through the caches: few are fast (on
    /// veth 8192 of them cost a fifth of the throughput of 1024), and many are wanted only when packets come faster
    /// than this core takes them. Returns what is missing at the level from now on.
    fn adapt_fill_level(&mut self, missing: u32) -> u32 {
        let descs = self.fill.0.descs();
        let kernel_has = descs - self.fill.room(descs);
        if kernel_has < self.fill_level / 4 && self.fill_level < self.fill_max {
            let before = self.fill_level;
            self.fill_level = (before * 2).min(self.fill_max);
            self.calm_refills = 0;
            return missing + self.fill_level - before;
        }
        self.calm_refills = if kernel_has < self.fill_level / 2 { 0 } else { self.calm_refills + 1 };
        if self.calm_refills >= CALM_REFILLS && self.fill_level / 2 >= FILL_LEVEL_PKTS {
            self.fill_level /= 2;
            self.calm_refills = 0;
            return self.fill_level.saturating_sub(self.filled);
        }
        missing
    }

    #[inline]
    pub(super) fn top_up(&mut self, pool: &mut Pool) {
        self.check_pool(pool);
        if self.socket.is_none() {
            return;
        }
        if self.fill_max == 0 {
            let half = (pool.free_len() / 2) as u32;
            self.fill_max = half.min(self.fill.0.descs());
        }
        if self.fill_level == 0 {
            self.fill_level = self.fill_max.min(FILL_LEVEL_PKTS);
        }
        let missing = self.fill_level.saturating_sub(self.filled);
        if missing > 0 && missing >= REFILL_PKTS.min(self.fill_level / 4) {
            let missing = self.adapt_fill_level(missing);
            for _ in 0..self.fill.room(missing) {
                let Some(index) = pool.alloc_fill() else {
                    self.stats.refill_short += 1;
                    break;
                };
                self.lent.add(index);
                self.filled += 1;
                self.fill.put(u64::from(index.0) << self.chunk_shift);
            }
            self.fill.publish();
        }
        if self.need_wakeup
            && self.filled > 0
            && self.fill.needs_wakeup()
            && let Some(fd) = &self.socket
        {
            self.stats.wakeups += 1;
            // Its answer says nothing that the flag won't say again at the next turn (xsk_recvmsg, net/xdp/xsk.c).
            let _ = recv(fd, &mut [0u8; 0], RecvFlags::DONTWAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use linerate_frame::{Batch, Ledger};

    use super::super::socket::fake::{self, Kernel};
    use super::*;
    use crate::Port;

    const CHUNK: u64 = 2048;

    fn received(k: &mut Kernel, addr: u64, len: u32, options: u32) {
        assert_eq!(k.rx.usable(1), 1);
        k.rx.put(Desc { addr, len, options });
        k.rx.publish();
    }

    fn completed(k: &mut Kernel, addr: u64) {
        assert_eq!(k.done.usable(1), 1);
        k.done.put(addr);
        k.done.publish();
    }

    #[test]
    fn forged_descriptors_make_no_frame_and_are_counted() {
        let (mut xsk, mut pool, mut k) = fake::xsk(32, 8);
        let mut burst = Burst::default();
        xsk.refill(&mut pool);
        assert_eq!(k.fill.usable(99), 8);
        let filled: Vec<u64> = (0..8).map(|_| k.fill.take()).collect();
        let (mine, own) = (filled[0], pool.alloc().unwrap());
        let held = u64::from(own.index().0) * CHUNK;
        let never = pool.alloc_fill().unwrap(); // lent by "another socket" of the same region
        for (addr, len) in [
            (held + 256, 60),                       // held by the stack
            (u64::from(never.0) * CHUNK + 256, 60), // the kernel's, but not by this socket
            (mine + 256, 1793),                     // leaves its chunk
            (mine + 256, u32::MAX),
            (32 * CHUNK, 60), // past the UMEM
            (u64::MAX, 60),
            (1 << 45, 60), // index of more than 32 bits
        ] {
            received(&mut k, addr, len, 0);
            assert_eq!(xsk.rx_burst(&mut pool, &mut burst), 0, "{addr:#x} + {len}");
        }
        completed(&mut k, mine);
        completed(&mut k, held);
        completed(&mut k, u64::MAX);
        assert_eq!(xsk.reap(&mut pool), 0);
        assert_eq!(xsk.stats().desc_invalid, 10);
        received(&mut k, mine + 256, 60, 0);
        received(&mut k, mine + 256, 60, 0);
        assert_eq!(xsk.rx_burst(&mut pool, &mut burst), 1, "the good one, once");
        assert_eq!(xsk.stats().desc_invalid, 11);
        let f = burst.drain().next().unwrap();
        assert_eq!((f.start(), f.len()), (256, 60));
        pool.free(f);
        pool.free(own);
        assert!(pool.reclaim_fill(never));
        xsk.close(&mut pool);
        assert!(pool.ledger().is_home());
    }

    #[test]
    fn a_frame_being_sent_cant_be_received_into() {
        let (mut xsk, mut pool, mut k) = fake::xsk(8, 4);
        let mut f = pool.alloc().unwrap();
        pool.set_range(&mut f, 128, 60);
        let addr = u64::from(f.index().0) * CHUNK + 128;
        let mut batch = Batch::default();
        batch.push(pool.send(f));
        assert_eq!(xsk.tx_burst(&mut pool, &mut batch), 1);
        received(&mut k, addr, 60, 0);
        assert_eq!(xsk.rx_burst(&mut pool, &mut Burst::default()), 0);
        assert_eq!((k.tx.usable(9), k.tx.take()), (1, Desc { addr, len: 60, options: 0 }));
        completed(&mut k, addr);
        completed(&mut k, addr);
        assert_eq!(xsk.reap(&mut pool), 1);
        assert_eq!(xsk.stats().desc_invalid, 2);
        assert!(pool.ledger().is_home());
    }

    #[test]
    fn fragments_are_dropped_whole() {
        let (mut xsk, mut pool, mut k) = fake::xsk(8, 4);
        xsk.refill(&mut pool);
        k.fill.usable(9);
        for options in [PKT_CONTD, PKT_CONTD, 0, 0] {
            let addr = k.fill.take() + 256;
            received(&mut k, addr, 100, options);
        }
        let mut burst = Burst::default();
        assert_eq!(xsk.rx_burst(&mut pool, &mut burst), 1, "only the packet of one descriptor");
        assert_eq!((xsk.stats().rx_oversize, xsk.stats().desc_invalid), (1, 0));
        burst.drain().for_each(|f| pool.free(f));
        assert!(pool.ledger().is_home());
    }

    #[test]
    fn refill_keeps_its_level_in_batches_and_leaves_the_pool_its_half() {
        let (mut xsk, mut pool, mut k) = fake::xsk(1024, 0);
        xsk.refill(&mut pool);
        assert_eq!((k.fill.usable(9999), pool.free_len()), (512, 512));
        let mut burst = Burst::default();
        let mut given = 512;
        for i in 1..=200u32 {
            let addr = k.fill.take();
            k.fill.publish();
            received(&mut k, addr + 256, 60, 0);
            assert_eq!(xsk.rx_burst(&mut pool, &mut burst), 1);
            burst.drain().for_each(|f| pool.free(f));
            xsk.refill(&mut pool);
            if i.is_multiple_of(REFILL_PKTS) {
                given += REFILL_PKTS;
            }
            assert_eq!(k.fill.usable(9999) + i, given);
        }
        xsk.close(&mut pool);
        assert_eq!(pool.ledger(), Ledger { frames: 1024, free: 1024, ..Ledger::default() });
    }

    #[test]
    fn a_broken_ring_is_reported() {
        let (mut xsk, mut pool, k) = fake::xsk(8, 4);
        k.rx.forge_own(1 << 20);
        assert_eq!(xsk.rx_burst(&mut pool, &mut Burst::default()), 0);
        assert_eq!(xsk.stats().ring_invalid, 1);
        assert!(matches!(xsk.wake(), Err(crate::PortError::RingBroken { ring: crate::RingKind::Rx })));
    }

    #[test]
    #[should_panic(expected = "another UMEM")]
    fn a_pool_of_another_umem_is_refused() {
        let (mut xsk, _pool, _k) = fake::xsk(8, 4);
        let mut other = Pool::new(linerate_frame::Region::heap(8, 2048));
        xsk.refill(&mut other);
    }
}
