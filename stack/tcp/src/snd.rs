//! The send queue: SND.UNA to the last byte written, one entry a frame, one frame a segment.
//!
//! ```text
//!   acked │ sent, not acked (retransmission queue) │ written, not sent │ room
//!         ▲                                        ▲                   ▲
//!      SND.UNA = segs[0].seq                segs[unsent].seq          end
//! ```
//! Bytes are copied once, by [`SendQueue::write`], into the frame that will leave, and summed in the same pass. A
//! frame stays until it is acknowledged, so retransmission needs no second buffer.

use alloc::boxed::Box;

use linerate_frame::{Frame, Pool};
use linerate_wire::checksum::{self, Sum};

use crate::pacing::Paced;
use crate::queue::Queue;
use crate::seq::SeqNum;
use crate::time::Instant;

/// Selectively acknowledged: RFC 2018.
pub(crate) const SACKED: u8 = 1;
/// Held to be lost: RFC 8985 or the retransmission timer.
pub(crate) const LOST: u8 = 2;
/// Sent again since it was held to be lost.
pub(crate) const RETRANS: u8 = 4;
/// Was sent more than once: no RTT sample from it (Karn).
pub(crate) const EVER_RETRANS: u8 = 8;
/// Last of a write: carries PSH (RFC 9293 MUST-61).
pub(crate) const PSH: u8 = 16;

/// One segment's payload.
#[derive(Debug)]
pub(crate) struct TxSeg {
    pub frame: Frame,
    pub seq: SeqNum,
    pub sum: Sum,
    pub sent_at: Instant,
    pub flags: u8,
}

impl TxSeg {
    pub fn len(&self) -> u32 {
        self.frame.len() as u32
    }

