//! Congestion control: how much may be in flight. RFC 5681 is the frame, an algorithm fills it in.

mod cubic;
mod reno;

use crate::limits::IW_SEGS;
use crate::time::Instant;

/// Which algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CcKind {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 with RFC 6582's recovery.
    NewReno,
}

/// The window and the algorithm's memory.
#[derive(Clone, Debug)]
pub struct Cc {
    /// cwnd in bytes.
    pub cwnd: u32,
    /// ssthresh in bytes.
    pub ssthresh: u32,
    smss: u32,
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
enum Algorithm {
    Cubic(cubic::Cubic),
    NewReno(reno::NewReno),
}

impl Cc {
    /// A fresh connection: initial window of RFC 6928.
    pub fn new(kind: CcKind, smss: u32) -> Self {
        let algorithm = match kind {
            CcKind::Cubic => Algorithm::Cubic(cubic::Cubic::default()),
            CcKind::NewReno => Algorithm::NewReno(reno::NewReno::default()),
        };
        Self { cwnd: initial_window(smss), ssthresh: u32::MAX, smss, algorithm }
    }

    /// SMSS became known or changed.
    pub fn set_smss(&mut self, smss: u32, started: bool) {
        self.smss = smss;
        if !started {
            self.cwnd = initial_window(smss);
        }
    }

    /// Still doubling?
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// `acked` new bytes were acknowledged outside recovery. `cwnd_limited`: the window was in use; else it does
    /// not grow (RFC 7661's spirit).
    pub fn on_ack(&mut self, acked: u32, now: Instant, srtt: u64, cwnd_limited: bool) {
        if !cwnd_limited {
            if let Algorithm::Cubic(c) = &mut self.algorithm {
                c.on_app_limited(now);
            }
            return;
        }
        let mut acked = acked;
        if self.in_slow_start() {
            // RFC 5681 (2) with RFC 3465's byte counting; the ACKs of a burst-wise acknowledging peer cover
            // many segments, so L is not limited to 2 SMSS (as Linux does, RFC 9406 4.2 for paced senders).
            let grow = acked.min(self.ssthresh - self.cwnd);
            self.cwnd += grow;
            acked -= grow;
            if acked == 0 {
                return;
            }
        }
        match &mut self.algorithm {
            Algorithm::Cubic(c) => c.on_ack(&mut self.cwnd, self.smss, acked, now, srtt),
            Algorithm::NewReno(r) => r.on_ack(&mut self.cwnd, self.smss, acked),
        }
    }

    /// A loss was detected with `flight` bytes in flight: ssthresh for the recovery that begins now.
    pub fn on_loss(&mut self, flight: u32) {
        self.ssthresh = match &mut self.algorithm {
            Algorithm::Cubic(c) => c.on_loss(self.cwnd, self.smss),
            // RFC 5681 (4)
            Algorithm::NewReno(_) => flight / 2,
        }
        .max(2 * self.smss);
    }

    /// The retransmission timer expired for the first time: RFC 5681 section 3.1, loss window of 1 SMSS.
    pub fn on_rto(&mut self, flight: u32, first: bool) {
        if first {
            self.on_loss(flight);
        }
        if let Algorithm::Cubic(c) = &mut self.algorithm {
            c.on_rto();
        }
        self.cwnd = self.smss;
    }

    /// The handshake lost a SYN or SYN-ACK: RFC 5681 section 3.1, an initial window of one segment.
    pub fn on_syn_lost(&mut self) {
        self.cwnd = self.smss;
    }

    /// Nothing was sent for longer than an RTO: RFC 5681 section 4.1, the restart window.
    pub fn on_idle_restart(&mut self) {
        self.cwnd = self.cwnd.min(initial_window(self.smss));
        if let Algorithm::Cubic(c) = &mut self.algorithm {
            c.on_rto();
        }
    }
}

/// RFC 6928 (1): min(10 MSS, max(2 MSS, 14600)).
fn initial_window(smss: u32) -> u32 {
    (IW_SEGS * smss).min((2 * smss).max(14_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_window_of_rfc_6928() {
        assert_eq!(initial_window(1448), 14_480);
        assert_eq!(initial_window(1460), 14_600);
        assert_eq!(initial_window(8960), 17_920);
        assert_eq!(initial_window(536), 5_360);
    }

    #[test]
    fn slow_start_doubles_then_crosses_ssthresh_exactly() {
        let mut cc = Cc::new(CcKind::NewReno, 1000);
        cc.ssthresh = 15_000;
        cc.on_ack(4_000, Instant(0), 1, true);
        assert_eq!(cc.cwnd, 14_000);
        cc.on_ack(4_000, Instant(0), 1, true);
        assert!(cc.cwnd >= 15_000 && cc.cwnd < 16_001);
        assert!(!cc.in_slow_start());
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut cc = Cc::new(CcKind::Cubic, 1000);
        cc.on_ack(1_000, Instant(0), 1, false);
        assert_eq!(cc.cwnd, 10_000);
    }

    #[test]
    fn rto_leaves_one_segment() {
        for kind in [CcKind::Cubic, CcKind::NewReno] {
            let mut cc = Cc::new(kind, 1000);
            cc.on_rto(10_000, true);
            assert_eq!(cc.cwnd, 1000);
            assert!(cc.ssthresh >= 2000 && cc.ssthresh <= 7000);
            let ssthresh = cc.ssthresh;
            cc.on_rto(1_000, false);
            assert_eq!(cc.ssthresh, ssthresh, "only the first expiry of a series halves");
        }
    }
}
