//! Congestion control: how much may be in flight. RFC 5681 is the frame, an algorithm fills it in.

pub mod bbr;
mod cubic;
mod hystart;
mod reno;
mod validation;

use alloc::boxed::Box;

use crate::limits::{IW_SEGS, NVP_NS};
use crate::seq::SeqNum;
use crate::time::{Instant, SEC};
use bbr::Bbr;
use cubic::Cubic;
use hystart::{Growth, HyStart};
use reno::NewReno;
use validation::Validation;

/// Which algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CcKind {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 with RFC 6582's recovery.
    NewReno,
    /// BBRv3, draft-ietf-ccwg-bbr: always paced.
    Bbr,
}

impl CcKind {
    /// The name that Linux has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
            Self::Bbr => "bbr",
        }
    }

    /// By name: `cubic`, `reno` or `bbr`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Cubic, Self::NewReno, Self::Bbr].into_iter().find(|k| k.name() == name)
    }
}

/// What becomes of the window when nothing was sent for longer than an RTO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdleRestart {
    /// The restart window: RFC 5681 section 4.1.
    #[default]
    Window,
    /// Half for each RTO, down to the restart window: RFC 2861; Linux with `tcp_slow_start_after_idle`.
    Decay,
    /// It stays, as long as RFC 7661 section 4.4.4 lets it: Linux without.
    Keep,
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
    /// The RTT sample of this ACK in ns, if it brought one.
    pub rtt: Option<u64>,
    /// SND.UNA after it.
    pub una: SeqNum,
    /// SND.NXT
    pub nxt: SeqNum,
    /// The window was in use.
    pub limited: bool,
    /// Segments that slow start takes of it at most; `u32::MAX` for a paced sender.
    pub l_segs: u32,
}

/// The window and the algorithm's memory.
#[derive(Clone, Debug)]
pub struct Cc {
    /// cwnd in bytes.
    pub cwnd: u32,
    /// ssthresh in bytes; `u32::MAX` until the first congestion event.
    pub ssthresh: u32,
    smss: u32,
    /// On the heap, from the first time that the window is in use.
    growth: Option<Box<Tracked>>,
    algorithm: Algorithm,
}

/// What the rounds of a flow that uses its window told.
#[derive(Clone, Debug)]
struct Tracked {
    validation: Validation,
    hystart: HyStart,
}

impl Tracked {
    fn new(una: SeqNum, now: Instant) -> Box<Self> {
        let mut validation = Validation::new();
        validation.start(una, now);
        Box::new(Self { validation, hystart: HyStart::new() })
    }
}

#[derive(Clone, Debug)]
enum Algorithm {
    /// CUBIC before its first congestion avoidance.
    CubicStart,
    /// On the heap, for an idle connection has none.
    Cubic(Box<Cubic>),
    NewReno(NewReno),
    Bbr(Box<Bbr>),
}

impl Algorithm {
    /// CUBIC's memory, which there is from the end of the first slow start on.
    fn cubic(&mut self) -> Option<&mut Cubic> {
        if let Self::CubicStart = self {
            *self = Self::Cubic(Box::new(Cubic::new()));
        }
        match self {
            Self::Cubic(c) => Some(c),
            _ => None,
        }
    }
}

/// What a reduction of the window is undone to.
#[derive(Clone, Debug)]
pub struct Saved {
    cwnd: u32,
    ssthresh: u32,
    algorithm: Algorithm,
}

impl Cc {
    /// A fresh connection: initial window of RFC 6928. BBR comes with [`switch`](Self::switch), once the connection is
    /// there; until then it is CUBIC, which costs nothing.
    pub fn new(kind: CcKind, smss: u32) -> Self {
        let algorithm = match kind {
            CcKind::Cubic | CcKind::Bbr => Algorithm::CubicStart,
            CcKind::NewReno => Algorithm::NewReno(NewReno::default()),
        };
        Self { cwnd: initial_window(smss), ssthresh: u32::MAX, smss, growth: None, algorithm }
    }

    /// Which algorithm is at work.
    pub fn kind(&self) -> CcKind {
        match self.algorithm {
            Algorithm::CubicStart | Algorithm::Cubic(_) => CcKind::Cubic,
            Algorithm::NewReno(_) => CcKind::NewReno,
            Algorithm::Bbr(_) => CcKind::Bbr,
        }
    }

    /// Another algorithm goes on from this window.
    pub fn switch(&mut self, kind: CcKind, start: &bbr::Start) {
        if kind == self.kind() {
            return;
        }
        self.algorithm = match kind {
            CcKind::Cubic if self.ssthresh == u32::MAX => Algorithm::CubicStart,
            CcKind::Cubic => Algorithm::Cubic(Box::new(Cubic::new())),
            CcKind::NewReno => Algorithm::NewReno(NewReno::default()),
            CcKind::Bbr => Algorithm::Bbr(Box::new(Bbr::new(self.cwnd, self.smss, start))),
        };
    }

