//! A core's own cache of free frames over the shared region.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use crate::frame::{Frame, FrameIndex, RxCsum, TxFrame};
use crate::ledger::Ledger;
use crate::raw::{FILL, HELD, Region, TX};

/// Room in front of a fresh frame's payload for every header that is pushed later: Ethernet 14 + VLAN 4 +
/// IPv6 40 + TCP 60 = 118, rounded up to two cache lines.
pub const HEADROOM_BYTES: u32 = 128;

/// The frames of one core. Not shared: another core has its own pool over the same [`Region`].
pub struct Pool {
    region: Arc<Region>,
    free: Vec<FrameIndex>,
}

impl Pool {
    /// A pool with all frames of the region.
    pub fn new(region: Arc<Region>) -> Self {
        Self::split(region, 1).remove(0)
    }

    /// `n` pools with equal shares of the region's frames (what is left over goes to the first).
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn split(region: Arc<Region>, n: usize) -> Vec<Self> {
        let frames = region.frames();
        let share = frames / n as u32;
        let mut pools = Vec::with_capacity(n);
        let mut from = 0;
        for i in 0..n as u32 {
            let to = if i == 0 { share + frames % n as u32 } else { from + share };
            // Capacity for all frames: frames migrate between cores, and freeing must not allocate.
            let mut free = Vec::with_capacity(frames as usize);
            free.extend((from..to).rev().map(FrameIndex));
            pools.push(Self { region: region.clone(), free });
            from = to;
        }
        pools
    }

    /// The shared memory.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Free frames of this core.
    pub fn free_len(&self) -> usize {
        self.free.len()
    }

    /// Bytes that a fresh frame can carry behind its headroom.
    pub fn payload_bytes(&self) -> usize {
        (self.region.chunk_bytes() - HEADROOM_BYTES) as usize
    }

    /// An empty frame with headroom, or `None` when this core has none left.
    pub fn alloc(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        self.region.set_state(index, HELD);
        Some(Frame { index, start: HEADROOM_BYTES, len: 0, region: self.region.id(), csum: RxCsum::Unknown })
    }

    /// Takes a frame home. While its transmission is outstanding the completion brings it home instead.
    ///
    /// # Panics
    /// If the frame belongs to another region.
    pub fn free(&mut self, frame: Frame) {
        assert!(frame.region == self.region.id(), "frame of another region");
        if self.region.state(frame.index) & TX != 0 {
            self.region.set_state(frame.index, TX);
        } else {
            self.region.set_state(frame.index, 0);
            self.free.push(frame.index);
        }
    }

