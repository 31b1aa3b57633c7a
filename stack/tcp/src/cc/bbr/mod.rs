//! BBRv3: draft-ietf-ccwg-bbr. A model of the path (its bandwidth, its round-trip time, how much in flight it bears) sets
//! the pacing rate and the window; loss and ECN bound the model, they don't drive it.
//!
//! The names are the draft's (section numbers are those of its version 02). Units are bytes, ns and bytes/s.

mod filter;
mod model;
mod phase;

use crate::rate::RateSample;
use crate::time::{Instant, MS, SEC};
use filter::MaxOfTwo;

/// No bound: the draft's Infinity.
const INFINITE: u32 = u32::MAX;

// Section 2.4 and 5: gains.
const STARTUP_PACING_GAIN: f64 = 2.77;
const DEFAULT_CWND_GAIN: f64 = 2.0;
const DRAIN_PACING_GAIN: f64 = 0.5;
const PROBE_DOWN_PACING_GAIN: f64 = 0.9;
const PROBE_UP_PACING_GAIN: f64 = 1.25;
const PROBE_UP_CWND_GAIN: f64 = 2.25;
const PROBE_RTT_CWND_GAIN: f64 = 0.5;
/// Pacing stays this far below the estimate, so that a queue of our own making drains: BBRPacingMarginPercent.
const PACING_MARGIN: f64 = 0.01;
/// BBRMinPipeCwnd in segments: the peer's delayed ACK must not stall us.
const MIN_PIPE_SEGS: u32 = 4;

/// Where in its life the flow is: section 5.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Doubling the rate each round until the bandwidth is found.
    Startup,
    /// The queue that this made is drained.
    Drain,
    /// A little less than the estimate: leaves room for others.
    ProbeBwDown,
    /// At the estimate.
    ProbeBwCruise,
    /// A round at the estimate before the probe, so that the pipe is full.
    ProbeBwRefill,
    /// A quarter more than the estimate, until loss or a queue shows.
    ProbeBwUp,
    /// Half of the estimate in flight, so that the path's own RTT shows.
    ProbeRtt,
}

/// Which segments the ACKs of now are of: section 5.3.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AckPhase {
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// What an ACK tells BBR.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The delivery rate sample.
    pub sample: RateSample,
    /// Now.
    pub now: Instant,
    /// RTT sample in ns.
    pub rtt: Option<u64>,
    /// C.inflight after the ACK.
    pub pipe: u32,
    /// C.delivered
    pub delivered: u64,
    /// The window was in use.
    pub limited: bool,
    /// In fast recovery.
    pub recovering: bool,
}

/// What the connection is when BBR takes it over.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Now.
    pub now: Instant,
    /// Smallest RTT seen in ns; `u64::MAX`: none.
    pub min_rtt: u64,
    /// SRTT in ns; 0: none.
    pub srtt: u64,
    /// Decides about the moments of probing.
    pub seed: u32,
}

/// The model, the phase and the controls: about 400 bytes, on the heap of connections that use it.
#[derive(Clone, Debug)]
pub struct Bbr {
    smss: u32,
    cwnd: u32,
    initial_cwnd: u32,
    rng: u32,
    phase: Phase,
    /// Bytes/s.
    pacing_rate: f64,
    pacing_gain: f64,
    cwnd_gain: f64,
    send_quantum: u32,
    prior_cwnd: u32,
    idle_restart: bool,

    // Rounds: section 5.5.1.
    next_round_delivered: u64,
    round_start: bool,
    round_count: u32,

    // Bandwidth: section 5.5.2 to 5.5.6. max_bw in bytes/s.
    max_bw: MaxOfTwo,
    bw: f64,
    bw_shortterm: f64,
    bw_latest: f64,
    full_bw: f64,
    full_bw_count: u8,
    full_bw_now: bool,
    full_bw_reached: bool,

    // How much the path bears: section 5.5.7 to 5.5.10.
    inflight_longterm: u32,
    inflight_shortterm: u32,
    inflight_latest: u64,
    loss_round_delivered: u64,
    loss_round_start: bool,
    loss_in_round: bool,
    loss_events_in_round: u8,
    extra_acked: MaxOfTwo,
    extra_acked_rounds: u8,
    extra_acked_start: Instant,
    extra_acked_delivered: u64,

    // RTT: section 5.5.11.
    min_rtt: u64,
    min_rtt_at: Instant,
    probe_rtt_min: u64,
    probe_rtt_min_at: Instant,
    probe_rtt_expired: bool,
    probe_rtt_done_at: Instant,
    probe_rtt_round_done: bool,