    /// BBR's model, if it is at work.
    pub fn bbr(&self) -> Option<&Bbr> {
        match &self.algorithm {
            Algorithm::Bbr(b) => Some(b),
            _ => None,
        }
    }

    /// Does a model of the path set the window, in recovery, too, instead of losses?
    pub fn is_model_based(&self) -> bool {
        matches!(self.algorithm, Algorithm::Bbr(_))
    }

    /// An ACK with its delivery rate sample, for BBR. `true`: see [`Bbr::on_ack`].
    pub fn on_delivered(&mut self, d: &bbr::Delivered, after_timeout: bool) -> bool {
        let Algorithm::Bbr(b) = &mut self.algorithm else { return false };
        let (cwnd, mark) = b.on_ack(self.cwnd, d);
        // After a timeout the window grows by what is delivered, as slow start's, until recovery is over.
        let limit = self.cwnd.saturating_add(d.sample.newly_acked);
        self.cwnd = if after_timeout { cwnd.min(limit) } else { cwnd };
        mark
    }

    /// The rate to pace at, in bytes/s; 0: unknown. Without a model, as Linux: twice the window an RTT while it doubles,
    /// 1.2 times later, so that pacing never is the limit.
    pub fn pacing_rate(&self, srtt: u64) -> u64 {
        if let Algorithm::Bbr(b) = &self.algorithm {
            return b.pacing_rate();
        }
        if srtt == 0 {
            return 0;
        }
        let percent = if self.cwnd < self.ssthresh / 2 { 200 } else { 120 };
        (self.cwnd as u128 * percent * SEC as u128 / (100 * srtt as u128)) as u64
    }

    /// SMSS became known or changed.
    pub fn set_smss(&mut self, smss: u32, started: bool) {
        self.smss = smss;
        if let Algorithm::Bbr(b) = &mut self.algorithm {
            b.set_smss(smss);
        }
        if !started {
            self.cwnd = initial_window(smss);
        }
    }

    /// Still doubling?
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// An ACK outside of fast recovery. A window that is not in use does not grow.
    //= RFC 9293 section 3.8.2, MUST-19, MAY-18
    pub fn on_ack(&mut self, ack: &Acked) {
        if self.is_model_based() {
            return;
        }
        if self.growth.is_none() && !ack.limited && self.cwnd <= initial_window(self.smss) {
            // Request and response within the initial window: nothing to keep account of.
            return;
        }
        let slow_start = self.in_slow_start();
        let cwnd = self.cwnd;
        let v = &mut self.growth.get_or_insert_with(|| Tracked::new(ack.una - ack.bytes, ack.now)).validation;
        let round_over = v.on_ack(ack.una, ack.nxt, ack.srtt, ack.now);
        let valid = v.is_valid(cwnd, slow_start);
        if v.note_phase(valid, ack.now) {
            self.end_non_validated_period();
        }
        if !ack.limited || !valid {
            if let Algorithm::Cubic(c) = &mut self.algorithm {
                c.on_app_limited(ack.now);
            }
            return;
        }
        let mut ack = *ack;
        if slow_start {
            ack.bytes = self.slow_start(&ack, round_over);
            if ack.bytes == 0 {
                return;
            }
        }
        match &mut self.algorithm {
            Algorithm::NewReno(r) => r.on_ack(&mut self.cwnd, self.smss, ack.bytes),
            other => {
                if let Some(c) = other.cubic() {
                    c.on_ack(&mut self.cwnd, self.smss, &ack);
                }
            }
        }
    }

    /// RFC 5681 (2), counting bytes. Returns those that ssthresh leaves to congestion avoidance.
    fn slow_start(&mut self, ack: &Acked, round_over: bool) -> u32 {
        //= RFC 9406 section 4.2
        let mut grow = ack.bytes.min(ack.l_segs.saturating_mul(self.smss));
        if let (Algorithm::CubicStart, Some(g)) = (&self.algorithm, &mut self.growth) {
            match g.hystart.on_ack(grow, ack.rtt, round_over) {
                Growth::By(n) => grow = n,
                Growth::End => {
                    self.ssthresh = self.cwnd;
                    return ack.bytes;
                }
            }
        }
        let to_ssthresh = self.ssthresh - self.cwnd;
        self.cwnd += grow.min(to_ssthresh);
        grow.saturating_sub(to_ssthresh)
    }

