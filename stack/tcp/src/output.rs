//! What leaves, and when: RFC 9293 sections 3.8.6 and 3.10.2, RFC 5681, 6675, 1122's Nagle and silly window rules.

use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::{FastOpen, TcpOptions};

use crate::ecn::codepoint;
use crate::segment::{Segment, Sent, Sink};
use crate::snd::PSH;
use crate::stats::Limit;
use crate::tcb::{Env, Recovery, Rexmit, State, Tcb};
use crate::time::Instant;

/// The timers' wish: send something although the windows say no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe {
    None,
    /// RFC 8985 section 7.3
    TailLoss,
    /// RFC 9293 section 3.8.6.1
    Window,
}

impl Tcb {
    /// Sends what may be sent now. `true`: the sink had no room for all of it; call again next turn.
    pub fn output(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        self.output_probing(Probe::None, env, sink)
    }

    pub(crate) fn output_probing(&mut self, probe: Probe, env: &mut Env, sink: &mut impl Sink) -> bool {
        if self.state == State::Closed {
            return false;
        }
        if self.syn_due && self.send_syn(env, sink) == Sent::NotNow {
            return true;
        }
        let before = self.snd_nxt;
        let mut blocked = false;
        let silent = match self.state {
            State::SynReceived => !self.answers_early(),
            State::SynSent | State::TimeWait | State::FinWait2 => true,
            _ => false,
        };
        if !silent {
            blocked = self.send_data(probe, env, sink);
            // In SYN-RECEIVED the timer is the SYN-ACK's.
            if self.state == State::SynReceived {
            } else if self.snd_nxt != before {
                self.on_new_data_sent(env.now);
            } else if self.rexmit_at.armed().is_none() && self.wants_timer() {
                self.arm_rexmit(env.now);
            }
        }
        if self.ack_now && self.state != State::SynSent {
            blocked |= self.send_ack(env, sink) == Sent::NotNow;
        }
        if self.stats.is_some() {
            self.note_limit(env.now);
        }
        self.maybe_writable(env.cfg);
        if self.keepalive_due {
            let ack = self.header(TcpFlags::ACK, env.now);
            if let Some(probe) = self.keepalive_probe(ack) {
                // A probe that finds no frame is simply one that got lost (MUST-29).
                let _ = sink.control(env.pool, &probe);
            }
        }
        blocked
    }

    fn send_data(&mut self, probe: Probe, env: &mut Env, sink: &mut impl Sink) -> bool {
        if self.flight() == 0 && !self.snd.segs.is_empty() {
            let (idle, rto) = (env.now.since(self.last_sent_at), self.rtt.rto_base());
            if idle > rto {
                self.cc.on_idle(env.cfg.idle_restart, idle, rto);
            }
            self.cc.on_transmit_start(env.now);
        }
        match probe {
            Probe::None => {}
            Probe::TailLoss => return self.send_tail_probe(env, sink),
            Probe::Window => return self.send_window_probe(env, sink),
        }
        if self.snd.lost_unsent > 0 && !self.frto_waits() && self.retransmit(env, sink) {
            return true;
        }
        self.cwnd_limited = false;
        if self.rare.is_some() && self.send_mtu_probe(env, sink) == Some(Sent::NotNow) {
            return true;
        }
        while self.snd.unsent < self.snd.segs.len() {
            match self.fit_next(env) {
                Fit::Send => {}
                Fit::Wait => break,
                Fit::NoFrame => return true,
            }
            if !sink.room() || self.send_next(env, sink) == Sent::NotNow {
                return true;
            }
        }
        self.note_app_limit();
        self.send_fin_if_due(env, sink)
    }

