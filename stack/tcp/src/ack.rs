//! What an acknowledgment does: RFC 9293 section 3.10.7.4 (fifth), RFC 5681, 6675, 8985, 9937.

use linerate_wire::tcp::TcpFlags;

use crate::cc::Acked;
use crate::frto::Frto;
use crate::input::TcpDrop;
use crate::limits::{DUP_THRESH, RTO_MAX_NS, SACK_RANGES};
use crate::prr::Prr;
use crate::rack::Echo;
use crate::segment::SegmentIn;
use crate::seq::SeqNum;
use crate::snd::{EVER_RETRANS, LOST, RETRANS, SACKED};
use crate::tcb::{Env, Recovery, Rexmit, State, Tcb};
use crate::time::{Instant, MS};
use crate::undo::Evidence;

/// What one ACK brought.
#[derive(Default)]
struct Delivery {
    /// Payload bytes newly acknowledged or SACKed.
    bytes: u32,
    /// The segments that they were.
    delivered_segs: u32,
    /// RTT of the youngest segment delivered that was sent once, ns.
    rtt: Option<u64>,
    /// Something was SACKed that was not.
    sacked: bool,
    /// Segments acknowledged cumulatively.
    segs: u32,
    /// Something that was sent more than once was acknowledged.
    resent_acked: bool,
    /// A duplicate that the peer reports (RFC 2883): its end.
    dsack: Option<SeqNum>,
    /// With which all that recovery had sent again was reported.
    all_reported: bool,
    /// A loss was found.
    newly_lost: bool,
    /// The peer echoes congestion.
    ece: bool,
}

impl Tcb {
    /// The ACK field of an acceptable segment.
    pub(crate) fn on_ack(&mut self, seg: &SegmentIn, env: &mut Env) -> Result<(), TcpDrop> {
        //= RFC 5961 section 5.2
        //= RFC 9293 section 3.10.7.4, MAY-12
        if seg.ack.after(self.snd_nxt) || seg.ack.before(self.snd_una - self.max_snd_wnd) {
            // RFC 5961 section 5.2
            self.challenge_ack(env);
            return Err(TcpDrop::BadAck);
        }
        if seg.ack.before(self.snd_una) {
            return Ok(());
        }
        let window_moved = self.update_window(seg);
        let prior_pipe = self.snd.pipe;
        let acked = seg.ack.since(self.snd_una);
        let mut d = Delivery { ece: self.ecn.is_on() && seg.has(TcpFlags::ECE), ..Delivery::default() };
        self.begin_sample(env.now);
        if acked > 0 {
            self.release_acked(seg, &mut d, env);
            if self.rare.is_some() {
                self.mtu_probe_acked();
            }
        }
        if self.sack_on && !seg.options.sack.is_empty() {
            self.take_sack(seg, &mut d, env);
        }
        if let Some(s) = &mut self.stats {
            s.delivered += d.delivered_segs;
        }
        if acked > 0 && d.rtt.is_none() {
            d.rtt = self.echoed_rtt(seg, env.now);
        }
        if let Some(rtt) = d.rtt {
            self.rtt.sample(rtt);
            self.rack.tlp.measured();
        }
        let is_dup = acked == 0
            && seg.payload_len == 0
            && !window_moved
            && !seg.has(TcpFlags::FIN)
            // The answer to a zero-window probe says nothing of losses.
            && self.snd_wnd > 0
            && self.flight() > 0;
        if self.rack.tlp.is_out() {
            self.tlp_on_ack(
                seg.ack,
                is_dup && seg.options.sack.is_empty(),
                d.dsack == Some(self.rack.tlp_end),
            );
        }
        if self.rare.is_some() && self.undo().is_some() {
            let ack = Evidence {
                acked,
                resent_acked: d.resent_acked,
                is_dup,
                sacked: d.sacked,
                dsack: d.dsack.is_some(),
                all_reported: d.all_reported,
                rtt: d.rtt,
            };
            self.check_spurious(seg, &ack, env);
        }
        self.detect_loss(acked, is_dup, &mut d, env);
        self.react(acked, prior_pipe, &d, env);
        self.end_sample(d.rtt, env);
        if acked > 0 {
            self.retries = 0;
            if self.recovery == Recovery::Open && self.snd_una.since(self.recover) > 1 << 30 {
                // So that `recover` stays behind when sequence numbers wrap.
                self.recover = self.snd_una - 1;
            }
            self.soft_error = None;
            // The reordering timer that `detect_loss` has just set stays (RFC 8985 section 6.2 step 5), a stale one goes.
            let watched = self.sack_on && (self.snd.sacked > 0 || self.recovery.repairs());
            if self.rexmit != Rexmit::Reorder || !watched {
                self.arm_rexmit(env.now);
            }
            self.tune_snd_buf(env);
            self.maybe_writable(env.cfg);
            if self.rare.is_some() {
                self.urgent_acked();
            }
            self.on_fin_acked(env);
            return Ok(());
        }
        if self.rexmit == Rexmit::Persist {
            // MUST-37: a peer that answers probes may keep its window closed for ever, while an application wants the
            // connection (RFC 6429: one that nobody holds any more may be given up). When it opens, the probes' backoff
            // says nothing about the path.
            //= RFC 9293 section 3.8.6.1, MUST-37
            self.retries = if self.detached { self.retries } else { 0 };
            self.rtt.backoff = if self.snd_wnd > 0 { 0 } else { self.rtt.backoff };
            let opens = self.snd_wnd >= (self.smss as u32).min(self.max_snd_wnd / 2).max(1);
            if opens && self.flight() == 1 && self.snd.unsent == 1 {
                // The probe's octet was not taken: it goes with what follows it, at once.
                self.snd.take_back(env.pool, self.smss as u32);
            }
        }
        if window_moved {
            self.arm_rexmit(env.now);
        }
        Ok(())
    }

