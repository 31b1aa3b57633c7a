//! A connection that a SYN has begun and no ACK has completed: all that is kept of it, and the TCB it becomes.
//!
//! Nobody has proved an address yet, so a half-open connection is worth a few bytes, not a [`Tcb`]
//! (RFC 4987 section 3.3). Each segment for it, and each repetition of its SYN-ACK, makes a TCB in SYN-RECEIVED for the
//! moment: SYN-RECEIVED's rules stand in one place, for active and passive opens.

use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;

use crate::config::TcpConfig;
use crate::ecn::codepoint::NOT_ECT;
use crate::limits::RTO_INITIAL_NS;
use crate::open::Opening;
use crate::segment::SegmentIn;
use crate::seq::SeqNum;
use crate::tcb::Tcb;
use crate::time::Instant;

/// Ticks of [`HalfOpen::sent_at`]: fine enough for an RTT sample, and they wrap after 71 minutes, long after the last
/// SYN-ACK.
const TICK_NS: u64 = 1000;

const WSCALE: u16 = 0xf;
/// A shift above 14 is none: 15 says that there was no option.
const NO_WSCALE: u16 = 0xf;
const SACK: u16 = 1 << 4;
const TIMESTAMPS: u16 = 1 << 5;
const IPV6: u16 = 1 << 6;
/// A SYN-ACK was sent that no timer sent: no RTT sample (Karn).
const AMBIGUOUS: u16 = 1 << 7;
const RETRIES_SHIFT: u32 = 8;
const RETRIES: u16 = 7 << RETRIES_SHIFT;
const ECE: u16 = 1 << 11;
const CWR: u16 = 1 << 12;
const AE: u16 = 1 << 13;
const ACKED: u16 = 1 << 14;

/// Retransmissions of a SYN-ACK at most, whatever is configured: 1 + 2 + ... + 128 s.
pub const SYNACK_RETRIES_MAX: u8 = 7;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct HalfOpen {
    irs: SeqNum,
    /// ISS
    pub iss: SeqNum,
    ts_recent: u32,
    /// When the SYN-ACK was sent last by the timer, in ticks.
    sent_at: u32,
    wnd: u16,
    /// 0: the peer said none.
    mss: u16,
    bits: u16,
    /// Whose it is: the owner's business.
    pub listener: u16,
}

impl HalfOpen {
    /// Of a SYN.
    pub fn new(syn: &SegmentIn, iss: SeqNum, ipv6: bool, listener: u16, now: Instant) -> Self {
        let o = &syn.options;
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let bits = o.wscale.map_or(NO_WSCALE, |s| s.min(14) as u16)
            | flag(o.sack_permitted, SACK)
            | flag(o.timestamps.is_some(), TIMESTAMPS)
            | flag(ipv6, IPV6)
            | flag(syn.has(TcpFlags::ECE), ECE)
            | flag(syn.has(TcpFlags::CWR), CWR)
            | flag(syn.has(TcpFlags::AE), AE);
        Self {
            irs: syn.seq,
            iss,
            ts_recent: o.timestamps.map_or(0, |t| t.0),
            sent_at: ticks(now),
            wnd: syn.wnd,
            mss: o.mss.map_or(0, |mss| mss.max(1)),
            bits,
            listener,
        }
    }

    /// IPv6?
    pub fn ipv6(&self) -> bool {
        self.bits & IPV6 != 0
    }

    /// Timer-driven repetitions of the SYN-ACK so far.
    pub fn retries(&self) -> u8 {
        ((self.bits & RETRIES) >> RETRIES_SHIFT) as u8
    }

    /// The handshake's ACK came, and was held back ([`TcpConfig::defer_accept_ns`]).
    pub fn is_acked(&self) -> bool {
        self.bits & ACKED != 0
    }

    /// See [`is_acked`](Self::is_acked).
    pub fn set_acked(&mut self) {
        self.bits |= ACKED;
    }

