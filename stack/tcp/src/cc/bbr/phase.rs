//! The state machine: draft-ietf-ccwg-bbr section 5.3.

use super::{
    AckPhase, Bbr, DEFAULT_CWND_GAIN, DRAIN_PACING_GAIN, Delivered, PROBE_DOWN_PACING_GAIN,
    PROBE_RTT_CWND_GAIN, PROBE_UP_CWND_GAIN, PROBE_UP_PACING_GAIN, Phase, STARTUP_PACING_GAIN,
};
use crate::time::{Instant, MS, SEC};

/// MinRTTFilterLen
const MIN_RTT_FILTER_NS: u64 = 10 * SEC;
/// ProbeRTTInterval
const PROBE_RTT_INTERVAL_NS: u64 = 5 * SEC;
/// ProbeRTTDuration
const PROBE_RTT_NS: u64 = 200 * MS;
/// Between probes for bandwidth: 2 s and a random part of another, but no longer than Reno would take for a loss of
/// its own at this window, 63 rounds at most (section 5.3.3.8).
const PROBE_WAIT_NS: u64 = 2 * SEC;
const PROBE_WAIT_ROUNDS: u32 = 63;

impl Bbr {
    /// The second half of BBRUpdateModelAndState().
    pub(super) fn update_phase(&mut self, d: &Delivered) {
        if self.phase == Phase::Startup && self.full_bw_reached {
            self.enter(Phase::Drain, DRAIN_PACING_GAIN, DEFAULT_CWND_GAIN);
        }
        if self.phase == Phase::Drain && d.pipe <= self.inflight(self.max_bw.get(), 1.0) {
            self.start_probe_down(d.now, d);
        }
        self.update_probe_bw(d);
        self.update_min_rtt(d);
        self.check_probe_rtt(d);
        self.end_of_model(d);
    }

    fn enter(&mut self, phase: Phase, pacing_gain: f64, cwnd_gain: f64) {
        self.phase = phase;
        self.pacing_gain = pacing_gain;
        self.cwnd_gain = cwnd_gain;
    }

    /// BBRUpdateProbeBWCyclePhase()
    fn update_probe_bw(&mut self, d: &Delivered) {
        if !self.full_bw_reached {
            return;
        }
        self.adapt_longterm(d);
        match self.phase {
            Phase::ProbeBwDown => self.cruise_if_time(d),
            Phase::ProbeBwCruise => {
                self.probe_if_time(d);
            }
            Phase::ProbeBwRefill if self.round_start => {
                self.bw_probe_samples = true;
                self.start_probe_up(d);
            }
            Phase::ProbeBwUp => self.go_down_if_time(d),
            _ => {}
        }
    }

    /// BBRStartProbeBW_DOWN()
    pub(super) fn start_probe_down(&mut self, now: Instant, d: &Delivered) {
        self.reset_congestion_signals();
        self.probe_up_cnt = u64::MAX;
        // BBRPickProbeWait(): flows that share a bottleneck must not probe in step.
        self.rounds_since_bw_probe = self.random_below(2);
        self.bw_probe_wait = PROBE_WAIT_NS + self.random_below(1000) as u64 * MS;
        self.cycle_at = now;
        self.ack_phase = AckPhase::ProbeStopping;
        self.start_round(d);
        self.enter(Phase::ProbeBwDown, PROBE_DOWN_PACING_GAIN, DEFAULT_CWND_GAIN);
    }

    fn start_probe_refill(&mut self, d: &Delivered) {
        self.reset_shortterm();
        self.bw_probe_up_rounds = 0;
        self.bw_probe_up_acks = 0;
        self.ack_phase = AckPhase::Refilling;
        self.start_round(d);
        self.enter(Phase::ProbeBwRefill, 1.0, DEFAULT_CWND_GAIN);
    }

    fn start_probe_up(&mut self, d: &Delivered) {
        self.ack_phase = AckPhase::ProbeStarting;
        self.start_round(d);
        self.reset_full_bw();
        self.full_bw = d.sample.rate;
        self.enter(Phase::ProbeBwUp, PROBE_UP_PACING_GAIN, PROBE_UP_CWND_GAIN);
        self.raise_longterm_slope();
    }

