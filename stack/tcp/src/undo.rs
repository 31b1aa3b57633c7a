//! Recovery that was not needed, and what is done about it. Three ways to find out: the timestamp of the first ACK after
//! a retransmission (Eifel, RFC 3522), D-SACKs for everything that was sent again (RFC 3708), and what the ACKs after a
//! timeout cover (F-RTO, RFC 5682: `frto.rs`). One way to react: RFC 4015, with what RFC 9438 section 4.9 restores.

use alloc::boxed::Box;

use linerate_wire::tcp::TcpFlags;

use crate::cc::Saved;
use crate::frto::Frto;
use crate::limits::IW_SEGS;
use crate::segment::SegmentIn;
use crate::seq::SeqNum;
use crate::snd::LOST;
use crate::tcb::{Env, Recovery, Tcb};

/// What there was before recovery began: kept until it is known to have been needed.
#[derive(Debug)]
pub(crate) struct Undo {
    saved: Saved,
    /// pipe_prev of RFC 4015.
    pipe_prev: u32,
    /// SRTT and RTTVAR before, if a timeout began it, ns.
    timeout: Option<(u64, u64)>,
    /// SND.UNA when recovery began: D-SACKs below are of what came before.
    una: SeqNum,
    /// The highest end of what was sent again.
    high: SeqNum,
    /// Payload bytes sent again that no D-SACK has reported.
    unreported: u32,
    /// RetransmitTS: TSval of the first retransmission; counts if `resent`.
    retransmit_ts: u32,
    resent: bool,
    /// An acceptable ACK has come since: its timestamp has decided.
    examined: bool,
    pub frto: Frto,
    /// Recovery is over; a late D-SACK may still come until this is acknowledged.
    over: Option<SeqNum>,
}

impl Undo {
    /// A segment was sent again.
    pub fn on_resent(&mut self, end: SeqNum, len: u32, tsval: u32) {
        if !self.resent {
            //= RFC 3522 section 3.2
            (self.resent, self.retransmit_ts) = (true, tsval);
        }
        if self.over.is_none() {
            self.unreported += len;
            self.high = self.high.max(end);
        }
    }

    /// The peer got `[start, end)` twice. Returns whether that was the last of what was sent again.
    pub fn on_dsack(&mut self, start: SeqNum, end: SeqNum) -> bool {
        if !self.resent || self.unreported == 0 || start.before(self.una) {
            return false;
        }
        if end.after(self.high) {
            // Not sent again: the network makes duplicates, so they prove nothing.
            self.unreported = 0;
            return false;
        }
        self.unreported = self.unreported.saturating_sub(end.since(start));
        //= RFC 3708 section 3
        self.unreported == 0
    }
}

impl Tcb {
    pub(crate) fn undo(&self) -> Option<&Undo> {
        self.rare.as_ref()?.undo.as_deref()
    }

    pub(crate) fn undo_mut(&mut self) -> Option<&mut Undo> {
        self.rare.as_mut()?.undo.as_deref_mut()
    }

    pub(crate) fn forget_undo(&mut self) {
        if let Some(r) = &mut self.rare {
            r.undo = None;
            self.tidy_rare();
        }
    }

    /// A congestion event is about to reduce the window. `timeout`: the retransmission timer's.
    pub(crate) fn begin_undo(&mut self, timeout: bool, frto: Frto) {
        let undo = Some(Box::new(Undo {
            saved: self.cc.save(),
            //= RFC 4015 section 3.2
            pipe_prev: self.flight().max(self.cc.ssthresh),
            timeout: timeout.then_some((self.rtt.srtt(), self.rtt.rttvar())),
            una: self.snd_una,
            high: self.snd_una,
            unreported: 0,
            retransmit_ts: 0,
            resent: false,
            examined: false,
            frto,
            over: None,
        }));
        self.rare_mut().undo = undo;
    }

