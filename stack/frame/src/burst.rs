//! The unit of work: up to 64 received frames.

use alloc::vec::{Drain, Vec};

use crate::Frame;

/// Frames of a burst at most. 64 frames keep descriptors and headers of one turn within L1 (64 x 2 lines).
pub const BURST_PKTS: usize = 64;

/// Up to [`BURST_PKTS`] frames in the order they came. Never allocates after its construction.
#[derive(Debug)]
pub struct Burst(Vec<Frame>);

impl Default for Burst {
    fn default() -> Self {
        Self(Vec::with_capacity(BURST_PKTS))
    }
}

impl Burst {
    /// Frames in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No frames.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frames that still fit.
    pub fn room(&self) -> usize {
        BURST_PKTS - self.0.len()
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// If the burst is full.
    pub fn push(&mut self, frame: Frame) {
        assert!(self.0.len() < BURST_PKTS, "burst of more than {BURST_PKTS} frames");
        self.0.push(frame);
    }

    /// Takes all frames out, oldest first.
    pub fn drain(&mut self) -> Drain<'_, Frame> {
        self.0.drain(..)
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> &[Frame] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pool, Region};

    #[test]
    fn keeps_order_and_its_bound() {
        let mut pool = Pool::new(Region::heap(64, 512));
        let mut b = Burst::default();
        while b.room() > 0 {
            b.push(pool.alloc().unwrap());
        }
        let mut last = None;
        for f in b.drain() {
            assert!(last < Some(f.index()));
            last = Some(f.index());
            pool.free(f);
        }
        assert!(pool.ledger().is_home());
    }
}