    /// RTTM, for what was sent more than once: the timestamp says which one is acknowledged. Only as exact as its clock.
    fn echoed_rtt(&self, seg: &SegmentIn, now: Instant) -> Option<u64> {
        //= RFC 7323 section 4.1
        let (true, Some((_, tsecr))) = (self.ts_on, seg.options.timestamps) else { return None };
        let rtt = self.ts_now(now).wrapping_sub(tsecr).max(1) as u64 * MS;
        (rtt <= RTO_MAX_NS).then_some(rtt)
    }

    /// SND.WND follows the segment that is newest by SEG.SEQ, then SEG.ACK. Returns whether it changed.
    fn update_window(&mut self, seg: &SegmentIn) -> bool {
        let newer =
            self.snd_wl1.before(seg.seq) || (self.snd_wl1 == seg.seq && self.snd_wl2.at_or_before(seg.ack));
        if !newer {
            return false;
        }
        //= RFC 9293 section 3.8.6, MUST-1, REC-1
        let wnd = (seg.wnd as u32) << self.snd_wscale;
        let moved = wnd != self.snd_wnd;
        self.snd_wnd = wnd;
        self.max_snd_wnd = self.max_snd_wnd.max(wnd);
        self.snd_wl1 = seg.seq;
        self.snd_wl2 = seg.ack;
        moved
    }

    /// Frames of data on our SYN that was acknowledged go home.
    pub(crate) fn release_syn_data(&mut self, seg: &SegmentIn, env: &mut Env) {
        self.release_acked(seg, &mut Delivery::default(), env);
    }

    /// Frames that were acknowledged go home.
    fn release_acked(&mut self, seg: &SegmentIn, d: &mut Delivery, env: &mut Env) {
        let ack = seg.ack;
        let echo = Echo {
            tsecr: if self.ts_on { seg.options.timestamps.map(|t| t.1) } else { None },
            offset: self.ts_offset,
        };
        let before = self.snd.bytes();
        let (mut sacked_before, mut ambiguous) = (0, false);
        while let Some(seg) = self.snd.pop_acked(env.pool, ack) {
            if seg.has(SACKED) {
                sacked_before += seg.len();
            } else {
                self.rack.delivered(&seg, env.now, self.rtt.min_rtt(), echo);
                d.delivered_segs += 1;
                //= RFC 9293 section 3.8.1, MUST-18
                //= RFC 6298 section 3
                ambiguous |= seg.has(EVER_RETRANS);
                d.rtt = Some(env.now.since(seg.sent_at));
            }
            d.segs += 1;
            d.resent_acked |= seg.has(EVER_RETRANS);
            env.pool.free(seg.frame);
        }
        // MUST-18, Karn: what stood behind a hole may have arrived long before the retransmission that filled it.
        if ambiguous {
            d.rtt = None;
        }
        d.bytes += before - self.snd.bytes() - sacked_before;
        self.snd_una = ack;
    }

