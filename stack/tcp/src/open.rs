//! Opening: RFC 9293 section 3.5, sections 3.10.1 and 3.10.7.2 to .3.

use alloc::boxed::Box;

use linerate_wire::tcp::TcpFlags;

use crate::cc::Cc;
use crate::config::TcpConfig;
use crate::ecn::Ecn;
use crate::input::{Disposition, TcpDrop};
use crate::limits::{MSS_DEFAULT_V4, MSS_DEFAULT_V6, WSCALE_MAX};
use crate::quick_acks::QuickAcks;
use crate::rack::Rack;
use crate::rcv::RecvQueue;
use crate::rtt::Rtt;
use crate::segment::{Segment, SegmentIn};
use crate::seq::SeqNum;
use crate::snd::SendQueue;
use crate::stats::Stats;
use crate::tcb::{Env, Events, Recovery, Rexmit, State, Tcb, TcpError};
use crate::time::{Instant, MS, coarse};

/// What the addresses of a connection decide.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Initial send sequence number (RFC 6528).
    pub iss: SeqNum,
    /// Offset of the timestamps clock (RFC 7323 section 5.4).
    pub ts_offset: u32,
    /// MSS to announce: MTU less IP and TCP headers.
    pub local_mss: u16,
    /// Decides the MSS that a silent peer has (RFC 9293 MUST-15).
    pub ipv6: bool,
}

impl Tcb {
    fn new(cfg: &TcpConfig, o: &Opening, state: State, now: Instant) -> Self {
        let mut tcb = Self {
            state,
            error: None,
            soft_error: None,
            events: Events::default(),
            passive: false,
            ts_on: cfg.timestamps,
            sack_on: cfg.sack,
            ipv6: o.ipv6,
            nodelay: cfg.nodelay,
            detached: false,
            fin_queued: false,
            fin_sent: false,
            fin_lost: false,
            syn_due: true,
            fast_open: false,
            rare: None,
            fin_received: false,
            wants_room: false,
            scaling: cfg.window_scaling,
            iss: o.iss,
            snd_una: o.iss,
            snd_nxt: o.iss,
            snd_wnd: 0,
            snd_wl1: SeqNum(0),
            snd_wl2: SeqNum(0),
            max_snd_wnd: 0,
            snd_wscale: 0,
            rcv_wscale: if cfg.window_scaling { cfg.wscale() } else { 0 },
            local_mss: if cfg.mss_max > 0 { o.local_mss.min(cfg.mss_max) } else { o.local_mss },
            peer_mss: if o.ipv6 { MSS_DEFAULT_V6 } else { MSS_DEFAULT_V4 },
            path_mss: o.local_mss,
            smss: 0,
            snd: SendQueue::new(o.iss + 1),
            snd_buf: cfg.snd_buf_bytes,
            irs: SeqNum(0),
            rcv_nxt: SeqNum(0),
            rcv_adv: SeqNum(0),
            recv: RecvQueue { buf: cfg.rcv_buf(), ..RecvQueue::default() },
            ooo: None,
            tuning: None,
            ack_now: false,
            unacked_segs: 0,
            quickack: cfg.quickack_segs,
            bulk_segs: 0,
            ack_at: Instant::NEVER,
            challenged_at: 0,
            last_ack_sent: SeqNum(0),
            ts_offset: o.ts_offset,
            ts_recent: 0,
            ts_recent_at: coarse(now),
            rtt: Rtt::new(cfg.rto_min_ns),
            cc: Cc::new(cfg.cc, 536),
            recovery: Recovery::Open,
            recover: o.iss,
            dup_acks: 0,
            head_due: false,
            rack: Rack::new(o.iss),
            ecn: Ecn::new(cfg.ecn),
            last_sent_at: now,
            retries: 0,
            cwnd_limited: false,
            rexmit: Rexmit::Rto,
            rexmit_at: Instant::NEVER,
            wait_at: Instant::NEVER,
            lingering: false,
            keepalive_probes: 0,
            peer_user_timeout: 0,
            told_user_timeout: 0,
            keepalive_due: false,
            last_recv_at: now,
            stats: cfg
                .stats
                .then(|| Box::new(Stats::new(now, cfg.linux_habits.then(|| QuickAcks::new(o.iss))))),
        };
        if !cfg.window_scaling {
            tcb.recv.buf = tcb.recv.buf.min(0xffff);
        }
        tcb.set_smss(false);
        tcb
    }

    /// Active OPEN: SYN leaves at the next [`Tcb::output`].
    pub fn connect(cfg: &TcpConfig, o: &Opening, now: Instant) -> Self {
        Self::new(cfg, o, State::SynSent, now)
    }

    /// A SYN came for a listener: SYN-ACK leaves at the next [`Tcb::output`]. 3.10.7.2, fourth.
    pub fn accept(cfg: &TcpConfig, o: &Opening, syn: &SegmentIn, now: Instant) -> Self {
        let mut tcb = Self::new(cfg, o, State::SynReceived, now);
        tcb.passive = true;
        tcb.take_syn(syn, now);
        tcb
    }

    /// The SYN-ACK has left (for [`HalfOpen`](crate::HalfOpen)). `at`: when, if an RTT can be measured from it.
    pub(crate) fn syn_ack_was_sent(&mut self, at: Instant) {
        let _ = self.announce_window(true);
        self.syn_due = false;
        self.snd_nxt = self.iss + 1;
        self.last_sent_at = at;
    }

    /// A SYN or SYN-ACK is to leave with the next [`output`](Self::output).
    pub fn wants_syn(&self) -> bool {
        self.syn_due
    }