    // ProbeBW: section 5.3.3.
    ack_phase: AckPhase,
    cycle_at: Instant,
    bw_probe_wait: u64,
    rounds_since_bw_probe: u32,
    bw_probe_samples: bool,
    bw_probe_up_rounds: u8,
    bw_probe_up_acks: u64,
    probe_up_cnt: u64,
    /// The window was in use in this round, in the last one.
    limited: [bool; 2],
}

impl Bbr {
    /// BBROnInit()
    pub fn new(cwnd: u32, smss: u32, s: &Start) -> Self {
        let mut b = Self {
            smss,
            cwnd,
            initial_cwnd: cwnd,
            rng: s.seed | 1,
            phase: Phase::Startup,
            pacing_rate: 0.0,
            pacing_gain: STARTUP_PACING_GAIN,
            cwnd_gain: DEFAULT_CWND_GAIN,
            send_quantum: 2 * smss,
            prior_cwnd: 0,
            idle_restart: false,
            next_round_delivered: 0,
            round_start: false,
            round_count: 0,
            max_bw: MaxOfTwo::default(),
            bw: 0.0,
            bw_shortterm: f64::INFINITY,
            bw_latest: 0.0,
            full_bw: 0.0,
            full_bw_count: 0,
            full_bw_now: false,
            full_bw_reached: false,
            inflight_longterm: INFINITE,
            inflight_shortterm: INFINITE,
            inflight_latest: 0,
            loss_round_delivered: 0,
            loss_round_start: false,
            loss_in_round: false,
            loss_events_in_round: 0,
            extra_acked: MaxOfTwo::default(),
            extra_acked_rounds: 0,
            extra_acked_start: s.now,
            extra_acked_delivered: 0,
            min_rtt: s.min_rtt,
            min_rtt_at: s.now,
            probe_rtt_min: s.min_rtt,
            probe_rtt_min_at: s.now,
            probe_rtt_expired: false,
            probe_rtt_done_at: Instant::NEVER,
            probe_rtt_round_done: false,
            ack_phase: AckPhase::ProbeStopping,
            cycle_at: s.now,
            bw_probe_wait: 0,
            rounds_since_bw_probe: 0,
            bw_probe_samples: false,
            bw_probe_up_rounds: 0,
            bw_probe_up_acks: 0,
            probe_up_cnt: u64::MAX,
            limited: [false; 2],
        };
        // BBRInitPacingRate()
        let rtt = if s.srtt > 0 { s.srtt } else { MS };
        b.pacing_rate = STARTUP_PACING_GAIN * cwnd as f64 * SEC as f64 / rtt as f64;
        b
    }

    /// SMSS changed.
    pub fn set_smss(&mut self, smss: u32) {
        self.smss = smss;
    }

    /// Bytes/s.
    pub fn pacing_rate(&self) -> u64 {
        self.pacing_rate as u64
    }

    /// For those who watch.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// BBR.bw in bytes/s.
    pub fn bw(&self) -> u64 {
        self.bw as u64
    }

    /// BBR.min_rtt in ns; `u64::MAX`: no sample yet.
    pub fn min_rtt(&self) -> u64 {
        self.min_rtt
    }

    /// Pacing gain and window gain.
    pub fn gains(&self) -> (f64, f64) {
        (self.pacing_gain, self.cwnd_gain)
    }

    /// BBRUpdateOnACK(): the model, the phase, then the controls. Returns cwnd. `true`: what is in flight is to be
    /// marked as limited by the application, for a small window must not be taken for a small bandwidth.
    pub fn on_ack(&mut self, cwnd: u32, d: &Delivered) -> (u32, bool) {
        self.cwnd = cwnd;
        self.limited[0] |= d.limited;
        self.update_model(d);
        self.update_phase(d);
        let mark = self.phase == Phase::ProbeRtt;
        self.set_pacing_rate(self.pacing_gain);
        self.send_quantum = crate::pacing::quantum(self.pacing_rate(), self.smss);
        self.set_cwnd(d);
        (self.cwnd, mark)
    }

    /// A congestion event: a loss (its size comes with the next sample), or the peer's ECN echo.
    pub fn on_congestion(&mut self) {
        self.loss_in_round = true;
    }

    /// BBROnEnterRTO(): the window to go on from is remembered.
    pub fn on_rto(&mut self, cwnd: u32) {
        self.save_cwnd(cwnd);
    }

    /// BBROnExitRecovery()
    pub fn on_recovered(&mut self, cwnd: u32) -> u32 {
        if self.phase == Phase::ProbeRtt {
            return cwnd;
        }
        cwnd.max(core::mem::take(&mut self.prior_cwnd))
    }

