//! Pacing: what the window allows leaves as bursts of a quantum, at a rate; the timer wheel releases the next one.

use alloc::boxed::Box;

use crate::cc::CcKind;
use crate::cc::bbr::{Delivered, Start};
use crate::config::TcpConfig;
use crate::limits::{PACING_BURST_BYTES, PACING_BURST_NS};
use crate::rate::RateSampler;
use crate::tcb::{Env, Recovery, State, Tcb};
use crate::time::{Instant, SEC};

/// What a paced connection has, beside its send queue.
#[derive(Debug)]
pub(crate) struct Paced {
    pub gate: Pacer,
    /// For BBR.
    pub rate: Option<RateSampler>,
}

impl Paced {
    /// A segment leaves; see [`RateSampler::on_sent`].
    pub fn on_sent(&mut self, index: Option<usize>, len: u32, pipe: u32, now: Instant) {
        self.gate.on_sent(len, now);
        if let Some(rate) = &mut self.rate {
            rate.on_sent(index, len, pipe, now);
        }
    }
}

impl Tcb {
    /// Takes the congestion control and the pacing of `cfg`, at establishment or when they change.
    pub(crate) fn choose_cc(&mut self, cfg: &TcpConfig, now: Instant) {
        if matches!(self.state, State::SynSent | State::SynReceived | State::Closed | State::TimeWait) {
            return;
        }
        let (min_rtt, srtt) = (self.rtt.min_rtt(), self.rtt.srtt());
        self.cc.switch(cfg.cc, &Start { now, min_rtt, srtt, seed: self.snd_una.0 });
        let bbr = cfg.cc == CcKind::Bbr;
        if !bbr && !cfg.pacing {
            self.snd.paced = None;
            return;
        }
        let sent = self.snd.unsent;
        let paced = self.snd.paced.get_or_insert_with(|| Box::new(Paced { gate: Pacer::new(), rate: None }));
        match (bbr, &paced.rate) {
            (true, None) => paced.rate = Some(RateSampler::new(sent, now)),
            (false, Some(_)) => paced.rate = None,
            _ => {}
        }
        paced.gate.set_rate(self.cc.pacing_rate(srtt), self.smss as u32);
    }

    /// An ACK begins, for those who measure.
    #[inline]
    pub(crate) fn begin_sample(&mut self, now: Instant) {
        if let Some(Paced { rate: Some(rate), .. }) = self.snd.paced.as_deref_mut() {
            rate.begin(now);
        }
    }

    /// All of an ACK was seen: BBR has its sample, and the pace follows.
    #[inline]
    pub(crate) fn end_sample(&mut self, rtt: Option<u64>, env: &Env) {
        if self.snd.paced.is_some() {
            self.set_pace(rtt, env);
        }
    }

    fn set_pace(&mut self, rtt: Option<u64>, env: &Env) {
        let Some(p) = self.snd.paced.as_deref_mut() else { return };
        if let Some(rate) = &mut p.rate {
            let d = Delivered {
                sample: rate.generate(self.rtt.min_rtt()),
                now: env.now,
                rtt,
                pipe: self.snd.pipe,
                delivered: rate.delivered,
                limited: self.cwnd_limited,
                recovering: matches!(self.recovery, Recovery::Fast(_)),
            };
            if self.cc.on_delivered(&d, self.recovery == Recovery::Loss) {
                rate.mark_app_limited(self.snd.pipe);
            }
        }
        p.gate.set_rate(self.cc.pacing_rate(self.rtt.srtt()), self.smss as u32);
    }

    /// Everything that the application gave has left, and more might have: CheckIfApplicationLimited().
    #[inline]
    pub(crate) fn note_app_limit(&mut self) {
        if let Some(Paced { rate: Some(rate), .. }) = self.snd.paced.as_deref_mut()
            && self.snd.unsent == self.snd.segs.len()
            && self.snd.pipe < self.cc.cwnd
            && self.snd.lost_unsent == 0
        {
            rate.mark_app_limited(self.snd.pipe);
        }
    }

    /// Does pacing let a segment leave now?
    #[inline]
    pub(crate) fn pace_allows(&mut self, now: Instant) -> bool {
        match self.snd.paced.as_deref_mut() {
            None => true,
            Some(p) => p.gate.may_send(now),
        }
    }

    /// When the gate opens again; `NEVER`: it is open.
    #[inline]
    pub(crate) fn gate_opens_at(&self) -> Instant {
        self.snd.paced.as_deref().map_or(Instant::NEVER, |p| p.gate.closed_until)
    }
}