    /// RFC 2018 section 5, RFC 2883 section 5.
    //= RFC 2018 section 5
    //= RFC 2883 section 5
    fn take_sack(&mut self, seg: &SegmentIn, d: &mut Delivery, env: &mut Env) {
        let first = seg.options.sack.as_slice().first().copied();
        // In the order of the sequence space: blocks come newest first, and to take a lower one after a higher would
        // look like reordering (RFC 8985 section 6.2 step 3).
        let mut blocks = [(0, 0); SACK_RANGES];
        let blocks = &mut blocks[..seg.options.sack.len()];
        blocks.copy_from_slice(seg.options.sack.as_slice());
        blocks.sort_unstable_by_key(|(start, _)| start.wrapping_sub(self.snd_una.0));
        let acked_rtt = d.rtt;
        let echo = Echo { tsecr: None, offset: 0 };
        for (start, end) in blocks.iter().copied() {
            let (start, end) = (SeqNum(start), SeqNum(end));
            if !start.before(end) || end.after(self.snd_nxt) {
                continue;
            }
            if end.at_or_before(seg.ack) {
                //= RFC 2883 section 5
                if Some((start.0, end.0)) == first {
                    if let Some(s) = &mut self.stats {
                        s.dsack_dups += 1;
                    }
                    self.on_dsack(start, end, d);
                }
                continue;
            }
            let mut i = self.snd.index_after(start);
            while i < self.snd.unsent {
                let s = &self.snd.segs[i];
                if s.end().after(end) {
                    break;
                }
                if s.seq.at_or_after(start) && !s.has(SACKED) {
                    self.rack.delivered(s, env.now, self.rtt.min_rtt(), echo);
                    if !s.has(EVER_RETRANS) && acked_rtt.is_none() {
                        d.rtt = Some(env.now.since(s.sent_at));
                    }
                    d.bytes += s.len();
                    d.delivered_segs += 1;
                    d.sacked = true;
                    self.snd.mark(i, SACKED, LOST | RETRANS);
                }
                i += 1;
            }
        }
    }

    /// The peer got `[start, end)` twice: one of ours was spurious (or the network made two of one).
    fn on_dsack(&mut self, start: SeqNum, end: SeqNum, d: &mut Delivery) {
        d.dsack = Some(end);
        d.all_reported |= self.undo_mut().is_some_and(|u| u.on_dsack(start, end));
        // A probe's duplicate says that the timer was early, not that RACK was.
        let of_probe = self.rack.tlp.is_out() && self.rack.tlp.is_retrans() && end == self.rack.tlp_end;
        if !of_probe {
            self.rack.on_dsack(self.snd_una, self.snd_nxt);
        }
    }

    /// Marks what is lost.
    fn detect_loss(&mut self, acked: u32, is_dup: bool, d: &mut Delivery, env: &mut Env) {
        let lost_before = self.snd.lost_unsent;
        if self.sack_on {
            // Without a hole above SND.UNA there is nothing to find.
            if self.snd.sacked > 0 || self.recovery.repairs() {
                self.rack_detect(env);
            }
            d.newly_lost = self.snd.lost_unsent > lost_before;
            return;
        }
        // Without SACK: RFC 5681 section 3.2 and RFC 6582.
        //= RFC 5681 section 3.2
        //= RFC 6582 section 3.2
        if is_dup {
            self.dup_acks = self.dup_acks.saturating_add(1);
            if self.dup_acks as u32 == DUP_THRESH && !self.recovery.repairs() && self.snd.unsent > 0
                //= RFC 6582 section 3.2
                // Step 2: not for duplicates of an earlier recovery's window.
                && self.snd_una.after(self.recover)
            {
                self.snd.mark(0, LOST, RETRANS);
            }
        } else if acked > 0 {
            let partial = matches!(self.recovery, Recovery::Fast(_)) && self.snd_una.before(self.recover);
            if partial && self.snd.unsent > 0 {
                // Step 5, partial ACK: what it stops at is lost, too, and leaves at once.
                self.snd.mark(0, LOST, RETRANS);
                self.head_due = true;
            }
            // Each duplicate stood for a segment that this ACK covers, but for the retransmission.
            let counted = (self.dup_acks as u32).min(d.segs.saturating_sub(1));
            d.bytes = d.bytes.saturating_sub(counted * self.smss as u32);
            self.dup_acks = if partial { self.dup_acks - counted as u8 } else { 0 };
        }
        d.newly_lost = self.snd.lost_unsent > lost_before;
    }

    /// RACK, and its timer for what is not yet late.
    pub(crate) fn rack_detect(&mut self, env: &mut Env) {
        let in_recovery = self.recovery.repairs();
        let reo_wnd = self.rack.reo_wnd(self.rtt.min_rtt(), self.rtt.srtt(), in_recovery, self.snd.sacked);
        match self.rack.detect_loss(&mut self.snd, env.now, reo_wnd) {
            Some(wait) => {
                self.rexmit = Rexmit::Reorder;
                self.rexmit_at = env.now + wait.max(1);
            }
            None if self.rexmit == Rexmit::Reorder => self.arm_rexmit(env.now),
            None => {}
        }
    }

