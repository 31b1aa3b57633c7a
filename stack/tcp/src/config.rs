//! What can be chosen for a connection.

use crate::cc::{CcKind, IdleRestart};
use crate::ecn::EcnMode;
use crate::limits;

/// When to search for the path's MTU without ICMP: Linux's tcp_mtu_probing, 0 to 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MtuProbing {
    /// Never.
    Off,
    /// When large segments vanish.
    #[default]
    OnBlackHole,
    /// From the start of each connection.
    Always,
}

/// Settings of TCP, per stack; a listener's connections take them at their birth.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Receive buffer in bytes: the largest window offered.
    pub rcv_buf_bytes: u32,
    /// Send buffer in bytes: what may wait, sent and unacknowledged or not sent yet.
    pub snd_buf_bytes: u32,
    /// What the receive buffer may grow to; the window scale is chosen for it. Less than `rcv_buf_bytes`: it stays.
    pub rcv_buf_max_bytes: u32,
    /// What the send buffer may grow to. Less than `snd_buf_bytes`: it stays.
    pub snd_buf_max_bytes: u32,
    /// Bytes written and not sent yet, at most.
    pub notsent_bytes: u32,
    /// Offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer SACK (RFC 2018).
    pub sack: bool,
    /// Offer window scaling (RFC 7323).
    pub window_scaling: bool,
    /// Turn Nagle's algorithm off (RFC 9293 MUST-17).
    pub nodelay: bool,
    /// Congestion control.
    pub cc: CcKind,
    /// Space what leaves over the round trip, whatever the congestion control; BBR always does.
    pub pacing: bool,
    /// What becomes of the congestion window after an idle time.
    pub idle_restart: IdleRestart,
    /// Segments of one ACK that slow start takes at once, unless paced: L of RFC 9406 section 4.2. Linux has no limit
    /// (`u32::MAX`).
    pub slow_start_l_segs: u32,
    /// RTO at least, in ns; RFC 6298 (2.4) says 1 s, Linux 200 ms.
    pub rto_min_ns: u64,
    /// Delay of a delayed ACK at most, in ns (< 500 ms, RFC 9293 MUST-40).
    pub delack_ns: u64,
    /// In bulk, acknowledge every [`STRETCH_ACK_SEGS`](limits::STRETCH_ACK_SEGS) segments instead of every second.
    pub stretch_acks: bool,
    /// Segments acknowledged at once at the start of a connection.
    pub quickack_segs: u8,
    /// Send keep-alive probes.
    //= RFC 9293 section 3.8.4, MUST-24
    //= RFC 9293 section 3.8.4, MUST-25
    pub keepalive: bool,
    /// Idle time before the first keep-alive probe, ns.
    //= RFC 9293 section 3.8.4, MUST-27
    pub keepalive_idle_ns: u64,
    /// Time between keep-alive probes, ns.
    pub keepalive_interval_ns: u64,
    /// Unanswered keep-alive probes before the connection is given up. At least 1: one lost ACK ends nothing (RFC
    /// 9293 MUST-29).
    pub keepalive_probes: u8,
    /// R1: retransmissions of a segment after which the path is held to be in trouble.
    //= RFC 9293 section 3.8.3, MUST-20
    pub r1_retries: u8,
    /// R2: retransmissions of a segment before the connection is given up.
    //= RFC 9293 section 3.8.3, MUST-21
    pub data_retries: u8,
    /// The first so many timeouts of a SYN do not double the next (Linux's tcp_syn_linear_timeouts).
    pub syn_linear_timeouts: u8,
    /// R2 of a SYN.
    //= RFC 9293 section 3.8.3, MUST-22
    pub syn_retries: u8,
    /// R2 of a SYN-ACK; at most 7.
    pub synack_retries: u8,
    /// R2 as a time in ns (RFC 9293 section 3.10.1's user timeout): data unacknowledged, or keep-alive probes
    /// unanswered, for so long end the connection. `None`: retransmissions are counted.
    pub user_timeout_ns: Option<u64>,
    /// RFC 5482's ENABLED: tell the peer our user timeout, and adopt the peer's unless `user_timeout_ns` is set.
    pub user_timeout_option: bool,
    /// `Some(0)`: close() aborts, whatever is queued (POSIX's SO_LINGER with time 0). Any other time is how long a
    /// caller that may block waits in its close() for [`Tcb::unacked`](crate::Tcb::unacked) to become 0; nothing
    /// here blocks, and the connection ends in good order either way.
    pub linger_ns: Option<u64>,
    /// FIN-WAIT-2 of a connection that the application has closed, ns.
    pub fin_wait_2_ns: u64,
    /// Only full segments leave until this is turned off, or 200 ms are over (Linux's TCP_CORK).
    pub cork: bool,
    /// Largest MSS, announced and sent, whatever the MTU allows; 0: no such limit.
    pub mss_max: u16,
    /// The receive window is never larger, in bytes; 0: no such limit.
    pub window_clamp_bytes: u32,
    /// A listener's connection is not complete until data comes, or this time is over, ns; 0: the handshake's ACK
    /// completes it.
    pub defer_accept_ns: u64,
    /// IPv4's type of service, IPv6's traffic class: DSCP in the upper six bits; the lower two (ECN) are not taken.
    //= RFC 9293 section 3.9.2, MUST-48
    pub tos: u8,
    /// Time to live, hop limit; 0 is taken as 1.
    //= RFC 9293 section 3.9.2, MUST-49
    pub ttl: u8,
    /// One challenge ACK per this time at most, ns (RFC 5961 section 7); 0: no limit.
    pub challenge_ack_interval_ns: u64,
    /// Linux's habits where the RFCs leave a choice, for tests that were written for it: quick ACKs, ping-pong and an
    /// adaptive delay, Nagle's algorithm in Minshall's variant, an initial window in spite of one lost SYN. Wants `stats`.
    pub linux_habits: bool,
    /// Largest receive buffer that the window scale is to express, if more than `rcv_buf_bytes`.
    pub wscale_buf_bytes: u32,
    /// Keep counts of each connection ([`Stats`](crate::stats::Stats), some 160 bytes of heap).
    pub stats: bool,
    /// Search for the path's MTU by the fate of segments (RFC 4821).
    pub mtu_probing: MtuProbing,
    /// MSS to fall back to where large segments vanish, and to search upwards from (Linux's tcp_base_mss; in IPv6 at
    /// least 1220).
    pub mtu_base_mss: u16,
    /// In IPv4, where segments of the base vanish too: not below this (Linux's tcp_mtu_probe_floor).
    pub mtu_floor_mss: u16,
    /// Soft ICMP errors end an open that is under way, too (RFC 5461 section 4.1 tells who does that; Linux does).
    pub icmp_soft_errors_abort_syn: bool,
    /// Connections that a listener gives to the application with the data of their SYN before the handshake is complete
    /// (RFC 7413), at most; 0: no Fast Open.
    pub fast_open_pending: u16,
    /// When a listener answers SYNs with cookies.
    pub syn_cookies: SynCookies,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: EcnMode,
}