    /// What keeps data back, for those who count it.
    fn note_limit(&mut self, now: Instant) {
        let next = self.snd.segs.get(self.snd.unsent).map(|s| s.len());
        let usable = self.snd_wnd.saturating_sub(self.flight());
        let limit = match next {
            _ if self.snd.bytes() == 0 => Limit::Idle,
            Some(len) if len > usable && self.pipe() + len <= self.cc.cwnd => Limit::ReceiveWindow,
            None if self.wants_room && !self.cwnd_limited => Limit::SendBuffer,
            _ => Limit::Busy,
        };
        if let Some(s) = &mut self.stats {
            s.limited_by(limit, now);
        }
    }

    /// Bytes in flight as congestion control sees them; without SACK each duplicate ACK says that one segment left
    /// the network (this is limited transmit, RFC 3042, too). After a timeout they speak of what is not counted any more.
    //= RFC 3042 section 2
    pub(crate) fn pipe(&self) -> u32 {
        if self.sack_on || self.recovery == Recovery::Loss {
            return self.snd.pipe;
        }
        self.snd.pipe.saturating_sub(self.dup_acks as u32 * self.smss as u32)
    }

    /// Sends again what is lost, as far as cwnd allows. `true`: no room.
    //= RFC 9293 section 3.8.6, MUST-34, SHLD-16, MAY-7
    fn retransmit(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        while let Some(i) = self.snd.first_lost() {
            let len = self.snd.segs[i].len();
            let fits = self.head_due || self.pipe() == 0 || self.pipe() + len <= self.cc.cwnd;
            if !fits || !self.pace_allows(env.now) {
                return false;
            }
            if !sink.room() || self.resend(i, env, sink) == Sent::NotNow {
                return true;
            }
        }
        false
    }

    /// May the first unsent segment leave, and as much of it as stands in its frame? Cuts it where it must be.
    fn fit_next(&mut self, env: &mut Env) -> Fit {
        let i = self.snd.unsent;
        let smss = self.smss as u32;
        let mut len = self.snd.segs[i].len();
        if len > smss {
            // The MSS shrank since this was written.
            if !self.snd.split(env.pool, i, smss) {
                return Fit::NoFrame;
            }
            len = smss;
        }
        let in_flight = self.snd.segs[i].seq.since(self.snd_una);
        let usable = self.snd_wnd.saturating_sub(in_flight);
        //= RFC 9293 section 3.8.6, SHLD-15
        let is_last = i + 1 == self.snd.segs.len();
        if len > usable {
            // MUST-38, sender's silly window avoidance: a part of it only if that fills half the largest window
            // seen. (Else the persist timer sends on, see arm_rexmit.)
            //= RFC 9293 section 3.8.6.2.1, MUST-38
            if usable == 0 || usable < self.max_snd_wnd / 2 {
                return Fit::Wait;
            }
            if !self.snd.split(env.pool, i, usable) {
                return Fit::NoFrame;
            }
            len = usable;
        } else if len < smss
            && is_last
            && !self.fin_queued
            && ((!self.nodelay
                && in_flight > (self.state == State::SynReceived) as u32
                && self.small_in_flight())
                || env.cfg.cork)
            && !self.is_sending_urgent()
        {
            //= RFC 9293 section 3.7.4, SHLD-7, MUST-17
            //= RFC 9293 section 3.9.1.2, MUST-60
            // SHLD-7, Nagle. (A corked segment leaves by the persist timer at the latest, see arm_rexmit.)
            return Fit::Wait;
        }
        let pipe = self.pipe();
        if pipe > 0 && pipe + len > self.cc.cwnd {
            self.cwnd_limited = true;
            return Fit::Wait;
        }
        if !self.pace_allows(env.now) {
            return Fit::Wait;
        }
        Fit::Send
    }

