//! The receive queue: in-order payload, still in the frames it came in.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use linerate_frame::{Frame, Pool};

/// A run of received payload.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// In the frame it came in.
    Frame(Frame),
    /// Copied out because frames ran short: DESIGN rule 2, before anything is dropped.
    Heap { bytes: Box<[u8]>, start: usize, len: usize },
}

impl Chunk {
    pub fn len(&self) -> usize {
        match self {
            Chunk::Frame(f) => f.len(),
            Chunk::Heap { len, .. } => *len,
        }
    }

    pub fn advance(&mut self, n: usize) {
        match self {
            Chunk::Frame(f) => f.advance(n),
            Chunk::Heap { start, len, .. } => {
                let n = n.min(*len);
                *start += n;
                *len -= n;
            }
        }
    }

    pub fn truncate(&mut self, n: usize) {
        match self {
            Chunk::Frame(f) => f.truncate(n),
            Chunk::Heap { len, .. } => *len = n.min(*len),
        }
    }

    pub fn bytes<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        match self {
            Chunk::Frame(f) => pool.bytes(f),
            Chunk::Heap { bytes, start, len } => &bytes[*start..*start + *len],
        }
    }

    pub fn free(self, pool: &mut Pool) {
        if let Chunk::Frame(f) = self {
            pool.free(f);
        }
    }

    pub fn frames(&self) -> usize {
        matches!(self, Chunk::Frame(_)) as usize
    }

    /// The frame itself, or, when frames run short, a copy on the heap with the frame back home.
    pub fn keep(frame: Frame, pool: &mut Pool, short_of_frames: bool) -> Self {
        if !short_of_frames {
            return Chunk::Frame(frame);
        }
        let bytes: Box<[u8]> = pool.bytes(&frame).into();
        pool.free(frame);
        let len = bytes.len();
        Chunk::Heap { bytes, start: 0, len }
    }
}

/// In-order bytes that the application has not read.
#[derive(Debug, Default)]
pub(crate) struct RecvQueue {
    chunks: VecDeque<Chunk>,
    pub bytes: u32,
}

impl RecvQueue {
    pub fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.len() as u32;
        self.chunks.push_back(chunk);
    }

    /// The oldest run of bytes; empty when there is nothing to read.
    pub fn front<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        self.chunks.front().map_or(&[], |c| c.bytes(pool))
    }

    /// Drops the `n` oldest bytes (at most all of them); frames read to their end go home.
    pub fn consume(&mut self, pool: &mut Pool, mut n: usize) {
        while n > 0 {
            let Some(c) = self.chunks.front_mut() else { return };
            let take = n.min(c.len());
            c.advance(take);
            self.bytes -= take as u32;
            n -= take;
            if c.len() == 0 {
                self.chunks.pop_front().expect("front exists").free(pool);
            }
        }
    }

    pub fn frames(&self) -> usize {
        self.chunks.iter().map(Chunk::frames).sum()
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        self.consume(pool, usize::MAX);
        self.chunks = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use linerate_frame::Region;

    #[test]
    fn reads_across_frames_and_heap_alike() {
        let mut pool = Pool::new(Region::heap(3, 512));
        let mut q = RecvQueue::default();
        for (i, short) in [(0u8, false), (1, true), (2, false)] {
            let mut f = pool.alloc().unwrap();
            pool.writable(&mut f).unwrap()[128..138].fill(i);
            pool.set_range(&mut f, 128, 10);
            q.push(Chunk::keep(f, &mut pool, short));
        }
        assert_eq!((q.bytes, q.frames(), pool.free_len()), (30, 2, 1));
        let mut read = Vec::new();
        while q.bytes > 0 {
            let n = q.front(&pool).len().min(7);
            read.extend_from_slice(&q.front(&pool)[..n]);
            q.consume(&mut pool, n);
        }
        assert_eq!(read, [[0u8; 10], [1; 10], [2; 10]].concat());
        assert!(pool.ledger().is_home());
        q.consume(&mut pool, 5);
        assert!(q.front(&pool).is_empty());
    }
}
