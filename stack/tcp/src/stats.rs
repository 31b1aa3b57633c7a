//! What one connection counts, if it was told to ([`TcpConfig::stats`](crate::TcpConfig::stats)): what RFC 4898 calls
//! instruments, as far as Linux's TCP_INFO shows them.

use crate::quick_acks::QuickAcks;
use crate::time::Instant;

/// Counts since the connection began.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Segments sent, SYN and ACKs included.
    pub segs_out: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent with payload.
    pub data_segs_out: u32,
    /// Segments received with payload.
    pub data_segs_in: u32,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload bytes sent again.
    pub bytes_retrans: u64,
    /// Segments sent again.
    pub total_retrans: u32,
    /// Retransmission timeouts.
    pub total_rto: u32,
    /// Segments that the peer acknowledged or SACKed, SYN included.
    pub delivered: u32,
    /// Of those, segments that were marked on their way (ECN).
    pub delivered_ce: u32,
    /// D-SACK blocks received.
    pub dsack_dups: u32,
    /// Times that reordering was seen.
    pub reord_seen: u32,
    /// Out-of-order segments received.
    pub rcv_ooopack: u32,
    /// Time with data to deliver, ns.
    pub busy_ns: u64,
    /// Of that, time in which the peer's window was what kept data back, ns.
    pub rwnd_limited_ns: u64,
    /// Of that, time in which the send buffer was full and all of it was in flight, ns.
    pub sndbuf_limited_ns: u64,
    /// When payload was last sent.
    pub last_data_sent: Instant,
    /// When payload was last received.
    pub last_data_recv: Instant,
    /// When an ACK was last received.
    pub last_ack_recv: Instant,
    /// Largest payload of a segment received: the peer's MSS by observation. 0: none yet.
    pub rcv_mss: u32,
    limit: Limit,
    since: Instant,
    /// ACKs as Linux sends them.
    pub(crate) acks: Option<QuickAcks>,
}

/// What keeps data back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Limit {
    #[default]
    Idle,
    /// The network.
    Busy,
    ReceiveWindow,
    SendBuffer,
}

impl Stats {
    pub(crate) fn new(now: Instant, acks: Option<QuickAcks>) -> Self {
        Self {
            segs_out: 0,
            segs_in: 0,
            data_segs_out: 0,
            data_segs_in: 0,
            bytes_sent: 0,
            bytes_retrans: 0,
            total_retrans: 0,
            total_rto: 0,
            delivered: 0,
            delivered_ce: 0,
            dsack_dups: 0,
            reord_seen: 0,
            rcv_ooopack: 0,
            busy_ns: 0,
            rwnd_limited_ns: 0,
            sndbuf_limited_ns: 0,
            last_data_sent: now,
            last_data_recv: now,
            last_ack_recv: now,
            rcv_mss: 0,
            limit: Limit::Idle,
            since: now,
            acks,
        }
    }

    pub(crate) fn segment_in(&mut self, payload_len: u32, acks: bool, now: Instant) {
        self.segs_in += 1;
        if acks {
            self.last_ack_recv = now;
        }
        if payload_len > 0 {
            self.data_segs_in += 1;
            self.last_data_recv = now;
            self.rcv_mss = self.rcv_mss.max(payload_len);
        }
    }

    pub(crate) fn data_out(&mut self, len: u32, again: bool, now: Instant) {
        self.data_segs_out += 1;
        self.bytes_sent += u64::from(len);
        self.last_data_sent = now;
        if let Some(q) = &mut self.acks {
            q.data_out(now);
        }
        if again {
            self.bytes_retrans += u64::from(len);
            self.total_retrans += 1;
        }
    }

    /// From now on this is what keeps data back.
    pub(crate) fn limited_by(&mut self, limit: Limit, now: Instant) {
        *self = self.at(now);
        self.limit = limit;
    }

    /// With the time that runs counted up to now.
    #[must_use]
    pub fn at(&self, now: Instant) -> Self {
        let mut s = *self;
        let ns = now.since(s.since);
        s.since = now.max(s.since);
        s.busy_ns += if s.limit == Limit::Idle { 0 } else { ns };
        s.rwnd_limited_ns += if s.limit == Limit::ReceiveWindow { ns } else { 0 };
        s.sndbuf_limited_ns += if s.limit == Limit::SendBuffer { ns } else { 0 };
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_charged_to_what_limits() {
        let mut s = Stats::new(Instant(100), None);
        s.limited_by(Limit::Busy, Instant(200));
        s.limited_by(Limit::ReceiveWindow, Instant(250));
        s.limited_by(Limit::SendBuffer, Instant(350));
        s.limited_by(Limit::Idle, Instant(550));
        let s = s.at(Instant(10_000));
        assert_eq!((s.busy_ns, s.rwnd_limited_ns, s.sndbuf_limited_ns), (350, 100, 200));
    }
}
