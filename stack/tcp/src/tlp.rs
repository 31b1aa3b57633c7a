//! Tail loss probe: RFC 8985 section 7. When the last segments of a flight are lost no later one will tell; after two
//! round trips of silence one more is sent, whose answer does.

use crate::limits::{TLP_MIN_NS, TLP_WC_DELACK_NS};
use crate::segment::{Sent, Sink};
use crate::seq::SeqNum;
use crate::snd::SACKED;
use crate::tcb::{Env, Recovery, Rexmit, Tcb};
use crate::time::Instant;

/// RFC 8985 section 7.1; its TLP.end_seq is [`Rack::tlp_end`](crate::rack::Rack).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tlp(u8);

impl Tlp {
    const OUT: u8 = 1;
    /// TLP.is_retrans
    const RETRANS: u8 = 2;
    /// No RTT was measured since the last probe.
    const UNMEASURED: u8 = 4;

    /// Is a probe out?
    #[inline]
    pub fn is_out(self) -> bool {
        self.0 & Self::OUT != 0
    }

    pub fn is_retrans(self) -> bool {
        self.0 & Self::RETRANS != 0
    }

    fn sent(&mut self, retrans: bool) {
        self.0 = Self::OUT | Self::UNMEASURED | if retrans { Self::RETRANS } else { 0 };
    }

    /// There is an RTT sample.
    #[inline]
    pub fn measured(&mut self) {
        self.0 &= !Self::UNMEASURED;
    }

    /// The probe is answered, or a recovery begins.
    pub fn reset(&mut self) {
        self.0 &= Self::UNMEASURED;
    }
}

impl Tcb {
    /// Section 7.2: may a probe be scheduled?
    fn may_probe(&self) -> bool {
        self.sack_on
            && self.snd.sacked == 0
            && !self.recovery.repairs()
            && self.rack.tlp.0 & (Tlp::OUT | Tlp::UNMEASURED) == 0
            && self.rtt.srtt() > 0
            && self.retries == 0
    }

    /// Section 7.2: PTO in ns, not yet limited by the RTO.
    fn pto(&self) -> u64 {
        //= RFC 8985 section 7.2
        let mut pto = 2 * self.rtt.srtt();
        if self.flight() <= self.smss as u32 {
            pto += TLP_WC_DELACK_NS;
        }
        pto.max(TLP_MIN_NS)
    }

    /// Something was acknowledged, or nothing was in flight: the probe's timer or the RTO starts from now.
    pub(crate) fn restart_rto(&mut self, now: Instant) {
        let rto = self.rtt.rto();
        let (kind, after) =
            if self.may_probe() { (Rexmit::TailProbe, self.pto().min(rto)) } else { (Rexmit::Rto, rto) };
        self.rexmit = kind;
        self.rexmit_at = now + after;
    }

    /// New data left.
    pub(crate) fn on_new_data_sent(&mut self, now: Instant) {
        let head_sent_at = match self.snd.segs.front() {
            Some(s) if self.rexmit_at.armed().is_some() && self.snd.unsent > 0 => s.sent_at,
            _ => return self.arm_rexmit(now),
        };
        match self.rexmit {
            // Every one of them is due before the others would be.
            Rexmit::Reorder => {}
            Rexmit::Persist => self.arm_rexmit(now),
            //= RFC 6298 section 5
            // (5.1): a timer that runs goes on.
            Rexmit::Rto if self.may_probe() => {
                self.rexmit = Rexmit::TailProbe;
                self.rexmit_at = (now + self.pto()).min(self.rexmit_at);
            }
            Rexmit::Rto => {}
            //= RFC 8985 section 7.2
            // Pushed out, but not beyond the RTO of what was sent first.
            Rexmit::TailProbe => {
                self.rexmit_at = (now + self.pto()).min((head_sent_at + self.rtt.rto()).max(now))
            }
        }
    }

    /// Section 7.3: new data if there is any, else the last segment again. `true`: no room for it.
    pub(crate) fn send_tail_probe(&mut self, env: &mut Env, sink: &mut impl Sink) -> bool {
        //= RFC 8985 section 7.3
        let new = self.snd.segs.get(self.snd.unsent).map(|s| s.len());
        let usable = self.snd_wnd.saturating_sub(self.flight());
        let new = new.is_some_and(|len| len <= usable && len <= self.smss as u32);
        let sent = if new {
            self.send_next(env, sink)
        } else {
            match (0..self.snd.unsent).rev().find(|i| !self.snd.segs[*i].has(SACKED)) {
                Some(i) => self.resend(i, env, sink),
                None => self.send_fin(env, sink),
            }
        };
        if sent == Sent::Yes {
            env.counters.loss_probes += 1;
            self.rack.tlp.sent(!new);
            self.rack.tlp_end = self.snd_nxt;
        }
        self.rexmit = Rexmit::Rto;
        self.rexmit_at = env.now + self.rtt.rto();
        sent == Sent::NotNow
    }

    /// Section 7.4: what became of the probe? `dsack`: this ACK has a D-SACK that ends at the probe's end.
    pub(crate) fn tlp_on_ack(&mut self, ack: SeqNum, is_dup: bool, dsack: bool) {
        let (tlp, end) = (&mut self.rack.tlp, self.rack.tlp_end);
        if !tlp.is_out() || ack.before(end) {
            return;
        }
        //= RFC 8985 section 7.4.2
        if !tlp.is_retrans() || dsack || (is_dup && ack == end) {
            // New data, or original and probe both arrived: nothing was lost.
            tlp.reset();
        } else if ack.after(end) {
            // The probe repaired a single loss: that was a congestion event all the same.
            tlp.reset();
            if self.recovery == Recovery::Open {
                self.cc.on_congestion(self.flight());
                self.cc.cwnd = self.cc.cwnd.min(self.cc.ssthresh);
            }
        }
    }
}