    pub fn end(&self) -> SeqNum {
        self.seq + self.len()
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Does it count as in flight? RFC 6675's pipe: sent, not SACKed, and not lost unless sent again.
    fn piped(&self) -> bool {
        !self.has(SACKED) && (!self.has(LOST) || self.has(RETRANS))
    }

    fn lost_unsent(&self) -> bool {
        self.has(LOST) && !self.has(RETRANS) && !self.has(SACKED)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SendQueue {
    pub segs: Queue<TxSeg>,
    /// Index of the first segment never sent.
    pub unsent: usize,
    /// Sequence number after the last byte written.
    pub end: SeqNum,
    /// Bytes in flight.
    pub pipe: u32,
    /// Segments held to be lost and not sent again yet.
    pub lost_unsent: u32,
    /// Segments that are SACKed.
    pub sacked: u32,
    /// Pacing, and what delivery rate samples need, for those who use them.
    pub paced: Option<Box<Paced>>,
}

impl SendQueue {
    pub fn new(first: SeqNum) -> Self {
        Self {
            segs: Queue::default(),
            unsent: 0,
            end: first,
            pipe: 0,
            lost_unsent: 0,
            sacked: 0,
            paced: None,
        }
    }

    /// Bytes in the queue.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.segs.front().map_or(0, |s| self.end.since(s.seq))
    }

    /// Copies as much of `data` as the pool allows. Returns how much.
    pub fn write(&mut self, pool: &mut Pool, data: &[u8], mss: u32) -> usize {
        let mut rest = data;
        while !rest.is_empty() {
            // A frame that was never sent may still grow: small writes of a turn leave together.
            let may_grow = self.segs.len() > self.unsent;
            let n = match self.segs.back_mut() {
                Some(seg) if may_grow && seg.len() < mss => append(pool, seg, rest, mss),
                _ => 0,
            };
            let n = if n > 0 {
                n
            } else {
                let Some(frame) = pool.alloc() else { break };
                let seg = TxSeg { frame, seq: self.end, sum: Sum::default(), sent_at: Instant(0), flags: 0 };
                self.segs.push_back(seg);
                append(pool, self.segs.back_mut().expect("just pushed"), rest, mss)
            };
            self.end += n as u32;
            rest = &rest[n..];
        }
        let taken = data.len() - rest.len();
        if taken > 0 {
            // The end of a write is pushed (MUST-61). One that later bytes are appended to is an end no more: SHLD-27
            // asks to collapse them.
            //= RFC 9293 section 3.9.1.2, SHLD-27, SHLD-28
            //= RFC 9293 section 3.9.1.2, MUST-61
            self.segs.back_mut().expect("bytes were written").flags |= PSH;
        }
        taken
    }

    /// Takes a frame whose range is payload, with room for headers in front of it: no copy, one pass to sum it.
    pub fn push_frame(&mut self, pool: &Pool, frame: Frame) {
        let len = frame.len() as u32;
        let sum = checksum::sum(pool.bytes(&frame));
        self.segs.push_back(TxSeg { frame, seq: self.end, sum, sent_at: Instant(0), flags: PSH });
        self.end += len;
    }

    /// The one segment sent was a window probe that the peer did not take: it is to be sent anew, together with what
    /// stands behind it.
    pub fn take_back(&mut self, pool: &mut Pool, mss: u32) {
        debug_assert_eq!(self.unsent, 1);
        let len = self.segs[0].len();
        let rest = self.segs.get(1).map(|n| (pool.bytes(&n.frame).to_vec(), n.flags));
        self.mark(0, EVER_RETRANS, LOST | RETRANS | SACKED);
        self.pipe -= len;
        self.unsent = 0;
        if let Some(Paced { rate: Some(rate), .. }) = self.paced.as_deref_mut() {
            rate.on_unsent();
        }
        let Some((bytes, flags)) = rest else { return };
        // A probe whose transmission is not complete can't grow: it leaves by itself.
        if len + bytes.len() as u32 <= mss && append(pool, &mut self.segs[0], &bytes, mss) == bytes.len() {
            self.segs[0].flags |= flags & PSH;
            let Some(grown) = self.segs.pop_front() else { return };
            let Some(next) = self.segs.front_mut() else { return };
            pool.free(core::mem::replace(next, grown).frame);
        }
    }

    /// The first index whose segment ends after `seq`, among those sent.
    pub fn index_after(&self, seq: SeqNum) -> usize {
        let (mut lo, mut hi) = (0, self.unsent);
        while lo < hi {
            let mid = (lo + hi) / 2;
            if self.segs[mid].end().at_or_before(seq) {
                lo = mid + 1;
            } else {
                hi = mid;
            }
        }
        lo
    }

    /// Changes the flags of a sent segment and keeps the counts.
    pub fn mark(&mut self, i: usize, set: u8, clear: u8) {
        let seg = &mut self.segs[i];
        let (piped, lost, sacked) = (seg.piped(), seg.lost_unsent(), seg.has(SACKED));
        seg.flags = (seg.flags & !clear) | set;
        match (piped, seg.piped()) {
            (true, false) => self.pipe -= seg.len(),
            (false, true) => self.pipe += seg.len(),
            _ => {}
        }
        self.lost_unsent = self.lost_unsent + seg.lost_unsent() as u32 - lost as u32;
        self.sacked = self.sacked + seg.has(SACKED) as u32 - sacked as u32;
        if let Some(Paced { rate: Some(rate), .. }) = self.paced.as_deref_mut() {
            if !sacked && seg.has(SACKED) {
                rate.on_sacked(i, seg.sent_at, seg.end(), seg.len());
            }
            if !lost && seg.lost_unsent() {
                rate.on_lost(i, seg.len());
            }
        }
    }

    /// The first unsent segment has left.
    pub fn sent_next(&mut self, now: Instant) {
        let seg = &mut self.segs[self.unsent];
        seg.sent_at = now;
        if let Some(p) = &mut self.paced {
            p.on_sent(None, seg.len(), self.pipe, now);
        }
        self.pipe += seg.len();
        self.unsent += 1;
    }

    /// A sent segment left again.
    pub fn resent(&mut self, i: usize, now: Instant) {
        if let Some(p) = &mut self.paced {
            p.on_sent(Some(i), self.segs[i].len(), self.pipe, now);
        }
        self.mark(i, RETRANS | EVER_RETRANS, 0);
        self.segs[i].sent_at = now;
    }

    /// Index of the first segment that is lost and was not sent again.
    pub fn first_lost(&self) -> Option<usize> {
        if self.lost_unsent == 0 {
            return None;
        }
        self.segs.iter().take(self.unsent).position(TxSeg::lost_unsent)
    }

    /// Takes the first segment out if `ack` covers it whole; trims it if `ack` covers a part.
    pub fn pop_acked(&mut self, pool: &mut Pool, ack: SeqNum) -> Option<TxSeg> {
        // What is not sent can be acknowledged only where a window probe was taken back.
        let sent = self.unsent > 0;
        let first = self.segs.front_mut()?;
        if first.end().at_or_before(ack) {
            let seg = self.segs.pop_front()?;
            self.unsent -= sent as usize;
            self.pipe -= if sent && seg.piped() { seg.len() } else { 0 };
            self.lost_unsent -= seg.lost_unsent() as u32;
            self.sacked -= seg.has(SACKED) as u32;
            if let (true, Some(Paced { rate: Some(rate), .. })) = (sent, self.paced.as_deref_mut()) {
                rate.on_popped(seg.sent_at, seg.end(), seg.len(), seg.has(SACKED));
            }
            return Some(seg);
        }
        let n = ack.since(first.seq);
        if n > 0 {
            if let Some(Paced { rate: Some(rate), .. }) = self.paced.as_deref_mut() {
                rate.on_trimmed(n);
            }
            self.pipe -= if sent && first.piped() { n } else { 0 };
            first.frame.advance(n as usize);
            first.seq += n;
            first.sum = checksum::sum(pool.bytes(&first.frame));
        }
        None
    }

    /// Makes the first unsent segment `len` bytes long with bytes of those behind it: in a frame of its own, for one
    /// probe of the path (RFC 4821). `false`: too few bytes, or no frame.
    pub fn join(&mut self, pool: &mut Pool, len: u32) -> bool {
        let first = self.segs.get(self.unsent).map_or(self.end, |s| s.seq);
        if self.end.since(first) < len || len as usize > pool.payload_bytes() || len == 0 {
            return false;
        }
        let Some(mut frame) = pool.alloc() else { return false };
        let start = frame.start();
        pool.set_range(&mut frame, start, len as usize);
        let Some(to) = pool.writable(&mut frame) else { unreachable!("a fresh frame is not transmitting") };
        let mut at = start;
        for seg in self.segs.iter().skip(self.unsent) {
            let n = (seg.len() as usize).min(start + len as usize - at);
            to[at..at + n].copy_from_slice(&pool.bytes(&seg.frame)[..n]);
            at += n;
        }
        let sum = checksum::sum(&to[start..start + len as usize]);
        let flags = self.drop_unsent(pool, len);
        self.segs.insert(self.unsent, TxSeg { frame, seq: first, sum, sent_at: Instant(0), flags });
        true
    }

    /// Takes the first `len` unsent bytes out. Returns the flags of their last segment if that went whole.
    fn drop_unsent(&mut self, pool: &mut Pool, len: u32) -> u8 {
        let (mut left, mut flags) = (len, 0);
        while left > 0 {
            let seg = &mut self.segs[self.unsent];
            if seg.len() > left {
                seg.frame.advance(left as usize);
                seg.seq += left;
                seg.sum = checksum::sum(pool.bytes(&seg.frame));
                return 0;
            }
            left -= seg.len();
            flags = seg.flags & PSH;
            if let Some(seg) = self.segs.remove(self.unsent) {
                pool.free(seg.frame);
            }
        }
        flags
    }

    /// Cuts segment `i` after `n` bytes: the tail moves into a frame of its own (a copy: the headers of a segment
    /// stand in front of its payload, so one frame can't carry two). `false`: no frame for it now.
    pub fn split(&mut self, pool: &mut Pool, i: usize, n: u32) -> bool {
        let seg = &mut self.segs[i];
        debug_assert!(n > 0 && n < seg.len());
        let Some(mut tail) = pool.alloc() else { return false };
        let (start, len) = (tail.start(), (seg.len() - n) as usize);
        pool.set_range(&mut tail, start, len);
        let Some(to) = pool.writable(&mut tail) else { unreachable!("a fresh frame is not transmitting") };
        let sum = checksum::copy_and_sum(&mut to[start..start + len], &pool.bytes(&seg.frame)[n as usize..]);
        let new = TxSeg { frame: tail, seq: seg.seq + n, sum, sent_at: seg.sent_at, flags: seg.flags };
        seg.frame.truncate(n as usize);
        seg.sum = checksum::sum(pool.bytes(&seg.frame));
        seg.flags &= !PSH;
        if new.has(SACKED) {
            self.sacked += 1;
        }
        if i < self.unsent {
            self.unsent += 1;
            self.lost_unsent += new.lost_unsent() as u32;
            if let Some(Paced { rate: Some(rate), .. }) = self.paced.as_deref_mut() {
                rate.on_split(i);
            }
        }
        self.segs.insert(i + 1, new);
        true
    }

    /// Everything home.
    pub fn clear(&mut self, pool: &mut Pool) {
        while let Some(seg) = self.segs.pop_front() {
            pool.free(seg.frame);
        }
        *self = Self::new(self.end);
    }
}

/// Appends bytes to a segment that was never sent, up to `mss` and the chunk's end.
fn append(pool: &Pool, seg: &mut TxSeg, data: &[u8], mss: u32) -> usize {
    let (start, len) = (seg.frame.start(), seg.frame.len());
    let room = (mss as usize).min(pool.payload_bytes()) - len;
    let n = data.len().min(room);
    if n == 0 {
        return 0;
    }
    let Some(chunk) = pool.writable(&mut seg.frame) else { return 0 };
    let sum = checksum::copy_and_sum(&mut chunk[start + len..start + len + n], &data[..n]);
    seg.sum = checksum::combine(seg.sum, sum, len % 2 == 1);
    pool.set_range(&mut seg.frame, start, len + n);
    seg.flags &= !PSH;
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use linerate_frame::Region;

    fn queue() -> (Pool, SendQueue) {
        (Pool::new(Region::heap(16, 2048)), SendQueue::new(SeqNum(u32::MAX - 100)))
    }

    fn content(q: &SendQueue, pool: &Pool) -> Vec<u8> {
        q.segs.iter().flat_map(|s| pool.bytes(&s.frame).to_vec()).collect()
    }

    fn check(q: &SendQueue, pool: &Pool) {
        let mut at = None;
        for s in q.segs.iter() {
            assert_eq!(checksum::sum(pool.bytes(&s.frame)).fold(), s.sum.fold(), "sum of {s:?}");
            assert!(at.is_none_or(|a| a == s.seq));
            at = Some(s.end());
        }
        assert_eq!(q.bytes(), q.segs.iter().map(TxSeg::len).sum::<u32>());
        let pipe: u32 = q.segs.iter().take(q.unsent).filter(|s| s.piped()).map(TxSeg::len).sum();
        assert_eq!(q.pipe, pipe);
    }

    #[test]
    fn small_writes_share_a_frame_and_its_sum() {
        let (mut pool, mut q) = queue();
        let all: Vec<u8> = (0..=255).collect();
        let mut rest = &all[..];
        for n in [1, 2, 3, 77, 50, 123] {
            assert_eq!(q.write(&mut pool, &rest[..n], 100), n);
            rest = &rest[n..];
        }
        assert_eq!(q.segs.len(), 3);
        assert_eq!(content(&q, &pool), all);
        check(&q, &pool);
    }

    #[test]
    fn an_empty_pool_writes_partly() {
        let (mut pool, mut q) = queue();
        assert_eq!(q.write(&mut pool, &[7; 250], 100), 250);
        let mut q2 = SendQueue::new(SeqNum(0));
        assert_eq!(q2.write(&mut pool, &[7; 100_000], 100), 1300, "13 frames were left");
        assert_eq!(pool.free_len(), 0);
        q.clear(&mut pool);
        q2.clear(&mut pool);
        assert!(pool.ledger().is_home());
    }

    #[test]
    fn joined_segments_keep_their_bytes() {
        let (mut pool, mut q) = queue();
        let all: Vec<u8> = (0..=255).collect();
        q.write(&mut pool, &all, 60);
        q.sent_next(Instant(1));
        assert!(!q.join(&mut pool, 197), "196 bytes are not sent yet");
        for len in [100, 100, 96, 196] {
            assert!(q.join(&mut pool, len));
            check(&q, &pool);
            assert_eq!((q.segs[1].len(), content(&q, &pool)), (len, all.clone()));
        }
        assert_eq!((q.segs.len(), q.segs[1].flags), (2, PSH));
        q.clear(&mut pool);
        assert!(pool.ledger().is_home());
    }

    #[test]
    fn acks_trim_and_split_keeps_bytes() {
        let (mut pool, mut q) = queue();
        let all: Vec<u8> = (0..200).collect();
        q.write(&mut pool, &all, 100);
        q.sent_next(Instant(1));
        q.sent_next(Instant(1));
        let first = q.segs[0].seq;
        assert!(q.pop_acked(&mut pool, first + 33).is_none());
        check(&q, &pool);
        assert!(q.split(&mut pool, 1, 31));
        check(&q, &pool);
        assert_eq!(content(&q, &pool), &all[33..]);
        q.mark(1, LOST, 0);
        check(&q, &pool);
        assert_eq!(q.first_lost(), Some(1));
        q.resent(1, Instant(2));
        q.mark(2, SACKED, 0);
        check(&q, &pool);
        assert_eq!((q.first_lost(), q.sacked), (None, 1));
        assert_eq!(q.index_after(first + 100), 1);
        while let Some(s) = q.pop_acked(&mut pool, first + 200) {
            pool.free(s.frame);
        }
        check(&q, &pool);
        assert!(q.segs.is_empty() && pool.ledger().is_home());
    }
}
