//! RACK: a segment is lost when one sent sufficiently later was delivered. RFC 8985 section 6.

use crate::limits::REO_WND_PERSIST;
use crate::seq::SeqNum;
use crate::snd::{EVER_RETRANS, LOST, RETRANS, SACKED, SendQueue, TxSeg};
use crate::time::Instant;
use crate::tlp::Tlp;

/// RACK's memory: RFC 8985 section 5.2. That of its tail loss probe is in `tlp.rs`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rack {
    /// RACK.xmit_ts: when the latest delivered segment was sent.
    pub xmit_ts: Instant,
    /// RACK.rtt of the segment delivered last, us, rounded up.
    rtt_us: u32,
    /// RACK.end_seq: the end of the segment sent at `xmit_ts`.
    pub end_seq: SeqNum,
    /// Highest sequence delivered: RACK.fack.
    pub fack: SeqNum,
    /// RACK.dsack_round, if `reo_wnd_persist` says that there was one: until here the window does not grow again.
    dsack_round: SeqNum,
    /// TLP.end_seq, SND.NXT when the probe left: counts while one is out.
    pub tlp_end: SeqNum,
    /// RACK.reordering_seen
    pub reordering_seen: bool,
    /// RACK.reo_wnd_mult, grown by D-SACKs (step 4); 0 is 1.
    pub reo_wnd_mult: u8,
    /// RACK.reo_wnd_persist: recoveries after which it is 1 again.
    reo_wnd_persist: u8,
    /// Tail loss probe.
    pub tlp: Tlp,
}

/// What the timestamps of the acknowledgment in hand say of retransmissions.
#[derive(Clone, Copy)]
pub(crate) struct Echo {
    /// SEG.TSecr, if timestamps are on and the segment in question was acknowledged cumulatively. (What is SACKed beyond
    /// a hole is echoed with the timestamp from before the hole, RFC 7323 section 4.3, which tells nothing of it.)
    pub tsecr: Option<u32>,
    /// TSval of time 0.
    pub offset: u32,
}

impl Echo {
    /// Was this acknowledged by something that was sent before `t`?
    fn is_before(&self, t: Instant) -> bool {
        let tsval = crate::tcb::ts_clock(t).wrapping_add(self.offset);
        self.tsecr.is_some_and(|tsecr| (tsecr.wrapping_sub(tsval) as i32) < 0)
    }
}

impl Rack {
    /// Of a connection whose sequence numbers begin at `iss`: what is before and after is known only from there.
    pub fn new(iss: SeqNum) -> Self {
        Self { fack: iss, end_seq: iss, ..Self::default() }
    }

    /// RACK.rtt, ns.
    fn rtt(&self) -> u64 {
        self.rtt_us as u64 * 1000
    }

    /// Steps 2 and 3 for a segment that was just delivered (acked or SACKed). Returns whether it showed reordering.
    #[inline]
    pub fn delivered(&mut self, seg: &TxSeg, now: Instant, min_rtt: u64, echo: Echo) -> bool {
        let (end, retransmitted) = (seg.end(), seg.has(EVER_RETRANS));
        //= RFC 8985 section 6.2
        let reordered = end.before(self.fack) && !retransmitted;
        self.reordering_seen |= reordered;
        self.fack = self.fack.max(end);
        let rtt = now.since(seg.sent_at);
        if retransmitted && (rtt < min_rtt || echo.is_before(seg.sent_at)) {
            // Step 2: the ACK is of the original, not of the retransmission.
            return reordered;
        }
        self.rtt_us = rtt.div_ceil(1000).min(u32::MAX as u64) as u32;
        if sent_after(seg.sent_at, end, self.xmit_ts, self.end_seq) {
            self.xmit_ts = seg.sent_at;
            self.end_seq = end;
        }
        reordered
    }

    /// Step 4: a D-SACK says that a retransmission was spurious: the window grows, once a round.
    pub fn on_dsack(&mut self, una: SeqNum, nxt: SeqNum) {
        if self.reo_wnd_persist > 0 && una.before(self.dsack_round) {
            return;
        }
        self.dsack_round = nxt;
        self.reo_wnd_mult = self.reo_wnd_mult.max(1).saturating_add(1);
        self.reo_wnd_persist = REO_WND_PERSIST;
    }

