//! What can be chosen for a connection.

use crate::cc::{CcKind, IdleRestart};
use crate::limits;

/// Settings of TCP, per stack; a listener's connections take them at their birth.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Receive buffer in bytes: the largest window offered.
    pub rcv_buf_bytes: u32,
    /// Send buffer in bytes: what may wait, sent and unacknowledged or not sent yet.
    pub snd_buf_bytes: u32,
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
    /// Keep-alive probes (off by default, RFC 9293 MUST-25): idle time before the first, ns.
    pub keepalive_idle_ns: Option<u64>,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            rcv_buf_bytes: 1 << 20,
            snd_buf_bytes: 1 << 20,
            notsent_bytes: limits::NOTSENT_BYTES,
            timestamps: true,
            sack: true,
            window_scaling: true,
            nodelay: false,
            cc: CcKind::Cubic,
            idle_restart: IdleRestart::Window,
            slow_start_l_segs: limits::SLOW_START_L_SEGS,
            rto_min_ns: limits::RTO_MIN_NS,
            delack_ns: limits::DELACK_NS,
            stretch_acks: true,
            quickack_segs: limits::QUICKACK_SEGS,
            keepalive_idle_ns: None,
        }
    }
}

impl TcpConfig {
    /// The shift that lets 16 bits express the receive buffer: RFC 7323 section 2.
    pub fn wscale(&self) -> u8 {
        let mut shift = 0;
        while shift < limits::WSCALE_MAX && (self.rcv_buf_bytes >> shift) > 0xffff {
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
        let with = |n| TcpConfig { rcv_buf_bytes: n, ..TcpConfig::default() }.wscale();
        assert_eq!(with(65_535), 0);
        assert_eq!(with(65_536), 1);
        assert_eq!(with(1 << 20), 5);
        assert_eq!(with(u32::MAX), 14);
    }
}
