//! One pass over a frame: which headers stand where, who sent it to whom. All bounds are checked here, so that
//! nothing behind has to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::arp::{ARP_LEN, ArpPacket};
use crate::eth::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, L2, parse_eth};
use crate::flow_key::FlowKey;
use crate::ipv4::{self, Ipv4Header};
use crate::ipv6::{self, Ipv6Header};
use crate::{tcp, udp};

/// Protocol numbers of IPv4 and next-header values of IPv6 (IANA).
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// Hop-by-hop options.
    pub const IPV6_HOP_BY_HOP: u8 = 0;
    /// Routing header.
    pub const IPV6_ROUTING: u8 = 43;
    /// Fragment header.
    pub const IPV6_FRAGMENT: u8 = 44;
    /// Nothing follows.
    pub const IPV6_NO_NEXT: u8 = 59;
    /// Destination options.
    pub const IPV6_DEST_OPTIONS: u8 = 60;
}

/// What the network layer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// ARP; `Parsed::net` is `None`.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Position of a fragment in its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Offset of its payload, bytes, a multiple of 8.
    pub offset_bytes: u16,
    /// Whether more follow.
    pub more: bool,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
}

impl Fragment {
    /// An IPv6 packet with a fragment header that is whole all the same (RFC 6946): treated as if it had none.
    #[inline]
    pub const fn is_atomic(&self) -> bool {
        self.offset_bytes == 0 && !self.more
    }
}

/// The IP header, as far as every packet needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetInfo {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Upper-layer protocol, behind extension headers.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Set for fragments, and for IPv6 packets with an atomic fragment header.
    pub fragment: Option<Fragment>,
    /// IPv4 options, or IPv6 options or routing headers, are there to be looked at.
    pub has_options: bool,
}

/// What one pass found. Offsets in bytes from the start of the parsed bytes;
/// `l3_off <= l4_off <= payload_off <= end <= bytes.len()` always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// The link layer (zero addresses from [`parse_ip`]).
    pub l2: L2,
    /// Network header (the ARP packet for ARP).
    pub l3_off: u32,
    /// Upper-layer header, or a fragment's piece of it. Behind the packet for ARP.
    pub l4_off: u32,
    /// Payload of TCP or UDP; equal to `l4_off` for everything else and for fragments.
    pub payload_off: u32,
    /// End of the IP packet: Ethernet padding is excluded, and so is what lies behind the length of a UDP
    /// header. `l4_off..end` is what an L4 checksum covers.
    pub end: u32,
    /// Network layer.
    pub kind: Kind,
    /// The IP header; `None` for ARP.
    pub net: Option<NetInfo>,
}