    /// A congestion event (loss, or ECN's echo) with `flight` bytes in flight: ssthresh for the recovery that begins.
    pub fn on_congestion(&mut self, flight: u32) {
        if let Algorithm::Bbr(b) = &mut self.algorithm {
            return b.on_congestion();
        }
        let v = self.growth.as_deref().map(|g| &g.validation);
        let valid = v.is_none_or(|v| v.is_valid(self.cwnd, self.in_slow_start()));
        //= RFC 7661 section 4.4.2
        let in_use = v.and_then(Validation::pipe_ack).unwrap_or(0).max(flight).min(self.cwnd);
        self.ssthresh = match &mut self.algorithm {
            //= RFC 5681 section 3.1
            Algorithm::NewReno(_) => (if valid { flight } else { in_use }) / 2,
            other => match other.cubic() {
                Some(c) => c.on_congestion(self.cwnd, if valid { self.cwnd } else { in_use }, self.smss),
                None => self.ssthresh,
            },
        }
        .max(2 * self.smss);
    }

    /// Recovery is over, with SND.UNA and SND.NXT.
    pub fn on_recovered(&mut self, una: SeqNum, nxt: SeqNum) {
        if let Some(g) = &mut self.growth {
            g.validation.forget(una, nxt);
        }
        if let Algorithm::Bbr(b) = &mut self.algorithm {
            self.cwnd = b.on_recovered(self.cwnd);
        }
    }

