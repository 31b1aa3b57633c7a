//! ICMPv6, RFC 4443. Neighbour discovery messages are in `nd`.

use core::net::Ipv6Addr;

use crate::checksum::{pseudo_header_v6, sum, update};
use crate::ipv6;
use crate::parse::{ParseError, protocol};

/// Bytes before the body.
pub const HEADER_LEN: usize = 8;
/// Destination unreachable.
pub const DEST_UNREACHABLE: u8 = 1;
/// Packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Parameter problem.
pub const PARAM_PROBLEM: u8 = 4;
/// Echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Code of destination unreachable: no route.
pub const CODE_NO_ROUTE: u8 = 0;
/// Code of destination unreachable: address.
pub const CODE_ADDRESS: u8 = 3;
/// Code of destination unreachable: port.
pub const CODE_PORT: u8 = 4;
/// Code of parameter problem: unrecognised next header.
pub const CODE_NEXT_HEADER: u8 = 1;
/// Code of parameter problem: unrecognised option.
pub const CODE_OPTION: u8 = 2;
/// Code of parameter problem: a first fragment without the whole header chain (RFC 7112 5).
pub const CODE_FIRST_FRAGMENT: u8 = 3;
/// Longest quote in bytes: an error fits the minimum MTU (RFC 4443 2.4 c).
pub const MAX_QUOTE: usize = ipv6::MIN_MTU - ipv6::HEADER_LEN - HEADER_LEN;

/// A message. The checksum is not verified here ([`crate::verify_l4`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmpv6<'a> {
    /// Type.
    pub ty: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4-7: identifier and sequence, MTU or pointer, by type.
    pub rest: [u8; 4],
    /// What follows: echo data, or the quoted packet of an error ([`crate::parse_quoted`]).
    pub body: &'a [u8],
}

impl<'a> Icmpv6<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// `IcmpTruncated` below 8 bytes.
    #[inline]
    pub fn parse(l4: &'a [u8]) -> Result<Self, ParseError> {
        let Some((&[ty, code, _, _, r0, r1, r2, r3], body)) = l4.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::IcmpTruncated);
        };
        Ok(Self { ty, code, rest: [r0, r1, r2, r3], body })
    }

    /// Whether it reports an error, known or not (types below 128): about such a message no error is ever
    /// sent (RFC 4443 2.4 e.1). Redirects count as errors there too (2.4 e.2).
    #[inline]
    pub const fn is_error(&self) -> bool {
        self.ty < 128 || self.ty == crate::nd::REDIRECT
    }

    /// Identifier and sequence number of an echo.
    #[inline]
    pub const fn echo(&self) -> (u16, u16) {
        let [a, b, c, d] = self.rest;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// MTU in bytes of packet too big, or pointer of a parameter problem.
    #[inline]
    pub const fn value(&self) -> u32 {
        u32::from_be_bytes(self.rest)
    }
}

/// Turns an echo request into its reply where it lies, with the checksum adjusted for the new type (RFC 1624).
/// It stays right when source and destination only change places; a reply to a multicast request leaves
/// from another address and needs [`fill_checksum`] afterwards. Returns false, and changes nothing, where
/// `l4` is not an echo request.
pub fn echo_reply_in_place(l4: &mut [u8]) -> bool {
    let Some([ty, code, c0, c1, ..]) = l4.first_chunk_mut::<HEADER_LEN>() else { return false };
    if *ty != ECHO_REQUEST {
        return false;
    }
    let old = u16::from_be_bytes([*ty, *code]);
    *ty = ECHO_REPLY;
    [*c0, *c1] = update(u16::from_be_bytes([*c0, *c1]), old, u16::from_be_bytes([*ty, *code])).to_be_bytes();
    true
}