    /// The window's answer to this ACK.
    fn react(&mut self, acked: u32, prior_pipe: u32, d: &Delivery, env: &mut Env) {
        if self.recovery.repairs() && self.snd_una.at_or_after(self.recover)
            // Something beyond it, so that the peer has seen CWR and echoes no more.
            || matches!(self.recovery, Recovery::Cwr(_)) && self.snd_una.after(self.recover)
        {
            self.end_recovery();
        }
        if d.ece {
            self.on_ece(prior_pipe);
        }
        if !self.recovery.repairs() && self.snd.lost_unsent > 0 && !self.mtu_probe_lost(env) {
            self.enter_fast_recovery(prior_pipe, env);
        }
        match self.recovery {
            Recovery::Fast(_) | Recovery::Cwr(_) => {
                // Without SACK each duplicate ACK delivered one segment (RFC 9937 section 5).
                let delivered = if self.sack_on || acked > 0 { d.bytes } else { self.smss as u32 };
                self.proportional_rate(delivered, acked > 0 && !d.newly_lost);
            }
            Recovery::Open | Recovery::Loss => {
                if acked > 0 && !self.frto_waits() {
                    let limited = self.cwnd_limited
                        || (self.cc.in_slow_start() && prior_pipe.saturating_mul(2) >= self.cc.cwnd);
                    // After a timeout a cumulative ACK may cover what had arrived long before.
                    let bytes = if self.recovery == Recovery::Loss { d.bytes.min(acked) } else { acked };
                    self.cc.on_ack(&Acked {
                        bytes,
                        now: env.now,
                        srtt: self.rtt.srtt(),
                        rtt: d.rtt,
                        una: self.snd_una,
                        nxt: self.snd_nxt,
                        limited,
                        l_segs: env.cfg.slow_start_l_segs,
                    });
                }
            }
        }
    }

    /// `recover` is acknowledged.
    fn end_recovery(&mut self) {
        if matches!(self.recovery, Recovery::Fast(_) | Recovery::Cwr(_)) && !self.cc.is_model_based() {
            //= RFC 9937 section 6.2
            self.cc.cwnd = self.cc.ssthresh;
        }
        if self.recovery.repairs() {
            self.rack.on_recovered();
            self.close_undo();
        }
        self.recovery = Recovery::Open;
        self.dup_acks = 0;
        self.head_due = false;
        self.cc.on_recovered(self.snd_una, self.snd_nxt);
    }

    /// RFC 6675 section 5 step 4, RFC 9937 section 6. `prior_pipe`: what was in flight before the ACK (or the timer)
    /// that told of the loss, which is RFC 9937's RecoverFS.
    pub(crate) fn enter_fast_recovery(&mut self, prior_pipe: u32, env: &Env) {
        self.recovery = match self.recovery {
            //= RFC 3168 section 6.1.2
            // The window was reduced for this round trip already.
            Recovery::Cwr(prr) => Recovery::Fast(prr),
            _ => {
                self.begin_undo(false, Frto::Off);
                self.cc.on_congestion(self.flight());
                Recovery::Fast(Prr::new(prior_pipe))
            }
        };
        self.recover = self.snd_nxt;
        self.ecn.on_reduced();
        //= RFC 6675 section 5
        // (4.3): the first segment leaves whatever the pipe holds.
        self.head_due = true;
        self.rack.tlp.reset();
        if self.rexmit != Rexmit::Reorder {
            self.arm_rexmit(env.now);
        }
    }

    /// cwnd of fast recovery: RFC 9937. A model of the path needs none.
    pub(crate) fn proportional_rate(&mut self, delivered: u32, safe: bool) {
        if self.cc.is_model_based() {
            return;
        }
        let (pipe, ssthresh, smss) = (self.pipe(), self.cc.ssthresh, self.smss as u32);
        let forced = matches!(self.recovery, Recovery::Fast(_));
        if let Recovery::Fast(prr) | Recovery::Cwr(prr) = &mut self.recovery
            && let Some(cwnd) = prr.on_ack(delivered, pipe, ssthresh, smss, safe, forced)
        {
            self.cc.cwnd = cwnd;
        }
    }

    /// Our FIN was acknowledged: the state moves on.
    fn on_fin_acked(&mut self, env: &mut Env) {
        if !self.fin_sent || self.snd_una != self.snd_nxt {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.detached {
                    self.wait_at = env.now + env.cfg.fin_wait_2_ns;
                    self.lingering = true;
                }
            }
            State::Closing => self.enter_time_wait(env),
            State::LastAck => self.die(env, None),
            _ => {}
        }
    }
}