    /// The SYN came again: whether it asks for ECN the last one says.
    //= RFC 3168 section 6.1.1
    pub fn set_ecn(&mut self, flags: TcpFlags) {
        let flag = |f: TcpFlags, bit: u16| if flags.contains(f) { bit } else { 0 };
        let asked = flag(TcpFlags::ECE, ECE) | flag(TcpFlags::CWR, CWR) | flag(TcpFlags::AE, AE);
        self.bits = self.bits & !(ECE | CWR | AE) | asked;
    }

    /// The SYN-ACK goes out once more, because the peer asked for it: an ACK does not say which one it answers.
    pub fn set_ambiguous(&mut self) {
        self.bits |= AMBIGUOUS;
    }

    /// The timer has fired: one more repetition.
    pub fn retry(&mut self, now: Instant) {
        let n = (self.retries() + 1).min(SYNACK_RETRIES_MAX) as u16;
        self.bits = self.bits & !RETRIES | n << RETRIES_SHIFT;
        self.sent_at = ticks(now);
    }

    /// The SYN-ACK was sent again because the peer asked, not the timer.
    pub fn resent(&mut self, now: Instant) {
        self.sent_at = ticks(now);
    }

    /// When the SYN-ACK was sent last, seen from `now` (less than an hour away from it).
    pub fn sent_at(&self, now: Instant) -> Instant {
        let ago = ticks(now).wrapping_sub(self.sent_at) as u64;
        Instant((now.0 / TICK_NS).saturating_sub(ago) * TICK_NS)
    }

    /// When the SYN-ACK is due again.
    //= RFC 6298 section 5
    pub fn deadline(&self, now: Instant) -> Instant {
        self.sent_at(now) + (RTO_INITIAL_NS << self.retries())
    }

    /// How long ago the SYN came, as far as the timer's firings tell.
    pub fn age_ns(&self) -> u64 {
        ((1 << self.retries()) - 1) * RTO_INITIAL_NS
    }

    /// Does this segment complete the handshake? (The TCB it becomes checks everything.)
    pub fn is_completed_by(&self, seg: &SegmentIn) -> bool {
        seg.has(TcpFlags::ACK)
            && !seg.flags.intersects(TcpFlags::SYN | TcpFlags::RST)
            && seg.ack == self.iss + 1
    }

    /// Forgets what only the SYN said, but for the MSS: window scale, SACK, ECN.
    pub fn forget_options(&mut self) {
        self.bits = self.bits & (IPV6 | TIMESTAMPS) | NO_WSCALE;
    }

    /// Window scale (15: none), SACK and ECN in six bits, for a SYN cookie's timestamp.
    pub fn option_bits(&self) -> u32 {
        let ecn = self.bits & (ECE | CWR) == ECE | CWR;
        (self.bits & (WSCALE | SACK)) as u32 | (ecn as u32) << 5
    }

    /// The reverse.
    pub fn set_option_bits(&mut self, bits: u32) {
        let ecn = if bits & 1 << 5 != 0 { ECE | CWR } else { 0 };
        self.bits = self.bits & !(WSCALE | SACK | ECE | CWR | AE) | bits as u16 & (WSCALE | SACK) | ecn;
    }

    /// The SYN as it came, as far as it matters.
    fn syn(&self) -> SegmentIn {
        let flag = |bit: u16, flag: TcpFlags| if self.bits & bit != 0 { flag } else { TcpFlags::EMPTY };
        let wscale = self.bits & WSCALE;
        SegmentIn {
            seq: self.irs,
            ack: SeqNum(0),
            flags: TcpFlags::SYN
                | flag(ECE, TcpFlags::ECE)
                | flag(CWR, TcpFlags::CWR)
                | flag(AE, TcpFlags::AE),
            wnd: self.wnd,
            ecn: NOT_ECT,
            payload_len: 0,
            urgent: 0,
            options: TcpOptions {
                mss: (self.mss > 0).then_some(self.mss),
                wscale: (wscale != NO_WSCALE).then_some(wscale as u8),
                sack_permitted: self.bits & SACK != 0,
                timestamps: (self.bits & TIMESTAMPS != 0).then_some((self.ts_recent, 0)),
                ..TcpOptions::default()
            },
        }
    }

