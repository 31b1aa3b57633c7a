//! Segments beyond RCV.NXT, in order of their sequence numbers (RFC 9293 SHLD-31), without overlaps.

use alloc::collections::VecDeque;

use linerate_frame::Pool;

use crate::rcv::Chunk;
use crate::sack::SackRanges;
use crate::seq::SeqNum;

#[derive(Debug)]
struct Ooo {
    seq: SeqNum,
    chunk: Chunk,
}

impl Ooo {
    fn end(&self) -> SeqNum {
        self.seq + self.chunk.len() as u32
    }
}

/// What a connection remembers of the sequence space beyond RCV.NXT, and owes the peer word of; most of the time there
/// is nothing, and no `Reassembly`.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    segs: VecDeque<Ooo>,
    /// The contiguous range that grew last.
    run: (SeqNum, SeqNum),
    pub sack: SackRanges,
    /// Where the peer's FIN stands, if it came out of order.
    pub fin_at: Option<SeqNum>,
}

/// What [`Reassembly::insert`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// New bytes; the contiguous range they are part of now.
    Range(SeqNum, SeqNum),
    /// All of it was there already.
    Duplicate,
    /// Too many segments are held.
    Full,
}

impl Reassembly {
    /// Nothing is held and nothing owed.
    pub fn is_idle(&self) -> bool {
        self.segs.is_empty() && self.sack.is_empty() && self.fin_at.is_none()
    }

    pub fn frames(&self) -> usize {
        self.segs.iter().map(|s| s.chunk.frames()).sum()
    }

    /// Keeps what is new of `chunk`, which starts at `seq`. `most`: segments held at most.
    pub fn insert(&mut self, pool: &mut Pool, mut seq: SeqNum, mut chunk: Chunk, most: usize) -> Inserted {
        let mut at = self.segs.partition_point(|s| s.seq.at_or_before(seq)).saturating_sub(1);
        while at < self.segs.len() && self.segs[at].seq.at_or_before(seq) {
            let overlap = self.segs[at].end().since(seq) as usize;
            if overlap >= chunk.len() {
                chunk.free(pool);
                return Inserted::Duplicate;
            }
            chunk.advance(overlap);
            seq += overlap as u32;
            at += 1;
        }
        let mut end = seq + chunk.len() as u32;
        while at < self.segs.len() && self.segs[at].seq.before(end) {
            if self.segs[at].end().at_or_before(end) {
                if let Some(s) = self.segs.remove(at) {
                    s.chunk.free(pool);
                }
            } else {
                end = self.segs[at].seq;
                chunk.truncate(end.since(seq) as usize);
            }
        }
        if chunk.len() == 0 {
            chunk.free(pool);
            return Inserted::Duplicate;
        }
        if self.segs.len() >= most {
            chunk.free(pool);
            return Inserted::Full;
        }
        self.segs.insert(at, Ooo { seq, chunk });
        if self.segs.len() == at + 1 && self.run.1 == seq {
            // Behind one hole nearly all arrives in order: the range grows.
            self.run.1 = end;
            return Inserted::Range(self.run.0, end);
        }
        let (mut lo, mut hi) = (at, at);
        while lo > 0 && self.segs[lo - 1].end() == self.segs[lo].seq {
            lo -= 1;
        }
        while hi + 1 < self.segs.len() && self.segs[hi].end() == self.segs[hi + 1].seq {
            hi += 1;
        }
        self.run = (self.segs[lo].seq, self.segs[hi].end());
        Inserted::Range(self.run.0, self.run.1)
    }

    /// The next chunk that starts at or before `rcv_nxt`, cut to what is new.
    pub fn pop_ready(&mut self, pool: &mut Pool, rcv_nxt: SeqNum) -> Option<Chunk> {
        loop {
            if self.segs.front()?.seq.after(rcv_nxt) {
                return None;
            }
            let mut s = self.segs.pop_front()?;
            s.chunk.advance(rcv_nxt.since(s.seq) as usize);
            if s.chunk.len() > 0 {
                return Some(s.chunk);
            }
            s.chunk.free(pool);
        }
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        for s in self.segs.drain(..) {
            s.chunk.free(pool);
        }
        self.fin_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use linerate_frame::Region;

    /// Byte at stream offset i is i: any mix of overlapping segments must give the stream back.
    #[test]
    fn any_overlap_reassembles() {
        let mut x = 1u64;
        let mut rand = move |n: u32| {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((x >> 33) as u32) % n
        };
        for seed in 0..300u32 {
            let mut pool = Pool::new(Region::heap(64, 512));
            let mut r = Reassembly::default();
            let base = SeqNum(u32::MAX - 100 - seed);
            let mut have = vec![false; 256];
            for _ in 0..40 {
                let from = rand(250);
                let len = 1 + rand(60).min(255 - from);
                let mut f = pool.alloc().unwrap();
                let b = pool.writable(&mut f).unwrap();
                (0..len).for_each(|i| b[(128 + i) as usize] = (from + i) as u8);
                pool.set_range(&mut f, 128, len as usize);
                let was = have[from as usize..(from + len) as usize].iter().all(|h| *h);
                have[from as usize..(from + len) as usize].fill(true);
                match r.insert(&mut pool, base + from, Chunk::Frame(f), 64) {
                    Inserted::Duplicate => assert!(was),
                    Inserted::Range(a, b) => {
                        assert!(!was);
                        let (a, b) = (a.since(base) as usize, b.since(base) as usize);
                        assert!(a <= from as usize && have[a..b].iter().all(|h| *h));
                        assert!(b == 256 || !have[b], "range ends at a hole");
                    }
                    Inserted::Full => unreachable!(),
                }
            }
            let mut at = 0;
            while at < 256 {
                if !have[at] {
                    at += 1;
                    continue;
                }
                let c = r.pop_ready(&mut pool, base + at as u32).expect("bytes were inserted");
                for byte in c.bytes(&pool) {
                    assert_eq!(*byte, at as u8);
                    assert!(have[at]);
                    at += 1;
                }
                c.free(&mut pool);
            }
            assert!(r.is_idle() && pool.ledger().is_home());
        }
    }
}