    /// Step 4: a recovery is over.
    pub fn on_recovered(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
        }
    }

    /// Step 4: the reordering window in ns.
    //= RFC 8985 section 6.2
    pub fn reo_wnd(&self, min_rtt: u64, srtt: u64, in_recovery: bool, sacked_segs: u32) -> u64 {
        //= RFC 8985 section 6.2
        if !self.reordering_seen && (in_recovery || sacked_segs >= crate::limits::DUP_THRESH) {
            return 0;
        }
        let min_rtt = if min_rtt == u64::MAX { 0 } else { min_rtt };
        (self.reo_wnd_mult.max(1) as u64 * (min_rtt / 4)).min(srtt)
    }

    /// RFC 8985 section 6.3: of what is outstanding when the retransmission timer expires, this is lost.
    pub fn is_late(&self, seg: &TxSeg, now: Instant, reo_wnd: u64) -> bool {
        seg.sent_at + self.rtt() + reo_wnd <= now
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
            //= RFC 8985 section 6.2
            let deadline = s.sent_at + self.rtt() + reo_wnd;
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

    const NO_ECHO: Echo = Echo { tsecr: None, offset: 0 };

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
        r.delivered(&q.segs[2], now, 10 * MS, NO_ECHO);
        q.mark(2, SACKED, 0);
        assert_eq!(r.rtt(), 18 * MS);
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
        r.delivered(&q.segs[4], Instant(14 * MS), 10 * MS, NO_ECHO);
        q.mark(4, SACKED, 0);
        r.detect_loss(&mut q, Instant(14 * MS), 0);
        assert_eq!(q.lost_unsent, 4);
        q.resent(0, Instant(15 * MS));
        q.resent(1, Instant(16 * MS));
        assert_eq!(q.pipe, 200);
        // The second retransmission arrives, the first did not.
        r.delivered(&q.segs[1], Instant(27 * MS), 10 * MS, NO_ECHO);
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
        r.delivered(&q.segs[0], Instant(51 * MS), 10 * MS, NO_ECHO);
        assert_eq!(r.rtt(), 0, "1 ms is less than the smallest RTT ever seen");
    }

    /// Step 2, the other guard: the echoed timestamp is older than the retransmission.
    //= RFC 8985 section 6.2
    #[test]
    fn a_timestamp_from_before_the_retransmission_is_of_the_original() {
        let (_pool, mut q) = five_segments();
        q.resent(0, Instant(50 * MS));
        for (tsecr, rtt) in [(1000, 0), (1049, 0), (1050, 20 * MS), (1060, 20 * MS)] {
            let mut r = Rack::default();
            let echo = Echo { tsecr: Some(tsecr), offset: 1000 };
            r.delivered(&q.segs[0], Instant(70 * MS), 10 * MS, echo);
            assert_eq!(r.rtt(), rtt, "TSecr {tsecr}");
        }
    }

    /// Step 3: below RACK.fack and never sent twice is reordering; a retransmission is not.
    //= RFC 8985 section 6.2
    #[test]
    fn reordering_is_what_arrives_below_fack_and_was_sent_once() {
        let (_pool, mut q) = five_segments();
        q.resent(1, Instant(8 * MS));
        let mut r = Rack::default();
        let now = Instant(30 * MS);
        assert!(!r.delivered(&q.segs[3], now, MS, NO_ECHO));
        assert!(!r.delivered(&q.segs[1], now, MS, NO_ECHO) && !r.reordering_seen);
        assert!(r.delivered(&q.segs[2], now, MS, NO_ECHO) && r.reordering_seen);
    }

    /// Step 4: + min RTT / 4 for each round with a D-SACK, at most SRTT, and 16 recoveries later back to one.
    //= RFC 8985 section 6.2
    #[test]
    fn dsacks_widen_the_window_for_sixteen_recoveries() {
        let mut r = Rack { reordering_seen: true, ..Rack::default() };
        let wnd = |r: &Rack| r.reo_wnd(8 * MS, 9 * MS, true, 0) / MS;
        assert_eq!(wnd(&r), 2);
        r.on_dsack(SeqNum(0), SeqNum(1000));
        r.on_dsack(SeqNum(999), SeqNum(2000));
        assert_eq!(wnd(&r), 4, "once a round");
        r.on_dsack(SeqNum(1000), SeqNum(2000));
        assert_eq!(wnd(&r), 6);
        for _ in 0..15 {
            r.on_recovered();
        }
        assert_eq!(wnd(&r), 6);
        r.on_dsack(SeqNum(2000), SeqNum(3000));
        r.on_dsack(SeqNum(3000), SeqNum(4000));
        assert_eq!(wnd(&r), 9, "not more than SRTT");
        for _ in 0..16 {
            assert_eq!(wnd(&r), 9);
            r.on_recovered();
        }
        assert_eq!(wnd(&r), 2);
    }

    //= RFC 8985 section 6.3
    #[test]
    fn what_was_sent_just_before_the_timeout_is_not_lost_yet() {
        let (_pool, q) = five_segments();
        let r = Rack { rtt_us: 10_000, ..Rack::default() };
        let late: u32 = q.segs.iter().map(|s| r.is_late(s, Instant(14 * MS), 2 * MS) as u32).sum();
        assert_eq!(late, 3, "sent at 0, 1 and 2 ms");
    }
}