    /// Its TCB in SYN-RECEIVED, the SYN-ACK sent. `o.iss` is not used.
    pub fn tcb(&self, cfg: &TcpConfig, o: &Opening, now: Instant) -> Tcb {
        let mut tcb = self.unanswered(cfg, o, now);
        let sent_at = if self.bits & AMBIGUOUS != 0 { Instant::NEVER } else { self.sent_at(now) };
        tcb.syn_ack_was_sent(sent_at);
        tcb
    }

    /// Its TCB in SYN-RECEIVED, the SYN-ACK due.
    pub fn unanswered(&self, cfg: &TcpConfig, o: &Opening, now: Instant) -> Tcb {
        let mut tcb = Tcb::accept(cfg, &Opening { iss: self.iss, ..*o }, &self.syn(), now);
        tcb.retries = self.retries();
        tcb.rtt.backoff = self.retries();
        tcb
    }
}

fn ticks(now: Instant) -> u32 {
    (now.0 / TICK_NS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MS, SEC};

    fn syn(flags: TcpFlags, options: TcpOptions) -> SegmentIn {
        SegmentIn {
            seq: SeqNum(7),
            ack: SeqNum(0),
            flags: TcpFlags::SYN | flags,
            wnd: 900,
            ecn: NOT_ECT,
            payload_len: 0,
            urgent: 0,
            options,
        }
    }

    #[test]
    fn keeps_what_a_syn_says() {
        assert_eq!(size_of::<HalfOpen>(), 24);
        for options in [
            TcpOptions::EMPTY,
            TcpOptions { mss: Some(1460), wscale: Some(14), ..TcpOptions::EMPTY },
            TcpOptions {
                sack_permitted: true,
                timestamps: Some((5, 0)),
                wscale: Some(0),
                ..TcpOptions::EMPTY
            },
        ] {
            for flags in [TcpFlags::EMPTY, TcpFlags::ECE | TcpFlags::CWR, TcpFlags::AE] {
                let s = syn(flags, options);
                let back = HalfOpen::new(&s, SeqNum(1), true, 3, Instant(SEC)).syn();
                assert_eq!(
                    (back.seq, back.wnd, back.flags, back.options),
                    (s.seq, s.wnd, s.flags, s.options)
                );
            }
        }
    }

    #[test]
    fn deadlines_double_and_survive_the_wrap_of_ticks() {
        let start = Instant((1 << 32) * TICK_NS - 10 * MS);
        let mut h = HalfOpen::new(&syn(TcpFlags::EMPTY, TcpOptions::EMPTY), SeqNum(1), false, 0, start);
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 128] {
            let at = h.deadline(now);
            assert_eq!(at, now + wait * SEC);
            now = at;
            h.retry(now);
        }
        assert_eq!(h.age_ns(), 127 * SEC);
    }

    #[test]
    fn six_bits_for_a_timestamp() {
        let o = TcpOptions { wscale: Some(9), sack_permitted: true, ..TcpOptions::EMPTY };
        let h = HalfOpen::new(&syn(TcpFlags::ECE | TcpFlags::CWR, o), SeqNum(1), false, 0, Instant(0));
        let mut g = HalfOpen::new(&syn(TcpFlags::EMPTY, TcpOptions::EMPTY), SeqNum(1), false, 0, Instant(0));
        assert!(h.option_bits() < 64);
        g.set_option_bits(h.option_bits());
        assert_eq!((g.syn().options, g.syn().flags), (h.syn().options, h.syn().flags));
        g.forget_options();
        assert_eq!((g.syn().options, g.syn().flags), (TcpOptions::EMPTY, TcpFlags::SYN));
    }
}
