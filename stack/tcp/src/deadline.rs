//! Time passes: delayed ACK, retransmission, probes, keep-alive, the end of waiting.

use crate::config::TcpConfig;
use crate::frto::Frto;
use crate::output::Probe;
use crate::segment::Sink;
use crate::snd::{LOST, RETRANS, SACKED};
use crate::tcb::{Env, Events, Recovery, Rexmit, State, Tcb, TcpError};
use crate::time::{Instant, MS};

impl Tcb {
    /// When [`on_deadline`](Self::on_deadline) wants to be called; [`Instant::NEVER`] if nothing is pending.
    #[inline]
    pub fn next_deadline(&self) -> Instant {
        self.rexmit_at.min(self.ack_at).min(self.wait_at).min(self.gate_opens_at())
    }

    /// What this connection waits for although no timer watches over it: it would hang if that never came. `None`: all
    /// is well. Holds after [`output`](Self::output) that was not blocked.
    pub fn unwatched(&self) -> Option<&'static str> {
        let forever = |at: Instant| at.armed().is_none();
        match self.state {
            State::Closed => return None,
            State::SynSent | State::SynReceived if forever(self.rexmit_at) => {
                return Some("the handshake");
            }
            State::TimeWait if forever(self.wait_at) => return Some("the end of 2 MSL"),
            State::FinWait2 if self.detached && forever(self.wait_at) => return Some("the peer's FIN"),
            _ => {}
        }
        if self.wants_timer() && forever(self.rexmit_at) {
            return Some("an acknowledgment or a window");
        }
        let synchronized = !matches!(self.state, State::SynSent | State::SynReceived);
        if synchronized && self.rcv_nxt != self.last_ack_sent && !self.ack_now && forever(self.ack_at) {
            return Some("nothing, but owes an ACK");
        }
        None
    }

    /// Does what is due at `env.now` and sends what follows from it. `true`: the sink had no room for all of it.
    pub fn on_deadline(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        let now = env.now;
        if self.lingering && self.wait_at <= now {
            // 2 MSL are over, or nobody will ever read what FIN-WAIT-2 waits for.
            self.die(env, None);
            return false;
        }
        if self.ack_at <= now {
            self.ack_at = Instant::NEVER;
            self.ack_now = true;
            let rto = self.rtt.rto();
            if let Some(q) = self.quick_acks() {
                q.timer(rto);
            }
        }
        if self.wait_at <= now {
            self.on_keepalive(env);
        }
        if self.gate_opens_at() <= now
            && let Some(p) = self.snd.paced.as_deref_mut()
        {
            // The next burst may leave, below.
            p.gate.open(now);
        }
        let mut probe = Probe::None;
        if self.rexmit_at <= now {
            self.rexmit_at = Instant::NEVER;
            match self.rexmit {
                //= RFC 6298 section 5
                Rexmit::Rto => self.on_rto(env),
                Rexmit::TailProbe => probe = Probe::TailLoss,
                Rexmit::Reorder => {
                    let prior_pipe = self.snd.pipe;
                    self.rack_detect(env);
                    if !self.recovery.repairs() && self.snd.lost_unsent > 0 && !self.mtu_probe_lost(env) {
                        self.enter_fast_recovery(prior_pipe, env);
                        self.proportional_rate(0, false);
                    }
                }
                Rexmit::Persist => {
                    // MUST-37: as long as the peer acknowledges, the window may stay closed for ever; probes that
                    // nobody answers count like retransmissions.
                    if self.give_up(env.cfg.data_retries, env) {
                        return false;
                    }
                    //= RFC 9293 section 3.8.6.1, SHLD-30
                    self.rtt.back_off();
                    probe = Probe::Window;
                }
            }
        }
        self.output_probing(probe, env, sink)
    }

    //= RFC 9293 section 3.8.3, MUST-20
    //= RFC 9293 section 3.8.3, SHLD-9
    fn give_up(&mut self, limit: u8, env: &mut Env) -> bool {
        let over = match self.user_timeout(env.cfg) {
            Some(timeout) => self.stalled_for() >= timeout,
            None => self.retries >= limit,
        };
        if over {
            // What the network said of it says more than our silence.
            let why = self.soft_error.unwrap_or(TcpError::TimedOut);
            self.die(env, Some(why));
            return true;
        }
        self.retries = self.retries.saturating_add(1);
        if self.retries == env.cfg.r1_retries {
            self.raise(Events::TROUBLE);
        }
        false
    }

    /// R1 retransmissions of the oldest segment, just now or since.
    pub fn in_trouble(&self, cfg: &TcpConfig) -> bool {
        cfg.r1_retries > 0 && self.retries == cfg.r1_retries
    }

    /// RFC 6298 (5.4) to (5.7), RFC 5681 section 3.1.
    fn on_rto(&mut self, env: &mut Env) {
        env.counters.timeouts += 1;
        if let Some(s) = &mut self.stats {
            s.total_rto += 1;
        }
        let limit = match self.state {
            State::SynSent => env.cfg.syn_retries,
            State::SynReceived => env.cfg.synack_retries,
            _ => env.cfg.data_retries,
        };
        let flight = self.flight();
        if self.give_up(limit, env) {
            return;
        }
        //= RFC 6298 section 5.5
        //= RFC 9293 section 3.8.2, MUST-19
        if self.state != State::SynSent || self.retries > env.cfg.syn_linear_timeouts {
            self.rtt.back_off();
        }
        self.rexmit = Rexmit::Rto;
        self.rexmit_at = env.now + self.rto(env.cfg);
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.syn_due = true;
            return;
        }
        let had_no_sacks = self.snd.sacked == 0;
        self.mark_losses_on_rto(env);
        self.forget_mtu_probe();
        self.check_black_hole(env);
        self.fin_lost = self.fin_sent;
        self.head_due = true;
        // RFC 5681 (4): not for a segment that the timer has sent again before. What fast recovery has reduced was
        // reduced for this loss.
        let first = match self.recovery {
            Recovery::Open | Recovery::Loss => self.retries == 1,
            Recovery::Fast(_) | Recovery::Cwr(_) => false,
        };
        if first {
            //= RFC 5682 section 2.1
            // Step 1: not within an earlier recovery, and (section 3.1) not with a scoreboard that is forgotten now.
            let frto = self.recovery == Recovery::Open && had_no_sacks && self.snd.unsent > 0;
            self.begin_undo(true, if frto { Frto::First } else { Frto::Off });
        } else if self.recovery == Recovery::Loss {
            if let Some(u) = self.undo_mut() {
                u.frto = Frto::Off;
            }
        } else {
            self.forget_undo();
        }
        self.ecn.on_reduced();
        self.cc.on_rto(flight, first);
        self.recovery = Recovery::Loss;
        self.recover = self.snd_nxt;
        self.dup_acks = 0;
        self.rack.tlp.reset();
    }

    /// What is outstanding is lost; with SACK only the first segment and what was sent long enough ago.
    fn mark_losses_on_rto(&mut self, env: &Env) {
        let reo_wnd = self.rack.reo_wnd(self.rtt.min_rtt(), self.rtt.srtt(), true, self.snd.sacked);
        for i in 0..self.snd.unsent {
            //= RFC 8985 section 6.3
            let lost = i == 0 || !self.sack_on || self.rack.is_late(&self.snd.segs[i], env.now, reo_wnd);
            //= RFC 2018 section 8
            // The scoreboard is forgotten: the peer may have reneged. It is kept in what the ACKs to come say.
            self.snd.mark(i, if lost { LOST } else { 0 }, if lost { RETRANS | SACKED } else { SACKED });
        }
    }

    fn on_keepalive(&mut self, env: &mut Env) {
        let idle = env.cfg.keepalive_idle_ns;
        let silent = env.now.since(self.last_recv_at);
        if silent < idle && self.keepalive_probes == 0 {
            self.wait_at = self.last_recv_at + idle;
            return;
        }
        //= RFC 9293 section 3.8.4, MUST-26
        if self.flight() > 0 {
            self.wait_at = env.now + idle;
            return;
        }
        //= RFC 9293 section 3.8.4, MUST-29
        let over = match self.user_timeout(env.cfg) {
            Some(timeout) => self.keepalive_probes > 0 && silent >= timeout,
            None => self.keepalive_probes >= env.cfg.keepalive_probes.max(1),
        };
        if over {
            self.die(env, Some(TcpError::TimedOut));
            return;
        }
        self.keepalive_probes = self.keepalive_probes.saturating_add(1);
        self.keepalive_due = true;
        self.wait_at = env.now + env.cfg.keepalive_interval_ns.max(MS);
    }
}
