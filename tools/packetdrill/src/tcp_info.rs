//! TCP_INFO in the layout of Linux's `struct tcp_info`.

use linerate_net::limits::{IPV4_TCP_HEADER_BYTES, IPV6_TCP_HEADER_BYTES};
use linerate_net::{Instant, State};
use linerate_tcp::info::{CaState, TcpInfo};
use linerate_tcp::limits::{DELACK_NS, DUP_THRESH, MSS_DEFAULT_V4};
use linerate_tcp::stats::Stats;
use linerate_tcp::time::{MS, SEC};

use crate::errno::Res;
use crate::tcp_sock::Phase;
use crate::world::World;

/// Bytes of the structure of kernel 6.18, which packetdrill asks for.
pub(crate) const TCP_INFO_BYTES: usize = 280;

/// TCP_CLOSE, TCP_LISTEN: states without a TCB.
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;

/// Windows and thresholds that were never set: TCP_INFINITE_SSTHRESH.
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

struct Layout([u8; TCP_INFO_BYTES]);

impl Layout {
    fn u8(&mut self, at: usize, v: u8) {
        self.0[at] = v;
    }

    fn u32(&mut self, at: usize, v: u32) {
        self.0[at..at + 4].copy_from_slice(&v.to_ne_bytes());
    }

    fn u64(&mut self, at: usize, v: u64) {
        self.0[at..at + 8].copy_from_slice(&v.to_ne_bytes());
    }

    fn us(&mut self, at: usize, ns: u64) {
        self.u32(at, (ns / 1_000).min(u32::MAX.into()) as u32);
    }
}

/// A state as the kernel numbers it.
fn state_number(s: State) -> u8 {
    match s {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => CLOSE,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

impl World {
    /// What getsockopt(TCP_INFO) gives.
    pub fn tcp_info(&mut self, fd: i32) -> Res<Vec<u8>> {
        let mut out = Layout([0; TCP_INFO_BYTES]);
        let now = self.clock.now();
        match self.tcp(fd)?.phase.clone() {
            Phase::Idle => out.u8(0, CLOSE),
            Phase::Listening(ids) => {
                out.u8(0, LISTEN);
                // For a listener these two are the accept queue and its limit.
                out.u32(24, ids.iter().map(|id| self.stack.accept_queue_len(*id) as u32).sum());
            }
            Phase::Connecting(id) | Phase::Connected(id) => match self.stack.info(id) {
                Some(info) => {
                    let stats = self.stack.stats(id, now);
                    let v4 = self.stack.flow_key(id).is_some_and(|k| k.local.is_ipv4());
                    let headers = if v4 { IPV4_TCP_HEADER_BYTES } else { IPV6_TCP_HEADER_BYTES };
                    out.u32(60, u32::from(info.advmss + headers));
                    fill(&mut out, &info);
                    if let Some(stats) = stats {
                        fill_counts(&mut out, &stats, now);
                    }
                }
                None => out.u8(0, CLOSE),
            },
        }
        Ok(out.0.to_vec())
    }
}

fn fill(o: &mut Layout, i: &TcpInfo) {
    let mss = u32::from(i.smss).max(1);
    o.u8(0, state_number(i.state));
    o.u8(1, ca_state_number(i.ca_state));
    o.u8(2, i.retransmits);
    o.u8(3, i.probes);
    o.u8(4, i.backoff);
    o.u8(5, i.timestamps as u8 | (i.sack as u8) << 1 | (i.window_scaling as u8) << 2);
    o.u8(6, i.snd_wscale | i.rcv_wscale << 4);
    o.us(8, i.rto_ns);
    o.us(12, DELACK_NS);
    o.u32(16, i.smss.into());
    o.u32(24, i.unacked_segs);
    o.u32(28, i.sacked_segs);
    o.u32(32, i.lost_segs);
    o.u32(36, i.retrans_segs);
    o.u32(64, i.rcv_wnd);
    o.us(68, i.srtt_ns);
    o.us(72, i.rttvar_ns);
    o.u32(76, if i.ssthresh_bytes >= INFINITE_SSTHRESH { INFINITE_SSTHRESH } else { i.ssthresh_bytes / mss });
    o.u32(80, i.cwnd_bytes / mss);
    o.u32(84, i.advmss.into());
    o.u32(88, DUP_THRESH);
    o.u64(112, u64::MAX);
    o.u64(120, i.bytes_acked);
    o.u64(128, i.bytes_received);
    o.u32(144, i.unsent_bytes);
    o.u32(148, if i.min_rtt_ns == u64::MAX { u32::MAX } else { (i.min_rtt_ns / 1_000) as u32 });
    o.u32(228, i.snd_wnd);
    o.u32(232, i.rcv_wnd);
    // The rate at which a window an RTT leaves, with the headroom that the kernel's pacing has in slow start and after.
    let gain = if i.cwnd_bytes < i.ssthresh_bytes / 2 { 200 } else { 120 };
    if let Some(rate) = (u64::from(i.cwnd_bytes) * SEC * gain / 100).checked_div(i.srtt_ns) {
        o.u64(104, rate);
    }
}

fn fill_counts(o: &mut Layout, s: &Stats, now: Instant) {
    let ms_since = |t: Instant| (now.since(t) / MS).min(u32::MAX.into()) as u32;
    o.u32(20, if s.rcv_mss == 0 { MSS_DEFAULT_V4.into() } else { s.rcv_mss });
    o.u32(44, ms_since(s.last_data_sent));
    o.u32(52, ms_since(s.last_data_recv));
    o.u32(56, ms_since(s.last_ack_recv));
    o.u32(100, s.total_retrans);
    o.u32(136, s.segs_out);
    o.u32(140, s.segs_in);
    o.u32(152, s.data_segs_in);
    o.u32(156, s.data_segs_out);
    o.u64(168, s.busy_ns / 1_000);
    o.u64(176, s.rwnd_limited_ns / 1_000);
    o.u64(184, s.sndbuf_limited_ns / 1_000);
    o.u32(192, s.delivered);
    o.u32(196, s.delivered_ce);
    o.u64(200, s.bytes_sent);
    o.u64(208, s.bytes_retrans);
    o.u32(216, s.dsack_dups);
    o.u32(220, s.reord_seen);
    o.u32(224, s.rcv_ooopack);
    o.0[240..242].copy_from_slice(&(s.total_rto.min(u16::MAX.into()) as u16).to_ne_bytes());
}

fn ca_state_number(s: CaState) -> u8 {
    match s {
        CaState::Open => 0,
        CaState::Disorder => 1,
        CaState::Cwr => 2,
        CaState::Recovery => 3,
        CaState::Loss => 4,
    }
}