    /// Sends the first unsent segment; FIN goes with the last one.
    pub(crate) fn send_next(&mut self, env: &mut Env, sink: &mut impl Sink) -> Sent {
        let i = self.snd.unsent;
        let fin = self.fin_queued && i + 1 == self.snd.segs.len() && self.state != State::SynReceived;
        if self.emit(i, fin, true, env, sink) == Sent::NotNow {
            return Sent::NotNow;
        }
        let len = self.snd.segs[i].len();
        self.snd.sent_next(env.now);
        if let Some(s) = &mut self.stats {
            s.data_out(len, false, env.now);
            if let Some(q) = s.acks.as_mut().filter(|_| len < self.smss as u32) {
                q.snd_sml = self.snd.segs[i].end();
            }
        }
        self.snd_nxt = self.snd_nxt.max(self.snd.segs[i].seq + len + fin as u32);
        self.fin_sent |= fin;
        if let Recovery::Fast(prr) | Recovery::Cwr(prr) = &mut self.recovery {
            prr.out += len;
        }
        Sent::Yes
    }

    /// Sends segment `i` again.
    pub(crate) fn resend(&mut self, i: usize, env: &mut Env, sink: &mut impl Sink) -> Sent {
        let smss = self.smss as u32;
        if self.snd.segs[i].len() > smss && !self.snd.split(env.pool, i, smss) {
            return Sent::NotNow;
        }
        let fin = self.fin_sent && i + 1 == self.snd.segs.len();
        if self.emit(i, fin, false, env, sink) == Sent::NotNow {
            return Sent::NotNow;
        }
        self.fin_lost &= !fin;
        self.snd.resent(i, env.now);
        self.head_due = false;
        if let Some(s) = &mut self.stats {
            s.data_out(self.snd.segs[i].len(), true, env.now);
        }
        env.counters.retransmits += 1;
        let (end, len) = (self.snd.segs[i].end(), self.snd.segs[i].len());
        let tsval = self.ts_now(env.now);
        if let Recovery::Fast(prr) = &mut self.recovery {
            prr.out += len;
        }
        if let Some(u) = self.undo_mut() {
            u.on_resent(end, len, tsval);
        }
        Sent::Yes
    }

    fn emit(&mut self, i: usize, fin: bool, new: bool, env: &mut Env, sink: &mut impl Sink) -> Sent {
        let mut segment = self.header(TcpFlags::ACK, env.now);
        let seg = &mut self.snd.segs[i];
        segment.seq = seg.seq;
        if fin {
            segment.flags |= TcpFlags::FIN;
        }
        // MUST-61: what ends a write, or the queue, is pushed.
        //= RFC 9293 section 3.9.1.2, MUST-61
        if seg.flags & PSH != 0 || fin {
            segment.flags |= TcpFlags::PSH;
        }
        if self.rare.is_some() {
            self.mark_urgent(&mut segment);
        }
        // Not for what is sent again, nor for window probes.
        //= RFC 3168 section 6.1.5
        //= RFC 3168 section 6.1.6
        let capable = new && self.ecn.is_on() && self.snd_wnd > 0;
        if capable {
            segment.ecn = codepoint::ECT_0;
            if self.ecn.cwr_due() {
                segment.flags |= TcpFlags::CWR;
            }
        }
        let seg = &mut self.snd.segs[i];
        let sent = sink.data(env.pool, &segment, &mut seg.frame, seg.sum);
        if sent == Sent::Yes {
            if capable {
                self.ecn.cwr_sent();
            }
            self.last_sent_at = env.now;
            self.on_sent(env, false);
        }
        sent
    }

    /// MUST-36: at least one octet beyond the closed window.
    //= RFC 9293 section 3.8.6.1, MUST-35, MUST-36
    fn send_window_probe(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        env.counters.window_probes += 1;
        let sent = if self.snd.unsent > 0 {
            self.resend(0, env, sink)
        } else if let Some(seg) = self.snd.segs.front() {
            // What the window has room for was held back by the sender's own rules: that much leaves (the override timeout
            // of RFC 9293 section 3.8.6.2.1).
            let fits = self.snd_wnd.min(self.smss as u32).max(1);
            if seg.len() > fits && !self.snd.split(env.pool, 0, fits) {
                return true;
            }
            self.send_next(env, sink)
        } else if self.fin_queued {
            self.send_fin(env, sink)
        } else {
            Sent::Yes
        };
        self.rexmit = Rexmit::Persist;
        self.rexmit_at = env.now + self.rto(env.cfg);
        sent == Sent::NotNow
    }

