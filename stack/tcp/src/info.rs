//! What an observer may know of a connection.

use crate::cc::CcKind;
use crate::cc::bbr::Phase;
use crate::seq::SeqNum;
use crate::snd::{LOST, RETRANS, SACKED};
use crate::stats::Stats;
use crate::tcb::{Recovery, State, Tcb};
use crate::time::Instant;

/// BBR's model, as Linux's TCP_CC_INFO tells it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct BbrInfo {
    pub phase: Phase,
    pub bw_bytes_per_s: u64,
    /// `u64::MAX`: no sample yet.
    pub min_rtt_ns: u64,
    pub pacing_gain: f64,
    pub cwnd_gain: f64,
}

/// A snapshot, in the spirit of Linux's TCP_INFO.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TcpInfo {
    pub state: State,
    pub snd_nxt: SeqNum,
    pub rcv_nxt: SeqNum,
    pub srtt_ns: u64,
    pub rttvar_ns: u64,
    /// `u64::MAX`: no sample yet.
    pub min_rtt_ns: u64,
    pub rto_ns: u64,
    pub cwnd_bytes: u32,
    pub ssthresh_bytes: u32,
    /// Payload bytes of a full segment.
    pub smss: u16,
    /// What we announced.
    pub advmss: u16,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub snd_wscale: u8,
    pub rcv_wscale: u8,
    pub in_flight_bytes: u32,
    pub unsent_bytes: u32,
    pub unread_bytes: u32,
    /// Sent or not, not acknowledged; FIN counts one.
    pub outq_bytes: u32,
    /// Segments in flight, SACKed and lost ones included.
    pub unacked_segs: u32,
    pub sacked_segs: u32,
    /// Held to be lost, whether sent again or not.
    pub lost_segs: u32,
    /// Sent again and not acknowledged.
    pub retrans_segs: u32,
    pub ca_state: CaState,
    /// Timeouts in a row of the oldest segment.
    pub retransmits: u8,
    /// Window or keep-alive probes in a row.
    pub probes: u8,
    pub backoff: u8,
    pub timestamps: bool,
    pub sack: bool,
    pub window_scaling: bool,
    pub reordering_seen: bool,
    /// The peer has sent FIN, and all before it has come.
    pub fin_received: bool,
    /// Sequence space acknowledged by the peer: a SYN of ours and FIN count one each.
    pub bytes_acked: u64,
    /// Sequence space received in order: FIN counts one.
    pub bytes_received: u64,
    pub cc: CcKind,
    /// 0: not paced.
    pub pacing_bytes_per_s: u64,
    /// Latest delivery rate sample; 0: none, or not measured (only BBR does).
    pub delivery_bytes_per_s: u64,
    pub bbr: Option<BbrInfo>,
}

/// What congestion control is at (the names are Linux's).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaState {
    /// Nothing is wrong.
    Open,
    /// Something came out of order, or is lost.
    Disorder,
    /// The window shrinks because of ECN.
    Cwr,
    /// Fast recovery.
    Recovery,
    /// After a timeout.
    Loss,
}

impl Tcb {
    /// A snapshot of now.
    pub fn info(&self) -> TcpInfo {
        let sent = || self.snd.segs.iter().take(self.snd.unsent).filter(|s| !s.has(SACKED));
        let count = |flag| sent().filter(|s| s.has(flag)).count() as u32;
        let handshake = matches!(self.state, State::SynSent | State::SynReceived);
        let fin_out = self.fin_sent && self.flight() > 0;
        let paced = self.snd.paced.as_deref();
        let persisting = self.rexmit == crate::tcb::Rexmit::Persist && self.rexmit_at.armed().is_some();
        TcpInfo {
            state: self.state,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            srtt_ns: self.rtt.srtt(),
            rttvar_ns: self.rtt.rttvar(),
            min_rtt_ns: self.rtt.min_rtt(),
            rto_ns: self.rtt.rto(),
            cwnd_bytes: self.cc.cwnd,
            ssthresh_bytes: self.cc.ssthresh,
            smss: self.smss,
            advmss: self.local_mss,
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.rcv_wnd(),
            snd_wscale: self.snd_wscale,
            rcv_wscale: self.rcv_wscale,
            in_flight_bytes: self.snd.pipe,
            unsent_bytes: self.snd.segs.iter().skip(self.snd.unsent).map(|s| s.len()).sum(),
            unread_bytes: self.recv.bytes,
            outq_bytes: if handshake {
                0
            } else {
                self.snd.bytes() + (self.fin_queued && !(self.fin_sent && self.flight() == 0)) as u32
            },
            unacked_segs: self.snd.unsent as u32
                + (handshake && self.flight() > 0 || fin_out && self.snd.segs.is_empty()) as u32,
            sacked_segs: self.snd.sacked,
            lost_segs: count(LOST),
            retrans_segs: count(RETRANS),
            ca_state: match self.recovery {
                Recovery::Open if self.snd.sacked > 0 || self.dup_acks > 0 => CaState::Disorder,
                Recovery::Open => CaState::Open,
                Recovery::Fast(_) => CaState::Recovery,
                Recovery::Cwr(_) => CaState::Cwr,
                Recovery::Loss => CaState::Loss,
            },
            retransmits: if persisting { 0 } else { self.retries },
            probes: if persisting { self.retries } else { self.keepalive_probes },
            backoff: self.rtt.backoff,
            timestamps: self.ts_on,
            sack: self.sack_on,
            window_scaling: self.scaling,
            reordering_seen: self.rack.reordering_seen,
            fin_received: self.fin_received,
            bytes_acked: u64::from(self.snd_una.since(self.iss)).saturating_sub(self.passive as u64),
            bytes_received: u64::from(self.rcv_nxt.since(self.irs)).saturating_sub(1),
            cc: self.cc.kind(),
            pacing_bytes_per_s: paced.map_or(0, |p| p.gate.rate()),
            delivery_bytes_per_s: paced.and_then(|p| p.rate.as_ref()).map_or(0, |r| r.rate as u64),
            bbr: self.cc.bbr().map(|b| BbrInfo {
                phase: b.phase(),
                bw_bytes_per_s: b.bw(),
                min_rtt_ns: b.min_rtt(),
                pacing_gain: b.gains().0,
                cwnd_gain: b.gains().1,
            }),
        }
    }

    /// Counts up to now, if [`TcpConfig::stats`](crate::TcpConfig::stats) was on when the connection began.
    pub fn stats(&self, now: Instant) -> Option<Stats> {
        self.stats.as_ref().map(|s| s.at(now))
    }
}
