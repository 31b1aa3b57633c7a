//! IPv6 header and its chain of extension headers, RFC 8200.

use core::net::Ipv6Addr;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::parse::{Fragment, ParseError, protocol};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// Smallest MTU an IPv6 link may have, bytes (RFC 8200 5).
pub const MIN_MTU: usize = 1280;
/// Most extension headers walked in one packet. RFC 8200 4.1 recommends an order in which at most six occur;
/// a bound keeps a hostile chain from costing more than a packet should (RFC 8504 5.3 allows such limits).
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// View of the fixed 40 bytes, in place and unaligned.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_flow: U32,
    /// Bytes after this header, extension headers included.
    pub payload_length: U16,
    /// Type of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
}

impl Ipv6Header {
    /// The view on the first 40 bytes.
    ///
    /// # Errors
    /// `TooShort`. Nothing in it is judged yet.
    #[inline]
    pub fn view(packet: &[u8]) -> Result<&Self, ParseError> {
        Self::ref_from_prefix(packet).map(|(h, _)| h).map_err(|_| ParseError::TooShort)
    }

    /// DSCP and ECN.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0x000f_ffff
    }

    // The bytes of the packet, header included. A payload length of zero with a jumbo option (RFC 2675) is
    // not supported and comes out as a truncated extension header.
    #[inline(always)]
    pub(crate) fn check(&self, packet: &[u8]) -> Result<usize, ParseError> {
        if self.version_class_flow.get() >> 28 != 6 {
            return Err(ParseError::Ipv6Version);
        }
        let total_len = HEADER_LEN + usize::from(self.payload_length.get());
        if total_len > packet.len() {
            return Err(ParseError::Ipv6PayloadLength);
        }
        Ok(total_len)
    }
}

/// Where a chain of extension headers ended. Offsets in bytes from the start of the IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The next-header value that is not an extension header walked here (TCP, UDP, ICMPv6, 59, unknown ones).
    pub protocol: u8,
    /// Where that header begins.
    pub l4_off: usize,
    /// Offset of the byte that held `protocol`: the pointer of a parameter problem, code 1.
    pub next_header_at: usize,
    /// The fragment header, if there was one.
    pub fragment: Option<Fragment>,
    /// Whether hop-by-hop or destination options, or a routing header, stand in the chain: the slow path
    /// has to look at them ([`ext_headers`]).
    pub has_options: bool,
}

/// Walks the extension headers of `packet`, which begins with the IPv6 header and ends where its payload
/// length says.
///
/// # Errors
/// `TooShort`, `Ipv6ExtensionTruncated`, `Ipv6ExtensionLimit`.
pub fn walk(packet: &[u8]) -> Result<Chain, ParseError> {
    let mut headers = ext_headers(packet);
    let mut fragment = None;
    let mut has_options = false;
    for header in headers.by_ref() {
        let header = header?;
        if header.kind == protocol::IPV6_FRAGMENT {
            fragment = parse_fragment(header.bytes);
        } else {
            has_options = true;
        }
    }
    if packet.len() < HEADER_LEN {
        return Err(ParseError::TooShort);
    }
    Ok(Chain {
        protocol: headers.next_header,
        l4_off: headers.at,
        next_header_at: headers.next_header_at,
        fragment,
        has_options,
    })
}

/// One extension header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtHeader<'a> {
    /// Its type: hop-by-hop 0, routing 43, fragment 44, destination options 60.
    pub kind: u8,
    /// Offset from the start of the IPv6 header, bytes.
    pub offset: usize,
    /// The whole header, next-header and length bytes included; at least 8 bytes.
    pub bytes: &'a [u8],
}

/// Iterator over extension headers; made by [`ext_headers`].
#[derive(Clone, Debug)]
pub struct ExtHeaders<'a> {
    packet: &'a [u8],
    next_header: u8,
    next_header_at: usize,
    at: usize,
    count: usize,
    ended: bool,
}

/// The extension headers of a packet that begins with an IPv6 header. Ends at the first header that is not
/// one, behind the header of a fragment that is not the first, or with an error.
pub fn ext_headers(packet: &[u8]) -> ExtHeaders<'_> {
    ExtHeaders {
        packet,
        next_header: packet.get(6).copied().unwrap_or(protocol::IPV6_NO_NEXT),
        next_header_at: 6,
        at: HEADER_LEN,
        count: 0,
        ended: false,
    }
}