    /// BBRIsTimeToProbeBW(), BBRIsRenoCoexistenceProbeTime()
    fn probe_if_time(&mut self, d: &Delivered) -> bool {
        let reno_rounds = self.target_inflight() / self.smss.max(1);
        let time = d.now.since(self.cycle_at) > self.bw_probe_wait
            || self.rounds_since_bw_probe >= reno_rounds.min(PROBE_WAIT_ROUNDS);
        if time {
            self.start_probe_refill(d);
        }
        time
    }

    /// BBRIsTimeToCruise(): the queue is gone, and room is left for others.
    fn cruise_if_time(&mut self, d: &Delivered) {
        let drained =
            d.pipe <= self.inflight_with_headroom() && d.pipe <= self.inflight(self.max_bw.get(), 1.0);
        if !self.probe_if_time(d) && drained {
            self.enter(Phase::ProbeBwCruise, 1.0, DEFAULT_CWND_GAIN);
        }
    }

    /// BBRIsTimeToGoDown(): the rate no longer grows with what is in flight.
    fn go_down_if_time(&mut self, d: &Delivered) {
        if self.is_limited() && self.cwnd >= self.inflight_longterm {
            self.reset_full_bw();
            self.full_bw = d.sample.rate;
        } else if self.full_bw_now {
            self.start_probe_down(d.now, d);
        }
    }

    /// BBRUpdateMinRTT()
    fn update_min_rtt(&mut self, d: &Delivered) {
        self.probe_rtt_expired = d.now.since(self.probe_rtt_min_at) > PROBE_RTT_INTERVAL_NS;
        if let Some(rtt) = d.rtt
            && (rtt < self.probe_rtt_min || self.probe_rtt_expired)
        {
            self.probe_rtt_min = rtt;
            self.probe_rtt_min_at = d.now;
        }
        let expired = d.now.since(self.min_rtt_at) > MIN_RTT_FILTER_NS;
        if self.probe_rtt_min < self.min_rtt || expired {
            self.min_rtt = self.probe_rtt_min;
            self.min_rtt_at = self.probe_rtt_min_at;
        }
    }

    /// BBRCheckProbeRTT()
    fn check_probe_rtt(&mut self, d: &Delivered) {
        if self.phase != Phase::ProbeRtt && self.probe_rtt_expired && !self.idle_restart {
            self.enter(Phase::ProbeRtt, 1.0, PROBE_RTT_CWND_GAIN);
            self.save_cwnd(self.cwnd);
            self.probe_rtt_done_at = Instant::NEVER;
            self.ack_phase = AckPhase::ProbeStopping;
            self.start_round(d);
        }
        if self.phase == Phase::ProbeRtt {
            self.in_probe_rtt(d);
        }
        if d.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// BBRHandleProbeRTT()
    fn in_probe_rtt(&mut self, d: &Delivered) {
        if self.probe_rtt_done_at == Instant::NEVER {
            if d.pipe <= self.probe_rtt_cwnd() {
                self.probe_rtt_done_at = d.now + PROBE_RTT_NS;
                self.probe_rtt_round_done = false;
                self.start_round(d);
            }
            return;
        }
        self.probe_rtt_round_done |= self.round_start;
        if self.probe_rtt_round_done {
            self.check_probe_rtt_done(d.now);
        }
    }

    /// BBRCheckProbeRTTDone(), BBRExitProbeRTT()
    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.probe_rtt_done_at.armed().is_none_or(|at| now <= at) {
            return;
        }
        self.probe_rtt_min_at = now;
        self.cwnd = self.cwnd.max(core::mem::take(&mut self.prior_cwnd));
        self.reset_shortterm();
        if !self.full_bw_reached {
            self.enter(Phase::Startup, STARTUP_PACING_GAIN, DEFAULT_CWND_GAIN);
            return;
        }
        self.rounds_since_bw_probe = self.random_below(2);
        self.bw_probe_wait = PROBE_WAIT_NS + self.random_below(1000) as u64 * MS;
        self.reset_congestion_signals();
        self.probe_up_cnt = u64::MAX;
        self.cycle_at = now;
        self.ack_phase = AckPhase::ProbeStopping;
        self.enter(Phase::ProbeBwCruise, 1.0, DEFAULT_CWND_GAIN);
    }
}
