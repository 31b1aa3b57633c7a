//! Which frames this socket's kernel half has: one bit a frame of the region.
//!
//! Pools and ports are many over one region and frames migrate between them, so without it nobody could say at
//! close which frames to take home (a zero-copy driver's own queue is invisible), and a broken ring could name a
//! frame that another core lent to another socket. 8 KiB for 65,536 frames; it stays in L1.

use linerate_frame::FrameIndex;

pub(super) struct Lent {
    bits: Box<[u64]>,
    frames: u32,
    count: u32,
}

impl Lent {
    pub(super) fn new(frames: u32) -> Self {
        Self { bits: vec![0; frames.div_ceil(64) as usize].into(), frames, count: 0 }
    }

    /// Frames lent.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    pub(super) fn add(&mut self, index: FrameIndex) {
        let (word, bit) = (&mut self.bits[index.0 as usize / 64], 1 << (index.0 % 64));
        debug_assert!(*word & bit == 0, "frame {} lent twice", index.0);
        *word |= bit;
        self.count += 1;
    }

    /// `false`: it was not lent; nothing was changed.
    #[inline]
    pub(super) fn remove(&mut self, index: FrameIndex) -> bool {
        if index.0 >= self.frames {
            return false;
        }
        let (word, bit) = (&mut self.bits[index.0 as usize / 64], 1 << (index.0 % 64));
        if *word & bit == 0 {
            return false;
        }
        *word &= !bit;
        self.count -= 1;
        true
    }

    /// Takes all out, in order of their index.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = FrameIndex> {
        self.count = 0;
        self.bits.iter_mut().enumerate().flat_map(|(i, word)| {
            let word = std::mem::take(word);
            (0..64).filter(move |b| word >> b & 1 != 0).map(move |b| FrameIndex(i as u32 * 64 + b))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_each_once() {
        let mut l = Lent::new(130);
        for i in [0, 63, 64, 129] {
            l.add(FrameIndex(i));
        }
        assert_eq!(l.count(), 4);
        assert!(l.remove(FrameIndex(63)) && !l.remove(FrameIndex(63)));
        assert!(!l.remove(FrameIndex(1)) && !l.remove(FrameIndex(130)) && !l.remove(FrameIndex(u32::MAX)));
        assert_eq!(l.drain().map(|f| f.0).collect::<Vec<_>>(), [0, 64, 129]);
        assert_eq!((l.count(), l.drain().count()), (0, 0));
    }
}
