//! Congestion control: how much may be in flight. RFC 5681 is the frame, an algorithm fills it in.

mod cubic;
mod reno;

use alloc::boxed::Box;

use crate::limits::IW_SEGS;
use crate::time::Instant;
use cubic::Cubic;
use reno::NewReno;

/// Which algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CcKind {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 with RFC 6582's recovery.
    NewReno,
}

/// What an acknowledgment outside of fast recovery tells congestion control.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acked {
    /// Bytes newly acknowledged.
    pub bytes: u32,
    /// Now.
    pub now: Instant,
    /// SRTT in ns.
    pub srtt: u64,
    /// The window was in use.
    pub limited: bool,
}

/// The window and the algorithm's memory.
#[derive(Clone, Debug)]
pub struct Cc {
    /// cwnd in bytes.
    pub cwnd: u32,
    /// ssthresh in bytes; `u32::MAX` until the first congestion event.
    pub ssthresh: u32,
    smss: u32,
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
enum Algorithm {
    /// Boxed, and there only once slow start has ended: an idle connection has none.
    Cubic(Option<Box<Cubic>>),
    NewReno(NewReno),
}

/// What a reduction of the window is undone to.
#[derive(Clone, Debug)]
pub struct Saved {
    cwnd: u32,
    ssthresh: u32,
    algorithm: Algorithm,
}

impl Cc {
    /// A fresh connection: initial window of RFC 6928.
    pub fn new(kind: CcKind, smss: u32) -> Self {
        let algorithm = match kind {
            CcKind::Cubic => Algorithm::Cubic(None),
            CcKind::NewReno => Algorithm::NewReno(NewReno::default()),
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

    /// An ACK outside of fast recovery. A window that is not in use does not grow.
    pub fn on_ack(&mut self, ack: &Acked) {
        if !ack.limited {
            if let Algorithm::Cubic(Some(c)) = &mut self.algorithm {
                c.on_app_limited(ack.now);
            }
            return;
        }
        let mut ack = *ack;
        if self.in_slow_start() {
            // RFC 5681 (2) with RFC 3465's byte counting; the ACKs of a burst-wise acknowledging peer cover
            // many segments, so L is not limited to 2 SMSS (as Linux does, RFC 9406 4.2 for paced senders).
            let grow = ack.bytes.min(self.ssthresh - self.cwnd);
            self.cwnd += grow;
            ack.bytes -= grow;
            if ack.bytes == 0 {
                return;
            }
        }
        match &mut self.algorithm {
            Algorithm::Cubic(c) => {
                let c = c.get_or_insert_with(|| Box::new(Cubic::new()));
                c.on_ack(&mut self.cwnd, self.smss, &ack);
            }
            Algorithm::NewReno(r) => r.on_ack(&mut self.cwnd, self.smss, ack.bytes),
        }
    }

    /// A congestion event (loss, or ECN's echo) with `flight` bytes in flight: ssthresh for the recovery that begins.
    pub fn on_congestion(&mut self, flight: u32) {
        self.ssthresh = match &mut self.algorithm {
            Algorithm::Cubic(c) => {
                let c = c.get_or_insert_with(|| Box::new(Cubic::new()));
                c.on_congestion(self.cwnd, self.cwnd, self.smss)
            }
            // RFC 5681 (4)
            Algorithm::NewReno(_) => flight / 2,
        }
        .max(2 * self.smss);
    }

    /// The retransmission timer expired. `first`: for the first time in a series, so that ssthresh is set.
    pub fn on_rto(&mut self, flight: u32, first: bool) {
        if first {
            self.on_congestion(flight);
        }
        if let Algorithm::Cubic(Some(c)) = &mut self.algorithm {
            c.on_rto();
        }
        //= RFC 5681 section 3.1
        self.cwnd = self.smss;
    }

    /// What [`undo`](Self::undo) restores: taken before [`on_congestion`](Self::on_congestion) or
    /// [`on_rto`](Self::on_rto), to be kept while that may turn out to have been spurious. Its CUBIC part, if any, is
    /// a copy on the heap.
    pub fn save(&self) -> Saved {
        Saved { cwnd: self.cwnd, ssthresh: self.ssthresh, algorithm: self.algorithm.clone() }
    }

    /// The congestion event was none. The window is at least what it was, so is ssthresh; the algorithm goes on from
    /// where it was. The caller sees to it that the larger window causes no burst (RFC 4015 section 3.2, step 6).
    pub fn undo(&mut self, saved: Saved) {
        //= RFC 9438 section 4.9.1
        //= RFC 9438 section 4.9.2
        self.cwnd = self.cwnd.max(saved.cwnd);
        self.ssthresh = self.ssthresh.max(saved.ssthresh);
        self.algorithm = saved.algorithm;
    }

    /// The handshake lost a SYN or SYN-ACK: an initial window of one segment.
    pub fn on_syn_lost(&mut self) {
        //= RFC 5681 section 3.1
        self.cwnd = self.smss;
    }

    /// Nothing was sent for longer than an RTO: the restart window.
    pub fn on_idle_restart(&mut self) {
        //= RFC 5681 section 4.1
        self.cwnd = self.cwnd.min(initial_window(self.smss));
        if let Algorithm::Cubic(Some(c)) = &mut self.algorithm {
            c.stop_stage();
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
    use crate::time::SEC;

    fn ack(bytes: u32) -> Acked {
        Acked { bytes, srtt: 1, limited: true, ..Acked::default() }
    }

    //= RFC 6928 section 2
    #[test]
    fn initial_window_of_rfc_6928() {
        assert_eq!(initial_window(1448), 14_480);
        assert_eq!(initial_window(1460), 14_600);
        assert_eq!(initial_window(8960), 17_920);
        assert_eq!(initial_window(536), 5_360);
    }

    //= RFC 5681 section 3.1
    #[test]
    fn slow_start_doubles_then_crosses_ssthresh_exactly() {
        let mut cc = Cc::new(CcKind::NewReno, 1000);
        cc.ssthresh = 15_000;
        cc.on_ack(&ack(4_000));
        assert_eq!(cc.cwnd, 14_000);
        cc.on_ack(&ack(4_000));
        assert!(cc.cwnd >= 15_000 && cc.cwnd < 16_001);
        assert!(!cc.in_slow_start());
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut cc = Cc::new(CcKind::Cubic, 1000);
        cc.on_ack(&Acked { limited: false, ..ack(1_000) });
        assert_eq!(cc.cwnd, 10_000);
    }

    //= RFC 5681 section 3.1
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

    /// After an undo the connection goes on as if the event had not been.
    //= RFC 9438 section 4.9.1
    //= RFC 9438 section 4.9.2
    #[test]
    fn an_undone_reduction_leaves_no_trace() {
        for kind in [CcKind::Cubic, CcKind::NewReno] {
            let mut cc = Cc::new(kind, 1000);
            cc.cwnd = 100_000;
            cc.on_congestion(100_000);
            cc.cwnd = cc.ssthresh;
            for i in 0..100 {
                cc.on_ack(&Acked { now: Instant(i * SEC / 100), ..ack(10_000) });
            }
            let mut undone = cc.clone();
            for timeout in [false, true] {
                let saved = undone.save();
                let flight = undone.cwnd;
                match timeout {
                    true => undone.on_rto(flight, true),
                    false => undone.on_congestion(flight),
                }
                undone.cwnd = undone.cwnd.min(undone.ssthresh);
                assert!(undone.ssthresh < cc.cwnd);
                undone.undo(saved);
            }
            for i in 100..200 {
                for c in [&mut cc, &mut undone] {
                    c.on_ack(&Acked { now: Instant(i * SEC / 100), ..ack(10_000) });
                }
                assert_eq!((cc.cwnd, cc.ssthresh), (undone.cwnd, undone.ssthresh), "{kind:?}");
            }
        }
    }
}