    /// The packet bytes.
    pub fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.region.slice(frame.region, frame.index, frame.start, frame.len)
    }

    /// The bytes of a transmission (for ports that copy).
    pub fn tx_bytes<'a>(&'a self, tx: &'a TxFrame) -> &'a [u8] {
        self.region.slice(tx.region, tx.index, tx.start, tx.len)
    }

    /// The whole chunk, to write into; `None` while a transmission of the frame is outstanding (its bytes must
    /// not change under the kernel).
    pub fn writable<'a>(&'a self, frame: &'a mut Frame) -> Option<&'a mut [u8]> {
        if self.region.state(frame.index) != HELD {
            return None;
        }
        Some(self.region.slice_mut(frame.region, frame.index, 0, self.region.chunk_bytes()))
    }

    /// Says which bytes of the chunk are the packet.
    ///
    /// # Panics
    /// If the range reaches past the chunk.
    pub fn set_range(&self, frame: &mut Frame, start: usize, len: usize) {
        assert!(start + len <= self.region.chunk_bytes() as usize, "packet past the end of its chunk");
        frame.start = start as u32;
        frame.len = len as u32;
    }

    /// Is a transmission of this frame still outstanding?
    pub fn is_transmitting(&self, frame: &Frame) -> bool {
        self.region.state(frame.index) & TX != 0
    }

    /// Starts a transmission of `start..start + len` of a frame that its holder keeps (until it is acked).
    /// `None` while an earlier transmission of it is outstanding.
    ///
    /// # Panics
    /// If the range reaches past the chunk, or the frame belongs to another region.
    pub fn lend(&mut self, frame: &Frame, start: usize, len: usize) -> Option<TxFrame> {
        assert!(frame.region == self.region.id(), "frame of another region");
        assert!(start + len <= self.region.chunk_bytes() as usize, "packet past the end of its chunk");
        if self.region.state(frame.index) != HELD {
            return None;
        }
        self.region.set_state(frame.index, HELD | TX);
        Some(TxFrame { index: frame.index, start: start as u32, len: len as u32, region: frame.region })
    }

    /// Starts the transmission of a frame that nobody keeps: it comes home by its completion.
    ///
    /// # Panics
    /// If an earlier transmission of it is outstanding, or the frame belongs to another region.
    pub fn send(&mut self, frame: Frame) -> TxFrame {
        let tx = self.lend(&frame, frame.start as usize, frame.len as usize);
        let tx = tx.expect("a frame on its way out can't be sent again");
        self.region.set_state(frame.index, TX);
        tx
    }

    /// A transmission ended. `false`: no such transmission was outstanding (a broken or hostile ring); nothing
    /// was changed.
    #[must_use]
    pub fn complete(&mut self, index: FrameIndex) -> bool {
        if index.0 >= self.region.frames() {
            return false;
        }
        match self.region.state(index) {
            TX => {
                self.region.set_state(index, 0);
                self.free.push(index);
                true
            }
            s if s == HELD | TX => {
                self.region.set_state(index, HELD);
                true
            }
            _ => false,
        }
    }

    /// Takes a free frame out for the fill ring; `None` when there is none.
    pub fn alloc_fill(&mut self) -> Option<FrameIndex> {
        let index = self.free.pop()?;
        self.region.set_state(index, FILL);
        Some(index)
    }

    /// A frame came back from the kernel with `len` bytes at `start`. `None`: that frame was not the kernel's
    /// to fill, or the range leaves its chunk; nothing was changed.
    pub fn claim_rx(&mut self, index: FrameIndex, start: u32, len: u32, csum: RxCsum) -> Option<Frame> {
        let ok = index.0 < self.region.frames()
            && start as u64 + len as u64 <= self.region.chunk_bytes() as u64
            && self.region.state(index) == FILL;
        if !ok {
            return None;
        }
        self.region.set_state(index, HELD);
        Some(Frame { index, start, len, region: self.region.id(), csum })
    }

    /// A frame comes home from the fill ring unused (the port was closed). `false`: it was not there.
    #[must_use]
    pub fn reclaim_fill(&mut self, index: FrameIndex) -> bool {
        let ok = index.0 < self.region.frames() && self.region.state(index) == FILL;
        if ok {
            self.region.set_state(index, 0);
            self.free.push(index);
        }
        ok
    }

    /// After every port over this region is closed: all frames that the kernel still had come home here.
    /// Returns how many.
    pub fn reclaim_all(&mut self) -> u32 {
        let mut n = 0;
        for i in 0..self.region.frames() {
            let index = FrameIndex(i);
            match self.region.state(index) {
                FILL | TX => {
                    self.region.set_state(index, 0);
                    self.free.push(index);
                    n += 1;
                }
                s if s == HELD | TX => self.region.set_state(index, HELD),
                _ => {}
            }
        }
        n
    }

    /// The whole region's frames by place, by a scan of one byte a frame (2 us for 65,536 frames).
    pub fn ledger(&self) -> Ledger {
        let (free, fill, tx, held) = self.region.census();
        Ledger { frames: self.region.frames(), free, fill, tx, held }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.region.retired.fetch_add(self.free.len() as u32, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(frames: u32) -> Pool {
        Pool::new(Region::heap(frames, 2048))
    }

    #[test]
    fn writable_refuses_while_transmitting() {
        let mut p = pool(2);
        let mut f = p.alloc().unwrap();
        p.writable(&mut f).unwrap()[128..132].copy_from_slice(b"data");
        p.set_range(&mut f, 128, 4);
        let tx = p.lend(&f, 128, 4).unwrap();
        assert!(p.writable(&mut f).is_none());
        assert!(p.lend(&f, 128, 4).is_none());
        assert_eq!(p.tx_bytes(&tx), b"data");
        assert!(p.complete(tx.into_index()));
        assert!(p.writable(&mut f).is_some());
        p.free(f);
        assert_eq!(p.free_len(), 2);
    }

    #[test]
    fn freed_while_transmitting_comes_home_by_completion() {
        let mut p = pool(1);
        let f = p.alloc().unwrap();
        let tx = p.lend(&f, 0, 60).unwrap();
        p.free(f);
        assert_eq!((p.free_len(), p.ledger().tx), (0, 1));
        let i = tx.into_index();
        assert!(p.complete(i));
        assert!(!p.complete(i), "a completion counts once");
        assert_eq!(p.free_len(), 1);
    }

    #[test]
    fn forged_descriptors_make_no_token() {
        let mut p = pool(2);
        let i = p.alloc_fill().unwrap();
        assert!(p.claim_rx(FrameIndex(7), 0, 10, RxCsum::Unknown).is_none(), "no such frame");
        assert!(p.claim_rx(FrameIndex(1 - i.0), 0, 10, RxCsum::Unknown).is_none(), "not the kernel's");
        assert!(p.claim_rx(i, 2000, 49, RxCsum::Unknown).is_none(), "past the chunk");
        assert!(p.claim_rx(i, u32::MAX, 49, RxCsum::Unknown).is_none(), "wraps");
        let f = p.claim_rx(i, 256, 60, RxCsum::Unknown).unwrap();
        assert!(p.claim_rx(i, 256, 60, RxCsum::Unknown).is_none(), "twice");
        assert!(!p.complete(i) && !p.reclaim_fill(i));
        p.free(f);
        assert!(p.ledger().is_home());
    }

    #[test]
    fn split_shares_everything_and_frames_migrate() {
        let mut pools = Pool::split(Region::heap(7, 512), 3);
        assert_eq!(pools.iter().map(Pool::free_len).sum::<usize>(), 7);
        let f = pools[0].alloc().unwrap();
        pools[2].free(f);
        assert_eq!(pools[2].free_len(), 3);
        assert!(pools[1].ledger().is_home());
    }

    #[test]
    #[should_panic(expected = "another region")]
    fn a_foreign_frame_is_refused() {
        let (mut a, mut b) = (pool(1), pool(1));
        let f = a.alloc().unwrap();
        b.free(f);
    }

    #[test]
    fn reclaim_after_close() {
        let mut p = pool(4);
        let _ = p.alloc_fill().unwrap();
        let f = p.alloc().unwrap();
        let _ = p.send(f).into_index();
        let g = p.alloc().unwrap();
        let _ = p.lend(&g, 0, 1).unwrap().into_index();
        assert_eq!(p.reclaim_all(), 2);
        assert_eq!(p.ledger().held, 1);
        p.free(g);
        assert!(p.ledger().is_home());
    }

    #[test]
    fn advance_and_truncate_saturate() {
        let mut p = pool(1);
        let mut f = p.alloc().unwrap();
        p.set_range(&mut f, 100, 10);
        f.advance(4);
        f.truncate(100);
        assert_eq!((f.start(), f.len()), (104, 6));
        f.advance(100);
        assert!(f.is_empty());
        p.free(f);
    }
}