/// When a listener answers a SYN without keeping anything of it (RFC 4987 section 3.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SynCookies {
    /// When its SYN queue is full.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: what finds the queue full is dropped.
    Never,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            rcv_buf_bytes: limits::RCV_BUF_BYTES,
            snd_buf_bytes: limits::SND_BUF_BYTES,
            rcv_buf_max_bytes: limits::BUF_MAX_BYTES,
            snd_buf_max_bytes: limits::BUF_MAX_BYTES,
            notsent_bytes: limits::NOTSENT_BYTES,
            timestamps: true,
            sack: true,
            window_scaling: true,
            nodelay: false,
            cc: CcKind::Cubic,
            pacing: false,
            idle_restart: IdleRestart::Window,
            slow_start_l_segs: limits::SLOW_START_L_SEGS,
            rto_min_ns: limits::RTO_MIN_NS,
            delack_ns: limits::DELACK_NS,
            stretch_acks: true,
            quickack_segs: limits::QUICKACK_SEGS,
            keepalive: false,
            keepalive_idle_ns: limits::KEEPALIVE_IDLE_NS,
            keepalive_interval_ns: limits::KEEPALIVE_INTERVAL_NS,
            keepalive_probes: limits::KEEPALIVE_PROBES,
            r1_retries: limits::R1_RETRIES,
            data_retries: limits::DATA_RETRIES,
            syn_linear_timeouts: 0,
            syn_retries: limits::SYN_RETRIES,
            synack_retries: limits::SYNACK_RETRIES,
            user_timeout_ns: None,
            user_timeout_option: false,
            linger_ns: None,
            fin_wait_2_ns: limits::FIN_WAIT_2_NS,
            cork: false,
            mss_max: 0,
            window_clamp_bytes: 0,
            defer_accept_ns: 0,
            tos: 0,
            ttl: limits::TTL,
            challenge_ack_interval_ns: limits::CHALLENGE_ACK_INTERVAL_NS,
            linux_habits: false,
            wscale_buf_bytes: 0,
            stats: false,
            fast_open_pending: 0,
            syn_cookies: SynCookies::Auto,
            ecn: EcnMode::Passive,
            mtu_probing: MtuProbing::OnBlackHole,
            mtu_base_mss: limits::MTU_BASE_MSS,
            mtu_floor_mss: limits::MTU_FLOOR_MSS,
            icmp_soft_errors_abort_syn: false,
        }
    }
}

impl TcpConfig {
    /// The receive buffer, clamped. Never so small that the scaled window can't express it: one below 2^wscale would be
    /// closed for ever (the scale follows the maximum, and is agreed once).
    pub(crate) fn rcv_buf(&self) -> u32 {
        let units = if self.window_scaling { 4 << self.wscale() } else { 0 };
        match self.window_clamp_bytes {
            0 => self.rcv_buf_bytes.max(units),
            clamp => self.rcv_buf_bytes.min(clamp),
        }
    }

    /// The largest that the receive buffer may become.
    pub(crate) fn rcv_buf_max(&self) -> u32 {
        match self.window_clamp_bytes {
            0 => self.rcv_buf_max_bytes.max(self.rcv_buf_bytes),
            clamp => self.rcv_buf_max_bytes.max(self.rcv_buf_bytes).min(clamp),
        }
    }

    /// The shift that lets 16 bits express the receive buffer: RFC 7323 section 2.
    pub fn wscale(&self) -> u8 {
        let most = if self.window_clamp_bytes == 0 { u32::MAX } else { self.window_clamp_bytes };
        let buf = self.rcv_buf_max().max(self.wscale_buf_bytes.min(most));
        let mut shift = 0;
        while shift < limits::WSCALE_MAX && (buf >> shift) > 0xffff {
            shift += 1;
        }
        shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wscale_covers_the_buffer() {
        let with = |n| TcpConfig { rcv_buf_bytes: n, rcv_buf_max_bytes: 0, ..TcpConfig::default() }.wscale();
        assert_eq!(with(65_535), 0);
        assert_eq!(with(65_536), 1);
        assert_eq!(with(1 << 20), 5);
        assert_eq!(with(u32::MAX), 14);
    }
}
