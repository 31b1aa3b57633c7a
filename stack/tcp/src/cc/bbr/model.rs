//! The model: bandwidth, losses, ACK aggregation. draft-ietf-ccwg-bbr section 5.5.

use super::{AckPhase, Bbr, Delivered, INFINITE, Phase};
use crate::rate::LOSS_THRESH;
use crate::time::SEC;

/// BBRBeta: what is left of a bound that was too high.
const BETA: f64 = 0.7;
/// BBRHeadroom
pub(super) const HEADROOM: f64 = 0.15;
/// Growth a round that still counts as such, and rounds without it that prove the pipe full: section 5.3.1.2.
const FULL_BW_GROWTH: f64 = 1.25;
const FULL_BW_ROUNDS: u8 = 3;
/// BBRStartupFullLossCnt: ACKs with losses in a round that is too lossy to go on doubling.
const STARTUP_FULL_LOSSES: u8 = 6;
/// Half of BBRExtraAckedFilterLen: the filter has two windows.
const EXTRA_ACKED_ROUNDS: u8 = 5;

impl Bbr {
    /// The first half of BBRUpdateModelAndState(), and its end.
    pub(super) fn update_model(&mut self, d: &Delivered) {
        self.update_latest(d);
        self.update_congestion(d);
        self.update_ack_aggregation(d);
        self.check_full_bw(d);
        self.check_startup_loss(d);
        if self.loss_round_start {
            self.loss_events_in_round = 0;
        }
        if let Some((inflight, app_limited)) = d.sample.too_high
            && self.bw_probe_samples
        {
            self.on_inflight_too_high(inflight, app_limited, d);
        }
    }

    /// BBRUpdateLatestDeliverySignals(), BBRUpdateRound()
    fn update_latest(&mut self, d: &Delivered) {
        let s = &d.sample;
        self.round_start = false;
        self.loss_round_start = false;
        let Some(prior) = s.prior_delivered else { return };
        if prior >= self.next_round_delivered {
            self.start_round(d);
            self.round_count = self.round_count.wrapping_add(1);
            self.rounds_since_bw_probe = self.rounds_since_bw_probe.saturating_add(1);
            self.round_start = true;
            self.limited = [false, self.limited[0]];
        }
        self.bw_latest = self.bw_latest.max(s.rate);
        self.inflight_latest = self.inflight_latest.max(s.delivered);
        if prior >= self.loss_round_delivered {
            self.loss_round_delivered = d.delivered;
            self.loss_round_start = true;
        }
    }

    pub(super) fn start_round(&mut self, d: &Delivered) {
        self.next_round_delivered = d.delivered;
    }

    /// BBRUpdateCongestionSignals(), BBRUpdateMaxBw(), BBRAdaptLowerBoundsFromCongestion()
    fn update_congestion(&mut self, d: &Delivered) {
        let s = &d.sample;
        if s.rate > 0.0 && (s.rate >= self.max_bw.get() || !s.app_limited) {
            self.max_bw.update(s.rate);
        }
        if s.newly_lost > 0 {
            self.loss_in_round = true;
            self.loss_events_in_round = self.loss_events_in_round.saturating_add(1);
        }
        if !self.loss_round_start {
            return;
        }
        let probing = matches!(self.phase, Phase::Startup | Phase::ProbeBwRefill | Phase::ProbeBwUp);
        if !probing && self.loss_in_round {
            if self.bw_shortterm == f64::INFINITY {
                self.bw_shortterm = self.max_bw.get();
            }
            if self.inflight_shortterm == INFINITE {
                self.inflight_shortterm = self.cwnd;
            }
            self.bw_shortterm = self.bw_latest.max(BETA * self.bw_shortterm);
            let floor = self.inflight_latest.min(INFINITE as u64 - 1) as u32;
            self.inflight_shortterm = floor.max((BETA * self.inflight_shortterm as f64) as u32);
        }
        self.loss_in_round = false;
    }

    /// BBRAdvanceLatestDeliverySignals(), BBRBoundBWForModel()
    pub(super) fn end_of_model(&mut self, d: &Delivered) {
        if self.loss_round_start {
            self.bw_latest = d.sample.rate;
            self.inflight_latest = d.sample.delivered;
        }
        self.bw = self.max_bw.get().min(self.bw_shortterm);
    }

    /// BBRResetCongestionSignals()
    pub(super) fn reset_congestion_signals(&mut self) {
        self.loss_in_round = false;
        self.bw_latest = 0.0;
        self.inflight_latest = 0;
    }

    /// BBRResetShortTermModel()
    pub(super) fn reset_shortterm(&mut self) {
        self.bw_shortterm = f64::INFINITY;
        self.inflight_shortterm = INFINITE;
    }

