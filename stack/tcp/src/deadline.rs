//! Time passes: delayed ACK, retransmission, probes, keep-alive, the end of waiting.

use crate::config::TcpConfig;
use crate::output::Probe;
use crate::segment::Sink;
use crate::snd::{LOST, RETRANS, SACKED};
use crate::tcb::{Env, Events, Recovery, Rexmit, State, Tcb, TcpError};
use crate::time::{Instant, MS};

impl Tcb {
    /// When [`on_deadline`](Self::on_deadline) wants to be called; [`Instant::NEVER`] if nothing is pending.
    #[inline]
    pub fn next_deadline(&self) -> Instant {
        self.rexmit_at.min(self.ack_at).min(self.linger_at).min(self.keepalive_at)
    }

    /// Does what is due at `env.now` and sends what follows from it. `true`: the sink had no room for all of it.
    pub fn on_deadline(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        let now = env.now;
        if self.linger_at <= now {
            // 2 MSL are over, or nobody will ever read what FIN-WAIT-2 waits for.
            self.die(env, None);
            return false;
        }
        if self.ack_at <= now {
            self.ack_at = Instant::NEVER;
            self.ack_now = true;
        }
        if self.keepalive_at <= now {
            self.on_keepalive(env);
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
                    if self.recovery == Recovery::Open
                        && self.snd.lost_unsent > 0
                        && !self.mtu_probe_lost(env)
                    {
                        self.enter_fast_recovery(prior_pipe);
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
        self.rtt.back_off();
        self.rexmit = Rexmit::Rto;
        self.rexmit_at = env.now + self.rto(env.cfg);
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.syn_due = true;
            return;
        }
        //= RFC 2018 section 8
        // RFC 2018 section 8: a receiver that SACKed the very segment it now lacks has reneged.
        let reneged = self.snd.segs.front().is_some_and(|s| s.has(SACKED));
        for i in 0..self.snd.unsent {
            if reneged {
                self.snd.mark(i, LOST, RETRANS | SACKED);
            } else if !self.snd.segs[i].has(SACKED) {
                self.snd.mark(i, LOST, RETRANS);
            }
        }
        self.forget_mtu_probe();
        self.check_black_hole(env);
        self.fin_lost = self.fin_sent;
        self.cc.on_rto(flight, self.retries == 1 && self.recovery != Recovery::Loss);
        self.recovery = Recovery::Loss;
        self.recover = self.snd_nxt;
        self.dup_acks = 0;
        self.rack.tlp_end = None;
    }

    fn on_keepalive(&mut self, env: &mut Env) {
        let idle = env.cfg.keepalive_idle_ns;
        let silent = env.now.since(self.last_recv_at);
        if silent < idle && self.keepalive_probes == 0 {
            self.keepalive_at = self.last_recv_at + idle;
            return;
        }
        //= RFC 9293 section 3.8.4, MUST-26
        if self.flight() > 0 {
            self.keepalive_at = env.now + idle;
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
        self.keepalive_at = env.now + env.cfg.keepalive_interval_ns.max(MS);
    }
}