    fn send_fin_if_due(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        let first = self.fin_queued && !self.fin_sent && self.snd.unsent == self.snd.segs.len();
        let again = self.fin_lost && self.snd.segs.is_empty();
        let window_open = self.snd_wnd > self.snd_nxt.since(self.snd_una) || again;
        if !(first || again) || !window_open || self.state == State::SynReceived {
            return false;
        }
        self.send_fin(env, sink) == Sent::NotNow
    }

    /// A FIN by itself.
    pub(crate) fn send_fin(&mut self, env: &mut Env, sink: &mut impl Sink) -> Sent {
        if !self.fin_queued {
            return Sent::Yes;
        }
        let mut segment = self.header(TcpFlags::ACK | TcpFlags::FIN, env.now);
        segment.seq = self.snd.end;
        let sent = sink.control(env.pool, &segment);
        if sent == Sent::Yes {
            env.counters.retransmits += self.fin_sent as u64;
            self.fin_sent = true;
            self.fin_lost = false;
            self.snd_nxt = self.snd_nxt.max(self.snd.end + 1);
            self.last_sent_at = env.now;
            self.on_sent(env, false);
        }
        sent
    }

    /// RFC 9293 section 3.10.1 and 3.10.7.2: SYN, or SYN-ACK.
    fn send_syn(&mut self, env: &mut Env, sink: &mut impl Sink) -> Sent {
        let syn_ack = self.state == State::SynReceived;
        // The window of a SYN is never scaled (RFC 7323 section 2.2): at most 64 KiB are announced by it.
        //= RFC 9293 section 3.7.1, MUST-14, MUST-65, SHLD-5, MAY-3
        //= RFC 7323 section 2.2
        let wnd = if syn_ack { self.announce_window(true) } else { self.recv.buf.min(0xffff) as u16 };
        let ts = self.ts_on.then(|| (self.ts_now(env.now), if syn_ack { self.ts_recent } else { 0 }));
        let segment = Segment {
            seq: self.snd_una,
            ack: if syn_ack { self.rcv_nxt } else { Default::default() },
            flags: if syn_ack {
                TcpFlags::SYN | TcpFlags::ACK | self.ecn.syn_ack_flags()
            } else {
                TcpFlags::SYN | self.ecn.syn_flags(self.retries > 0)
            },
            wnd,
            ecn: codepoint::NOT_ECT,
            options: TcpOptions {
                mss: Some(self.local_mss),
                wscale: self.scaling.then_some(self.rcv_wscale),
                sack_permitted: self.sack_on,
                timestamps: ts,
                user_timeout: self.announced_user_timeout(env.cfg),
                // RFC 7413 section 4.2.1: what did not get through goes again without.
                fast_open: self
                    .rare
                    .as_ref()
                    .filter(|_| self.retries == 0)
                    .map_or(FastOpen::NONE, |r| r.fast_open),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        let with_data = !syn_ack && !segment.options.fast_open.is_none();
        let sent = match self.snd.segs.front_mut() {
            Some(seg) if with_data => sink.data(env.pool, &segment, &mut seg.frame, seg.sum),
            _ => sink.control(env.pool, &segment),
        };
        if sent == Sent::Yes {
            self.syn_due = false;
            self.snd_nxt = self.snd_nxt.max(self.iss + 1);
            if with_data && self.snd.unsent == 0 && self.snd.segs.front().is_some() {
                self.snd.sent_next(env.now);
                self.snd_nxt = self.snd.segs[0].end();
            }
            if syn_ack {
                self.ack_now = false;
                self.unacked_segs = 0;
                self.ack_at = Instant::NEVER;
            }
            self.last_sent_at = env.now;
            env.counters.segs_out += 1;
            env.counters.retransmits += (self.retries > 0) as u64;
            if let Some(s) = &mut self.stats {
                s.segs_out += 1;
                s.total_retrans += (self.retries > 0) as u32;
            }
            self.last_ack_sent = self.rcv_nxt;
            self.rexmit = Rexmit::Rto;
            self.rexmit_at = env.now + self.rto(env.cfg);
        }
        sent
    }

    fn send_ack(&mut self, env: &mut Env, sink: &mut impl Sink) -> Sent {
        if !sink.room() {
            return Sent::NotNow;
        }
        let mut segment = self.header(TcpFlags::ACK, env.now);
        if self.sack_on
            && let Some(ooo) = &mut self.ooo
        {
            // RFC 2018 section 3: 40 bytes of options hold 4 blocks, 3 beside timestamps.
            //= RFC 2018 section 3
            segment.options.sack = ooo.sack.take_blocks(if self.ts_on { 3 } else { 4 });
            self.tidy_ooo();
        }
        self.mark_urgent(&mut segment);
        let user_timeout = self.announced_user_timeout(env.cfg);
        if user_timeout != self.told_user_timeout {
            // RFC 5482 section 3: in the SYN, again in the first segment after it (the SYN may have met a stack that
            // looks at options later only), and when it changes. In an ACK without data: data segments are full.
            segment.options.user_timeout = user_timeout;
        }
        let sent = sink.control(env.pool, &segment);
        if sent == Sent::Yes {
            self.told_user_timeout = user_timeout;
            self.on_sent(env, true);
        }
        sent
    }

    /// SEQ = SND.NXT, ACK = RCV.NXT, the window, and timestamps if agreed.
    fn header(&mut self, flags: TcpFlags, now: Instant) -> Segment {
        //= RFC 7323 section 3.2
        let timestamps = self.ts_on.then(|| (self.ts_now(now), self.ts_recent));
        Segment {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: flags | self.ecn.ack_flags(),
            wnd: self.announce_window(false),
            urgent: 0,
            ecn: codepoint::NOT_ECT,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        }
    }

    /// A segment left, and its ACK field with it. `with_sack`: so did the SACK blocks, which a data segment has no
    /// room for; an ACK that owes some still leaves by itself then (RFC 2018 section 4).
    fn on_sent(&mut self, env: &mut Env, with_sack: bool) {
        env.counters.segs_out += 1;
        if let Some(s) = &mut self.stats {
            s.segs_out += 1;
            if (self.ack_now || self.ack_at.armed().is_some())
                && let Some(q) = &mut s.acks
            {
                q.ack_out();
            }
        }
        self.last_ack_sent = self.rcv_nxt;
        if self.sack_on && !with_sack && self.ooo.as_ref().is_some_and(|o| !o.sack.is_empty()) {
            return;
        }
        self.ack_now = false;
        self.unacked_segs = 0;
        self.ack_at = Instant::NEVER;
    }

    /// <SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>
    pub(crate) fn rst_segment(&self) -> Segment {
        Segment {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..Segment::default()
        }
    }

    /// Is there anything that a lost segment, or a lost window update, would leave hanging?
    pub(crate) fn wants_timer(&self) -> bool {
        self.flight() > 0 || !self.snd.segs.is_empty() || (self.fin_queued && !self.fin_sent)
    }

    /// Starts the one transmission timer that fits the situation, from now.
    pub(crate) fn arm_rexmit(&mut self, now: Instant) {
        if !self.wants_timer() {
            self.rexmit_at = Instant::NEVER;
            return;
        }
        if self.snd_wnd == 0 || self.flight() == 0 {
            //= RFC 9293 section 3.8.6.1, SHLD-29
            // RFC 9293 SHLD-29: the first probe after an RTO. Also for a window that is open but too small for the
            // silly window avoidance to use (its override timer).
            self.rexmit = Rexmit::Persist;
            self.rexmit_at = now + self.rtt.rto();
            return;
        }
        self.restart_rto(now);
    }
}

enum Fit {
    Send,
    Wait,
    NoFrame,
}