impl<'a> Iterator for ExtHeaders<'a> {
    type Item = Result<ExtHeader<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.next_header;
        let is_extension = match kind {
            // RFC 8200 4.1: hop-by-hop options stand directly behind the IPv6 header. Elsewhere they are an
            // unrecognised next header, which is what the caller then sees as the protocol.
            protocol::IPV6_HOP_BY_HOP => self.at == HEADER_LEN,
            protocol::IPV6_ROUTING | protocol::IPV6_FRAGMENT | protocol::IPV6_DEST_OPTIONS => true,
            _ => false,
        };
        if self.ended || !is_extension {
            return None;
        }
        self.ended = true;
        if self.count == MAX_EXTENSION_HEADERS {
            return Some(Err(ParseError::Ipv6ExtensionLimit));
        }
        let rest = self.packet.get(self.at..).unwrap_or(&[]);
        let &[next, len, ..] = rest else {
            return Some(Err(ParseError::Ipv6ExtensionTruncated));
        };
        // The fragment header has a reserved byte where the others have their length (RFC 8200 4.5).
        let len = if kind == protocol::IPV6_FRAGMENT { 8 } else { 8 + usize::from(len) * 8 };
        let Some(bytes) = rest.get(..len) else {
            return Some(Err(ParseError::Ipv6ExtensionTruncated));
        };
        let header = ExtHeader { kind, offset: self.at, bytes };
        self.next_header = next;
        self.next_header_at = self.at;
        self.at += len;
        self.count += 1;
        // Behind a later fragment's header stands the middle of something, not a header.
        self.ended =
            kind == protocol::IPV6_FRAGMENT && parse_fragment(bytes).is_some_and(|f| f.offset_bytes != 0);
        Some(Ok(header))
    }
}

fn parse_fragment(header: &[u8]) -> Option<Fragment> {
    let &[_, _, o0, o1, i0, i1, i2, i3] = header.first_chunk::<8>()?;
    let offset_flags = u16::from_be_bytes([o0, o1]);
    Some(Fragment {
        offset_bytes: offset_flags & !7,
        more: offset_flags & 1 != 0,
        id: u32::from_be_bytes([i0, i1, i2, i3]),
    })
}

/// One option of a hop-by-hop or destination options header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Option<'a> {
    /// Option type; its two highest bits say what to do if it is unknown ([`unknown_action`]).
    pub kind: u8,
    /// Offset of the option type from the start of the options header, bytes.
    pub offset: usize,
    /// The option without type and length.
    pub value: &'a [u8],
}

/// What RFC 8200 4.2 asks for when an option is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownAction {
    /// 00: skip it.
    Skip,
    /// 01: drop the packet silently.
    Discard,
    /// 10: drop and send parameter problem code 2, also for multicast.
    Report,
    /// 11: drop and send parameter problem code 2, unless the destination was multicast.
    ReportUnicast,
}

/// The action encoded in an option type.
#[inline]
pub const fn unknown_action(kind: u8) -> UnknownAction {
    match kind >> 6 {
        0 => UnknownAction::Skip,
        1 => UnknownAction::Discard,
        2 => UnknownAction::Report,
        _ => UnknownAction::ReportUnicast,
    }
}

/// Options of a hop-by-hop or destination options header (`ExtHeader::bytes`), padding left out. An option
/// that runs over the end gives `Err(Ipv6ExtensionTruncated)` and ends the walk.
pub fn options(header: &[u8]) -> impl Iterator<Item = Result<Ipv6Option<'_>, ParseError>> {
    let mut at = 2;
    core::iter::from_fn(move || {
        loop {
            let rest = header.get(at..)?;
            match rest {
                [] => return None,
                [0, ..] => at += 1,
                [kind, len, value @ ..] if usize::from(*len) <= value.len() => {
                    let offset = at;
                    at += 2 + usize::from(*len);
                    if *kind != 1 {
                        let value = &value[..usize::from(*len)];
                        return Some(Ok(Ipv6Option { kind: *kind, offset, value }));
                    }
                }
                _ => {
                    at = usize::MAX;
                    return Some(Err(ParseError::Ipv6ExtensionTruncated));
                }
            }
        }
    })
}

