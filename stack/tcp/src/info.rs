//! What an observer may know of a connection.

use crate::seq::SeqNum;
use crate::tcb::{State, Tcb};

/// A snapshot, in the spirit of Linux's TCP_INFO.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct TcpInfo {
    pub state: State,
    pub snd_nxt: SeqNum,
    pub rcv_nxt: SeqNum,
    pub srtt_ns: u64,
    pub rttvar_ns: u64,
    pub rto_ns: u64,
    pub cwnd_bytes: u32,
    pub ssthresh_bytes: u32,
    pub smss: u16,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub in_flight_bytes: u32,
    pub unsent_bytes: u32,
    pub unread_bytes: u32,
}

impl Tcb {
    /// A snapshot of now.
    pub fn info(&self) -> TcpInfo {
        TcpInfo {
            state: self.state,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            srtt_ns: self.rtt.srtt,
            rttvar_ns: self.rtt.rttvar,
            rto_ns: self.rtt.rto(),
            cwnd_bytes: self.cc.cwnd,
            ssthresh_bytes: self.cc.ssthresh,
            smss: self.smss,
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.rcv_wnd(),
            in_flight_bytes: self.snd.pipe,
            unsent_bytes: self.snd.segs.iter().skip(self.snd.unsent).map(|s| s.len()).sum(),
            unread_bytes: self.recv.bytes,
        }
    }
}
