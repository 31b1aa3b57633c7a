//! ICMP for IPv4, RFC 792, 1122 3.2.2 and 1191.

use crate::checksum::{sum, update};
use crate::parse::ParseError;

/// Bytes before the body.
pub const HEADER_LEN: usize = 8;
/// Echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Destination unreachable.
pub const DEST_UNREACHABLE: u8 = 3;
/// Source quench; ignored (RFC 6633).
pub const SOURCE_QUENCH: u8 = 4;
/// Redirect.
pub const REDIRECT: u8 = 5;
/// Echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Parameter problem.
pub const PARAM_PROBLEM: u8 = 12;
/// Code of destination unreachable: host.
pub const CODE_HOST: u8 = 1;
/// Code of destination unreachable: protocol.
pub const CODE_PROTOCOL: u8 = 2;
/// Code of destination unreachable: port.
pub const CODE_PORT: u8 = 3;
/// Code of destination unreachable: fragmentation needed and DF set.
pub const CODE_FRAG_NEEDED: u8 = 4;
/// Longest quote in bytes: an error is at most 576 bytes with its own IP header (RFC 1812 4.3.2.3).
pub const MAX_QUOTE: usize = 576 - 20 - HEADER_LEN;

const MIN_QUOTE: usize = 20 + 8;

/// A message. The checksum is not verified here ([`crate::verify_l4`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmpv4<'a> {
    /// Type.
    pub ty: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4-7: identifier and sequence, MTU, pointer or gateway, by type.
    pub rest: [u8; 4],
    /// What follows: echo data, or the quoted packet of an error ([`crate::parse_quoted`]).
    pub body: &'a [u8],
}

impl<'a> Icmpv4<'a> {
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

    /// Whether it reports an error: about such a message no error is ever sent (RFC 1122 3.2.2).
    #[inline]
    pub const fn is_error(&self) -> bool {
        matches!(self.ty, DEST_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAM_PROBLEM)
    }

    /// Identifier and sequence number of an echo.
    #[inline]
    pub const fn echo(&self) -> (u16, u16) {
        let [a, b, c, d] = self.rest;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// Next-hop MTU in bytes of "fragmentation needed"; 0 from routers older than RFC 1191.
    #[inline]
    pub const fn next_hop_mtu(&self) -> u16 {
        self.echo().1
    }
}

/// Turns an echo request into its reply where it lies: type 0, checksum adjusted (RFC 1624), everything else as
/// it was. Returns false, and changes nothing, where `l4` is not an echo request.
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

/// Writes a whole message with its checksum at the start of `out`; returns its length in bytes, or 0 where it
/// does not fit.
pub fn emit(ty: u8, code: u8, rest: [u8; 4], body: &[u8], out: &mut [u8]) -> usize {
    let len = HEADER_LEN + body.len();
    let Some(message) = out.get_mut(..len) else { return 0 };
    let [r0, r1, r2, r3] = rest;
    message[..HEADER_LEN].copy_from_slice(&[ty, code, 0, 0, r0, r1, r2, r3]);
    message[HEADER_LEN..].copy_from_slice(body);
    let checksum = sum(message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    len
}

/// The errors a host sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Icmpv4Error {
    /// Destination unreachable with this code.
    DestUnreachable {
        /// RFC 792 and 1122 3.2.2.1.
        code: u8,
    },
    /// Fragmentation needed and DF set (RFC 1191 4).
    FragNeeded {
        /// MTU of the next hop, bytes.
        mtu: u16,
    },
    /// Time exceeded: code 0 in transit, 1 in reassembly.
    TimeExceeded {
        /// Code.
        code: u8,
    },
    /// Parameter problem, code 0.
    ParamProblem {
        /// Offset of the faulty byte in the original packet.
        pointer: u8,
    },
}

/// Writes an error about `original` (from its IP header on), quoting as much as a message of 576 bytes and
/// `out` hold. Returns its length, or 0 where not even header and 28 quoted bytes (or all of a shorter
/// original) fit.
pub fn emit_error(error: Icmpv4Error, original: &[u8], out: &mut [u8]) -> usize {
    let quote_len = original.len().min(MAX_QUOTE).min(out.len().saturating_sub(HEADER_LEN));
    // RFC 792: at least the IP header and 8 bytes behind it.
    if quote_len < original.len().min(MIN_QUOTE) {
        return 0;
    }
    let (ty, code, rest) = match error {
        Icmpv4Error::DestUnreachable { code } => (DEST_UNREACHABLE, code, [0; 4]),
        Icmpv4Error::FragNeeded { mtu } => {
            let [a, b] = mtu.to_be_bytes();
            (DEST_UNREACHABLE, CODE_FRAG_NEEDED, [0, 0, a, b])
        }
        Icmpv4Error::TimeExceeded { code } => (TIME_EXCEEDED, code, [0; 4]),
        Icmpv4Error::ParamProblem { pointer } => (PARAM_PROBLEM, 0, [pointer, 0, 0, 0]),
    };
    emit(ty, code, rest, &original[..quote_len], out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::icmp::{IcmpPacket, checksum};

    #[test]
    fn echo() {
        for seed in 0..=255u8 {
            let mut b = [0; 41];
            assert_eq!(emit(ECHO_REQUEST, 0, [seed, 2, 3, 4], &[seed; 33], &mut b), 41);
            let p = IcmpPacket::new(&b).unwrap();
            assert_eq!(p.get_checksum(), checksum(&p));
            assert!(echo_reply_in_place(&mut b) && !echo_reply_in_place(&mut b));
            let m = Icmpv4::parse(&b).unwrap();
            assert_eq!((m.ty, m.echo(), m.body.len()), (0, (u16::from(seed) << 8 | 2, 0x0304), 33));
            let p = IcmpPacket::new(&b).unwrap();
            assert_eq!(p.get_checksum(), checksum(&p));
        }
        assert!(!echo_reply_in_place(&mut [8; 7]));
    }

    #[test]
    fn quotes() {
        let mut out = [0; 1500];
        assert_eq!(emit_error(Icmpv4Error::FragNeeded { mtu: 1400 }, &[7; 1400], &mut out), 556);
        let m = Icmpv4::parse(&out[..556]).unwrap();
        assert_eq!((m.ty, m.code, m.next_hop_mtu(), m.body), (3, 4, 1400, &[7; 548][..]));
        assert!(m.is_error() && sum(&out[..556]).fold() == 0xffff);
        assert_eq!(emit_error(Icmpv4Error::ParamProblem { pointer: 20 }, &[7; 30], &mut out[..37]), 37);
        assert_eq!(emit_error(Icmpv4Error::TimeExceeded { code: 1 }, &[7; 30], &mut out[..35]), 0);
        assert_eq!(emit_error(Icmpv4Error::DestUnreachable { code: CODE_PORT }, &[7; 3], &mut out), 11);
    }
}