macro_rules! parse_errors {
    ($($name:ident $text:literal $doc:literal,)*) => {
        /// Why a packet could not be parsed: the drop reason, one counter each.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum ParseError { $(#[doc = $doc] $name,)* }

        impl ParseError {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name of the counter.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

parse_errors! {
    TooShort "parse_too_short" "No room for the Ethernet header or the fixed IP header.",
    EthertypeUnknown "parse_ethertype_unknown" "Neither IPv4, IPv6 nor ARP, or a second VLAN tag.",
    VlanTruncated "parse_vlan_truncated" "The frame ends in its VLAN tag.",
    ArpMalformed "parse_arp_malformed" "Short ARP, other hardware or protocol, other operation.",
    Ipv4Version "parse_ipv4_version" "Version other than 4 behind the IPv4 ethertype.",
    Ipv4HeaderLength "parse_ipv4_header_length" "IHL below 5 or past the end.",
    Ipv4TotalLength "parse_ipv4_total_length" "Total length below the header's or past the end.",
    Ipv4Checksum "parse_ipv4_checksum" "Header checksum.",
    Ipv6Version "parse_ipv6_version" "Version other than 6 behind the IPv6 ethertype.",
    Ipv6PayloadLength "parse_ipv6_payload_length" "Payload length past the end.",
    Ipv6ExtensionTruncated "parse_ipv6_extension_truncated" "An extension header runs over the end.",
    Ipv6ExtensionLimit "parse_ipv6_extension_limit" "More extension headers than are walked.",
    TcpTruncated "parse_tcp_truncated" "No room for the TCP header.",
    TcpDataOffset "parse_tcp_data_offset" "TCP data offset below 5 or past the end.",
    UdpTruncated "parse_udp_truncated" "No room for the UDP header.",
    UdpLength "parse_udp_length" "UDP length below 8 or past the end.",
    IcmpTruncated "parse_icmp_truncated" "No room for the 8 bytes of ICMP or ICMPv6.",
    NdTruncated "parse_nd_truncated" "An ND message shorter than its type asks for.",
    NdType "parse_nd_type" "Not one of the five ND messages, or a code other than 0.",
    NdOption "parse_nd_option" "An ND option of length 0 or past the end.",
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for ParseError {}

/// Parses an Ethernet frame without FCS. Verifies the IPv4 header checksum, but none of L4: whether that is
/// needed depends on the port ([`crate::verify_l4`]).
///
/// # Errors
/// The first fault met, from the outside in.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let (l2, l3_off) = parse_eth(bytes)?;
    match l2.ethertype {
        ETHERTYPE_IPV4 => parse_ipv4(bytes, l2, l3_off),
        ETHERTYPE_IPV6 => parse_ipv6(bytes, l2, l3_off),
        ETHERTYPE_ARP => parse_arp(bytes, l2, l3_off),
        _ => Err(ParseError::EthertypeUnknown),
    }
}

/// Parses a packet that begins with its IP header, from a tun device or a raw socket.
///
/// # Errors
/// As [`parse`]; `EthertypeUnknown` where the version is neither 4 nor 6.
#[inline]
pub fn parse_ip(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let l2 = |ethertype| L2 { ethertype, ..L2::default() };
    match bytes.first().map(|b| b >> 4) {
        Some(4) => parse_ipv4(bytes, l2(ETHERTYPE_IPV4), 0),
        Some(6) => parse_ipv6(bytes, l2(ETHERTYPE_IPV6), 0),
        Some(_) => Err(ParseError::EthertypeUnknown),
        None => Err(ParseError::TooShort),
    }
}

#[inline]
fn parse_ipv4(bytes: &[u8], l2: L2, l3_off: usize) -> Result<Parsed, ParseError> {
    let packet = bytes.get(l3_off..).unwrap_or(&[]);
    let header = Ipv4Header::view(packet)?;
    let ipv4::Lengths { header_len, total_len } = header.check(packet)?;
    let flags = header.flags_fragment.get();
    let fragment = (flags & (ipv4::MF | ipv4::OFFSET_MASK) != 0).then(|| Fragment {
        offset_bytes: (flags & ipv4::OFFSET_MASK) << 3,
        more: flags & ipv4::MF != 0,
        id: u32::from(header.id.get()),
    });
    let net = NetInfo {
        src: IpAddr::V4(Ipv4Addr::from_octets(header.src)),
        dst: IpAddr::V4(Ipv4Addr::from_octets(header.dst)),
        protocol: header.protocol,
        ttl: header.ttl,
        tos: header.tos,
        fragment,
        has_options: header_len != ipv4::HEADER_LEN,
    };
    upper_layer(packet, l2, l3_off, header_len, total_len, Kind::Ipv4, net)
}

#[inline]
fn parse_ipv6(bytes: &[u8], l2: L2, l3_off: usize) -> Result<Parsed, ParseError> {
    let packet = bytes.get(l3_off..).unwrap_or(&[]);
    let header = Ipv6Header::view(packet)?;
    let total_len = header.check(packet)?;
    let mut net = NetInfo {
        src: IpAddr::V6(Ipv6Addr::from_octets(header.src)),
        dst: IpAddr::V6(Ipv6Addr::from_octets(header.dst)),
        protocol: header.next_header,
        ttl: header.hop_limit,
        tos: header.traffic_class(),
        fragment: None,
        has_options: false,
    };
    let mut l4_at = ipv6::HEADER_LEN;
    if !matches!(net.protocol, protocol::TCP | protocol::UDP | protocol::ICMPV6) {
        let chain = ipv6::walk(packet.get(..total_len).unwrap_or(packet))?;
        l4_at = chain.l4_off;
        net.protocol = chain.protocol;
        net.fragment = chain.fragment;
        net.has_options = chain.has_options;
    }
    upper_layer(packet, l2, l3_off, l4_at, total_len, Kind::Ipv6, net)
}

// `packet` begins with the IP header; `l4_at` and `total_len` count from there.
#[inline(always)]
fn upper_layer(
    packet: &[u8],
    l2: L2,
    l3_off: usize,
    l4_at: usize,
    total_len: usize,
    kind: Kind,
    net: NetInfo,
) -> Result<Parsed, ParseError> {
    let Some(l4) = packet.get(l4_at..total_len) else {
        return Err(ParseError::TooShort);
    };
    let (mut header_len, mut l4_len) = (0, l4.len());
    // A fragment's header may be cut anywhere: it is judged after reassembly.
    if net.fragment.is_none_or(|f| f.is_atomic()) {
        match (net.protocol, kind) {
            (protocol::TCP, _) => header_len = tcp::header_len(l4)?,
            (protocol::UDP, _) => (header_len, l4_len) = (udp::HEADER_LEN, udp::datagram_len(l4)?),
            (protocol::ICMP, Kind::Ipv4) | (protocol::ICMPV6, Kind::Ipv6) if l4_len < 8 => {
                return Err(ParseError::IcmpTruncated);
            }
            _ => {}
        }
    }
    let l4_off = l3_off + l4_at;
    Ok(Parsed {
        l2,
        l3_off: l3_off as u32,
        l4_off: l4_off as u32,
        payload_off: (l4_off + header_len) as u32,
        end: (l4_off + l4_len) as u32,
        kind,
        net: Some(net),
    })
}

#[cold]
fn parse_arp(bytes: &[u8], l2: L2, l3_off: usize) -> Result<Parsed, ParseError> {
    ArpPacket::parse(bytes.get(l3_off..).unwrap_or(&[]))?;
    let end = (l3_off + ARP_LEN) as u32;
    let l3_off = l3_off as u32;
    Ok(Parsed { l2, l3_off, l4_off: end, payload_off: end, end, kind: Kind::Arp, net: None })
}

impl Parsed {
    /// The flow of a TCP or UDP packet that came in; `bytes` are those that were parsed. `None` for other
    /// protocols, for fragments but the first, and for a first fragment without room for the ports.
    #[inline]
    pub fn flow_key(&self, bytes: &[u8]) -> Option<FlowKey> {
        let net = self.net.as_ref()?;
        if !matches!(net.protocol, protocol::TCP | protocol::UDP)
            || net.fragment.is_some_and(|f| f.offset_bytes != 0)
        {
            return None;
        }
        let (remote_port, local_port) = ports(self.l4(bytes))?;
        Some(FlowKey { local: net.dst, remote: net.src, local_port, remote_port })
    }

    /// Upper-layer header and payload; empty if `bytes` are not those that were parsed.
    #[inline]
    pub fn l4<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.l4_off as usize..self.end as usize).unwrap_or(&[])
    }

    /// Payload of TCP or UDP; empty if `bytes` are not those that were parsed.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.payload_off as usize..self.end as usize).unwrap_or(&[])
    }

    /// The network packet, headers included; empty if `bytes` are not those that were parsed.
    #[inline]
    pub fn l3<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.l3_off as usize..self.end as usize).unwrap_or(&[])
    }
}

