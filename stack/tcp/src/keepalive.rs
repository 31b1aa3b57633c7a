//! Keep-alive: RFC 9293 section 3.8.4. Off unless asked for (MUST-24, MUST-25).

use crate::segment::Segment;
use crate::tcb::{Env, State, Tcb};
use crate::time::Instant;

impl Tcb {
    pub(crate) fn arm_keepalive(&mut self, env: &Env) {
        self.wait_at = match env.cfg.keepalive {
            true => env.now + env.cfg.keepalive_idle_ns,
            false => Instant::NEVER,
        };
    }

    /// SHLD-12: a probe without data, one below SND.NXT, so that the peer must answer with an ACK.
    //= RFC 9293 section 3.8.4, MAY-5, SHLD-12
    pub(crate) fn keepalive_probe(&mut self, mut ack: Segment) -> Option<Segment> {
        let live = matches!(self.state, State::Established | State::CloseWait | State::FinWait2);
        // MUST-26: only when nothing is in flight (else the retransmission timer does this).
        if !core::mem::take(&mut self.keepalive_due) || !live || self.flight() > 0 {
            return None;
        }
        ack.seq = self.snd_nxt - 1;
        Some(ack)
    }
}