/// The fields of a header to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Emit {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Type of the header that follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label; its low 20 bits are sent.
    pub flow_label: u32,
}

impl Ipv6Emit {
    #[inline(always)]
    pub(crate) fn to_bytes(self, payload_len: u16) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        let lengths =
            u32::from(payload_len) << 16 | u32::from(self.next_header) << 8 | u32::from(self.hop_limit);
        bytes[..4].copy_from_slice(&word.to_be_bytes());
        bytes[4..8].copy_from_slice(&lengths.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.src.octets());
        bytes[24..].copy_from_slice(&self.dst.octets());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ipv6::Ipv6Packet;
    use std::vec::Vec;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let emit = Ipv6Emit {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            next_header: first,
            hop_limit: 61,
            traffic_class: 0xb9,
            flow_label: 0xf_1234,
        };
        let mut p = emit.to_bytes(rest.len() as u16).to_vec();
        p.extend(rest);
        p
    }

    #[test]
    fn emitted_header_is_what_pnet_reads() {
        let b = packet(17, &[0; 9]);
        let p = Ipv6Packet::new(&b).unwrap();
        assert_eq!((p.get_version(), p.get_traffic_class(), p.get_flow_label()), (6, 0xb9, 0xf_1234));
        assert_eq!((p.get_payload_length(), p.get_hop_limit()), (9, 61));
        assert_eq!(p.get_source(), "2001:db8::1".parse::<Ipv6Addr>().unwrap());
        let h = Ipv6Header::view(&b).unwrap();
        assert_eq!((h.traffic_class(), h.flow_label()), (0xb9, 0xf_1234));
        assert_eq!(h.check(&b), Ok(49));
        assert_eq!(h.check(&b[..48]), Err(ParseError::Ipv6PayloadLength));
    }

    #[test]
    fn chain_with_all_four() {
        let mut rest = std::vec![60, 0, 1, 4, 0, 0, 0, 0];
        rest.extend([43, 0, 1, 4, 0, 0, 0, 0]);
        rest.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        rest.extend([6, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        rest.extend([0; 20]);
        let p = packet(0, &rest);
        let chain = walk(&p).unwrap();
        assert_eq!((chain.protocol, chain.l4_off, chain.next_header_at), (6, 80, 72));
        assert_eq!(chain.fragment, Some(Fragment { offset_bytes: 0, more: true, id: 0xdead_beef }));
        assert!(chain.has_options);
        for cut in 40..80 {
            assert_eq!(walk(&p[..cut]), Err(ParseError::Ipv6ExtensionTruncated));
        }
    }

    #[test]
    fn a_later_fragment_ends_the_walk() {
        let p = packet(44, &[60, 0, 0, 8, 0, 0, 0, 1, 0xff]);
        let chain = walk(&p).unwrap();
        assert_eq!((chain.protocol, chain.l4_off), (60, 48));
        assert_eq!(chain.fragment.unwrap().offset_bytes, 8);
        assert!(!chain.has_options);
    }

    #[test]
    fn hop_by_hop_only_first_and_bounded() {
        let p = packet(60, &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(walk(&p).unwrap().protocol, 0);
        let p = packet(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(MAX_EXTENSION_HEADERS + 1));
        assert_eq!(walk(&p), Err(ParseError::Ipv6ExtensionLimit));
    }

    #[test]
    fn options_are_walked_with_bounds() {
        let header = [6, 1, 0, 5, 2, 0, 0, 0xc2, 4, 1, 2, 3, 4, 1, 1, 0];
        let seen: Vec<_> = options(&header).map(Result::unwrap).collect();
        assert_eq!(seen[0], Ipv6Option { kind: 5, offset: 3, value: &[0, 0] });
        assert_eq!(seen[1], Ipv6Option { kind: 0xc2, offset: 7, value: &[1, 2, 3, 4] });
        assert_eq!((seen.len(), unknown_action(0xc2)), (2, UnknownAction::ReportUnicast));
        assert!(options(&[6, 0, 5, 9, 0, 0, 0, 0]).next().unwrap().is_err());
        assert!(options(&[6, 0, 0, 0, 0, 0, 0, 5]).next().unwrap().is_err());
    }
}
