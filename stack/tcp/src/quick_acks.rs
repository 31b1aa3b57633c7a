//! When ACKs leave as Linux decides it (not the RFCs, which leave it open): quick ACKs while the peer starts, none
//! where data goes back anyway ("ping-pong"), a delay that follows the pace of arrivals.

use crate::limits::{DELACK_NS, MSS_DEFAULT_V4, QUICKACK_SEGS};
use crate::seq::SeqNum;
use crate::tcb::{Env, Tcb};
use crate::time::{Instant, MS};

/// TCP_ATO_MIN: the delay at least, once there is data.
const ATO_MIN_NS: u64 = DELACK_NS;
/// The delay at most (TCP_DELACK_MAX), and if segments are not pushed (HZ / 2).
const ATO_MAX_NS: u64 = 200 * MS;
const ATO_MAX_UNPUSHED_NS: u64 = 500 * MS;
/// TCP_MIN_MSS: what the peer's segments are taken for at least.
const RCV_MSS_MIN: u32 = 88;

/// What Linux keeps for it (`icsk_ack`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuickAcks {
    /// Segments that are still acknowledged at once.
    quick: u32,
    /// Data goes back: ACKs can ride on it.
    pub pingpong: bool,
    /// Small segments came: a reader that has drained the buffer acknowledges.
    pushed: u8,
    /// The delay; 0: no data came yet.
    ato_ns: u64,
    /// When data last came.
    last_data: Instant,
    /// The peer's full segment, by observation.
    pub rcv_mss: u32,
    last_len: u32,
    /// End of the last segment sent that was not full (Minshall's variant of Nagle's algorithm).
    pub snd_sml: SeqNum,
}

impl QuickAcks {
    pub fn new(iss: SeqNum) -> Self {
        Self {
            quick: 0,
            pingpong: false,
            pushed: 0,
            ato_ns: 0,
            last_data: Instant(0),
            rcv_mss: MSS_DEFAULT_V4.into(),
            last_len: 0,
            snd_sml: iss,
        }
    }

    /// tcp_incr_quickack
    fn more_quick(&mut self, rcv_wnd: u32) {
        let n = (rcv_wnd / (2 * self.rcv_mss)).max(2).min(QUICKACK_SEGS.into());
        self.quick = self.quick.max(n);
    }

    /// tcp_enter_quickack_mode: the peer seems to have lost something.
    fn enter(&mut self, rcv_wnd: u32) {
        self.more_quick(rcv_wnd);
        self.pingpong = false;
        self.ato_ns = ATO_MIN_NS;
    }

    /// tcp_measure_rcv_mss
    fn measure(&mut self, len: u32, advmss: u32) {
        if len >= self.rcv_mss {
            self.rcv_mss = len.min(advmss).max(RCV_MSS_MIN);
            self.last_len = len;
            return;
        }
        if len >= MSS_DEFAULT_V4.into() {
            // Smaller, but twice the same: it may be what the path carries.
            if len == self.last_len {
                self.rcv_mss = len;
                return;
            }
            self.last_len = len;
        }
        self.pushed = (self.pushed + 1).min(2);
    }

    /// tcp_event_data_recv
    fn data_in(&mut self, len: u32, advmss: u32, rcv_wnd: u32, rto_ns: u64, now: Instant) {
        self.measure(len, advmss);
        let since = now.since(self.last_data);
        if self.ato_ns == 0 {
            self.more_quick(rcv_wnd);
            self.ato_ns = ATO_MIN_NS;
        } else if since <= ATO_MIN_NS / 2 {
            self.ato_ns = self.ato_ns / 2 + ATO_MIN_NS / 2;
        } else if since < self.ato_ns {
            self.ato_ns = (self.ato_ns / 2 + since).min(rto_ns);
        } else if since > rto_ns {
            self.more_quick(rcv_wnd);
        }
        self.last_data = now;
    }

    /// Payload leaves.
    pub fn data_out(&mut self, now: Instant) {
        self.pingpong |= now.since(self.last_data) < self.ato_ns;
    }

    /// tcp_event_ack_sent, of an ACK that was due.
    pub fn ack_out(&mut self) {
        self.quick = self.quick.saturating_sub(1);
        self.pushed = 0;
        if self.quick == 0 && self.ato_ns > 0 {
            self.ato_ns = ATO_MIN_NS;
        }
    }

    /// tcp_delack_timer: the delay was for nothing, or the peer's answer did not come.
    pub fn timer(&mut self, rto_ns: u64) {
        if self.pingpong {
            self.pingpong = false;
            self.ato_ns = ATO_MIN_NS;
        } else {
            self.ato_ns = (self.ato_ns * 2).min(rto_ns);
        }
    }