    /// BBRHandleSpuriousLossDetection(): `before` is the model as it was.
    pub fn on_spurious(&mut self, before: &Self) {
        self.loss_in_round = false;
        self.reset_full_bw();
        self.bw_shortterm = self.bw_shortterm.max(before.bw_shortterm);
        self.inflight_shortterm = self.inflight_shortterm.max(before.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(before.inflight_longterm);
    }

    /// BBRHandleRestartFromIdle()
    pub fn on_idle_restart(&mut self, now: Instant) {
        self.idle_restart = true;
        self.extra_acked_start = now;
        if self.is_probing_phase() {
            self.set_pacing_rate(1.0);
        } else if self.phase == Phase::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }

    /// One of the four of ProbeBW?
    fn is_probing_phase(&self) -> bool {
        use Phase::*;
        matches!(self.phase, ProbeBwDown | ProbeBwCruise | ProbeBwRefill | ProbeBwUp)
    }

    fn save_cwnd(&mut self, cwnd: u32) {
        self.prior_cwnd = self.prior_cwnd.max(cwnd);
    }

    fn min_pipe_cwnd(&self) -> u32 {
        MIN_PIPE_SEGS * self.smss
    }

    /// BBRBDPMultiple()
    fn bdp(&self, bw: f64, gain: f64) -> u32 {
        if self.min_rtt == u64::MAX {
            return self.initial_cwnd;
        }
        (gain * bw * self.min_rtt as f64 / SEC as f64) as u32
    }

    /// BBRQuantizationBudget(): bursts, and ACKs of more than one segment, must not stop the flow.
    fn with_budget(&self, inflight: u32) -> u32 {
        let budget = inflight.max(3 * self.send_quantum).max(self.min_pipe_cwnd());
        if self.phase == Phase::ProbeBwUp { budget.saturating_add(2 * self.smss) } else { budget }
    }

    /// BBRInflight()
    fn inflight(&self, bw: f64, gain: f64) -> u32 {
        self.with_budget(self.bdp(bw, gain))
    }

    /// BBRInflightWithHeadroom(): leaves a share of what the path bears to others.
    fn inflight_with_headroom(&self) -> u32 {
        if self.inflight_longterm == INFINITE {
            return INFINITE;
        }
        let headroom = (self.inflight_longterm as f64 * model::HEADROOM) as u32;
        self.inflight_longterm.saturating_sub(headroom.max(self.smss)).max(self.min_pipe_cwnd())
    }

    /// BBRTargetInflight()
    fn target_inflight(&self) -> u32 {
        self.bdp(self.bw, 1.0).min(self.cwnd)
    }

    /// BBRSetPacingRateWithGain(). Before the pipe is known to be full the rate never falls.
    fn set_pacing_rate(&mut self, gain: f64) {
        let rate = gain * self.bw * (1.0 - PACING_MARGIN);
        if rate > 0.0 && (self.full_bw_reached || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    /// BBRSetCwnd()
    fn set_cwnd(&mut self, d: &Delivered) {
        let acked = d.sample.newly_acked;
        let max_inflight =
            self.with_budget(self.bdp(self.bw, self.cwnd_gain).saturating_add(self.extra_acked.get() as u32));
        if self.full_bw_reached {
            self.cwnd = self.cwnd.saturating_add(acked).min(max_inflight);
        } else if self.cwnd < max_inflight || d.delivered < self.initial_cwnd as u64 {
            self.cwnd = self.cwnd.saturating_add(acked);
        }
        self.cwnd = self.cwnd.max(self.min_pipe_cwnd());
        if self.phase == Phase::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        // BBRBoundCwndForModel()
        let cap = match self.phase {
            Phase::ProbeBwCruise | Phase::ProbeRtt => self.inflight_with_headroom(),
            Phase::ProbeBwDown | Phase::ProbeBwRefill | Phase::ProbeBwUp => self.inflight_longterm,
            Phase::Startup | Phase::Drain => INFINITE,
        };
        let cap = cap.min(self.inflight_shortterm).max(self.min_pipe_cwnd());
        self.cwnd = self.cwnd.min(cap);
    }

    /// BBRProbeRTTCwnd()
    fn probe_rtt_cwnd(&self) -> u32 {
        self.bdp(self.bw, PROBE_RTT_CWND_GAIN).max(self.min_pipe_cwnd())
    }

    /// A number below `n`, from the connection's own sequence (xorshift32).
    fn random_below(&mut self, n: u32) -> u32 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 17;
        self.rng ^= self.rng << 5;
        ((self.rng as u64 * n as u64) >> 32) as u32
    }
}

#[cfg(test)]
mod tests;
