//! What a core's stack counted: plain numbers, written by one core, summed by whoever reads.

use crate::drop_reason::DropReason;

macro_rules! counters {
    ($($(#[$doc:meta])+ $field:ident,)+) => {
        /// Counters of one core's stack. All of them only grow (they wrap after 2^64).
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Counters {
            /// Packets lost, by `DropReason as usize`.
            pub drops: [u64; DropReason::COUNT],
            $($(#[$doc])+ pub $field: u64,)+
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { drops: [0; DropReason::COUNT], $($field: 0,)+ }
            }
        }

        impl Counters {
            /// Everything but the drops, zeros included, by its stable name (that of the field).
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// Adds another core's counters to these.
            pub fn merge(&mut self, other: &Counters) {
                for (sum, n) in self.drops.iter_mut().zip(&other.drops) {
                    *sum = sum.wrapping_add(*n);
                }
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

counters! {
    /// Packets that came from a port.
    rx_packets,
    /// Their bytes, from the Ethernet header on.
    rx_bytes,
    /// Packets given to a port.
    tx_packets,
    /// Their bytes, from the Ethernet header on.
    tx_bytes,
    /// ARP packets for us or from neighbours we know.
    arp_in,
    /// ARP packets sent.
    arp_out,
    /// Fragments taken for reassembly.
    frags_in,
    /// Fragments sent.
    frags_out,
    /// Datagrams that became whole.
    reassembled,
    /// ICMP and ICMPv6 messages received with a good checksum (neighbour discovery included).
    icmp_in,
    /// ICMP and ICMPv6 messages sent (neighbour discovery included).
    icmp_out,
    /// Datagrams received with a good checksum.
    udp_in,
    /// Datagrams sent.
    udp_out,
    /// Packets that raw sockets alone took.
    raw_in,
    /// TCP segments received with a good checksum.
    tcp_segs_in,
    /// TCP segments sent, retransmissions included.
    tcp_segs_out,
    /// TCP payload bytes sent for the first time.
    tcp_bytes_out,
    /// Segments that input handled on its fast path (established, in order, nothing unusual).
    tcp_fast_path,
    /// Segments sent again.
    tcp_retransmits,
    /// Retransmission timeouts that fired (RFC 6298 5.4).
    tcp_timeouts,
    /// RSTs sent.
    tcp_rsts_out,
    /// Connections that a listener took through its handshake.
    tcp_accepts,
    /// Active opens begun.
    tcp_connects,
    /// Connections that peers began with data on the SYN (RFC 7413).
    tcp_fast_opens_in,
    /// Data on our SYNs that peers took.
    tcp_fast_opens_out,
    /// SYNs answered by a cookie (RFC 4987).
    tcp_syn_cookies_out,
    /// Cookies that came back: connections that began without a SYN queue.
    tcp_syn_cookies_in,
}

impl Counters {
    /// Counts a lost packet.
    #[inline]
    pub fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// Packets lost for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// The reasons that occurred, by stable name, in the order of the journey.
    pub fn nonzero_drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DropReason::ALL.iter().map(|r| (r.as_str(), self.drops[*r as usize])).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn drops_are_listed_when_they_occurred() {
        let mut c = Counters::default();
        assert_eq!(c.nonzero_drops().count(), 0);
        c.drop(DropReason::TxRefused);
        c.drop(DropReason::Paws);
        c.drop(DropReason::Paws);
        assert_eq!(c.nonzero_drops().collect::<Vec<_>>(), [("paws", 2), ("tx_refused", 1)]);
        assert_eq!(c.dropped(DropReason::Paws), 2);
    }

    #[test]
    fn merge_adds_everything() {
        let mut a = Counters { rx_packets: 1, tcp_timeouts: 2, ..Counters::default() };
        let mut b = Counters { rx_packets: 10, tcp_segs_in: 5, ..Counters::default() };
        a.drop(DropReason::NoRoute);
        b.drop(DropReason::NoRoute);
        a.merge(&b);
        assert_eq!(a.dropped(DropReason::NoRoute), 2);
        let nonzero: Vec<_> = a.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(nonzero, [("rx_packets", 11), ("tcp_segs_in", 5), ("tcp_timeouts", 2)]);
    }
}