    /// tcp_send_delayed_ack
    fn delay(&self, srtt_ns: u64) -> u64 {
        let most = if self.pingpong || self.pushed > 0 { ATO_MAX_NS } else { ATO_MAX_UNPUSHED_NS };
        let most = if srtt_ns > 0 { most.min(srtt_ns.max(ATO_MIN_NS)) } else { most };
        self.ato_ns.min(most).min(ATO_MAX_NS)
    }

    fn is_quick(&self) -> bool {
        self.quick > 0 && !self.pingpong
    }
}

impl Tcb {
    pub(crate) fn quick_acks(&mut self) -> Option<&mut QuickAcks> {
        self.stats.as_deref_mut()?.acks.as_mut()
    }

    /// Text of `len` bytes came in order: decides as Linux, if that is asked for. `true`: it is decided.
    pub(crate) fn decide_ack_as_linux(&mut self, len: u32, env: &Env) -> bool {
        let (wnd, rto, srtt) = (self.rcv_wnd(), self.rtt.rto(), self.rtt.srtt());
        let (advmss, unacked) = (self.local_mss.into(), self.rcv_nxt.since(self.last_ack_sent));
        let Some(q) = self.quick_acks() else { return false };
        q.data_in(len, advmss, wnd, rto, env.now);
        let (now, at) = (unacked > q.rcv_mss || q.is_quick(), env.now + q.delay(srtt));
        self.ack_now |= now;
        self.ack_at = self.ack_at.min(at);
        true
    }

    /// The peer's FIN came: where nothing is to be said at once its ACK may wait for ours. `true`: it is decided.
    pub(crate) fn decide_fin_ack_as_linux(&mut self, env: &Env) -> bool {
        let (srtt, unacked) = (self.rtt.srtt(), self.rcv_nxt.since(self.last_ack_sent));
        let Some(q) = self.quick_acks() else { return false };
        q.pingpong = true;
        let (now, at) = (unacked > q.rcv_mss, env.now + q.delay(srtt));
        self.ack_now = now;
        self.ack_at = self.ack_at.min(at);
        true
    }

    /// Text came twice, or outside the window: the peer repeats itself.
    pub(crate) fn note_repeated_text(&mut self) {
        let wnd = self.rcv_wnd();
        if let Some(q) = self.quick_acks() {
            q.enter(wnd);
        }
    }

    /// tcp_cleanup_rbuf: the application has read; a delayed ACK need not wait any more if that emptied the queue.
    pub(crate) fn note_read_as_linux(&mut self) {
        if self.ack_at.armed().is_none() {
            return;
        }
        let (unacked, drained) = (self.rcv_nxt.since(self.last_ack_sent), self.recv.bytes == 0);
        let Some(q) = self.quick_acks() else { return };
        let waits = unacked > q.rcv_mss;
        let pushed = drained && (q.pushed > 1 || q.pushed > 0 && !q.pingpong);
        self.ack_now |= waits || pushed;
    }

    /// Is a segment in flight that was not full? Then another must wait (Nagle's algorithm; Linux holds back only then).
    pub(crate) fn small_in_flight(&self) -> bool {
        match self.stats.as_ref().and_then(|s| s.acks.as_ref()) {
            Some(q) => q.snd_sml.after(self.snd_una) && q.snd_sml.at_or_before(self.snd_nxt),
            None => self.snd_nxt != self.snd_una,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(segs: u32, gap_ns: u64) -> QuickAcks {
        let mut q = QuickAcks::new(SeqNum(0));
        let mut now = Instant(1 << 40);
        for _ in 0..segs {
            q.data_in(1000, 1460, 65_535, 200 * MS, now);
            q.ack_out();
            now = now + gap_ns;
        }
        q
    }

    #[test]
    fn the_first_sixteen_are_quick() {
        assert!(after(15, MS).is_quick());
        assert!(!after(16, MS).is_quick());
        assert_eq!(after(16, MS).delay(0), ATO_MIN_NS);
    }

    #[test]
    fn an_answer_ends_it_and_a_silence_brings_it_back() {
        let mut q = after(3, 0);
        q.data_out(Instant(1 << 40) + 10 * MS);
        assert!(q.pingpong && !q.is_quick());
        q.timer(200 * MS);
        assert!(!q.pingpong && q.is_quick());
        assert!(after(20, 300 * MS).quick >= 15, "each time it was silent for an RTO");
    }

    #[test]
    fn a_fin_without_data_before_it_waits_for_nothing() {
        assert_eq!(QuickAcks::new(SeqNum(0)).delay(10 * MS), 0);
    }

    #[test]
    fn the_peers_segment_is_measured() {
        let mut q = QuickAcks::new(SeqNum(0));
        q.measure(1460, 1448);
        assert_eq!(q.rcv_mss, 1448);
        q.measure(1000, 1448);
        assert_eq!(q.rcv_mss, 1448);
        q.measure(1000, 1448);
        assert_eq!(q.rcv_mss, 1000, "twice the same");
    }
}