    /// BBRUpdateACKAggregation(): how much more than the bandwidth times the time arrives in a burst of ACKs.
    fn update_ack_aggregation(&mut self, d: &Delivered) {
        let expected = self.bw * d.now.since(self.extra_acked_start) as f64 / SEC as f64;
        let mut extra = self.extra_acked_delivered as f64 - expected;
        if extra <= 0.0 {
            self.extra_acked_delivered = 0;
            self.extra_acked_start = d.now;
            extra = 0.0;
        }
        self.extra_acked_delivered += d.sample.newly_acked as u64;
        extra = (extra + d.sample.newly_acked as f64).min(self.cwnd as f64);
        let windows = if self.full_bw_reached { EXTRA_ACKED_ROUNDS } else { 1 };
        if self.round_start {
            self.extra_acked_rounds += 1;
            if self.extra_acked_rounds >= windows {
                self.extra_acked_rounds = 0;
                self.extra_acked.advance();
            }
        }
        self.extra_acked.update(extra);
    }

    /// BBRResetFullBW()
    pub(super) fn reset_full_bw(&mut self) {
        self.full_bw = 0.0;
        self.full_bw_count = 0;
        self.full_bw_now = false;
    }

    /// BBRCheckFullBWReached()
    fn check_full_bw(&mut self, d: &Delivered) {
        let s = &d.sample;
        if self.full_bw_now || !self.round_start || s.app_limited || s.rate == 0.0 {
            return;
        }
        if s.rate >= self.full_bw * FULL_BW_GROWTH {
            self.reset_full_bw();
            self.full_bw = s.rate;
            return;
        }
        self.full_bw_count += 1;
        self.full_bw_now = self.full_bw_count >= FULL_BW_ROUNDS;
        self.full_bw_reached |= self.full_bw_now;
    }

    /// BBRCheckStartupHighLoss()
    fn check_startup_loss(&mut self, d: &Delivered) {
        if self.full_bw_reached
            || !self.loss_round_start
            || !d.recovering
            || self.loss_events_in_round < STARTUP_FULL_LOSSES
            || !is_too_high(d)
        {
            return;
        }
        self.full_bw_reached = true;
        let latest = self.inflight_latest.min(INFINITE as u64 - 1) as u32;
        self.inflight_longterm = latest.max(self.bdp(self.max_bw.get(), 1.0));
    }

    /// BBRHandleInflightTooHigh()
    fn on_inflight_too_high(&mut self, inflight: u32, app_limited: bool, d: &Delivered) {
        self.bw_probe_samples = false;
        if !app_limited {
            self.inflight_longterm = inflight.max((self.target_inflight() as f64 * BETA) as u32);
        }
        if self.phase == Phase::ProbeBwUp {
            self.start_probe_down(d.now, d);
        }
    }

    /// BBRAdaptLongTermModel()
    pub(super) fn adapt_longterm(&mut self, d: &Delivered) {
        let s = &d.sample;
        if self.round_start && self.ack_phase == AckPhase::ProbeStarting {
            self.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.round_start && self.ack_phase == AckPhase::ProbeStopping {
            // The samples of the probe are over.
            self.bw_probe_samples = false;
            self.ack_phase = AckPhase::Refilling;
            if self.is_probing_phase() && !s.app_limited {
                self.max_bw.advance();
            }
        }
        if s.prior_delivered.is_none() {
            return;
        }
        if is_too_high(d) {
            if self.bw_probe_samples {
                self.on_inflight_too_high(s.tx_in_flight, s.app_limited, d);
            }
            return;
        }
        if self.inflight_longterm == INFINITE {
            return;
        }
        self.inflight_longterm = self.inflight_longterm.max(s.tx_in_flight);
        if self.phase == Phase::ProbeBwUp {
            self.probe_longterm_upward(d);
        }
    }

    /// BBRProbeInflightLongtermUpward()
    fn probe_longterm_upward(&mut self, d: &Delivered) {
        if !self.is_limited() || self.cwnd < self.inflight_longterm {
            return;
        }
        self.bw_probe_up_acks += d.sample.newly_acked as u64;
        if self.bw_probe_up_acks >= self.probe_up_cnt {
            let delta = self.bw_probe_up_acks / self.probe_up_cnt;
            self.bw_probe_up_acks -= delta * self.probe_up_cnt;
            let grown = self.inflight_longterm as u64 + delta * self.smss as u64;
            self.inflight_longterm = grown.min(INFINITE as u64 - 1) as u32;
        }
        if self.round_start {
            self.raise_longterm_slope();
        }
    }

    /// BBRRaiseInflightLongtermSlope(): 1, 2, 4, ... segments a round. `probe_up_cnt` is in bytes a segment.
    pub(super) fn raise_longterm_slope(&mut self) {
        let growth = 1u64 << self.bw_probe_up_rounds;
        self.bw_probe_up_rounds = (self.bw_probe_up_rounds + 1).min(30);
        self.probe_up_cnt = (self.cwnd as u64 / growth).max(self.smss as u64);
    }

    /// The window was in use in this round or the last one.
    pub(super) fn is_limited(&self) -> bool {
        self.limited[0] || self.limited[1]
    }
}

/// BBRIsInflightTooHigh()
fn is_too_high(d: &Delivered) -> bool {
    d.sample.lost as f64 > d.sample.tx_in_flight as f64 * LOSS_THRESH
}