    /// Recovery is over; that it was spurious may turn out a round trip later.
    pub(crate) fn close_undo(&mut self) {
        let nxt = self.snd_nxt;
        if let Some(u) = self.undo_mut() {
            u.frto = Frto::Off;
            u.over = Some(nxt);
        }
    }

    /// Does this ACK show that recovery was spurious? Then all is as it was. `resent_acked`: it covers something that
    /// was sent again; `dsack`: it reports a duplicate, `all`: the last one; `sacked`: it SACKs something new.
    pub(crate) fn check_spurious(&mut self, seg: &SegmentIn, ack: &Evidence, env: &mut Env) {
        let eifel = self.eifel(seg, ack);
        if eifel || ack.all_reported || self.frto(seg, ack) {
            self.undo_recovery(seg, ack, env);
        } else if self.undo().is_some_and(|u| u.over.is_some_and(|end| self.snd_una.after(end))) {
            self.forget_undo();
        }
    }

    /// The first ACK of what was sent again echoes a timestamp from before. (Its step 5 leaves the case open that the
    /// ACK covers all there is: the receiver's timestamp rule of RFC 1323 made that ambiguous, RFC 7323's does not.)
    fn eifel(&mut self, seg: &SegmentIn, ack: &Evidence) -> bool {
        let (true, Some((_, tsecr))) = (self.ts_on, seg.options.timestamps) else { return false };
        let Some(u) = self.undo_mut() else { return false };
        if !u.resent || u.examined || u.over.is_some() || ack.acked == 0 || !ack.resent_acked {
            return false;
        }
        u.examined = true;
        //= RFC 3522 section 3.2
        !ack.dsack && (tsecr.wrapping_sub(u.retransmit_ts) as i32) < 0
    }

    /// RFC 4015 section 3.2.
    fn undo_recovery(&mut self, seg: &SegmentIn, ack: &Evidence, env: &mut Env) {
        let Some(u) = self.rare.as_mut().and_then(|r| r.undo.take()) else { return };
        if self.recovery.repairs() {
            for i in 0..self.snd.unsent {
                self.snd.mark(i, 0, LOST);
            }
            self.fin_lost = false;
            // What was held to be lost was late.
            self.rack.reordering_seen |= u.timeout.is_none();
            self.rack.on_recovered();
            self.recovery = Recovery::Open;
            self.recover = self.snd_una;
            self.dup_acks = 0;
            self.head_due = false;
        }
        //= RFC 4015 section 3.2
        // (9): congestion that the ACK echoes is real.
        if !(self.ecn.is_on() && seg.has(TcpFlags::ECE)) {
            let now = self.cc.cwnd;
            self.cc.undo(u.saved);
            // The window is what it was, but not a burst at once: the rest by slow start, to where it was.
            let most = self.pipe() + ack.acked.max(IW_SEGS * self.smss as u32);
            if self.cc.cwnd > most.max(now) {
                self.cc.cwnd = most.max(now);
                self.cc.ssthresh = self.cc.ssthresh.max(u.pipe_prev);
            }
        }
        if let (Some((srtt, rttvar)), Some(sample)) = (u.timeout, ack.rtt) {
            self.rtt.after_spurious_timeout(srtt, rttvar, sample);
        }
        env.counters.undone += 1;
        self.arm_rexmit(env.now);
    }
}

/// What an ACK brought, as far as it tells of spurious recovery.
#[derive(Clone, Copy, Default)]
pub(crate) struct Evidence {
    /// Bytes of sequence space it moved SND.UNA by.
    pub acked: u32,
    /// Something that was sent again was among them.
    pub resent_acked: bool,
    /// It is a duplicate.
    pub is_dup: bool,
    /// Something was SACKed that was not.
    pub sacked: bool,
    /// It has a D-SACK.
    pub dsack: bool,
    /// With which everything sent again was reported as a duplicate.
    pub all_reported: bool,
    /// RTT sample, ns.
    pub rtt: Option<u64>,
}