    /// The retransmission timer expired. `first`: for the first time in a series, so that ssthresh is set.
    pub fn on_rto(&mut self, flight: u32, first: bool) {
        if first {
            self.on_congestion(flight);
        }
        match &mut self.algorithm {
            Algorithm::Cubic(c) => c.on_rto(),
            Algorithm::Bbr(b) => b.on_rto(self.cwnd),
            _ => {}
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
        match (&mut self.algorithm, saved.algorithm) {
            (Algorithm::Bbr(b), Algorithm::Bbr(before)) => b.on_spurious(&before),
            (now, before) => *now = before,
        }
    }

    /// The handshake lost a SYN or SYN-ACK: an initial window of one segment.
    pub fn on_syn_lost(&mut self) {
        //= RFC 5681 section 3.1
        self.cwnd = self.smss;
    }

    /// Nothing was sent for `idle` ns, longer than the `rto`; now something is.
    pub fn on_idle(&mut self, mode: IdleRestart, idle: u64, rto: u64) {
        if self.is_model_based() {
            return;
        }
        if mode == IdleRestart::Keep {
            for _ in 0..(idle / NVP_NS).min(32) {
                self.end_non_validated_period();
            }
            return;
        }
        let restart = self.cwnd.min(initial_window(self.smss));
        if restart < self.cwnd {
            // RFC 2861 section 3.1: what the path took once is worth to be remembered.
            self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        }
        let halvings = if mode == IdleRestart::Decay { (idle / rto.max(1)).min(31) as u32 } else { 31 };
        //= RFC 5681 section 4.1
        self.cwnd = (self.cwnd >> halvings).max(restart);
        if let Algorithm::Cubic(c) = &mut self.algorithm {
            c.stop_stage();
        }
    }

    /// The application begins to send again, after it was the limit and everything was acknowledged.
    pub fn on_transmit_start(&mut self, now: Instant) {
        if let Algorithm::Bbr(b) = &mut self.algorithm {
            b.on_idle_restart(now);
        }
    }

    /// Is there anything to [`trim`](Self::trim)?
    pub fn has_spare(&self) -> bool {
        self.growth.is_some()
    }

    /// Nothing was sent for a while, and the window will restart: what rounds told of it goes.
    pub fn trim(&mut self) {
        self.growth = None;
    }

    /// The window has not been in use for NVP.
    fn end_non_validated_period(&mut self) {
        //= RFC 7661 section 4.4.4
        self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        self.cwnd = (self.cwnd / 2).max(initial_window(self.smss).min(self.cwnd));
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
        // A round that never ends.
        Acked { bytes, srtt: 1, limited: true, l_segs: 8, nxt: SeqNum(1 << 30), ..Acked::default() }
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

    //= RFC 9406 section 4.2
    #[test]
    fn eight_segments_an_ack_unless_paced() {
        let mut cc = Cc::new(CcKind::Cubic, 1000);
        cc.on_ack(&ack(50_000));
        assert_eq!(cc.cwnd, 18_000);
        cc.on_ack(&Acked { l_segs: u32::MAX, ..ack(50_000) });
        assert_eq!(cc.cwnd, 68_000);
    }

    /// A round of an application that sends `bytes` and waits for the ACK.
    fn exchange(cc: &mut Cc, una: &mut u32, now: &mut u64, bytes: u32, limited: bool) {
        *una += bytes;
        *now += SEC / 10;
        let (una, now) = (SeqNum(*una), Instant(*now));
        cc.on_ack(&Acked { now, srtt: SEC / 10, una, nxt: una, limited, ..ack(bytes) });
    }

    //= RFC 7661 section 4.3
    //= RFC 7661 section 4.4.2
    //= RFC 7661 section 4.4.4
    #[test]
    fn a_window_that_is_not_validated_stays_and_is_not_believed() {
        for kind in [CcKind::Cubic, CcKind::NewReno] {
            let mut cc = Cc::new(kind, 1000);
            let (mut una, mut now) = (1, SEC);
            (cc.cwnd, cc.ssthresh) = (100_000, 50_000);
            for _ in 0..30 {
                exchange(&mut cc, &mut una, &mut now, 10_000, false);
            }
            // Nor does it grow with a burst that happens to fill it, until a round trip has carried half of it.
            exchange(&mut cc, &mut una, &mut now, 10_000, true);
            assert_eq!(cc.cwnd, 100_000);
            let mut lossy = cc.clone();
            lossy.on_congestion(20_000);
            assert_eq!(lossy.ssthresh, if kind == CcKind::Cubic { 14_000 } else { 10_000 });
            let mut lossy = cc.clone();
            lossy.on_congestion(3_000);
            assert_eq!(lossy.ssthresh, if kind == CcKind::Cubic { 7_000 } else { 5_000 }, "of pipeACK");
            for _ in 0..NVP_NS / (SEC / 10) {
                exchange(&mut cc, &mut una, &mut now, 10_000, false);
            }
            assert_eq!((cc.cwnd, cc.ssthresh), (50_000, 75_000));
            exchange(&mut cc, &mut una, &mut now, 50_000, true);
            assert!(cc.cwnd > 50_000, "validated");
            cc.on_recovered(SeqNum(una), SeqNum(una + 60_000));
            let before = cc.cwnd;
            for _ in 0..6 {
                exchange(&mut cc, &mut una, &mut now, 9_999, true);
            }
            assert!(cc.cwnd > before, "undefined counts as validated");
        }
    }

    //= RFC 5681 section 4.1
    #[test]
    fn the_restart_window_after_idle() {
        let idle = |mode, rtos: u64| {
            let mut cc = Cc::new(CcKind::Cubic, 1000);
            (cc.cwnd, cc.ssthresh) = (400_000, 100_000);
            cc.on_idle(mode, rtos * SEC, SEC);
            (cc.cwnd, cc.ssthresh)
        };
        assert_eq!(idle(IdleRestart::Window, 1), (10_000, 300_000));
        assert_eq!(idle(IdleRestart::Decay, 1), (200_000, 300_000));
        assert_eq!(idle(IdleRestart::Decay, 2), (100_000, 300_000));
        assert_eq!(idle(IdleRestart::Decay, 1000), (10_000, 300_000));
        assert_eq!(idle(IdleRestart::Keep, 100), (400_000, 100_000));
        assert_eq!(idle(IdleRestart::Keep, 300), (200_000, 300_000));
        let mut small = Cc::new(CcKind::Cubic, 1000);
        small.cwnd = 3_000;
        small.on_idle(IdleRestart::Window, 9 * SEC, SEC);
        assert_eq!((small.cwnd, small.ssthresh), (3_000, u32::MAX));
    }

    /// Slow start that HyStart++ ended goes on as CUBIC at its plateau.
    //= RFC 9438 section 4.10
    #[test]
    fn cubic_takes_over_from_hystart() {
        let mut cc = Cc::new(CcKind::Cubic, 1000);
        let (mut una, mut now) = (1, SEC);
        let mut round = 0u64;
        while cc.ssthresh == u32::MAX {
            round += 1;
            assert!(round < 20);
            let (rtt, nxt) = ((50 + 10 * round) * 1_000_000, SeqNum(una + cc.cwnd));
            for _ in 0..cc.cwnd / 1000 {
                una += 1000;
                now += 10_000;
                let at = Instant(now);
                cc.on_ack(&Acked { now: at, una: SeqNum(una), nxt, rtt: Some(rtt), ..ack(1000) });
            }
            una = nxt.0;
        }
        // Two rounds of doubling (10, 20, 40), then by a quarter: 5 rounds, the first of them partly.
        assert!((60_000..=130_000).contains(&cc.cwnd), "{} after {round} rounds", cc.cwnd);
        let before = cc.cwnd;
        for _ in 0..cc.cwnd / 1000 {
            una += 1000;
            let at = Instant(now);
            let una = SeqNum(una);
            cc.on_ack(&Acked { now: at, una, nxt: una, srtt: SEC / 10, ..ack(1000) });
        }
        assert!(cc.cwnd < before + 2_000, "congestion avoidance");
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
