//! RACK: a segment is lost when one sent sufficiently later was delivered. RFC 8985 section 6.

use crate::seq::SeqNum;
use crate::snd::{EVER_RETRANS, LOST, RETRANS, SACKED, SendQueue, TxSeg};
use crate::time::Instant;

/// RACK's memory: RFC 8985 section 5.2.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rack {
    /// RACK.xmit_ts: when the latest delivered segment was sent.
    pub xmit_ts: Instant,
    /// RACK.end_seq of that segment.
    pub end_seq: SeqNum,
    /// RACK.rtt of it, ns.
    pub rtt: u64,
    /// Highest sequence delivered: RACK.fack.
    pub fack: SeqNum,
    /// RACK.reordering_seen
    pub reordering_seen: bool,
    /// RACK.reo_wnd_mult, grown by D-SACKs (step 4).
    pub reo_wnd_mult: u8,
    /// TLP.end_seq: a probe is out until this is acknowledged.
    pub tlp_end: Option<SeqNum>,
}

impl Rack {
    /// Steps 1 to 3 for a segment that was just delivered (acked or SACKed).
    //= RFC 8985 section 6.2
    pub fn delivered(&mut self, seg: &TxSeg, now: Instant, min_rtt: u64) {
        let rtt = now.since(seg.sent_at);
        if seg.has(EVER_RETRANS) && rtt < min_rtt {
            // Step 2: the ACK is of the original, not of the retransmission.
            return;
        }
        let end = seg.end();
        if end.before(self.fack) && !seg.has(EVER_RETRANS) {
            self.reordering_seen = true;
        }
        self.fack = self.fack.max(end);
        if sent_after(seg.sent_at, end, self.xmit_ts, self.end_seq) {
            self.xmit_ts = seg.sent_at;
            self.end_seq = end;
            self.rtt = rtt;
        }
    }

    /// Step 4: the reordering window in ns.
    //= RFC 8985 section 6.2
    pub fn reo_wnd(&self, min_rtt: u64, srtt: u64, in_recovery: bool, sacked_segs: u32) -> u64 {
        if !self.reordering_seen && (in_recovery || sacked_segs >= crate::limits::DUP_THRESH) {
            return 0;
        }
        let min_rtt = if min_rtt == u64::MAX { 0 } else { min_rtt };
        (self.reo_wnd_mult.max(1) as u64 * (min_rtt / 4)).min(srtt)
    }

    /// Step 5: marks what is lost; returns the time after which the rest would be (ns from now), if any rest.
    //= RFC 8985 section 6.2
    pub fn detect_loss(&self, snd: &mut SendQueue, now: Instant, reo_wnd: u64) -> Option<u64> {
        let mut wait: Option<u64> = None;
        for i in 0..snd.unsent {
            let s = &snd.segs[i];
            if s.has(SACKED) || (s.has(LOST) && !s.has(RETRANS)) {
                continue;
            }
            if !sent_after(self.xmit_ts, self.end_seq, s.sent_at, s.end()) {
                // Never-retransmitted segments stand in the order they were sent: nothing older follows.
                if !s.has(EVER_RETRANS) && s.seq.after(self.end_seq) {
                    break;
                }
                continue;
            }
            let deadline = s.sent_at + self.rtt + reo_wnd;
            if deadline <= now {
                snd.mark(i, LOST, RETRANS);
            } else {
                let left = deadline.since(now);
                wait = Some(wait.map_or(left, |w| w.max(left)));
            }
        }
        wait
    }
}

/// RACK_sent_after(): later in time, or the same and later in sequence.
fn sent_after(t1: Instant, seq1: SeqNum, t2: Instant, seq2: SeqNum) -> bool {
    t1 > t2 || (t1 == t2 && seq1.after(seq2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;
    use linerate_frame::{Pool, Region};

    fn five_segments() -> (Pool, SendQueue) {
        let mut pool = Pool::new(Region::heap(8, 2048));
        let mut q = SendQueue::new(SeqNum(0));
        q.write(&mut pool, &[0; 500], 100);
        for i in 0..5 {
            q.sent_next(Instant(i * MS));
        }
        (pool, q)
    }

    #[test]
    fn what_was_sent_before_a_delivered_one_is_lost_after_the_reordering_window() {
        let (_pool, mut q) = five_segments();
        let mut r = Rack::default();
        let now = Instant(20 * MS);
        r.delivered(&q.segs[2], now, 10 * MS);
        q.mark(2, SACKED, 0);
        assert_eq!(r.rtt, 18 * MS);
        let reo = r.reo_wnd(10 * MS, 18 * MS, false, 1);
        assert_eq!(reo, 2_500_000);
        // Segment 0 (sent at 0) is due at 20.5 ms, segment 1 at 21.5 ms.
        assert_eq!(r.detect_loss(&mut q, now, reo), Some(1_500_000));
        assert_eq!(q.lost_unsent, 0);
        assert_eq!(r.detect_loss(&mut q, Instant(21 * MS), reo), Some(500_000));
        assert_eq!(q.lost_unsent, 1);
        assert_eq!(r.detect_loss(&mut q, Instant(22 * MS), reo), None);
        assert_eq!((q.lost_unsent, q.pipe), (2, 200));
    }

    #[test]
    fn three_sacked_without_reordering_need_no_wait() {
        let r = Rack::default();
        assert_eq!(r.reo_wnd(10 * MS, 10 * MS, false, 3), 0);
        assert_eq!(r.reo_wnd(10 * MS, 10 * MS, true, 0), 0);
        let seen = Rack { reordering_seen: true, ..r };
        assert_eq!(seen.reo_wnd(10 * MS, 10 * MS, true, 3), 2_500_000);
    }

    #[test]
    fn a_lost_retransmission_is_found() {
        let (_pool, mut q) = five_segments();
        let mut r = Rack::default();
        r.delivered(&q.segs[4], Instant(14 * MS), 10 * MS);
        q.mark(4, SACKED, 0);
        r.detect_loss(&mut q, Instant(14 * MS), 0);
        assert_eq!(q.lost_unsent, 4);
        q.resent(0, Instant(15 * MS));
        q.resent(1, Instant(16 * MS));
        assert_eq!(q.pipe, 200);
        // The second retransmission arrives, the first did not.
        r.delivered(&q.segs[1], Instant(27 * MS), 10 * MS);
        q.mark(1, SACKED, 0);
        r.detect_loss(&mut q, Instant(27 * MS), 0);
        assert!(q.segs[0].has(LOST) && !q.segs[0].has(RETRANS));
        assert_eq!(q.pipe, 0);
    }

    #[test]
    fn an_ack_of_the_original_says_nothing_of_the_retransmission() {
        let (_pool, mut q) = five_segments();
        q.resent(0, Instant(50 * MS));
        let mut r = Rack::default();
        r.delivered(&q.segs[0], Instant(51 * MS), 10 * MS);
        assert_eq!(r.rtt, 0, "1 ms is less than the smallest RTT ever seen");
    }
}