/// Computes the checksum of a whole message and writes it into its field. Does nothing below 4 bytes.
pub fn fill_checksum(l4: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr) {
    let pseudo = pseudo_header_v6(src, dst, protocol::ICMPV6, l4.len() as u32);
    if let Some(field) = l4.get_mut(2..4) {
        field.fill(0);
        let checksum = sum(l4).add(pseudo).checksum();
        l4[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Writes a whole message with its checksum at the start of `out`; returns its length in bytes, or 0 where it
/// does not fit.
pub fn emit(
    (ty, code): (u8, u8),
    rest: [u8; 4],
    body: &[u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    out: &mut [u8],
) -> usize {
    let len = HEADER_LEN + body.len();
    let Some(message) = out.get_mut(..len) else { return 0 };
    let [r0, r1, r2, r3] = rest;
    message[..HEADER_LEN].copy_from_slice(&[ty, code, 0, 0, r0, r1, r2, r3]);
    message[HEADER_LEN..].copy_from_slice(body);
    fill_checksum(message, src, dst);
    len
}

/// The errors a host sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Icmpv6Error {
    /// Destination unreachable.
    DestUnreachable {
        /// RFC 4443 3.1.
        code: u8,
    },
    /// Packet too big.
    PacketTooBig {
        /// MTU of the next hop, bytes.
        mtu: u32,
    },
    /// Time exceeded: code 0 in transit, 1 in reassembly.
    TimeExceeded {
        /// Code.
        code: u8,
    },
    /// Parameter problem.
    ParamProblem {
        /// RFC 4443 3.4.
        code: u8,
        /// Offset of the faulty byte in the original packet.
        pointer: u32,
    },
}

/// Writes an error about `original` (from its IPv6 header on), quoting as much as the minimum MTU and `out`
/// hold. Returns its length, or 0 where `out` has no room for the header and the quote's IPv6 header.
pub fn emit_error(
    error: Icmpv6Error,
    original: &[u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    out: &mut [u8],
) -> usize {
    let quote_len = original.len().min(MAX_QUOTE).min(out.len().saturating_sub(HEADER_LEN));
    if quote_len < original.len().min(ipv6::HEADER_LEN) {
        return 0;
    }
    let (ty, code, value) = match error {
        Icmpv6Error::DestUnreachable { code } => (DEST_UNREACHABLE, code, 0),
        Icmpv6Error::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu),
        Icmpv6Error::TimeExceeded { code } => (TIME_EXCEEDED, code, 0),
        Icmpv6Error::ParamProblem { code, pointer } => (PARAM_PROBLEM, code, pointer),
    };
    emit((ty, code), value.to_be_bytes(), &original[..quote_len], src, dst, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::icmpv6::{Icmpv6Packet, checksum};

    #[test]
    fn echo_and_its_reply() {
        let (src, dst): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        for seed in 0..=255u8 {
            let mut b = [0; 29];
            assert_eq!(emit((ECHO_REQUEST, 0), [seed, 1, 2, 3], &[seed; 21], src, dst, &mut b), 29);
            let p = Icmpv6Packet::new(&b).unwrap();
            assert_eq!(p.get_checksum(), checksum(&p, &src, &dst));
            assert!(echo_reply_in_place(&mut b) && !echo_reply_in_place(&mut b));
            let p = Icmpv6Packet::new(&b).unwrap();
            assert_eq!((p.get_icmpv6_type().0, p.get_checksum()), (129, checksum(&p, &dst, &src)));
        }
    }

    #[test]
    fn quotes_fit_the_minimum_mtu() {
        let (src, dst): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let mut out = [0; 1500];
        let error = Icmpv6Error::PacketTooBig { mtu: 1300 };
        assert_eq!(emit_error(error, &[9; 1400], src, dst, &mut out), 1240);
        let m = Icmpv6::parse(&out[..1240]).unwrap();
        assert_eq!((m.ty, m.code, m.value(), m.body.len()), (2, 0, 1300, 1232));
        assert!(m.is_error());
        let p = Icmpv6Packet::new(&out[..1240]).unwrap();
        assert_eq!(p.get_checksum(), checksum(&p, &src, &dst));
        assert_eq!(emit_error(error, &[9; 60], src, dst, &mut out[..47]), 0);
        assert_eq!(emit_error(error, &[9; 60], src, dst, &mut out[..48]), 48);
    }
}