    /// A SYN-ACK left just now (for [`HalfOpen`](crate::HalfOpen), which has no timer armed).
    pub fn syn_acks_sent(&self) -> bool {
        self.rexmit_at.armed().is_some()
    }

    /// What a SYN, or SYN-ACK, says once and for all.
    fn take_syn(&mut self, syn: &SegmentIn, now: Instant) {
        let o = &syn.options;
        self.irs = syn.seq;
        self.rcv_nxt = syn.seq + 1;
        self.rcv_adv = self.rcv_nxt;
        self.last_ack_sent = self.rcv_nxt;
        self.ecn.on_syn(syn.flags);
        //= RFC 9293 section 3.7.1, MUST-14, MUST-15
        if let Some(mss) = o.mss {
            self.peer_mss = mss;
        }
        //= RFC 2018 section 2
        self.sack_on &= o.sack_permitted;
        //= RFC 7323 section 3.2
        self.ts_on &= o.timestamps.is_some();
        if let (true, Some((tsval, _))) = (self.ts_on, o.timestamps) {
            self.ts_recent = tsval;
            self.ts_recent_at = coarse(now);
        }
        match o.wscale {
            //= RFC 7323 section 2.3
            // RFC 7323 section 2.3: a shift above 14 is taken as 14.
            Some(shift) if self.scaling => self.snd_wscale = shift.min(WSCALE_MAX),
            _ => {
                self.scaling = false;
                self.snd_wscale = 0;
                self.rcv_wscale = 0;
                self.recv.buf = self.recv.buf.min(0xffff);
            }
        }
        if self.state == State::SynSent {
            // Our SYN announced this much: data may follow the peer's SYN-ACK within one burst.
            self.rcv_adv = self.rcv_nxt + self.recv.buf.min(0xffff);
        }
        // RFC 7323 section 2.2: the window of a SYN is never scaled.
        //= RFC 7323 section 2.2
        self.snd_wnd = syn.wnd as u32;
        self.max_snd_wnd = self.snd_wnd;
        self.snd_wl1 = syn.seq;
        self.snd_wl2 = syn.ack;
        self.set_smss(false);
    }

    /// 3.10.7.3
    pub(crate) fn in_syn_sent(&mut self, seg: &SegmentIn, env: &mut Env) -> Disposition {
        // First, check the ACK bit
        let acked = seg.has(TcpFlags::ACK);
        if acked && (seg.ack.at_or_before(self.snd_una) || seg.ack.after(self.snd_nxt)) {
            return match seg.has(TcpFlags::RST) {
                true => Disposition::Drop(TcpDrop::RstIgnored),
                false => {
                    Disposition::Reply(Segment { seq: seg.ack, flags: TcpFlags::RST, ..Segment::default() })
                }
            };
        }
        // Second, check the RST bit
        if seg.has(TcpFlags::RST) {
            if !acked {
                return Disposition::Drop(TcpDrop::RstIgnored);
            }
            self.die(env, Some(TcpError::Refused));
            return Disposition::Done;
        }
        // Fourth, check the SYN bit
        if !seg.has(TcpFlags::SYN) {
            return Disposition::Drop(TcpDrop::NoSyn);
        }
        self.take_syn(seg, env.now);
        if !acked {
            //= RFC 9293 section 3.5, MUST-10
            // MUST-10: simultaneous open
            self.state = State::SynReceived;
            self.syn_due = true;
            self.retries = 0;
            return Disposition::Done;
        }
        self.ecn.on_syn_ack(seg.flags);
        let was_lost = self.retries > 0;
        self.on_handshake_acked(seg, env.now);
        self.snd_una = self.iss + 1;
        self.establish(env);
        self.syn_data_answered(seg, was_lost, env);
        self.ack_now = true;
        Disposition::Done
    }

    /// The first sample; or, if a SYN or SYN-ACK of ours had to be repeated, what that means.
    pub(crate) fn on_handshake_acked(&mut self, seg: &SegmentIn, now: Instant) {
        // It can't be told which SYN-ACK is answered, or when it was sent.
        let Some(sent_at) = self.last_sent_at.armed() else { return };
        if self.retries == 0 {
            self.rtt.sample(now.since(sent_at));
            return;
        }
        //= RFC 6298 section 5
        self.rtt.syn_was_lost();
        if let (true, Some((_, tsecr))) = (self.ts_on, seg.options.timestamps)
            && (tsecr.wrapping_sub(self.ts_now(sent_at)) as i32) < 0
        {
            //= RFC 3522 section 3.2
            // An earlier one is answered: nothing was lost, the path is only longer than a second.
            self.retries = 0;
            self.rtt.sample(self.ts_now(now).wrapping_sub(tsecr) as u64 * MS);
        }
    }

    pub(crate) fn establish(&mut self, env: &mut Env) {
        self.state = if self.fin_queued { State::FinWait1 } else { State::Established };
        let handshake_was_lossy = self.retries > env.cfg.linux_habits as u8;
        self.retries = 0;
        self.rtt.backoff = 0;
        self.syn_due = false;
        self.rexmit_at = Instant::NEVER;
        self.set_smss(false);
        self.begin_mtu_search(env);
        if handshake_was_lossy {
            self.cc.on_syn_lost();
        }
        self.choose_cc(env.cfg, env.now);
        self.arm_keepalive(env);
        if let Some(s) = &mut self.stats {
            s.delivered += 1;
        }
        self.raise(Events(Events::CONNECTED.0 | Events::WRITABLE.0));
    }
}