#[inline]
fn ports(l4: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = l4.first_chunk::<4>()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// The beginning of a packet of ours as an ICMP error quotes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Source of the quoted packet: us.
    pub src: IpAddr,
    /// Destination of the quoted packet.
    pub dst: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Offset of the upper-layer header in the quote, bytes; may be the quote's end.
    pub l4_off: u32,
    /// Source and destination port of TCP or UDP, if the quote reaches so far.
    pub ports: Option<(u16, u16)>,
    /// Bytes of the whole packet, as its header says.
    pub total_len: u32,
    /// Sequence number of a TCP segment, for the in-window check of RFC 5927 4.1.
    pub tcp_seq: Option<u32>,
}

impl Quoted {
    /// The flow the error is about, from our point of view (we sent the quoted packet).
    #[inline]
    pub fn flow_key(&self) -> Option<FlowKey> {
        let (local_port, remote_port) = self.ports?;
        Some(FlowKey { local: self.src, remote: self.dst, local_port, remote_port })
    }
}

/// Parses the quote of an ICMP error. More lenient than [`parse_ip`]: the quote may end anywhere behind the
/// IP header, and routers on the way have changed TTL, checksum or length.
///
/// # Errors
/// `TooShort`, `EthertypeUnknown` (version), `Ipv4HeaderLength`, `Ipv6ExtensionTruncated`, `Ipv6ExtensionLimit`.
pub fn parse_quoted(quote: &[u8]) -> Result<Quoted, ParseError> {
    let (src, dst, protocol, l4_off, is_first, total_len) = match quote.first().map(|b| b >> 4) {
        Some(4) => {
            let h = Ipv4Header::view(quote)?;
            let header_len = h.header_len();
            if header_len < ipv4::HEADER_LEN || header_len > quote.len() {
                return Err(ParseError::Ipv4HeaderLength);
            }
            let is_first = h.flags_fragment.get() & ipv4::OFFSET_MASK == 0;
            let (src, dst) = (Ipv4Addr::from_octets(h.src), Ipv4Addr::from_octets(h.dst));
            (
                IpAddr::V4(src),
                IpAddr::V4(dst),
                h.protocol,
                header_len,
                is_first,
                u32::from(h.total_length.get()),
            )
        }
        Some(6) => {
            let h = Ipv6Header::view(quote)?;
            let chain = ipv6::walk(quote)?;
            let is_first = chain.fragment.is_none_or(|f| f.offset_bytes == 0);
            let (src, dst) = (Ipv6Addr::from_octets(h.src), Ipv6Addr::from_octets(h.dst));
            let len = ipv6::HEADER_LEN as u32 + u32::from(h.payload_length.get());
            (IpAddr::V6(src), IpAddr::V6(dst), chain.protocol, chain.l4_off, is_first, len)
        }
        Some(_) => return Err(ParseError::EthertypeUnknown),
        None => return Err(ParseError::TooShort),
    };
    let l4 = if is_first { quote.get(l4_off..).unwrap_or(&[]) } else { &[] };
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP);
    let seq = l4.get(4..).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_be_bytes(*b));
    Ok(Quoted {
        src,
        dst,
        protocol,
        l4_off: l4_off as u32,
        total_len,
        ports: if has_ports { ports(l4) } else { None },
        tcp_seq: if protocol == protocol::TCP { seq } else { None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::{Push, TcpEmit};
    use crate::ipv4::Ipv4Emit;
    use crate::tcp::TcpFlags;
    use crate::tcp_options::TcpOptions;
    use std::vec::Vec;

    fn address(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn tcp_frame(src: &str, dst: &str, payload: &[u8], vlan: Option<u16>) -> Vec<u8> {
        let mut buf = std::vec![0; 128 + payload.len()];
        buf[128..].copy_from_slice(payload);
        let end = buf.len();
        let mut push = Push::new(&mut buf, 128, end);
        let options = TcpOptions { timestamps: Some((7, 9)), ..TcpOptions::default() };
        let tcp = TcpEmit {
            src_port: 40000,
            dst_port: 443,
            seq: 0x0102_0304,
            ack: 5,
            flags: TcpFlags::ACK,
            window: 100,
            urgent: 0,
            options: &options,
        };
        let (src, dst) = (address(src), address(dst));
        push.tcp(&tcp, src, dst, None).unwrap();
        push.ip(src, dst, protocol::TCP, 64, 2, 1, true, 0).unwrap();
        push.eth([2; 6], [4; 6], vlan).unwrap();
        let start = push.start();
        buf[start..].to_vec()
    }

    #[test]
    fn ethernet_tcp_both_families() {
        for (src, dst, ip_len) in [("10.0.0.2", "10.0.0.1", 20), ("fe80::2", "fe80::1", 40)] {
            for vlan in [None, Some(0x2005)] {
                let mut frame = tcp_frame(src, dst, b"hello", vlan);
                let len = frame.len();
                frame.extend([0xee; 9]);
                let p = parse(&frame).unwrap();
                let l3 = 14 + if vlan.is_some() { 4 } else { 0 };
                assert_eq!((p.l3_off, p.l4_off, p.payload_off), (l3, l3 + ip_len, l3 + ip_len + 32));
                assert_eq!((p.end as usize, p.l2.vlan, p.l2.src, p.l2.dst), (len, vlan, [2; 6], [4; 6]));
                assert_eq!(p.payload(&frame), b"hello");
                let net = p.net.unwrap();
                assert_eq!((net.src, net.dst), (address(src), address(dst)));
                assert_eq!(
                    (net.protocol, net.ttl, net.tos, net.fragment, net.has_options),
                    (6, 64, 2, None, false)
                );
                let key = p.flow_key(&frame).unwrap();
                assert_eq!((key.local, key.remote), (net.dst, net.src));
                assert_eq!((key.local_port, key.remote_port), (443, 40000));
                let raw = parse_ip(&frame[l3 as usize..]).unwrap();
                assert_eq!((raw.l3_off, raw.l4_off, raw.net), (0, ip_len, p.net));
            }
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for frame in [tcp_frame("10.0.0.2", "10.0.0.1", b"x", Some(1)), tcp_frame("::2", "::1", b"x", None)] {
            for cut in 0..frame.len() {
                assert!(parse(&frame[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn errors_by_name() {
        let good = tcp_frame("10.0.0.2", "10.0.0.1", b"", None);
        let mut f = good.clone();
        f[12] = 0x09;
        assert_eq!(parse(&f), Err(ParseError::EthertypeUnknown));
        let mut f = good.clone();
        f[14 + 20 + 12] = 0x40;
        assert_eq!(parse(&f), Err(ParseError::TcpDataOffset));
        f[14 + 20 + 12] = 0xf0;
        assert_eq!(parse(&f), Err(ParseError::TcpDataOffset));
        let mut f = good;
        f[22] ^= 1;
        assert_eq!(parse(&f), Err(ParseError::Ipv4Checksum));
        for e in ParseError::ALL {
            assert!(e.as_str().starts_with("parse_"));
        }
        let names: std::collections::HashSet<_> = ParseError::ALL.iter().map(|e| e.as_str()).collect();
        assert_eq!(names.len(), ParseError::ALL.len());
    }

    fn ipv4_packet(
        protocol: u8,
        offset_bytes: u16,
        more_fragments: bool,
        options: &[u8],
        l4: &[u8],
    ) -> Vec<u8> {
        let mut buf = std::vec![0; 64 + l4.len()];
        buf[64..].copy_from_slice(l4);
        let end = buf.len();
        let mut push = Push::new(&mut buf, 64, end);
        push.ipv4(&Ipv4Emit {
            src: Ipv4Addr::new(10, 0, 0, 2),
            dst: Ipv4Addr::new(10, 0, 0, 1),
            protocol,
            ttl: 1,
            tos: 0,
            id: 77,
            dont_fragment: false,
            more_fragments,
            offset_bytes,
            options,
        })
        .unwrap();
        let start = push.start();
        buf[start..].to_vec()
    }

    #[test]
    fn fragments_and_options() {
        let first = ipv4_packet(17, 0, true, &[], &[0, 53, 0, 80, 0, 99, 0, 0]);
        let p = parse_ip(&first).unwrap();
        assert_eq!(p.net.unwrap().fragment, Some(Fragment { offset_bytes: 0, more: true, id: 77 }));
        assert_eq!((p.payload_off, p.flow_key(&first).unwrap().remote_port), (p.l4_off, 53));
        let later = ipv4_packet(17, 8, false, &[], &[0, 53, 0, 80]);
        assert_eq!(parse_ip(&later).unwrap().flow_key(&later), None);
        let alert = ipv4_packet(2, 0, false, &[0x94, 4, 0, 0], &[0x11; 8]);
        let p = parse_ip(&alert).unwrap();
        assert!(p.net.unwrap().has_options && p.l4_off == 24 && p.flow_key(&alert).is_none());
    }

    #[test]
    fn udp_surplus_is_cut_off() {
        let p = ipv4_packet(17, 0, false, &[], &[0, 53, 0, 80, 0, 9, 0, 0, 0xaa, 0xbb, 0xcc]);
        assert_eq!(parse_ip(&p).unwrap().payload(&p), [0xaa]);
        for bad_len in [0, 7, 12] {
            let p = ipv4_packet(17, 0, false, &[], &[0, 53, 0, 80, 0, bad_len, 0, 0, 1, 2, 3]);
            assert_eq!(parse_ip(&p), Err(ParseError::UdpLength));
        }
        let p = ipv4_packet(1, 0, false, &[], &[8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse_ip(&p), Err(ParseError::IcmpTruncated));
    }

    #[test]
    fn quotes_may_be_cut() {
        let frame = tcp_frame("10.0.0.2", "10.0.0.1", &[0; 100], None);
        let q = parse_quoted(&frame[14..14 + 28]).unwrap();
        let key = q.flow_key().unwrap();
        assert_eq!((key.local, key.local_port, key.remote_port), (address("10.0.0.2"), 40000, 443));
        assert_eq!(q.tcp_seq, Some(0x0102_0304));
        assert_eq!(parse_quoted(&frame[14..14 + 23]).unwrap().ports, None);
        assert_eq!(parse_quoted(&frame[14..14 + 19]), Err(ParseError::TooShort));
        let frame = tcp_frame("::2", "::1", &[0; 100], None);
        assert_eq!(parse_quoted(&frame[14..14 + 48]).unwrap().tcp_seq, Some(0x0102_0304));
    }
}
