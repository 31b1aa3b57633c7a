//! The receive queue: in-order payload, still in the frames it came in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use linerate_frame::{Frame, Pool};

use crate::queue::Queue;

/// Payload that is appended to the unread chunk before it, if there is one: a copy of two cache lines, and a frame less.
pub(crate) const SMALL_BYTES: usize = 128;
/// Frames that unread bytes may hold beyond twice their size.
const SPARSE_BYTES: usize = 32 << 10;
/// Copies on the heap share an allocation up to this.
const HEAP_CHUNK_BYTES: usize = 16 << 10;

/// A run of received payload.
#[derive(Debug)]
pub enum Chunk {
    /// In the frame it came in.
    Frame(Frame),
    /// Copied out because frames ran short: DESIGN rule 2, before anything is dropped.
    Heap(Box<Heap>),
}

/// Payload on the heap.
#[derive(Debug)]
pub struct Heap {
    bytes: Vec<u8>,
    /// First byte not read.
    start: usize,
}

#[allow(clippy::len_without_is_empty)] // a chunk is never empty
impl Chunk {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        match self {
            Chunk::Frame(f) => f.len(),
            Chunk::Heap(h) => h.bytes.len() - h.start,
        }
    }

    pub(crate) fn advance(&mut self, n: usize) {
        match self {
            Chunk::Frame(f) => f.advance(n),
            Chunk::Heap(h) => h.start = (h.start + n).min(h.bytes.len()),
        }
    }

    pub(crate) fn truncate(&mut self, n: usize) {
        match self {
            Chunk::Frame(f) => f.truncate(n),
            Chunk::Heap(h) => h.bytes.truncate(h.start + n),
        }
    }

    /// The bytes.
    pub fn bytes<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        match self {
            Chunk::Frame(f) => pool.bytes(f),
            Chunk::Heap(h) => &h.bytes[h.start..],
        }
    }

    /// Takes its frame home.
    pub fn free(self, pool: &mut Pool) {
        if let Chunk::Frame(f) = self {
            pool.free(f);
        }
    }

    /// Copies a frame's bytes behind these, if there is room. The frame stays the caller's.
    fn append(&mut self, frame: &Frame, pool: &mut Pool) -> bool {
        match self {
            Chunk::Heap(h) => {
                let fits = h.bytes.len() + frame.len() <= HEAP_CHUNK_BYTES;
                if fits {
                    h.bytes.extend_from_slice(pool.bytes(frame));
                }
                fits
            }
            Chunk::Frame(f) => {
                let (start, len, n) = (f.start(), f.len(), frame.len());
                let Some(chunk) = pool.writable(f).filter(|c| start + len + n <= c.len()) else {
                    return false;
                };
                chunk[start + len..start + len + n].copy_from_slice(pool.bytes(frame));
                pool.set_range(f, start, len + n);
                true
            }
        }
    }

    pub(crate) fn frames(&self) -> usize {
        matches!(self, Chunk::Frame(_)) as usize
    }

    /// The frame itself, or, when frames run short, a copy on the heap with the frame back home.
    pub(crate) fn keep(frame: Frame, pool: &mut Pool, short_of_frames: bool) -> Self {
        if !short_of_frames {
            return Chunk::Frame(frame);
        }
        let bytes = pool.bytes(&frame).to_vec();
        pool.free(frame);
        Chunk::Heap(Box::new(Heap { bytes, start: 0 }))
    }
}

/// In-order bytes that the application has not read.
#[derive(Debug, Default)]
pub(crate) struct RecvQueue {
    pub chunks: Queue<Chunk>,
    pub bytes: u32,
    /// RCV.BUFF: what may stand here, and what is offered of it, together.
    pub buf: u32,
}

impl RecvQueue {
    pub fn push(&mut self, chunk: Chunk) {
        debug_assert!(chunk.len() > 0, "an empty chunk would look like the end");
        self.bytes += chunk.len() as u32;
        self.chunks.push_back(chunk);
    }

    /// The payload of a frame. The frame is kept as it is, unless that would let few bytes hold many frames: small
    /// payload behind unread bytes is appended to them, and any is while frames run short or the queue holds more than
    /// twice its bytes.
    pub fn push_frame(&mut self, frame: Frame, pool: &mut Pool, short_of_frames: bool) {
        let sparse = frame.len() <= SMALL_BYTES
            || short_of_frames
            || self.chunks.len() * pool.region().chunk_bytes() as usize
                > 2 * self.bytes as usize + SPARSE_BYTES;
        if sparse
            && let Some(last) = self.chunks.back_mut()
            && last.append(&frame, pool)
        {
            self.bytes += frame.len() as u32;
            return pool.free(frame);
        }
        self.push(Chunk::keep(frame, pool, short_of_frames));
    }

    /// The oldest run of bytes; empty when there is nothing to read.
    pub fn front<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        self.chunks.front().map_or(&[], |c| c.bytes(pool))
    }

    /// Copies the oldest bytes, as many as `to` has room for; they stay. Returns how many.
    pub fn peek(&self, pool: &Pool, to: &mut [u8]) -> usize {
        let mut at = 0;
        for c in self.chunks.iter() {
            let bytes = c.bytes(pool);
            let n = bytes.len().min(to.len() - at);
            to[at..at + n].copy_from_slice(&bytes[..n]);
            at += n;
            if at == to.len() {
                break;
            }
        }
        at
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

    /// The oldest chunk whole, if it is at most `most` bytes.
    pub fn pop(&mut self, most: usize) -> Option<Chunk> {
        if self.chunks.front()?.len() > most {
            return None;
        }
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.len() as u32;
        Some(chunk)
    }

    pub fn frames(&self) -> usize {
        self.chunks.iter().map(Chunk::frames).sum()
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        self.consume(pool, usize::MAX);
        self.chunks.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
