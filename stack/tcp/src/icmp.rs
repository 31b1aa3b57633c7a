//! ICMP errors about our segments: RFC 9293 section 3.9.2.2, RFC 5927, RFC 5461; and a path's MTU that shrank: RFC 1191.

use crate::limits::MSS_MIN;
use crate::seq::SeqNum;
use crate::snd::{LOST, RETRANS, SACKED};
use crate::tcb::{Env, Events, Recovery, State, Tcb, TcpError};

impl Tcb {
    /// Can an ICMP error that quotes `seq` be about a segment of ours that is still in flight? One who does not see the
    /// connection has to guess that.
    //= RFC 5927 section 4.1
    pub fn is_in_flight(&self, seq: SeqNum) -> bool {
        self.state != State::Closed && seq.at_or_after(self.snd_una) && seq.before(self.snd_nxt)
    }

    /// The network says that a segment did not arrive. `hard`: it says that none will. The caller has asked
    /// [`is_in_flight`](Self::is_in_flight).
    //= RFC 9293 section 3.9.2.2, MUST-54
    pub fn on_icmp_error(&mut self, error: TcpError, hard: bool, env: &mut Env) {
        let synchronized = !matches!(self.state, State::SynSent | State::SynReceived);
        // RFC 5461 section 4.1 describes what many do with soft errors of a connection that never was.
        let hard = hard || env.cfg.icmp_soft_errors_abort_syn;
        //= RFC 9293 section 3.9.2.2, SHLD-26
        if hard && !synchronized {
            return self.die(env, Some(error));
        }
        //= RFC 9293 section 3.9.2.2, SHLD-25
        //= RFC 9293 section 3.9.2.2, MUST-56
        //= RFC 5927 section 5.2
        self.soft_error = Some(error);
        self.raise(Events::SOFT_ERROR);
    }

    /// What the network last complained of without an end to the connection; told once.
    //= RFC 9293 section 3.9.1.8, MUST-47
    pub fn take_soft_error(&mut self) -> Option<TcpError> {
        self.soft_error.take()
    }

    /// The path takes segments of this MSS (headers without options subtracted from its MTU). Lower or higher than
    /// before: what is not sent yet is cut anew as it leaves.
    pub fn set_path_mss(&mut self, mss: u16) {
        if mss == self.path_mss {
            return;
        }
        self.path_mss = mss;
        if let Some(probe) = self.mtu_probe_mut() {
            probe.path_shrank(mss);
        }
        self.set_smss(!matches!(self.state, State::SynSent | State::SynReceived));
    }

    /// Segments in flight that the path can't carry are lost: they leave again, cut. Nothing of it is congestion, so
    /// the window stays.
    //= RFC 1191 section 6.4
    //= RFC 8201 section 5.4
    pub fn resend_oversized(&mut self, env: &mut Env) {
        let smss = self.smss as u32;
        for i in 0..self.snd.unsent {
            let s = &self.snd.segs[i];
            if s.len() > smss && !s.has(SACKED) {
                self.snd.mark(i, LOST, RETRANS);
            }
        }
        if self.snd.lost_unsent > 0 {
            self.recover_without_reduction(env);
        }
    }

    /// Retransmits what is marked lost without an answer of congestion control.
    pub(crate) fn recover_without_reduction(&mut self, env: &mut Env) {
        if self.recovery == Recovery::Open {
            self.recovery = Recovery::Loss;
            self.recover = self.snd_nxt;
            self.dup_acks = 0;
        }
        self.rack.tlp.reset();
        self.arm_rexmit(env.now);
    }

    //= RFC 9293 section 3.7.1, MUST-16
    pub(crate) fn set_smss(&mut self, started: bool) {
        let options = if self.ts_on { crate::limits::TS_OPTION_BYTES } else { 0 };
        let path = self.mtu_probe().map_or(self.path_mss, |p| p.low.min(self.path_mss));
        //= RFC 9293 section 3.7.1, MUST-16
        self.smss = self.local_mss.min(self.peer_mss).min(path).max(MSS_MIN) - options;
        self.cc.set_smss(self.smss as u32, started);
    }
}
