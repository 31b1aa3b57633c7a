//! Round-trip time and retransmission timeout: RFC 6298.

use crate::limits::{RTO_AFTER_SYN_LOSS_NS, RTO_INITIAL_NS, RTO_MAX_NS};
use crate::time::MS;

/// A unit is 16 ns: fine enough for the RTT within a host, and 32 bits of them are 68 s, more than RFC 6298 (2.5)'s
/// smallest maximum of RTO.
const UNIT_SHIFT: u32 = 4;
/// The smallest RTO is kept in 100 us: 16 bits of them are 6.5 s.
const RTO_MIN_UNIT_NS: u64 = 100_000;

/// Nanoseconds in units.
fn units(ns: u64) -> u32 {
    (ns >> UNIT_SHIFT).min(u32::MAX as u64 - 1) as u32
}

/// SRTT, RTTVAR and RTO.
#[derive(Clone, Copy, Debug)]
pub struct Rtt {
    /// SRTT in units; 0 before the first sample.
    srtt: u32,
    /// RTTVAR in units.
    rttvar: u32,
    /// Smallest sample in units; `u32::MAX` before the first.
    min_rtt: u32,
    /// In 100 us.
    rto_min: u16,
    syn_was_lost: bool,
    /// Doublings since the last sample: RFC 6298 (5.5).
    pub backoff: u8,
}

impl Rtt {
    /// No sample yet: RTO is 1 s (2.1).
    pub fn new(rto_min: u64) -> Self {
        Self {
            srtt: 0,
            rttvar: 0,
            min_rtt: u32::MAX,
            rto_min: (rto_min / RTO_MIN_UNIT_NS).min(u16::MAX as u64) as u16,
            syn_was_lost: false,
            backoff: 0,
        }
    }

    /// The SYN was retransmitted and there is no sample yet: RFC 6298 (5.7).
    //= RFC 6298 section 5.7
    pub fn syn_was_lost(&mut self) {
        self.syn_was_lost = true;
    }

    /// A sample of a segment that was sent once (Karn's algorithm, RFC 9293 MUST-18): RFC 6298 (2.2), (2.3).
    //= RFC 6298 section 2
    pub fn sample(&mut self, r: u64) {
        let r = (r >> UNIT_SHIFT).clamp(1, u32::MAX as u64 - 1) as u32;
        //= RFC 6298 section 5
        // What was backed off collapses with a new sample, not with an ACK of what was sent twice.
        self.backoff = 0;
        self.min_rtt = self.min_rtt.min(r);
        if self.srtt == 0 {
            self.srtt = r;
            self.rttvar = r / 2;
        } else {
            self.rttvar = self.rttvar - self.rttvar / 4 + self.srtt.abs_diff(r) / 4;
            self.srtt = self.srtt - self.srtt / 8 + r / 8;
        }
    }

    /// Smoothed RTT in ns; 0 before the first sample.
    #[inline]
    pub fn srtt(&self) -> u64 {
        (self.srtt as u64) << UNIT_SHIFT
    }

    /// RTT variation in ns.
    pub fn rttvar(&self) -> u64 {
        (self.rttvar as u64) << UNIT_SHIFT
    }

    /// Smallest sample of the connection in ns; `u64::MAX` before the first.
    #[inline]
    pub fn min_rtt(&self) -> u64 {
        if self.min_rtt == u32::MAX { u64::MAX } else { (self.min_rtt as u64) << UNIT_SHIFT }
    }

    /// A timeout was spurious: what was known before it, or this `sample`, whichever is more; ns.
    //= RFC 4015 section 3.2
    pub fn after_spurious_timeout(&mut self, srtt_prev: u64, rttvar_prev: u64, sample: u64) {
        // SRTT_prev has twice the clock's granularity in it, that of timestamps.
        self.srtt = units((srtt_prev + 2 * MS).max(sample));
        self.rttvar = units(rttvar_prev.max(sample / 2));
    }

    /// RTO with its backoff, in ns: (5.5).
    pub fn rto(&self) -> u64 {
        self.rto_base().saturating_mul(1 << self.backoff.min(20)).min(RTO_MAX_NS)
    }

    /// RTO without backoff, in ns.
    pub fn rto_base(&self) -> u64 {
        match self.srtt() {
            0 if self.syn_was_lost => RTO_AFTER_SYN_LOSS_NS,
            0 => RTO_INITIAL_NS,
            // (2.4) with the floor put under the variance term as Linux does: with a short RTT a delayed ACK of the
            // peer is inside the timeout even though SRTT + 4 RTTVAR converged on less.
            srtt => (srtt + (4 * self.rttvar()).max(self.rto_min as u64 * RTO_MIN_UNIT_NS)).min(RTO_MAX_NS),
        }
    }

    /// (5.5) the timer expired.
    pub fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RTO_MIN_NS;
    use crate::time::SEC;

    #[test]
    fn first_and_next_sample() {
        let mut r = Rtt::new(RTO_MIN_NS);
        assert_eq!(r.rto(), SEC);
        r.sample(100 * MS);
        assert_eq!((r.srtt(), r.rttvar()), (100 * MS, 50 * MS));
        assert_eq!(r.rto(), 300 * MS);
        r.sample(180 * MS);
        assert_eq!(r.rttvar(), 37_500_000 + 20 * MS);
        assert_eq!(r.srtt(), 87_500_000 + 22_500_000);
    }

    #[test]
    fn floor_and_backoff_and_ceiling() {
        let mut r = Rtt::new(RTO_MIN_NS);
        r.sample(50_000);
        assert_eq!(r.rto(), 50_000 + RTO_MIN_NS);
        let base = r.rto();
        r.back_off();
        assert_eq!(r.rto(), 2 * base);
        for _ in 0..40 {
            r.back_off();
        }
        assert_eq!(r.rto(), RTO_MAX_NS);
    }

    #[test]
    fn syn_loss_raises_the_first_rto_only() {
        let mut r = Rtt::new(RTO_MIN_NS);
        r.syn_was_lost();
        assert_eq!(r.rto(), 3 * SEC);
        r.sample(MS);
        r.syn_was_lost();
        assert!(r.rto() < SEC);
    }
}