/// The gate of one connection.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes/s; 0: not known yet, everything may leave.
    rate: u64,
    /// Bytes of a burst at most: what the rate sends in a millisecond, within bounds.
    quantum: u32,
    /// When what was sent so far would have left at the rate.
    due: Instant,
    /// Closed until then; `NEVER`: open.
    pub closed_until: Instant,
    /// The gate was opened late: what the rate would have sent since then may follow at once.
    late: bool,
}

impl Pacer {
    pub fn new() -> Self {
        Self { rate: 0, quantum: 0, due: Instant(0), closed_until: Instant::NEVER, late: false }
    }

    /// Bytes/s; 0: not known yet.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    pub fn set_rate(&mut self, rate: u64, smss: u32) {
        self.rate = rate;
        self.quantum = quantum(rate, smss);
    }

    /// May a segment leave now? If not, [`closed_until`](Self::closed_until) says when: once the whole burst is paid, so
    /// that the next is a burst again, not a segment each.
    #[inline]
    pub fn may_send(&mut self, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        if let Some(until) = self.closed_until.armed() {
            if now < until {
                return false;
            }
            self.open(now);
        }
        if self.due.since(now) >= self.burst_ns() {
            self.closed_until = self.due;
            return false;
        }
        true
    }

    /// `len` bytes left.
    pub fn on_sent(&mut self, len: u32, now: Instant) {
        let Some(takes) = (len as u64 * SEC).checked_div(self.rate) else { return };
        let from = if self.late { self.due } else { self.due.max(now) };
        self.due = from + takes;
        self.late &= self.due < now;
    }

    /// The next burst may leave. A turn that came late is made up for, by a burst at most; time without anything to send
    /// is not.
    pub fn open(&mut self, now: Instant) {
        self.closed_until = Instant::NEVER;
        if self.rate > 0 {
            self.due = self.due.max(now - self.burst_ns());
            self.late = self.due < now;
        }
    }

    fn burst_ns(&self) -> u64 {
        self.quantum as u64 * SEC / self.rate
    }
}

/// BBRSetSendQuantum(), and Linux's autosizing of TSO bursts: a millisecond's worth, at most 64 KiB, at least two
/// segments, so that the peer's delayed ACK has what it waits for.
pub(crate) fn quantum(rate: u64, smss: u32) -> u32 {
    let ms = rate.saturating_mul(PACING_BURST_NS) / SEC;
    (ms.min(PACING_BURST_BYTES as u64) as u32).max(2 * smss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    /// Sends as much as it may for a while, called at every release; (bytes, bursts).
    fn run(p: &mut Pacer, mut now: Instant, ns: u64, late: u64) -> (u64, u64) {
        let (end, mut sent, mut bursts) = (now + ns, 0, 0);
        while now < end {
            bursts += 1;
            while p.may_send(now) {
                p.on_sent(1000, now);
                sent += 1000;
            }
            now = p.closed_until + late;
        }
        (sent, bursts)
    }

    #[test]
    fn keeps_its_rate_in_bursts_of_a_millisecond() {
        let mut p = Pacer::new();
        p.set_rate(10_000_000, 1000);
        let (sent, bursts) = run(&mut p, Instant(SEC), SEC, 0);
        assert!((9_990_000..=10_040_000).contains(&sent), "{sent}");
        assert!((900..=1001).contains(&bursts), "{bursts}");
        // A turn that comes 100 us late each time costs no rate.
        let (sent, _) = run(&mut p, Instant(10 * SEC), SEC, MS / 10);
        assert!((9_980_000..=10_040_000).contains(&sent), "{sent}");
    }

    #[test]
    fn no_burst_is_saved_up_in_idle_time() {
        let mut p = Pacer::new();
        p.set_rate(10_000_000, 1000);
        run(&mut p, Instant(SEC), MS, 0);
        let mut burst = 0;
        while p.may_send(Instant(100 * SEC)) {
            p.on_sent(1000, Instant(100 * SEC));
            burst += 1;
        }
        assert!(burst <= 20, "{burst} segments of 10 a quantum");
    }

    #[test]
    fn the_quantum_has_bounds() {
        assert_eq!(quantum(100_000, 1448), 2896);
        assert_eq!(quantum(10_000_000, 1448), 10_000);
        assert_eq!(quantum(1_000_000_000, 1448), 65_536);
    }
}
