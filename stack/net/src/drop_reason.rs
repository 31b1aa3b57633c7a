//! Why a packet was lost: one closed list, one reason a packet, counted where it happens.

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet went no further. The names ([`DropReason::as_str`]) are stable: they are metric labels and
        /// the comments of captured packets.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the journey (and of its discriminant).
            pub const ALL: &[DropReason] = &[$(DropReason::$variant,)+];

            /// Number of reasons: the length of a table indexed by `reason as usize`.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Shorter than an Ethernet header, or a VLAN tag cut off.
    ParseEthernet = "parse_ethernet",
    /// ARP that is short or not for Ethernet and IPv4 (RFC 826).
    ParseArp = "parse_arp",
    /// IPv4 header with a wrong version, IHL or total length (RFC 1122 3.2.1).
    ParseIpv4 = "parse_ipv4",
    /// IPv6 header or extension header chain that is wrong or cut off (RFC 8200 4).
    ParseIpv6 = "parse_ipv6",
    /// TCP header that is short or whose data offset points outside the segment.
    ParseTcp = "parse_tcp",
    /// UDP header that is short or whose length field lies (RFC 768).
    ParseUdp = "parse_udp",
    /// ICMP message too short for its type.
    ParseIcmp = "parse_icmp",
    /// Destination MAC or IP address is not one of ours, and we don't forward.
    NotLocal = "not_local",
    /// Source address that no host can have (RFC 1122 3.2.1.3, RFC 6890).
    MartianSource = "martian_source",
    /// IPv4 header checksum is wrong.
    CsumIpv4 = "csum_ipv4",
    /// TCP, UDP or ICMP checksum is wrong, or UDP over IPv6 has none (RFC 8200 8.1).
    CsumL4 = "csum_l4",
    /// An IPv4 packet whose route its sender prescribes (RFC 7126 4.3).
    SourceRouted = "source_routed",
    /// An IPv6 option that we don't know and may not skip (RFC 8200 4.2).
    Ipv6Option = "ipv6_option",
    /// A routing header with segments left (RFC 8200 4.4, RFC 5095).
    Ipv6Routing = "ipv6_routing",
    /// A fragment of a length or offset that can't be (RFC 791 3.2, RFC 8200 4.5, RFC 7112).
    FragInvalid = "frag_invalid",
    /// A fragment that overlaps or contradicts another, or of a datagram lost by such a one (RFC 5722).
    FragOverlap = "frag_overlap",
    /// A fragment of a datagram in too many pieces.
    FragLimit = "frag_limit",
    /// A datagram under way that made room for younger ones.
    FragMemory = "frag_memory",
    /// A datagram that did not become whole in time.
    FragTimeout = "frag_timeout",
    /// A datagram that became whole and is too large for its protocol.
    FragTooLarge = "frag_too_large",
    /// TCP sent to a broadcast or multicast address (RFC 9293 3.9.2.3, MUST-57).
    BroadcastTcp = "broadcast_tcp",
    /// A SYN for a port that nobody listens on (answered by RST).
    NoListener = "no_listener",
    /// The listener's accept queue is full.
    ListenOverflow = "listen_overflow",
    /// The listener's SYN queue is full, and it sends no SYN cookies.
    SynQueueFull = "syn_queue_full",
    /// No byte of the segment is inside the receive window (RFC 9293 3.10.7.4, first check).
    OutOfWindow = "out_of_window",
    /// Acknowledges what was never sent, or is too old (RFC 5961 5).
    BadAck = "bad_ack",
    /// Timestamp older than TS.Recent (RFC 7323 5.3).
    Paws = "paws",
    /// RST or SYN that was not exactly at RCV.NXT: a challenge ACK went out instead (RFC 5961 3, 4).
    RstIgnored = "rst_ignored",
    /// Segment of a synchronized connection without the ACK bit (RFC 9293 3.10.7.4, fifth check).
    TcpNoAck = "tcp_no_ack",
    /// A segment for no connection (answered by RST unless it is one: RFC 9293 3.10.7.1).
    TcpClosed = "tcp_closed",
    /// A segment that TIME-WAIT took in silence (RFC 9293 3.10.7.4, RFC 6191).
    TimeWait = "time_wait",
    /// Too many out-of-order ranges are held already.
    OooLimit = "ooo_limit",
    /// Every byte of the segment had arrived before.
    OldDuplicate = "old_duplicate",
    /// An ICMP message that we neither answer nor act on (RFC 1122 3.2.2: discarded in silence).
    IcmpUnhandled = "icmp_unhandled",
    /// An ICMP error that quotes no packet of ours, or one that is in flight no more (RFC 5927 4.1).
    IcmpUnsolicited = "icmp_unsolicited",
    /// Would have been answered by ICMP, but for the rate limit (RFC 1812 4.3.2.8, RFC 4443 2.4 f).
    IcmpRateLimited = "icmp_rate_limited",
    /// A datagram for a port without a socket (answered by port unreachable).
    UdpNoSocket = "udp_no_socket",
    /// A datagram whose socket had no room.
    SocketFull = "socket_full",
    /// An EtherType or IP protocol that we don't speak.
    ProtocolUnknown = "protocol_unknown",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The next hop's MAC address was not known, and the packet could not wait for it.
    NeighUnresolved = "neigh_unresolved",
    /// Pushed out of the next hop's queue by a younger packet, or the queues of all next hops are full.
    NeighQueueFull = "neigh_queue_full",
    /// The next hop never answered (RFC 4861 7.2.2, RFC 1122 2.3.2.1).
    NeighFailed = "neigh_failed",
    /// A neighbour discovery message that fails its checks: hop limit 255, code, options (RFC 4861 6.1, 7.1).
    NdInvalid = "nd_invalid",
    /// ARP that was neither for us nor about a neighbour we know.
    ArpIgnored = "arp_ignored",
    /// The queue to the core that owns the flow is full.
    HandoffFull = "handoff_full",
    /// No free frame to build the packet in.
    NoFrame = "no_frame",
    /// The queueing discipline is full.
    QdiscFull = "qdisc_full",
    /// The port refused the packet (larger than it takes, or gone).
    TxRefused = "tx_refused",
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn all_is_in_discriminant_order() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }

    #[test]
    fn names_are_unique_snake_case() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        assert!(names.iter().all(|n| n.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))));
    }

    #[test]
    fn names_follow_the_variants() {
        for r in DropReason::ALL {
            let camel = alloc::format!("{r:?}").to_lowercase();
            assert_eq!(camel, r.as_str().replace('_', ""));
        }
    }
}
