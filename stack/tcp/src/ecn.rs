//! Explicit congestion notification: RFC 3168. The network marks instead of dropping; the receiver echoes that until
//! the sender says that it has reduced its window.

use linerate_wire::tcp::TcpFlags;

use crate::prr::Prr;
use crate::segment::SegmentIn;
use crate::tcb::{Recovery, Tcb};

/// What to do about ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnMode {
    /// Neither ask nor agree.
    Off,
    /// Agree if the peer asks (Linux's default).
    #[default]
    Passive,
    /// Ask, and agree.
    On,
}

/// The IP header's ECN field: RFC 3168 section 5.
pub mod codepoint {
    /// The sender takes no part.
    pub const NOT_ECT: u8 = 0;
    /// ECT(1)
    pub const ECT_1: u8 = 1;
    /// ECT(0)
    pub const ECT_0: u8 = 2;
    /// Congestion experienced.
    pub const CE: u8 = 3;
}

/// A connection's part in it, one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ecn(u8);

impl Ecn {
    /// We would agree.
    const WILLING: u8 = 1;
    /// Our SYN asks.
    const ASKS: u8 = 2;
    /// Both have agreed.
    const ON: u8 = 4;
    /// ECE goes out until CWR comes in.
    const ECHO: u8 = 8;
    /// The next new data segment carries CWR.
    const CWR_DUE: u8 = 16;

    pub fn new(mode: EcnMode) -> Self {
        Self(match mode {
            EcnMode::Off => 0,
            EcnMode::Passive => Self::WILLING,
            EcnMode::On => Self::WILLING | Self::ASKS,
        })
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn set(&mut self, bit: u8, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }

    pub fn is_on(self) -> bool {
        self.has(Self::ON)
    }

    /// Has the predicted path nothing to do for a segment with this codepoint?
    #[inline]
    pub fn predicts(self, ip: u8) -> bool {
        ip != codepoint::CE || !self.is_on()
    }

    /// The flags of our SYN. `again`: nobody answered the last one, and that may be because it asked.
    pub fn syn_flags(&mut self, again: bool) -> TcpFlags {
        //= RFC 3168 section 6.1.1.1
        if again {
            self.set(Self::ASKS, false);
        }
        if self.has(Self::ASKS) { TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::EMPTY }
    }

    /// The flags of our SYN-ACK.
    pub fn syn_ack_flags(self) -> TcpFlags {
        if self.is_on() { TcpFlags::ECE } else { TcpFlags::EMPTY }
    }

    /// A SYN, also a repeated one: the last decides.
    pub fn on_syn(&mut self, flags: TcpFlags) {
        //= RFC 3168 section 6.1.1
        let asks = flags.contains(TcpFlags::ECE | TcpFlags::CWR);
        self.set(Self::ON, asks && self.has(Self::WILLING));
    }

    /// The answer to our SYN. ECE and CWR both: a peer that sends our reserved bits back.
    pub fn on_syn_ack(&mut self, flags: TcpFlags) {
        //= RFC 3168 section 6.1.1
        let agrees = flags.contains(TcpFlags::ECE) && !flags.contains(TcpFlags::CWR);
        self.set(Self::ON, agrees && self.has(Self::ASKS));
    }

    /// The window was reduced, for whatever reason.
    pub fn on_reduced(&mut self) {
        //= RFC 3168 section 6.1.2
        let on = self.is_on();
        self.set(Self::CWR_DUE, on);
    }

    /// ECE, in whatever leaves with an ACK.
    #[inline]
    pub fn ack_flags(self) -> TcpFlags {
        if self.has(Self::ECHO) { TcpFlags::ECE } else { TcpFlags::EMPTY }
    }

    /// Is CWR due on new data?
    pub fn cwr_due(self) -> bool {
        self.has(Self::CWR_DUE)
    }

    /// It has left.
    pub fn cwr_sent(&mut self) {
        self.set(Self::CWR_DUE, false);
    }
}

impl Tcb {
    /// An acceptable segment's ECN field and CWR. Only what carries data counts: nobody marks what is not ECN-capable.
    pub(crate) fn ecn_in(&mut self, seg: &SegmentIn) {
        if seg.payload_len == 0 {
            return;
        }
        //= RFC 3168 section 6.1.3
        if seg.has(TcpFlags::CWR) {
            self.ecn.set(Ecn::ECHO, false);
            // The peer's window may be a single segment now: it should not wait for a delayed ACK.
            self.ack_now = true;
        }
        if seg.ecn == codepoint::CE {
            self.ecn.set(Ecn::ECHO, true);
        }
    }

    /// The peer echoes congestion: the window is reduced as for a loss, once a round trip.
    pub(crate) fn on_ece(&mut self, prior_pipe: u32) {
        //= RFC 3168 section 6.1.2
        if self.recovery != Recovery::Open || !self.snd_una.after(self.recover) {
            return;
        }
        self.cc.on_congestion(self.flight());
        self.recover = self.snd_nxt;
        self.recovery = Recovery::Cwr(Prr::new(prior_pipe));
        self.forget_undo();
        self.ecn.on_reduced();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECE: TcpFlags = TcpFlags::ECE;
    const CWR: TcpFlags = TcpFlags::CWR;

    //= RFC 3168 section 6.1.1
    #[test]
    fn both_must_agree() {
        for (mode, agrees) in [(EcnMode::Off, false), (EcnMode::Passive, true), (EcnMode::On, true)] {
            for (flags, asks) in [(TcpFlags::EMPTY, false), (ECE, false), (CWR, false), (ECE | CWR, true)] {
                let mut e = Ecn::new(mode);
                e.on_syn(flags);
                assert_eq!(e.is_on(), agrees && asks);
                assert_eq!(e.syn_ack_flags(), if agrees && asks { ECE } else { TcpFlags::EMPTY });
            }
        }
        for (mode, asked) in [(EcnMode::Off, false), (EcnMode::Passive, false), (EcnMode::On, true)] {
            for (flags, agrees) in [(TcpFlags::EMPTY, false), (ECE, true), (CWR, false), (ECE | CWR, false)] {
                let mut e = Ecn::new(mode);
                assert_eq!(e.syn_flags(false), if asked { ECE | CWR } else { TcpFlags::EMPTY });
                e.on_syn_ack(flags);
                assert_eq!(e.is_on(), asked && agrees);
            }
        }
    }

    //= RFC 3168 section 6.1.1.1
    #[test]
    fn a_repeated_syn_asks_no_more() {
        let mut e = Ecn::new(EcnMode::On);
        e.syn_flags(false);
        assert_eq!(e.syn_flags(true), TcpFlags::EMPTY);
        e.on_syn_ack(ECE);
        assert!(!e.is_on(), "a non-ECN SYN was sent");
        let mut e = Ecn::new(EcnMode::Passive);
        e.on_syn(ECE | CWR);
        e.on_syn(TcpFlags::EMPTY);
        assert!(!e.is_on());
    }
}
